"""Places for people to be in: a ground, something behind it, and things that stand about. One picture a camera."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import cv2
import numpy as np
from numpy.random import Generator

from sightline.synth.dice import between, chance, weighted
from sightline.types import Array, FloatArray

SCENE_HW = (320, 480)
_COLOURS = np.array(
    [
        [0.45] * 3,
        [0.3] * 3,
        [0.62] * 3,
        [0.38] * 3,
        [0.54] * 3,
        [0.5, 0.55, 0.6],
        [0.4, 0.45, 0.52],
        [0.35, 0.42, 0.5],
        [0.5, 0.47, 0.42],
    ]
)


def scene(rng: Generator) -> tuple[FloatArray, int]:
    """A picture (H, W, 3) BGR in 0..1 and the row of its horizon, where the ground begins."""
    rows, columns = SCENE_HW
    horizon = int(rows * between(rng, 0.12, 0.6))
    picture = np.empty((rows, columns, 3), np.float32)
    picture[:horizon] = _WALLS[weighted(rng, _WALL_SHARE)](rng, horizon, columns)
    picture[horizon:] = _ground(rng, rows - horizon, columns)
    for _ in range(int(rng.integers(2, 12))):
        _ITEMS[weighted(rng, _ITEM_SHARE)](rng, picture, horizon)
    if chance(rng, 0.5):
        _cast_shadow(rng, picture, horizon)
    return np.clip(picture, 0, 1), horizon


def _paint_colour(rng: Generator) -> Array:
    """Mostly the greys and browns of streets, now and then paint."""
    if chance(rng, 0.07):
        return rng.uniform(0.1, 0.85) * rng.uniform(0.6, 1.3, 3)
    return np.asarray(_COLOURS[rng.integers(len(_COLOURS))] * between(rng, 0.5, 1.4) * rng.uniform(0.985, 1.015, 3))


def _cloudy(rng: Generator, rows: int, columns: int, *, cell: int) -> Array:
    """Smooth noise about 0, its spread about 1."""
    coarse = rng.standard_normal((max(2, rows // cell), max(2, columns // cell)), np.float32)
    return np.asarray(cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC))[..., None]


def _rough(rng: Generator, rows: int, columns: int, colour: Array, *, grain: float) -> Array:
    fine = rng.standard_normal((rows, columns, 1), np.float32) * grain
    return colour * (1 + fine + _cloudy(rng, rows, columns, cell=24) * 0.07)


def _tiled(rng: Generator, rows: int, columns: int, colour: Array, *, tile_hw: tuple[int, int]) -> Array:
    """Bricks or slabs: each its own shade, with joints between, every other row shifted or not."""
    height, width = tile_hw
    row = np.arange(rows) // height
    shift = (row % 2 * (width // 2 if chance(rng, 0.6) else 0))[:, None]
    column = (np.arange(columns)[None, :] + shift) // width
    shades = rng.normal(1, between(rng, 0.02, 0.14), (rows // height + 1, columns // width + 2, 1))
    joint = (np.arange(rows)[:, None] % height == 0) | ((np.arange(columns)[None, :] + shift) % width == 0)
    picture = colour * shades[row[:, None], column] * (1 + rng.standard_normal((rows, columns, 1), np.float32) * 0.04)
    return np.asarray(picture * np.where(joint, between(rng, 0.6, 1.2), 1.0)[..., None])


def _ground(rng: Generator, rows: int, columns: int) -> Array:
    """A flat texture laid down in perspective, so that it gets finer towards the horizon."""
    kind = weighted(rng, MappingProxyType({"slabs": 45, "asphalt": 30, "grass": 12, "floor": 13}))
    colour, wide, deep = _paint_colour(rng), columns, 400
    if kind == "slabs":
        flat = _tiled(rng, deep, wide, colour, tile_hw=(int(between(rng, 8, 40)), int(between(rng, 10, 48))))
    elif kind == "grass":
        flat = _rough(rng, deep, wide, np.array([0.2, 0.37, 0.31]) * between(rng, 0.7, 1.4), grain=0.14)
    else:
        flat = _rough(rng, deep, wide, colour, grain=between(rng, 0.02, 0.1) if kind == "asphalt" else 0.01)
    if kind == "asphalt" and chance(rng, 0.5):
        x = int(between(rng, 0, wide - 30))
        flat[:, x : x + int(between(rng, 5, 16))] = between(rng, 0.6, 0.9)
    pinch = between(rng, 0.1, 0.38) * wide
    slide = between(rng, -0.3, 0.3) * wide
    source = np.array([[pinch, 0], [wide - pinch, 0], [wide, deep], [0, deep]], np.float32)
    target = np.array([[slide, 0], [wide + slide, 0], [wide * 1.2, rows], [-0.2 * wide, rows]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    return np.asarray(
        cv2.warpPerspective(flat.astype(np.float32), matrix, (columns, rows), borderMode=cv2.BORDER_REFLECT)
    )


def _plaster(rng: Generator, rows: int, columns: int) -> Array:
    fall = np.linspace(1, between(rng, 0.6, 1.3), rows)[:, None, None]
    return _rough(rng, rows, columns, _paint_colour(rng), grain=0.02) * fall


def _bricks(rng: Generator, rows: int, columns: int) -> Array:
    return _tiled(rng, rows, columns, _paint_colour(rng), tile_hw=(int(between(rng, 5, 16)), int(between(rng, 12, 40))))


def _windows(rng: Generator, rows: int, columns: int) -> Array:
    """A front with rows of dark or shining panes; wide ones make a shop or a doorway."""
    picture = _plaster(rng, rows, columns)
    width, gap = int(between(rng, 14, 110)), int(between(rng, 4, 60))
    height, step = int(between(rng, 24, 150)), int(between(rng, 3, 30))
    pane = np.array([0.2, 0.18, 0.16]) * between(rng, 0.2, 2.5)
    for y in range(int(between(rng, 0, 20)), rows, height + step):
        for x in range(int(between(rng, -40, 20)), columns, width + gap):
            picture[y : y + height, max(x, 0) : max(x + width, 0)] = pane * between(rng, 0.6, 1.4)
    return picture


def _hedge(rng: Generator, rows: int, columns: int) -> Array:
    green = np.array([0.13, 0.3, 0.2]) * between(rng, 0.5, 1.5)
    leaves = _cloudy(rng, rows, columns, cell=5) * 0.3 + _cloudy(rng, rows, columns, cell=28) * 0.25
    return green * np.clip(1 + leaves, 0.15, 2.5)


def _sky_line(rng: Generator, rows: int, columns: int) -> Array:
    picture = (
        np.array([0.88, 0.84, 0.8])
        * between(rng, 0.75, 1.1)
        * np.linspace(0.9, 1.05, rows)[:, None, None]
        * np.ones((1, columns, 1))
    )
    x = 0
    while x < columns:
        width, top = int(between(rng, 20, 120)), int(between(rng, 0, rows))
        picture[top:, x : x + width] = _paint_colour(rng) * between(rng, 0.7, 1.2)
        x += width
    return picture


_WALLS: MappingProxyType[str, Callable[[Generator, int, int], Array]] = MappingProxyType(
    {"plaster": _plaster, "bricks": _bricks, "windows": _windows, "hedge": _hedge, "sky line": _sky_line}
)
_WALL_SHARE = MappingProxyType({"plaster": 22, "bricks": 18, "windows": 28, "hedge": 16, "sky line": 16})


def _pole(rng: Generator, picture: FloatArray, horizon: int) -> None:
    x, foot = int(between(rng, 0, picture.shape[1])), int(between(rng, horizon, picture.shape[0]))
    shade = [float(part) for part in _paint_colour(rng)]
    cv2.line(picture, (x, 0), (x, foot), shade, int(between(rng, 2, 9)), cv2.LINE_AA)


def _block(rng: Generator, picture: FloatArray, horizon: int) -> None:
    """A car, a bin, a sign, a box: something with corners."""
    width, height = int(between(rng, 12, 120)), int(between(rng, 12, 80))
    x, foot = int(between(rng, -20, picture.shape[1])), int(between(rng, horizon * 0.7, picture.shape[0]))
    shade = _paint_colour(rng)
    for part, scale in ((1.0, 1.0), (0.45, 0.6)):
        colour = [float(channel) for channel in shade * scale]
        cv2.rectangle(picture, (x, foot - height), (x + width, foot - int(height * (1 - part))), colour, -1)


def _wheels(rng: Generator, picture: FloatArray, horizon: int) -> None:
    centre = (between(rng, 0, picture.shape[1]), between(rng, horizon, picture.shape[0]))
    draw_bicycle(rng, picture, centre, size=between(rng, 10, 34))


def _bush(rng: Generator, picture: FloatArray, horizon: int) -> None:
    axes = (int(between(rng, 8, 50)), int(between(rng, 8, 36)))
    centre = (int(between(rng, 0, picture.shape[1])), int(between(rng, horizon * 0.6, horizon + 40)))
    colour = [float(part) for part in np.array([0.13, 0.32, 0.2]) * between(rng, 0.4, 1.4)]
    cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)


_ITEMS: MappingProxyType[str, Callable[[Generator, FloatArray, int], None]] = MappingProxyType(
    {"pole": _pole, "block": _block, "wheels": _wheels, "bush": _bush}
)
_ITEM_SHARE = MappingProxyType({"pole": 25, "block": 30, "wheels": 30, "bush": 15})


def draw_bicycle(rng: Generator, picture: FloatArray, centre_xy: tuple[float, float], *, size: float) -> None:
    """Two wheels and a frame, in place; `size` is the radius of a wheel in pixels."""
    x, y = centre_xy
    squeeze = between(rng, 0.3, 1.0)
    back, front = (int(x - 1.3 * size * squeeze), int(y)), (int(x + 1.3 * size * squeeze), int(y))
    saddle, bar = (int(x - 0.6 * size * squeeze), int(y - 1.4 * size)), (int(x + squeeze * size), int(y - 1.6 * size))
    frame = [float(part) for part in _paint_colour(rng)]
    thick = max(1, int(size / 9))
    for hub in (back, front):
        cv2.ellipse(
            picture, hub, (max(1, int(size * squeeze)), int(size)), 0, 0, 360, (0.09, 0.09, 0.09), thick, cv2.LINE_AA
        )
    for start, end in ((back, saddle), (saddle, bar), (bar, front), (back, (int(x), int(y))), ((int(x), int(y)), bar)):
        cv2.line(picture, start, end, frame, thick, cv2.LINE_AA)


def _cast_shadow(rng: Generator, picture: FloatArray, horizon: int) -> None:
    """The shadow of a building or tree across the ground."""
    x, width = between(rng, 0, picture.shape[1]), between(rng, 40, 240)
    lean, rows = between(rng, -150, 150), picture.shape[0]
    corners = np.array([[x, horizon], [x + width, horizon], [x + width + lean, rows], [x + lean, rows]], np.int32)
    shade = np.ones(picture.shape[:2], np.float32)
    cv2.fillConvexPoly(shade, corners, between(rng, 0.5, 0.8))
    picture *= cv2.GaussianBlur(shade, (0, 0), between(rng, 1, 6))[..., None]


def cut_scene(rng: Generator, picture: FloatArray, horizon: int, *, size_hw: tuple[int, int]) -> FloatArray:
    """A piece of the scene with ground at its foot, as large as the picture of a person; sometimes mirrored."""
    rows, columns = picture.shape[:2]
    height = int(between(rng, 0.3, 0.8) * min(rows, columns * size_hw[0] / size_hw[1]))
    width = max(1, round(height * size_hw[1] / size_hw[0]))
    foot = int(between(rng, min(rows, max(height, horizon + 0.15 * height)), rows))
    left = int(between(rng, 0, columns - width))
    piece = picture[foot - max(height, 1) : foot, left : left + width]
    piece = piece[:, ::-1] if chance(rng, 0.5) else piece
    return np.asarray(cv2.resize(piece, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR), np.float32)
