"""The training loop, to be read from `train` down: one for every network. What is trained is a `Course`.

One process trains, or several under `torchrun`; each sees its own batches, and the first one validates and writes. A
run that is stopped (Ctrl-C, SIGTERM) finishes its step, saves, and is continued by `--resume` bit for bit.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from torch import Tensor, nn

from sightline.errors import SightlineError
from sightline.nets.checkpoint import save_checkpoint
from sightline.training.course import Batches, Course, NamedBatch
from sightline.training.history import write_history
from sightline.training.observers import Observer, Unwatched
from sightline.training.processes import Processes
from sightline.training.runs import new_run
from sightline.training.schedule import build_scheduler
from sightline.training.state import Epoch, TrainingState, averaging, read_saved, restore, save_state


class TrainingStoppedError(SightlineError, RuntimeError):
    """The loss is no longer a number; the last good checkpoint is named in the message."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and where its weights are."""

    folder: Path
    history: Sequence[Epoch]
    interrupted: bool = False
    stopped_early: bool = False


def train(course: Course[Any, Any], *, observer: Observer | None = None, resume: Path | None = None) -> Outcome:
    """Train in a new folder of the project, or go on in the folder `resume`, a run's."""
    config = course.config
    with Processes.joined(config.advanced.device) as processes, _stop_signals() as stop:
        torch.use_deterministic_algorithms(config.advanced.deterministic, warn_only=True)
        torch.manual_seed(config.train.seed)
        if config.advanced.threads:
            torch.set_num_threads(config.advanced.threads)
        watching = observer if observer is not None and processes.is_first else Unwatched()
        run = _Run.begin(course, processes)
        # Only now: a run that cannot begin leaves no folder behind.
        folder = run.folder = resume or processes.shared(new_run(config) if processes.is_first else None)
        watching.run_begins(folder)
        if resume is not None:
            restore(run.state, read_saved(run.checkpoint), origin=run.checkpoint)
        while run.state.epoch < config.train.epochs and not run.is_stale:
            waited = run.one_epoch(watching, stop)
            if stop.asked:
                run.save()
                return Outcome(folder, tuple(run.state.history), interrupted=True)
            run.end_epoch(watching, waited=waited)
        run.finish()
        return Outcome(folder, tuple(run.state.history), stopped_early=run.is_stale)


