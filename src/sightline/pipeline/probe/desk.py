"""One camera's people, as DeepStream's tracker tells them apart: records in, visits that have ended out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sightline.pipeline.people.gathering import Book, GatherRules
from sightline.pipeline.people.shots import Shot
from sightline.pipeline.people.visits import Visit
from sightline.pipeline.people.visits_folder import read_visit, visit_folder
from sightline.pipeline.people.watching import settings_in
from sightline.pipeline.probe.records import FrameRecord
from sightline.reid.tracklets import CLEAR_HW, CROWDED, CUT_BY_BORDER, HALF_LARGE, UPRIGHT, Setting
from sightline.types import FloatArray

NO_PICTURES = GatherRules(crops_kept=0)  # frames stay on the GPU; a visit has its track and its vector
ABSENT_S = 5.0  # until a track that is not seen has ended, where the tracker does not say so itself
BETWEEN_S = 1.0  # from the end of a stream to the beginning of the next of the same camera
JITTER_S = 1.0  # a clock that steps back by less was set right, and is no new stream


class Desk:
    """Times in its visits are seconds from `epoch_s`, which is in seconds since 1970."""

    def __init__(
        self,
        sensor: str,
        *,
        fingerprint: str,
        epoch_s: float,
        absent_s: float = ABSENT_S,
        rules: GatherRules = NO_PICTURES,
    ) -> None:
        self.book = Book(sensor, fingerprint=fingerprint, rules=rules)
        self._epoch_s, self._absent_s = epoch_s, absent_s
        self._seen_s: dict[int, float] = {}  # when each open track was last in a frame
        self._last: tuple[int, float] | None = None  # frame and time
        self._shift: tuple[int, float] = (0, 0.0)  # of frame numbers and times, since a stream began anew
        self.size_hw: tuple[int, int] | None = None

    def go_on_after(self, out: Path) -> None:
        """Count on from the visits, and the frames, that an earlier run has left in the folder."""
        while (out / visit_folder(self.book.camera, self.book.ended + 1)).exists():
            self.book.take_as_ended(0)
        last = read_visit(out, self.book.camera, self.book.ended, crops=False) if self.book.ended else None
        if last is not None:
            self._last = (int(last.tracklet.frames[-1]), last.last_s)

    def take(self, record: FrameRecord) -> list[Visit]:
        """Take in a frame; the visits that ended by it."""
        visits = self._follow_stream(record)
        frame, time_s = self._in_order(record)
        self._last, self.size_hw = (frame, time_s), record.size_hw
        self.book.add(record.tracks, self._shots(record, frame, time_s), frame=frame, time_s=time_s)
        self._seen_s.update(dict.fromkeys(record.tracks.ids.tolist(), time_s))
        return visits + self._close(record, time_s) + self.book.cut_long(time_s)

    def end(self) -> list[Visit]:
        """The stream is over: everybody's visit ends."""
        self._seen_s.clear()
        return self.book.close_all()

    def _close(self, record: FrameRecord, time_s: float) -> list[Visit]:
        present = set(record.tracks.ids.tolist())
        absent = {track for track, seen_s in self._seen_s.items() if time_s - seen_s > self._absent_s}
        over = sorted((absent | (record.ended & self._seen_s.keys())) - present)
        for track in over:
            del self._seen_s[track]
        return self.book.close(over)

    # Streams that begin anew

    def _place(self, record: FrameRecord) -> tuple[int, float]:
        return record.index + self._shift[0], record.moment_s - self._epoch_s + self._shift[1]

    def _in_order(self, record: FrameRecord) -> tuple[int, float]:
        """Where it lies, and never before the frame before it."""
        frame, time_s = self._place(record)
        return frame, time_s if self._last is None else max(time_s, self._last[1])

    def _follow_stream(self, record: FrameRecord) -> list[Visit]:
        """After a reconnect, or at the start of a file played again, frames and clock begin anew: nobody goes on."""
        frame, time_s = self._place(record)
        if self._last is None or (frame > self._last[0] and time_s > self._last[1] - JITTER_S):
            return []
        visits = self.end()
        ahead = (self._last[0] + 1 - frame, self._last[1] + BETWEEN_S - time_s)
        self._shift = (self._shift[0] + max(0, ahead[0]), self._shift[1] + max(0.0, ahead[1]))
        return visits

    # Whose vectors are kept

    def _shots(self, record: FrameRecord, frame: int, time_s: float) -> dict[int, Shot]:
        """Of those with a vector who were not looked at for a while, and are not half somebody else."""
        boxes = record.tracks.detections.boxes_xyxy
        settings = settings_in(boxes, record.size_hw)
        ids = record.tracks.ids.tolist()
        return {
            row: _shot(frame, time_s, record.vectors[row], boxes[row], settings[row])
            for row in np.flatnonzero(np.isfinite(record.vectors).all(axis=1)).tolist()
            if settings[row].crowding <= CROWDED and self.book.is_due(ids[row], time_s)
        }


def _shot(frame: int, time_s: float, vector: FloatArray, box: FloatArray, setting: Setting) -> Shot:
    width, height = float(box[2] - box[0]), float(box[3] - box[1])
    clear = height >= CLEAR_HW[0] and width >= CLEAR_HW[1] and not setting.cut
    return Shot(frame, time_s, vector, box_quality((height, width), setting), clear, b"")


def box_quality(size_hw: tuple[float, float], setting: Setting) -> float:
    """0..1 by the box alone: large, upright, alone and whole is near 1. How sharp it is, nobody saw."""
    height, width = size_hw
    largeness = height * width / (height * width + HALF_LARGE)
    uprightness = min(1.0, height / width / UPRIGHT[0], UPRIGHT[1] * width / height)
    whole = CUT_BY_BORDER if setting.cut else 1.0
    return largeness * uprightness * (1.0 - setting.crowding) * whole
