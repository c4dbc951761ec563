"""Whom a gallery knows that a visit may be of, the most alike first, and who cannot be it.

Every question goes to the gallery, and its answer is forgotten with the visit: other processes, and people, rename and
merge identities at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from sightline.gallery.gallery import Gallery, Hit, Where
from sightline.pipeline.people.memory_entries import Sighting
from sightline.pipeline.people.memory_rules import MemoryRules, Stays
from sightline.pipeline.people.visits import RuledOut

EVERY_ONE = 1 << 31  # hits: no gallery holds so many


def hits_in(gallery: Gallery, sighting: Sighting, where: Where) -> list[Hit]:
    """Every entry there is of a `where` that few fit, with its likeness and without its picture."""
    return gallery.search(sighting.embedding, top_k=EVERY_ONE, where=where)[0]


@dataclass(frozen=True, eq=False)
class Lookup:
    """One question about one visit. What the visit itself has left in the gallery is to be `ignored`."""

    gallery: Gallery
    sighting: Sighting
    rules: MemoryRules
    excuses: dict[str, str]  # why somebody cannot be it, by identity
    ignored: str | None = None  # an entry
    unborn: Collection[str] = ()  # identities that did not exist before this visit

    def possible(self) -> Iterator[Hit]:
        """The best entry of each identity that can be it, best first."""
        return self._nearest(replace(self._considered, not_identities=[*self.excuses, *self.unborn]))

    def ruled_out(self, *, above: float) -> tuple[RuledOut, ...]:
        """Those who score higher than that and cannot be it."""
        known = [name for name in self.excuses if name not in self.unborn]
        hits = self._nearest(replace(self._considered, identities=known))
        better = takewhile(lambda hit: hit.score > above, hits)
        return tuple(RuledOut(hit.identity, hit.score, self.excuses[hit.identity]) for hit in better)

    @property
    def _considered(self) -> Where:
        forget_s = self.rules.forget_s
        return Where() if forget_s is None else Where(since_s=self.sighting.first_s - forget_s)

    def _nearest(self, where: Where) -> Iterator[Hit]:
        """One search an identity: so nobody hides behind the thousand entries of somebody else."""
        passed = list(where.not_identities)
        while True:
            asked = replace(where, not_identities=passed)
            hits = self.gallery.search(self.sighting.embedding, top_k=2, where=asked)[0]
            best = next((hit for hit in hits if hit.id != self.ignored), None)
            if best is None:
                return
            yield best
            passed.append(best.identity)


def look_up(
    gallery: Gallery,
    sighting: Sighting,
    *,
    rules: MemoryRules,
    ignored: str | None = None,
    unborn: Collection[str] = (),
) -> Lookup:
    excuses = {**_elsewhere(gallery, sighting, rules, ignored), **_here_already(gallery, sighting, ignored)}
    return Lookup(gallery, sighting, rules, excuses, ignored, unborn)


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