@dataclass
class _Run:
    """One process's part in a run."""

    course: Course[Any, Any]
    processes: Processes
    state: TrainingState
    loader: Batches
    folder: Path = Path()

    @classmethod
    def begin(cls, course: Course[Any, Any], processes: Processes) -> _Run:
        config = course.config.train
        net = course.network().to(processes.device)  # before what takes long: it may be refused
        if processes.is_first:
            course.make_ready()
        processes.wait()
        loader = course.loader(rank=processes.rank, world=processes.world)
        losses = course.losses().to(processes.device)
        optimizer = course.optimizer(net, losses)
        steps = max(1, len(loader) // config.accumulate)
        state = TrainingState(
            net,
            losses,
            optimizer,
            build_scheduler(optimizer, config, steps_per_epoch=steps),
            torch.amp.GradScaler(processes.device.type, enabled=config.amp == "fp16"),
            averaging(net, config.ema),
        )
        return cls(course, processes, state, loader)

    def one_epoch(self, observer: Observer, stop: _Stop) -> float:
        """Every batch not yet seen, until somebody asks to stop. Gives the share of time spent waiting for images."""
        state, config = self.state, self.course.config.train
        resting = self.course.begin_epoch(state.net, state.epoch)
        if state.step_in_epoch == 0:
            state.optimizer.zero_grad(set_to_none=True)  # of batches at the end of an epoch too few to make a step
        model = self.processes.wrapped(state.net, unused=resting)
        self.loader.set_epoch(state.epoch, skip=state.step_in_epoch)
        observer.epoch_begins(state.epoch, len(self.loader) + state.step_in_epoch, state.step_in_epoch)
        clock = _Clock()
        for batch in clock.watching(self.loader):
            figures = self._step(model, batch)
            state.step_in_epoch += 1
            for name, value in figures.items():
                state.partial[name] = state.partial.get(name, 0.0) + value
            observer.step_done(figures)
            if state.step_in_epoch % config.accumulate == 0 and self.processes.any(stop.asked):
                stop.asked = True
                break
        return clock.waited_share

    def _step(self, model: nn.Module, batch: NamedBatch) -> Epoch:
        """One batch forward and back; every `accumulate` batches the weights move."""
        state, config = self.state, self.course.config.train
        total, parts = self.course.step(model, state.losses, batch, processes=self.processes, amp=config.amp)
        self._require_finite(total, batch)
        scaled: Tensor = state.scaler.scale(total / config.accumulate)
        scaled.backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        if (state.step_in_epoch + 1) % config.accumulate == 0:
            self._move()
        return {"loss": total.item(), **{name: part.item() for name, part in parts.items()}}

    def _move(self) -> None:
        state, config = self.state, self.course.config.train
        if config.clip:
            state.scaler.unscale_(state.optimizer)
            torch.nn.utils.clip_grad_norm_(state.net.parameters(), config.clip)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        state.scheduler.step()
        if state.averaged is not None:
            state.averaged.update_parameters(state.net)

    def _require_finite(self, total: Tensor, batch: NamedBatch) -> None:
        if math.isfinite(total.item()):
            return
        state, kept = self.state, self.checkpoint
        advice = f"{kept} is the last good checkpoint" if kept.exists() else "no checkpoint was due yet"
        raise TrainingStoppedError(
            f"the loss became {total.item()} in epoch {state.epoch + 1}, batch {state.step_in_epoch + 1} "
            f"(its first image is {batch.names[0]}); {advice}. Lower lr or raise clip, or train without amp"
        )

    def end_epoch(self, observer: Observer, *, waited: float) -> None:
        """Close the epoch's books: its means, its validation, the best so far. Times are shown, and not kept."""
        state = self.state
        steps = max(1, state.step_in_epoch)
        figures = {name: value / steps for name, value in state.partial.items()}
        figures["lr"] = self._rate()
        state.epoch, state.step_in_epoch, state.partial = state.epoch + 1, 0, {}
        if self._is_time_to_validate():
            figures |= self._validated()
        state.history.append({"epoch": state.epoch, **figures})
        if self.processes.is_first:
            write_history(state.history, self.folder)
        if state.epoch % self.course.config.output.save_every == 0:
            self.save()
        observer.epoch_done(state.epoch, {**figures, "wait": waited})

    def _rate(self) -> float:
        """The rate that `lr` is, now; that of some parameters may be another."""
        scheduler = self.state.scheduler
        return self.course.config.train.lr * float(scheduler.lr_lambdas[0](scheduler.last_epoch))

    def _is_time_to_validate(self) -> bool:
        config = self.course.config
        is_last = self.state.epoch == config.train.epochs
        return self.course.is_judged and (is_last or self.state.epoch % config.val.val_every == 0)

    def _validated(self) -> Epoch:
        """Judge the weights that would be shipped. Every process gets the figures; the first one computes them."""
        state = self.state
        result = self.processes.shared(self.course.judge(state.judged) if self.processes.is_first else None)
        if state.best is None or result.score > state.best:
            state.best, state.stale = result.score, 0
            self._keep("best.pt")
        else:
            state.stale += 1
        return result.figures

    @property
    def is_stale(self) -> bool:
        return 0 < self.course.config.val.patience <= self.state.stale

    @property
    def checkpoint(self) -> Path:
        return self.folder / "weights" / "checkpoint.pt"

    def save(self) -> None:
        if self.processes.is_first:
            save_state(self.state, self.checkpoint, config=asdict(cast(Any, self.course.config)))

    def finish(self) -> None:
        self.save()
        self._keep("final.pt")

    def _keep(self, name: str) -> None:
        """Weights that `embed`, `export` and `eval` take: with their card."""
        if self.processes.is_first:
            net = self.state.judged
            save_checkpoint(self.folder / "weights" / name, net, card=self.course.card(net))


class _Clock:
    """How much of a loop's time goes by waiting for what it loops over."""

    def __init__(self) -> None:
        self._began_s = time.perf_counter()
        self._waited_s = 0.0

    @property
    def waited_share(self) -> float:
        return self._waited_s / max(time.perf_counter() - self._began_s, 1e-9)

    def watching(self, batches: Iterable[NamedBatch]) -> Iterator[NamedBatch]:
        asked_s = time.perf_counter()
        for batch in batches:
            self._waited_s += time.perf_counter() - asked_s
            yield batch
            asked_s = time.perf_counter()


@dataclass
class _Stop:
    asked: bool = False


@contextmanager
def _stop_signals() -> Iterator[_Stop]:
    """Ctrl-C and SIGTERM ask, they do not interrupt: the step under way is finished and saved."""
    stop = _Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.asked = True

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, ask) for kind in kinds}
    try:
        yield stop
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
