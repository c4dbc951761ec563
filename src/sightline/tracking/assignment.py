"""Who goes with whom: how much boxes overlap, and the pairs that are best for all together."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import BackendError
from sightline.runtime.backend import missing_package
from sightline.types import Array, IntArray

Matrix = NDArray[np.float64]


def iou_matrix(first_xyxy: Array, second_xyxy: Array) -> Matrix:
    """Intersection over union of every box with every other, (N, M); 0 where a box has no area."""
    first, second = first_xyxy[:, None, :].astype(np.float64), second_xyxy[None, :, :].astype(np.float64)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    np.maximum(sides, 0, out=sides)
    shared: Matrix = sides[..., 0] * sides[..., 1]
    union = _areas(first) + _areas(second) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _areas(boxes: Matrix) -> Matrix:
    area: Matrix = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return area


class Assignment:
    """The optimal pairing, from scipy. Making one raises `BackendError` where scipy is absent."""

    def __init__(self) -> None:
        reason = missing_package("scipy", "'sightline[tracking]'")
        if reason:
            raise BackendError(f"tracking needs another library: {reason}")
        self._solve: Any = import_module("scipy.optimize").linear_sum_assignment

    def best_pairs(self, similarity: Matrix, *, at_least: float) -> tuple[IntArray, IntArray]:
        """Rows and columns of the pairs, rows ascending; every row and column at most once, no pair below `at_least`.

        What is maximised is the sum of how far each pair is above `at_least`, so that two poor pairs do not outweigh
        one good one. NaN and -inf pair with nothing.
        """
        allowed = similarity >= at_least
        rows, columns = np.flatnonzero(allowed.any(axis=1)), np.flatnonzero(allowed.any(axis=0))
        if not len(rows):
            return rows, columns
        if np.count_nonzero(allowed) == len(rows) == len(columns):  # no row and no column has a choice
            return rows, allowed[rows].argmax(axis=1)
        kept = np.ix_(rows, columns)
        gain = np.where(allowed[kept], similarity[kept] - at_least + 1e-9, 0)  # a pair exactly at the bound gains too
        first, second = self._solve(gain, maximize=True)
        chosen = allowed[kept][first, second]
        return rows[first[chosen]], columns[second[chosen]]
