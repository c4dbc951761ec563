"""How the camera moved between two frames, so that people who stand still are not taken for people who run."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.types import Array, Image

Floats = NDArray[np.float64]

WORKING_WIDTH = 480  # pixels; a shift is found to a tenth of one of these
MOST_POINTS = 300
FEWEST_POINTS = 12  # fewer decide nothing: any two points fit a similarity
MARGIN = 0.1  # of a box on each side: its shadow, and what it uncovers
LARGEST_ZOOM = 1.5  # between two frames; more is a cut to another scene


def still() -> Floats:
    """The motion (2, 3) of a camera that did not move."""
    return np.eye(2, 3)


class CameraMotion:
    """Corners of the background followed from one frame to the next, and the similarity that moves most of them."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the last picture."""
        self._last: Array | None = None
        self._moving: Array = np.zeros((0, 4))

    def update(self, image: Image, boxes_xyxy: Array) -> Floats:
        """The motion (2, 3) that takes points of the picture before to this one, in source pixels.

        The boxes are left out of the background. Where too little can be followed (the first picture, another size,
        a cut, a blank wall) the camera counts as still.
        """
        scale = min(1.0, WORKING_WIDTH / image.shape[1])
        small = _grey(image, scale)
        last, moving = self._last, self._moving
        self._last, self._moving = small, boxes_xyxy * scale
        if last is None or last.shape != small.shape:
            return still()
        affine = _similarity(*_followed(last, small, moving))
        affine[:, 2] /= scale
        return affine


def _grey(image: Image, scale: float) -> Array:
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)


def _followed(last: Array, now: Array, moving: Array) -> tuple[Array, Array]:
    """The same points in both pictures, (P, 2) each; only those that lead back to where they came from."""
    nothing = np.zeros((0, 2), np.float32)
    corners: Any = cv2.goodFeaturesToTrack(
        last, MOST_POINTS, qualityLevel=0.01, minDistance=7, mask=_background(last.shape, moving)
    )
    if corners is None or min(now.shape) < 32:
        return nothing, nothing
    there, found, _ = cv2.calcOpticalFlowPyrLK(last, now, corners, None)  # type: ignore[call-overload]  # None: allocate
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(now, last, there, None)  # type: ignore[call-overload]  # None: allocate
    start, end = corners.reshape(-1, 2), there.reshape(-1, 2)
    loop = np.linalg.norm(start - back.reshape(-1, 2), axis=1)
    sound = (found.ravel() == 1) & (found_back.ravel() == 1) & (loop < 0.5)
    return start[sound], end[sound]


def _background(shape: tuple[int, ...], moving: Array) -> Array:
    mask = np.full(shape, 255, np.uint8)
    for x1, y1, x2, y2 in moving:
        more_x, more_y = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
        columns = slice(max(0, int(x1 - more_x)), max(0, int(x2 + more_x) + 1))
        mask[max(0, int(y1 - more_y)) : max(0, int(y2 + more_y) + 1), columns] = 0
    return mask


def _similarity(before: Array, after: Array) -> Floats:
    if len(before) < FEWEST_POINTS:
        return still()
    found, inliers = cv2.estimateAffinePartial2D(before, after, method=cv2.RANSAC, ransacReprojThreshold=1.5)
    if found is None or inliers.sum() < max(FEWEST_POINTS, len(before) / 3):
        return still()
    zoom = float(np.sqrt(abs(np.linalg.det(found[:, :2]))))
    return found.astype(np.float64) if 1 / LARGEST_ZOOM < zoom < LARGEST_ZOOM else still()
