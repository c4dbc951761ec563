"""From what is there to what is recorded: changing light, an unsteady hand, blur, sharpening, noise, compression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sightline.synth.dice import between, chance, dice
from sightline.types import Image

_MARGIN = 32  # by which a tile of noise is larger than the picture, so that it can be laid differently each frame


@dataclass(frozen=True)
class Film:
    """The habits of one camera."""

    seed: int
    light: tuple[float, float, float]  # how far it swings, its period in seconds, its phase
    flicker: float  # from frame to frame
    shake_px: float
    blur: float  # sigma, pixels
    sharpness: float
    gamma: float
    saturation: float
    noise: float  # sigma, grey levels
    quality: int  # of the JPEG; 0 for none

    def shift_xy(self, time_s: float) -> tuple[float, float]:
        """Where the hand has wandered, in pixels: everything in the picture moves by this."""
        if not self.shake_px:
            return 0.0, 0.0
        phase = self.light[2]
        x = math.sin(2.1 * time_s + phase) + 0.5 * math.sin(5.3 * time_s + 2 * phase)
        y = math.cos(1.7 * time_s - phase) + 0.5 * math.sin(6.1 * time_s + 3 * phase)
        return self.shake_px * x, self.shake_px * y

    def record(self, image: Image, tiles: NDArray[np.int16], index: int, time_s: float) -> Image:
        """One frame. Its noise is its own: the same whenever this frame is asked for."""
        rng = dice("film", self.seed, index)
        sharp = self._focused(_moved(image, self.shift_xy(time_s)))
        toned = np.asarray(cv2.LUT(sharp, self._curve(rng, time_s)), np.uint8)
        if abs(self.saturation - 1) > 0.02:
            toned = np.asarray(cv2.transform(toned, _saturation(self.saturation)), np.uint8)
        height, width = toned.shape[:2]
        top, left = rng.integers(0, _MARGIN, 2).tolist()
        tile = tiles[int(rng.integers(len(tiles))), top : top + height, left : left + width]
        noisy = np.asarray(cv2.add(toned, tile, dtype=cv2.CV_8U), np.uint8)
        return _compressed(noisy, self.quality) if self.quality else noisy

    def _focused(self, image: Image) -> Image:
        if self.blur > 0.2:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), self.blur), np.uint8)
        if self.sharpness > 0.05:  # as broadcast cameras do: a dark rim about whatever is bright
            soft = cv2.GaussianBlur(image, (0, 0), 1.2)
            image = np.asarray(cv2.addWeighted(image, 1 + self.sharpness, soft, -self.sharpness, 0), np.uint8)
        return image

    def _curve(self, rng: Generator, time_s: float) -> Image:
        swing, period, phase = self.light
        gain = (1 + swing * math.sin(2 * math.pi * time_s / period + phase)) * (1 + self.flicker * rng.normal())
        levels = 255 * (np.arange(256) / 255) ** self.gamma * gain
        return np.asarray(np.clip(levels + 0.5, 0, 255), np.uint8)


def film(rng: Generator, seed: int, *, width: int) -> Film:
    scale = width / 512
    return Film(
        seed=seed,
        light=(between(rng, 0, 0.12) if chance(rng, 0.5) else 0.0, between(rng, 3, 25), between(rng, 0, 6.28)),
        flicker=between(rng, 0, 0.01) if chance(rng, 0.3) else 0.0,
        shake_px=scale * between(rng, 0.1, 0.9) if chance(rng, 0.25) else 0.0,
        blur=scale * between(rng, 0.0, 0.9) if chance(rng, 0.7) else 0.0,
        sharpness=between(rng, 0.2, 1.0) if chance(rng, 0.5) else 0.0,
        gamma=float(np.exp(rng.normal(0, 0.2))),
        saturation=between(rng, 0.5, 1.35),
        noise=between(rng, 0.4, 3) + (between(rng, 0, 6) if chance(rng, 0.25) else 0.0),
        quality=int(between(rng, 35, 95)) if chance(rng, 0.8) else 0,
    )


def noise_tiles(rng: Generator, size_hw: tuple[int, int], sigma: float) -> NDArray[np.int16]:
    """(4, H, W, 3), somewhat larger than the picture."""
    height, width = size_hw
    shape = (4, height + _MARGIN, width + _MARGIN, 3)
    return np.asarray(np.round(rng.standard_normal(shape, np.float32) * sigma), np.int16)


def _moved(image: Image, shift_xy: tuple[float, float]) -> Image:
    if shift_xy == (0.0, 0.0):
        return image
    matrix = np.array([[1, 0, shift_xy[0]], [0, 1, shift_xy[1]]], np.float32)
    size = image.shape[1], image.shape[0]
    return np.asarray(cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _saturation(amount: float) -> NDArray[np.float32]:
    grey = np.tile([0.114, 0.587, 0.299], (3, 1))
    return np.asarray(grey + amount * (np.eye(3) - grey), np.float32)


def _compressed(image: Image, quality: int) -> Image:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
