"""Boxes get identities: what every tracker promises, and ours, which also looks at people.

Two passes over confidence as in ByteTrack (Zhang et al., 2022): first what the detector is sure of, then what it half
sees where somebody should be. Appearance is mixed into the overlap as far as it can be believed, and finds again who
was lost, wherever they come back. Time, not frames, decides how long anybody is remembered.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np

from sightline.errors import ConfigError
from sightline.tracking.assignment import Assignment, iou_matrix
from sightline.tracking.association import Association
from sightline.tracking.camera_motion import CameraMotion
from sightline.tracking.clock import Clock
from sightline.tracking.explanation import Link
from sightline.tracking.sightings import Sightings, sightings_of, tracks_of
from sightline.tracking.table import TrackTable, empty_table, packed, unpacked
from sightline.types import Array, Detections, FloatArray, Image, IntArray, Tracks

_log = logging.getLogger(__name__)


class Tracker(Protocol):
    """One stream's boxes, frame after frame. Ids start at 1 on each instance and are never given twice."""

    @property
    def rows(self) -> IntArray:
        """For each row of the last answer, which of the detections passed in it was; ascending."""

    @property
    def refused(self) -> Mapping[str, int]:
        """How many detections could not be tracked so far, by reason."""

    def update(
        self,
        detections: Detections,
        *,
        frame: int,
        time_s: float,
        embeddings: FloatArray | None = None,
        image: Image | None = None,
    ) -> Tracks:
        """The detections of a frame that belong to confirmed tracks, in their order, each with its id.

        `embeddings` is (N, D) with rows of NaN for what was not embedded. `time_s` never goes back: `SourceError`.
        """

    def ended(self) -> list[int]:
        """The ids dropped since this was last asked, ascending. They are kept until it is."""

    def flush(self) -> None:
        """End every track, as at the end of a stream. Later frames start new ones."""

    def reset(self) -> None:
        """Forget everything: from here on like a new instance."""


@dataclass(frozen=True)
class TrackerSettings:
    """The bounds of every decision. Raises `ConfigError` where they contradict each other."""

    low_score: float = 0.1  # below it a detection is nothing
    high_score: float = 0.3  # from here on it may be anybody, below only who should be there
    new_score: float = 0.5  # from here on it may be somebody new
    confirmed_after: int = 2  # frames in a row until a track gets an id
    near_similarity: float = 0.15  # overlap, or overlap and likeness
    faint_iou: float = 0.5
    tentative_similarity: float = 0.2
    duplicate_iou: float = 0.8  # a newcomer as close to somebody is the same one, detected twice
    appearance_weight: float = 0.5  # of fresh, uncrowded embeddings beside the overlap
    same_person: float = 0.6  # cosine; the threshold calibrated for single crops of the model
    return_margin: float = 0.05  # of cosine over the runner-up
    motion_s: float = 1.2  # how long a motion may be extrapolated
    max_age_s: float = 5.0  # how long somebody whose looks are known is waited for
    max_lost: int = 1000  # of those waited for, the most

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(f"tracker {name} is {getattr(self, name)}; expected a finite number")
        ascending = 0 <= self.low_score <= self.high_score <= self.new_score
        _require(ascending, "scores must be 0 <= low_score <= high_score <= new_score")
        _require(0 <= self.appearance_weight <= 1, "appearance_weight must be in 0..1")
        _require(self.confirmed_after >= 1, "confirmed_after must be 1 or more")
        _require(self.max_lost >= 0, "max_lost must be 0 or more")
        _require(0 <= self.motion_s <= self.max_age_s, "seconds must be 0 <= motion_s <= max_age_s")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ConfigError(f"tracker settings: {what}")


