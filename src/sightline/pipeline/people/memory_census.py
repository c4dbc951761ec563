"""Everybody in a gallery at once: averages, stays, and who cannot be whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sightline.gallery.gallery import Gallery
from sightline.pipeline.people.memory_entries import number_of
from sightline.pipeline.people.memory_rules import Mask, MemoryRules, Stays
from sightline.types import IntArray

Vectors = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Census:
    """P identities and their N stays, in order of time. Of vectors it holds one average a person."""

    names: Sequence[str]
    averages: Vectors  # (P, D), of length 1
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


def take_census(gallery: Gallery) -> Census:
    """Reads entry by entry, each picture forgotten at once."""
    people: defaultdict[str, int] = defaultdict(lambda: len(people))
    cameras: defaultdict[str, int] = defaultdict(lambda: len(cameras))
    sums: list[Vectors] = []
    rows: list[tuple[int, int, float, float]] = []
    for entry in gallery.iterate():
        owner = people[entry.identity]
        if owner == len(sums):
            sums.append(np.zeros(len(entry.vector)))
        sums[owner] += entry.vector
        rows.append((owner, cameras[entry.camera], entry.first_s, entry.last_s))
    owners, seen_by, firsts_s, lasts_s = np.array(rows, np.float64).reshape(-1, 4).T
    stays = Stays(firsts_s.copy(), lasts_s.copy())
    return Census(list(people), _unit(sums), owners.astype(np.int64), seen_by.astype(np.int64), stays)


def _unit(sums: Sequence[Vectors]) -> Vectors:
    """Of length 1; where vectors cancelled each other out, of nearly none, which is like nobody."""
    rows = np.stack(sums) if sums else np.empty((0, 0))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-6), np.float64)
