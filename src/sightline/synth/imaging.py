"""What a camera does to a picture: exposure, colour, blur, noise, too few pixels, and JPEG."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator

from sightline.synth.dice import between, chance, near
from sightline.types import Array, FloatArray, Image

_GREY = np.array([0.114, 0.587, 0.299])  # BGR weights of luma, ITU-R BT.601


@dataclass(frozen=True)
class Look:
    """The picture character of one camera, or of one shot by it."""

    exposure: float
    warmth: float  # below 0 bluish, above 0 reddish
    tint: float  # below 0 magenta, above 0 green
    saturation: float
    gamma: float
    haze: float  # grey veil, 0..1
    crosstalk: tuple[float, ...]  # 6 small leaks between the colour channels
    rows: int  # of the sensor that a person covers
    defocus: float  # sigma in sensor pixels
    noise: float  # sigma in grey levels
    quality: int  # of the JPEG


def look(rng: Generator) -> Look:
    """The settled character of one camera: many are decent, a few are off in every way at once."""
    off = between(rng, 0.05, 1.0) ** 3
    return Look(
        exposure=float(np.exp(rng.normal(0.0, 0.28) * off)),
        warmth=near(rng, 0.0, 0.17, low=-0.32, high=0.34) * off,
        tint=near(rng, 0.0, 0.06, low=-0.12, high=0.14) * off,
        saturation=near(rng, 0.95, 0.07 + 0.3 * off, low=0.3, high=1.45),
        gamma=float(np.exp(rng.normal(0.0, 0.25) * off)),
        haze=between(rng, 0.05, 0.3) * off if chance(rng, 0.5) else 0.0,
        crosstalk=tuple(rng.normal(0, 0.05, 6) * off),
        rows=int(between(rng, 90, 290)),
        defocus=between(rng, 0.0, 0.9),
        noise=between(rng, 0.5, 2.0) + between(rng, 0, 7.0) * off,
        quality=int(between(rng, 45, 96)),
    )


def varied(rng: Generator, settled: Look) -> Look:
    """The same camera at another moment: clouds, automatic exposure and balance, distance of the person."""
    return replace(
        settled,
        exposure=float(np.clip(settled.exposure * np.exp(rng.normal(0, 0.1)), 0.35, 2.2)),
        warmth=settled.warmth + float(rng.normal(0, 0.015)),
        tint=settled.tint + float(rng.normal(0, 0.008)),
        saturation=settled.saturation * between(rng, 0.88, 1.12),
        gamma=settled.gamma * between(rng, 0.92, 1.08),
        rows=max(40, int(settled.rows * np.exp(rng.normal(-0.05, 0.3)))),
        defocus=settled.defocus + (between(rng, 0.4, 1.4) if chance(rng, 0.12) else 0.0),
        noise=settled.noise * between(rng, 0.7, 1.4),
    )


def develop(scene: FloatArray, settings: Look, *, size_hw: tuple[int, int], rng: Generator) -> Image:
    """A scene, (H, W, 3) BGR in 0..1 and brighter, as the camera would deliver it at `size_hw`."""
    coloured = cv2.transform(scene, _colour_matrix(settings))
    height, width = scene.shape[:2]
    rows = min(settings.rows, height)
    sensed = cv2.resize(coloured, (max(16, round(width * rows / height)), rows), interpolation=cv2.INTER_AREA)
    sensed = _blurred(sensed, settings, rng)
    levels = cv2.convertScaleAbs(np.maximum(sensed + _grain(rng, sensed.shape[:2], settings.noise), 0), alpha=255)
    graded = cv2.LUT(levels, _curve(settings.gamma))
    return _delivered(_compressed(np.asarray(graded, np.uint8), settings.quality), size_hw)


def _grain(rng: Generator, size_hw: tuple[int, int], sigma: float) -> FloatArray:
    """Sensor noise, (H, W, 3), the channels partly alike, as after demosaicing."""
    grey = rng.standard_normal((*size_hw, 1), np.float32)
    other = rng.standard_normal((*size_hw, 1), np.float32)
    mix = np.array([0.85, 0.85, 0.85], np.float32), np.array([0.5, -0.35, -0.45], np.float32)
    return np.asarray((grey * mix[0] + other * mix[1]) * np.float32(sigma / 255), np.float32)


def _colour_matrix(settings: Look) -> Array:
    """(3, 4): white balance after saturation after crosstalk; the last column is the veil."""
    leaks = np.eye(3)
    leaks[~np.eye(3, dtype=bool)] += settings.crosstalk
    grey = np.tile(_GREY, (3, 1))
    saturated = grey + settings.saturation * (np.eye(3) - grey)
    gains = settings.exposure * np.exp([-settings.warmth, settings.tint, settings.warmth])
    matrix = (gains[:, None] * (saturated @ leaks)) * (1 - settings.haze)
    return np.column_stack([matrix, np.full(3, settings.haze * 0.62)]).astype(np.float32)


def _blurred(sensed: Array, settings: Look, rng: Generator) -> Array:
    if settings.defocus > 0.25:
        sensed = cv2.GaussianBlur(sensed, (0, 0), settings.defocus)
    if chance(rng, 0.15):
        length = int(between(rng, 2, 6))
        sensed = cv2.blur(sensed, (length, 1) if chance(rng, 0.75) else (1, length))
    return sensed


def _curve(gamma: float) -> Image:
    return np.asarray(255 * (np.arange(256) / 255) ** gamma + 0.5, np.uint8)


def _compressed(image: Image, quality: int) -> Image:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _delivered(image: Image, size_hw: tuple[int, int]) -> Image:
    if image.shape[:2] == size_hw:
        return image
    shrinks = image.shape[0] > size_hw[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=method), np.uint8)