class AppearanceTracker:
    """Our tracker. Without embeddings and images it goes by motion alone.

    It holds one row for each person seen now or waited for, at most `max_lost` of those, and nothing that grows with
    time but the next id. The same input gives the same ids, in whatever order a frame's detections come.
    """

    def __init__(
        self, settings: TrackerSettings | None = None, *, camera: CameraMotion | None = None, explain: bool = False
    ) -> None:
        self.settings = settings or TrackerSettings()
        self.explain = explain
        self._solver = Assignment()
        self._camera = camera
        self.reset()

    @property
    def rows(self) -> IntArray:
        return self._rows

    @property
    def held(self) -> int:
        """How many tracks are held: seen now, waited for, or not confirmed yet."""
        return len(self._table)

    @property
    def explained(self) -> tuple[Link, ...]:
        """Why each detection of the last frame went where it did; empty unless made with `explain=True`."""
        return self._links

    @property
    def refused(self) -> Mapping[str, int]:
        return MappingProxyType(+self._refused)

    def reset(self) -> None:
        self._table, self._next_id = empty_table(), 1
        self._clock = Clock()
        self._ended: list[int] = []
        self._rows: IntArray = np.zeros(0, np.int64)
        self._links: tuple[Link, ...] = ()
        self._refused: Counter[str] = Counter()
        if self._camera is not None:
            self._camera.reset()

    def state(self) -> dict[str, Array]:
        """All it knows between two frames, as arrays to be stored: a tracker given it by `restore` goes on the same."""
        clock = np.array([self._clock.frame or 0, self._clock.time_s])
        return {
            **packed(self._table),
            "next_id": np.array(self._next_id),
            "ended": np.array(self._ended, np.int64),
            "clock": clock if self._clock.frame is not None else clock[:0],
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from there. How the camera moved last is not part of it: the first picture counts as standing still."""
        self.reset()
        self._table, self._next_id = unpacked(state), int(state["next_id"])
        self._ended = state["ended"].tolist()
        if len(state["clock"]):
            self._clock = Clock(int(state["clock"][0]), float(state["clock"][1]))

    def flush(self) -> None:
        self._keep(np.zeros(len(self._table), bool))
        if self._camera is not None:
            self._camera.reset()

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
        gap_s = self._clock.gap_s(frame, time_s)
        before = sum(self._refused.values())
        seen = sightings_of(detections, embeddings, at_least=self.settings.low_score, refused=self._refused)
        if not before and self._refused.total():
            _log.warning("frame %d: detections that cannot be tracked: %s", frame, dict(self.refused))
        table = self._table.fitting(seen)
        self._predict(table, seen, gap_s, image)
        found = self._associate(seen, time_s=time_s, gap_s=gap_s)
        ids = self._learn(found, time_s)
        self._clock = Clock(frame, time_s)
        self._links = tuple(found.links()) if self.explain else ()
        order = np.argsort(seen.rows)
        order = order[ids[order] > 0]
        self._rows = seen.rows[order]
        return tracks_of(detections, ids[order], self._rows)

    def _predict(self, table: TrackTable, seen: Sightings, gap_s: float, image: Image | None) -> None:
        self._table = table.at(gap_s, last_s=self._clock.time_s)
        if self._camera is not None and image is not None:
            affine = self._camera.update(image, seen.boxes_xyxy)
            self._table = replace(self._table, motion=self._table.motion.seen_from(affine))

    def _associate(self, seen: Sightings, *, time_s: float, gap_s: float) -> Association:
        bounds, table, solver = self.settings, self._table, self._solver
        weight, same_person = bounds.appearance_weight, bounds.same_person
        found = Association(table, seen, time_s=time_s, weight=weight, same_person=same_person)
        sure, known, age_s = seen.scores >= bounds.high_score, table.confirmed, time_s - table.seen_s
        # From one frame to the next a place means something, however slow the camera; after a pause it does not.
        present = (table.seen_s >= self._clock.time_s) & (gap_s <= bounds.max_age_s)
        placed = present | (age_s <= bounds.motion_s)
        found.pair_near(solver, "near", known & placed, sure, at_least=bounds.near_similarity)
        found.pair_near(solver, "faint", known & placed, ~sure, at_least=bounds.faint_iou)
        found.pair_near(solver, "tentative", ~known & present, sure, at_least=bounds.tentative_similarity)
        found.pair_returned(solver, known & (age_s <= bounds.max_age_s), sure, margin=bounds.return_margin)
        return found

    def _learn(self, found: Association, time_s: float) -> IntArray:
        """Take the frame in; the id of each sighting (N,), 0 for none."""
        seen, born = found.sightings, self._newcomers(found)
        table = self._table.found(seen, chosen=found.chosen, anew=found.returned, time_s=time_s)
        table = table.with_new(seen, born, time_s=time_s)
        chosen = np.concatenate([found.chosen, born])
        self._table = table = self._confirmed(table, chosen >= 0)
        ids = np.zeros(len(seen), np.int64)
        ids[chosen[chosen >= 0]] = table.ids[chosen >= 0]
        patience_s = np.where(table.appearance.known, self.settings.max_age_s, self.settings.motion_s)
        waited = table.confirmed & (chosen < 0) & (time_s - table.seen_s <= patience_s)
        self._keep((chosen >= 0) | self._youngest(waited))
        return ids

    def _newcomers(self, found: Association) -> IntArray:
        """The sightings, by index, that start a track."""
        seen = found.sightings
        free = np.flatnonzero((found.owner < 0) & (seen.scores >= self.settings.new_score))
        taken = np.flatnonzero(found.owner >= 0)
        if not len(free) or not len(taken):
            return free
        overlap = iou_matrix(seen.boxes_xyxy[free], seen.boxes_xyxy[taken])
        twice = (overlap >= self.settings.duplicate_iou) & (seen.classes[free][:, None] == seen.classes[taken])
        return np.asarray(free[~twice.any(axis=1)])

    def _confirmed(self, table: TrackTable, found: Array) -> TrackTable:
        ready = np.flatnonzero(found & ~table.confirmed & (table.hits >= self.settings.confirmed_after))
        ids = table.ids.copy()
        ids[ready] = np.arange(self._next_id, self._next_id + len(ready))
        self._next_id += len(ready)
        return replace(table, ids=ids)

    def _youngest(self, waited: Array) -> Array:
        """Of those in the mask the `max_lost` seen last."""
        lost = np.flatnonzero(waited)
        longest = np.argsort(self._table.seen_s[lost], kind="stable")[: max(0, len(lost) - self.settings.max_lost)]
        kept = waited.copy()
        kept[lost[longest]] = False
        return kept

    def _keep(self, tracks: Array) -> None:
        if not tracks.all():
            self._ended += self._table.ids[~tracks & self._table.confirmed].tolist()
            self._table = self._table.take(tracks)
