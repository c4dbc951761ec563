"""The seam between the training loop and what is trained: a `Course` knows everything about one kind of network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor, nn, optim

from sightline.card import ModelCard
from sightline.training.config import RunConfig
from sightline.training.processes import Processes

Net_contra = TypeVar("Net_contra", contravariant=True, bound=nn.Module)
Batch_contra = TypeVar("Batch_contra", contravariant=True)


@dataclass(frozen=True)
class Judgement:
    """One look at material that was not learned from."""

    score: float  # higher is better; the best is kept
    figures: dict[str, float]  # for the history


class NamedBatch(Protocol):
    """A batch that can say what is in it, so that an error can."""

    @property
    def names(self) -> tuple[str, ...]: ...


class Batches(Protocol):
    """A loader. Its epochs are drawn from a seed and their number alone, whatever was read before."""

    def set_epoch(self, epoch: int, *, skip: int) -> None:
        """Draw that epoch, without its first `skip` batches: those a run had before it was interrupted."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[NamedBatch]: ...


class Course(Protocol[Net_contra, Batch_contra]):
    """What is learned, from what, and how well it is known. The loop does the rest, the same for every network."""

    @property
    def config(self) -> RunConfig: ...

    @property
    def is_judged(self) -> bool:
        """Whether anything was held out to judge by."""

    def make_ready(self) -> None:
        """What has to be on disk before the loader can read. Called in the first process, while the others wait."""

    def loader(self, *, rank: int, world: int) -> Batches: ...

    def network(self) -> nn.Module:
        """On the CPU, seeded, in training mode."""

    def losses(self) -> nn.Module:
        """A module, since losses may have parameters of their own."""

    def optimizer(self, net: Net_contra, losses: nn.Module) -> optim.Optimizer: ...

    def begin_epoch(self, net: Net_contra, epoch: int) -> bool:
        """Put the network into training mode. True where some of its parameters rest in this epoch."""

    def step(
        self, model: nn.Module, losses: nn.Module, batch: Batch_contra, *, processes: Processes, amp: str
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A batch forward: the loss to descend, and scalars for the history."""

    def judge(self, net: Net_contra) -> Judgement:
        """Put the network to the test, and back into the mode it was in. The same weights give the same figures."""

    def card(self, net: Net_contra) -> ModelCard:
        """With which the weights are shipped."""
