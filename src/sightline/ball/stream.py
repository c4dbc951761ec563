"""The tracker as a stream: frames in, one answer for each frame out, in order, whatever runs the network.

A frame goes through four stages: planes, windows of `seq_len` frames, heat maps, and the average of all the heat maps
that the frame got. `push` takes it through them one window at a time; `track` runs the network on several windows at
once. Both are the same code around another call, so their answers are the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from sightline.ball.ensemble import Ensemble, get_ensemble_weight
from sightline.ball.heatmap import HEIGHT, WIDTH, FrameId, Row, Sighting, find_ball
from sightline.ball.windows import FrameWindows, TrackOptions, timed
from sightline.errors import ModelOutputError
from sightline.types import Array, FloatArray, Image

Forward = Callable[[FloatArray], FloatArray]  # (B, C, 288, 512) to (B, L, 288, 512)


class TrackNetStream(FrameWindows):
    """TrackNet over the frames of a clip, with memory for `seq_len` of them.

    The row of a frame comes `seq_len - 1` pushes after it, or `median_warmup - 1` where the median is taken from the
    clip and that is more. Where the network raises, `push` does, and the frames of that window are left to the other
    windows: no row is lost or goes to another frame.
    """

    def __init__(
        self,
        forward: Forward,
        *,
        seq_len: int,
        bg_mode: str | None,
        eval_mode: str = "weight",
        median: Array | None = None,
        median_warmup: int = 0,
        options: TrackOptions | None = None,
    ) -> None:
        self._forward = forward
        self._ens_w = get_ensemble_weight(seq_len, eval_mode)
        super().__init__(
            seq_len=seq_len,
            bg_mode=bg_mode,
            eval_mode=eval_mode,
            median=median,
            median_warmup=median_warmup,
            options=options,
        )

    def _start_clip(self) -> None:
        super()._start_clip()
        self._ensemble = Ensemble(self._ens_w, stride=self.stride)
        self._answered: deque[Sighting] = deque()

    def push(self, frame_bgr: Image, frame_id: FrameId | None = None) -> Row | None:
        """Take the next frame; the row of an earlier one, or None while there is none yet.

        Ids are only passed on: any numbers in any order, by default 0, 1, 2, … The caller may reuse the frame. Raises
        `ImageError` where it is not a BGR uint8 picture of the size of the first.
        """
        window = self.feed(frame_bgr, frame_id)
        if window is not None:
            self.answer(window[None])
        return next((sighting.row() for sighting in self.sightings(at_most=1)), None)

    def flush(self) -> list[Row]:
        """The clip is over: the rows of all frames that have none yet. Ids go on counting, and a median stays."""
        for window in self.end():
            self.answer(window[None])
        return [sighting.row() for sighting in self.finish()]

    def answer(self, windows: FloatArray) -> None:
        """Run the network on the next windows (B, C, 288, 512), in the order they came."""
        answers: Sequence[FloatArray | None] = [None] * len(windows)
        try:
            with timed(self.stats, "t_forward"):
                answers = list(checked_heats(self._forward(windows), len(windows), self.seq_len))
        finally:
            with timed(self.stats, "t_post"):
                for heats in answers:
                    self._see(self._ensemble.skip((HEIGHT, WIDTH)) if heats is None else self._ensemble.add(heats))

    def sightings(self, *, at_most: int | None = None) -> Iterator[Sighting]:
        """Take what has been answered, oldest first."""
        for _ in range(len(self._answered) if at_most is None else min(at_most, len(self._answered))):
            self.stats["outputs"] += 1
            yield self._answered.popleft()

    def finish(self) -> list[Sighting]:
        """The second half of `flush`, once its windows are answered."""
        with timed(self.stats, "t_post"):
            self._see(self._ensemble.drain())
        rest = list(self.sightings())
        self._start_clip()
        return rest

    def _see(self, finished: Iterable[FloatArray]) -> None:
        """Heat maps of the next frames; those of the copies that filled up the last window have no id and no answer."""
        for heat in finished:
            if self._fidq:
                self._answered.append(self._sighting(self._fidq.popleft(), heat))

    def _sighting(self, frame_id: FrameId, heat: FloatArray) -> Sighting:
        peak = find_ball(heat, decode=self._options.decode, threshold=self._options.threshold)
        if peak is None or self.img_scaler is None:
            return Sighting(frame_id, None)
        x, y = peak.in_source(self.img_scaler)
        if self._options.decode == "argmax" and (x, y) == (0, 0):
            return Sighting(frame_id, None)  # as predecessors: the corner means that there is no ball
        return Sighting(frame_id, peak, x, y)

    def _heatmap_to_xy(self, heat: FloatArray | None) -> tuple[int, int, int]:
        """X, Y and Visibility: the answer for one heat map, for callers that know the predecessors from within."""
        if heat is None:
            return 0, 0, 0
        row = self._sighting(0, heat).row()
        return row["X"], row["Y"], row["Visibility"]


def track(
    stream: TrackNetStream, frames: Iterable[tuple[FrameId | None, Image]], *, batch: int = 8
) -> Iterator[Sighting]:
    """All frames of a clip, (id, BGR), with the network run on up to `batch` windows at once; then the clip is over.

    What comes out is what `push` and `flush` would have given, whatever the batch, in memory that does not grow.
    """
    gathered, count = np.empty((batch, *stream.window_shape), np.float32), 0
    for window in _windows(stream, frames):
        if window is not None:
            gathered[count] = window
            count += 1
        if count == batch:
            stream.answer(gathered)
            count = 0
        yield from stream.sightings()
    if count:
        stream.answer(gathered[:count])
    yield from stream.finish()


def _windows(stream: TrackNetStream, frames: Iterable[tuple[FrameId | None, Image]]) -> Iterator[FloatArray | None]:
    for frame_id, image in frames:
        yield stream.feed(image, frame_id)
    yield from stream.end()


def checked_heats(heats: FloatArray, windows: int, seq_len: int) -> FloatArray:
    expected = (windows, seq_len, HEIGHT, WIDTH)
    if heats.shape != expected:
        raise ModelOutputError(f"the tracker put out {heats.shape} for {windows} windows; expected {expected}")
    if not np.isfinite(heats).all():
        raise ModelOutputError("the tracker put out NaN or infinity; its weights or its precision are broken")
    return heats
