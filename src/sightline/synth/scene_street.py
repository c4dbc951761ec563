"""A street with shops on both sides, and the cameras on its walls: what is there when nobody is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sightline.synth.court_view import View
from sightline.synth.dice import between, chance
from sightline.synth.scene_walks import SPACING
from sightline.types import FloatArray, Image

WALL = 8.0  # metres from the middle of the street to either side
_TALL = 9.0  # of the walls, metres
_PX_PER_M = 48  # of what is painted on walls and ground
_SCALE = 2  # the picture is painted so much larger, which smooths its edges
_LETTERS = list("ABCDEFGHIKLMNOPRSTUVWXYZ")
_PITCH = math.radians(17.0)

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Post:
    """A camera on a wall, and the sun as it stands for everybody."""

    view: View
    side: int  # -1 on the wall at y = -WALL, 1 on the other
    middle_x: float  # of the part of the street it sees
    sun: Numbers  # (3,) towards it, of length 1


def post(rng: Generator, camera: int, *, size_hw: tuple[int, int], sun: Numbers) -> Post:
    """Camera after camera down the street, on either wall in turn."""
    side, middle = (-1, 1)[camera % 2], camera * SPACING
    height, width = size_hw
    eye = np.array([middle + between(rng, -0.3, 0.3), side * (WALL - 0.2), between(rng, 3.3, 3.9)])
    yaw, pitch = math.radians(between(rng, -4, 4)), _PITCH + math.radians(between(rng, -0.7, 0.7))
    ahead = np.array([math.sin(yaw) * math.cos(pitch), -side * math.cos(yaw) * math.cos(pitch), -math.sin(pitch)])
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    axes = np.array([right, np.cross(ahead, right), ahead])
    return Post(View(size_hw, eye, axes, float(width), ((width - 1) / 2, (height - 1) / 2)), side, middle, sun)


def sunlight(rng: Generator) -> Numbers:
    """High enough that nobody's shadow leaves the street."""
    azimuth, height = between(rng, 0, 2 * math.pi), math.radians(between(rng, 40, 62))
    flat = math.cos(height)
    return np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(height)])


