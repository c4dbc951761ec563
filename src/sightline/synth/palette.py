"""Colours people really wear: mostly dark, grey and muted, now and then loud. BGR, floats in 0..1."""

from __future__ import annotations

from types import MappingProxyType

import cv2
import numpy as np
from numpy.random import Generator

from sightline.synth.dice import between, weighted
from sightline.types import FloatArray

Hsv = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]  # low and high: degrees, 0..1, 0..1

_FAMILIES: MappingProxyType[str, Hsv] = MappingProxyType(
    {
        "black": ((0, 360), (0.0, 0.25), (0.04, 0.14)),
        "charcoal": ((190, 260), (0.0, 0.2), (0.15, 0.28)),
        "grey": ((0, 360), (0.0, 0.1), (0.32, 0.65)),
        "white": ((20, 70), (0.0, 0.08), (0.82, 0.98)),
        "navy": ((212, 238), (0.4, 0.75), (0.14, 0.32)),
        "denim": ((205, 222), (0.25, 0.55), (0.25, 0.6)),
        "beige": ((25, 45), (0.15, 0.35), (0.55, 0.82)),
        "brown": ((12, 32), (0.35, 0.65), (0.2, 0.42)),
        "olive": ((55, 95), (0.2, 0.45), (0.22, 0.42)),
        "muted": ((0, 360), (0.18, 0.42), (0.3, 0.65)),
        "pastel": ((0, 360), (0.12, 0.3), (0.72, 0.93)),
        "deep": ((0, 360), (0.55, 0.85), (0.22, 0.45)),
        "loud": ((0, 360), (0.65, 0.95), (0.55, 0.9)),
        "red": ((350, 368), (0.6, 0.9), (0.4, 0.75)),
    }
)

TOPS = MappingProxyType(
    {
        "black": 19,
        "charcoal": 7,
        "grey": 11,
        "white": 17,
        "navy": 8,
        "denim": 4,
        "beige": 5,
        "brown": 3,
        "olive": 3,
        "muted": 8,
        "pastel": 6,
        "deep": 5,
        "loud": 6,
        "red": 5,
    }
)
BOTTOMS = MappingProxyType(
    {
        "black": 28,
        "charcoal": 10,
        "grey": 10,
        "white": 4,
        "navy": 12,
        "denim": 20,
        "beige": 7,
        "brown": 3,
        "olive": 3,
        "muted": 4,
        "deep": 2,
        "loud": 1,
        "red": 1,
    }
)
SHOES = MappingProxyType({"black": 34, "white": 22, "grey": 9, "brown": 12, "navy": 4, "beige": 4, "loud": 6, "red": 4})
BAGS = MappingProxyType(
    {"black": 32, "charcoal": 8, "navy": 9, "brown": 12, "beige": 6, "deep": 8, "loud": 8, "red": 6}
)

_SKIN_BGR = np.array(  # from light to dark
    [
        [0.68, 0.77, 0.92],
        [0.58, 0.69, 0.87],
        [0.46, 0.6, 0.8],
        [0.35, 0.49, 0.69],
        [0.24, 0.35, 0.53],
        [0.16, 0.22, 0.34],
    ]
)
_HAIR: MappingProxyType[str, tuple[float, float, float]] = MappingProxyType(
    {
        "black": (0.07, 0.07, 0.08),
        "dark brown": (0.1, 0.13, 0.19),
        "brown": (0.15, 0.22, 0.34),
        "blond": (0.36, 0.55, 0.72),
        "red": (0.13, 0.24, 0.5),
        "grey": (0.55, 0.56, 0.57),
        "white": (0.8, 0.8, 0.8),
    }
)
_HAIR_SHARE = MappingProxyType(
    {"black": 48, "dark brown": 20, "brown": 12, "blond": 8, "red": 3, "grey": 6, "white": 3}
)


def cloth_colour(rng: Generator, families: MappingProxyType[str, int]) -> FloatArray:
    """One colour of a family drawn by its share."""
    (h0, h1), (s0, s1), (v0, v1) = _FAMILIES[weighted(rng, families)]
    hsv = np.array([[[between(rng, h0, h1) % 360, between(rng, s0, s1), between(rng, v0, v1)]]], np.float32)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0], np.float32)


def contrasting(rng: Generator, colour: FloatArray, families: MappingProxyType[str, int]) -> FloatArray:
    """A colour that can be told from `colour` at a distance; the furthest of a few draws."""
    draws = [cloth_colour(rng, families) for _ in range(4)]
    return max(draws, key=lambda other: float(np.abs(other - colour).sum()))


def skin_colour(rng: Generator) -> FloatArray:
    tone = between(rng, 0, 1) ** 1.3 * (len(_SKIN_BGR) - 1)
    return np.asarray([np.interp(tone, range(len(_SKIN_BGR)), channel) for channel in _SKIN_BGR.T], np.float32)


def hair_colour(rng: Generator) -> FloatArray:
    return np.asarray(_HAIR[weighted(rng, _HAIR_SHARE)], np.float32) * np.float32(between(rng, 0.8, 1.2))
