"""One frame as a tracker sees it: detections that can be tracked, in an order of their own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ModelOutputError
from sightline.tracking.appearance import crowding, normalised
from sightline.tracking.assignment import iou_matrix
from sightline.types import Array, Detections, FloatArray, IntArray, Tracks

Floats = NDArray[np.float64]

LARGEST = 1e7  # pixels from the origin: no picture is as large, and squares of more lose their last digits


@dataclass(frozen=True, eq=False)
class Sightings:
    """The usable detections of one frame, surest first.

    The order comes from their content alone, so the order in which a detector lists them decides nothing.
    """

    rows: IntArray  # (N,) of the frame's detections
    boxes_xyxy: FloatArray  # (N, 4)
    scores: FloatArray  # (N,)
    classes: IntArray  # (N,)
    vectors: FloatArray  # (N, D), L2-normalised or zero; D = 0 without embeddings
    embedded: Array  # (N,) mask
    crowded: Floats  # (N,) the largest IoU with another detection of the frame

    def __len__(self) -> int:
        return len(self.rows)


def sightings_of(
    detections: Detections, embeddings: FloatArray | None, *, at_least: float, refused: Counter[str]
) -> Sightings:
    """Detections from the score `at_least` up. What cannot be tracked is left out and counted by its reason.

    Raises `ModelOutputError` where the embeddings are not one row for each detection.
    """
    boxes, scores, classes = detections.boxes_xyxy, detections.scores, detections.classes
    vectors = _checked(embeddings, len(detections))
    usable = _usable(boxes, scores, refused) & (scores >= at_least)
    order = np.lexsort((classes, *boxes.T[::-1], -scores))
    rows = order[usable[order]]
    kept = normalised(vectors[rows].astype(np.float32))
    crowded = crowding(iou_matrix(boxes[rows], boxes[rows]))
    return Sightings(rows, boxes[rows], scores[rows], classes[rows], kept, (kept != 0).any(axis=1), crowded)


def _checked(embeddings: FloatArray | None, count: int) -> FloatArray:
    if embeddings is None:
        return np.zeros((count, 0), np.float32)
    if embeddings.ndim != 2 or len(embeddings) != count:
        raise ModelOutputError(
            f"{count} detections with embeddings {embeddings.shape}; expected one row for each, NaN where not embedded"
        )
    return embeddings


def _usable(boxes: FloatArray, scores: FloatArray, refused: Counter[str]) -> Array:
    finite = np.isfinite(boxes).all(axis=1) & (np.abs(boxes) < LARGEST).all(axis=1)
    scored = np.isfinite(scores)
    with np.errstate(invalid="ignore"):
        solid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    sound: Array = finite & solid & scored
    if not sound.all():
        refused["box not finite, or beyond any picture"] += int((~finite).sum())
        refused["box without area"] += int((finite & ~solid).sum())
        refused["score not finite"] += int((finite & solid & ~scored).sum())
    return sound


def tracks_of(detections: Detections, ids: IntArray, rows: IntArray) -> Tracks:
    """The detections in `rows`, each with its id."""
    landmarks = detections.landmarks_xy
    taken = Detections(
        detections.boxes_xyxy[rows],
        detections.scores[rows],
        detections.classes[rows],
        None if landmarks is None else landmarks[rows],
    )
    return Tracks(ids, taken)
