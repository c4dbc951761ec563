"""From a picture to what TrackNet is fed of it: planes of 288×512, in the order its `bg_mode` wants.

Pictures are BGR up to here, networks were trained on RGB: the channels change places on the small picture, where that
costs nothing. The median a caller passes is RGB, as the published tools write it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, cast, get_args

import cv2
import numpy as np
from PIL import Image as PillowImage

from sightline.ball.background import RollingMedian
from sightline.ball.heatmap import HEIGHT, WIDTH
from sightline.errors import ConfigError, ImageError, SightlineError
from sightline.types import Array, FloatArray, Image

BgMode = Literal["", "subtract", "subtract_concat", "concat"]
Resize = Literal["area", "pil"]  # "pil": exactly the pixels the published weights were trained on, at 3 times the cost
RESIZES: tuple[str, ...] = get_args(Resize)

PLANES_PER_FRAME: Mapping[str, int] = MappingProxyType({"": 3, "subtract": 1, "subtract_concat": 4, "concat": 3})
SUBTRACTING = frozenset({"subtract", "subtract_concat"})
SMALL_CHW = (3, HEIGHT, WIDTH)


class NoMedianError(SightlineError, RuntimeError):
    """A `bg_mode` that needs a background, and nothing to take one from. A `RuntimeError`, as the modules promise."""


def bg_mode_named(name: str | None) -> BgMode:
    """The mode of that name; None is "", no background."""
    mode = name or ""
    if mode not in PLANES_PER_FRAME:
        raise ConfigError(f"no bg_mode {name!r}; expected one of {', '.join(map(repr, PLANES_PER_FRAME))}")
    return cast(BgMode, mode)


def input_planes(seq_len: int, bg_mode: str | None) -> int:
    """Channels of the network's input."""
    mode = bg_mode_named(bg_mode)
    return PLANES_PER_FRAME[mode] * seq_len + (3 if mode == "concat" else 0)


def checked_median(median: Array, bg_mode: BgMode) -> Image:
    """A copy, uint8, RGB: (3, 288, 512) for "concat", the size of the source (H, W, 3) where it is subtracted."""
    expected = str(SMALL_CHW) if bg_mode == "concat" else "the (H, W, 3) of the source"
    fits = median.shape == SMALL_CHW if bg_mode == "concat" else median.ndim == 3 and median.shape[2] == 3
    if not fits or not median.size:
        raise ConfigError(f"median has shape {median.shape}; expected {expected}, RGB, for bg_mode={bg_mode!r}")
    if not (median.min() >= 0 and median.max() <= 255):  # also not where it is NaN
        raise ConfigError(f"median has values from {median.min():g} to {median.max():g}; expected 0 to 255")
    return np.array(median, np.uint8)


def median_of_source(background_bgr: Image, bg_mode: BgMode, *, resize: Resize) -> Image:
    """A background at the size of the source as `checked_median` has it."""
    if bg_mode != "concat":
        return np.ascontiguousarray(background_bgr[:, :, ::-1])
    return np.ascontiguousarray(_shrunk(background_bgr, resize)[:, :, ::-1].transpose(2, 0, 1))


def as_floats(planes: Image) -> FloatArray:
    return np.divide(planes, np.float32(255), dtype=np.float32)


class FramePlanes:
    """The planes of one frame after another, against a background that is set once or follows the light.

    A background that is rolled is the median of some of the last frames; for "concat" of the small ones, which differs
    from a small median by a grey level here and there and takes a sixth of the memory.
    """

    def __init__(self, bg_mode: BgMode, *, resize: Resize = "area") -> None:
        self.bg_mode = bg_mode
        self.resize: Resize = resize
        self.front: FloatArray = np.empty((0, HEIGHT, WIDTH), np.float32)  # goes before the planes of the frames
        self._background_bgr: Image | None = None
        self._rolling: RollingMedian | None = None

    def set_median(self, median: Image, *, rolling_window: int = 0, rolling_every: int = 1) -> None:
        """From here on this is the background; where a window is given, until that many frames have been seen."""
        rgb = median.transpose(1, 2, 0) if self.bg_mode == "concat" else median
        self._show(np.ascontiguousarray(rgb[:, :, ::-1]))
        if rolling_window:
            self._rolling = RollingMedian(rolling_window, every=rolling_every, start=self._background_bgr)

    def of(self, image: Image) -> Image:
        """(P, 288, 512) uint8: red, green, blue, then how far from the background, as far as the mode has them."""
        planes: list[Image] = []
        small = _shrunk(image, self.resize) if self.bg_mode != "subtract" else image
        self._roll(small if self.bg_mode == "concat" else image)
        if self.bg_mode != "subtract":
            planes += [np.asarray(plane, np.uint8) for plane in cv2.split(small)[::-1]]
        if self.bg_mode in SUBTRACTING:
            planes.append(_shrunk(self._difference(image), self.resize))
        return np.stack(planes)

    def _roll(self, image: Image) -> None:
        if self._rolling is None:
            return
        self._rolling.push(image)
        if self._rolling.median() is not self._background_bgr:
            self._show(self._rolling.median())

    def _show(self, background_bgr: Image) -> None:
        self._background_bgr = background_bgr
        self._apart = np.empty_like(
            background_bgr
        )  # written anew for each frame: fresh memory would cost more than sums
        if self.bg_mode == "concat":
            self.front = as_floats(background_bgr[:, :, ::-1].transpose(2, 0, 1))

    def _difference(self, image: Image) -> Image:
        """How far each pixel is from the background, over its three channels; what is above 255 is 255.

        The published training let it wrap around instead, so "pil" does.
        """
        background = self._background_bgr
        if background is None or background.shape != image.shape:
            has = None if background is None else background.shape
            raise ImageError(f"the median is {has}, a frame {image.shape}; expected one size: take it from this source")
        blue, green, red = cv2.split(cv2.absdiff(image, background, self._apart))
        add = np.add if self.resize == "pil" else cv2.add
        add(blue, green, blue)
        add(blue, red, blue)
        return np.asarray(blue, np.uint8)


def _shrunk(image: Image, how: Resize) -> Image:
    if how == "area":
        return np.asarray(cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
    picture = PillowImage.fromarray(image)
    return np.asarray(picture.resize((WIDTH, HEIGHT), PillowImage.Resampling.BICUBIC), np.uint8)
