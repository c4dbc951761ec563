"""Detectors that answer with boxes. What differs is how a box is written, and where its scores stand.

Every decoder here takes the outputs of one picture, batch axis gone, and gives boxes in pixels of the detector's input.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sightline.tracking.decode_cells import best_classes, detections, only
from sightline.types import Array, Detections
from sightline.yunet import decode_yunet

SIZE_INPUT = "orig_target_sizes"  # of D-FINE and RT-DETR: the (width, height) their boxes are wanted in


def decode_yolov5(outputs: Mapping[str, Array], size_hw: tuple[int, int], min_score: float) -> Detections:
    """Rows of centre, size, object and classes; of YOLOX too, where its graph does the decoding."""
    rows = only(outputs)
    sure, scores, classes = best_classes(rows, min_score)
    return detections(from_centres(rows[sure, :4]), scores, classes)


def decode_yolov8(outputs: Mapping[str, Array], size_hw: tuple[int, int], min_score: float) -> Detections:
    """Columns of centre, size and classes, (4 + C, N): there is no object score."""
    columns = only(outputs)
    best = columns[4:].max(axis=0)
    sure = np.flatnonzero(best >= min_score)
    return detections(from_centres(columns[:4, sure].T), best[sure], columns[4:, sure].argmax(axis=0))


def decode_end_to_end(outputs: Mapping[str, Array], size_hw: tuple[int, int], min_score: float) -> Detections:
    """Rows of x1, y1, x2, y2, score and class, padded with zeros: the graph has done the rest."""
    rows = only(outputs)
    sure = rows[rows[:, 4] >= min_score]
    return _labelled(sure[:, :4], sure[:, 4], sure[:, 5])


def decode_d_fine(outputs: Mapping[str, Array], size_hw: tuple[int, int], min_score: float) -> Detections:
    """Boxes in pixels of the size the graph was told, which is that of its input."""
    sure = outputs["scores"] >= min_score
    return _labelled(outputs["boxes"][sure], outputs["scores"][sure], outputs["labels"][sure])


def decode_rf_detr(outputs: Mapping[str, Array], size_hw: tuple[int, int], min_score: float) -> Detections:
    """Centre and size as shares of the input; a logit for each class."""
    logits = outputs["labels"].astype(np.float32)
    scores = 1 / (1 + np.exp(-logits.max(axis=1)))
    sure = np.flatnonzero(scores >= min_score)
    boxes = from_centres(outputs["dets"][sure]) * _corners(size_hw)
    return detections(boxes, scores[sure], logits[sure].argmax(axis=1))


def decode_rfb(outputs: Mapping[str, Array], size_hw: tuple[int, int], min_score: float) -> Detections:
    """Corners as shares of the input; the chances of no face and of a face."""
    scores = outputs["scores"][:, 1]
    sure = np.flatnonzero(scores >= min_score)
    return detections(outputs["boxes"][sure] * _corners(size_hw), scores[sure], np.zeros(len(sure)))


def decode_faces(outputs: Mapping[str, Array], size_hw: tuple[int, int], min_score: float) -> Detections:
    """YuNet's, with five points each."""
    return decode_yunet(outputs, size_hw, min_score=min_score)


def from_centres(boxes_cxcywh: Array) -> Array:
    halves = boxes_cxcywh[:, 2:] / 2
    return np.hstack([boxes_cxcywh[:, :2] - halves, boxes_cxcywh[:, :2] + halves])


def _corners(size_hw: tuple[int, int]) -> Array:
    return np.array([size_hw[1], size_hw[0], size_hw[1], size_hw[0]], np.float32)


def _labelled(boxes: Array, scores: Array, labels: Array) -> Detections:
    """Labels come as floats from some graphs; one that is no number makes its row worthless, not the picture."""
    sound = np.isfinite(labels)
    return detections(boxes[sound], scores[sound], labels[sound])
