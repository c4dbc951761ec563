from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.ball.heatmap import COOR_TH, DELTA_T, HEIGHT, SIGMA, WIDTH, Peak, Sighting, blob_peak, find_ball
from sightline.types import FloatArray


def heat_with(*boxes: tuple[int, int, int, int, float]) -> FloatArray:
    """A cold heat map with (x, y, width, height, value) rectangles on it."""
    heat = np.zeros((HEIGHT, WIDTH), np.float32)
    for x, y, width, height, value in boxes:
        heat[y : y + height, x : x + width] = value
    return heat


def blobs_by_flood(hot: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Bounding boxes of what touches, corners included, one pixel after the other."""
    todo, boxes = {(int(y), int(x)) for y, x in np.argwhere(hot)}, []
    while todo:
        front, blob = [todo.pop()], []
        while front:
            y, x = front.pop()
            blob.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & todo
            todo -= near
            front += near
        ys, xs = [y for y, _ in blob], [x for _, x in blob]
        boxes.append((min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1))
    return boxes


def test_the_constants_are_those_of_the_paper() -> None:
    assert (HEIGHT, WIDTH, SIGMA) == (288, 512, 2.5)
    assert pytest.approx(1 / math.sqrt(288**2 + 512**2)) == DELTA_T
    assert round(COOR_TH, 5) == 0.08511


def test_a_disc_is_found_at_its_centre() -> None:
    heat = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.circle(heat, (100, 50), 2, 0.9, -1)  # columns 98 to 102: five of them, the middle of the third
    assert find_ball(heat) == Peak(100.5, 50.5, pytest.approx(0.9))


def test_the_centre_of_an_even_number_of_pixels_is_between_two() -> None:
    peak = find_ball(heat_with((10, 20, 4, 2, 0.8)))
    assert peak is not None and (peak.x, peak.y) == (12.0, 21.0)


@pytest.mark.parametrize(("value", "found"), [(0.5, False), (0.50001, True), (0.02, False), (1.0, True)])
def test_only_what_is_hotter_than_half_is_a_ball(value: float, found: bool) -> None:
    assert (find_ball(heat_with((5, 5, 3, 3, value))) is not None) is found


def test_the_threshold_can_be_another() -> None:
    assert find_ball(heat_with((5, 5, 3, 3, 0.3)), threshold=0.2) is not None


def test_the_largest_box_wins_and_not_the_hottest_pixel() -> None:
    peak = find_ball(heat_with((10, 10, 2, 2, 0.99), (100, 100, 5, 1, 0.6)))
    assert peak == Peak(102.5, 100.5, pytest.approx(0.6))


def test_a_box_and_not_the_number_of_pixels_makes_a_blob_large() -> None:
    heat = heat_with((10, 10, 4, 4, 0.9))
    for step in range(6):  # six pixels in a diagonal: a box of 36
        heat[200 + step, 300 + step] = 0.7
    peak = find_ball(heat)
    assert peak is not None and (peak.x, peak.y) == (303.0, 203.0)


def test_the_confidence_is_the_hottest_value_of_the_blob() -> None:
    heat = heat_with((10, 10, 3, 3, 0.6), (200, 200, 1, 1, 0.95))
    heat[11, 11] = 0.75
    peak = find_ball(heat)
    assert peak is not None and peak.confidence == pytest.approx(0.75)


def test_a_cold_map_has_no_ball_either_way() -> None:
    cold = np.zeros((HEIGHT, WIDTH), np.float32)
    assert find_ball(cold) is None and find_ball(cold, decode="argmax") is None


def test_argmax_takes_the_first_hottest_pixel_however_cold() -> None:
    heat = heat_with((40, 30, 1, 1, 0.02), (7, 31, 1, 1, 0.02))
    assert find_ball(heat, decode="argmax") == Peak(40, 30, pytest.approx(0.02))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.4))
def test_it_is_the_largest_of_the_blobs_a_flood_finds(seed: int, share: float) -> None:
    heat = np.zeros((HEIGHT, WIDTH), np.float32)
    heat[40:60, 70:100] = np.random.default_rng(seed).random((20, 30)) * 0.5 / (1 - share)
    boxes = blobs_by_flood(heat > 0.5)
    peak = blob_peak(heat)
    if peak is None:
        assert boxes == []
        return
    largest = max(width * height for _, _, width, height in boxes)
    centres = [(x + w / 2, y + h / 2) for x, y, w, h in boxes if w * h == largest]
    assert (peak.x, peak.y) in centres


def test_pixels_are_rounded_down_before_and_after_they_are_scaled() -> None:
    peak = Peak(100.5, 51.5, 0.9)
    assert peak.in_source((2.5, 2.5)) == (250, 127)  # 100 × 2.5, and 51 × 2.5 = 127.5; not 100.5 × 2.5 = 251.25


def test_a_ball_in_the_corner_is_visible_because_visibility_is_a_field() -> None:
    row = Sighting(4, Peak(0.5, 0.5, 0.75), 0, 0).row()
    assert row == {"Frame": 4, "X": 0, "Y": 0, "Visibility": 1, "Confidence": 0.75}


def test_no_ball_is_a_row_of_zeros_and_an_invisible_point() -> None:
    nothing = Sighting(9, None)
    assert nothing.row() == {"Frame": 9, "X": 0, "Y": 0, "Visibility": 0, "Confidence": 0.0}
    assert nothing.point(9).visible is False


def test_a_point_has_the_pixels_of_the_row() -> None:
    point = Sighting(2.5, Peak(10.5, 11.5, 0.6), 25, 27).point(7)
    assert (point.frame, point.visible, point.x, point.y, point.confidence, point.filled) == (
        7,
        True,
        25,
        27,
        0.6,
        False,
    )
