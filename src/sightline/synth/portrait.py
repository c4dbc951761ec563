"""The picture that is wrapped around a head: skin, hair and features, painted anew for every expression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sightline.synth.dice import between, dice
from sightline.synth.features import FaceIdentity, Mood
from sightline.types import Array, FloatArray

TOP_Y, EYE_Y = -14.0, 52.0  # rows of the crown and of the eyes in the aligned crop
_SKIN_HW = (160, 256)  # of the picture


@dataclass(frozen=True, eq=False)
class _Painter:
    """Draws on the picture around the head in the coordinates of the aligned crop, x from the middle of the face."""

    picture: FloatArray
    width: float  # half width of the face at the eyes
    chin_y: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Column and row of a point of the face."""
        columns = self.picture.shape[1]
        angle = np.arcsin(np.clip(x / self.width, -0.99, 0.99))
        return (0.5 + angle / (2 * np.pi)) * columns, (y - TOP_Y) / (self.chin_y - TOP_Y) * self.picture.shape[0]

    def oval(
        self, x: float, y: float, half: tuple[float, float], colour: Array, *, tilt: float = 0.0, thick: int = -1
    ) -> None:
        column, row = self.at(x, y)
        scale = self.picture.shape[1] / (2 * np.pi * self.width), self.picture.shape[0] / (self.chin_y - TOP_Y)
        axes = max(1, round(half[0] * scale[0] * 16)), max(1, round(half[1] * scale[1] * 16))
        centre = round(column * 16), round(row * 16)
        ink = [float(part) for part in colour]
        cv2.ellipse(self.picture, centre, axes, np.degrees(tilt), 0, 360, ink, thick, cv2.LINE_AA, 4)

    def curve(self, points: list[tuple[float, float]], colour: Array, *, thick: float) -> None:
        corners = np.array([np.multiply(self.at(x, y), 16) for x, y in points]).round().astype(np.int32)
        cv2.polylines(
            self.picture, [corners], False, [float(part) for part in colour], max(1, round(thick)), cv2.LINE_AA, 4
        )


def painted(who: FaceIdentity, mood: Mood) -> FloatArray:
    """(H, W, 3) BGR in 0..1: rows from the crown to the chin, columns around the head, the nose in the middle."""
    picture = _scalp(who)
    brush = _Painter(picture, float(who.widths[2]), who.chin_y)
    rng = dice("spots", who.seed)
    for _ in range(who.spots):
        brush.oval(between(rng, -34, 34), between(rng, 40, 104), (0.6, 0.7), who.skin * between(rng, 0.4, 0.8))
    for sign in (-1, 1):
        _eye(brush, who, mood, sign)
    x = who.nose[0]
    brush.curve(
        [(-x, EYE_Y + who.nose[1]), (0, EYE_Y + who.nose[1] + 2.5), (x, EYE_Y + who.nose[1])],
        who.skin * 0.5,
        thick=1.5,
    )
    _mouth(brush, who, mood)
    _spectacles(brush, who)
    return picture


def _scalp(who: FaceIdentity) -> FloatArray:
    """Skin where it is bare, hair where it grows, in soft edges."""
    rows, columns = _SKIN_HW
    y = (TOP_Y + (np.arange(rows) + 0.5) / rows * (who.chin_y - TOP_Y))[:, None]
    angle = (((np.arange(columns) + 0.5) / columns * 2 - 1) * np.pi)[None, :]
    hairline = who.hairline + who.fringe * np.sin(1.5 * angle) + 10 * angle**2
    temples = (np.abs(angle) > 1.15 + 0.01 * (who.side_hair - y).clip(-30, 0) * -1) & (y < who.side_hair)
    back = np.abs(angle) > 1.75
    hairy = np.clip((hairline - y) * 0.4, 0, 1)
    if who.hairline > -30:
        hairy = np.maximum(hairy, np.maximum(temples, back))
    jaw = np.clip((y - 78 - 6 * np.cos(2 * angle)) * 0.15, 0, 1) * who.beard * (np.abs(angle) < 1.4)
    lip = np.exp(-(((y - who.mouth_y + 8) / 3.5) ** 2) - (angle / 0.32) ** 4) * who.moustache
    hairy = np.maximum(hairy, np.maximum(jaw, lip))[..., None]
    strands = dice("face strands", who.seed).normal(1, 0.15, (1, columns, 1))
    blush = 1 - 0.12 * np.exp(-(((y - 74) / 12) ** 2) - ((np.abs(angle) - 0.6) / 0.25) ** 2)[..., None] * [
        1.0,
        0.9,
        0.1,
    ]
    return np.asarray(who.skin * blush * (1 - hairy) + who.hair * strands * hairy, np.float32)


