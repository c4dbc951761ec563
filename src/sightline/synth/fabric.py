"""Fabric: patterns painted in metres, so that a stripe is as wide on the sleeve as on the chest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import cv2
import numpy as np
from numpy.random import Generator

from sightline.synth.dice import between, chance, dice, fresh_seed, weighted
from sightline.synth.palette import cloth_colour, contrasting
from sightline.types import Array, FloatArray

KINDS = MappingProxyType(
    {
        "plain": 56,
        "rings": 10,
        "pinstripe": 5,
        "checks": 7,
        "dots": 4,
        "camouflage": 3,
        "two-tone": 8,
        "gradient": 3,
        "melange": 4,
    }
)


@dataclass(frozen=True, eq=False)
class Fabric:
    """What a garment is made of. Lengths in metres."""

    kind: str
    base: FloatArray  # (3,) BGR
    second: FloatArray  # (3,) BGR
    period: float
    share: float  # of a period that the second colour takes
    grain: float  # contrast of the weave
    seed: int


def fabric(
    rng: Generator, families: MappingProxyType[str, int], *, kinds: MappingProxyType[str, int] = KINDS
) -> Fabric:
    base = cloth_colour(rng, families)
    return Fabric(
        kind=weighted(rng, kinds),
        base=base,
        second=contrasting(rng, base, families),
        period=between(rng, 0.035, 0.16),
        share=between(rng, 0.25, 0.6),
        grain=between(rng, 0.01, 0.07) * (3 if chance(rng, 0.12) else 1),
        seed=fresh_seed(rng),
    )


def paint(
    cloth: Fabric, size_hw: tuple[int, int], *, along_m: float, around_m: float, start_m: float = 0.0
) -> FloatArray:
    """The fabric laid around a limb: rows run down it, columns around it. (H, W, 3) BGR in 0..1.

    `start_m` is how far below the garment's top the first row lies, so that blocks of colour fall in their place.
    """
    rows, columns = size_hw
    down = (start_m + (np.arange(rows, dtype=np.float32) + 0.5) / rows * along_m)[:, None]
    # A whole number of periods must fit around, or the seam would show as a broken pattern.
    periods = max(1, round(around_m / cloth.period))
    turn = ((np.arange(columns, dtype=np.float32) + 0.5) / columns * periods * cloth.period)[None, :]
    amount = np.broadcast_to(_AMOUNTS[cloth.kind](cloth, down, turn), size_hw)[..., None]
    weave = dice("weave", cloth.seed).normal(1.0, cloth.grain, (*size_hw, 1))
    return np.asarray((cloth.base * (1 - amount) + cloth.second * amount) * weave, np.float32)


def _wave(position: Array, cloth: Fabric) -> Array:
    """1 inside the second colour's share of each period, 0 outside, with a soft edge."""
    phase = position / cloth.period % 1.0
    return np.asarray(np.clip((cloth.share - np.abs(phase - 0.5) * 2) * 6 + 0.5, 0, 1))


def _dots(cloth: Fabric, down: Array, turn: Array) -> Array:
    radius = np.hypot(down / cloth.period % 1 - 0.5, turn / cloth.period % 1 - 0.5)
    return np.asarray(np.clip((0.15 + cloth.share * 0.4 - radius) * 8, 0, 1))


def _blotches(cloth: Fabric, down: Array, turn: Array) -> Array:
    field = dice("blotches", cloth.seed).random((9, 9)).astype(np.float32)
    field[:, -1] = field[:, 0]
    smooth = cv2.resize(field, (turn.size, down.size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip((smooth - 0.5) * 9 + 0.5, 0, 1))


def _melange(cloth: Fabric, down: Array, turn: Array) -> Array:
    specks = dice("melange", cloth.seed).random((down.size, turn.size)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(specks, (3, 3), 0) * cloth.share)


_AMOUNTS: MappingProxyType[str, Callable[[Fabric, Array, Array], Array]] = MappingProxyType(
    {
        "plain": lambda cloth, down, turn: np.zeros((1, 1), np.float32),
        "rings": lambda cloth, down, turn: _wave(down, cloth),
        "pinstripe": lambda cloth, down, turn: _wave(turn, cloth),
        "checks": lambda cloth, down, turn: (_wave(down, cloth) + _wave(turn, cloth)) / 2,
        "dots": _dots,
        "camouflage": _blotches,
        "two-tone": lambda cloth, down, turn: np.clip((down - 0.1 - cloth.period * 1.6) * 60, 0, 1),
        "gradient": lambda cloth, down, turn: np.clip(down / 0.6, 0, 1),
        "melange": _melange,
    }
)


@lru_cache(maxsize=1)
def creases() -> FloatArray:
    """Folds of cloth as a multiplier about 1, (512, 512): slanted ridges of several widths. Take a window anywhere."""
    rng = dice("creases")
    field = np.zeros((512, 512), np.float32)
    for sigma_xy, weight in (((14.0, 3.0), 1.0), ((4.0, 11.0), 0.9), ((2.0, 5.0), 0.5), ((9.0, 9.0), 0.9)):
        layer = cv2.GaussianBlur(rng.standard_normal((512, 512), np.float32), (0, 0), sigma_xy[0], sigmaY=sigma_xy[1])
        field += layer / layer.std() * weight
    field = np.clip(field / field.std(), -2.5, 2.5)
    return np.asarray(1 + 0.08 * field, np.float32)
