"""Our tracker on scenes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from tracker_contract import FPS, NOTHING, Box, TrackerContract, detections, feed, walker

from sightline.errors import ConfigError, ModelOutputError
from sightline.tracking.tracker import AppearanceTracker, Tracker, TrackerSettings
from sightline.types import Detections, FloatArray, Tracks

Seen = dict[str, Box]  # the people of one frame, by name

LOOKS = dict(zip("abcd", np.eye(4, 8, dtype=np.float32), strict=True))
BLIND = np.full(8, np.nan, np.float32)


class TestOurs(TrackerContract):
    def make(self) -> Tracker:  # type: ignore[override]
        return AppearanceTracker()


def looks(seen: Seen, known: dict[str, FloatArray]) -> FloatArray:
    return np.array([known.get(name, BLIND) for name in seen], np.float32).reshape(len(seen), 8)


def play(
    tracker: Tracker, frames: list[Seen], *, known: dict[str, FloatArray] | None = None, start: int = 0
) -> dict[str, list[int]]:
    """The ids each person had, in order, each once."""
    had: dict[str, list[int]] = {}
    for n, seen in enumerate(frames, start):
        embeddings = None if known is None else looks(seen, known)
        answer = tracker.update(detections(seen.values()), frame=n, time_s=n / FPS, embeddings=embeddings)
        names = list(seen)
        for row, track in zip(tracker.rows.tolist(), answer.ids.tolist(), strict=True):
            ids = had.setdefault(names[row], [])
            if ids[-1:] != [track]:
                ids.append(track)
    return had


def standing(frames: int, left: float = 100) -> list[Seen]:
    return [{"a": (left, 100, 40, 100, 0.9)} for _ in range(frames)]


def away(frames: int) -> list[Seen]:
    return [{}] * frames


class TestMotion:
    def crossing(self) -> list[Seen]:
        """b passes behind a; while more than half of him is hidden, nobody detects him."""
        frames: list[Seen] = []
        for n in range(60):
            a, b = 100.0 + 4 * n, 340.0 - 4 * n
            frames.append({"a": (a, 100, 40, 100, 0.9)})
            if abs(a - b) >= 20:
                frames[-1]["b"] = (b, 95, 38, 96, 0.8)
        return frames

    def test_who_crosses_keeps_his_id(self) -> None:
        ids = play(AppearanceTracker(), self.crossing())
        assert sorted(ids.values()) == [[1], [2]]

    def test_who_is_hidden_for_half_a_second_keeps_his_id(self) -> None:
        walk = [{"a": box} for box in walker(60)]
        assert play(AppearanceTracker(), walk[:25] + away(12) + walk[37:]) == {"a": [1]}

    def test_who_is_hidden_for_longer_than_motion_is_trusted_is_somebody_new(self) -> None:
        tracker = AppearanceTracker()
        assert play(tracker, standing(10) + away(31) + standing(10)) == {"a": [1, 2]}
        assert tracker.ended() == [1]

    def test_who_bends_down_and_is_hidden_has_not_shrunk_to_nothing(self) -> None:
        bending: list[Seen] = [{"a": (100, 100 + 1.5 * n, 40, 100 - 3 * n, 0.9)} for n in range(14)]
        assert play(AppearanceTracker(), bending + away(20) + bending[-1:] * 3) == {"a": [1]}

    def test_missed_detections_cost_nobody_his_id(self) -> None:
        walk = [{"a": box} if n % 3 else {} for n, box in enumerate(walker(60))]
        assert play(AppearanceTracker(), walk) == {"a": [1]}

    def test_a_faint_detection_goes_on_with_a_track(self) -> None:
        tracker = AppearanceTracker()
        scores = [0.9] * 5 + [0.2] * 10 + [0.9] * 5
        walk = [detections([(*box[:4], score)]) for box, score in zip(walker(20), scores, strict=True)]
        assert [len(answer) for answer in feed(tracker, walk)] == [0] + [1] * 19

    @pytest.mark.parametrize("score", [0.05, 0.2, 0.45])
    def test_what_is_not_sure_starts_no_track(self, score: float) -> None:
        tracker = AppearanceTracker()
        assert not any(map(len, feed(tracker, [detections([box]) for box in walker(20, score=score)])))
        assert tracker.held == 0

    def test_a_flicker_gets_no_id_and_ends_nothing(self) -> None:
        tracker = AppearanceTracker()
        assert play(tracker, (standing(1) + away(1)) * 10) == {}
        tracker.flush()
        assert tracker.ended() == []

    @pytest.mark.parametrize("frames", [1, 2, 5])
    def test_an_id_is_given_after_as_many_frames_as_asked(self, frames: int) -> None:
        answers = feed(AppearanceTracker(TrackerSettings(confirmed_after=frames)), [detections(walker(1))] * 8)
        assert [len(answer) for answer in answers] == [0] * (frames - 1) + [1] * (9 - frames)

    def test_the_same_one_detected_twice_is_one(self) -> None:
        twice = [detections([box, (box[0] + 2, box[1] + 2, 40, 100, 0.8)]) for box in walker(10)]
        tracker = AppearanceTracker()
        feed(tracker, [detections([box]) for box in walker(2, left=94)])
        assert {len(answer) for answer in feed(tracker, twice, start=2)} == {1}

    def test_a_person_never_becomes_a_car(self) -> None:
        person, car = (detections(walker(1), kind=kind) for kind in (0, 2))
        answers = feed(AppearanceTracker(), [person] * 5 + [car] * 5)
        assert [answer.ids.tolist() for answer in answers[1:]] == [[1]] * 4 + [[]] + [[2]] * 4


class TestTime:
    def at(self, tracker: Tracker, times_s: list[float]) -> list[Tracks]:
        box = detections(walker(1))
        return [tracker.update(box, frame=n, time_s=time_s) for n, time_s in enumerate(times_s)]

    def test_neighbouring_frames_belong_together_however_slow_the_camera(self) -> None:
        assert [answer.ids.tolist() for answer in self.at(AppearanceTracker(), [0, 4, 8, 12])][1:] == [[1]] * 3

    def test_after_a_long_pause_nobody_is_known(self) -> None:
        tracker = AppearanceTracker()
        assert [answer.ids.tolist() for answer in self.at(tracker, [0, 1, 61, 62])] == [[], [1], [], [2]]
        assert tracker.ended() == [1]

    def test_frames_may_come_irregularly(self) -> None:
        times = np.cumsum([0.04, 0.2, 0.01, 0.01, 0.5, 0.04, 0.3, 0.04])
        moving = [detections([(100 + 75 * time, 100, 40, 100, 0.9)]) for time in times]
        tracker = AppearanceTracker()
        frames = enumerate(zip(moving, times.tolist(), strict=True))
        answers = [tracker.update(boxes, frame=n, time_s=time) for n, (boxes, time) in frames]
        assert [answer.ids.tolist() for answer in answers[1:]] == [[1]] * 7

    def test_how_long_is_waited_does_not_depend_on_the_frame_rate(self) -> None:
        for fps in (5, 50):
            tracker = AppearanceTracker(TrackerSettings(motion_s=1))
            feed(tracker, [detections(walker(1))] * 3, fps=fps)
            feed(tracker, [NOTHING] * fps, start=3, fps=fps)  # the last a second after the last detection
            assert tracker.ended() == []
            feed(tracker, [NOTHING], start=3 + fps, fps=fps)
            assert tracker.ended() == [1]

    def test_a_clock_that_stands_still_is_no_obstacle(self) -> None:
        assert [answer.ids.tolist() for answer in self.at(AppearanceTracker(), [3, 3, 3])] == [[], [1], [1]]


class TestAppearance:
    def turning_back(self) -> list[Seen]:
        """Two people meet, stand as one box for a moment, and each goes back where he came from."""
        frames: list[Seen] = []
        for n in range(61):
            apart = abs(30 - n) * 5.0
            frames.append({"a": (200 - apart, 100, 40, 100, 0.9)})
            if apart > 10:
                frames[-1]["b"] = (200 + apart, 100, 40, 100, 0.9)
        return frames

    def test_who_turns_back_keeps_his_id(self) -> None:
        assert sorted(play(AppearanceTracker(), self.turning_back(), known=LOOKS).values()) == [[1], [2]]

    def test_motion_alone_would_have_taken_one_for_the_other(self) -> None:
        assert sorted(play(AppearanceTracker(), self.turning_back()).values()) != [[1], [2]]

    def leaving(self, *, gone: int = 3 * FPS, left: float = 700) -> list[Seen]:
        return standing(10) + away(gone) + standing(10, left=left)

    def test_who_returns_elsewhere_is_known_by_his_looks(self) -> None:
        tracker = AppearanceTracker()
        assert play(tracker, self.leaving(), known=LOOKS) == {"a": [1]}
        assert tracker.ended() == []

    def test_somebody_else_there_is_somebody_new(self) -> None:
        back = [{"b": seen["a"]} for seen in standing(10, left=700)]
        assert play(AppearanceTracker(), standing(10) + away(75) + back, known=LOOKS) == {"a": [1], "b": [2]}

    def test_who_returns_too_late_is_somebody_new(self) -> None:
        tracker = AppearanceTracker()
        assert play(tracker, self.leaving(gone=5 * FPS + 2), known=LOOKS) == {"a": [1, 2]}
        assert tracker.ended() == [1]

    def test_who_returns_too_late_after_a_pause_of_the_camera_is_too_late(self) -> None:
        tracker = AppearanceTracker()
        play(tracker, standing(10), known=LOOKS)
        assert play(tracker, standing(5, left=700), known=LOOKS, start=10 + 6 * FPS) == {"a": [2]}

    def test_nobody_is_somewhere_else_at_once(self) -> None:
        """Six hundred pixels in a fifth of a second are thirty of his heights a second."""
        assert play(AppearanceTracker(), self.leaving(gone=4), known=LOOKS) == {"a": [1, 2]}

    def test_who_might_be_either_of_two_is_somebody_new(self) -> None:
        both = [{"a": (100, 100, 40, 100, 0.9), "b": (400, 100, 40, 100, 0.9)} for _ in range(10)]
        twins = LOOKS | {"b": LOOKS["a"]}
        back = standing(10, left=700)
        assert play(AppearanceTracker(), both + away(75) + back, known=twins)["a"][1:] == [3]
        assert play(AppearanceTracker(), both + away(75) + back, known=LOOKS)["a"][1:] == []

    def test_a_newcomer_embedded_a_frame_late_is_known_all_the_same(self) -> None:
        tracker = AppearanceTracker(TrackerSettings(confirmed_after=3), explain=True)
        play(tracker, standing(10) + away(75), known=LOOKS)
        assert play(tracker, standing(1, left=700), known={}, start=85) == {}
        assert play(tracker, standing(1, left=700), known=LOOKS, start=86) == {"a": [1]}
        assert tracker.held == 1
        assert [link.stage for link in tracker.explained] == ["returned"]

    def test_a_crowded_crop_teaches_nothing(self) -> None:
        """While b stands half before a, both crops show b; a is still known as a when he returns."""
        alone = standing(4)
        close = [{"a": (100, 100, 40, 100, 0.9), "b": (108, 100, 40, 100, 0.9)} for _ in range(40)]
        tracker = AppearanceTracker()
        play(tracker, alone, known=LOOKS)
        play(tracker, close, known={"a": LOOKS["b"], "b": LOOKS["b"]}, start=4)
        play(tracker, away(50), start=44)
        assert play(tracker, standing(5, left=700), known=LOOKS, start=94) == {"a": [1]}

    def test_rows_that_were_not_embedded_are_tracked_by_motion(self) -> None:
        walk = [{"a": box} for box in walker(30)]
        assert play(AppearanceTracker(), walk, known={}) == {"a": [1]}

    def test_vectors_of_another_model_are_refused_until_a_reset(self) -> None:
        tracker, boxes = AppearanceTracker(), detections(walker(1))
        tracker.update(boxes, frame=0, time_s=0, embeddings=np.ones((1, 8), np.float32))
        with pytest.raises(ModelOutputError, match=r"embeddings of 4 numbers after 8; .* reset"):
            tracker.update(boxes, frame=1, time_s=0.04, embeddings=np.ones((1, 4), np.float32))
        tracker.reset()
        tracker.update(boxes, frame=0, time_s=0, embeddings=np.ones((1, 4), np.float32))

    def test_vectors_may_come_now_and_then(self) -> None:
        tracker = AppearanceTracker()
        for start, known in ((0, None), (5, LOOKS), (10, None), (15, LOOKS)):
            ids = play(tracker, standing(5), known=known, start=start)
        assert ids == {"a": [1]}


class TestExplaining:
    def test_every_link_has_its_numbers(self) -> None:
        """100 pixels high and 10 beside where it should be: 30 of 50 columns shared, likeness (1 - .6) / .4 + .5."""
        tracker = AppearanceTracker(explain=True)
        for n in range(3):
            tracker.update(detections(walker(1)), frame=n, time_s=0, embeddings=LOOKS["a"][None])
        aside = detections([(400, 0, 40, 100, 0.9), (110, 100, 40, 100, 0.9)])
        tracker.update(aside, frame=3, time_s=0, embeddings=np.stack([LOOKS["b"], LOOKS["a"]]))
        (link,) = tracker.explained
        assert (link.row, link.track_id, link.stage) == (1, 1, "near")
        assert (link.iou, link.cosine, link.weight) == pytest.approx((0.6, 1, 0.5))
        assert link.similarity == pytest.approx(0.5 * 0.6 + 0.5 * 1)
        assert link.runner_up is None

    def test_who_returned_is_explained_by_looks_alone_and_told_the_next_best(self) -> None:
        tracker = AppearanceTracker(TrackerSettings(confirmed_after=1), explain=True)
        half = np.float32(np.sqrt(0.5))
        pair = [{"a": (100, 100, 40, 100, 0.9), "b": (400, 100, 40, 100, 0.9)}] * 3
        play(tracker, pair + away(75), known=LOOKS | {"b": half * (LOOKS["a"] + LOOKS["b"])})
        play(tracker, standing(1, left=700), known=LOOKS, start=78)
        (link,) = tracker.explained
        assert (link.track_id, link.stage, link.iou, link.weight) == (1, "returned", 0, 1)
        assert (link.similarity, link.cosine, link.runner_up) == pytest.approx((1, 1, half))

    def test_nothing_is_kept_unless_asked(self) -> None:
        tracker = AppearanceTracker()
        feed(tracker, [detections(walker(1))] * 3)
        assert tracker.explained == ()


class TestBounds:
    def test_of_those_waited_for_only_as_many_are_kept_as_allowed(self) -> None:
        tracker = AppearanceTracker(TrackerSettings(max_lost=5, max_age_s=1e6, confirmed_after=1))
        given = 0
        for n in range(200):  # every second somebody of whom nobody has seen the like
            vector = np.random.default_rng(n).standard_normal((1, 64)).astype(np.float32)
            tracker.update(detections([(n % 7 * 500.0, 0, 40, 100, 0.9)]), frame=n, time_s=n, embeddings=vector)
            given = max(given, *tracker.ended(), 0)
            assert tracker.held <= 6
        assert given == 200 - 6

    def test_the_longest_lost_goes_first(self) -> None:
        tracker = AppearanceTracker(TrackerSettings(max_lost=2, confirmed_after=1, motion_s=5))
        for n in range(4):
            tracker.update(detections([(500.0 * n, 0, 40, 100, 0.9)]), frame=n, time_s=n / FPS)
        assert tracker.ended() == [1]

    def test_a_crowd_of_strangers_in_every_frame_leaves_nothing_behind(self) -> None:
        rng, tracker = np.random.default_rng(0), AppearanceTracker()
        for n in range(300):
            corners = rng.uniform(0, 1e5, (30, 2)).astype(np.float32)
            boxes = np.concatenate([corners, corners + 50], axis=1)
            crowd = Detections(boxes, np.full(30, 0.9, np.float32), np.zeros(30, np.int64))
            tracker.update(crowd, frame=n, time_s=n / FPS)
            assert tracker.held <= 60


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"low_score": 0.6}, "low_score <= high_score <= new_score"),
        ({"new_score": 0.2}, "low_score <= high_score <= new_score"),
        ({"appearance_weight": 1.5}, "appearance_weight must be in 0..1"),
        ({"confirmed_after": 0}, "confirmed_after must be 1 or more"),
        ({"max_lost": -1}, "max_lost must be 0 or more"),
        ({"motion_s": 6.0}, "motion_s <= max_age_s"),
        ({"same_person": float("nan")}, "same_person is nan; expected a finite number"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        TrackerSettings(**settings)  # type: ignore[arg-type]
