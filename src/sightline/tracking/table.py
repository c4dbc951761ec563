"""All that a tracker remembers: one row a track, no history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ModelOutputError
from sightline.tracking import appearance, motion
from sightline.tracking.appearance import CROWDED_IOU, Appearance
from sightline.tracking.motion import Motion
from sightline.tracking.sightings import Sightings
from sightline.types import Array, IntArray


@dataclass(frozen=True, eq=False)
class TrackTable:
    """T tracks, oldest first. Its size depends on how many there are, never on how long they have been."""

    ids: IntArray  # (T,) 0 until a track is confirmed
    hits: IntArray  # (T,) frames it was found in
    seen_s: NDArray[np.float64]  # (T,) when last
    classes: IntArray  # (T,)
    motion: Motion
    appearance: Appearance

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def confirmed(self) -> Array:
        """Mask (T,) of the tracks that have an id."""
        return self.ids > 0

    def take(self, tracks: Array) -> TrackTable:
        """Those tracks alone, by index or mask."""
        return TrackTable(
            self.ids[tracks],
            self.hits[tracks],
            self.seen_s[tracks],
            self.classes[tracks],
            self.motion.take(tracks),
            self.appearance.take(tracks),
        )

    def at(self, gap_s: float, *, last_s: float) -> TrackTable:
        """Where everybody should be `gap_s` after the update at `last_s`."""
        return replace(self, motion=self.motion.after(gap_s, unseen=self.seen_s < last_s))

    def fitting(self, sightings: Sightings) -> TrackTable:
        """The same, ready for vectors as long as these. Raises `ModelOutputError` once others have been seen."""
        size, known = sightings.vectors.shape[1], self.appearance.vectors.shape[1]
        if size in (0, known):
            return self
        if known and len(self):
            raise ModelOutputError(
                f"embeddings of {size} numbers after {known}; a tracker takes those of one model: reset() it first"
            )
        return replace(self, appearance=self.appearance.widened(size))

    def found(self, sightings: Sightings, *, chosen: Array, anew: Array, time_s: float) -> TrackTable:
        """After a frame in which each track was the sighting `chosen` (T,), -1 for none.

        Those in the mask `anew` were found where their motion did not lead, and start moving from there.
        """
        if not len(self) or not len(sightings):
            return self
        found = chosen >= 0
        boxes, scores = sightings.boxes_xyxy[chosen], sightings.scores[chosen]
        state = np.where(found[:, None] & ~anew[:, None], self.motion.corrected(boxes, scores).state, self.motion.state)
        state = np.where(anew[:, None], motion.started(boxes).state, state)
        return replace(
            self,
            hits=self.hits + found,
            seen_s=np.where(found, time_s, self.seen_s),
            motion=Motion(state),
            appearance=self._looked_at(sightings, chosen, time_s),
        )

    def _looked_at(self, sightings: Sightings, chosen: Array, time_s: float) -> Appearance:
        if not sightings.vectors.shape[1]:
            return self.appearance
        clean = sightings.embedded & (sightings.crowded < CROWDED_IOU)
        return self.appearance.with_crops(sightings.vectors[chosen], clean[chosen] & (chosen >= 0), time_s)

    def with_new(self, sightings: Sightings, born: Array, *, time_s: float) -> TrackTable:
        """The same and a track without id for each sighting in `born`, by index."""
        if not len(born):
            return self
        count, size = len(born), self.appearance.vectors.shape[1]
        new = TrackTable(
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            np.full(count, time_s),
            sightings.classes[born],
            motion.started(sightings.boxes_xyxy[born]),
            appearance.unknown(count, size),
        )
        new = replace(new, hits=new.hits + 1, appearance=new._looked_at(sightings, born, time_s))
        return self._joined(new)

    def _joined(self, other: TrackTable) -> TrackTable:
        return TrackTable(
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.hits, other.hits]),
            np.concatenate([self.seen_s, other.seen_s]),
            np.concatenate([self.classes, other.classes]),
            motion.joined(self.motion, other.motion),
            appearance.joined(self.appearance, other.appearance),
        )


def empty_table() -> TrackTable:
    """Nobody, and no vector seen."""
    none = np.zeros(0, np.int64)
    nowhere = motion.started(np.zeros((0, 4)))
    return TrackTable(none, none, np.zeros(0), none, nowhere, appearance.unknown(0, 0))


def packed(table: TrackTable) -> dict[str, Array]:
    """The table as plain arrays, by name."""
    look = table.appearance
    return {
        "ids": table.ids,
        "hits": table.hits,
        "seen_s": table.seen_s,
        "classes": table.classes,
        "motion": table.motion.state,
        "vectors": look.vectors,
        "crops": look.crops,
        "embedded_s": look.embedded_s,
    }


def unpacked(arrays: Mapping[str, Array]) -> TrackTable:
    """What `packed` took apart."""
    return TrackTable(
        arrays["ids"],
        arrays["hits"],
        arrays["seen_s"],
        arrays["classes"],
        Motion(arrays["motion"]),
        Appearance(arrays["vectors"], arrays["crops"], arrays["embedded_s"]),
    )
