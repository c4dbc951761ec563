"""The seam: a model file, once open, is a `Session`, whatever runs it.

A backend is an `Engine`: one class in one file that only runs arrays. Everything a caller relies on (checked feeds, the
card, what was tried, how a batch is cut) is here once, so that no backend can get it differently wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

import numpy as np

from sightline.card import ModelCard
from sightline.errors import ModelOutputError
from sightline.types import Array, TensorSpec

Feeds = Mapping[str, Array]
Part = TypeVar("Part")
Result = TypeVar("Result")


class Engine(Protocol):
    """What a backend must be: it runs arrays, and tells the truth about where."""

    @property
    def inputs(self) -> Sequence[TensorSpec]: ...

    @property
    def outputs(self) -> Sequence[TensorSpec]: ...

    @property
    def device(self) -> str:
        """Where it really runs, e.g. "cpu" or "cuda:0"."""

    @property
    def fell_back(self) -> str:
        """Why that is not the device the caller asked for; empty when it is."""

    @property
    def precision(self) -> str:
        """What it really computes in, e.g. "float32"."""

    @property
    def lanes(self) -> int:
        """How many callers of `run_lane` it serves at once."""

    @property
    def chunk(self) -> int:
        """The batch size it is fastest at, when the model leaves the batch open."""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """One pass with every thread: the shortest wait for one answer."""

    def run_lane(self, feeds: Feeds) -> dict[str, Array]:
        """One pass on one lane; several threads call this at once: the most answers per second."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Attempt:
    """One backend that was considered for a model, and how that went."""

    backend: str
    path: str
    reason: str = ""  # empty: it was opened

    @property
    def opened(self) -> bool:
        return not self.reason

    def __str__(self) -> str:
        return f"{self.backend} {self.path}: {self.reason or 'opened'}"


class Session:
    """An open model: `run(feeds) -> arrays`, and the truth about what runs it."""

    def __init__(
        self, engine: Engine, *, card: ModelCard, path: Path, backend: str, attempts: Sequence[Attempt] = ()
    ) -> None:
        self.engine = engine
        self.card = card
        self.path = path
        self.backend = backend
        self.attempts = tuple(attempts)
        self._closed = False
        self._lanes: ThreadPoolExecutor | None = None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return tuple(self.engine.inputs)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(self.engine.outputs)

    @property
    def device(self) -> str:
        return self.engine.device

    @property
    def precision(self) -> str:
        return self.engine.precision

    @property
    def fallbacks(self) -> tuple[Attempt, ...]:
        """The attempts that failed before one was opened: empty when the first choice was had."""
        return tuple(attempt for attempt in self.attempts if not attempt.opened)

    @property
    def fixed_batch(self) -> int | None:
        """The batch size the model insists on, or None when it takes any."""
        return self.inputs[0].shape[0] if self.inputs[0].shape else None

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs by name for inputs by name. Raises `ValueError` when a feed does not fit, or after `close`."""
        return self.engine.run(self.checked(feeds))

    def run_lane(self, feeds: Feeds) -> dict[str, Array]:
        """As `run`, on one of the engine's lanes: for callers that keep several going at once."""
        return self.engine.run_lane(self.checked(feeds))

    def map_on_lanes(self, work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        """`work` on each part, as many at once as the engine has lanes, results in the order of the parts."""
        if self.engine.lanes == 1 or len(parts) == 1:
            return [work(part) for part in parts]
        if self._lanes is None:
            self._lanes = ThreadPoolExecutor(self.engine.lanes, thread_name_prefix="sightline-lane")
        return list(self._lanes.map(work, parts))

    def batch_size(self, rows: int) -> int:
        """Rows a part should have when `rows` are to be run: what the file insists on, else what is fastest here."""
        fair_share = max(1, -(-rows // self.engine.lanes))
        return self.fixed_batch or min(self.engine.chunk, fair_share)

    def checked(self, feeds: Feeds) -> Feeds:
        """The feeds as an engine takes them. Raises `ValueError` saying what was fed and what is expected."""
        if self._closed:
            raise ValueError(f"{self.path.name} was closed; expected an open session: open it again")
        expected = {spec.name: spec for spec in self.inputs}
        if feeds.keys() != expected.keys():
            raise ValueError(f"{self.path.name} was fed {sorted(feeds)}; expected {sorted(expected)}")
        return {name: _fitting(feeds[name], spec, self.path.name) for name, spec in expected.items()}

    def close(self) -> None:
        """Give back what the model holds. Closing twice is closing once."""
        if self._closed:
            return
        self._closed = True
        if self._lanes is not None:
            self._lanes.shutdown()
            self._lanes = None
        self.engine.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Session {self.path.name} on {self.backend} ({self.device}, {self.precision})>"


def _fitting(array: Array, spec: TensorSpec, model: str) -> Array:
    fits = array.ndim == len(spec.shape) and all(
        wanted is None or wanted == got for wanted, got in zip(spec.shape, array.shape, strict=True)
    )
    if not fits or array.dtype != np.dtype(spec.dtype):
        raise ValueError(f"{model} was fed {array.dtype}{list(array.shape)}; expected {spec}")
    return np.ascontiguousarray(array)


def run_batched(session: Session, feeds: Feeds) -> dict[str, Array]:
    """`run` for any number of rows, whatever batch the model was exported with.

    An open batch is cut into chunks of the size the engine is fastest at and spread over its lanes; a fixed batch is
    padded with zeros and the padded rows are dropped. No rows give empty outputs.
    """
    rows = _row_count(feeds)
    if rows == 0:
        session.checked({name: _padded(array, session.fixed_batch or 0) for name, array in feeds.items()})
        return {spec.name: _no_rows(spec) for spec in session.outputs}
    size = session.batch_size(rows)
    if rows <= size:
        return run_part(session, feeds, run=session.run)
    parts = [{name: array[start : start + size] for name, array in feeds.items()} for start in range(0, rows, size)]
    outputs = session.map_on_lanes(lambda part: run_part(session, part, run=session.run_lane), parts)
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}


def run_part(session: Session, feeds: Feeds, *, run: Callable[[Feeds], dict[str, Array]]) -> dict[str, Array]:
    """One pass over at most one batch: padded to the batch the file insists on, the padded rows dropped."""
    rows = _row_count(feeds)
    wanted = session.fixed_batch or rows
    outputs = run({name: _padded(array, wanted) for name, array in feeds.items()})
    _require_rows(session, outputs, wanted)
    return {name: array[:rows] for name, array in outputs.items()}


def _row_count(feeds: Feeds) -> int:
    counts = {len(array) for array in feeds.values()}
    if len(counts) != 1:
        sizes = {name: len(array) for name, array in feeds.items()}
        raise ValueError(f"inputs differ in their number of rows: {sizes}")
    return counts.pop()


def _padded(array: Array, rows: int) -> Array:
    missing = rows - len(array)
    return array if missing == 0 else np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)])


def _require_rows(session: Session, outputs: Feeds, rows: int) -> None:
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != rows:
            raise ModelOutputError(
                f"{session.path.name}: output {name!r} has shape {array.shape} for {rows} inputs; "
                "expected one row for each: the batch was lost when the model was exported"
            )


def _no_rows(spec: TensorSpec) -> Array:
    return np.empty((0, *(size or 0 for size in spec.shape[1:])), np.dtype(spec.dtype))
