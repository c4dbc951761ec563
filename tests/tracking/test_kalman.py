"""The filter against the textbook's, with its 8×8 matrices, one track at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.tracking.motion import FIRST_SPEED_STD, JERK, MEASURED_STD, Motion, distances_in_sizes, joined, started

NUMBERS = st.floats(-3, 3)


def box(centre_x: float, centre_y: float, width: float, height: float) -> np.ndarray:
    return np.array(
        [[centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2]], np.float32
    )


class Textbook:  # in the letters of the textbook
    """x = (cx, cy, w, h, their velocities); P its covariance; white noise on the velocities."""

    def __init__(self, measured: np.ndarray) -> None:
        scale = max(measured[2:])
        self.x = np.concatenate([measured, np.zeros(4)])
        self.P = np.diag([(MEASURED_STD * scale) ** 2] * 4 + [(FIRST_SPEED_STD * scale) ** 2] * 4)

    def predict(self, gap: float) -> None:
        scale = max(*self.x[2:4], 1)
        F = np.block([[np.eye(4), gap * np.eye(4)], [np.zeros((4, 4)), np.eye(4)]])  # noqa: N806
        one = np.array([[gap**3 / 3, gap**2 / 2], [gap**2 / 2, gap]]) * JERK * scale**2
        self.x, self.P = F @ self.x, F @ self.P @ F.T + np.kron(one, np.eye(4))

    def correct(self, measured: np.ndarray, score: float) -> None:
        H = np.eye(4, 8)  # noqa: N806
        R = np.eye(4) * (MEASURED_STD * max(*measured[2:], 1)) ** 2 * (2 - score)  # noqa: N806
        K = self.P @ H.T @ np.linalg.inv(H @ self.P @ H.T + R)  # noqa: N806
        self.x, self.P = self.x + K @ (measured - H @ self.x), (np.eye(8) - K @ H) @ self.P


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.floats(0.01, 0.5), st.floats(0, 1)), min_size=1, max_size=12))
def test_it_is_the_textbook_filter(steps: list[tuple[float, float, float, float]]) -> None:
    measured = np.array([100.0, 200.0, 40.0, 90.0])
    filtered, textbook = started(box(*measured)), Textbook(measured)
    for dx, dy, gap, score in steps:
        measured = measured + np.array([dx, dy, dx / 2, dy / 2])
        filtered = filtered.after(gap, unseen=np.array([False]))
        textbook.predict(gap)
        filtered = filtered.corrected(box(*measured), np.array([score]))
        textbook.correct(box_centred(box(*measured)[0]), score)
    assert np.allclose(filtered.state[0, 0], textbook.x[:4], atol=1e-6)
    assert np.allclose(filtered.state[1, 0], textbook.x[4:], atol=1e-6)
    assert np.allclose(filtered.state[2, 0], np.diag(textbook.P)[:4])
    assert np.allclose(filtered.state[3, 0], np.diag(textbook.P[:4, 4:]))
    assert np.allclose(filtered.state[4, 0], np.diag(textbook.P)[4:])


def box_centred(corners: np.ndarray) -> np.ndarray:
    low, high = corners[:2].astype(float), corners[2:].astype(float)
    return np.concatenate([(low + high) / 2, high - low])


def test_a_steady_walk_is_foreseen() -> None:
    walked = started(box(0, 100, 40, 100))
    for step in range(1, 26):  # a second at 75 pixels a second
        walked = walked.after(1 / 25, unseen=np.array([False])).corrected(box(3 * step, 100, 40, 100), np.ones(1))
    ahead = walked.after(0.4, unseen=np.array([True]))
    assert ahead.boxes_xyxy[0] == pytest.approx(box(75 + 30, 100, 40, 100)[0], abs=0.5)


def test_two_short_gaps_are_one_long_one() -> None:
    moving = started(box(0, 0, 40, 100)).after(0.2, unseen=np.array([False])).corrected(box(9, 3, 40, 100), np.ones(1))
    calm = np.array([True])
    assert np.allclose(
        moving.after(0.1, unseen=calm).after(0.3, unseen=calm).state, moving.after(0.4, unseen=calm).state
    )


def test_a_box_nobody_sees_keeps_its_size() -> None:
    shrinking = started(box(0, 0, 40, 100))
    for size in range(99, 60, -3):
        shrinking = shrinking.after(0.04, unseen=np.array([False])).corrected(box(0, 0, 40, size), np.ones(1))
    assert shrinking.state[1, 0, 3] < -10
    unseen = shrinking.after(5, unseen=np.array([True]))
    assert unseen.state[0, 0, 3] == shrinking.state[0, 0, 3]


def test_each_track_is_filtered_as_if_alone() -> None:
    boxes = [box(10 * n, 5 * n, 20 + n, 60 - n) for n in range(5)]
    together = started(np.concatenate(boxes)).after(0.3, unseen=np.arange(5) % 2 == 0)
    for n, alone in enumerate(boxes):
        one = started(alone).after(0.3, unseen=np.array([n % 2 == 0]))
        assert np.array_equal(together.take(np.array([n])).state, one.state)
    apart = [together.take(np.array([n])) for n in range(5)]
    assert np.array_equal(joined(apart[0], apart[1]).state, together.take(np.array([0, 1])).state)


def test_a_camera_that_turns_and_zooms_takes_the_boxes_along() -> None:
    """A quarter turn of the picture about its origin, at twice the size, and 5 to the right."""
    affine = np.array([[0.0, -2.0, 5.0], [2.0, 0.0, 0.0]])
    state = started(box(10, 20, 4, 6)).state.copy()
    state[1, 0] = [3, 1, 0.5, 0.25]
    moved = Motion(state).seen_from(affine).state
    assert moved[0, 0].tolist() == [-2 * 20 + 5, 2 * 10, 8, 12]
    assert moved[1, 0].tolist() == [-2 * 1, 2 * 3, 1, 0.5]
    assert np.allclose(moved[2:], 4 * state[2:])


def test_distance_is_counted_in_longer_sides_of_the_smaller_box() -> None:
    far = distances_in_sizes(started(box(0, 0, 40, 100)), np.concatenate([box(30, 40, 40, 100), box(0, 100, 10, 50)]))
    assert far.tolist() == [[50 / 100, 100 / 50]]
