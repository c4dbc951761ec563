"""When and where people were seen: who was there together, and whose boxes get in each other's way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.reid.tracklets import Setting
from sightline.types import Array, FloatArray, IntArray

BORDER = 1.0  # pixels: detectors rarely put a box exactly on the border


@dataclass(frozen=True, eq=False)
class Sightings:
    """When and where one person was seen, frame by frame."""

    frames: IntArray  # (N,) ascending, each once
    boxes_xyxy: FloatArray  # (N, 4) in pixels of the frame
    confidences: FloatArray  # (N,)
    fps: float | None = None  # None: not known, and so is the time
    size_hw: tuple[int, int] | None = None  # of the frames
    camera: str = ""  # frames of different cameras have nothing to do with each other

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The sightings of several people as rows in order of camera and frame."""

    owner: IntArray  # (R,) whose, as a position in the list of people
    moment: IntArray  # (R, 2) camera and frame
    order: IntArray  # (R,) the row's place before it was sorted

    def __len__(self) -> int:
        return len(self.owner)


def _rows_by_frame(people: Sequence[Sightings | None]) -> _Rows:
    cameras = {seen.camera: number for number, seen in enumerate(people) if seen is not None}
    parts = [
        np.stack([np.full(len(seen), index), np.full(len(seen), cameras[seen.camera]), seen.frames], axis=1)
        for index, seen in enumerate(people)
        if seen is not None
    ]
    rows = np.concatenate([np.empty((0, 3), np.int64), *parts])
    order = np.lexsort((rows[:, 0], rows[:, 2], rows[:, 1]))
    return _Rows(rows[order, 0], rows[order, 1:], order)


def _meetings(rows: _Rows) -> Iterator[tuple[IntArray, IntArray]]:
    """All pairs of rows of one frame, as two arrays of positions at a time.

    Rows of one frame lie side by side, so the pairs are those a step of 1 apart, then 2, and so on until no frame is
    as crowded: as many rounds as people in the fullest frame, and no loop over frames.
    """
    left = np.arange(len(rows) - 1, dtype=np.int64)
    step = 1
    while len(left):
        left = left[(rows.moment[left] == rows.moment[left + step]).all(axis=1)]
        yield left, left + step
        step += 1
        left = left[left + step < len(rows)]


def seen_together(people: Sequence[Sightings | None]) -> Array:
    """(P, P) bool: who was visible in the same frame as whom. `None` is somebody of whom nothing is known."""
    together = np.zeros((len(people), len(people)), bool)
    rows = _rows_by_frame(people)
    for left, right in _meetings(rows):
        together[rows.owner[left], rows.owner[right]] = True
    return together | together.T


def settings_of(people: Sequence[Sightings | None]) -> list[list[Setting]]:
    """For each person the setting of each of their frames, seen among everybody else's boxes."""
    boxes = np.concatenate([np.empty((0, 4)), *(seen.boxes_xyxy for seen in people if seen is not None)])
    rows = _rows_by_frame(people)
    crowding = np.zeros(len(boxes))
    for left, right in _meetings(rows):
        one, other = rows.order[left], rows.order[right]
        shared = _intersections(boxes[one], boxes[other])
        np.maximum.at(crowding, one, shared / _areas(boxes[one]))
        np.maximum.at(crowding, other, shared / _areas(boxes[other]))
    return _dealt_out(people, crowding)


def _dealt_out(people: Sequence[Sightings | None], crowding: Array) -> list[list[Setting]]:
    found, start = [], 0
    for seen in people:
        count = 0 if seen is None else len(seen)
        cut = [] if seen is None else _cut_by_border(seen).tolist()
        shares = crowding[start : start + count].clip(0.0, 1.0).tolist()
        found.append([Setting(share, is_cut) for share, is_cut in zip(shares, cut, strict=True)])
        start += count
    return found


def _areas(boxes: Array) -> Array:
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(1e-6)
    return np.asarray(sides[:, 0] * sides[:, 1])


def _intersections(one: Array, other: Array) -> Array:
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    sides = (high - low).clip(0.0)
    return np.asarray(sides[:, 0] * sides[:, 1])


def _cut_by_border(seen: Sightings) -> Array:
    """Without the frame's size only its left and upper border are known."""
    cut = (seen.boxes_xyxy[:, :2] <= BORDER).any(axis=1)
    if seen.size_hw is not None:
        far = np.array([seen.size_hw[1], seen.size_hw[0]]) - BORDER
        cut |= (seen.boxes_xyxy[:, 2:] >= far).any(axis=1)
    return np.asarray(cut)
