from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.tracking.letterbox import Fit, Shape, letterbox
from sightline.types import Detections, FloatArray

sides = st.integers(1, 400)
shapes = st.sampled_from(["stretch", "corner", "centre"])


def picture(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 200, np.uint8)


def boxed(*boxes: tuple[float, float, float, float]) -> Detections:
    count = len(boxes)
    return Detections(np.array(boxes, np.float32), np.ones(count, np.float32), np.arange(count))


def into_input(points: FloatArray, size_hw: tuple[int, int], source_hw: tuple[int, int], shape: Shape) -> FloatArray:
    """By the definition: one scale for both axes (stretched: one each), the rest shared out."""
    scales = np.array([size_hw[1] / source_hw[1], size_hw[0] / source_hw[0]])
    if shape == "stretch":
        return points * scales
    inner = np.array(source_hw[::-1]) * scales.min()
    left_top = (np.array(size_hw[::-1]) - inner) / 2 if shape == "centre" else 0.0
    return points * scales.min() + left_top


@given(height=sides, width=sides, tall=st.integers(32, 320), wide=st.integers(32, 320), shape=shapes)
@settings(max_examples=80, deadline=None)
def test_a_point_that_goes_in_comes_back_where_it_was(
    height: int, width: int, tall: int, wide: int, shape: Shape
) -> None:
    _, placement = letterbox(picture(height, width), (tall, wide), fit=Fit(shape))
    share = np.array([[0.25, 0.5], [1.0, 0.0]])
    points = share * [width, height]
    there = into_input(points, (tall, wide), (height, width), shape)
    # Whole pixels of the input are lost to rounding: two at most, each worth 1/scale of the picture's.
    scale = np.array([wide / width, tall / height])
    slack = 2 / (scale if shape == "stretch" else scale.min()) + 1e-3
    assert (np.abs(placement.to_source(there) - points) <= slack).all()


@given(height=sides, width=sides, tall=st.integers(32, 320), wide=st.integers(32, 320), shape=shapes)
@settings(max_examples=80, deadline=None)
def test_boxes_come_back_inside_the_picture_whatever_the_detector_said(
    height: int, width: int, tall: int, wide: int, shape: Shape
) -> None:
    inner, placement = letterbox(picture(height, width), (tall, wide), fit=Fit(shape))
    assert inner.shape == (tall, wide, 3)
    found = placement.detections_to_source(boxed((-1e5, -3, 1e5, 2e5), (tall, 5, 1e5, 6), (1, 1, 2, 2)))
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= [width, height, width, height]).all()
    assert (found.boxes_xyxy[:, 2:] > found.boxes_xyxy[:, :2]).all()
    assert 0 in found.classes  # the one over everything is the whole picture


@pytest.mark.parametrize(
    ("source_hw", "size_hw"), [((432, 768), (416, 416)), ((1080, 1920), (640, 640)), ((7, 3), (96, 64))]
)
def test_the_side_that_decides_is_filled_to_the_last_pixel(
    source_hw: tuple[int, int], size_hw: tuple[int, int]
) -> None:
    inner, _ = letterbox(picture(*source_hw), size_hw, fit=Fit("corner", pad=0))
    filled = (inner > 0).all(axis=2)
    assert filled.any(axis=0).all() or filled.any(axis=1).all()


def test_yolox_is_padded_on_the_right_and_below() -> None:
    inner, placement = letterbox(picture(432, 768), (416, 416), fit=Fit("corner"))
    assert (inner[:234, :] == 200).all()  # 432 * 416 / 768
    assert (inner[234:, :] == 114).all()
    assert placement.left_top == (0, 0)


def test_those_that_centre_pad_both_sides_alike() -> None:
    inner, placement = letterbox(picture(640, 320), (640, 640), fit=Fit("centre"))
    assert placement.left_top == (160, 0)
    assert (inner[:, :160] == 114).all()
    assert (inner[:, 160:480] == 200).all()
    assert (inner[:, 480:] == 114).all()


def test_pixels_are_resized_as_opencv_does_where_training_did() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 100, 3), dtype=np.uint8)
    inner, _ = letterbox(image, (64, 64), fit=Fit("corner"))
    assert np.array_equal(inner[:32], cv2.resize(image, (64, 32), interpolation=cv2.INTER_LINEAR))


def test_a_small_picture_is_left_as_it_is_where_enlarging_shows_nothing_more() -> None:
    inner, placement = letterbox(picture(20, 30), (64, 96), fit=Fit("corner", pad=0, enlarge=False))
    assert placement.scale_xy == (1.0, 1.0)
    assert (inner[:20, :30] == 200).all()
    assert inner.sum() == 200 * 20 * 30 * 3


def test_landmarks_go_the_way_of_their_box() -> None:
    _, placement = letterbox(picture(100, 200), (50, 100), fit=Fit("corner"))
    points = np.array([[[10, 20]] * 5, [[1, 1]] * 5], np.float32)
    found = Detections(
        np.array([[5, 10, 20, 40], [99.9999, 5, 500, 9]], np.float32), np.ones(2, np.float32), np.arange(2), points
    )
    back = placement.detections_to_source(found)
    assert back.landmarks_xy is not None
    assert back.boxes_xyxy[0].tolist() == [10, 20, 40, 80]
    assert back.landmarks_xy[0].tolist() == [[20, 40]] * 5


def test_a_box_in_the_padding_alone_is_nobody() -> None:
    _, placement = letterbox(picture(50, 100), (100, 100), fit=Fit("corner"))
    assert placement.detections_to_source(boxed((10, 60, 40, 90), (10, 10, 20, 20))).classes.tolist() == [1]
