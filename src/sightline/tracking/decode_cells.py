"""Detectors that answer for every cell of several grids, and leave it to the caller to say where the cell is.

The cells of each stride come row by row, those of the finest stride first. Every decoder here takes the outputs of one
picture, batch axis gone, and gives boxes in pixels of the detector's input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sightline.types import Array, Detections, FloatArray

STRIDES = (8, 16, 32)
STRIDES_TO_64 = (8, 16, 32, 64)
BINS = 8  # of NanoDet's distributions: each side of a box is 0 to 7 strides away from the cell


def cell_count(size_hw: tuple[int, int], strides: Sequence[int]) -> int:
    """How many cells these grids have. A side that no stride divides gets a cell for the rest."""
    return sum(-(-size_hw[0] // stride) * -(-size_hw[1] // stride) for stride in strides)


def cells(size_hw: tuple[int, int], strides: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """(N, 2) column and row of each cell, (N, 1) its stride."""
    grids, sizes = [], []
    for stride in strides:
        columns, rows = np.meshgrid(np.arange(-(-size_hw[1] // stride)), np.arange(-(-size_hw[0] // stride)))
        grids.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        sizes.append(np.full((columns.size, 1), stride))
    return np.concatenate(grids).astype(np.float32), np.concatenate(sizes).astype(np.float32)


def decode_yolox(outputs: Mapping[str, Array], size_hw: tuple[int, int], min_score: float) -> Detections:
    """Rows of dx, dy, log w, log h in strides, then object and class, both 0..1 already."""
    rows = only(outputs)
    sure, scores, classes = best_classes(rows, min_score)
    grid, stride = (values[sure] for values in cells(size_hw, STRIDES))
    centres = (rows[sure, :2] + grid) * stride
    halves = np.exp(rows[sure, 2:4]) * stride / 2
    return detections(np.hstack([centres - halves, centres + halves]), scores, classes)


def decode_nanodet_plus(outputs: Mapping[str, Array], size_hw: tuple[int, int], min_score: float) -> Detections:
    """NanoDet-Plus: four grids, a cell stands for its left upper corner."""
    return _decode_distances(only(outputs), cells(size_hw, STRIDES_TO_64), min_score=min_score, centre=0.0)


def decode_nanodet(outputs: Mapping[str, Array], size_hw: tuple[int, int], min_score: float) -> Detections:
    """The first NanoDet: three grids, a cell stands for its centre."""
    return _decode_distances(only(outputs), cells(size_hw, STRIDES), min_score=min_score, centre=0.5)


def _decode_distances(
    rows: Array, grid: tuple[FloatArray, FloatArray], *, min_score: float, centre: float
) -> Detections:
    """Rows of class scores, then for left, top, right and bottom a distribution over `BINS` distances in strides.

    The distance is the mean of the distribution (generalised focal loss, Li 2020, equation 6).
    """
    scored = rows[:, : -4 * BINS]
    sure = np.flatnonzero(scored.max(axis=1) >= min_score)
    logits = rows[sure, -4 * BINS :].reshape(-1, 4, BINS).astype(np.float32)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    strides = grid[1][sure]
    distances = weights @ np.arange(BINS, dtype=np.float32) / weights.sum(axis=2) * strides
    points = (grid[0][sure] + np.float32(centre)) * strides
    boxes = np.hstack([points - distances[:, :2], points + distances[:, 2:]])
    return detections(boxes, scored[sure].max(axis=1), scored[sure].argmax(axis=1))


def only(outputs: Mapping[str, Array]) -> Array:
    (rows,) = outputs.values()
    return rows


def best_classes(rows: Array, min_score: float) -> tuple[Array, Array, Array]:
    """Of rows x, y, w, h, object, classes…: which are sure enough, and of those the score and the class."""
    likely = np.flatnonzero(rows[:, 4] >= min_score)  # no class makes a row surer than its object
    scores = rows[likely, 4] * rows[likely, 5:].max(axis=1)
    kept = scores >= min_score
    return likely[kept], scores[kept], rows[likely[kept], 5:].argmax(axis=1)


def detections(boxes_xyxy: Array, scores: Array, classes: Array) -> Detections:
    return Detections(boxes_xyxy.astype(np.float32), scores.astype(np.float32), classes.astype(np.int64))
