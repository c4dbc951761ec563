"""Tubes: the one shape people are drawn with, an elliptic cylinder of varying girth with a picture wrapped around it.

The picture turns with the tube, so that what is on somebody's back is seen from behind and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from sightline.synth.fabric import creases
from sightline.types import Array, FloatArray


@dataclass(frozen=True, eq=False)
class Tube:
    """One part of a figure, in the figure's own axes (x left, y up, z forward; metres)."""

    top: Array  # (3,)
    bottom: Array  # (3,)
    half_widths: FloatArray  # (K,) from top to bottom
    skin: FloatArray  # BGR in 0..1: (3,), or (H, W, 3) with rows down and columns around, the front in the middle
    rows: tuple[float, float] = (0.0, 1.0)  # the part of the picture this tube wears
    depth_ratio: float = 1.0  # depth over width
    roundness: float = 1.0  # of the ends: 1 a half ball, near 0 cut flat
    nearer: float = 0.0  # metres it is pulled to the viewer when parts are put in order
    turn: float = 0.0  # about its own axis, radians
    folds: float = 1.0  # strength of the creases


@dataclass(frozen=True, eq=False)
class FlatTube:
    """A tube on the canvas: pixels."""

    tube: Tube
    top_xy: Array
    bottom_xy: Array
    radius_scale: float  # pixels for a metre
    heading: float
    depth: float  # larger is further away


@dataclass(frozen=True)
class Light:
    """Where the light comes from, seen by the camera: x right, y down, z to the viewer. Intensities about 1."""

    direction: tuple[float, float, float]
    ambient: float
    direct: float


def draw_tubes(canvas: FloatArray, tubes: Iterable[FlatTube], *, light: Light, fold_xy: tuple[int, int]) -> None:
    """Paint the tubes onto `canvas` (H, W, 3) in place, the furthest first."""
    for order, flat in enumerate(sorted(tubes, key=lambda flat: -flat.depth)):
        _draw(canvas, flat, light, ((fold_xy[0] + 61 * order) % 256, (fold_xy[1] + 89 * order) % 256))


def _draw(canvas: FloatArray, flat: FlatTube, light: Light, fold_xy: tuple[int, int]) -> None:
    tube = flat.tube
    yaw = flat.heading + tube.turn
    radii = tube.half_widths * np.float32(flat.radius_scale * np.hypot(np.cos(yaw), tube.depth_ratio * np.sin(yaw)))
    window = _window(canvas, flat, float(radii.max()) + 2)
    if window is None:
        return
    across, down, beyond, axis = _local(flat, window)
    radius = radii[(down * (len(radii) - 1)).astype(np.intp)]
    side = across / radius
    square = side * side + (beyond / (tube.roundness * radius)) ** 2
    cover = np.minimum(np.maximum((1 - np.sqrt(square)) * radius + np.float32(0.5), 0), 1)
    shade = _shading(light, side, np.sqrt(np.maximum(1 - square, 0)), axis)
    if tube.folds:
        fold = creases()[fold_xy[1] : fold_xy[1] + side.shape[0], fold_xy[0] : fold_xy[0] + side.shape[1]]
        shade[: fold.shape[0], : fold.shape[1]] *= 1 + (fold - 1) * np.float32(tube.folds)
    region = canvas[window]
    region *= (1 - cover)[..., None]
    region += _colour(tube, side, down, yaw) * (shade * cover)[..., None]


def _window(canvas: FloatArray, flat: FlatTube, margin: float) -> tuple[slice, slice] | None:
    """The part of the canvas a tube can touch, rows then columns; None when it lies outside."""
    height, width = canvas.shape[:2]
    low = np.floor(np.minimum(flat.top_xy, flat.bottom_xy) - margin).astype(int)
    high = np.ceil(np.maximum(flat.top_xy, flat.bottom_xy) + margin).astype(int)
    x0, y0, x1, y1 = max(low[0], 0), max(low[1], 0), min(high[0], width), min(high[1], height)
    return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None


def _local(flat: FlatTube, window: tuple[slice, slice]) -> tuple[FloatArray, FloatArray, FloatArray, Array]:
    """Per pixel: distance across the axis, share of the way down in 0..1, distance beyond the ends; and the axis."""
    span = flat.bottom_xy - flat.top_xy
    length = max(float(np.hypot(*span)), 1e-3)
    axis = (span / length).astype(np.float32)
    xs = (np.arange(window[1].start, window[1].stop) + 0.5 - flat.top_xy[0]).astype(np.float32)[None, :]
    ys = (np.arange(window[0].start, window[0].stop) + 0.5 - flat.top_xy[1]).astype(np.float32)[:, None]
    along = xs * axis[0] + ys * axis[1]
    down = np.minimum(np.maximum(along * np.float32(1 / length), 0), 1)
    return xs * axis[1] - ys * axis[0], down, along - down * np.float32(length), axis


def _colour(tube: Tube, side: FloatArray, down: FloatArray, yaw: float) -> FloatArray:
    """What the tube wears at each pixel: (3,) or (h, w, 3)."""
    if tube.skin.ndim == 1:
        return tube.skin
    rows, columns = tube.skin.shape[:2]
    first, last = tube.rows
    start = np.arctan2(tube.depth_ratio * np.sin(yaw), np.cos(yaw))
    angle = np.arcsin(np.minimum(np.maximum(side, -1), 1)) - np.float32(start)
    x = (angle * np.float32(columns / (2 * np.pi)) + np.float32(columns / 2 - 0.5)) % np.float32(columns)
    y = np.minimum(np.maximum((first + down * (last - first)) * rows - np.float32(0.5), 0), np.float32(rows - 1.01))
    return np.asarray(cv2.remap(tube.skin, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def _shading(light: Light, side: FloatArray, facing: FloatArray, axis: Array) -> FloatArray:
    """Lambert's law on the round of the tube, with a little of the sky from above."""
    x, y, z = light.direction
    across = np.float32(x * axis[1] - y * axis[0])
    lit = np.maximum(side * across + facing * np.float32(z), 0)
    return np.asarray(np.float32(light.ambient) * (0.72 + 0.28 * facing) + np.float32(light.direct) * lit, np.float32)
