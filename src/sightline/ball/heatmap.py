"""Heat maps of the ball: their size, and where in one the ball is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

import cv2
import numpy as np

from sightline.types import BallPoint, FloatArray

HEIGHT, WIDTH = 288, 512  # of what the networks see and put out, pixels
SIGMA = 2.5  # radius of the disc that stands for a ball, heat-map pixels
DELTA_T = 1 / math.hypot(HEIGHT, WIDTH)  # one heat-map pixel as a share of the diagonal
COOR_TH = 50 * DELTA_T  # a repaired point nearer to the upper left corner than this on both axes means "no ball"
THRESHOLD = 0.5

Decode = Literal["blob", "argmax"]
DECODES: tuple[str, ...] = get_args(Decode)
FrameId = int | float  # whatever the caller counts or times frames by


@dataclass(frozen=True)
class Peak:
    """Where a heat map has its ball, not rounded: pixel n reaches from n to n + 1."""

    x: float
    y: float
    confidence: float  # the hottest value there

    def in_source(self, scale_xy: tuple[float, float]) -> tuple[int, int]:
        """Pixel of the source. Rounded down before and after scaling, as published results are."""
        return int(int(self.x) * scale_xy[0]), int(int(self.y) * scale_xy[1])


def find_ball(heat: FloatArray, *, decode: Decode = "blob", threshold: float = THRESHOLD) -> Peak | None:
    """The ball in a finite heat map (H, W), or None. "argmax" knows no threshold: any noise is a ball."""
    return blob_peak(heat, threshold) if decode == "blob" else hottest_pixel(heat)


def blob_peak(heat: FloatArray, threshold: float = THRESHOLD) -> Peak | None:
    """The centre of the blob above the threshold whose bounding box is largest, as the TrackNetV3 paper has it.

    Of equally large ones the first that OpenCV lists, which is the lowest.
    """
    if heat.max() <= threshold:
        return None
    hot = (heat > threshold).view(np.uint8)
    contours, _ = cv2.findContours(hot, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    x, y, width, height = max(map(cv2.boundingRect, contours), key=lambda box: box[2] * box[3])
    confidence = float(heat[y : y + height, x : x + width].max())
    return Peak(x + width / 2, y + height / 2, confidence)


def hottest_pixel(heat: FloatArray) -> Peak | None:
    """The first hottest pixel, row by row; None where nothing is above 0."""
    y, x = divmod(int(heat.argmax()), heat.shape[1])
    confidence = float(heat[y, x])
    return Peak(x, y, confidence) if confidence > 0 else None


class Row(TypedDict):
    """What the streaming modules return for a frame: pixels of the source, 0 where there is no ball."""

    Frame: FrameId
    X: int
    Y: int
    Visibility: int
    Confidence: float


@dataclass(frozen=True)
class Sighting:
    """The answer for one frame: the pixel of the source, and in `peak` the centre before it was rounded."""

    frame_id: FrameId
    peak: Peak | None
    x: int = 0
    y: int = 0

    @property
    def confidence(self) -> float:
        return 0.0 if self.peak is None else self.peak.confidence

    def row(self) -> Row:
        seen = int(self.peak is not None)
        return Row(Frame=self.frame_id, X=self.x, Y=self.y, Visibility=seen, Confidence=self.confidence)

    def point(self, frame: int) -> BallPoint:
        """The same as a value of the pipeline, for the frame of that number."""
        return BallPoint(frame, self.peak is not None, float(self.x), float(self.y), self.confidence)
