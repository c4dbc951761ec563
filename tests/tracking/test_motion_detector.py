from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.sources import open_recording
from sightline.tracking.background import MOST_PARTS, WARM_UP, BackgroundDetector
from sightline.types import Detections, Image

SIZE_HW = (180, 320)
Box = tuple[int, int, int, int]


def place(seed: int = 0, size_hw: tuple[int, int] = SIZE_HW) -> Image:
    """A wall and a floor with some texture, neither black nor white."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(70, 170, (size_hw[0] // 10, size_hw[1] // 10, 3), dtype=np.uint8)
    return cv2.resize(coarse, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_CUBIC)


def with_noise(image: Image, moment: int) -> Image:
    noise = np.random.default_rng(moment).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def with_person(image: Image, box: Box, *, belt: bool = False) -> Image:
    """A head, a coat and legs that fill the box. `belt` shows the place between coat and legs."""
    drawn, (left, top, right, bottom) = image.copy(), box
    waist, neck, middle = (top + bottom) // 2, top + (bottom - top) // 6, (left + right) // 2
    cv2.rectangle(drawn, (left, neck), (right - 1, waist - 1), (30, 30, 220), -1)
    cv2.rectangle(drawn, (left, waist + (10 if belt else 0)), (right - 1, bottom - 1), (15, 15, 15), -1)
    cv2.rectangle(drawn, (middle - 5, top), (middle + 4, neck), (230, 235, 250), -1)
    return drawn


def with_shadow(image: Image, box: Box, *, light: float = 0.6) -> Image:
    drawn, (left, top, right, bottom) = image.copy(), box
    drawn[top:bottom, left:right] = (drawn[top:bottom, left:right] * light).astype(np.uint8)
    return drawn


def watched(frames: list[Image], *, empty: int = 40) -> list[Detections]:
    """What is found in frames that follow a while of nobody."""
    with BackgroundDetector() as detector:
        detector.detect([with_noise(place(), moment) for moment in range(empty)])
        return detector.detect([with_noise(frame, 1000 + moment) for moment, frame in enumerate(frames)])


def walk(step: int, *, top: int = 60) -> Box:
    return (20 + 6 * step, top, 50 + 6 * step, top + 90)


def assert_close(found: Detections, *boxes: Box, slack: float = 5) -> None:
    assert len(found) == len(boxes), found.boxes_xyxy
    by_left = found.boxes_xyxy[np.argsort(found.boxes_xyxy[:, 0])]
    assert np.abs(by_left - sorted(boxes)).max() <= slack


def test_a_walker_is_found_in_every_frame() -> None:
    steps = range(30)
    for step, found in zip(steps, watched([with_person(place(), walk(step)) for step in steps]), strict=True):
        assert_close(found, walk(step))
        assert 0.5 < found.scores[0] <= 1


def test_two_walkers_are_two_until_they_meet() -> None:
    frames = [with_person(with_person(place(), walk(step)), walk(30 - step, top=70)) for step in range(10)]
    for step, found in enumerate(watched(frames)):
        assert_close(found, walk(step), walk(30 - step, top=70))


def test_nobody_is_found_in_noise_alone() -> None:
    assert sum(map(len, watched([place()] * 60))) == 0


@pytest.mark.parametrize(("change", "frames"), [(-0.33, 150), (0.4, 100), (0.3, 3), (-0.4, 3)])
def test_light_that_changes_everywhere_is_followed_and_hides_nobody(change: float, frames: int) -> None:
    """Slowly, as by a cloud, or within three frames, as by the camera's own exposure."""
    lights = [(place() * (1 + change * moment / frames)).astype(np.uint8) for moment in range(1, frames + 1)]
    found = watched([*lights, *(with_person(lights[-1], walk(step)) for step in range(10))])
    assert sum(map(len, found[:frames])) == 0
    for step in range(10):
        assert_close(found[frames + step], walk(step))


@pytest.mark.parametrize("light", [0.45, 0.7])
def test_a_shadow_beside_a_walker_is_no_part_of_him(light: float) -> None:
    def shaded(step: int) -> Image:
        left, _, right, bottom = walk(step)
        return with_person(with_shadow(place(), (left, bottom - 30, right + 50, bottom), light=light), walk(step))

    for step, found in enumerate(watched([shaded(step) for step in range(20)])):
        assert_close(found, walk(step))


