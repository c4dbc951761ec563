"""What the YuNet face detector answers, as faces: shared by those who align faces and those who only find them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sightline.errors import ModelFormatError
from sightline.types import Array, Detections, FloatArray

STRIDES = (8, 16, 32)
PARTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}  # of what it says of each cell, and its width
OUTPUTS = frozenset(f"{part}_{stride}" for part in PARTS for stride in STRIDES)
MIN_SCORE = 0.6
MAX_OVERLAP = 0.3  # of two boxes that are two faces


def decode_yunet(outputs: Mapping[str, Array], size_hw: tuple[int, int], *, min_score: float = MIN_SCORE) -> Detections:
    """Faces of one picture, in pixels of the detector's input, best first, overlapping ones dropped.

    Each cell of a grid of 8, 16 and 32 pixels says how sure it is (the geometric mean of class and object), where its
    face lies relative to the cell, and its five points.
    """
    parts = [_decoded(outputs, size_hw, stride) for stride in STRIDES]
    scores, boxes, points = (np.concatenate(column) for column in zip(*parts, strict=True))
    sure = np.flatnonzero(scores >= min_score)
    sure = sure[np.argsort(-scores[sure], kind="stable")]
    kept = sure[_apart(boxes[sure])]
    return Detections(boxes[kept], scores[kept], np.zeros(len(kept), np.int64), points[kept])


def _decoded(
    outputs: Mapping[str, Array], size_hw: tuple[int, int], stride: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(N,) scores, (N, 4) boxes and (N, 5, 2) points of the cells of one stride."""
    rows, columns = size_hw[0] // stride, size_hw[1] // stride
    cells = {part: outputs[f"{part}_{stride}"].reshape(-1, width) for part, width in PARTS.items()}
    if any(len(values) != rows * columns for values in cells.values()):
        shapes = {part: values.shape for part, values in cells.items()}
        raise ModelFormatError(f"YuNet answers {shapes} at stride {stride}; expected {rows * columns} rows each")
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2).astype(np.float32)
    scores = np.sqrt(np.clip(cells["cls"], 0, 1) * np.clip(cells["obj"], 0, 1))[:, 0]
    centres = (cells["bbox"][:, :2] + grid) * stride
    halves = np.exp(cells["bbox"][:, 2:]) * (stride / 2)
    points = (cells["kps"].reshape(-1, 5, 2) + grid[:, None]) * stride
    boxes = np.hstack([centres - halves, centres + halves])
    return scores.astype(np.float32), boxes.astype(np.float32), points.astype(np.float32)


def _apart(boxes: FloatArray) -> list[int]:
    """Rows of boxes, best first, none of which overlaps a better one by more than `MAX_OVERLAP` of their union."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    kept: list[int] = []
    for row in range(len(boxes)):
        shared = np.minimum(boxes[row, 2:], boxes[kept, 2:]) - np.maximum(boxes[row, :2], boxes[kept, :2])
        common = np.prod(np.maximum(shared, 0), axis=1)
        if not (common > MAX_OVERLAP * (areas[row] + areas[kept] - common)).any():
            kept.append(row)
    return kept
