"""Cameras moved by known amounts over a painted wall."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tracker_contract import FPS, detections

from sightline.tracking.camera_motion import CameraMotion, still
from sightline.tracking.tracker import AppearanceTracker
from sightline.types import Image

HEIGHT, WIDTH = 360, 640


def wall(seed: int = 0) -> Image:
    """Larger than any picture of it: spots of every size."""
    rng = np.random.default_rng(seed)
    spots = sum(
        cv2.resize(rng.normal(0, 1, (900 // size, 2000 // size, 3)), (2000, 900), interpolation=cv2.INTER_CUBIC)
        for size in (8, 20, 50)
    )
    return np.clip(128 + 35 * spots, 0, 255).astype(np.uint8)


WALL = wall()


def picture(left: float, top: float = 200, *, zoom: float = 1.0, scale: float = 1.0) -> Image:
    affine = np.array([[zoom, 0, -left * zoom], [0, zoom, -top * zoom]]) * scale
    return cv2.warpAffine(WALL, affine, (round(WIDTH * scale), round(HEIGHT * scale)), flags=cv2.INTER_LINEAR)


NOBODY = np.zeros((0, 4))


@pytest.mark.parametrize("shift", [(0, 0), (5, 0), (-12, 7), (30, -18)])
def test_a_pan_is_found_to_a_fraction_of_a_pixel(shift: tuple[int, int]) -> None:
    camera = CameraMotion()
    camera.update(picture(500), NOBODY)
    found = camera.update(picture(500 + shift[0], 200 + shift[1]), NOBODY)
    assert found == pytest.approx(np.array([[1, 0, -shift[0]], [0, 1, -shift[1]]], float), abs=0.4)
    assert found[:, :2] == pytest.approx(np.eye(2), abs=0.005)


def test_a_shift_is_told_in_pixels_of_the_source_however_large_it_is() -> None:
    camera = CameraMotion()
    camera.update(picture(500, scale=2), NOBODY)
    assert camera.update(picture(510, scale=2), NOBODY)[:, 2] == pytest.approx([-20, 0], abs=0.8)


def test_a_zoom_is_found() -> None:
    camera = CameraMotion()
    camera.update(picture(500), NOBODY)
    assert camera.update(picture(500, zoom=1.1), NOBODY)[:, :2] == pytest.approx(1.1 * np.eye(2), abs=0.01)


def with_person(image: Image, left: int, seed: int = 5) -> Image:
    """Half the picture: more corners on him than on the wall."""
    image = image.copy()
    image[20:340, left : left + 330] = wall(seed)[20:340, 100:430]
    return image


def test_people_are_no_background() -> None:
    camera = CameraMotion()
    camera.update(with_person(picture(500), 100), np.array([[100.0, 20, 430, 340]]))
    found = camera.update(with_person(picture(500), 110), np.array([[110.0, 20, 440, 340]]))
    assert found == pytest.approx(still(), abs=0.3)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(wall(9)[:HEIGHT, :WIDTH], id="a cut"),
        pytest.param(picture(510, scale=0.5), id="another size"),
        pytest.param(np.zeros((HEIGHT, WIDTH, 3), np.uint8), id="darkness"),
        pytest.param(np.zeros((1, 1, 3), np.uint8), id="one pixel"),
    ],
)
def test_where_nothing_can_be_followed_the_camera_counts_as_still(second: Image) -> None:
    camera = CameraMotion()
    assert np.array_equal(camera.update(picture(500), NOBODY), still())
    assert np.array_equal(camera.update(second, NOBODY), still())
    assert np.array_equal(camera.update(second, NOBODY), still()) or second.shape == (HEIGHT, WIDTH, 3)


def test_tiny_pictures_and_boxes_all_over_are_survived() -> None:
    camera, tiny = CameraMotion(), picture(500)[:2, :3]
    everywhere = np.array([[-1e6, -1e6, 1e6, 1e6]])
    for image in (tiny, tiny, picture(500), picture(505)):
        assert np.array_equal(camera.update(image, everywhere), still())


def test_after_a_reset_the_last_picture_is_forgotten() -> None:
    camera = CameraMotion()
    camera.update(picture(500), NOBODY)
    camera.reset()
    assert np.array_equal(camera.update(picture(520), NOBODY), still())


def test_the_same_pictures_give_the_same_motion() -> None:
    one, other = CameraMotion(), CameraMotion()
    for left in (500, 513, 521):
        assert np.array_equal(one.update(picture(left), NOBODY), other.update(picture(left), NOBODY))


@pytest.mark.parametrize(("camera", "ids"), [(CameraMotion(), {1}), (None, {1, 2})])
def test_a_camera_thrown_aside_costs_nobody_his_id(camera: CameraMotion | None, ids: set[int]) -> None:
    """By more than the width of the person, in one frame."""
    tracker, seen = AppearanceTracker(camera=camera), set()
    for n, left in enumerate([500] * 8 + [545] * 8):
        boxes = detections([(700.0 - left, 100, 40, 100, 0.9)])
        seen |= set(tracker.update(boxes, frame=n, time_s=n / FPS, image=picture(left)).ids.tolist())
    assert seen == ids
