"""Which crops of a person are worth comparing.

Quality is a product of five parts, each in 0..1, so that one bad part is enough to lose. Everything is measured on the
scale of people in surveillance pictures: a crop of 128×64 pixels is a good one, one of 16×8 can still be ranked.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sightline.images import require_image
from sightline.types import Image

log = logging.getLogger(__name__)

COMMON_HW = (96, 48)  # where sharpness is measured, so that crops of all sizes are judged by the same detail
HALF_SHARP = 300.0  # variance of the Laplacian there; Market-1501's median is 900, and 40 once blurred by two pixels
HALF_LARGE = 64 * 32  # pixels
UPRIGHT = (1.5, 4.0)  # height by width of somebody standing or walking
CUT_BY_BORDER = 0.5  # what a crop is worth of which the frame shows only a part
CLEAR_HW = (64, 32)  # smaller crops are averaged only where there is nothing better
CROWDED = 0.5  # and so are those that are half somebody else's: there tracks change their person


# Quality


@dataclass(frozen=True)
class Setting:
    """What the frame around a crop says about it; `sightings.settings_of` finds it."""

    crowding: float = 0.0  # share of the crop's box, 0..1, that lies in somebody else's
    cut: bool = False  # the box ends where the frame does


ALONE = Setting()


@dataclass(frozen=True)
class Judged:
    """One crop as far as choosing goes; the pixels themselves need not be kept."""

    quality: float  # 0..1
    clear: bool  # large enough, whole, and mostly nobody else's
    digest: str  # of the pixels: the same crop twice is one crop


def judge(crop: Image, setting: Setting = ALONE) -> Judged:
    """Raises `ImageError` for a crop too small to show anybody."""
    require_image(crop, name="crop")
    large = crop.shape[0] >= CLEAR_HW[0] and crop.shape[1] >= CLEAR_HW[1]
    clear = large and not setting.cut and setting.crowding <= CROWDED
    return Judged(crop_quality(crop, setting), clear, digest_of(crop))


def crop_quality(crop: Image, setting: Setting = ALONE) -> float:
    """0..1: sharp, large, upright, alone and whole is near 1."""
    whole = CUT_BY_BORDER if setting.cut else 1.0
    return _sharpness(crop) * _largeness(crop) * _uprightness(crop) * (1.0 - setting.crowding) * whole


def _sharpness(crop: Image) -> float:
    """Detail at the common size. A crop grown to it has none to show, however crisp its few pixels are."""
    height, width = COMMON_HW
    shrinks = crop.shape[0] * crop.shape[1] > height * width
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    scaled = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    detail = float(cv2.Laplacian(scaled, cv2.CV_32F).var())
    return detail / (detail + HALF_SHARP)


def _largeness(crop: Image) -> float:
    pixels = float(crop.shape[0] * crop.shape[1])
    return pixels / (pixels + HALF_LARGE)


def _uprightness(crop: Image) -> float:
    ratio = float(crop.shape[0] / crop.shape[1])
    return min(1.0, ratio / UPRIGHT[0], UPRIGHT[1] / ratio)


def digest_of(crop: Image) -> str:
    """SHA-256 of the size and the pixels: the same for the same picture, whatever file it came in."""
    return hashlib.sha256(repr(crop.shape).encode() + np.ascontiguousarray(crop).tobytes()).hexdigest()


# Choice


def choose(judged: Sequence[Judged], num: int) -> list[int]:
    """Positions of the `num` best, ascending. Copies count once; where any crop is clear, only clear ones are taken."""
    first_of = {item.digest: index for index, item in reversed(list(enumerate(judged)))}
    distinct = sorted(first_of.values())
    candidates = [index for index in distinct if judged[index].clear] or distinct
    best_first = sorted(candidates, key=lambda index: -judged[index].quality)
    return sorted(best_first[:num])


def select_best_crops(crops: Sequence[Image], num: int = 8, verbose: bool = False) -> list[Image]:
    """The best crops of one person, at most `num`, in the order they came in. `verbose` logs what was taken."""
    if num < 1:
        raise ValueError(f"num is {num}; expected 1 or more")
    judged = [judge(crop) for crop in crops]
    chosen = choose(judged, num)
    if verbose:
        scores = ", ".join(f"{judged[index].quality:.2f}" for index in chosen)
        log.info("%d of %d crops chosen, of quality %s", len(chosen), len(crops), scores or "-")
    return [crops[index] for index in chosen]
