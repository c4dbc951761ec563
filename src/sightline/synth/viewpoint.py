"""From a figure in its own axes to a picture of it: where the camera stands, and the box a detector would draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sightline.synth.dice import between, chance, near
from sightline.synth.tubes import FlatTube, Tube
from sightline.types import Array

_AIM_M = 0.9  # the camera looks at this height of a person


@dataclass(frozen=True)
class Viewpoint:
    """A camera `height` metres above the ground and `distance` metres from the person, rolled by `roll` radians."""

    height: float
    distance: float
    roll: float

    def project(self, points: Array, *, heading: float) -> tuple[Array, Array]:
        """(N, 3) body points -> (N, 2) right and down, in metres at the person's own depth; and (N,) depths."""
        x, y, z = points.T
        right = x * np.cos(heading) + z * np.sin(heading)
        ahead = self.distance - (z * np.cos(heading) - x * np.sin(heading))
        above = self.height - y
        pitch = np.arctan2(self.height - _AIM_M, self.distance)
        depth = ahead * np.cos(pitch) + above * np.sin(pitch)
        down = above * np.cos(pitch) - ahead * np.sin(pitch)
        scale = np.hypot(self.distance, self.height - _AIM_M) / depth
        level = np.stack([right, down], axis=1) * scale[:, None]
        turn = np.array([[np.cos(self.roll), -np.sin(self.roll)], [np.sin(self.roll), np.cos(self.roll)]])
        return level @ turn.T, depth


@dataclass(frozen=True, eq=False)
class Projected:
    """A figure seen by a camera, in metres; not yet cut out."""

    tubes: Sequence[Tube]
    ends: Array  # (N, 2, 2): top and bottom of each tube, right and down
    depths: Array  # (N,)
    heading: float

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of everything that will be drawn."""
        girth = np.array([float(tube.half_widths.max()) * 0.9 for tube in self.tubes])[:, None]
        across = np.concatenate([self.ends[:, :, 0] - girth, self.ends[:, :, 0] + girth])
        up = girth * np.array([min(tube.roundness, 1.0) for tube in self.tubes])[:, None]
        along = np.concatenate([self.ends[:, :, 1] - up, self.ends[:, :, 1] + up])
        return float(across.min()), float(along.min()), float(across.max()), float(along.max())


def look_at(tubes: Sequence[Tube], view: Viewpoint, *, heading: float) -> Projected:
    points = np.array([end for tube in tubes for end in (tube.top, tube.bottom)])
    ends, depths = view.project(points, heading=heading)
    nearer = np.array([tube.nearer for tube in tubes])
    return Projected(tubes, ends.reshape(-1, 2, 2), depths.reshape(-1, 2).mean(axis=1) - nearer, heading)


Box = tuple[float, float, float, float]  # left, top, right, bottom


def detector_box(rng: Generator, figure: Box) -> Box:
    """A detector's box about a figure: loose or tight, off centre, sometimes without the feet, the head or a side."""
    left, top, right, bottom = figure
    tall, middle = bottom - top, (left + right) / 2
    top -= tall * near(rng, 0.04, 0.05, low=-0.07, high=0.22)
    bottom += tall * near(rng, 0.03, 0.05, low=-0.1, high=0.2)
    if chance(rng, 0.1):
        bottom -= tall * between(rng, 0.08, 0.38)
    elif chance(rng, 0.05):
        top += tall * between(rng, 0.03, 0.12)
    wide = (bottom - top) * between(rng, 0.4, 0.55)
    if chance(rng, 0.45):
        wide = float(np.clip((right - left) * between(rng, 1.0, 1.25), 0.36 * tall, 0.6 * tall))
    middle += wide * near(rng, 0.0, 0.06, low=-0.16, high=0.16)
    if chance(rng, 0.06):
        middle += wide * between(rng, 0.18, 0.34) * (1 if chance(rng, 0.5) else -1)
    return middle - wide / 2, top, middle + wide / 2, bottom


def place(figure: Projected, box: Box, *, size_hw: tuple[int, int]) -> list[FlatTube]:
    """The tubes in pixels of a picture of that size that shows the box, stretched to fit as every crop is."""
    left, top, right, bottom = box
    scale = np.array([size_hw[1] / (right - left), size_hw[0] / (bottom - top)])
    ends = (figure.ends - [left, top]) * scale
    spans = ends[:, 1] - ends[:, 0]
    axes = spans / np.maximum(np.hypot(spans[:, 0], spans[:, 1]), 1e-6)[:, None]
    across = np.hypot(axes[:, 1] * scale[0], axes[:, 0] * scale[1])  # pixels for a metre at right angles to each tube
    return [
        FlatTube(tube, ends[i, 0], ends[i, 1], float(across[i]), figure.heading, float(figure.depths[i]))
        for i, tube in enumerate(figure.tubes)
    ]
