"""From likenesses to a decision, and the sentence that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sightline.gallery.gallery import Entry
from sightline.pipeline.people.memory_entries import number_of
from sightline.pipeline.people.memory_lookup import Candidate, Lookup
from sightline.pipeline.people.memory_rules import Bar, MemoryRules
from sightline.pipeline.people.visits import Decision, Verdict, Visit

NO_CROP = Decision("unknown", None, "no crop of it shows anybody who could be recognised")


@dataclass(frozen=True)
class _Answer:
    verdict: Verdict
    reason: str
    whose: Candidate | None = None  # recognised


def decided(lookup: Lookup) -> tuple[Decision, Entry | None]:
    """What follows from the gallery, and an entry of whom it was recognised as. Who is new has no name yet."""
    nearest, runner_up, *_ = (*lookup.possible[:2], None, None)
    answer, bar = _answer(lookup), lookup.bar
    decision = Decision(
        answer.verdict,
        answer.whose.identity if answer.whose else None,
        answer.reason,
        bar.cosine,
        *_named(nearest),
        *_named(runner_up),
        None if nearest is None or bar.likeness is None else nearest.likeness,
        ruled_out=lookup.ruled_out(above=answer.whose.likeness if answer.whose else bar.least),
    )
    return decision, answer.whose.entry if answer.whose else None


def _named(one: Candidate | None) -> tuple[str | None, float | None]:
    return (None, None) if one is None else (one.identity, one.score)


def _answer(lookup: Lookup) -> _Answer:
    if not lookup.possible:
        return _Answer("new", "the gallery has nobody who could be it")
    [nearest, *others], bar = lookup.possible, lookup.bar
    if not bar.is_reached(nearest.score, nearest.likeness):
        return _Answer("new", f"the nearest, {nearest.identity}, scores {_below(nearest, bar)}")
    passed = _above(nearest, bar)
    if not others:
        return _Answer("matched", f"{passed}, and nobody else could be it", nearest)
    rivals = [one for one in others if nearest.likeness - one.likeness < lookup.rules.lead]
    if not rivals:
        return _Answer("matched", f"{passed} and {_ahead(nearest, others[0])}", nearest)
    strangers = [one for one in rivals if not lookup.may_be_one(nearest, one)]
    if strangers:
        wanted = f"wanted {lookup.rules.margin:.4f}"
        return _Answer("unknown", f"{passed}, but only {_ahead(nearest, strangers[0])}; {wanted}")
    return _one_of_several(passed, nearest, rivals, bar)


def _one_of_several(passed: str, nearest: Candidate, rivals: Sequence[Candidate], bar: Bar) -> _Answer:
    """Of somebody whom the gallery has under several names: the oldest that this visit alone would have been given.

    To leave it open would make yet another name of them, and one more at every visit from then on.
    """
    reached = [nearest, *(one for one in rivals if bar.is_reached(one.score, one.likeness))]
    oldest = min(reached, key=lambda one: number_of(one.identity) or 0)
    same = f"{passed}, and only {_ahead(nearest, rivals[0])}, who looks the same and was never seen beside them"
    return _Answer("matched", same if oldest is nearest else f"{same}; {oldest.identity} is the older name", oldest)


# In words


def _above(one: Candidate, bar: Bar) -> str:
    passed = f"{one.identity} scores {one.score:.4f}, over the threshold {bar.cosine:.4f}"
    if bar.likeness is None:
        return passed
    return f"{passed}, and with the scene taken out {one.likeness:.4f}, over {bar.likeness:.4f}"


def _below(one: Candidate, bar: Bar) -> str:
    if one.score < bar.cosine or bar.likeness is None:
        return f"{one.score:.4f}, below the threshold {bar.cosine:.4f}"
    passed = f"{one.score:.4f}, over the threshold {bar.cosine:.4f}"
    return f"{passed}, but with the scene taken out only {one.likeness:.4f}; wanted {bar.likeness:.4f}"


def _ahead(one: Candidate, other: Candidate) -> str:
    return f"{one.likeness - other.likeness:.4f} ahead of {other.identity}"


# In other cases


def left_open(decision: Decision, *, crops: int, rules: MemoryRules) -> Decision:
    """Of somebody who was not recognised, and of whom there is too little to know them by the next time."""
    counted = "1 clear crop makes" if crops == 1 else f"{crops} clear crops make"
    reason = f"{decision.reason}, and {counted} no new identity; wanted {rules.least_crops}"
    return replace(decision, verdict="unknown", reason=reason)


def continued(visit: Visit, identity: str) -> Decision:
    return Decision("continued", identity, f"it is the rest of visit {visit.continues}, which is of {identity}")


def as_before(again: Decision, identity: str, *, first: bool) -> Decision:
    """What was decided about a visit that is in the gallery as `identity`, where today's answer is `again`.

    `first`: it made the identity, so it was no match. Where the gallery has changed so much since that the answer would
    be another one, what was decided stands.
    """
    if again.verdict != "matched" if first else again.identity == identity:
        return replace(again, identity=identity)
    verdict: Verdict = "new" if first else "matched"
    reason = f"it was taken for {identity} before; by now, {again.reason}"
    return replace(again, verdict=verdict, identity=identity, reason=reason)
