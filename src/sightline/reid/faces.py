"""From a photograph to the aligned face a face model was trained on: YuNet finds five points, a similarity moves them.

The points come in the order of the picture: the eye on its left, the eye on its right, the nose, the corner of the
mouth on the left, the corner on the right.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.errors import ImageError, ModelFormatError
from sightline.images import read_image
from sightline.reid.embedder import Embedder
from sightline.runtime.session import Session
from sightline.types import Detections, FloatArray, Image
from sightline.yunet import MIN_SCORE, OUTPUTS, STRIDES, decode_yunet

Matrix = NDArray[np.float64]

# Where ArcFace and its descendants expect the points in a crop of 112 by 112 pixels.
ARCFACE_POINTS: tuple[tuple[float, float], ...] = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
FACE_SIDE = 112
SHRUNK = (1.0, 0.5, 0.25)  # tried in turn: a face that fills the picture is larger than YuNet knows faces


def similarity_transform(source_xy: FloatArray, target_xy: FloatArray) -> Matrix:
    """The (2, 3) matrix of turn, scale and shift, without reflection, that brings (N, 2) points closest to others.

    Least squares, as Umeyama (1991). In the plane that needs no decomposition: with points as complex numbers the
    transform is z -> az + b, and a is the regression of the centred targets on the centred sources.
    """
    source, target = (points.astype(np.float64) @ [1, 1j] for points in (source_xy, target_xy))
    centred = source - source.mean()
    spread = float(np.vdot(centred, centred).real)
    if not (np.isfinite(source).all() and np.isfinite(target).all() and spread > 0):
        raise ImageError("the points of a face are one point, or are no numbers; expected five different ones")
    turn = np.vdot(centred, target - target.mean()) / spread
    shift = target.mean() - turn * source.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def aligned(image: Image, points_xy: FloatArray) -> Image:
    """The 112 by 112 crop with the five points where ArcFace expects them; what lies outside the picture is black.

    Linear and unfiltered also where it shrinks, because that is how the training crops of these models were made.
    """
    matrix = similarity_transform(points_xy, np.array(ARCFACE_POINTS, np.float32))
    return np.asarray(cv2.warpAffine(image, matrix, (FACE_SIDE, FACE_SIDE), flags=cv2.INTER_LINEAR), np.uint8)


def main_face(faces: Detections, size_hw: tuple[int, int]) -> int:
    """Whom a picture is of: the largest face, one in a corner counting half its size."""
    height, width = size_hw
    boxes = faces.boxes_xyxy.astype(np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    away = np.hypot(*((centres - [width / 2, height / 2]) / (np.hypot(width, height) / 2)).T)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return int(np.argmax(areas * (1 - 0.5 * away)))


class FaceFinder:
    """A YuNet detector as a function from a BGR picture to boxes with five points each, best first."""

    def __init__(self, session: Session, *, min_score: float = MIN_SCORE) -> None:
        self.session = session
        self._input, self._side_hw = _require_yunet(session)
        self._min_score = min_score

    @property
    def fingerprint(self) -> str:
        return self.session.card.fingerprint

    def faces_in(self, image: Image) -> Detections:
        """In pixels of `image`. Smaller copies are looked at only while nothing is found."""
        fitting = self._fitting(image.shape[:2])
        found = self._found_at(image, fitting)
        for share in SHRUNK[1:]:
            if len(found) > 0:
                break
            found = self._found_at(image, fitting * share)
        return found

    def aligned_face(self, image: Image, *, name: str = "image") -> Image:
        """The main face, aligned. Raises `ImageError` with the name of a picture without one."""
        faces = self.faces_in(image)
        if len(faces) == 0 or faces.landmarks_xy is None:
            raise ImageError(
                f"no face found in {name}; expected one that looks at the camera, at least some 10 pixels wide"
            )
        return aligned(image, faces.landmarks_xy[main_face(faces, image.shape[:2])])

    def _fitting(self, size_hw: tuple[int, ...]) -> float:
        """The scale at which a picture fits the detector. Never above 1: enlarged pixels show no more faces."""
        if self._side_hw is None:
            return 1.0
        return min(1.0, self._side_hw[0] / size_hw[0], self._side_hw[1] / size_hw[1])

    def _found_at(self, image: Image, scale: float) -> Detections:
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        small = image if scale == 1.0 else cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        size_hw = self._side_hw or (_whole_cells(height), _whole_cells(width))
        canvas = np.zeros((1, 3, *size_hw), np.float32)
        canvas[0, :, :height, :width] = small.transpose(2, 0, 1)
        outputs = self.session.run_lane({self._input: canvas})  # pictures come from several threads
        found = decode_yunet(outputs, size_hw, min_score=self._min_score)
        shrunk = np.array([width / image.shape[1], height / image.shape[0]], np.float32)
        points = None if found.landmarks_xy is None else np.asarray(found.landmarks_xy / shrunk, np.float32)
        boxes = np.asarray(found.boxes_xyxy / np.tile(shrunk, 2), np.float32)
        return Detections(boxes, found.scores, found.classes, points)


def _whole_cells(side: int) -> int:
    return -(-side // STRIDES[-1]) * STRIDES[-1]


def _require_yunet(session: Session) -> tuple[str, tuple[int, int] | None]:
    """The name of the input, and the size it is fixed to, if any."""
    names = {spec.name for spec in session.outputs}
    inputs = session.inputs
    if names != OUTPUTS or len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] != 3:
        raise ModelFormatError(
            f"{session.path.name} is not a YuNet face detector: expected one image and the outputs "
            f"{', '.join(sorted(OUTPUTS))}; `sightline models pull yunet` has one"
        )
    height, width = inputs[0].shape[2:]
    if height is None or width is None:
        return inputs[0].name, None
    return inputs[0].name, (height, width)


class FaceEmbedder(Embedder):
    """An embedder that reads each file as the aligned main face in it."""

    def __init__(self, session: Session, finder: FaceFinder) -> None:
        super().__init__(session)
        self.finder = finder

    def _read(self, path: Path) -> tuple[Path, Image | str]:
        try:
            return path, self.finder.aligned_face(read_image(path), name=str(path))
        except ImageError as exc:
            return path, str(exc)
