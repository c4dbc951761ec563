"""Whom a gallery knows that a visit may be of, the most alike first, and who cannot be it.

Every question goes to the gallery, and its answer is forgotten with the visit: other processes, and people, rename and
merge identities at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, takewhile

import numpy as np

from sightline.gallery.gallery import Entry, Gallery, Hit, Where
from sightline.pipeline.people.memory_census import whereabouts_of
from sightline.pipeline.people.memory_entries import Sighting
from sightline.pipeline.people.memory_rules import Bar, MemoryRules, Stays
from sightline.pipeline.people.scene import Floats, Scenery
from sightline.pipeline.people.visits import RuledOut
from sightline.reid.identify import TIE
from sightline.types import Embeddings

EVERY_ONE = 1 << 31  # hits: no gallery holds so many
AT_ONCE = 500  # hits of one search
SEARCHES = 4  # at most; each finds somebody else
WANTED = 30  # identities to be looked at closely
OF_EACH = 12  # entries of one of them


def hits_in(gallery: Gallery, sighting: Sighting, where: Where) -> list[Hit]:
    """Every entry there is of a `where` that few fit, with its likeness and without its picture."""
    return gallery.search(sighting.embedding, top_k=EVERY_ONE, where=where)[0]


@dataclass(frozen=True, eq=False)
class Candidate:
    """An identity, by the entry of it that looks most like the visit."""

    entry: Entry
    direction: Floats  # (D,) as the scene leaves it
    score: float  # cosine
    likeness: float  # with the scene taken out; the cosine where nothing is known of that

    @property
    def identity(self) -> str:
        return self.entry.identity


@dataclass(frozen=True, eq=False)
class Lookup:
    """One question about one visit. What the visit itself has left in the gallery is to be `ignored`."""

    gallery: Gallery
    sighting: Sighting
    rules: MemoryRules
    scenery: Scenery
    excuses: dict[str, str]  # why somebody cannot be it, by identity
    ignored: str | None = None  # an entry
    unborn: Collection[str] = ()  # identities that did not exist before this visit

    @property
    def bar(self) -> Bar:
        return self.rules.bar(scene=self.scenery.is_known)

    @cached_property
    def possible(self) -> list[Candidate]:
        """The identities most alike of those that can be it, best first."""
        return self._nearest(replace(self._considered, not_identities=[*self.excuses, *self.unborn]))

    def ruled_out(self, *, above: float) -> tuple[RuledOut, ...]:
        """Those of more likeness than that who cannot be it, though they reach the cosine."""
        known = [name for name in self.excuses if name not in self.unborn]
        alike = takewhile(
            lambda one: one.likeness > above + TIE, self._nearest(replace(self._considered, identities=known))
        )
        return tuple(
            RuledOut(one.identity, one.score, self.excuses[one.identity])
            for one in alike
            if one.score >= self.bar.cosine
        )

    def may_be_one(self, one: Candidate, other: Candidate) -> bool:
        """Whether two identities look like one person, and were never where one person cannot have been."""
        cosine, likeness = float(one.entry.vector @ other.entry.vector), float(one.direction @ other.direction)
        if not self.bar.is_reached(cosine, likeness):
            return False
        both = Where(identities=[one.identity, other.identity])
        seen = [hit for hit in hits_in(self.gallery, self.sighting, both) if hit.id != self.ignored]
        return not whereabouts_of(seen).excluded(0, self.rules).all()

    @property
    def _considered(self) -> Where:
        forget_s = self.rules.forget_s
        return Where() if forget_s is None else Where(since_s=self.sighting.first_s - forget_s)

    def _nearest(self, where: Where) -> list[Candidate]:
        """Best first, by likeness."""
        entries = self.gallery.fetch([hit.id for hit in self._near(where)])
        best: dict[str, Candidate] = {}
        for one in sorted(self._compared(entries), key=lambda one: (-one.likeness, one.entry.id)):
            best.setdefault(one.identity, one)
        return list(best.values())

    def _compared(self, entries: Sequence[Entry]) -> list[Candidate]:
        if not entries:
            return []
        vectors = np.stack([entry.vector for entry in entries]).astype(np.float64)
        directions = self.scenery.directions([entry.camera for entry in entries], vectors)
        scores = _cosines(vectors, self.sighting.vector)
        likenesses = _cosines(directions, self._direction) if self.scenery.is_known else scores
        return [Candidate(*found) for found in zip(entries, directions, scores, likenesses, strict=True)]

    @cached_property
    def _direction(self) -> Floats:
        """(D,) what makes the visit different from whatever else its camera shows; zeros where nothing does."""
        return np.asarray(self.scenery.directions([self.sighting.camera], self.sighting.vector[None])[0])

    def _near(self, where: Where) -> list[Hit]:
        """Some entries of each of the identities that lie furthest in the direction of the visit.

        Everybody a camera shows scores alike, and a thousand of them may come before the one who was seen by another:
        so they are not looked for by the cosine. Another search goes past those who filled the one before.
        """
        found: dict[str, list[Hit]] = {}
        for _ in range(SEARCHES):
            asked = replace(where, not_identities=[*where.not_identities, *found])
            hits = self.gallery.search(self._towards, top_k=AT_ONCE, where=asked)[0]
            for hit in hits:
                if hit.id != self.ignored:
                    found.setdefault(hit.identity, []).append(hit)
            if len(found) >= WANTED or len(hits) < AT_ONCE:
                break
        return [hit for hits in islice(found.values(), WANTED) for hit in hits[:OF_EACH]]

    @property
    def _towards(self) -> Embeddings:
        seen, direction = self.sighting.embedding, self._direction
        return replace(seen, vectors=np.asarray(direction[None], np.float32)) if direction.any() else seen


def _cosines(rows: Floats, row: Floats) -> list[float]:
    """Each summed in the same order, so that one is the same to the last bit whichever others are beside it."""
    cosines: list[float] = (rows * row).sum(axis=1).clip(-1, 1).tolist()
    return cosines


def look_up(
    gallery: Gallery,
    sighting: Sighting,
    *,
    rules: MemoryRules,
    scenery: Scenery,
    ignored: str | None = None,
    unborn: Collection[str] = (),
) -> Lookup:
    excuses = {**_elsewhere(gallery, sighting, rules, ignored), **_here_already(gallery, sighting, ignored)}
    return Lookup(gallery, sighting, rules, scenery, excuses, ignored, unborn)


def _here_already(gallery: Gallery, sighting: Sighting, ignored: str | None) -> dict[str, str]:
    """Whoever this camera saw at the same time: nobody is in two places of one view at once."""
    during = Where(cameras=[sighting.camera], since_s=sighting.first_s, until_s=sighting.last_s)
    hits = [hit for hit in hits_in(gallery, sighting, during) if hit.id != ignored]
    stays, times = Stays.of(hits), (sighting.first_s, sighting.last_s)
    told = zip(hits, stays.overlaps_s(*times), stays.at_once(*times), strict=True)
    return {
        hit.identity: f"was before the same camera at the same time, for {overlap_s:.2f} s"
        for hit, overlap_s, excluded in told
        if excluded
    }


def _elsewhere(gallery: Gallery, sighting: Sighting, rules: MemoryRules, ignored: str | None) -> dict[str, str]:
    """Whoever another camera saw so shortly before or after that they cannot have come from there."""
    if rules.travel_s is None:
        return {}
    around = Where(
        not_cameras=[sighting.camera],
        since_s=sighting.first_s - rules.travel_s,
        until_s=sighting.last_s + rules.travel_s,
    )
    hits = [hit for hit in hits_in(gallery, sighting, around) if hit.id != ignored]
    stays, times = Stays.of(hits), (sighting.first_s, sighting.last_s)
    told = zip(hits, np.maximum(-stays.overlaps_s(*times), 0), stays.too_soon(*times, rules.travel_s), strict=True)
    return {
        hit.identity: f"was before {hit.camera} {gap_s:.2f} s apart, and the way takes {rules.travel_s:g} s"
        for hit, gap_s, excluded in told
        if excluded
    }
