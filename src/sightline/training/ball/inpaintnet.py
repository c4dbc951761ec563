"""InpaintNet as a `Course`: from a trajectory with gaps to where the ball was meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor, nn, optim

from sightline.ball.trajectory import read_trajectory
from sightline.card import ModelCard
from sightline.nets.ball_checkpoint import inpaintnet_card
from sightline.nets.inpaintnet import InpaintNet, build_inpaintnet
from sightline.training.ball.config import InpaintNetConfig
from sightline.training.ball.gaps import StretchBatch, Stretches, collated, with_holes
from sightline.training.ball.losses import MaskedSquares
from sightline.training.ball.pretrained import start_from
from sightline.training.ball.rallies import LabelledRally, Rallies, Rally, labelled
from sightline.training.ball.shuffle import Shuffled
from sightline.training.ball.validation import judge_repairer
from sightline.training.course import Judgement
from sightline.training.loading import BatchLoader, loader_of
from sightline.training.processes import Processes
from sightline.training.schedule import build_plain_optimizer
from sightline.types import BallPoint

log = logging.getLogger(__name__)

WithFound = Sequence[tuple[LabelledRally, Sequence[BallPoint]]]


@dataclass(frozen=True)
class Repairing:
    """A `Course` in filling the gaps that a tracker left in `rallies`."""

    config: InpaintNetConfig
    rallies: Rallies

    @property
    def is_judged(self) -> bool:
        return bool(self.rallies.held_out)

    def make_ready(self) -> None:
        """Say what is learned from: labels alone are a tracker that never errs."""
        rallies = (*self.rallies.train, *self.rallies.held_out)
        predicted = sum(rally.predicted is not None for rally in rallies)
        log.info("%d of %d rallies have a predicted_csv; the others go by their labels", predicted, len(rallies))

    def loader(self, *, rank: int, world: int) -> BatchLoader[StretchBatch]:
        data, seed = self.config.data, self.config.train.seed
        stretches = Stretches(
            self._learned, seq_len=self.config.model.seq_len, step=data.step, mask_ratio=data.mask_ratio, seed=seed
        )
        batches = Shuffled(len(stretches), batch_size=data.batch_size, seed=seed, rank=rank, world=world)
        return loader_of(stretches, batches, collated=collated, workers=data.workers, keep_workers=True)

    def network(self) -> InpaintNet:
        return start_from(build_inpaintnet(seed=self.config.train.seed), self.config.model.pretrained)

    def losses(self) -> MaskedSquares:
        return MaskedSquares()

    def optimizer(self, net: InpaintNet, losses: nn.Module) -> optim.Optimizer:
        return build_plain_optimizer(net, self.config.train)

    def begin_epoch(self, net: InpaintNet, epoch: int) -> bool:
        net.train()
        return False

    def step(
        self, model: nn.Module, losses: nn.Module, batch: StretchBatch, *, processes: Processes, amp: str
    ) -> tuple[Tensor, dict[str, Tensor]]:
        coords, mask, wanted = (part.to(processes.device) for part in (batch.coords, batch.mask, batch.wanted))
        with processes.autocast(amp):
            found: Tensor = model(coords, mask)
        return losses(found, wanted, mask), {}

    def judge(self, net: InpaintNet) -> Judgement:
        length, tolerance = self.config.model.seq_len, self.config.val.tolerance
        return judge_repairer(net, self._held_out, seq_len=length, tolerance=tolerance)

    def card(self, net: InpaintNet) -> ModelCard:
        card = inpaintnet_card(net, self.config.model.seq_len, weights="trained")
        return replace(card, trained_on=self.rallies.name)

    @cached_property
    def _learned(self) -> WithFound:
        rallies = map(self._labelled, self.rallies.train)
        return [(rally, _found(rally) or rally.points) for rally in rallies]

    @cached_property
    def _held_out(self) -> WithFound:
        rallies = map(self._labelled, self.rallies.held_out)
        return [(rally, _found(rally) or with_holes(rally.points, seed=seed)) for seed, rally in enumerate(rallies)]

    def _labelled(self, rally: Rally) -> LabelledRally:
        data = self.config.data
        return labelled(rally, columns=data.columns, source_hw=(data.source_hw[0], data.source_hw[1]))


def _found(rally: LabelledRally) -> Sequence[BallPoint]:
    """What a tracker found; nothing where nobody ran one."""
    path = rally.rally.predicted
    return [] if path is None else read_trajectory(path, size_hw=rally.size_hw)
