"""How rows become batches, seen by an engine that writes down what it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.card import ModelCard
from sightline.errors import ModelOutputError
from sightline.runtime.session import Feeds, Session, run_batched
from sightline.types import Array, TensorSpec


class Recorder:
    """Doubles its input and adds one, so that a padded row of zeros would come out as a row of ones."""

    device, fell_back, precision = "cpu", "", "float32"

    def __init__(self, *, batch: int | None, lanes: int, chunk: int) -> None:
        self.inputs = (TensorSpec("x", (batch, 2), "float32"),)
        self.outputs = (TensorSpec("y", (batch, 2), "float32"),)
        self.lanes = lanes
        self.chunk = chunk
        self.seen: list[Array] = []
        self.ways: set[str] = set()
        self._writing = threading.Lock()

    def run(self, feeds: Feeds) -> dict[str, Array]:
        return self._double(feeds, "run")

    def run_lane(self, feeds: Feeds) -> dict[str, Array]:
        return self._double(feeds, "run_lane")

    def close(self) -> None:
        self.ways.add("close")

    def _double(self, feeds: Feeds, way: str) -> dict[str, Array]:
        with self._writing:
            self.seen.append(feeds["x"].copy())
            self.ways.add(way)
        return {"y": feeds["x"] * 2 + 1}


def session_over(engine: Recorder) -> Session:
    return Session(engine, card=ModelCard("unknown", "none"), path=Path("recorder.onnx"), backend="recorder")


def numbered(rows: int) -> Array:
    """Rows that are never zero, each unlike any other."""
    return np.arange(1, 2 * rows + 1, dtype=np.float32).reshape(rows, 2)


counts = st.integers(1, 9)


@given(rows=st.integers(0, 40), lanes=counts, chunk=counts)
def test_an_open_batch_is_cut_into_chunks_that_together_are_the_rows(rows: int, lanes: int, chunk: int) -> None:
    engine = Recorder(batch=None, lanes=lanes, chunk=chunk)
    with session_over(engine) as session:
        answer = run_batched(session, {"x": numbered(rows)})
    np.testing.assert_array_equal(answer["y"], numbered(rows) * 2 + 1)
    fed = sorted(row for batch in engine.seen for row in batch.tolist())
    assert fed == numbered(rows).tolist()
    assert all(1 <= len(batch) <= chunk for batch in engine.seen)


@given(rows=st.integers(0, 40), lanes=counts, chunk=counts, batch=counts)
def test_a_fixed_batch_is_always_full_and_its_padding_is_dropped(rows: int, lanes: int, chunk: int, batch: int) -> None:
    engine = Recorder(batch=batch, lanes=lanes, chunk=chunk)
    with session_over(engine) as session:
        answer = run_batched(session, {"x": numbered(rows)})
    np.testing.assert_array_equal(answer["y"], numbered(rows) * 2 + 1)
    passes = (rows + batch - 1) // batch
    assert [len(fed) for fed in engine.seen] == [batch] * passes
    padding = [row for fed in engine.seen for row in fed.tolist() if row == [0.0, 0.0]]
    assert len(padding) == passes * batch - rows


@pytest.mark.parametrize(
    ("rows", "lanes", "chunk", "sizes"),
    [
        (1, 4, 16, [1]),
        (4, 4, 16, [1, 1, 1, 1]),  # a row for each lane rather than four for one
        (10, 4, 16, [3, 3, 3, 1]),
        (40, 2, 16, [16, 16, 8]),
        (5, 1, 16, [5]),
        (33, 1, 16, [16, 16, 1]),
    ],
)
def test_every_lane_gets_a_fair_share_of_few_rows(rows: int, lanes: int, chunk: int, sizes: list[int]) -> None:
    engine = Recorder(batch=None, lanes=lanes, chunk=chunk)
    with session_over(engine) as session:
        run_batched(session, {"x": numbered(rows)})
    assert sorted(map(len, engine.seen), reverse=True) == sizes


def test_one_batch_has_all_threads_and_several_share_the_lanes() -> None:
    alone, shared = Recorder(batch=None, lanes=2, chunk=4), Recorder(batch=None, lanes=2, chunk=4)
    run_batched(session_over(alone), {"x": numbered(1)})
    run_batched(session_over(shared), {"x": numbered(9)})
    assert (alone.ways, shared.ways) == ({"run"}, {"run_lane"})


def test_no_rows_run_nothing() -> None:
    engine = Recorder(batch=4, lanes=2, chunk=4)
    answer = run_batched(session_over(engine), {"x": numbered(0)})
    assert (answer["y"].shape, answer["y"].dtype) == ((0, 2), np.float32)
    assert engine.seen == []


@pytest.mark.parametrize(
    "spoil",
    [lambda y: y[:1], lambda y: y.reshape(1, -1), lambda y: np.concatenate([y, y]), lambda y: y.sum()],
    ids=["one row", "flattened", "twice", "a number"],
)
def test_an_output_without_a_row_for_each_input_is_refused(spoil: Callable[[Array], Array]) -> None:
    class Spoiled(Recorder):
        def _double(self, feeds: Feeds, way: str) -> dict[str, Array]:
            return {"y": spoil(feeds["x"])}

    session = session_over(Spoiled(batch=None, lanes=1, chunk=8))
    with pytest.raises(ModelOutputError, match=r"recorder.onnx: output 'y' has shape .* for 3 inputs"):
        run_batched(session, {"x": numbered(3)})


def test_what_goes_wrong_on_a_lane_reaches_the_caller() -> None:
    class Failing(Recorder):
        def _double(self, feeds: Feeds, way: str) -> dict[str, Array]:
            if feeds["x"][0, 0] > 4:
                raise MemoryError("the third part")
            return super()._double(feeds, way)

    with session_over(Failing(batch=None, lanes=2, chunk=1)) as session, pytest.raises(MemoryError, match="third part"):
        run_batched(session, {"x": numbered(6)})


def test_the_engine_is_closed_once_however_often_the_session_is() -> None:
    class Counting(Recorder):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    engine = Counting(batch=None, lanes=2, chunk=2)
    with session_over(engine) as session:
        run_batched(session, {"x": numbered(9)})
        session.close()
    assert engine.closed == 1
