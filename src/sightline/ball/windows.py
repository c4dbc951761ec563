"""Frames of a clip in, windows of planes out: warm-up of the background, delay, one window after another.

This is the half of the stream that comes before the network. It knows nothing of heat maps.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sightline.ball.background import StreamingMedian
from sightline.ball.heatmap import DECODES, HEIGHT, THRESHOLD, WIDTH, Decode, FrameId
from sightline.ball.planes import (
    RESIZES,
    SUBTRACTING,
    FramePlanes,
    NoMedianError,
    Resize,
    as_floats,
    bg_mode_named,
    checked_median,
    input_planes,
    median_of_source,
)
from sightline.errors import ConfigError, ImageError
from sightline.types import Array, FloatArray, Image

Stats = dict[str, float]  # counts are whole numbers, times are seconds


@dataclass(frozen=True)
class TrackOptions:
    """What the fixed parameters of the streaming modules have no place for."""

    threshold: float = THRESHOLD
    decode: Decode = "blob"
    resize: Resize = "area"
    stride: int = 1  # frames from window to window, at most seq_len; in "nonoverlap" it is seq_len whatever this says
    warm_up: Literal["replay", "drop"] = "replay"  # drop: frames before the median get no answer, and none has to wait
    rolling_window: int = 0  # frames the background is the median of, once there is one; 0: it stays as it is
    rolling_every: int = 30  # frames between two of those

    def __post_init__(self) -> None:
        _require(0 <= self.threshold < 1, f"threshold is {self.threshold}; expected 0 or more and below 1")
        _require(self.decode in DECODES, f"decode is {self.decode!r}; expected {' or '.join(DECODES)}")
        _require(self.resize in RESIZES, f"resize is {self.resize!r}; expected {' or '.join(RESIZES)}")
        _require(self.stride >= 1, f"stride is {self.stride}; expected 1 frame or more")
        _require(self.warm_up in {"replay", "drop"}, f"warm_up is {self.warm_up!r}; expected replay or drop")
        _require(self.rolling_window >= 0, f"rolling_window is {self.rolling_window}; expected 0 or more")
        _require(self.rolling_every >= 1, f"rolling_every is {self.rolling_every}; expected 1 or more")


class FrameWindows:
    """The windows (C, 288, 512) of `seq_len` frames each, `stride` frames apart, of one clip after another.

    Every frame is in at least one: the last is filled up with copies of the last frame. In memory are `seq_len` frames,
    and while a median is taken from the clip those that wait for it.
    """

    def __init__(
        self,
        *,
        seq_len: int,
        bg_mode: str | None,
        eval_mode: str,
        median: Array | None,
        median_warmup: int,
        options: TrackOptions | None,
    ) -> None:
        self.seq_len = seq_len
        self.bg_mode = bg_mode_named(bg_mode)
        self.eval_mode = eval_mode
        self._given_median = None if median is None or not self.bg_mode else checked_median(median, self.bg_mode)
        self._median_warmup = median_warmup
        self._options = options or TrackOptions()
        self._window = np.empty((input_planes(seq_len, bg_mode), HEIGHT, WIDTH), np.float32)
        self.reset()

    @property
    def options(self) -> TrackOptions:
        """May be set before the first frame, and after `reset`."""
        return self._options

    @options.setter
    def options(self, options: TrackOptions) -> None:
        _require(self._count == 0, "options cannot change between two frames of a video; call reset() first")
        self._options = options
        self.reset()

    @property
    def stride(self) -> int:
        """Frames from one window to the next."""
        return self.seq_len if self.eval_mode == "nonoverlap" else min(self._options.stride, self.seq_len)

    @property
    def window_shape(self) -> tuple[int, ...]:
        return self._window.shape

    def reset(self) -> None:
        """Ready for another video. Ids, size, stats and a median of the warm-up are gone; one that was given stays."""
        self.img_scaler: tuple[float, float] | None = None  # (w / 512, h / 288)
        self.img_shape: tuple[int, int] | None = None  # (w, h)
        self.stats = new_stats("t_preprocess", "t_forward", "t_post", "t_median")
        self._count = 0
        self._planes = FramePlanes(self.bg_mode, resize=self._options.resize)
        self._median: Image | None = None
        if self._given_median is not None:
            self._use_median(self._given_median)
        self._start_clip()

    def feed(self, frame_bgr: Image, frame_id: FrameId | None = None) -> FloatArray | None:
        """Take the next frame; the window (C, 288, 512) that it completes, if any. The next one overwrites it."""
        self.stats["push_calls"] += 1
        self._require_background()
        self._ensure_scaler(frame_bgr)
        image = np.ascontiguousarray(frame_bgr)
        with timed(self.stats, "t_median"):
            self._maybe_build_median(image)
        number, self._count = self._count, self._count + 1
        if self._warming_up and self._options.warm_up == "drop":
            return None
        with timed(self.stats, "t_preprocess"):
            self._delay(image)
            self._fidq.append(number if frame_id is None else frame_id)
            return self._advance(leave=self._lag)

    def end(self) -> Iterator[FloatArray]:
        """The windows that are left, each in the place of the last. The final one is filled up with its last frame."""
        if self._warming_up and self._fidq:
            with timed(self.stats, "t_median"):
                self._build_median()
        while True:
            with timed(self.stats, "t_preprocess"):
                self._replay()
                window = self._late_window()
            if window is None:
                return
            yield window

    def _start_clip(self) -> None:
        self._fidq: deque[FrameId] = deque()  # of the frames that are not answered
        self._warming = StreamingMedian(max(1, self._median_warmup))
        self._warmup_bgr: deque[Image] = deque()  # frames whose planes must wait for the median
        self._delayed: deque[Image] = deque()  # planes that wait to be looked at, uint8
        replays = self._warming_up and self._options.warm_up == "replay"
        self._lag = max(0, self._median_warmup - self.seq_len) if replays else 0  # how many of them, once it runs
        self._proc: deque[FloatArray] = deque(maxlen=self.seq_len)  # planes of the last frames
        self._new = 0  # frames in it since the last window
        self._due = self.seq_len  # as many of them make the next

    @property
    def _warming_up(self) -> bool:
        return bool(self.bg_mode) and self._median is None

    def _require_background(self) -> None:
        if self._warming_up and self._median_warmup <= 0:
            raise NoMedianError(f"bg_mode='{self.bg_mode}' needs median. Pass median=... or set median_warmup>0.")

    def _ensure_scaler(self, frame_bgr: Image) -> None:
        shape = frame_bgr.shape
        if frame_bgr.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or not frame_bgr.size:
            raise ImageError(f"frame {self._count} is {frame_bgr.dtype} {shape}; expected BGR uint8 (H, W, 3)")
        size = (shape[1], shape[0])
        if self.img_shape is None:
            self.img_shape, self.img_scaler = size, (size[0] / WIDTH, size[1] / HEIGHT)
        if size != self.img_shape:
            before = "x".join(map(str, self.img_shape))
            raise ImageError(
                f"frame {self._count} is {size[0]}x{size[1]} after frames of {before}; "
                "expected one size: flush() and reset() where another video begins"
            )

    def _maybe_build_median(self, image: Image) -> None:
        """Take a frame of the warm-up into the median; with the last of them there is one."""
        if not self._warming_up:
            return
        self._warming.push(image)
        if self._warming.full:
            self._build_median()

    def _build_median(self) -> None:
        self._use_median(median_of_source(self._warming.median(), self.bg_mode, resize=self._options.resize))

    def _use_median(self, median: Image) -> None:
        self._median = median
        window, every = self._options.rolling_window, self._options.rolling_every
        self._planes.set_median(median, rolling_window=window, rolling_every=every)

    def _process_one(self, frame_bgr: Image) -> Image:
        """The planes of a frame, (P, 288, 512), still uint8: waiting so, they take a quarter of the memory."""
        return self._planes.of(frame_bgr)

    def _delay(self, image: Image) -> None:
        if self._warming_up and self.bg_mode in SUBTRACTING:
            self._warmup_bgr.append(image.copy())
            return
        self._replay()
        self._delayed.append(self._process_one(image))

    def _replay(self) -> None:
        while self._warmup_bgr:
            self._delayed.append(self._process_one(self._warmup_bgr.popleft()))

    def _advance(self, *, leave: int) -> FloatArray | None:
        """Take frames out of the delay until so many are left, or a window is complete."""
        while len(self._delayed) > leave and not self._warming_up:
            window = self._window_with(as_floats(self._delayed.popleft()))
            if window is not None:
                return window
        return None

    def _late_window(self) -> FloatArray | None:
        window = self._advance(leave=0)
        while window is None and self._new:
            window = self._window_with(self._proc[-1])
        return window

    def _window_with(self, planes: FloatArray) -> FloatArray | None:
        """The window that ends with this frame, where one is due; oldest frame first."""
        self._proc.append(planes)
        self._new += 1
        if self._new < self._due:
            return None
        self._new, self._due = 0, self.stride
        return np.concatenate([self._planes.front, *self._proc], out=self._window)


def new_stats(*times: str) -> Stats:
    return {"push_calls": 0, "outputs": 0, **dict.fromkeys(times, 0.0)}


@contextmanager
def timed(stats: Stats, key: str) -> Iterator[None]:
    """Add the seconds spent within to `stats[key]`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        stats[key] += time.perf_counter() - started


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ConfigError(what)
