"""Which track is which detection of one frame: stage after stage, each over what the one before has left."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from sightline.tracking.appearance import likeness, reliability
from sightline.tracking.assignment import Assignment, Matrix, iou_matrix
from sightline.tracking.explanation import Link, Pairing, Stage
from sightline.tracking.motion import distances_in_sizes
from sightline.tracking.sightings import Sightings
from sightline.tracking.table import TrackTable
from sightline.types import Array, IntArray

REACH = 2.0  # of its longer side: how far from where it should be anything may be found again …
FASTEST = 8.0  # … and how many more of them each second without it; a sprinter does six of his heights


class Association:
    """The tracks and the sightings of one frame, and what has been settled between them so far."""

    def __init__(
        self, table: TrackTable, sightings: Sightings, *, time_s: float, weight: float, same_person: float
    ) -> None:
        self.table, self.sightings, self._time_s = table, sightings, time_s
        self._weight, self._same_person = weight, same_person
        self.chosen: IntArray = np.full(len(table), -1)  # (T,) the sighting of each track
        self.owner: IntArray = np.full(len(sightings), -1)  # (N,) the track of each sighting
        self.returned: Array = np.zeros(len(table), bool)  # (T,) found where their motion did not lead
        self._pairings: list[Pairing] = []

    def pair_near(self, solver: Assignment, stage: Stage, tracks: Array, sightings: Array, *, at_least: float) -> None:
        """Give the free ones of the mask `tracks` (T,) to the free ones of `sightings` (N,), by place and looks.

        The stage "faint" goes by place alone: half a person has no looks.
        """
        left, right = np.flatnonzero(tracks & (self.chosen < 0)), np.flatnonzero(sightings & (self.owner < 0))
        if not len(left) or not len(right):
            return
        similarity = (self._ious if stage == "faint" else self._fused)[np.ix_(left, right)]
        rows, columns = solver.best_pairs(similarity, at_least=at_least)
        self._settle(Pairing(stage, similarity, left, right, rows, columns))

    def pair_returned(self, solver: Assignment, tracks: Array, sightings: Array, *, margin: float) -> None:
        """Give tracks nobody found to sightings that look like them, wherever they are within reach.

        A sighting that a track without id has taken may be had too: somebody who returns is a newcomer until an
        embedding tells otherwise. Who looks as much like a second one is left alone: a wrong name is worse than a new.
        """
        if self._cosines is None:
            return
        left = np.flatnonzero(tracks & (self.chosen < 0) & self.table.appearance.known)
        right = np.flatnonzero(sightings & (self._belief.max(axis=0) > 0) & ~self._settled)
        if not len(left) or not len(right):
            return
        similarity = np.where(self._within_reach(left, right), self._cosines[np.ix_(left, right)], -np.inf)
        rows, columns = solver.best_pairs(similarity, at_least=self._same_person)
        pairing = Pairing("returned", similarity, left, right, rows, columns)
        pairing = pairing.only(similarity[rows, columns] >= pairing.runners_up() + margin)
        newcomers = self.owner[pairing.sightings]
        self.chosen[newcomers[newcomers >= 0]] = -1
        self.returned[pairing.tracks] = True
        self._settle(pairing)

    def _settle(self, pairing: Pairing) -> None:
        self.chosen[pairing.tracks], self.owner[pairing.sightings] = pairing.sightings, pairing.tracks
        self._pairings.append(pairing)

    @property
    def _settled(self) -> Array:
        """Mask (N,) of the sightings that belong to a track with an id."""
        return (self.owner >= 0) & self.table.confirmed[self.owner]

    @cached_property
    def _ious(self) -> Matrix:
        """Of where tracks should be with where sightings are, (T, N); 0 between classes."""
        overlaps = iou_matrix(self.table.motion.boxes_xyxy, self.sightings.boxes_xyxy)
        overlaps[self.table.classes[:, None] != self.sightings.classes] = 0
        return overlaps

    @cached_property
    def _cosines(self) -> Matrix | None:
        """(T, N), or None where there is nothing to compare."""
        if not self.sightings.embedded.any() or not self.table.appearance.known.any():
            return None
        return np.asarray(self.table.appearance.vectors @ self.sightings.vectors.T, np.float64)

    @cached_property
    def _belief(self) -> Matrix:
        """How far appearance may be believed, (T, N), 0..1."""
        seen = self.sightings
        return reliability(self.table.appearance, seen.embedded, seen.crowded, time_s=self._time_s)

    @cached_property
    def _fused(self) -> Matrix:
        """Overlap, and likeness by as much as it is believed; -inf where nothing overlaps."""
        mixed = self._ious
        if self._cosines is not None:
            alike = likeness(self._cosines, same_person=self._same_person)
            mixed = mixed + self._weight * self._belief * (alike - mixed)
        return np.where(self._ious > 0, mixed, -np.inf)

    def _within_reach(self, left: IntArray, right: IntArray) -> Array:
        """Nobody jumps, and a person is no car: (L, R)."""
        gone_s = self._time_s - self.table.seen_s[left]
        far = distances_in_sizes(self.table.motion.take(left), self.sightings.boxes_xyxy[right])
        same = self.table.classes[left][:, None] == self.sightings.classes[right]
        reached: Array = same & (far <= (REACH + FASTEST * gone_s)[:, None])
        return reached

    def links(self) -> Iterator[Link]:
        """Why, for every sighting that has a track: stage after stage, tracks oldest first."""
        for pairing in self._pairings:
            pairs = zip(pairing.rows, pairing.columns, pairing.runners_up(), strict=True)
            for row, column, runner_up in pairs:
                track, sighting = int(pairing.left[row]), int(pairing.right[column])
                if self.owner[sighting] == track:  # not taken over by a later stage
                    similarity = float(pairing.similarity[row, column])
                    yield self._link(pairing.stage, track, sighting, similarity, runner_up=float(runner_up))

    def _link(self, stage: Stage, track: int, sighting: int, similarity: float, *, runner_up: float) -> Link:
        belief = float(self._belief[track, sighting]) if self._cosines is not None else 0.0
        weight = {"faint": 0.0, "returned": 1.0}.get(stage, self._weight * belief)
        return Link(
            row=int(self.sightings.rows[sighting]),
            track_id=int(self.table.ids[track]),
            stage=stage,
            similarity=similarity,
            iou=float(self._ious[track, sighting]),
            cosine=float(self._cosines[track, sighting]) if self._cosines is not None and belief > 0 else None,
            weight=weight,
            runner_up=runner_up if runner_up > -np.inf else None,
        )
