"""What stands in a street and hides who walks behind it: planters, advertising columns, lamp posts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.random import Generator

from sightline.synth.dice import between, weighted
from sightline.synth.scene_sprites import Sprite, levels
from sightline.synth.scene_street import Post
from sightline.types import FloatArray

_FINER = 2  # drawn so much larger, then reduced: that smooths the edges
_NEAR_Y, _FAR_Y = 2.9, 4.6  # metres from the middle of the street: before the people, and behind them


@dataclass(frozen=True, eq=False)
class Thing:
    sprite: Sprite
    x: float
    y: float


def furniture(rng: Generator, camera: Post, *, light: float) -> list[Thing]:
    """One or two things before the people, never side by side, and some behind."""
    places = [
        (camera.middle_x + between(rng, -1.9, -0.7), _NEAR_Y),
        (camera.middle_x + between(rng, 0.9, 2.0), _NEAR_Y),
    ]
    before = places if between(rng, 0, 1) < 0.5 else [places[int(rng.integers(2))]]
    behind = [(camera.middle_x + between(rng, low, low + 2.5), -_FAR_Y) for low in (-5.5, -1.5, 2.5)]
    things = []
    for x, y in [*before, *behind]:
        kind = weighted(rng, _BEFORE if y == _NEAR_Y else _BEHIND)
        place = np.array([x, camera.side * y, 0.8])
        things.append(Thing(_standing(rng, kind, camera.view.px_per_m(place), light), x, camera.side * y))
    return things


def _standing(rng: Generator, kind: str, px_per_m: float, light: float) -> Sprite:
    fine = px_per_m * _FINER
    picture = _PAINT[kind](rng, fine)
    picture[..., :3] = np.minimum(picture[..., :3] * light, 1) * picture[..., 3:]
    size = max(1, picture.shape[1] // _FINER), max(1, picture.shape[0] // _FINER)
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)
    return Sprite(levels(small), (size[0] / 2, size[1] - 0.06 * px_per_m), px_per_m)


def _blank(height_m: float, width_m: float, px_per_m: float) -> FloatArray:
    """(H, W, 4): BGR in 0..1, and cover."""
    return np.zeros((max(8, round(height_m * px_per_m)), max(4, round(width_m * px_per_m)), 4), np.float32)


def _planter(rng: Generator, px_per_m: float) -> FloatArray:
    """A trough of concrete with a bush in it."""
    trough_m, bush_m, width_m = between(rng, 0.4, 0.6), between(rng, 0.4, 0.8), between(rng, 0.9, 1.5)
    picture = _blank(trough_m + bush_m, width_m, px_per_m)
    rows, columns = picture.shape[:2]
    top = round(rows * bush_m / (bush_m + trough_m))
    green = np.array([0.13, 0.32, 0.2]) * between(rng, 0.6, 1.3)
    for _ in range(260):  # leaves, the light ones on top
        up = between(rng, 0, 1)
        reach = 0.46 * columns * np.sqrt(1 - 0.75 * up * up)
        centre = (int(columns / 2 + between(rng, -1, 1) * reach), int(top * (1 - up * 0.88) + 0.04 * rows))
        shade = green * (0.55 + 0.75 * up) * between(rng, 0.75, 1.25)
        cv2.circle(picture, centre, max(2, int(columns * between(rng, 0.03, 0.06))), (*shade.tolist(), 1.0), -1)
    grey = between(rng, 0.4, 0.65) * np.linspace(1.05, 0.7, columns)[:, None] * np.array([0.96, 1.0, 1.03])
    picture[top:, :, :3], picture[top:, :, 3] = grey, 1
    picture[top : top + max(2, rows // 30), :, :3] *= 1.2
    return picture


def _column(rng: Generator, px_per_m: float) -> FloatArray:
    """A round column with posters all over it, and a roof."""
    picture = _blank(between(rng, 2.1, 2.5), between(rng, 0.65, 0.85), px_per_m)
    rows, columns = picture.shape[:2]
    picture[..., :3], picture[..., 3] = 0.5, 1
    for row in range(rows // 8, rows - rows // 8, rows // 3):
        for column in range(0, columns, max(2, columns // 2)):
            poster = picture[row : row + rows // 3 - 6, column : column + columns // 2 - 4, :3]
            poster[:] = between(rng, 0.2, 0.8) * rng.uniform(0.6, 1.15, 3)
            half = int(poster.shape[0] * between(rng, 0.3, 0.7))
            poster[half : half + poster.shape[0] // 5] = between(rng, 0.1, 0.9) * rng.uniform(0.5, 1.1, 3)
    round_it = np.sqrt(np.clip(1 - np.linspace(-0.96, 0.82, columns) ** 2, 0.08, 1))
    picture[..., :3] *= round_it[None, :, None]
    picture[: rows // 14, :, :3] = np.array([0.16, 0.2, 0.15]) * round_it[None, :, None]
    return picture


def _lamp(rng: Generator, px_per_m: float) -> FloatArray:
    picture = _blank(3.9, 0.5, px_per_m)
    rows, columns = picture.shape[:2]
    half, middle = max(1, round(columns * between(rng, 0.05, 0.09))), columns // 2
    metal = between(rng, 0.1, 0.3)
    picture[:, middle - half : middle + half, :3] = metal * np.linspace(1.5, 0.7, 2 * half)[:, None]
    picture[:, middle - half : middle + half, 3] = 1
    foot = slice(middle - 2 * half, middle + 2 * half)
    picture[-rows // 12 :, foot, :3], picture[-rows // 12 :, foot, 3] = metal * 0.9, 1
    return picture


_PAINT: MappingProxyType[str, Callable[[Generator, float], FloatArray]] = MappingProxyType(
    {"planter": _planter, "column": _column, "lamp": _lamp}
)
_BEFORE = MappingProxyType({"planter": 50, "column": 15, "lamp": 35})  # a column hides people whole
_BEHIND = MappingProxyType({"planter": 45, "column": 25, "lamp": 30})