def empty_street(rng: Generator, camera: Post) -> Image:
    """What the camera sees of ground, wall and sky."""
    height, width = camera.view.size_hw
    view = camera.view.scaled(_SCALE)
    canvas = np.full((height * _SCALE, width * _SCALE, 3), (226, 208, 190), np.uint8)
    _stretch_over(canvas, view, _wall_corners(camera), _front(rng))
    _stretch_over(canvas, view, _ground_corners(camera), _ground(rng))
    return np.asarray(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _wall_corners(camera: Post) -> Numbers:
    """(4, 3) clockwise from the top left, as the camera sees it."""
    left, right = camera.middle_x + SPACING * camera.side, camera.middle_x - SPACING * camera.side
    y = -camera.side * WALL
    return np.array([[left, y, _TALL], [right, y, _TALL], [right, y, 0], [left, y, 0]])


def _ground_corners(camera: Post) -> Numbers:
    """From the far wall to what is just before the camera."""
    left, right = camera.middle_x + SPACING * camera.side, camera.middle_x - SPACING * camera.side
    far, near = -camera.side * WALL, camera.side * (WALL - 3.2)
    return np.array([[left, far, 0], [right, far, 0], [right, near, 0], [left, near, 0]])


def _stretch_over(canvas: Image, view: View, corners: Numbers, picture: FloatArray) -> None:
    height, width = picture.shape[:2]
    own = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(own, view.project(corners).astype(np.float32))
    flat = np.asarray(np.clip(picture * 255, 0, 255), np.uint8)
    size = canvas.shape[1], canvas.shape[0]
    cv2.warpPerspective(flat, matrix, size, dst=canvas, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)


# The ground


def _ground(rng: Generator) -> FloatArray:
    """Slabs at both sides and a darker lane between, worn unevenly."""
    deep, wide = round((2 * WALL - 3.2) * _PX_PER_M), round(2 * SPACING * _PX_PER_M)
    picture = _slabs(rng, deep, wide, _street_colour(rng) * between(rng, 1.0, 1.35))
    first, last = round(3.4 * _PX_PER_M), round(9.6 * _PX_PER_M)
    lane = _grained(rng, last - first, wide, _street_colour(rng) * 0.8)
    picture[first:last] = lane if chance(rng, 0.5) else _slabs(rng, last - first, wide, _street_colour(rng))
    for row in (first, last):
        picture[row - 5 : row + 5] = _street_colour(rng) * between(rng, 1.1, 1.5)
    worn = cv2.resize(rng.normal(1, 0.05, (6, 14)).astype(np.float32), (wide, deep), interpolation=cv2.INTER_CUBIC)
    return np.asarray(picture * worn[..., None], np.float32)


def _street_colour(rng: Generator) -> FloatArray:
    """Grey, mostly on the warm side."""
    return np.asarray(between(rng, 0.36, 0.56) * (1 + between(rng, -0.01, 0.07) * np.array([-1, 0, 1])), np.float32)


def _slabs(rng: Generator, rows: int, columns: int, colour: FloatArray) -> FloatArray:
    size = round(between(rng, 0.4, 0.9) * _PX_PER_M)
    row, column = np.arange(rows)[:, None] // size, np.arange(columns)[None, :]
    column = (column + (row % 2) * (size // 2 if chance(rng, 0.5) else 0)) // size
    shades = rng.normal(1, between(rng, 0.02, 0.06), (rows // size + 1, columns // size + 2)).astype(np.float32)
    picture = _grained(rng, rows, columns, colour) * shades[row, column][..., None]
    joints = np.zeros((rows, columns), bool)
    joints[1:] |= row[1:] != row[:-1]
    joints[:, 1:] |= column[:, 1:] != column[:, :-1]
    picture[joints] *= between(rng, 0.7, 0.85)
    return np.asarray(picture, np.float32)


def _grained(rng: Generator, rows: int, columns: int, colour: FloatArray) -> FloatArray:
    grain = 1 + rng.standard_normal((rows, columns, 1), np.float32) * np.float32(0.045)
    return np.asarray(cv2.GaussianBlur(grain, (0, 0), 0.8)[..., None] * colour, np.float32)


# The shops


def _front(rng: Generator) -> FloatArray:
    """A row of houses, each with a shop at its foot and windows above."""
    columns = round(2 * SPACING * _PX_PER_M)
    picture = np.empty((round(_TALL * _PX_PER_M), columns, 3), np.float32)
    x = 0
    while x < columns:
        wide = round(between(rng, 4.5, 8.5) * _PX_PER_M)
        wide = wide if columns - x - wide > 4 * _PX_PER_M else columns - x
        _house(rng, picture[:, x : x + wide])
        x += wide
    return picture


def _house(rng: Generator, wall: FloatArray) -> None:
    rows, columns = wall.shape[:2]
    colour = between(rng, 0.42, 0.82) * (1 + between(rng, -0.02, 0.2) * np.array([-1.0, 0.0, 0.6]))
    wall[:] = _grained(rng, rows, columns, np.asarray(colour, np.float32))
    wall[:, -3:] *= 0.75
    for x in range(round(0.8 * _PX_PER_M), columns - round(1.5 * _PX_PER_M), round(2.2 * _PX_PER_M)):
        for floor_m in (7.8, 4.9):
            _pane(rng, wall, (x, rows - round(floor_m * _PX_PER_M)), (round(1.1 * _PX_PER_M), round(1.6 * _PX_PER_M)))
    _shop(rng, wall)


def _shop(rng: Generator, wall: FloatArray) -> None:
    rows, columns = wall.shape[:2]
    sill, head, edge = round(0.45 * _PX_PER_M), round(2.6 * _PX_PER_M), round(0.35 * _PX_PER_M)
    door = round(1.1 * _PX_PER_M)
    doorway = edge if chance(rng, 0.5) else max(edge, columns - edge - door)
    _pane(rng, wall, (doorway, rows - head), (door, head), dark=0.6)
    x, end = (doorway + door + edge, columns - edge) if doorway == edge else (edge, doorway - edge)
    panes = max(1, round((end - x) / (1.9 * _PX_PER_M)))
    for index in range(panes):
        left, right = x + (end - x) * index // panes, x + (end - x) * (index + 1) // panes - 6
        if right - left > 8:
            _pane(rng, wall, (left, rows - head), (right - left, head - sill))
    _sign(rng, wall[rows - round(3.4 * _PX_PER_M) : rows - round(2.75 * _PX_PER_M), edge : columns - edge])


def _pane(
    rng: Generator, wall: FloatArray, corner_xy: tuple[int, int], size_wh: tuple[int, int], *, dark: float = 1.0
) -> None:
    """Glass that mirrors some sky above and lets some of the inside through below."""
    (x, y), (wide, tall) = corner_xy, size_wh
    frame = wall[y - 4 : y + tall + 4, max(0, x - 4) : x + wide + 4]
    frame[:] = between(rng, 0.15, 0.75)
    glass = wall[y : y + tall, x : x + wide]
    inside = np.array([0.24, 0.25, 0.27]) * between(rng, 0.5, 1.5) * dark
    fall = np.linspace(1, 0, glass.shape[0])[:, None, None] ** 1.5
    glass[:] = inside * (1 - 0.5 * fall) + np.array([0.5, 0.46, 0.42]) * 0.5 * fall
    for _ in range(int(rng.integers(2, 6))):  # what stands in the window
        low, left = int(between(rng, 0.35, 0.8) * tall), int(between(rng, 0, 0.8) * wide)
        glass[low:, left : left + int(between(rng, 0.08, 0.3) * wide)] *= rng.uniform(0.6, 1.7, 3)


def _sign(rng: Generator, band: FloatArray) -> None:
    """A name, light on dark or dark on light, in the middle of a painted board."""
    rows, columns = band.shape[:2]
    ground = rng.uniform(20, 190, 3)
    ink = (238, 238, 238) if ground.mean() < 115 else (26, 26, 26)
    text = "".join(rng.choice(_LETTERS, int(rng.integers(4, 9))))
    board = np.ascontiguousarray(np.broadcast_to(ground, band.shape), np.uint8)
    size = min(0.026 * rows, columns / (24 * len(text)))
    (wide, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, size, 2)
    cv2.putText(
        board, text, ((columns - wide) // 2, (rows + tall) // 2), cv2.FONT_HERSHEY_DUPLEX, size, ink, 2, cv2.LINE_AA
    )
    band[:] = board / np.float32(255)
