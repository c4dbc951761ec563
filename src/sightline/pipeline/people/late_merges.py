"""Identities that turn out to be one person, once more was seen of both.

One visit may be too poor to be recognised, or too like two people to choose; averages of several visits know better.
Nobody is merged whom `Memory` would have ruled out, and two people whom somebody has given names are never taken for
one. A merge is a change of names: `Gallery.undo` takes it back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.errors import GalleryError
from sightline.gallery.gallery import Change, Gallery, Where
from sightline.pipeline.people.memory_census import Census, Vectors, take_census
from sightline.pipeline.people.memory_entries import number_of
from sightline.pipeline.people.memory_rules import MemoryRules

log = logging.getLogger(__name__)

SCORES_AT_ONCE = 2_000_000  # 16 MB


@dataclass(frozen=True)
class Proposal:
    """Two identities that are one person, by the numbers."""

    identity: str  # whose entries go to the other
    into: str  # the older name, or the one somebody gave
    score: float  # cosine of their averages
    threshold: float
    runner_up: str | None  # whoever else is most like either of them
    runner_up_score: float | None
    reason: str


def propose(gallery: Gallery, *, rules: MemoryRules) -> list[Proposal]:
    """Pairs who are each other's nearest, the most alike first; nobody is in two. Changes nothing.

    Averages move as people are merged, so there may be more to propose afterwards.
    """
    census = take_census(gallery)
    found = dict(_clear_cases(census, rules))
    pairs = [
        (person, near.best)
        for person, near in found.items()
        if person < near.best and near.best in found and found[near.best].best == person
    ]
    proposals = (_proposal(census, pair, [found[person] for person in pair], rules) for pair in pairs)
    return sorted(proposals, key=lambda proposal: (-proposal.score, proposal.into))


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


@dataclass(frozen=True)
class _Near:
    """Of those who can be somebody, the two most like them."""

    best: int
    score: float
    second: int
    second_score: float  # -inf: there is no second


def _clear_cases(census: Census, rules: MemoryRules) -> Iterator[tuple[int, _Near]]:
    """Everybody to whom one other is near enough, and clearly nearer than the next."""
    step = max(1, SCORES_AT_ONCE // max(1, len(census)))
    for start in range(0, len(census), step):
        scores = census.averages[start : start + step] @ census.averages.T
        for person, row in enumerate(scores, start):
            row[person] = -np.inf
            if row.max() < rules.threshold:
                continue
            row[census.excluded(person, rules)] = -np.inf
            near = _two_best(row)
            if near.score >= rules.threshold and rules.is_ahead(near.score, near.second_score):
                yield person, near


def _two_best(row: Vectors) -> _Near:
    best = int(row.argmax())
    score, row[best] = float(row[best]), -np.inf
    second = int(row.argmax())
    return _Near(best, score, second, float(row[second]))


def _proposal(census: Census, pair: tuple[int, int], near: Sequence[_Near], rules: MemoryRules) -> Proposal:
    into, goes = sorted((census.names[person] for person in pair), key=lambda name: number_of(name) or 0)
    score, next_best = near[0].score, max(near, key=lambda one: one.second_score)
    reason = f"{goes} and {into} score {score:.4f} on average, over the threshold {rules.threshold:.4f}"
    if next_best.second_score == -np.inf:
        return Proposal(goes, into, score, rules.threshold, None, None, f"{reason}, and nobody else could be either")
    other, ahead = census.names[next_best.second], score - next_best.second_score
    reason = f"{reason} and {ahead:.4f} ahead of {other}"
    return Proposal(goes, into, score, rules.threshold, other, next_best.second_score, reason)
