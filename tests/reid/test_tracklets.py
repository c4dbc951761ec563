"""Crop quality on drawn people, and which crops are taken."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import ImageError
from sightline.images import read_image
from sightline.reid.probe import painted_strangers
from sightline.reid.tracklets import Judged, Setting, choose, crop_quality, digest_of, judge, select_best_crops
from sightline.types import Image

PEOPLE = painted_strangers(6)  # 256×128, sharp


def scaled(image: Image, height: int, width: int) -> Image:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def blurred(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))


def falls(values: list[float]) -> bool:
    return all(before > after for before, after in itertools.pairwise(values))


# Quality


@pytest.mark.parametrize("person", PEOPLE)
def test_the_more_a_crop_is_blurred_the_less_it_is_worth(person: Image) -> None:
    sigmas = (1.0, 2.0, 4.0, 8.0)
    assert falls([crop_quality(person), *(crop_quality(blurred(person, sigma)) for sigma in sigmas)])


@pytest.mark.parametrize("person", PEOPLE)
def test_the_smaller_a_crop_is_the_less_it_is_worth(person: Image) -> None:
    assert falls([crop_quality(scaled(person, 2 * width, width)) for width in (128, 64, 32, 16, 8, 4)])


def test_of_two_crops_of_equal_detail_the_larger_is_worth_more() -> None:
    """Noise enlarged pixel by pixel shows the same at any size, so that size alone is left to differ."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 48, 3), np.uint8)
    large = noise.repeat(2, axis=0).repeat(2, axis=1)
    assert crop_quality(large) / crop_quality(noise) == pytest.approx((18432 / 20480) / (4608 / 6656), rel=1e-3)


@pytest.mark.parametrize("person", PEOPLE)
def test_a_tiny_crop_grown_to_a_large_one_is_not_taken_for_sharp(person: Image) -> None:
    grown = cv2.resize(scaled(person, 32, 16), (128, 256), interpolation=cv2.INTER_LINEAR)
    assert crop_quality(np.asarray(grown)) < crop_quality(person) / 2


def test_the_more_of_a_box_is_somebody_elses_the_less_it_is_worth() -> None:
    assert falls([crop_quality(PEOPLE[0], Setting(crowding=share)) for share in (0.0, 0.2, 0.5, 0.9)])
    assert crop_quality(PEOPLE[0], Setting(crowding=1.0)) == 0


def test_what_the_frame_cuts_off_is_worth_less() -> None:
    assert crop_quality(PEOPLE[0], Setting(cut=True)) < crop_quality(PEOPLE[0])


def test_a_crop_wider_than_people_stand_is_worth_less_and_so_is_a_sliver() -> None:
    def of_shape(height: int, width: int) -> float:
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        return crop_quality(noise)

    assert falls([of_shape(128, 64), of_shape(64, 128), of_shape(32, 256)])
    assert of_shape(128, 64) > of_shape(512, 16)


def test_real_crops_of_surveillance_pictures_are_far_from_worthless(shared: Path) -> None:
    """They have 8,192 pixels each; a score that wants a hundred thousand calls every one of them zero."""
    files = sorted((shared / "real/crops/market_train_50ids").glob("*_01.jpg"))[::10]
    qualities = [crop_quality(read_image(file)) for file in files]
    assert len(qualities) >= 20
    assert min(qualities) > 0.2 and np.median(qualities) > 0.5


def test_a_crop_of_one_colour_is_worth_nothing() -> None:
    assert crop_quality(np.full((128, 64, 3), 90, np.uint8)) == 0


