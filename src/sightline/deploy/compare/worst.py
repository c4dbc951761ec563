"""The images on which two sides agree least, and whom each side takes them for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sightline.deploy.compare.agreement import Agreement
from sightline.deploy.compare.side import Pairs
from sightline.reid.labelled import unit
from sightline.types import FloatArray


@dataclass(frozen=True)
class Nearest:
    """The image that one side finds most alike."""

    name: str
    score: float


@dataclass(frozen=True)
class Worst:
    name: str
    cosine: float  # between its two vectors
    by_a: Nearest | None  # None: it is the only image
    by_b: Nearest | None


def worst_images(pairs: Pairs, measured: Agreement, *, count: int) -> list[Worst]:
    """The smallest cosine first."""
    rows = measured.worst(count)
    nearest_a, nearest_b = (_nearest(unit(side), rows, pairs.names) for side in (pairs.a, pairs.b))
    return [
        Worst(pairs.names[row], float(measured.cosines[row]), by_a, by_b)
        for row, by_a, by_b in zip(rows, nearest_a, nearest_b, strict=True)
    ]


def _nearest(vectors: FloatArray, rows: Sequence[int], names: Sequence[str]) -> list[Nearest | None]:
    scores = vectors[list(rows)] @ vectors.T
    scores[np.arange(len(rows)), list(rows)] = -np.inf
    found = scores.argmax(axis=1)
    return [
        Nearest(names[column], float(scores[place, column])) if len(names) > 1 else None
        for place, column in enumerate(found)
    ]
