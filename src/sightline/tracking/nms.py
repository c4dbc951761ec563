"""One box for one thing: what is left of the many that a detector draws around it."""

from __future__ import annotations

import cv2
import numpy as np

from sightline.types import Array, Detections

MAX_CANDIDATES = 3000  # the best of them; a crowd fills a picture with hundreds
MAX_DETECTIONS = 300
FARTHEST = 1e6  # pixels


def best_apart(found: Detections, max_overlap: float) -> Detections:
    """The best boxes first, without those that overlap a better one of their class by more than `max_overlap`.

    `max_overlap` is a share of the union, 0..1; at 1 nothing is dropped for its overlap. However many boxes come in, no
    more than `MAX_DETECTIONS` come out.
    """
    best = _best_first(found.scores)[:MAX_CANDIDATES]
    boxes = found.boxes_xyxy[best].astype(np.float64)
    if max_overlap >= 1 or len(best) == 0:
        return taken(found, best[:MAX_DETECTIONS])
    # Each class gets a place of its own. OpenCV's batched form does that too, but not for coordinates below 0.
    reach = boxes.max() - boxes.min() + 1
    apart = boxes + (found.classes[best] * reach)[:, None]
    sides = np.hstack([apart[:, :2], apart[:, 2:] - apart[:, :2]])
    # Ranks stand in for the scores, whose order OpenCV would settle anew where they are equal.
    ranks = np.linspace(1, 0.5, len(best))
    kept = np.asarray(cv2.dnn.NMSBoxes(sides.tolist(), ranks.tolist(), 0.0, max_overlap), np.int64).reshape(-1)
    return taken(found, best[np.sort(kept)[:MAX_DETECTIONS]])


def _best_first(scores: Array) -> Array:
    return np.argsort(-scores, kind="stable")


def taken(found: Detections, rows: Array) -> Detections:
    """Those rows, in the order they are asked for."""
    points = None if found.landmarks_xy is None else found.landmarks_xy[rows]
    return Detections(found.boxes_xyxy[rows], found.scores[rows], found.classes[rows], points)


def sound(found: Detections) -> Detections:
    """Without boxes that are no boxes: not finite, without an area, or farther off than any picture reaches."""
    boxes = found.boxes_xyxy
    with np.errstate(invalid="ignore"):
        near = (np.abs(boxes) < FARTHEST).all(axis=1)
        has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return taken(found, np.flatnonzero(near & has_area & np.isfinite(found.scores)))
