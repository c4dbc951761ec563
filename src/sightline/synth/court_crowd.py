"""What moves and is no shuttle: spectators who fidget, and small lights that come and go."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sightline.synth.court_layers import Layer, behind, lay_over
from sightline.synth.court_scene import Scene
from sightline.synth.dice import between
from sightline.types import Image


@dataclass(frozen=True)
class Fidget:
    """A piece of the crowd that sways."""

    box_xywh: tuple[int, int, int, int]
    reach_px: float
    period_s: float
    phase: float


@dataclass(frozen=True, eq=False)
class Twinkle:
    """A phone, a flash, a number that changes on a board: on for a part of each period."""

    layer: Layer
    period_s: float
    phase: float
    share_on: float


@dataclass(frozen=True, eq=False)
class Crowd:
    fidgets: tuple[Fidget, ...]
    twinkles: tuple[Twinkle, ...]

    def stir(self, image: Image, time_s: float) -> None:
        """Changes `image`, a copy of the still scene."""
        for fidget in self.fidgets:
            x, y, width, height = fidget.box_xywh
            angle = 2 * math.pi * time_s / fidget.period_s + fidget.phase
            right, down = round(fidget.reach_px * math.sin(angle)), round(fidget.reach_px * math.cos(0.7 * angle))
            piece = image[y : y + height, x : x + width].copy()
            image[y + down : y + down + height, x + right : x + right + width] = piece
        for twinkle in self.twinkles:
            if (time_s / twinkle.period_s + twinkle.phase) % 1 < twinkle.share_on:
                lay_over(image, twinkle.layer)


def crowd(rng: Generator, scene: Scene) -> Crowd:
    """In the upper third, and along both sides."""
    height, width = scene.before_all.shape
    fidgets = tuple(_fidget(rng, width, height) for _ in range(int(rng.integers(0, 26))))
    return Crowd(fidgets, tuple(_twinkle(rng, scene, width / 512) for _ in range(int(rng.integers(0, 5)))))


def _spot(rng: Generator, width: int, height: int) -> tuple[float, float]:
    if rng.random() < 0.6:
        return between(rng, 0.03, 0.97) * width, between(rng, 0.05, 0.3) * height
    aside = between(rng, 0.03, 0.15)
    return (aside if rng.random() < 0.5 else 1 - aside) * width, between(rng, 0.1, 0.8) * height


def _fidget(rng: Generator, width: int, height: int) -> Fidget:
    wide, high = int(between(rng, 0.01, 0.03) * width), int(between(rng, 0.02, 0.06) * height)
    reach = between(rng, 0.5, 2.0) * width / 512
    x, y = _spot(rng, width, height)
    margin = math.ceil(reach)
    left = int(np.clip(x, margin, width - wide - margin))
    top = int(np.clip(y, margin, height - high - margin))
    return Fidget((left, top, wide, high), reach, between(rng, 0.6, 4.0), between(rng, 0, 6.28))


def _twinkle(rng: Generator, scene: Scene, scale: float) -> Twinkle:
    height, width = scene.before_all.shape
    x, y = _spot(rng, width, height)
    radius = between(rng, 0.7, 2.0) * scale
    reach = math.ceil(radius) + 1
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    alpha = np.clip(radius + 0.5 - np.hypot(rows, columns), 0, 1)
    color = np.array([*rng.uniform(150, 255, 3), 1], np.float32)
    layer = behind(Layer(int(x), int(y), alpha[..., None] * color), scene.before_all)
    return Twinkle(layer, between(rng, 0.3, 6.0), between(rng, 0, 1), between(rng, 0.1, 0.6))
