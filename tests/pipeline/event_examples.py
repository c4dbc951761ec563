"""Visits and events for the tests of where they go."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np

from sightline.gallery.gallery import Change
from sightline.pipeline.people.events import Event, merge_event, visit_event
from sightline.pipeline.people.visits import Decision, RuledOut, Visit
from sightline.types import Embeddings, Tracklet

START_S = 1_773_480_400.0  # 2026-03-14 09:26:40 UTC
RUN = "run-1"
VISIT_ID = "5f0c1f0e-7a43-5b7e-9d1c-3f1f6f0a2b11"
MATCHED = Decision(
    "matched",
    "person-3",
    "person-3 scores 0.8312, over the threshold 0.7000, and with the scene taken out 0.6421, over 0.5000 and "
    "0.1830 ahead of person-5",
    threshold=0.7,
    nearest="person-3",
    score=0.8312,
    runner_up="person-5",
    runner_up_score=0.7108,
    likeness=0.6421,
    ruled_out=(RuledOut("person-1", 0.9015, "was in this view at the same time"),),
)
NOBODY = Decision("unknown", None, "no crop is clear enough")


def visit(
    number: int = 12,
    *,
    camera: str = "front door",
    embedded: bool = True,
    vector: tuple[float, ...] = (0.5, -0.5, 0.1, 0.7),
    **given: Any,
) -> Visit:
    """Three frames at ten frames a second from 0.5 s on."""
    boxes = np.array([[100, 50, 140, 150], [102, 50.25, 142, 150.25], [104, 50.5, 144, 150.5]], np.float32)
    tracklet = Tracklet(
        40,
        camera,
        np.array([5, 6, 7]),
        np.array([0.5, 0.6, 0.7]),
        boxes,
        np.full(3, 0.9, np.float32),
        Embeddings(np.array([vector], np.float32), "3c1a5a2e9f0d4b77", normalised=True) if embedded else None,
    )
    return Visit(number, tracklet, count=2 if embedded else 0, **given)


def example(decision: Decision = MATCHED, *, with_vector: bool = False, **given: Any) -> Event:
    """The visit of the documentation."""
    ids = {"visit_id": VISIT_ID, "entry_id": VISIT_ID if decision.identity else None}
    return visit_event(visit(**given), decision, **ids, start_s=START_S, at_s=START_S + 17.25, with_vector=with_vector)


def merge(run_id: str = RUN) -> Event:
    change = Change("merge", "person-3", {"person-7": ("person-7", "0b8f6c1e-2f7a-5b65-8a1d-51b9f5d3c0aa")})
    return merge_event(change, score=0.8467, threshold=0.7, run_id=run_id, at_s=1_773_482_400.0)


def numbered(number: int, *, camera: str = "gate") -> Event:
    """One of many, no two of one id."""
    name = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{camera}/{number}"))
    decision = Decision("new", f"person-{number}", "nobody is known yet", threshold=0.7)
    return visit_event(
        visit(number, camera=camera), decision, visit_id=name, entry_id=name, start_s=START_S, at_s=START_S + number
    )
