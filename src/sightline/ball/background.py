"""What the court looks like without anything that moves: medians over frames, exact and in bounded memory.

Every median here is `np.median(stack, axis=0).astype(uint8)` to the bit, so the mean of an even set's two middle values
loses its half. It is taken value by value: any shape will do, and the order of the channels does not matter.
Calling `np.median` instead would copy the whole stack and stall for seconds at 720p.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sightline.errors import ImageError
from sightline.types import Array, Image

_CHUNK = 1 << 15  # values sorted at a time: three such rows stay in the processor's cache
_BLOCK = 1 << 20  # values of all frames together selected from at a time, for the same reason
_MANY = 255  # as many ones as a uint8 can add up


def median_of(frames: Iterable[Image]) -> Image:
    """The median of at least one frame, all of one shape.

    Frames that come from an iterator are held until the end, one byte a value: choose few of a long video with
    `sample_indices`, or push them into a `StreamingMedian`, which holds half as many.
    """
    stack = [_checked(frame) for frame in frames]
    if not stack:
        raise ImageError("a background needs at least one frame, got none")
    for frame in stack:
        _require_shape(frame, stack[0].shape)
    flat = [np.ascontiguousarray(frame).reshape(-1) for frame in stack]
    return _median_of_rows(flat).reshape(stack[0].shape)


def sample_indices(frame_count: int, max_samples: int) -> list[int]:
    """The frames to take a background from: at most `max_samples`, evenly spread, ascending, no two alike."""
    if max_samples < 1:
        raise ValueError(f"max_samples is {max_samples}; expected 1 or more")
    count = min(max(frame_count, 0), max_samples)
    return [index * frame_count // count for index in range(count)]


class StreamingMedian:
    """The exact median of up to `capacity` frames, ready after each one.

    Every push sorts one more value into each pixel's list, so that all pushes take about the same short time. Only the
    lower half of the lists is kept: no middle of up to `capacity` values is above it. The frame pushed is not.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}; expected 1 or more")
        self.capacity = capacity
        self._kept = capacity // 2 + 1
        self._count = 0
        self._shape: tuple[int, ...] = ()
        self._sorted = np.empty((0, 0), np.uint8)  # (kept, values), ascending along the first axis

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        return self._count == self.capacity

    def push(self, image: Image) -> None:
        """Raises `ImageError` for another shape than the first frame's, `ValueError` once `full`."""
        if self.full:
            raise ValueError(f"this median has its {self.capacity} frames; start another for more")
        _checked(image)
        if not self._count:
            self._shape = image.shape
            self._sorted = np.empty((self._kept, image.size), np.uint8)
        _require_shape(image, self._shape)
        values = np.ascontiguousarray(image).reshape(-1)
        for start in range(0, image.size, _CHUNK):
            self._sort_in(values[start : start + _CHUNK], slice(start, start + _CHUNK))
        self._count += 1

    def _sort_in(self, values: Image, where: slice) -> None:
        """One step of an insertion sort in every column: what is smaller stays, what is larger goes on up."""
        rising, other = values.copy(), np.empty_like(values)
        filled = min(self._count, self._kept)
        for row in self._sorted[:filled, where]:
            np.maximum(row, rising, out=other)
            np.minimum(row, rising, out=row)
            rising, other = other, rising
        if filled < self._kept:
            self._sorted[filled, where] = rising

    def median(self) -> Image:
        """The median of the frames pushed so far; a new array each time."""
        if not self._count:
            raise ImageError("a background needs at least one frame, got none")
        middle = _mean_down(self._sorted[(self._count - 1) // 2], self._sorted[self._count // 2])
        return middle.reshape(self._shape)


class RollingMedian:
    """A background that follows slow changes of light: the exact median of `window` frames, `every` frames apart.

    Each `every` pushes the frame pushed takes the place of the oldest, and the new median is worked out in as many
    slices, one a push; `median()` changes when the last is done. So it trails by `every` frames, and no push stalls.
    Until the window has filled it is the median of the frames there are, or `start` where one is given.
    """

    def __init__(self, window: int = 31, *, every: int = 30, start: Image | None = None) -> None:
        if window < 1 or every < 1:
            raise ValueError(f"window is {window}, every is {every}; expected 1 or more of both")
        self.window = window
        self.every = every
        self._start = None if start is None else _checked(start).copy()
        self._background: Image | None = self._start
        self._shape: tuple[int, ...] | None = None if start is None else start.shape
        self._held: list[Image] = []  # flat, in no order
        self._next = np.empty(0, np.uint8)  # the median being worked out
        self._pushed = 0

    def push(self, image: Image) -> None:
        """Raises `ImageError` for another shape than the first frame's."""
        _checked(image)
        self._shape = self._shape or image.shape
        _require_shape(image, self._shape)
        step = self._pushed % self.every
        if step == 0:
            self._hold(image)
        self._work_on(step)
        self._pushed += 1

    def _hold(self, image: Image) -> None:
        flat = image.reshape(-1).copy()
        if len(self._held) < self.window:
            self._held.append(flat)
        else:
            self._held[self._pushed // self.every % self.window] = flat
        self._next = np.empty_like(flat)

    def _work_on(self, step: int) -> None:
        size = self._next.size
        part = slice(size * step // self.every, size * (step + 1) // self.every)
        self._next[part] = _median_of_rows([frame[part] for frame in self._held])
        done = step == self.every - 1 and (self._start is None or len(self._held) == self.window)
        if done or self._background is None:
            self._background = (self._next if done else self._held[0].copy()).reshape(self._shape or ())

    def median(self) -> Image:
        """The last median finished. Do not write into it."""
        if self._background is None:
            raise ImageError("a background needs at least one frame, got none")
        return self._background


def _checked(image: Image) -> Image:
    if image.dtype != np.uint8 or not image.size:
        raise ImageError(f"a background is made of uint8 frames that are not empty, got {image.dtype} {image.shape}")
    return image


def _require_shape(image: Image, expected: tuple[int, ...]) -> None:
    if image.shape != expected:
        raise ImageError(f"a background needs frames of one shape, got {image.shape} after {expected}; start another")


def _median_of_rows(rows: Sequence[Image]) -> Image:
    """The median down each column of equally long 1-D rows."""
    median = np.empty_like(rows[0])
    width = max(_BLOCK // len(rows), 1)
    for start in range(0, median.size, width):
        part = slice(start, start + width)
        median[part] = _median_of_block(np.stack([row[part] for row in rows]))
    return median


def _median_of_block(block: Image) -> Image:
    """Selection without sorting or branches: (N, values) -> (values,).

    The lower middle is the largest value that at most `rank` others are below; it is found bit by bit from the top, in
    eight counts however many frames there are. The upper one is the same value, unless the others end there.
    """
    rank = (len(block) - 1) // 2
    lower = np.zeros(block.shape[1], np.uint8)
    for place in range(7, -1, -1):
        holds = _count(block < (lower | np.uint8(1 << place))) <= rank
        lower |= holds.view(np.uint8) << np.uint8(place)
    if len(block) % 2:
        return lower
    not_above = block <= lower
    next_up = (block | np.negative(not_above.view(np.uint8))).min(axis=0)  # the negative of a true is 255
    return _mean_down(lower, np.where(_count(not_above) == rank + 1, next_up, lower))


def _count(hits: Array) -> Array:
    """How many are true in each column. Adding as uint8 while that can hold the sum is eight times faster."""
    ones = hits.view(np.uint8)
    if len(ones) <= _MANY:
        return np.asarray(ones.sum(axis=0, dtype=np.uint8))
    parts = [_count(hits[start : start + _MANY]) for start in range(0, len(hits), _MANY)]
    return np.asarray(np.sum(parts, axis=0, dtype=np.int32))


def _mean_down(lower: Image, upper: Image) -> Image:
    """`(lower + upper) // 2`, which a uint8 could not add up: the bits they share, and half of those they do not."""
    return np.asarray((lower & upper) + ((lower ^ upper) >> 1), np.uint8)
