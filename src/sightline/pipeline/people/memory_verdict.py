"""From likenesses to a decision, and the sentence that says why."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from sightline.gallery.gallery import Hit
from sightline.pipeline.people.memory_lookup import Lookup
from sightline.pipeline.people.memory_rules import MemoryRules
from sightline.pipeline.people.visits import Decision, Verdict, Visit

NO_CROP = Decision("unknown", None, "no crop of it shows anybody who could be recognised")


def decided(lookup: Lookup) -> tuple[Decision, Hit | None]:
    """What follows from the gallery, and the entry most alike. Who is new has no name yet."""
    nearest, runner_up, *_ = (*islice(lookup.possible(), 2), None, None)
    verdict, reason = _verdict(nearest, runner_up, lookup.rules)
    recognised = nearest if verdict == "matched" else None
    decision = Decision(
        verdict,
        recognised.identity if recognised else None,
        reason,
        lookup.rules.threshold,
        *_named(nearest),
        *_named(runner_up),
        ruled_out=lookup.ruled_out(above=recognised.score if recognised else lookup.rules.threshold),
    )
    return decision, nearest


def _named(hit: Hit | None) -> tuple[str | None, float | None]:
    return (None, None) if hit is None else (hit.identity, hit.score)


def _verdict(nearest: Hit | None, runner_up: Hit | None, rules: MemoryRules) -> tuple[Verdict, str]:
    if nearest is None:
        return "new", "the gallery has nobody who could be it"
    scores = f"{nearest.identity} scores {nearest.score:.4f}"
    if nearest.score < rules.threshold:
        return "new", f"the nearest, {scores}, below the threshold {rules.threshold:.4f}"
    passed = f"{scores}, over the threshold {rules.threshold:.4f}"
    if runner_up is None:
        return "matched", f"{passed}, and nobody else could be it"
    ahead = f"{nearest.score - runner_up.score:.4f} ahead of {runner_up.identity}"
    if rules.is_ahead(nearest.score, runner_up.score):
        return "matched", f"{passed} and {ahead}"
    return "unknown", f"{passed}, but only {ahead}; wanted {rules.margin:.4f}"


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
