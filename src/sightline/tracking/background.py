"""Whoever moves before a camera that does not: a detector that needs no model.

It learns what the place looks like and takes for somebody what differs from that: a mixture of Gaussians for each pixel
(Zivkovic 2004), which knows shadows by their colour. Light that changes everywhere alike, by a cloud or by the camera's
own exposure, is taken out before. It cannot tell people from anything else that moves; whoever is there from the first
frame, or stands still for some hundred frames, becomes part of the place.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import cv2
import numpy as np

from sightline.tracking.letterbox import Fit, letterbox
from sightline.tracking.nms import best_apart
from sightline.types import Array, Detections, Image

LONGEST_SIDE = 480  # pixels looked at: enough to see people by, and it smooths the noise of the sensor
MEMORY = 500  # frames the place is learnt over
SETTLED = 0.5  # share of them for which a thing must have stood still to be part of the place
WARM_UP = 15  # frames before which nothing can be told
DIFFERENT = 16.0  # squared distance from the background, in variances
LEAST_NOISE = 30.0  # variance; compression leaves less than that, and a camera's own exposure makes it up again
DARKEST_SHADOW = 0.4  # of the light that falls there without it
MIN_SHARE = 0.002  # of the picture that somebody must cover
MIN_SIDE = 0.02  # of the picture's height, of either side
SPECKLE, LIMB = 3, 9  # pixels: what is noise, and the gap within one body
MOST_PARTS = 200  # looked at, the largest ones: rain and static have thousands
BODY_GAP = 0.06  # of the picture's height, between parts one above the other
CHANGED = 0.6  # of the picture: a lamp was switched or the camera was moved, and everything has to be learnt anew
SAMPLED = 6  # every so many pixels, to measure the light
FOREGROUND = 255  # as OpenCV marks it; 127 is a shadow


class BackgroundDetector:
    """Its pictures must come in order and from one camera; `reset` before another. A change of size resets it too."""

    name = "background"
    classes = ("moving",)

    def __init__(self, *, min_share: float = MIN_SHARE, memory: int = MEMORY) -> None:
        self._min_share = min_share
        self._memory = memory
        self.reset()

    def reset(self) -> None:
        """Forget the place."""
        self._model = cv2.createBackgroundSubtractorMOG2(self._memory, DIFFERENT, True)
        self._model.setShadowThreshold(DARKEST_SHADOW)
        self._model.setBackgroundRatio(SETTLED)
        self._model.setVarMin(LEAST_NOISE)
        self._model.setVarInit(LEAST_NOISE)
        self._seen = 0
        self._source_hw: tuple[int, ...] = ()

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: Image) -> Detections:
        if image.shape[:2] != self._source_hw:
            self.reset()
            self._source_hw = image.shape[:2]
        small, placement = letterbox(image, _looked_at(image), fit=Fit("stretch", resize="area"))
        mask = self._moving(small)
        if self._seen <= WARM_UP:
            return _bodies(np.zeros_like(mask), least=1)
        if np.count_nonzero(mask) > CHANGED * mask.size:
            self.reset()
            self._source_hw = image.shape[:2]
            return _bodies(np.zeros_like(mask), least=1)
        return placement.detections_to_source(_bodies(mask, least=self._min_share * mask.size))

    def _moving(self, image: Image) -> Array:
        """255 where something moves and is no shadow, speckles gone and limbs joined."""
        self._seen += 1
        rate = 1 / (self._seen if self._seen <= WARM_UP else self._memory)  # the plain mean at first
        answer = self._model.apply(self._levelled(cv2.GaussianBlur(image, (3, 3), 0)), None, rate)
        moving = np.where(answer == FOREGROUND, FOREGROUND, 0).astype(np.uint8)
        cleaned = cv2.morphologyEx(moving, cv2.MORPH_OPEN, _disc(SPECKLE))
        return cv2.morphologyEx(cleaned, cv2.MORPH_CLOSE, _disc(LIMB))

    def _levelled(self, image: Array) -> Array:
        """In the light of the place as it is known: each channel by the median ratio, which a body does not move."""
        if self._seen == 1:
            return image
        known = self._model.getBackgroundImage()[::SAMPLED, ::SAMPLED].reshape(-1, 3)
        seen = image[::SAMPLED, ::SAMPLED].reshape(-1, 3)
        gains = np.median((known + 1.0) / (seen + 1.0), axis=0)
        levels = np.clip(np.rint(np.arange(256)[:, None] * gains), 0, 255).astype(np.uint8)
        return np.asarray(cv2.LUT(image, levels[None]), np.uint8)

    def close(self) -> None:
        self.reset()

    def __enter__(self) -> BackgroundDetector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _looked_at(image: Image) -> tuple[int, int]:
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _disc(side: int) -> Array:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _bodies(mask: Array, *, least: float) -> Detections:
    """The boxes around what moves. The score is the share of its box that moves, so a whole body beats a stray hand."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    boxes, areas = stats[1:, :4].astype(np.float32), stats[1:, cv2.CC_STAT_AREA].astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    boxes, areas = _joined(boxes, areas, gap=BODY_GAP * mask.shape[0])
    sides = boxes[:, 2:] - boxes[:, :2]
    large = (areas >= least) & (sides.min(axis=1, initial=np.inf) >= MIN_SIDE * mask.shape[0])
    scores = areas[large] / sides[large].prod(axis=1)
    found = Detections(boxes[large], scores.astype(np.float32), np.zeros(len(scores), np.int64))
    return best_apart(found, 1.0)


def _joined(boxes: Array, areas: Array, *, gap: float) -> tuple[Array, Array]:
    """Parts one above the other made one, as the halves of a body behind a rail or with a belt of the wall's colour.

    From the largest part down; side by side nothing is joined: that is two people.
    """
    left = list(np.argsort(-areas, kind="stable")[:MOST_PARTS])
    bodies, sizes = [], []
    while left:
        body, size = boxes[left[0]].copy(), float(areas[left.pop(0)])
        for part in [index for index in left if _continues(body, boxes[index], gap)]:
            body = np.hstack([np.minimum(body[:2], boxes[part, :2]), np.maximum(body[2:], boxes[part, 2:])])
            size += float(areas[part])
            left.remove(part)
        bodies.append(body)
        sizes.append(size)
    return np.array(bodies, np.float32).reshape(-1, 4), np.array(sizes, np.float32)


def _continues(body: Array, part: Array, gap: float) -> bool:
    """Whether a part lies above or below a body, mostly within its width."""
    common = min(body[2], part[2]) - max(body[0], part[0])
    apart = max(body[1], part[1]) - min(body[3], part[3])
    return bool(common >= 0.5 * (part[2] - part[0]) and apart <= gap)
