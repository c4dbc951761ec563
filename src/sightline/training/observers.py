"""Who watches a run: a progress bar, TensorBoard, a test, nobody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sightline.errors import BackendError
from sightline.runtime.backend import missing_package
from sightline.training.state import Epoch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Observer(Protocol):
    """Told of a run as it goes, in the first process only."""

    def run_begins(self, folder: Path) -> None: ...

    def epoch_begins(self, epoch: int, steps: int, first_step: int) -> None: ...

    def step_done(self, figures: Epoch) -> None: ...

    def epoch_done(self, epoch: int, figures: Epoch) -> None: ...


class Unwatched:
    """Nobody watches."""

    def run_begins(self, folder: Path) -> None: ...

    def epoch_begins(self, epoch: int, steps: int, first_step: int) -> None: ...

    def step_done(self, figures: Epoch) -> None: ...

    def epoch_done(self, epoch: int, figures: Epoch) -> None: ...


class TensorBoard(Unwatched):
    """Every epoch's figures as scalars, in `events/` of the run. Raises `BackendError` where it is not installed."""

    def __init__(self) -> None:
        reason = missing_package("tensorboard", "tensorboard")
        if reason:
            raise BackendError(f"--tensorboard was asked for, but {reason}")

    def run_begins(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: SummaryWriter = SummaryWriter(str(folder / "events"))

    def epoch_done(self, epoch: int, figures: Epoch) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()


class Several(Unwatched):
    """All of these watch."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def run_begins(self, folder: Path) -> None:
        for observer in self._observers:
            observer.run_begins(folder)

    def epoch_begins(self, epoch: int, steps: int, first_step: int) -> None:
        for observer in self._observers:
            observer.epoch_begins(epoch, steps, first_step)

    def step_done(self, figures: Epoch) -> None:
        for observer in self._observers:
            observer.step_done(figures)

    def epoch_done(self, epoch: int, figures: Epoch) -> None:
        for observer in self._observers:
            observer.epoch_done(epoch, figures)
