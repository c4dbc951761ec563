"""Keeping a visit, in an order in which a kill between any two steps loses and doubles nothing.

Its folder first, for it is all that is known; then its entry in the gallery, which decides who it is; then the event,
which tells the world. A replay of the same visit finds each step done and gives the same answer.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.gallery.gallery import Gallery
from sightline.pipeline.people.event_log import EventLog, read_lines
from sightline.pipeline.people.events import merge_event, visit_event
from sightline.pipeline.people.late_merges import merge_late, propose
from sightline.pipeline.people.memory import Memory
from sightline.pipeline.people.memory_rules import MemoryRules
from sightline.pipeline.people.plans import View
from sightline.pipeline.people.visits import Decision, RuledOut, Visit
from sightline.pipeline.people.visits_folder import keep_visit
from sightline.types import FloatArray

EVENTS = "events.jsonl"
AT_ONCE = 500  # entries asked for


class Keeper:
    """Where the visits of one run go."""

    def __init__(self, folder: Path, *, memory: Memory, log: EventLog) -> None:
        self._folder, self._memory, self._log = folder, memory, log
        self.verdicts: Counter[str] = Counter()

    def __call__(self, visit: Visit, view: View) -> Decision:
        keep_visit(self._folder, visit, size_hw=view.size_hw)
        kept = self._memory.decide_and_keep(visit, start_s=view.plan.start_s, scene=view.scene)
        event = visit_event(
            visit,
            kept.decision,
            visit_id=kept.visit_id,
            entry_id=kept.entry_id,
            start_s=view.plan.start_s,
            at_s=time.time(),
        )
        self._log.append(event)
        self.verdicts[kept.decision.verdict] += 1
        return kept.decision


def settle_late(
    gallery: Gallery, log: EventLog, *, rules: MemoryRules, run_id: str, scenes: Mapping[str, FloatArray] | None = None
) -> int:
    """Merge identities that turned out to be one, until there are none, and tell it; how many merges that took.

    `scenes` are the vectors (D,) of cameras' places without anybody.
    """
    count = 0
    while changes := [
        (change, one) for one in propose(gallery, rules=rules, scenes=scenes) for change in merge_late(gallery, [one])
    ]:
        for change, proposal in changes:
            at_s = time.time()
            log.append(
                merge_event(change, score=proposal.score, threshold=proposal.threshold, run_id=run_id, at_s=at_s)
            )
        count += len(changes)
    return count


def decisions_in(path: Path, gallery: Gallery) -> dict[tuple[str, int], Decision]:
    """What was decided about every visit, by camera and number; identities are called what the gallery calls them now.

    Whoever was merged or renamed since is so here; of an entry that was deleted, the event is believed.
    """
    told = {line.event.id: line.event.fields for line in read_lines(path)} if path.exists() else {}
    visits = [fields for fields in told.values() if fields["type"] == "visit"]
    names = _names_now(gallery, [fields["embedding"]["ref"] for fields in visits if _is_kept(fields)])
    return {
        (fields["sensorId"], fields["trackId"]): _decision(
            fields, identity=names.get(fields["embedding"]["ref"]) if _is_kept(fields) else None
        )
        for fields in visits
    }


def _is_kept(fields: Mapping[str, Any]) -> bool:
    return fields["embedding"] is not None and fields["embedding"]["ref"] is not None


def _names_now(gallery: Gallery, entry_ids: Sequence[str]) -> dict[str, str]:
    parts = (entry_ids[start : start + AT_ONCE] for start in range(0, len(entry_ids), AT_ONCE))
    return {entry.id: entry.identity for part in parts for entry in gallery.fetch(part)}


def _decision(fields: Mapping[str, Any], *, identity: str | None) -> Decision:
    runner_up = fields["runnerUp"] or {"identity": None, "score": None}
    return Decision(
        verdict=fields["decision"],
        identity=identity or fields["identity"],
        reason=fields["reason"],
        threshold=fields["threshold"],
        nearest=fields["nearest"],
        score=fields["score"],
        runner_up=runner_up["identity"],
        runner_up_score=runner_up["score"],
        likeness=fields["likeness"],
        ruled_out=tuple(RuledOut(**one) for one in fields["ruledOut"]),
    )
