"""Everybody in a gallery at once: averages, stays, and who cannot be whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sightline.gallery.gallery import Entry, Gallery, Hit
from sightline.pipeline.people.memory_entries import number_of
from sightline.pipeline.people.memory_rules import Mask, MemoryRules, Stays
from sightline.pipeline.people.scene import Scenery
from sightline.types import FloatArray, IntArray

Vectors = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Whereabouts:
    """P identities and their N stays, in order of time."""

    names: Sequence[str]
    owners: IntArray  # (N,) whose stay it is
    cameras: IntArray  # (N,)
    stays: Stays

    def __len__(self) -> int:
        return len(self.names)

    def excluded(self, person: int, rules: MemoryRules) -> Mask:
        """(P,) who is not that person: themselves, those seen at once with them or too soon, those seen too long before
        or after, and for somebody who was given a name, all others who were.
        """
        excluded = self._clashing(person, rules)
        excluded[person] = True
        if rules.forget_s is not None:
            excluded |= self._spans.overlaps_s(*self._spans[person]) < -rules.forget_s
        return excluded | self._given if self._given[person] else excluded

    def _clashing(self, person: int, rules: MemoryRules) -> Mask:
        clashing = np.zeros(len(self), np.bool_)
        for row in self._rows[person]:
            near = self._near(row, rules.travel_s or 0.0)
            stays, stay = Stays(self.stays.firsts_s[near], self.stays.lasts_s[near]), self.stays[row]
            here = self.cameras[near] == self.cameras[row]
            clash = np.where(here, stays.at_once(*stay), stays.too_soon(*stay, rules.travel_s))
            clashing[self.owners[near][clash]] = True
        return clashing

    def _near(self, row: int, reach_s: float) -> slice:
        """All rows within reach in time, and some that are not."""
        first_s, last_s = self.stays[row]
        begin = np.searchsorted(self.stays.firsts_s, first_s - reach_s - self._longest_s, side="left")
        end = np.searchsorted(self.stays.firsts_s, last_s + reach_s, side="right")
        return slice(int(begin), int(end))

    @cached_property
    def _longest_s(self) -> float:
        return float((self.stays.lasts_s - self.stays.firsts_s).max(initial=0.0))

    @cached_property
    def _rows(self) -> list[list[int]]:
        rows: list[list[int]] = [[] for _ in self.names]
        for row, owner in enumerate(self.owners.tolist()):
            rows[owner].append(row)
        return rows

    @cached_property
    def _spans(self) -> Stays:
        """(P,) from everybody's first to their last moment."""
        firsts, lasts = np.full(len(self), np.inf), np.full(len(self), -np.inf)
        np.minimum.at(firsts, self.owners, self.stays.firsts_s)
        np.maximum.at(lasts, self.owners, self.stays.lasts_s)
        return Stays(firsts, lasts)

    @cached_property
    def _given(self) -> Mask:
        """(P,) who was given a name by somebody."""
        return np.array([number_of(name) is None for name in self.names], np.bool_)


class _Journal:
    """Stays, taken down one by one in any order."""

    def __init__(self) -> None:
        self.people: defaultdict[str, int] = defaultdict(lambda: len(self.people))
        self._cameras: defaultdict[str, int] = defaultdict(lambda: len(self._cameras))
        self._rows: list[tuple[int, int, float, float]] = []

    def note(self, seen: Entry | Hit) -> int:
        """The number of the one it is of."""
        owner = self.people[seen.identity]
        self._rows.append((owner, self._cameras[seen.camera], seen.first_s, seen.last_s))
        return owner

    def whereabouts(self) -> Whereabouts:
        rows = np.array(sorted(self._rows, key=lambda row: row[2]), np.float64).reshape(-1, 4)
        owners, cameras, firsts_s, lasts_s = rows.T
        stays = Stays(firsts_s.copy(), lasts_s.copy())
        return Whereabouts(list(self.people), owners.astype(np.int64), cameras.astype(np.int64), stays)


def whereabouts_of(seen: Iterable[Entry | Hit]) -> Whereabouts:
    journal = _Journal()
    for one in seen:
        journal.note(one)
    return journal.whereabouts()


@dataclass(frozen=True, eq=False)
class Census:
    """P identities. Of vectors there are two a person, of length 1: the average, and that with the scene taken out."""

    whereabouts: Whereabouts
    averages: Vectors  # (P, D)
    directions: Vectors  # (P, D); the averages where nothing is known of the scene

    def __len__(self) -> int:
        return len(self.whereabouts)

    @property
    def names(self) -> Sequence[str]:
        return self.whereabouts.names


def take_census(gallery: Gallery, scenery: Scenery) -> Census:
    """Reads entry by entry, each picture forgotten at once."""
    journal = _Journal()
    averages: list[Vectors] = []
    directions: list[Vectors] = []
    for entry in gallery.iterate():
        owner = journal.note(entry)
        if owner == len(averages):
            averages.append(np.zeros(len(entry.vector)))
            directions.append(np.zeros(len(entry.vector)))
        averages[owner] += entry.vector
        directions[owner] += scenery.directions([entry.camera], entry.vector[None])[0]
    return Census(journal.whereabouts(), _unit(averages), _unit(directions))


def _unit(sums: Sequence[Vectors]) -> Vectors:
    """Of length 1; where vectors cancelled each other out, of nearly none, which is like nobody."""
    rows = np.stack(sums) if sums else np.empty((0, 0))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-6), np.float64)


def scenery_of(gallery: Gallery, scenes: Mapping[str, FloatArray] | None = None) -> Scenery:
    """What is known of the cameras of a gallery: how their places look without anybody, and who was seen there.

    One walk over all entries, each forgotten at once.
    """
    scenery = Scenery(scenes)
    for entry in gallery.iterate():
        scenery.tell_person(entry.camera, entry.identity, entry.id, entry.vector)
    return scenery
