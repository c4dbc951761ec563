"""Each change to a crop against a slow loop, and how often each happens."""

from __future__ import annotations

import colorsys
from collections import Counter

import numpy as np
import pytest

from sightline.errors import ConfigError
from sightline.training.augment import NO_AUGMENT, STILL, Augment, Jitter, erase, greyed, jitter, pad_crop
from sightline.types import Image

DRAWS = 2000


def picture(height: int = 32, width: int = 16, *, seed: int = 0) -> Image:
    """No pixel is black, or has the mean colour."""
    return np.random.default_rng(seed).integers(130, 256, (height, width, 3), np.uint8)


def only(**chances: float) -> Augment:
    off = {"flip": 0.0, "grey": 0.0, "blur": 0.0, "erase": 0.0}
    return Augment(pad_crop=0, colour_jitter=STILL, **{**off, **chances})


def test_the_same_draw_gives_the_same_pixels_and_the_image_stays_as_it_was() -> None:
    image = picture()
    before = image.copy()
    augment = Augment(grey=0.3, blur=0.3, colour_jitter=Jitter(0.2, 0.15, 0.3, 0.1))
    results = [augment.apply(image, np.random.default_rng((7, epoch))) for epoch in (0, 0, 1)]
    assert np.array_equal(image, before)
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    assert {(result.shape, result.dtype.name, result.flags.c_contiguous) for result in results} == {
        ((32, 16, 3), "uint8", True)
    }


def test_nothing_asked_for_changes_nothing() -> None:
    assert np.array_equal(NO_AUGMENT.apply(picture(), np.random.default_rng(0)), picture())


@pytest.mark.parametrize("name", ["flip", "grey", "blur", "erase"])
@pytest.mark.parametrize("chance", [0.0, 0.25, 0.5, 1.0])
def test_a_change_happens_as_often_as_its_chance_says(name: str, chance: float) -> None:
    """Within four standard deviations of a binomial."""
    augment, image, rng = only(**{name: chance}), picture(16, 8), np.random.default_rng(1)
    changed = sum(not np.array_equal(augment.apply(image, rng), image) for _ in range(DRAWS))
    assert abs(changed / DRAWS - chance) <= 4 * np.sqrt(chance * (1 - chance) / DRAWS)


def test_a_flip_swaps_left_and_right() -> None:
    image = picture(5, 4)
    flipped = only(flip=1.0).apply(image, np.random.default_rng(0))
    for row in range(5):
        for column in range(4):
            assert flipped[row, column].tolist() == image[row, 3 - column].tolist()


def test_pad_and_crop_moves_the_image_and_fills_with_black() -> None:
    image, offsets = picture(6, 5), Counter()
    for seed in range(DRAWS):
        moved = pad_crop(image, np.random.default_rng(seed), pixels=2)
        down, right = np.random.default_rng(seed).integers(0, 5, size=2) - 2
        offsets[int(down), int(right)] += 1
        if seed < 50:
            for row in range(6):
                for column in range(5):
                    y, x = row + down, column + right
                    inside = 0 <= y < 6 and 0 <= x < 5
                    assert moved[row, column].tolist() == (image[y, x].tolist() if inside else [0, 0, 0])
    assert len(offsets) == 25
    assert min(offsets.values()) > DRAWS / 25 * 0.5


def test_brightness_and_contrast_are_a_factor_and_a_stretch_around_the_mean_grey() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    by = Jitter(brightness=0.2, contrast=0.15)
    for seed in range(20):
        bright, contrast = np.random.default_rng(seed).uniform([0.8, 0.85], [1.2, 1.15])
        grey = image @ np.array([0.114, 0.587, 0.299])
        expected = np.clip(contrast * (bright * image - bright * grey.mean()) + bright * grey.mean(), 0, 255)
        result = jitter(image, np.random.default_rng(seed), by=by)
        assert np.abs(result - expected).max() <= 0.6  # grey is rounded for the mean, then the result


