"""People as cut-outs: drawn once for each direction and step, and moved about after that.

Drawing a figure takes longer than a frame may. Somebody who crosses a street shows few directions and a dozen steps, so
the drawings are kept, the latest few hundred of them.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np

from sightline.synth.body import Pose, pose
from sightline.synth.dice import dice
from sightline.synth.figure import Identity, tubes_of
from sightline.synth.tubes import Light, draw_tubes
from sightline.synth.viewpoint import Viewpoint, look_at, place
from sightline.types import FloatArray, Image

_HEADINGS, _STEPS = 24, 12
_DISTANCES = (6.5, 9.0)  # metres; a figure is drawn as it looks from the nearer of these
_MARGIN_M = 0.06
_KEPT_BYTES = 64 << 20  # of drawings; the oldest go first

_Key = tuple[int, int, int, bool, int]


@dataclass(frozen=True, eq=False)
class Sprite:
    """A cut-out: BGR times cover, and cover."""

    picture: Image  # (H, W, 4)
    foot_xy: tuple[float, float]  # the place on the ground it stands on, in its own pixels
    px_per_m: float


class Wardrobe:
    """The drawings of all people, for one camera."""

    def __init__(
        self, people: list[Identity], *, eye_m: float, focal_px: float, light: Light, tint: FloatArray
    ) -> None:
        self._people, self._light, self._tint = people, light, tint
        self._eye_m, self._focal_px = eye_m, focal_px
        self._habits = [pose(dice("street pose", who.seed), heading=0.0) for who in people]
        self._kept: OrderedDict[_Key, Sprite] = OrderedDict()
        self._bytes = 0

    def sprite(self, person: int, *, heading: float, phase: float, walking: bool, distance_m: float) -> Sprite:
        """`heading` 0 faces the camera, pi/2 walks to the right of the picture; `distance_m` is along the ground."""
        key = (
            person,
            round(heading / (2 * math.pi) * _HEADINGS) % _HEADINGS,
            math.floor(phase / (2 * math.pi) * _STEPS) % _STEPS if walking else 0,
            walking,
            int(np.argmin([abs(distance_m - near) for near in _DISTANCES])),
        )
        if key not in self._kept:
            self._keep(key, self._drawn(*key))
        self._kept.move_to_end(key)
        return self._kept[key]

    def _keep(self, key: _Key, drawn: Sprite) -> None:
        self._bytes += drawn.picture.nbytes
        while self._kept and self._bytes > _KEPT_BYTES:
            self._bytes -= self._kept.popitem(last=False)[1].picture.nbytes
        self._kept[key] = drawn

    def _drawn(self, person: int, heading_bin: int, step: int, walking: bool, distance: int) -> Sprite:
        heading = 2 * math.pi * heading_bin / _HEADINGS
        stance = self._stance(person, heading, 2 * math.pi * step / _STEPS, walking)
        view = Viewpoint(self._eye_m, _DISTANCES[distance], 0.0)
        seen = look_at(tubes_of(self._people[person], stance), view, heading=heading)
        scale = self._focal_px / math.hypot(_DISTANCES[distance], self._eye_m)
        left, top, right, bottom = seen.bounds()
        size = (math.ceil((bottom - top + 2 * _MARGIN_M) * scale), math.ceil((right - left + 2 * _MARGIN_M) * scale))
        left, top = left - _MARGIN_M, top - _MARGIN_M
        flat = place(seen, (left, top, left + size[1] / scale, top + size[0] / scale), size_hw=size)
        on_black, on_white = np.zeros((*size, 3), np.float32), np.ones((*size, 3), np.float32)
        for layer in (on_black, on_white):
            draw_tubes(layer, flat, light=self._light, fold_xy=(17 * person % 256, 0))
        ground, _ = view.project(np.zeros((1, 3)), heading=heading)
        foot = (ground[0] - [left, top]) * scale
        return Sprite(_cut_out(on_black, on_white, self._tint), (float(foot[0]), float(foot[1])), scale)

    def _stance(self, person: int, heading: float, phase: float, walking: bool) -> Pose:
        habit = self._habits[person]
        stride = min(0.5, max(0.3, habit.stride)) if walking else 0.05
        return replace(habit, heading=heading, phase=phase, stride=stride, look=0.4 * habit.look)


def _cut_out(on_black: FloatArray, on_white: FloatArray, tint: FloatArray) -> Image:
    """What shines through white and not through black is not covered."""
    cover = 1 - np.clip(on_white - on_black, 0, 1).mean(axis=2, keepdims=True)
    return levels(np.concatenate([np.minimum(on_black * tint, cover), cover], axis=2))


def levels(picture: FloatArray) -> Image:
    """0..1 as grey levels."""
    return np.asarray(np.clip(picture * 255 + 0.5, 0, 255), np.uint8)
