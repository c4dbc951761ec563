"""The trackers of the `trackers` library behind our protocol, for who wants the published ones: extra `trackers`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import numpy as np

from sightline.errors import BackendError, ConfigError
from sightline.runtime.backend import missing_package
from sightline.tracking.clock import Clock
from sightline.tracking.sightings import Sightings, sightings_of, tracks_of
from sightline.types import Array, Detections, FloatArray, Image, IntArray, Tracks

LIBRARY_TRACKERS: Mapping[str, str] = MappingProxyType(
    {
        "bytetrack": "ByteTrackTracker",
        "ocsort": "OCSORTTracker",
        "botsort": "BoTSORTTracker",
        "sort": "SORTTracker",
    }
)


class LibraryTracker:
    """One of `LIBRARY_TRACKERS`, with its own defaults. None of them looks at embeddings.

    Raises `ConfigError` for a name that is none of them, `BackendError` where the library is not installed.
    """

    def __init__(self, name: str, *, frame_rate: float = 30.0) -> None:
        if name not in LIBRARY_TRACKERS:
            raise ConfigError(f"no tracker {name!r}; expected one of {', '.join(LIBRARY_TRACKERS)}")
        reason = missing_package("trackers", "'sightline[trackers]'")
        if reason:
            raise BackendError(f"{name} needs another library: {reason}")
        self._tracker: Any = getattr(import_module("trackers"), LIBRARY_TRACKERS[name])(frame_rate=frame_rate)
        self._supervision: Any = import_module("supervision")
        self.reset()

    @property
    def rows(self) -> IntArray:
        return self._rows

    @property
    def refused(self) -> Mapping[str, int]:
        return MappingProxyType(+self._refused)

    def reset(self) -> None:
        self._tracker.reset()
        self._clock = Clock()
        self._refused: Counter[str] = Counter()
        self._alive: set[int] = set()
        self._ended: list[int] = []
        self._rows: IntArray = np.zeros(0, np.int64)
        self._first_id = self._next_id = 1  # the library counts from 0, and anew after its reset()

    def flush(self) -> None:
        self._tracker.reset()
        self._ended += self._alive
        self._alive, self._first_id = set(), self._next_id

    def ended(self) -> list[int]:
        asked, self._ended = sorted(self._ended), []
        return asked

    def update(
        self,
        detections: Detections,
        *,
        frame: int,
        time_s: float,
        embeddings: FloatArray | None = None,
        image: Image | None = None,
    ) -> Tracks:
        self._clock.gap_s(frame, time_s)
        seen = sightings_of(detections, embeddings, at_least=0.0, refused=self._refused)
        found = self._tracker.update(self._translated(seen), frame=image, timestamp=time_s)
        self._clock = Clock(frame, time_s)
        self._note_ended()
        known = found.tracker_id >= 0
        rows = found.data["row"][known] if known.any() else np.zeros(0, np.int64)
        order = np.argsort(rows)
        self._rows = rows[order]
        return tracks_of(detections, self._named(found.tracker_id[known])[order], self._rows)

    def _translated(self, seen: Sightings) -> Any:
        return self._supervision.Detections(
            xyxy=seen.boxes_xyxy, confidence=seen.scores, class_id=seen.classes, data={"row": seen.rows}
        )

    def _note_ended(self) -> None:
        numbers = np.array([track.tracker_id for track in self._tracker.tracks if track.tracker_id >= 0], np.int64)
        now = set(self._named(numbers).tolist())
        self._ended += self._alive - now
        self._alive, self._next_id = now, max(now | {self._next_id - 1}) + 1

    def _named(self, numbers: Array) -> IntArray:
        return np.asarray(numbers, np.int64) + self._first_id
