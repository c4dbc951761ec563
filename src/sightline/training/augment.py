"""What training does to a crop so that the next epoch does not see it again."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import cv2
import numpy as np

from sightline.errors import ConfigError
from sightline.types import Array, Image

ERASED_SHARE = (0.02, 0.4)  # of the area; these two are Zhong et al., "Random Erasing Data Augmentation", AAAI 2020
ERASED_ASPECT = (0.3, 1 / 0.3)  # height / width
BLUR_SIGMA = (0.3, 1.5)  # pixels
_TRIES = 100  # at rectangles that do not fit


@dataclass(frozen=True)
class Jitter:
    """How far each property of the colours may move: factors are drawn from 1 - x to 1 + x, hue from ±x turns."""

    brightness: float = 0.2
    contrast: float = 0.15
    saturation: float = 0.0
    hue: float = 0.0  # at most 0.5, half a turn of the colour circle

    def __post_init__(self) -> None:
        for item in fields(self):
            value, highest = getattr(self, item.name), 0.5 if item.name == "hue" else 1.0
            if not 0 <= value <= highest:
                raise ConfigError(f"colour jitter {item.name} is {value}; expected 0 to {highest:g}")


STILL = Jitter(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Augment:
    """The chance of each change, for images that already have the size of the network's input."""

    flip: float = 0.5
    pad_crop: int = 10  # pixels of black on every side, before a crop of the old size; 0: none
    colour_jitter: Jitter = Jitter()
    grey: float = 0.0
    blur: float = 0.0
    erase: float = 0.5
    fill_bgr: tuple[float, float, float] = (103.53, 116.28, 123.675)  # of what is erased: the mean, nearly 0 to the net

    def __post_init__(self) -> None:
        for name in ("flip", "grey", "blur", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a chance from 0 to 1")
        if self.pad_crop < 0:
            raise ConfigError(f"pad_crop is {self.pad_crop}; expected 0 pixels or more")

    def apply(self, image: Image, rng: np.random.Generator) -> Image:
        """A changed copy. Erasing comes last, so that what is erased has the mean colour whatever came before."""
        changed = image.copy()
        if rng.random() < self.flip:
            changed = changed[:, ::-1]
        changed = pad_crop(changed, rng, pixels=self.pad_crop)
        changed = jitter(changed, rng, by=self.colour_jitter)
        if rng.random() < self.grey:
            changed = greyed(changed)
        if rng.random() < self.blur:
            changed = _image(cv2.GaussianBlur(np.ascontiguousarray(changed), (0, 0), rng.uniform(*BLUR_SIGMA)))
        if rng.random() < self.erase:
            changed = erase(changed, rng, fill_bgr=self.fill_bgr)
        return np.ascontiguousarray(changed)


NO_AUGMENT = Augment(flip=0.0, pad_crop=0, colour_jitter=STILL, erase=0.0)


def pad_crop(image: Image, rng: np.random.Generator, *, pixels: int) -> Image:
    """The image moved by up to `pixels` in each direction, black where it came from outside."""
    down, right = rng.integers(0, 2 * pixels + 1, size=2)
    height, width = image.shape[:2]
    padded = np.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)))
    return padded[down : down + height, right : right + width]


def jitter(image: Image, rng: np.random.Generator, *, by: Jitter) -> Image:
    """Brightness, contrast around the mean grey, saturation and hue, each by a random amount."""
    if by == STILL:
        return image
    bright, contrast, colour = (
        rng.uniform(1 - reach, 1 + reach) for reach in (by.brightness, by.contrast, by.saturation)
    )
    turn = rng.uniform(-by.hue, by.hue)
    changed = _brightened(np.ascontiguousarray(image), bright, contrast)
    if by.saturation:
        changed = _image(cv2.addWeighted(changed, colour, greyed(changed), 1 - colour, 0))
    return _turned(changed, turn) if by.hue else changed


def _brightened(image: Image, brightness: float, contrast: float) -> Image:
    """contrast·(b·x - mean) + mean for b·x, the brighter image, and its mean grey: one table for all channels."""
    mean = brightness * float(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean())
    table = contrast * brightness * np.arange(256) + (1 - contrast) * mean
    return _image(cv2.LUT(image, np.clip(np.rint(table), 0, 255).astype(np.uint8)))


def _turned(image: Image, turn: float) -> Image:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hue = hsv[:, :, 0].astype(np.int64) + round(turn * 180)  # OpenCV counts hue in steps of two degrees
    hsv[:, :, 0] = (hue % 180).astype(np.uint8)
    return _image(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR))


def greyed(image: Image) -> Image:
    """The image in grey, still three channels."""
    return _image(cv2.cvtColor(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))


def erase(image: Image, rng: np.random.Generator, *, fill_bgr: tuple[float, float, float]) -> Image:
    """Fill a random rectangle. A rectangle that does not fit is drawn again, so those that remain are the paper's."""
    height, width = image.shape[:2]
    for _ in range(_TRIES):
        area, aspect = rng.uniform(*ERASED_SHARE) * height * width, rng.uniform(*ERASED_ASPECT)
        tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < tall < height and 0 < wide < width:
            top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
            filled = image.copy()
            filled[top : top + tall, left : left + wide] = np.rint(fill_bgr)
            return filled
    return image


def _image(array: Array) -> Image:
    """OpenCV's annotations do not know that uint8 in is uint8 out."""
    return array