@given(st.integers(4, 300), st.integers(4, 300), st.floats(0, 1), st.booleans(), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_quality_lies_between_zero_and_one(height: int, width: int, crowding: float, cut: bool, seed: int) -> None:
    crop = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    assert 0 <= crop_quality(crop, Setting(crowding, cut)) <= 1


# Judging


@pytest.mark.parametrize(
    ("crop", "setting", "clear"),
    [
        (scaled(PEOPLE[0], 64, 32), Setting(), True),
        (scaled(PEOPLE[0], 63, 32), Setting(), False),
        (scaled(PEOPLE[0], 64, 31), Setting(), False),
        (PEOPLE[0], Setting(cut=True), False),
        (PEOPLE[0], Setting(crowding=0.5), True),
        (PEOPLE[0], Setting(crowding=0.51), False),
    ],
)
def test_a_crop_is_clear_when_it_is_large_whole_and_mostly_nobody_elses(
    crop: Image, setting: Setting, clear: bool
) -> None:
    assert judge(crop, setting).clear is clear


def test_a_crop_of_three_pixels_is_refused_and_one_of_eight_judged() -> None:
    with pytest.raises(ImageError, match="3×8 pixels; expected at least 4×4"):
        judge(scaled(PEOPLE[0], 8, 3))
    assert 0 < judge(scaled(PEOPLE[0], 8, 8)).quality < 0.1


def test_the_digest_is_of_the_picture_and_its_shape() -> None:
    image = PEOPLE[0]
    assert digest_of(image) == digest_of(np.asfortranarray(image)) == digest_of(image.copy())
    assert digest_of(image) != digest_of(image.reshape(128, 256, 3))
    changed = image.copy()
    changed[0, 0, 0] ^= 1
    assert digest_of(image) != digest_of(changed)


# Choice


def crop_of(quality: float, *, clear: bool = True, digest: str = "") -> Judged:
    return Judged(quality, clear, digest or f"{quality}{clear}")


def test_the_best_are_taken_in_the_order_they_came() -> None:
    assert choose([crop_of(0.2), crop_of(0.9), crop_of(0.1), crop_of(0.5)], 2) == [1, 3]
    assert choose([crop_of(0.5), crop_of(0.1), crop_of(0.9), crop_of(0.2)], 3) == [0, 2, 3]


def test_of_equals_the_first_are_taken() -> None:
    assert choose([crop_of(0.5, digest=name) for name in "abcd"], 2) == [0, 1]


def test_the_same_crop_twice_is_one_crop() -> None:
    twice = [crop_of(0.9, digest="a"), crop_of(0.9, digest="a"), crop_of(0.1, digest="b")]
    assert choose(twice, 2) == [0, 2]


def test_a_crop_that_is_not_clear_is_taken_only_where_none_is() -> None:
    assert choose([crop_of(0.9, clear=False), crop_of(0.1)], 2) == [1]
    assert choose([crop_of(0.9, clear=False), crop_of(0.1, clear=False)], 2) == [0, 1]


def test_nothing_to_choose_from_is_nothing_chosen() -> None:
    assert choose([], 4) == []
    assert select_best_crops([]) == []


def test_eight_are_selected_unless_told_otherwise() -> None:
    crops = painted_strangers(12)
    assert len(select_best_crops(crops)) == 8
    assert len(select_best_crops(crops, 20)) == 12


def test_the_sharp_ones_are_selected_and_they_are_the_ones_that_were_given() -> None:
    mixed = [PEOPLE[0], blurred(PEOPLE[1], 5), PEOPLE[2], blurred(PEOPLE[3], 5)]
    selected = select_best_crops(mixed, num=2)
    assert selected[0] is mixed[0] and selected[1] is mixed[2]


@pytest.mark.parametrize("num", [0, -1])
def test_selecting_none_is_refused(num: int) -> None:
    with pytest.raises(ValueError, match=f"num is {num}; expected 1 or more"):
        select_best_crops(PEOPLE, num)


def test_verbose_says_what_was_taken(caplog: pytest.LogCaptureFixture) -> None:
    say: Callable[[], list[str]] = lambda: [record.getMessage() for record in caplog.records]  # noqa: E731
    with caplog.at_level(logging.INFO, logger="sightline"):
        select_best_crops(PEOPLE, 2)
        assert say() == []
        select_best_crops(PEOPLE, 2, True)
    assert len(say()) == 1 and say()[0].startswith("2 of 6 crops chosen, of quality 0.")
