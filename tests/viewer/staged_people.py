"""Pages of a few people to look at."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sightline.synth.people import people_dataset
from sightline.types import FloatArray, Image
from sightline.viewer.page import PageNotes, PersonOnPage, write_person_page

NOTES = PageNotes("lobby & gate", "osnet.onnx", "onnx", "sha256:0f1e", 0.7, True, "lobby.mp4")


@cache
def crops_of(person: int, count: int = 3) -> tuple[Image, ...]:
    shots = people_dataset(person, 1, count, seed=4, size_hw=(64, 32))
    return tuple(shot.image for shot in shots if shot.person_id == person)


def person(
    person_id: str, *, first: float = 0.0, frames: Sequence[int] | None = None, crops: int = 3, **known: Any
) -> PersonOnPage:
    """Seen for a second; of any two ids the pictures are most likely of two people."""
    number = sum(person_id.encode("utf-8", "surrogatepass")) % 6 + 1
    numbers = None if frames is None else np.array(frames, np.int64)
    return PersonOnPage(person_id, crops_of(number, max(crops, 1))[:crops], first, first + 1.0, numbers, **known)


def similarity(count: int, pairs: dict[tuple[int, int], float] | None = None, *, others: float = 0.2) -> FloatArray:
    scores = np.full((count, count), others, np.float32)
    np.fill_diagonal(scores, 1.0)
    for (i, j), score in (pairs or {}).items():
        scores[i, j] = scores[j, i] = score
    return scores


def stage(
    folder: Path,
    people: Sequence[PersonOnPage],
    scores: dict[tuple[int, int], float] | None = None,
    *,
    notes: PageNotes = NOTES,
    **options: Any,
) -> Path:
    alike = similarity(len(people), scores)
    return write_person_page(folder, people, similarity=alike, notes=notes, clip_size=(64, 64), **options)


def data_of(page: Path) -> dict[str, Any]:
    """What the script of the page is told."""
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    assert isinstance(data, dict)
    return data
