"""What every tracker promises: subclass `TrackerContract` and say how one is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.errors import ModelOutputError, SourceError
from sightline.tracking.tracker import Tracker
from sightline.types import Detections, Tracks

FPS = 25
Box = tuple[float, float, float, float, float]  # left, top, width, height, score


def detections(boxes: Iterable[Box], *, kind: int = 0) -> Detections:
    table = np.array([(x, y, x + w, y + h, score) for x, y, w, h, score in boxes], np.float32).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4], np.full(len(table), kind, np.int64))


def taken(given_: Detections, rows: Sequence[int] | np.ndarray) -> Detections:
    return Detections(given_.boxes_xyxy[rows], given_.scores[rows], given_.classes[rows])


def feed(tracker: Tracker, frames: Iterable[Detections], *, start: int = 0, fps: float = FPS) -> list[Tracks]:
    return [tracker.update(frame, frame=n, time_s=n / fps) for n, frame in enumerate(frames, start)]


def walker(frames: int, *, left: float = 100, top: float = 100, step: float = 3, score: float = 0.9) -> list[Box]:
    return [(left + step * n, top, 40, 100, score) for n in range(frames)]


NOTHING = detections([])
SIDES = st.integers(1, 80)
PLACES = st.integers(-50, 300)
BOXES = st.tuples(PLACES, PLACES, SIDES, SIDES, st.sampled_from([0.05, 0.2, 0.45, 0.55, 0.7, 0.95]))
FRAMES = st.lists(st.lists(BOXES, max_size=8, unique_by=lambda box: box[:4]), min_size=1, max_size=8)
# Each subclass makes its own tracker and shares no examples with the others.
quickly = settings(
    max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.differing_executors]
)


class TrackerContract:
    make: Callable[[], Tracker]

    def test_who_stays_keeps_one_id_and_the_first_is_1(self) -> None:
        answers = feed(self.make(), [detections([box]) for box in walker(20)])
        assert {int(i) for answer in answers for i in answer.ids} == {1}
        assert [len(answer) for answer in answers[3:]] == [1] * 17

    def test_two_trackers_number_by_themselves(self) -> None:
        one, other = self.make(), self.make()
        for n, box in enumerate(walker(6)):
            for tracker in (one, other):
                answer = tracker.update(detections([box]), frame=n, time_s=n / FPS)
        assert answer.ids.tolist() == [1]

    def test_a_frame_with_nobody_is_answered_with_nobody(self) -> None:
        (answer,) = feed(self.make(), [NOTHING])
        assert (answer.ids.shape, answer.detections.boxes_xyxy.shape) == ((0,), (0, 4))
        assert answer.ids.dtype == np.int64

    @quickly
    @given(FRAMES)
    def test_an_answer_is_rows_of_the_detections_in_their_order_with_an_id_each(self, frames: list[list[Box]]) -> None:
        tracker = self.make()
        for n, boxes in enumerate(map(detections, frames)):
            answer = tracker.update(boxes, frame=n, time_s=n / FPS)
            rows = tracker.rows
            assert (np.diff(rows) > 0).all() and len(rows) == len(answer)
            assert np.array_equal(answer.detections.boxes_xyxy, boxes.boxes_xyxy[rows])
            assert np.array_equal(answer.detections.scores, boxes.scores[rows])
            assert len(set(answer.ids.tolist())) == len(answer) and (answer.ids > 0).all()

    @quickly
    @given(FRAMES, st.randoms(use_true_random=False))
    def test_the_order_of_the_detections_decides_nothing(self, frames: list[list[Box]], random: object) -> None:
        one, other = self.make(), self.make()
        for n, boxes in enumerate(map(detections, frames)):
            order = list(range(len(boxes)))
            random.shuffle(order)  # type: ignore[attr-defined]
            answer = one.update(boxes, frame=n, time_s=n / FPS)
            shuffled = other.update(taken(boxes, order), frame=n, time_s=n / FPS)
            named = dict(zip(one.rows.tolist(), answer.ids.tolist(), strict=True))
            back = {order[row]: i for row, i in zip(other.rows.tolist(), shuffled.ids.tolist(), strict=True)}
            assert back == named

    @quickly
    @given(FRAMES, FRAMES)
    def test_after_a_reset_it_answers_like_a_new_one(self, before: list[list[Box]], after: list[list[Box]]) -> None:
        used, new = self.make(), self.make()
        feed(used, map(detections, before), start=1000)
        used.reset()
        pairs = zip(feed(used, map(detections, after)), feed(new, map(detections, after)), strict=True)
        assert all(one.ids.tolist() == other.ids.tolist() for one, other in pairs)
        assert used.ended() == new.ended()

    @quickly
    @given(FRAMES)
    def test_silence_ends_every_track_and_each_is_told_once(self, frames: list[list[Box]]) -> None:
        tracker = self.make()
        answers = feed(tracker, map(detections, frames))
        feed(tracker, [NOTHING] * (10 * FPS), start=len(frames))
        given_ids = {int(i) for answer in answers for i in answer.ids}
        assert tracker.ended() == sorted(given_ids)
        assert tracker.ended() == []

    def test_a_flush_ends_every_track_and_no_id_is_given_again(self) -> None:
        tracker = self.make()
        feed(tracker, [detections([box]) for box in walker(6)])
        tracker.flush()
        assert tracker.ended() == [1]
        answers = feed(tracker, [detections([box]) for box in walker(6)], start=6)
        assert {int(i) for answer in answers for i in answer.ids} == {2}

    @pytest.mark.parametrize(
        "broken",
        [
            (np.nan, 0, 10, 10, 0.9),
            (0, 0, np.inf, 10, 0.9),
            (1e30, 0, 1e30, 10, 0.9),
            (50, 50, 0, 10, 0.9),
            (50, 50, 10, -5, 0.9),
            (50, 50, 10, 10, np.nan),
        ],
    )
    def test_what_cannot_be_tracked_is_left_out_and_counted(self, broken: Box) -> None:
        tracker = self.make()
        answers = feed(tracker, [detections([broken, box, broken]) for box in walker(6)])
        assert [answer.ids.tolist() for answer in answers[3:]] == [[1]] * 3
        assert tracker.rows.tolist() == [1]
        assert sum(tracker.refused.values()) == 12

    @pytest.mark.parametrize(("time_s", "told"), [(0.1, "times must not go back"), (np.nan, "has no time")])
    def test_a_time_that_cannot_be_is_refused_and_nothing_is_lost(self, time_s: float, told: str) -> None:
        tracker, boxes = self.make(), [detections([box]) for box in walker(12)]
        feed(tracker, boxes[:6])
        with pytest.raises(SourceError, match=told):
            tracker.update(boxes[6], frame=6, time_s=time_s)
        assert {int(i) for answer in feed(tracker, boxes[6:], start=6) for i in answer.ids} == {1}

    def test_embeddings_of_other_detections_are_refused(self) -> None:
        with pytest.raises(ModelOutputError, match="1 detections with embeddings"):
            self.make().update(detections(walker(1)), frame=0, time_s=0, embeddings=np.zeros((2, 4), np.float32))

    def test_five_hundred_at_once_keep_their_ids(self) -> None:
        grid = [(100.0 * (n % 25), 150.0 * (n // 25), 40.0, 100.0, 0.9) for n in range(500)]
        moved = [detections([(x + 2 * n, y, w, h, s) for x, y, w, h, s in grid]) for n in range(6)]
        answers = feed(self.make(), moved)
        assert sorted(answers[-1].ids.tolist()) == list(range(1, 501))
        assert np.array_equal(answers[-1].ids, answers[-2].ids)
