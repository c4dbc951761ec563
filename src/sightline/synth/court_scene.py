"""What stands still: hall, crowd, boards, court, net and the graphics of the broadcaster.

Painted once a clip, at twice its size, so that a line thinner than a pixel comes out fainter instead of wider.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sightline.synth.court_layers import Layer, lay_over
from sightline.synth.court_view import HALF_LENGTH, HALF_WIDTH, View
from sightline.synth.dice import between, chance
from sightline.synth.shuttle import NET_HEIGHT
from sightline.types import FloatArray, Image

SCALE = 2
_LETTERS = list("BCDFGHJKLMNPRSTVXZ")  # without vowels, so that no word comes out by chance
_NET_COLOR = (235, 240, 240)
Color = tuple[int, int, int]  # BGR


@dataclass(frozen=True, eq=False)
class Scene:
    """The still picture, and how much of what moves in it is hidden: by the graphics, and beyond the net also by it."""

    image: Image
    before_all: FloatArray  # (H, W), 0..1
    before_far: FloatArray  # (H, W), 0..1


@dataclass(frozen=True)
class Dress:
    """The colours of one hall."""

    hall: Color
    surround: Color
    court: Color
    lines: Color
    boards: tuple[Color, ...]
    light: float  # of hall and crowd, 0..1


def scene(rng: Generator, view: View) -> Scene:
    dress = _dress(rng)
    large = view.scaled(SCALE)
    canvas = _hall(rng, large.size_hw, dress)
    _fill(canvas, large, _floor(large), dress.surround)
    _boards(rng, canvas, large, dress)
    _fill(canvas, large, _rectangle(-HALF_WIDTH - 1, HALF_WIDTH + 1, -HALF_LENGTH - 1, HALF_LENGTH + 1), dress.court)
    if chance(rng, 0.6):
        _writing_on_floor(rng, canvas, large, dress)
    for corners in _lines():
        _fill(canvas, large, corners, dress.lines)
    height, width = view.size_hw
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    lit = np.asarray(np.clip(image * _unevenness(rng, view.size_hw), 0, 255), np.uint8)
    net = _net(rng, large)
    lay_over(lit, Layer(0, 0, np.dstack([*(net * level for level in _NET_COLOR), net])))
    graphics = _graphics(rng, view.size_hw)
    before_all = np.zeros(view.size_hw, np.float32)
    for graphic in graphics:
        lay_over(lit, graphic)
        before_all[graphic.box] = graphic.bgra[..., 3]
    return Scene(lit, before_all, 1 - (1 - before_all) * (1 - net))


def _dress(rng: Generator) -> Dress:
    hues = rng.permutation([60, 75, 110, 115, 5, 175, 20, 140])  # of OpenCV's 180: greens, blues, reds, wood, purple
    court = _color(hues[0], between(rng, 70, 210), between(rng, 70, 190))
    surround = _color(hues[1], between(rng, 60, 240), between(rng, 40, 210))
    boards = tuple(_color(hue, between(rng, 60, 250), between(rng, 30, 230)) for hue in hues[2:5])
    hall = _color(hues[5], between(rng, 0, 90), between(rng, 15, 120))
    level = int(between(rng, 180, 255))
    lines = (level, level, level) if chance(rng, 0.85) else (60, level, level)
    return Dress(hall, surround, court, lines, boards, between(rng, 0.2, 0.9) ** 2)


def _color(hue: float, saturation: float, value: float) -> Color:
    pixel = cv2.cvtColor(np.array([[[hue, saturation, value]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return int(pixel[0]), int(pixel[1]), int(pixel[2])


def _hall(rng: Generator, size_hw: tuple[int, int], dress: Dress) -> Image:
    """Seats and people in the dark: blobs in rows, the nearer the larger."""
    height, width = size_hw
    canvas = np.full((height, width, 3), dress.hall, np.uint8)
    count = int(between(rng, 0, 900))
    colors = rng.integers(0, 256, (count, 3)) * dress.light * rng.random((count, 1))
    sizes = width * rng.uniform(0.002, 0.009, count)
    for (x, y), color, size in zip(rng.random((count, 2)), colors, sizes, strict=True):
        centre = int(x * width), int(y * height * 0.9)
        cv2.ellipse(canvas, centre, (int(size) + 1, int(size * 1.4) + 1), 0, 0, 360, color.tolist(), -1)
    coarse = rng.normal(0, 22 * dress.light, (height // 24, width // 24, 3)).astype(np.float32)
    texture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(cv2.blur(canvas, (5, 5)) + texture, 0, 255), np.uint8)


def _rectangle(left: float, right: float, near: float, far: float) -> NDArray[np.float64]:
    """(4, 3) on the floor."""
    return np.array([[left, near, 0], [right, near, 0], [right, far, 0], [left, far, 0]], float)


def _floor(view: View) -> NDArray[np.float64]:
    """Of the hall, from just before the camera to behind the far boards."""
    return _rectangle(-9, 9, float(view.eye[1]) + 3, HALF_LENGTH + 3)


def _fill(canvas: Image, view: View, corners: NDArray[np.float64], color: Color) -> None:
    cv2.fillPoly(canvas, [_fixed(view.project(corners))], color, cv2.LINE_AA, 4)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """As OpenCV draws below the pixel: in sixteenths."""
    return np.asarray(np.round(points * 16), np.int32)


def _lines() -> list[NDArray[np.float64]]:
    """The markings of a badminton court, 40 mm wide."""
    wide, half = 0.04, 0.02
    across = [-HALF_LENGTH, -HALF_LENGTH + 0.76, -1.98, 1.98 - wide, HALF_LENGTH - 0.76 - wide, HALF_LENGTH - wide]
    along = [-HALF_WIDTH, -HALF_WIDTH + 0.46, HALF_WIDTH - 0.46 - wide, HALF_WIDTH - wide]
    middle = [(-HALF_LENGTH, -1.98), (1.98, HALF_LENGTH)]
    return [
        *(_rectangle(-HALF_WIDTH, HALF_WIDTH, y, y + wide) for y in across),
        *(_rectangle(x, x + wide, -HALF_LENGTH, HALF_LENGTH) for x in along),
        *(_rectangle(-half, half, near, far) for near, far in middle),
    ]


def _boards(rng: Generator, canvas: Image, view: View, dress: Dress) -> None:
    """Advertising along the far end, in one row or two, and perhaps along the sides."""
    back = HALF_LENGTH + between(rng, 1.5, 3.0)
    rows = [(0.0, 1.0), (1.4, 2.4)] if chance(rng, 0.4) else [(0.0, between(rng, 0.8, 3.0))]
    for bottom, top in rows:
        edges = np.linspace(-8, 8, int(rng.integers(2, 7)))
        for left, right in pairwise(edges):
            _board(rng, canvas, view, np.array([[left, back, top], [right, back, top], [right, back, bottom]]), dress)
    for side in (-1, 1):
        if chance(rng, 0.6):
            x = side * between(rng, 4.8, 6.5)
            for y in (-3.0, 2.0):
                near, far = (y, y + 5) if side > 0 else (y + 5, y)
                _board(rng, canvas, view, np.array([[x, far, 1.0], [x, near, 1.0], [x, near, 0.0]]), dress)


def _board(rng: Generator, canvas: Image, view: View, corners: NDArray[np.float64], dress: Dress) -> None:
    """One board: its top left, top right and bottom right corner in metres."""
    color = dress.boards[int(rng.integers(len(dress.boards)))]
    whole = np.vstack([corners, corners[:1] + corners[2:] - corners[1:2]])
    if min(view.depth(corner) for corner in whole) > 1:
        width_m = float(np.linalg.norm(corners[1] - corners[0]))
        height_m = float(np.linalg.norm(corners[2] - corners[1]))
        _stretch_over(canvas, view.project(whole), _banner(rng, color, width_m / height_m))


def _writing_on_floor(rng: Generator, canvas: Image, view: View, dress: Dress) -> None:
    width = between(rng, 1.2, 3.0)
    for y in rng.choice([-6.2, -1.0, 3.2], int(rng.integers(1, 4)), replace=False):
        x, height = between(rng, -2.0, 2.0 - width / 2), width * between(rng, 0.2, 0.4)
        corners = _rectangle(x - width / 2, x + width / 2, y, y + height)[::-1]
        _stretch_over(canvas, view.project(corners), _banner(rng, dress.court, 4.0))


def _banner(rng: Generator, color: Color, aspect: float) -> Image:
    """A name and a sign in light or dark on `color`."""
    height, width = 64, int(np.clip(64 * aspect, 64, 640))
    banner = np.full((height, width, 3), color, np.uint8)
    ink = (245, 245, 245) if chance(rng, 0.75) else _color(between(rng, 0, 180), 200, between(rng, 20, 250))
    text = "".join(rng.choice(_LETTERS, int(rng.integers(3, 9))))
    size = min(1.6, width / (26 * len(text) + 50))
    cv2.putText(banner, text, (int(width * 0.22), 44), cv2.FONT_HERSHEY_DUPLEX, size, ink, 3, cv2.LINE_AA)
    cv2.ellipse(banner, (int(width * 0.1), 32), (14, 14), 0, between(rng, 0, 180), 360, ink, -1, cv2.LINE_AA)
    return banner


def _stretch_over(canvas: Image, corners_xy: NDArray[np.float64], banner: Image) -> None:
    """Onto four corners, clockwise from the top left."""
    height, width = banner.shape[:2]
    own = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(own, corners_xy.astype(np.float32))
    size = canvas.shape[1], canvas.shape[0]
    border = cv2.BORDER_TRANSPARENT
    cv2.warpPerspective(banner, matrix, size, dst=canvas, flags=cv2.INTER_LINEAR, borderMode=border)


def _net(rng: Generator, view: View) -> FloatArray:
    mask = np.zeros(view.size_hw, np.uint8)
    half = HALF_WIDTH + 0.05
    mesh = np.array([[-half, 0, NET_HEIGHT], [half, 0, NET_HEIGHT], [half, 0, 0.76], [-half, 0, 0.76]])
    cv2.fillPoly(mask, [_fixed(view.project(mesh))], int(between(rng, 15, 70)), cv2.LINE_AA, 4)
    tape = mesh.copy()
    tape[2:, 2] = NET_HEIGHT - 0.075
    cv2.fillPoly(mask, [_fixed(view.project(tape))], 240, cv2.LINE_AA, 4)
    for side in (-half, half):
        foot, head = view.project(np.array([[side, 0, 0], [side, 0, NET_HEIGHT]]))
        thick = max(1, round(0.05 * view.px_per_m(np.array([side, 0, 1.0]))))
        cv2.line(mask, _fixed(foot).tolist(), _fixed(head).tolist(), 230, thick, cv2.LINE_AA, 4)
    small = cv2.resize(mask, None, fx=1 / SCALE, fy=1 / SCALE, interpolation=cv2.INTER_AREA)
    return np.asarray(small / np.float32(255), np.float32)


def _graphics(rng: Generator, size_hw: tuple[int, int]) -> tuple[Layer, ...]:
    """A score board, a channel's sign, a ticker: each there or not."""
    height, width = size_hw
    places = [(0.03, 0.04, 0.26, 0.09), (0.84, 0.05, 0.12, 0.07), (0.2, 0.9, 0.6, 0.07)]
    chances = (0.6, 0.4, 0.12)
    chosen = [place for place, share in zip(places, chances, strict=True) if chance(rng, share)]
    return tuple(_graphic(rng, [round(v * s) for v, s in zip(p, (width, height) * 2, strict=True)]) for p in chosen)


def _graphic(rng: Generator, box: Sequence[int]) -> Layer:
    x, y, width, height = box
    banner = _banner(rng, _color(between(rng, 0, 180), between(rng, 0, 255), between(rng, 20, 240)), width / height)
    opacity = between(rng, 0.7, 1.0)
    covering = np.full((height, width, 1), opacity, np.float32)
    small = cv2.resize(banner, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    return Layer(x, y, np.concatenate([small * opacity, covering], axis=2))


def _unevenness(rng: Generator, size_hw: tuple[int, int]) -> FloatArray:
    """(H, W, 1) of the lamps, about 1."""
    coarse = rng.normal(1.0, 0.09, (3, 4)).astype(np.float32)
    smooth = cv2.resize(coarse, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.float32)[..., None]
