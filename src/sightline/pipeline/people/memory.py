"""Who a visit is: somebody the gallery knows, or somebody new, and why.

A visit of which the gallery has an entry already is answered as it was before and adds nothing, so that a run that was
killed can go over its last visits again. Any number of processes may keep visits in one gallery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sightline.errors import EntryExistsError, GalleryError
from sightline.gallery.gallery import Entry, Gallery, Hit, Space, Where
from sightline.pipeline.people.memory_census import scenery_of
from sightline.pipeline.people.memory_entries import Sighting, entry_of, is_of_visit, number_of, person, visit_id_of
from sightline.pipeline.people.memory_lookup import hits_in, look_up
from sightline.pipeline.people.memory_rules import MemoryRules
from sightline.pipeline.people.memory_verdict import NO_CROP, as_before, continued, decided, left_open
from sightline.pipeline.people.visits import Decision, Visit
from sightline.types import FloatArray

__all__ = ["Memory", "MemoryRules", "Remembered"]

SAME = 1e-5  # vectors whose cosine is closer to 1 are of the same crops
REST_WITHIN_S = 600.0  # after the end of a visit its rest begins; trackers wait for seconds
NAMES_AT_ONCE = 1000


@dataclass(frozen=True)
class Remembered:
    """What became of a visit."""

    visit_id: str  # a UUID, the same on every replay
    entry_id: str | None  # in the gallery; None: nothing was kept
    decision: Decision


class Memory:
    """The way of one run into a gallery, for one thread at a time."""

    def __init__(
        self,
        gallery: Gallery,
        *,
        space: Space,
        run_id: str,
        rules: MemoryRules,
        scenes: Mapping[str, FloatArray] | None = None,
    ) -> None:
        """`scenes` are the vectors (D,) of cameras' places without anybody, those known already.

        Raises `GalleryError` for a gallery of another model, and for single crops: visits are averages.
        """
        if space.aggregation != "averaged":
            raise GalleryError(f"visits are averages of crops and no {space}; expected a space of averaged vectors")
        gallery.add([], space=space)  # adds nothing, and refuses now rather than after an hour
        self._gallery, self._space, self._run_id, self._rules = gallery, space, run_id, rules
        self._scenery = scenery_of(gallery, scenes)
        self._next_number = 1  # of a new identity; those below are taken

    def decide_and_keep(self, visit: Visit, *, start_s: float, scene: FloatArray | None = None) -> Remembered:
        """Find out who it is, and keep an entry of it, which is durable when this returns.

        `start_s`: when the source began, in seconds since 1970. `scene`: how the place looks without anybody, (D,).
        Raises `GalleryError` for a vector of another model.
        """
        self._scenery.tell_empty(visit.camera, scene)
        visit_id = self._visit_id(visit.camera, visit.number)
        if visit.tracklet.embedding is None:
            return Remembered(visit_id, None, NO_CROP)
        self._require_space(visit.tracklet.embedding.fingerprint)
        times = (start_s + visit.first_s, start_s + visit.last_s)
        sighting = Sighting(visit_id, visit.tracklet.embedding, visit.camera, *times)
        earlier, kept = self._earlier_part(visit, sighting), self._kept(sighting)
        if kept is not None:
            return self._replayed(visit, sighting, kept, earlier)
        if earlier is not None:
            return self._join(visit, sighting, continued(visit, earlier.identity), like=earlier)
        return self._decide(visit, sighting)

    def _visit_id(self, camera: str, number: int) -> str:
        return visit_id_of(self._run_id, camera, number)

    def _require_space(self, fingerprint: str) -> None:
        if fingerprint != self._space.fingerprint:
            raise GalleryError(f"the visit's vector is by model {fingerprint[:16]}; expected {self._space}")

    # What the gallery has of it already

    def _kept(self, sighting: Sighting) -> Entry | Hit | None:
        """Its entry, or that of another run over the same footage: the same place, time and vector."""
        times = (sighting.first_s, sighting.last_s)
        meanwhile = Where(cameras=[sighting.camera], since_s=sighting.first_s, until_s=sighting.last_s)
        hits = hits_in(self._gallery, sighting, meanwhile)
        same = (hit for hit in hits if (hit.first_s, hit.last_s) == times and hit.score > 1 - SAME)
        return self._entry_of(sighting.visit_id, hits) or next(same, None)

    def _earlier_part(self, visit: Visit, sighting: Sighting) -> Entry | None:
        """The entry of the visit that this one is the rest of."""
        if visit.continues is None:
            return None
        before = Where(cameras=[visit.camera], since_s=sighting.first_s - REST_WITHIN_S, until_s=sighting.first_s)
        visit_id = self._visit_id(visit.camera, visit.continues)
        return self._entry_of(visit_id, hits_in(self._gallery, sighting, before))

    def _entry_of(self, visit_id: str, hits: Sequence[Hit]) -> Entry | None:
        """By its id; where it made an identity, and so has that one's name for an id, it is among the hits."""
        firsts = [hit.id for hit in hits if number_of(hit.id) is not None]
        entries = self._gallery.fetch([visit_id, *firsts])
        return next((entry for entry in entries if is_of_visit(entry, visit_id)), None)

    def _replayed(self, visit: Visit, sighting: Sighting, kept: Entry | Hit, earlier: Entry | None) -> Remembered:
        """The same again, in the numbers as they are without its own entry."""
        if earlier is not None:
            return Remembered(sighting.visit_id, kept.id, continued(visit, kept.identity))
        first = number_of(kept.id) is not None
        unborn = [kept.identity] if first else []
        scenery = self._scenery.without(kept.camera, kept.id)
        lookup = look_up(self._gallery, sighting, rules=self._rules, scenery=scenery, ignored=kept.id, unborn=unborn)
        decision = as_before(decided(lookup)[0], kept.identity, first=first)
        return Remembered(sighting.visit_id, kept.id, decision)

    # Decide and keep

    def _decide(self, visit: Visit, sighting: Sighting) -> Remembered:
        lookup = look_up(self._gallery, sighting, rules=self._rules, scenery=self._scenery)
        decision, recognised = decided(lookup)
        if recognised is not None:
            return self._join(visit, sighting, decision, like=recognised)
        if visit.count < self._rules.least_crops:
            open_still = left_open(decision, crops=visit.count, rules=self._rules)
            return Remembered(sighting.visit_id, None, open_still)
        name = self._found(visit, sighting)
        return Remembered(sighting.visit_id, name, replace(decision, identity=name))

    def _join(self, visit: Visit, sighting: Sighting, decision: Decision, *, like: Entry) -> Remembered:
        """Keep it with another entry's identity, also where that was renamed or merged a moment ago."""
        entry = entry_of(visit, sighting, entry_id=sighting.visit_id, identity=like.identity)
        self._add(entry)
        for now in self._gallery.fetch([like.id]):
            if now.identity != like.identity:
                self._gallery.split(like.identity, [entry.id], into=now.identity)
                decision = replace(decision, identity=now.identity)
        return Remembered(sighting.visit_id, entry.id, decision)

    def _add(self, entry: Entry) -> None:
        self._gallery.add([entry], space=self._space)
        self._scenery.tell_person(entry.camera, entry.identity, entry.id, entry.vector)

    def _found(self, visit: Visit, sighting: Sighting) -> str:
        """Make a new identity; its name.

        The name is its first entry's id too, and no store takes an id twice: so two processes never give the same name.
        """
        while True:
            name = self._free_name()
            try:
                self._add(entry_of(visit, sighting, entry_id=name, identity=name))
            except EntryExistsError:  # another process was first
                continue
            return name

    def _free_name(self) -> str:
        """Above all numbers there are, so that nobody gets the name of somebody who was deleted among them."""
        while taken := self._gallery.ids(Where(ids=self._next_names())):
            self._next_number = 1 + max(number_of(name) or 0 for name in taken)
        while self._gallery.ids(Where(identities=[person(self._next_number)])):  # somebody was renamed to it
            self._next_number += 1
        return person(self._next_number)

    def _next_names(self) -> list[str]:
        return [person(number) for number in range(self._next_number, self._next_number + NAMES_AT_ONCE)]
