"""Gaps in a trajectory, filled where both their sides were seen, as a stream.

The network sees windows of `seq_len` frames, one frame apart. Of the gaps that the TrackNetV3 paper would fill, filled
are those that some window sees whole, with the ball on both sides: at most `seq_len - 2` frames. What the network says
about a gap it sees only one side of is invention, and is not used.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from sightline.ball.ensemble import get_ensemble_weight
from sightline.ball.heatmap import COOR_TH, HEIGHT, WIDTH, FrameId, Row
from sightline.ball.trajectory import TOP_EDGE
from sightline.ball.windows import new_stats, timed
from sightline.errors import ConfigError, ModelOutputError
from sightline.types import FloatArray

# coordinates (B, L, 2) as shares of the picture and mask (B, L, 1), 1 where to fill in, to coordinates (B, L, 2)
InpaintForward = Callable[[FloatArray, FloatArray], FloatArray]


class RepairedRow(Row):
    """A row, and whether its ball was inferred from both sides of a gap (1) or seen, or not, by the tracker (0)."""

    Inpaint: int


@dataclass(frozen=True)
class InpaintOptions:
    """What the fixed parameters of the streaming modules have no place for."""

    gap_cap: int | None = None  # frames of the longest gap that is filled; None: as many as a window can see whole
    eval_mode: str = "weight"  # how windows are averaged

    def __post_init__(self) -> None:
        if self.gap_cap is not None and self.gap_cap < 0:
            raise ConfigError(f"gap_cap is {self.gap_cap}; expected 0 frames or more")


@dataclass
class _Entry:
    """A frame in the buffer: its row, what the network is shown of it, and what the network has said so far."""

    row: Row
    seen: bool
    at: tuple[float, float]  # shares of width and height, (0, 0) where the ball was not seen
    missing: bool = False  # the paper's mask: a ball is there, but was not found
    said: FloatArray = field(default_factory=lambda: np.zeros(2, np.float32))  # weighted sum of (x, y)
    weight: float = 0.0


class InpaintStream:
    """InpaintNet over the rows of a tracker: as many rows out as in, in order, each once.

    The row of a frame comes `seq_len - 1` pushes after it. A row that is not filled comes out as it went in, to the
    pixel.
    """

    def __init__(
        self,
        forward: InpaintForward,
        *,
        seq_len: int,
        img_scaler: tuple[float, float],
        options: InpaintOptions | None = None,
    ) -> None:
        if not all(math.isfinite(scale) and scale > 0 for scale in img_scaler) or len(img_scaler) != 2:
            raise ConfigError(f"img_scaler is {img_scaler}; expected (width / 512, height / 288) of the source")
        self.seq_len = seq_len
        self.img_scaler = img_scaler
        self._forward = forward
        self.options = options or InpaintOptions()
        self.reset()

    @property
    def options(self) -> InpaintOptions:
        return self._options

    @options.setter
    def options(self, options: InpaintOptions) -> None:
        longest = max(0, self.seq_len - 2)
        if (options.gap_cap or 0) > longest:
            raise ConfigError(
                f"gap_cap is {options.gap_cap}; a window of {self.seq_len} sees gaps up to {longest} whole"
            )
        self._gap_cap = longest if options.gap_cap is None else options.gap_cap
        self._weights = get_ensemble_weight(self.seq_len, options.eval_mode)[::-1]
        self._options = options

    def reset(self) -> None:
        """Ready for another trajectory."""
        self.stats = new_stats("t_forward", "t_post")
        self._start_clip()

    def _start_clip(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._looked = False  # at any window of this clip
        self._count = 0  # rows taken
        self._last_seen: _Entry | None = None
        self._gap_may_fill = False

    def push(self, pred: Mapping[str, float] | Row) -> RepairedRow | None:
        """Take the row of the next frame; the row of an earlier one, or None while there is none yet."""
        self.stats["push_calls"] += 1
        self._take(self._entry(pred))
        if len(self._entries) < self.seq_len:
            return None
        self._look(list(islice(self._entries, len(self._entries) - self.seq_len, None)))
        return self._emitted()

    def flush(self) -> list[RepairedRow]:
        """The trajectory is over: the rows that are left. One shorter than a window is filled up with its last row."""
        if self._entries and not self._looked:
            short = list(self._entries)
            self._look(short + [short[-1]] * (self.seq_len - len(short)))
        rows = [self._emitted() for _ in range(len(self._entries))]
        self._start_clip()
        return rows

    def _entry(self, pred: Mapping[str, float] | Row) -> _Entry:
        row = _checked_row(pred)
        if not row["Visibility"]:
            return _Entry(row, False, (0.0, 0.0))
        width, height = WIDTH * self.img_scaler[0], HEIGHT * self.img_scaler[1]
        at = (min(max(row["X"] / width, 0.0), 1.0), min(max(row["Y"] / height, 0.0), 1.0))
        return _Entry(row, True, at)

    def _take(self, entry: _Entry) -> None:
        """Put the entry in the buffer, and keep the paper's mask: the ball was near the top neither before nor after.

        A gap that begins with the second row is left out, as it is there.
        """
        after_gap = bool(self._entries) and not self._entries[-1].seen
        if entry.seen and after_gap and not self._below_top(entry):
            self._clear_gap()
        if not entry.seen and not after_gap:
            self._gap_may_fill = self._last_seen is not None and self._below_top(self._last_seen) and self._count != 1
        entry.missing = not entry.seen and self._gap_may_fill
        self._last_seen = entry if entry.seen else self._last_seen
        self._entries.append(entry)
        self._count += 1

    def _clear_gap(self) -> None:
        for entry in reversed(self._entries):
            if entry.seen:
                return
            entry.missing = False

    def _below_top(self, entry: _Entry) -> bool:
        return entry.row["Y"] > TOP_EDGE * HEIGHT * self.img_scaler[1]

    def _look(self, window: Sequence[_Entry]) -> None:
        """Ask the network about the gaps that this window sees whole, where there are any."""
        self._looked = True
        places = [place for gap in self._whole_gaps(window) for place in gap]
        if not places:
            return
        with timed(self.stats, "t_forward"):
            coords = np.array([[entry.at for entry in window]], np.float32)
            mask = np.array([[[entry.missing] for entry in window]], np.float32)
            said = _checked_coords(self._forward(coords, mask), coords.shape)
        with timed(self.stats, "t_post"):
            for place in places:
                window[place].said += _or_nothing(said[0, place]) * self._weights[place]
                window[place].weight += float(self._weights[place])

    def _whole_gaps(self, window: Sequence[_Entry]) -> Iterator[range]:
        """Where in the window are gaps to fill, with a row before and after that saw the ball."""
        start = None
        for place, entry in enumerate(window):
            if not entry.seen:
                continue
            if start is not None and 0 < place - start <= self._gap_cap and window[start].missing:
                yield range(start, place)
            start = place + 1

    def _emitted(self) -> RepairedRow:
        self.stats["outputs"] += 1
        entry = self._entries.popleft()
        with timed(self.stats, "t_post"):
            if entry.weight == 0:
                return RepairedRow(**entry.row, Inpaint=0)
            return self._filled(entry)

    def _filled(self, entry: _Entry) -> RepairedRow:
        share_x, share_y = _or_nothing(entry.said / np.float32(entry.weight))
        if share_x == 0 and share_y == 0:
            return RepairedRow(**entry.row, Inpaint=0)
        width, height = WIDTH * self.img_scaler[0], HEIGHT * self.img_scaler[1]
        x, y = (
            min(round(float(share_x) * width), round(width) - 1),
            min(round(float(share_y) * height), round(height) - 1),
        )
        return RepairedRow(Frame=entry.row["Frame"], X=x, Y=y, Visibility=1, Confidence=0.0, Inpaint=1)


def _or_nothing(share_xy: FloatArray) -> FloatArray:
    """(0, 0), "no ball", for what lies in the upper left corner: the network has no other way to say it."""
    return np.zeros_like(share_xy) if bool((share_xy < COOR_TH).all()) else share_xy


def _checked_row(pred: Mapping[str, float] | Row) -> Row:
    missing = [key for key in ("Frame", "X", "Y", "Visibility") if key not in pred]
    if missing:
        raise ConfigError(f"a row lacks {', '.join(missing)}; expected Frame, X, Y and Visibility")
    frame: FrameId = pred["Frame"]
    x, y, visible = pred["X"], pred["Y"], int(pred["Visibility"])
    if visible not in {0, 1} or not (math.isfinite(x) and math.isfinite(y)):
        raise ConfigError(f"row {frame} has X {x}, Y {y}, Visibility {visible}; expected pixels, and 0 or 1")
    confidence = float(pred.get("Confidence", visible))  # a row without one is of a tracker that knows but yes and no
    return Row(Frame=frame, X=int(x), Y=int(y), Visibility=visible, Confidence=confidence)


def _checked_coords(said: FloatArray, expected: tuple[int, ...]) -> FloatArray:
    if said.shape != expected or not np.isfinite(said).all():
        what = f"shape {said.shape}" if said.shape != expected else "NaN or infinity"
        raise ModelOutputError(f"the repair network put out {what}; expected finite coordinates {expected}")
    return said
