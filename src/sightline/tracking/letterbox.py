"""A picture of any shape into the rectangle a detector wants, and its boxes back out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sightline.card import Resize
from sightline.images import resize
from sightline.types import Array, Detections, FloatArray, Image

# "stretch" ignores the aspect; "corner" keeps it and pads on the right and below; "centre" pads on both sides alike.
Shape = Literal["stretch", "corner", "centre"]


@dataclass(frozen=True)
class Fit:
    """How a family of detectors was shown its pictures."""

    shape: Shape
    pad: int = 114  # grey; of every channel
    resize: Resize = "linear"
    enlarge: bool = True  # whether a picture smaller than the input is blown up to fill it


@dataclass(frozen=True)
class Placement:
    """Where in the detector's input a picture lies."""

    source_hw: tuple[int, int]
    left_top: tuple[int, int]
    scale_xy: tuple[float, float]  # input pixels for one of the source

    def to_source(self, points_xy: Array) -> FloatArray:
        """(…, 2) points of the input as points of the picture, those in the padding moved to its edge."""
        height, width = self.source_hw
        moved = (points_xy.astype(np.float64) - self.left_top) / self.scale_xy
        return np.asarray(np.clip(moved, 0, (width, height)), np.float32)

    def detections_to_source(self, found: Detections) -> Detections:
        """In pixels of the picture. Boxes that lie in the padding alone are gone."""
        boxes = self.to_source(found.boxes_xyxy.reshape(-1, 2, 2)).reshape(-1, 4)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        points = None if found.landmarks_xy is None else self.to_source(found.landmarks_xy)[inside]
        return Detections(boxes[inside], found.scores[inside], found.classes[inside], points)


def letterbox(image: Image, size_hw: tuple[int, int], *, fit: Fit) -> tuple[Image, Placement]:
    """The picture as (H, W, 3) of exactly `size_hw`, and where in there it is."""
    source_hw = (image.shape[0], image.shape[1])
    inner_hw = _inner(source_hw, size_hw, fit)
    left_top = _left_top(inner_hw, size_hw) if fit.shape == "centre" else (0, 0)
    placement = Placement(source_hw, left_top, (inner_hw[1] / source_hw[1], inner_hw[0] / source_hw[0]))
    inner = resize(image, inner_hw, how=fit.resize)
    if inner_hw == size_hw:
        return inner, placement
    canvas = np.full((*size_hw, 3), fit.pad, np.uint8)
    left, top = left_top
    canvas[top : top + inner_hw[0], left : left + inner_hw[1]] = inner
    return canvas, placement


def _inner(source_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit) -> tuple[int, int]:
    """The size a picture is brought to. In whole numbers: the side that decides must not lose a pixel to rounding."""
    if fit.shape == "stretch":
        return size_hw
    (height, width), (tall, wide) = source_hw, size_hw
    if not fit.enlarge and height <= tall and width <= wide:
        return source_hw
    if tall * width <= wide * height:  # the height decides
        return tall, max(1, _share(width * tall, height, fit))
    return max(1, _share(height * wide, width, fit)), wide


def _share(product: int, divisor: int, fit: Fit) -> int:
    """The other side: YOLOX cuts the fraction off, those that centre round it."""
    return product // divisor if fit.shape == "corner" else round(product / divisor)


def _left_top(inner_hw: tuple[int, int], size_hw: tuple[int, int]) -> tuple[int, int]:
    return (size_hw[1] - inner_hw[1]) // 2, (size_hw[0] - inner_hw[0]) // 2
