"""Identities that turn out to be one person, once more was seen of both.

One visit may be too poor to be recognised, or too like two people to choose; averages of several visits know better.
Nobody is merged whom `Memory` would have ruled out, and two people whom somebody has given names are never taken for
one. A merge is a change of names: `Gallery.undo` takes it back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.errors import GalleryError
from sightline.gallery.gallery import Change, Gallery, Where
from sightline.pipeline.people.memory_census import Census, Vectors, scenery_of, take_census
from sightline.pipeline.people.memory_entries import number_of
from sightline.pipeline.people.memory_rules import Bar, MemoryRules
from sightline.types import FloatArray, IntArray

log = logging.getLogger(__name__)

SCORES_AT_ONCE = 2_000_000  # 16 MB


@dataclass(frozen=True)
class Proposal:
    """Two identities that are one person, by the numbers."""

    identity: str  # whose entries go to the other
    into: str  # the older name, or the one somebody gave
    score: float  # cosine of their averages
    threshold: float
    likeness: float | None  # of their averages, with the scene taken out; None: nothing is known of that
    runner_up: str | None  # whoever else is most like either of them
    runner_up_score: float | None
    reason: str


def propose(gallery: Gallery, *, rules: MemoryRules, scenes: Mapping[str, FloatArray] | None = None) -> list[Proposal]:
    """Pairs who are each other's nearest, the most alike first; nobody is in two. Changes nothing.

    `scenes` are the vectors (D,) of cameras' places without anybody. Averages move as people are merged, so there may
    be more to propose afterwards.
    """
    scenery = scenery_of(gallery, scenes)
    crowd = _Crowd(take_census(gallery, scenery), rules, rules.bar(scene=scenery.is_known))
    pairs = sorted(crowd.pairs(), key=lambda pair: (-pair[0].likeness, pair[0].person))
    return [crowd.proposal(*pair) for pair in pairs]


def merge_late(gallery: Gallery, proposals: Sequence[Proposal]) -> list[Change]:
    """Make them one, each on its own; what was done. Whoever was renamed or merged meanwhile is left alone."""
    done = (_merged(gallery, proposal) for proposal in proposals)
    return [change for change in done if change is not None]


def _merged(gallery: Gallery, proposal: Proposal) -> Change | None:
    if gallery.ids(Where(identities=[proposal.into])):
        try:
            return gallery.merge([proposal.identity], into=proposal.into)
        except GalleryError:
            if gallery.ids(Where(identities=[proposal.identity])):
                raise
    log.info("%s and %s were changed meanwhile, and are not merged", proposal.identity, proposal.into)
    return None


# Who is nearest to whom


@dataclass(frozen=True, eq=False)
class _Near:
    """Of those who can be somebody, the ones most like them."""

    person: int
    best: int
    likeness: float
    second: int
    second_likeness: float  # -inf: there is no second
    rivals: IntArray  # all who are hardly less alike than the best


@dataclass(frozen=True, eq=False)
class _Crowd:
    """Everybody, and what it takes to be one of them."""

    census: Census
    rules: MemoryRules
    bar: Bar

    def pairs(self) -> Iterator[tuple[_Near, _Near]]:
        """Those who are each other's nearest, and nobody else may be one of them alone."""
        found = {near.person: near for near in self._nearest()}
        for near in found.values():
            other = found.get(near.best)
            if other is not None and other.best == near.person < other.person and self._is_clear(near, other):
                yield near, other

    def _nearest(self) -> Iterator[_Near]:
        """Of everybody whose nearest is near enough."""
        directions = self.census.directions
        step = max(1, SCORES_AT_ONCE // max(1, len(directions)))
        for start in range(0, len(directions), step):
            block = directions[start : start + step] @ directions.T
            for person, row in enumerate(block, start):
                row[person] = -np.inf
                if row.max() >= self.bar.least:
                    row[self.census.whereabouts.excluded(person, self.rules)] = -np.inf
                    yield from self._nearest_of(person, row)

    def _nearest_of(self, person: int, row: Vectors) -> Iterator[_Near]:
        best = int(row.argmax())
        likeness, row[best] = float(row[best]), -np.inf
        if likeness == -np.inf or not self._are_alike(person, best):
            return
        second = int(row.argmax())
        rivals = np.flatnonzero(likeness - row < self.rules.lead)
        yield _Near(person, best, likeness, second, float(row[second]), rivals)

    def _are_alike(self, one: int, other: int) -> bool:
        return self.bar.is_reached(self._cosine(one, other), self._likeness(one, other))

    def _cosine(self, one: int, other: int) -> float:
        return float(self.census.averages[one] @ self.census.averages[other])

    def _likeness(self, one: int, other: int) -> float:
        return float(self.census.directions[one] @ self.census.directions[other])

    def _is_clear(self, one: _Near, other: _Near) -> bool:
        """Whether each of their rivals is a rival for both, and so likely to be the same person as well: somebody who
        was split in three.
        """
        excluded = [self.census.whereabouts.excluded(near.person, self.rules) for near in (one, other)]
        rivals = {*one.rivals.tolist(), *other.rivals.tolist()}
        return all(
            not out[rival] and self._are_alike(near.person, rival)
            for near, out in zip((one, other), excluded, strict=True)
            for rival in rivals
        )

    def proposal(self, one: _Near, other: _Near) -> Proposal:
        names, bar = self.census.names, self.bar
        into, goes = sorted((names[near.person] for near in (one, other)), key=lambda name: number_of(name) or 0)
        score, likeness = self._cosine(one.person, other.person), None if bar.likeness is None else one.likeness
        near = max(one, other, key=lambda near: near.second_likeness)
        reason = f"{goes} and {into} score {score:.4f} on average, over the threshold {bar.cosine:.4f}"
        if bar.likeness is not None:
            reason += f", and with the scene taken out {likeness:.4f}, over {bar.likeness:.4f}"
        reason += self._lead(near)
        if near.second_likeness == -np.inf:
            return Proposal(goes, into, score, bar.cosine, likeness, None, None, reason)
        second_score = self._cosine(near.person, near.second)
        return Proposal(goes, into, score, bar.cosine, likeness, names[near.second], second_score, reason)

    def _lead(self, near: _Near) -> str:
        if near.second_likeness == -np.inf:
            return ", and nobody else could be either"
        ahead = f" and {near.likeness - near.second_likeness:.4f} ahead of {self.census.names[near.second]}"
        return f"{ahead}, who looks like both" if len(near.rivals) else ahead
