from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from sightline.ball.planes import (
    FramePlanes,
    as_floats,
    bg_mode_named,
    checked_median,
    input_planes,
    median_of_source,
)
from sightline.errors import ConfigError, ImageError
from sightline.types import Image

HW = (90, 160)


def picture(seed: int, hw: tuple[int, int] = HW) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (*hw, 3), dtype=np.uint8)


def difference_by_loop(rgb: Image, median: Image, *, wraps: bool) -> Image:
    out = np.zeros(rgb.shape[:2], np.uint8)
    for y, x in np.ndindex(*out.shape):
        total = sum(abs(int(a) - int(b)) for a, b in zip(rgb[y, x], median[y, x], strict=True))
        out[y, x] = total % 256 if wraps else min(total, 255)
    return out


def area(image: Image) -> Image:
    return np.asarray(cv2.resize(image, (512, 288), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize(
    ("mode", "planes"), [("", 24), (None, 24), ("subtract", 8), ("subtract_concat", 32), ("concat", 27)]
)
def test_the_input_has_the_published_number_of_planes(mode: str | None, planes: int) -> None:
    assert input_planes(8, mode) == planes


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match="no bg_mode 'median'; expected one of '', 'subtract', 'subtract_concat', 'con"
    ):
        bg_mode_named("median")


def test_without_a_background_there_are_red_green_and_blue() -> None:
    image = picture(0)
    expected = area(image[:, :, ::-1].copy()).transpose(2, 0, 1)
    assert np.array_equal(FramePlanes("").of(image), expected)


def test_the_difference_is_summed_at_the_size_of_the_source_and_cut_off_at_255() -> None:
    image, median = picture(1), picture(2)
    planes = FramePlanes("subtract")
    planes.set_median(median)
    expected = area(difference_by_loop(image[:, :, ::-1], median, wraps=False))
    assert np.array_equal(planes.of(image), expected[None])


def test_upstream_pixels_are_pillows_and_their_differences_wrap_around() -> None:
    image, median = picture(1), picture(2)
    planes = FramePlanes("subtract_concat", resize="pil")
    planes.set_median(median)
    got = planes.of(image)
    rgb = PillowImage.fromarray(image[:, :, ::-1].copy()).resize((512, 288))  # its default, as upstream calls it
    wrapped = PillowImage.fromarray(difference_by_loop(image[:, :, ::-1], median, wraps=True)).resize((512, 288))
    assert np.array_equal(got[:3], np.asarray(rgb).transpose(2, 0, 1))
    assert np.array_equal(got[3], np.asarray(wrapped))


def test_colour_and_difference_alternate_frame_by_frame() -> None:
    image, median = picture(1), picture(2)
    both, colour, difference = FramePlanes("subtract_concat"), FramePlanes(""), FramePlanes("subtract")
    for planes in (both, difference):
        planes.set_median(median)
    assert np.array_equal(both.of(image), np.concatenate([colour.of(image), difference.of(image)]))


def test_the_median_goes_before_the_frames_in_red_green_and_blue() -> None:
    median = np.random.default_rng(3).integers(0, 256, (3, 288, 512), dtype=np.uint8)
    planes = FramePlanes("concat")
    planes.set_median(median)
    assert np.array_equal(planes.front, median / np.float32(255))
    assert planes.of(picture(0)).shape == (3, 288, 512)


def test_planes_are_fed_from_zero_to_one() -> None:
    floats = as_floats(np.array([[[0, 51, 255]]], np.uint8))
    assert floats.dtype == np.float32 and floats.tolist() == [[[0, pytest.approx(0.2), 1]]]


def test_a_background_of_the_source_becomes_the_median_a_caller_would_pass() -> None:
    background = picture(4)
    assert np.array_equal(median_of_source(background, "subtract", resize="area"), background[:, :, ::-1])
    small = median_of_source(background, "concat", resize="area")
    assert np.array_equal(small, area(background[:, :, ::-1].copy()).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("mode", "shape", "expected"),
    [
        ("concat", (288, 512, 3), r"\(3, 288, 512\), RGB"),
        ("concat", (3, 720, 1280), r"\(3, 288, 512\), RGB"),
        ("subtract", (3, 288, 512), r"the \(H, W, 3\) of the source"),
        ("subtract_concat", (90, 160), r"the \(H, W, 3\) of the source"),
        ("subtract", (0, 5, 3), r"the \(H, W, 3\) of the source"),
    ],
)
def test_a_median_of_the_wrong_shape_is_refused(mode: str, shape: tuple[int, ...], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        checked_median(np.zeros(shape, np.uint8), bg_mode_named(mode))


@pytest.mark.parametrize("value", [-1.0, 256.0, np.nan])
def test_a_median_that_is_no_picture_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="expected 0 to 255"):
        checked_median(np.full((4, 4, 3), value), "subtract")


def test_a_median_of_floats_loses_its_halves_as_one_of_the_warm_up_does() -> None:
    assert checked_median(np.full((4, 4, 3), 7.5), "subtract").max() == 7


def test_the_median_is_a_copy() -> None:
    median = picture(5)
    kept = checked_median(median, "subtract")
    median[:] = 0
    assert np.array_equal(kept, picture(5))


def test_a_median_of_another_size_than_the_frames_is_named() -> None:
    planes = FramePlanes("subtract")
    planes.set_median(picture(0, (48, 64)))
    with pytest.raises(ImageError, match=r"median is \(48, 64, 3\), a frame \(90, 160, 3\)"):
        planes.of(picture(0))


@pytest.mark.parametrize("mode", ["concat", "subtract"])
def test_a_rolled_background_follows_the_light_and_a_fixed_one_does_not(mode: str) -> None:
    dark, light = np.full((*HW, 3), 20, np.uint8), np.full((*HW, 3), 60, np.uint8)
    median = checked_median(np.full((3, 288, 512) if mode == "concat" else (*HW, 3), 20, np.uint8), bg_mode_named(mode))
    fixed, rolled = FramePlanes(bg_mode_named(mode)), FramePlanes(bg_mode_named(mode))
    fixed.set_median(median)
    rolled.set_median(median, rolling_window=3, rolling_every=2)
    for image in (dark, *[light] * 12):
        left, right = fixed.of(image), rolled.of(image)
    if mode == "concat":
        assert fixed.front.max() == np.float32(20 / 255) and rolled.front.min() == np.float32(60) / np.float32(255)
    else:
        assert left.min() == 3 * 40 and right.max() == 0
