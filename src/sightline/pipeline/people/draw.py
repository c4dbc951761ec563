"""Who is who, drawn onto the frames they were seen in: a box and a name each, in a colour of their own.

Names are known only once a visit is over, so a video is drawn in a second pass over its source.
"""

from __future__ import annotations

import colorsys
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from sightline.pipeline.people.visits import Visit
from sightline.types import FloatArray, Frame, Image, IntArray

Bgr = tuple[int, int, int]

UNKNOWN_BGR, RIM_BGR, INK_BGR = (200, 200, 200), (20, 20, 20), (20, 20, 20)
TRAIL = 25  # frames of steps behind everybody; 0: none
REFERENCE_HEIGHT = 720  # of a picture on which lines and letters have the sizes below
LINE, THIN_LINE, LETTERS = 2.5, 1.0, 17  # pixels
SMALLEST_LETTERS = 9
LONGEST_NAME = 40  # letters
SATURATION = 0.55  # more, and dark letters could not be read on blue
GOLDEN = 0.6180339887  # steps of this share of a circle never come close to an earlier one


# Where everybody is


@dataclass(frozen=True, eq=False)
class BoxRows:
    """The boxes of one camera by frame, 28 bytes each: 20 MB for an hour with eight people in view."""

    frames: IntArray  # (N,) ascending
    numbers: NDArray[np.int32]  # (N,) of visits
    boxes_xyxy: FloatArray  # (N, 4)

    def between(self, first: int, last: int) -> BoxRows:
        """Those of the frames from `first` to `last`, both included."""
        start, stop = np.searchsorted(self.frames, [first, last + 1])
        return BoxRows(self.frames[start:stop], self.numbers[start:stop], self.boxes_xyxy[start:stop])


def rows_by_frame(visits: Iterable[Visit]) -> BoxRows:
    """Of the visits to one camera, which may come one at a time and without their pictures."""
    parts = [(np.empty(0, np.int64), np.empty(0, np.int32), np.empty((0, 4), np.float32))]
    for visit in visits:
        track = visit.tracklet
        parts.append((track.frames, np.full(len(track.frames), visit.number, np.int32), track.boxes_xyxy))
    frames, numbers, boxes = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(frames, kind="stable")
    return BoxRows(frames[order], numbers[order], boxes[order])


# Drawing


def with_people(
    frames: Iterable[Frame], rows: BoxRows, *, names: Mapping[int, str | None], trail: int = TRAIL
) -> Iterator[Image]:
    """Every frame, with whoever is in it. `names` has the identity of each visit by its number; whoever has none there
    is drawn with a thin grey line and no name.
    """
    for frame in frames:
        canvas = frame.image.copy()
        recent = rows.between(frame.index - trail, frame.index)
        now = recent.between(frame.index, frame.index)
        for number in now.numbers.tolist():
            draw_steps(canvas, recent.boxes_xyxy[recent.numbers == number], colour=colour_of(names.get(number)))
        for number, box in sorted(zip(now.numbers.tolist(), now.boxes_xyxy, strict=True), key=lambda row: row[1][3]):
            draw_person(canvas, box, name=names.get(number))  # the nearest last, over those behind
        yield canvas


def draw_person(canvas: Image, box_xyxy: FloatArray, *, name: str | None) -> None:
    """Boxes reach to the edge of the picture at most, and a name never out of it."""
    unit, colour = _unit(canvas), colour_of(name)
    left, top, right, bottom = _inside(canvas, box_xyxy)
    width = max(1, round(unit * (THIN_LINE if name is None else LINE)))
    if name is not None:
        cv2.rectangle(canvas, (left, top), (right, bottom), RIM_BGR, width + 2)
    cv2.rectangle(canvas, (left, top), (right, bottom), colour, width)
    if name is not None:
        _put(canvas, label(name, letters=max(SMALLEST_LETTERS, round(unit * LETTERS))), at_xy=(left, top))


def draw_steps(canvas: Image, boxes_xyxy: FloatArray, *, colour: Bgr) -> None:
    """Where somebody stood, oldest box first, as a line that fades in towards them."""
    feet = [((left + right) // 2, bottom) for left, _, right, bottom in (_inside(canvas, box) for box in boxes_xyxy)]
    for age, (older, newer) in enumerate(pairwise(feet), 1):
        width = max(1, round(_unit(canvas) * LINE * age / len(feet)))
        cv2.line(canvas, older, newer, colour, width, cv2.LINE_AA)


def colour_of(name: str | None) -> Bgr:
    """Light and strong, always the same for a name; names that count, such as person-7, get hues far apart."""
    if name is None:
        return UNKNOWN_BGR
    counted = re.fullmatch(r"person-(\d{1,9})", name)
    digest = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:4], "big")
    place = int(counted[1]) if counted else digest
    red, green, blue = colorsys.hsv_to_rgb(place * GOLDEN % 1.0, SATURATION, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


@lru_cache(maxsize=256)
def label(name: str, *, letters: int) -> Image:
    """A name on a plate of its colour, dark on light. Pillow's own font has letters OpenCV's lacks."""
    shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    text = " ".join(shown.encode("utf-8", "replace").decode("utf-8").split()) or "?"
    font = ImageFont.load_default(letters)
    left, _, right, _ = font.getbbox(text)
    padding = max(2, letters // 4)
    blue, green, red = colour_of(name)
    size = (round(right - left) + 2 * padding, letters + 2 * padding)
    plate = PillowImage.new("RGB", size, (red, green, blue))
    ImageDraw.Draw(plate).text((padding - left, size[1] / 2), text, INK_BGR, font, anchor="lm")
    return np.ascontiguousarray(np.asarray(plate)[:, :, ::-1])


def _put(canvas: Image, plate: Image, *, at_xy: tuple[int, int]) -> None:
    """The plate on top of the corner, below it where there is no room above; moved and cut so as to stay inside."""
    height, width = (min(plate.shape[axis], canvas.shape[axis]) for axis in (0, 1))
    top = at_xy[1] - height if at_xy[1] >= height else at_xy[1]
    left, top = min(at_xy[0], canvas.shape[1] - width), min(top, canvas.shape[0] - height)
    canvas[top : top + height, left : left + width] = plate[:height, :width]


def _inside(canvas: Image, box_xyxy: FloatArray) -> tuple[int, int, int, int]:
    """The box in whole pixels, each corner moved into the picture."""
    height, width = canvas.shape[:2]
    left, top, right, bottom = np.clip(box_xyxy, 0, [width - 1, height - 1] * 2).round().astype(int).tolist()
    return left, top, right, bottom


def _unit(canvas: Image) -> float:
    return max(0.5, float(canvas.shape[0] / REFERENCE_HEIGHT))