def test_saturation_mixes_with_grey_and_hue_turns_the_colour_circle() -> None:
    image = picture(4, 4)
    drawn = np.random.default_rng(3)
    factor = [drawn.uniform(1, 1), drawn.uniform(1, 1), drawn.uniform(0.5, 1.5)][2]
    mixed = factor * image.astype(float) + (1 - factor) * greyed(image)
    result = jitter(image, np.random.default_rng(3), by=Jitter(0, 0, 0.5, 0))
    assert np.abs(result - np.clip(mixed, 0, 255)).max() <= 0.51
    turned = jitter(np.full((1, 1, 3), (30, 60, 200), np.uint8), np.random.default_rng(3), by=Jitter(0, 0, 0, 0.5))
    drawn = np.random.default_rng(3)
    turn = [drawn.uniform(1, 1) for _ in range(3)] and drawn.uniform(-0.5, 0.5)
    hue, saturation, value = colorsys.rgb_to_hsv(200 / 255, 60 / 255, 30 / 255)
    expected = [255 * channel for channel in colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)]
    assert np.abs(turned[0, 0, ::-1] - np.array(expected)).max() <= 4  # hue has 180 steps


def test_jitter_stays_within_its_reach() -> None:
    flat = np.full((4, 4, 3), 100, np.uint8)
    values = [jitter(flat, np.random.default_rng(seed), by=Jitter(0.2, 0.15))[0, 0, 0] for seed in range(DRAWS)]
    assert (min(values), max(values)) == (80, 120)  # contrast leaves a flat image alone
    assert abs(np.mean(values) - 100) < 1


def test_grey_weighs_the_channels_as_television_does() -> None:
    image = picture(3, 3)
    for row in range(3):
        for column in range(3):
            blue, green, red = (float(value) for value in image[row, column])
            expected = 0.114 * blue + 0.587 * green + 0.299 * red
            assert np.abs(greyed(image)[row, column] - expected).max() <= 0.51


def test_what_is_erased_is_one_rectangle_of_the_mean_colour_of_the_papers_size_and_shape() -> None:
    image, shares, aspects, corners = picture(64, 32), [], [], set()
    for seed in range(DRAWS):
        result = erase(image, np.random.default_rng(seed), fill_bgr=(103.53, 116.28, 123.675))
        changed = (result != image).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert np.array_equal(np.unique(result[changed], axis=0), [[104, 116, 124]])
        shares.append(changed.mean())
        aspects.append(len(rows) / len(columns))
        corners.add((rows[0], columns[0]))
    assert min(shares) >= 0.015 and max(shares) <= 0.42  # sides are rounded to pixels
    assert min(shares) < 0.05 and max(shares) > 0.35
    assert min(aspects) >= 0.2 and max(aspects) <= 4.0
    assert min(aspects) < 0.4 and max(aspects) > 3.0
    assert len(corners) > 500


def test_what_is_erased_keeps_the_mean_colour_whatever_came_before() -> None:
    augment = Augment(erase=1.0, grey=1.0, blur=1.0, colour_jitter=Jitter(1, 1, 1, 0.5), fill_bgr=(1, 2, 3))
    for seed in range(20):
        result = augment.apply(picture(), np.random.default_rng(seed))
        assert (result == (1, 2, 3)).all(axis=2).sum() >= 0.015 * 32 * 16


def test_a_blur_keeps_the_mean_and_takes_from_the_contrast() -> None:
    """Of white noise a Gaussian of sigma s leaves 1 / (2 s √π) of the deviation; the widest, 1.5 pixels, a fifth."""
    image = picture(64, 64)
    results = [only(blur=1.0).apply(image, np.random.default_rng(seed)) for seed in range(60)]
    assert max(abs(result.mean() - image.mean()) for result in results) < 1
    left = [result.std() / image.std() for result in results]
    assert 0.18 < min(left) < 0.25
    assert 0.9 < max(left) < 1


@pytest.mark.parametrize("field", [{"flip": 1.5}, {"erase": -0.1}, {"grey": 2.0}, {"blur": float("nan")}])
def test_a_chance_that_is_none_is_refused(field: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected a chance from 0 to 1"):
        Augment(**field)


def test_jitter_beyond_the_colour_circle_and_negative_padding_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"hue is 0\.6; expected 0 to 0\.5"):
        Jitter(hue=0.6)
    with pytest.raises(ConfigError, match="pad_crop is -1"):
        Augment(pad_crop=-1)