def test_something_as_dark_as_no_shadow_is_found() -> None:
    box = (100, 60, 140, 150)
    assert_close(watched([with_shadow(place(), box, light=0.1)])[0], box)


def test_parts_with_a_gap_between_them_are_one_body() -> None:
    frames = [with_person(place(), walk(step), belt=True) for step in range(20)]
    for step, found in enumerate(watched(frames)):
        assert_close(found, walk(step))


def test_what_is_too_small_is_nobody() -> None:
    bird = [with_person(place(), (100 + step, 20, 106 + step, 29)) for step in range(10)]
    assert sum(map(len, watched(bird))) == 0


def test_of_thousands_of_parts_as_in_rain_the_largest_are_looked_at() -> None:
    empty = place(size_hw=(360, 480))
    rain = empty.copy()
    drops = [(left, top) for left in range(0, 480, 20) for top in range(0, 352, 40)]
    for left, top in drops:
        cv2.rectangle(rain, (left, top), (left + 8, top + 8), (255, 255, 255), -1)
    with BackgroundDetector(min_share=0) as detector:
        detector.detect([empty] * 20)
        (found,) = detector.detect([rain])
    assert len(drops) > MOST_PARTS
    assert len(found) == MOST_PARTS


def test_switching_the_scene_is_no_crowd_and_people_are_found_again_after_it() -> None:
    other = place(seed=9)
    frames = [*([other] * 40), *(with_person(other, walk(step)) for step in range(5))]
    found = watched(frames)
    assert sum(map(len, found[:40])) == 0
    for step in range(5):
        assert_close(found[40 + step], walk(step))


def test_whoever_stands_still_is_seen_for_a_while() -> None:
    assert all(len(found) == 1 for found in watched([with_person(place(), walk(10))] * 100))


def test_nothing_is_said_before_the_place_is_known() -> None:
    assert sum(map(len, watched([with_person(place(), walk(5))], empty=WARM_UP - 1))) == 0


def test_a_change_of_size_begins_anew_instead_of_failing() -> None:
    with BackgroundDetector() as detector:
        detector.detect([with_noise(place(), moment) for moment in range(30)])
        larger = place(size_hw=(240, 400))
        assert sum(map(len, detector.detect([with_noise(larger, moment) for moment in range(30)]))) == 0
        assert_close(detector.detect([with_person(larger, walk(5))])[0], walk(5))


def test_boxes_of_a_large_picture_are_in_its_own_pixels() -> None:
    large = cv2.resize(place(), (1920, 1080))
    box = (600, 300, 800, 900)
    with BackgroundDetector() as detector:
        detector.detect([large] * 20)
        assert_close(detector.detect([with_person(large, box)])[0], box, slack=16)  # a pixel looked at is four of these


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 500), (500, 3), (4320, 40)])
def test_pictures_of_odd_sizes_do_no_harm(size_hw: tuple[int, int]) -> None:
    image = np.zeros((*size_hw, 3), np.uint8)
    with BackgroundDetector() as detector:
        assert sum(map(len, detector.detect([image] * 20))) == 0
        for found in detector.detect([255 - image, image]):
            assert (found.boxes_xyxy[:, 2:] <= size_hw[::-1]).all()


def test_people_of_a_real_camera_are_found_where_the_picture_has_changed(shared: Path) -> None:
    """The camera sets its exposure anew when she comes in, as all cameras do."""
    with open_recording(shared / "real/video/one_by_one.mp4") as frames:
        images = [frame.image for frame in islice(frames, 161)]
    with BackgroundDetector() as detector:
        found = detector.detect(images)
    assert sum(map(len, found[:41])) == 0
    empty = images[0].astype(int)
    for moment in range(90, 161, 10):
        assert len(found[moment]) == 1
        left, top, right, bottom = found[moment].boxes_xyxy[0].astype(int)
        changed = np.abs(images[moment] - empty).max(axis=2) > 60
        assert changed[top:bottom, left:right].sum() > 0.85 * changed.sum()
