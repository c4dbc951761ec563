"""Do these weights tell people apart? A few painted strangers are enough to see when they do not.

A trained re-identification network puts unlike people far apart. Random weights give nearly the same vector for
anything, and weights that only saw ImageNet come close to that: all their vectors share one dominant direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sightline.reid.embedder import Embedder
from sightline.types import FloatArray, Image

STRANGERS = 24
TOO_ALIKE = 0.9  # mean cosine between strangers; a published OSNet has 0.54 here, random ones 0.94 to 1.00
CANVAS_HW = (256, 128)


@dataclass(frozen=True)
class Probe:
    """What a model says about people who have nothing in common."""

    mean_cosine: float  # between unlike figures
    lowest_cosine: float

    @property
    def tells_apart(self) -> bool:
        return self.mean_cosine < TOO_ALIKE

    def __str__(self) -> str:
        verdict = (
            "these weights tell people apart"
            if self.tells_apart
            else ("these weights do NOT tell people apart: untrained, or trained on something else")
        )
        return f"{STRANGERS} unlike figures have mean cosine {self.mean_cosine:.2f} ({verdict})"


def probe_weights(embedder: Embedder) -> Probe:
    """Embed painted strangers and see how alike they come out."""
    vectors = embedder.embed(painted_strangers(STRANGERS)).vectors
    cosines = _between_different(vectors)
    return Probe(float(cosines.mean()), float(cosines.min()))


def _between_different(vectors: FloatArray) -> FloatArray:
    return np.asarray((vectors @ vectors.T)[np.triu_indices(len(vectors), k=1)], dtype=np.float32)


def painted_strangers(count: int, *, seed: int = 0) -> list[Image]:
    """Figures with head, torso, legs and background of unlike colours: not people, but as unlike as people get."""
    rng = np.random.default_rng(seed)
    return [_painted(rng) for _ in range(count)]


def _painted(rng: np.random.Generator) -> Image:
    height, width = CANVAS_HW
    image = np.empty((height, width, 3), np.uint8)
    image[:] = rng.integers(40, 220, 3)
    middle = width // 2 + int(rng.integers(-8, 9))
    torso, legs, skin = (tuple(int(value) for value in rng.integers(0, 256, 3)) for _ in range(3))
    hips = int(rng.integers(120, 145))
    half = int(rng.integers(20, 34))
    cv2.rectangle(image, (middle - half, 52), (middle + half, hips), torso, -1)
    _stripe(image[52:hips, middle - half : middle + half], rng)
    for side in (-1, 1):
        left = middle + side * half // 2
        cv2.rectangle(image, (left - half // 3, hips), (left + half // 3, 245), legs, -1)
    cv2.circle(image, (middle, 32), 18, skin, -1)
    noise = rng.normal(0, 6, image.shape)
    return np.clip(cv2.GaussianBlur(image, (3, 3), 0) + noise, 0, 255).astype(np.uint8)


def _stripe(torso: Image, rng: np.random.Generator) -> None:
    """Half of the torsos get stripes, a third of those vertical."""
    if rng.random() < 0.5:
        period = int(rng.integers(6, 20))
        rows = torso if rng.random() < 0.67 else torso.transpose(1, 0, 2)
        for start in range(0, len(rows), period):
            rows[start : start + period // 2] = rng.integers(0, 256, 3)