def _eye(brush: _Painter, who: FaceIdentity, mood: Mood, sign: int) -> None:
    x, (wide, tall) = sign * who.eye_apart, who.eye_size
    tall = max(0.5, tall * mood.open_eyes)
    tilt = sign * who.eye_slant
    brush.oval(x, EYE_Y - 0.5, (wide + 2, tall + 3), who.skin * 0.82, tilt=tilt)
    brush.oval(x, EYE_Y, (wide + 0.6, tall + 0.9), who.skin * 0.3, tilt=tilt)
    brush.oval(x, EYE_Y + 0.3, (wide, tall), np.array([0.86, 0.87, 0.88]), tilt=tilt)
    brush.oval(x, EYE_Y + 0.2, (min(2.9, wide), min(2.9, tall)), who.iris)
    brush.oval(x, EYE_Y + 0.2, (1.2, min(1.3, tall)), np.full(3, 0.03))
    height, thick, slope = who.brow
    y = EYE_Y - height - mood.brows_up
    inner, outer = x - sign * wide * 1.05, x + sign * wide * 1.25
    arch = [(inner, y + 4 * slope), ((inner + outer) / 2, y - 1.8), (outer, y + 1.5 - 6 * slope)]
    brush.curve(arch, who.hair * 0.8, thick=thick * 1.3)


def _mouth(brush: _Painter, who: FaceIdentity, mood: Mood) -> None:
    (wide, lip), y = who.mouth, who.mouth_y
    wide += 0.6 * max(mood.smile, 0)
    brush.oval(0, y + 0.5, (wide * 0.8, lip + mood.open_mouth / 2 + 0.8), who.lips)
    if mood.open_mouth:
        brush.oval(0, y + 0.6, (wide * 0.66, mood.open_mouth / 2), np.array([0.12, 0.08, 0.2]))
        brush.oval(0, y - mood.open_mouth / 4, (wide * 0.5, mood.open_mouth / 5), np.array([0.85, 0.88, 0.9]))
    corners = [(-wide, y - mood.smile * 0.6), (-wide * 0.5, y + mood.smile * 0.2), (0, y + mood.smile * 0.35)]
    line = corners + [(-x, row) for x, row in corners[1::-1]]
    if not mood.open_mouth:
        brush.curve(line, who.lips * 0.45, thick=1.5)


def _spectacles(brush: _Painter, who: FaceIdentity) -> None:
    if who.glasses is None:
        return
    wide, tall, dark = who.glasses
    frame = np.full(3, 0.07)
    for sign in (-1, 1):
        x = sign * who.eye_apart
        if dark > 0.5:
            brush.oval(x, EYE_Y + 1, (wide, tall), frame)
        brush.oval(x, EYE_Y + 1, (wide, tall), frame, thick=2)
        brush.curve([(x + sign * wide, EYE_Y - 1), (sign * brush.width * 0.98, EYE_Y - 3)], frame, thick=2)
    brush.curve([(wide - who.eye_apart, EYE_Y), (who.eye_apart - wide, EYE_Y)], frame, thick=2)
