"""What every backend promises: subclass `SessionContract`, or `OnnxContract` for one that reads ONNX files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import BIAS, Model, conv_mean, lost_batch, sum_and_product

from sightline.errors import BackendError, ModelOutputError
from sightline.runtime.open import open_session
from sightline.runtime.session import Session, run_batched
from sightline.types import Array

TOLERANCE = 1e-4  # of the largest number expected: what orders of summation differ by in float32
ROW_COUNTS = (0, 1, 2, 3, 7, 17, 33)


def assert_close(actual: Array, expected: Array, *, tolerance: float = TOLERANCE) -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    if expected.size:
        scale = float(np.abs(expected).max())
        difference = float(np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max())
        assert difference <= tolerance * scale


def assert_answers(actual: dict[str, Array], expected: dict[str, Array]) -> None:
    assert list(actual) == list(expected)
    for name, array in expected.items():
        assert_close(actual[name], array)


class SessionContract:
    """A subclass names its backend and gives a `model`: open batch, one image input, one output."""

    backend: str
    device = "cpu"
    precision = "float32"
    lane_rounds = 6

    @pytest.fixture
    def model(self) -> Model:
        raise NotImplementedError

    def open(self, path: Path, **how: Any) -> Session:
        return open_session(path, self.backend, **({"device": self.device, "fallback": False} | how))

    @pytest.fixture
    def session(self, model: Model) -> Iterator[Session]:
        with self.open(model.path) as session:
            yield session

    def test_it_says_what_it_takes_and_gives(self, session: Session, model: Model) -> None:
        assert session.inputs == model.inputs
        assert session.outputs == model.outputs
        assert session.fixed_batch is None

    def test_it_says_where_and_how_it_runs(self, session: Session, model: Model) -> None:
        assert (session.backend, session.device, session.precision) == (self.backend, self.device, self.precision)
        assert session.path == model.path
        assert session.fallbacks == ()
        assert [(attempt.backend, attempt.opened) for attempt in session.attempts] == [(self.backend, True)]
        assert repr(session) == f"<Session {model.path.name} on {self.backend} ({self.device}, {self.precision})>"

    @pytest.mark.parametrize("rows", [1, 2, 5])
    def test_answers_come_by_output_name_and_are_right(self, session: Session, model: Model, rows: int) -> None:
        feeds = model.feeds(rows)
        expected = model.answer(feeds)
        assert_answers(session.run(feeds), expected)
        assert_answers(session.run_lane(feeds), expected)

    @pytest.mark.parametrize("rows", ROW_COUNTS)
    def test_any_number_of_rows_is_answered_as_one_by_one(self, session: Session, model: Model, rows: int) -> None:
        feeds = model.feeds(rows)
        assert_answers(run_batched(session, feeds), model.answer(feeds))

    def test_the_same_input_gives_the_same_bytes_twice(self, session: Session, model: Model) -> None:
        feeds = model.feeds(9)
        for run in (session.run, session.run_lane, lambda feeds: run_batched(session, feeds)):
            first, second = run(feeds), run(feeds)
            assert {name: array.tobytes() for name, array in first.items()} == {
                name: array.tobytes() for name, array in second.items()
            }

    def test_two_sessions_over_one_file_give_the_same_bytes(self, session: Session, model: Model) -> None:
        feeds = model.feeds(3)
        with self.open(model.path) as other:
            pairs = zip(session.run(feeds).values(), other.run(feeds).values(), strict=True)
            assert all(mine.tobytes() == theirs.tobytes() for mine, theirs in pairs)

    def test_one_thread_gives_the_right_answer_too(self, model: Model) -> None:
        feeds = model.feeds(5)
        with self.open(model.path, threads=1) as session:
            assert_answers(run_batched(session, feeds), model.answer(feeds))

    def test_a_feed_of_another_name_is_refused_with_both_names(self, session: Session, model: Model) -> None:
        [(name, array)] = model.feeds(1).items()
        with pytest.raises(ValueError, match=rf"fed \['elsewhere'\]; expected \['{name}'\]"):
            session.run({"elsewhere": array})
        with pytest.raises(ValueError, match=rf"fed \['{name}', 'too_much'\]; expected \['{name}'\]"):
            session.run({name: array, "too_much": array})
        with pytest.raises(ValueError, match=rf"fed \[\]; expected \['{name}'\]"):
            session.run({})

    def test_a_feed_of_another_shape_is_refused_with_both_shapes(self, session: Session, model: Model) -> None:
        [(name, array)] = model.feeds(2).items()
        grey, flat = array[:, :1], array[0]
        for wrong in (grey, flat, array[None]):
            fed = ", ".join(map(str, wrong.shape))
            with pytest.raises(ValueError, match=rf"fed float32\[{fed}\]; expected {name} float32\[\?, 3, "):
                session.run({name: wrong})

    @pytest.mark.parametrize("dtype", ["float64", "uint8", "float16", ">f4"])
    def test_a_feed_of_another_type_is_refused_with_both_types(
        self, session: Session, model: Model, dtype: str
    ) -> None:
        [(name, array)] = model.feeds(1).items()
        wrong = array.astype(dtype)
        with pytest.raises(ValueError, match=rf"fed {wrong.dtype}\[1, 3, .*; expected {name} float32"):
            session.run({name: wrong})

    def test_no_rows_of_another_shape_are_refused_as_well(self, session: Session, model: Model) -> None:
        [(name, array)] = model.feeds(1).items()
        with pytest.raises(ValueError, match=rf"fed float32\[0, 1, .*; expected {name}"):
            run_batched(session, {name: array[:0, :1]})
        with pytest.raises(ValueError, match=rf"fed \['elsewhere'\]; expected \['{name}'\]"):
            run_batched(session, {"elsewhere": array[:0]})

    def test_arrays_in_any_memory_order_are_fed_as_what_they_say(self, session: Session, model: Model) -> None:
        [(name, array)] = model.feeds(4).items()
        expected = model.answer({name: array})
        strided = np.repeat(array, 2, axis=0)[::2]
        channels_last = np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        backwards = np.ascontiguousarray(array[:, :, :, ::-1])[:, :, :, ::-1]
        for same in (strided, channels_last, backwards, np.asfortranarray(array)):
            assert not same.flags.c_contiguous
            assert_answers(session.run({name: same}), expected)

    def test_an_array_that_may_only_be_read_is_fed_without_a_warning(self, session: Session, model: Model) -> None:
        feeds = model.feeds(2)
        for array in feeds.values():
            array.setflags(write=False)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert_answers(session.run(feeds), model.answer(feeds))

    def test_what_is_fed_is_not_modified(self, session: Session, model: Model) -> None:
        feeds = model.feeds(3)
        before = {name: array.copy() for name, array in feeds.items()}
        session.run(feeds)
        session.run_lane(feeds)
        run_batched(session, feeds)
        for name, array in before.items():
            np.testing.assert_array_equal(feeds[name], array)

    def test_an_answer_stays_what_it_was_when_the_next_is_given(self, session: Session, model: Model) -> None:
        feeds = model.feeds(4)
        other = {name: array[::-1] * 2 for name, array in feeds.items()}
        for run in (session.run, session.run_lane):
            first = run(feeds)
            kept = {name: array.copy() for name, array in first.items()}
            second = run(other)
            for name, array in kept.items():
                np.testing.assert_array_equal(first[name], array)
                assert not np.shares_memory(first[name], second[name])
                first[name][...] = np.nan
            assert_answers(run(feeds), kept)

    @pytest.mark.parametrize("how", ["run_lane", "run"])
    def test_threads_that_run_it_at_once_each_get_their_own_answer(
        self, session: Session, model: Model, how: str
    ) -> None:
        rows = model.feeds(8)
        feeds = [{name: array[index : index + 1] for name, array in rows.items()} for index in range(8)]
        expected = [model.answer(feed) for feed in feeds]
        run = getattr(session, how)
        with ThreadPoolExecutor(8) as threads:
            for _ in range(self.lane_rounds):
                for actual, right in zip(threads.map(run, feeds), expected, strict=True):
                    assert_answers(actual, right)

    def test_threads_that_run_batches_at_once_each_get_their_own_answer(self, session: Session, model: Model) -> None:
        feeds = [model.feeds(rows) for rows in (3, 7, 17)]
        expected = [model.answer(feed) for feed in feeds]
        with ThreadPoolExecutor(3) as threads:
            for actual, right in zip(
                threads.map(lambda feed: run_batched(session, feed), feeds), expected, strict=True
            ):
                assert_answers(actual, right)

    def test_closing_twice_is_closing_once_and_nothing_runs_after(self, model: Model) -> None:
        session = self.open(model.path)
        run_batched(session, model.feeds(9))
        session.close()
        session.close()
        for run in (session.run, session.run_lane):
            with pytest.raises(ValueError, match=f"{model.path.name} was closed"):
                run(model.feeds(1))

    def test_a_closed_session_still_says_what_it_was(self, model: Model) -> None:
        session = self.open(model.path)
        session.close()
        assert (session.device, session.precision) == (self.device, self.precision)
        assert session.inputs == model.inputs

    def test_leaving_a_with_block_closes_it(self, model: Model) -> None:
        with self.open(model.path) as session:
            session.run(model.feeds(1))
        with pytest.raises(ValueError, match="was closed"):
            session.run(model.feeds(1))

    def test_an_unknown_device_is_refused_with_the_known_ones(self, model: Model) -> None:
        for device in ("abacus", "cuda:one", "cuda:-1"):
            with pytest.raises(BackendError, match=rf"unknown device '{device}'; expected auto, cpu, cuda, tensorrt"):
                self.open(model.path, device=device)

    def test_an_unknown_precision_is_refused_with_the_possible_ones(self, model: Model) -> None:
        with pytest.raises(BackendError, match=f"precision 'float128' cannot be had here, only {self.precision}"):
            self.open(model.path, precision="float128")

    def test_asking_for_the_precision_it_has_changes_nothing(self, session: Session, model: Model) -> None:
        feeds = model.feeds(2)
        with self.open(model.path, precision=self.precision) as asked:
            assert_answers(asked.run(feeds), session.run(feeds))


class OnnxContract(SessionContract):
    """A backend that reads ONNX files answers as a slow loop does, whatever batch a file was exported with."""

    @pytest.fixture
    def model(self, tmp_path: Path) -> Model:
        return conv_mean(tmp_path / "conv_mean.onnx")

    @pytest.mark.parametrize("batch", [4, 16])
    @pytest.mark.parametrize("rows", ROW_COUNTS)
    def test_a_fixed_batch_answers_any_number_of_rows_and_no_padding(
        self, tmp_path: Path, batch: int, rows: int
    ) -> None:
        model = conv_mean(tmp_path / "fixed.onnx", batch=batch)
        feeds = model.feeds(rows)
        with self.open(model.path) as session:
            assert session.fixed_batch == batch
            answer = run_batched(session, feeds)
        assert_answers(answer, model.answer(feeds))
        padding = np.abs(answer["features"] - BIAS).max(axis=1, initial=0) < 1e-6  # what a black image answers
        assert not padding.any()

    def test_a_fixed_batch_refuses_another_when_it_is_run_as_it_is(self, tmp_path: Path) -> None:
        model = conv_mean(tmp_path / "fixed.onnx", batch=4)
        with self.open(model.path) as session:
            assert session.inputs == model.inputs
            with pytest.raises(ValueError, match=r"fed float32\[3, 3, 8, 4\]; expected images float32\[4, 3, 8, 4\]"):
                session.run(model.feeds(3))

    def test_a_model_that_lost_its_batch_is_refused(self, tmp_path: Path) -> None:
        images = conv_mean(tmp_path / "conv_mean.onnx").feeds(9)
        with (
            self.open(lost_batch(tmp_path / "lost.onnx"), threads=1) as session,
            pytest.raises(ModelOutputError, match=r"lost.onnx: output 'features' has shape \(1, \d+\) for \d inputs"),
        ):
            run_batched(session, images)

    def test_several_inputs_and_outputs_keep_their_names_and_types(self, tmp_path: Path) -> None:
        model = sum_and_product(tmp_path / "two.onnx")
        feeds = model.feeds(19)
        with self.open(model.path) as session:
            assert session.inputs == model.inputs
            assert session.outputs == model.outputs
            assert_answers(session.run(feeds), model.answer(feeds))
            assert_answers(run_batched(session, feeds), model.answer(feeds))

    def test_inputs_of_unequal_length_are_refused(self, tmp_path: Path) -> None:
        model = sum_and_product(tmp_path / "two.onnx")
        feeds = model.feeds(3)
        with self.open(model.path) as session, pytest.raises(ValueError, match=r"rows: \{'real': 3, 'whole': 2\}"):
            run_batched(session, {"real": feeds["real"], "whole": feeds["whole"][:2]})

    def test_no_rows_give_outputs_of_their_own_type(self, tmp_path: Path) -> None:
        model = sum_and_product(tmp_path / "two.onnx")
        with self.open(model.path) as session:
            empty = run_batched(session, model.feeds(0))
        assert [(name, array.shape, array.dtype.name) for name, array in empty.items()] == [
            ("sum", (0, 2), "float32"),
            ("product", (0, 2), "int64"),
        ]
