"""From metres on the court to pixels: where a camera stands, and what it sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sightline.synth.dice import between, chance, near

HALF_WIDTH, HALF_LENGTH = 3.05, 6.70  # of a doubles court, metres


@dataclass(frozen=True, eq=False)
class View:
    """A pinhole camera behind the near baseline."""

    size_hw: tuple[int, int]
    eye: NDArray[np.float64]  # (3,) metres
    axes: NDArray[np.float64]  # (3, 3) rows: right, down, forward
    focal_px: float
    centre_xy: tuple[float, float]

    def project(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 3) metres -> (N, 2) pixels; a pixel's centre is at a whole number. Only for what is before the camera."""
        seen = (np.asarray(places, float) - self.eye) @ self.axes.T
        return np.asarray(seen[:, :2] * self.focal_px / seen[:, 2:] + self.centre_xy)

    def depth(self, place: NDArray[np.float64]) -> float:
        """Metres along the line of sight, below 0 behind the camera."""
        return float((place - self.eye) @ self.axes[2])

    def px_per_m(self, place: NDArray[np.float64]) -> float:
        return self.focal_px / max(self.depth(place), 0.5)

    def scaled(self, factor: int) -> View:
        """The same view in a picture `factor` times as large."""
        height, width = self.size_hw
        x, y = ((value + 0.5) * factor - 0.5 for value in self.centre_xy)
        return View((height * factor, width * factor), self.eye, self.axes, self.focal_px * factor, (x, y))


def view(rng: Generator, size_hw: tuple[int, int]) -> View:
    """Mostly the high camera of a broadcast, at times one lower, aside or tilted, as spectators hold theirs."""
    height, width = size_hw
    target = np.array([between(rng, -0.4, 0.4), between(rng, -1.5, 1.8), between(rng, 0.4, 1.4)])
    pitch = math.radians(between(rng, 15, 36))
    aside = math.radians(between(rng, -28, 28) if chance(rng, 0.2) else near(rng, 0, 2.5, low=-6, high=6))
    back = np.array([math.sin(aside) * math.cos(pitch), -math.cos(aside) * math.cos(pitch), math.sin(pitch)])
    eye = target + between(rng, 14, 27) * back
    axes = _axes(-back, math.radians(near(rng, 0, 0.5, low=-2, high=2)))
    focal, low = _framing(rng, View(size_hw, eye, axes, 1.0, (0.0, 0.0)))
    return View(size_hw, eye, axes, focal, ((width - 1) / 2, between(rng, 0.84, 1.02) * height - focal * low))


def _framing(rng: Generator, unit: View) -> tuple[float, float]:
    """The focal length that fits the court into the picture, and how far below its axis the near baseline is, for 1."""
    height, width = unit.size_hw
    corners = [[-HALF_WIDTH, -HALF_LENGTH, 0], [HALF_WIDTH, -HALF_LENGTH, 0], [0, HALF_LENGTH, 1.8]]
    left, right, far = unit.project(np.array(corners, float))
    low = float(left[1] + right[1]) / 2
    across = between(rng, 0.42, 0.84) * width / float(right[0] - left[0])
    along = between(rng, 0.54, 0.86) * height / (low - float(far[1]))
    return min(across, along), low


def _axes(forward: NDArray[np.float64], roll: float) -> NDArray[np.float64]:
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    turned = math.cos(roll) * right + math.sin(roll) * down
    return np.array([turned, np.cross(forward, turned), forward])
