"""Re-identification as a `Course`: people or faces, told apart by vectors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn, optim

from sightline.card import ModelCard
from sightline.nets.reid import ReidNet, ReidOutput
from sightline.training.config import TrainingConfig
from sightline.training.course import Judgement
from sightline.training.loading import Batch, BatchLoader, training_loader
from sightline.training.network import build_losses, build_network, card_for
from sightline.training.processes import Processes
from sightline.training.records import Record, labels
from sightline.training.schedule import build_optimizer
from sightline.training.validation import validate


@dataclass(frozen=True)
class Material:
    """What a run learns from, and the people it is judged on; nobody is in both."""

    name: str
    train: tuple[Record, ...]
    held_out: tuple[Record, ...]


@dataclass(frozen=True)
class Identities:
    """A `Course` in telling apart the people of `material`."""

    config: TrainingConfig
    material: Material

    @cached_property
    def _known(self) -> dict[str, int]:
        return dict(labels(self.material.train))

    @property
    def is_judged(self) -> bool:
        return bool(self.material.held_out)

    def make_ready(self) -> None:
        """Images are read from where they are."""

    def loader(self, *, rank: int, world: int) -> BatchLoader[Batch]:
        return training_loader(self.material.train, self._known, self.config, rank=rank, world=world)

    def network(self) -> ReidNet:
        return build_network(self.config, classes=len(self._known))

    def losses(self) -> nn.Module:
        return build_losses(self.config, classes=len(self._known))

    def optimizer(self, net: ReidNet, losses: nn.Module) -> optim.Optimizer:
        return build_optimizer(net, losses, self.config.train)

    def begin_epoch(self, net: ReidNet, epoch: int) -> bool:
        """The backbone rests while the head finds its feet."""
        resting = epoch < self.config.train.freeze_epochs
        net.train()
        for parameter in net.backbone_parameters():
            parameter.requires_grad_(not resting)
        return resting

    def step(
        self, model: nn.Module, losses: nn.Module, batch: Batch, *, processes: Processes, amp: str
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, its parts, and how many of the images were given to the right person."""
        images, people = batch.images.to(processes.device), batch.labels.to(processes.device)
        with processes.autocast(amp):
            output: ReidOutput = model(images, "both")
        total, parts = losses(output, people)
        right = (output.logits.argmax(dim=1) == people).float().mean()
        return total, {**parts, "accuracy": right}

    def judge(self, net: ReidNet) -> Judgement:
        result = validate(net, self.material.held_out, self.config)
        score = result.mean_ap if self.config.val.best_by == "map" else -result.loss
        return Judgement(score, result.figures)

    def card(self, net: ReidNet) -> ModelCard:
        return card_for(net, self.config, trained_on=self.material.name)
