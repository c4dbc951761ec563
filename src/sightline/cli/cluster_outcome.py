"""What `sightline cluster` leaves behind: the page, and what it says on the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.pipeline.cluster import USUAL_THRESHOLD, Crowd, Person, clips_of
from sightline.pipeline.cluster_config import Stage
from sightline.reid.merging import Merging
from sightline.reid.similarity import SimilarityResults
from sightline.reid.similarity_files import provenance
from sightline.reid.thresholds import Limit
from sightline.types import FloatArray, Image
from sightline.viewer.page import PageNotes, PersonOnPage, write_person_page

SHOWN = 10  # pairs and groups; all of them are in the files


@dataclass(frozen=True, eq=False)
class Outcome:
    """What there is to tell."""

    crowd: Crowd
    results: SimilarityResults | None
    merging: Merging | None
    limit: Limit  # the threshold, and what is known about it
    files: tuple[Path, ...]


def write_page(outcome: Outcome, stage: Stage, *, title: str) -> Path:
    people, results = outcome.crowd.people, outcome.results
    width, height = stage.resize_to
    clips = clips_of(people, crops=stage.crops_per_person, within_wh=(width, height))
    notes = PageNotes(
        title=title,
        model="none" if results is None else results["model"],
        model_type="none" if results is None else results["model_type"],
        fingerprint="" if results is None else results["fingerprint"],
        threshold=USUAL_THRESHOLD if outcome.limit.value is None else outcome.limit.value,
        calibrated=outcome.limit.far is not None,
        video=Path(stage.video_file or "").name,
    )
    return write_person_page(
        Path(stage.output_dir),
        [_on_page(person, clip) for person, clip in zip(people, clips, strict=True)],
        similarity=_not_compared(len(people)) if results is None else results["similarity_matrix"],
        notes=notes,
        top=stage.top_n_persons,
        clip_ms=stage.webp_duration_ms,
        clip_size=(width, height),
    )


def _not_compared(count: int) -> FloatArray:
    return np.full((count, count), np.nan, np.float32)


def _on_page(person: Person, clip: tuple[Image, ...]) -> PersonOnPage:
    seen, (first_s, last_s) = person.sightings, person.seen_s or (None, None)
    return PersonOnPage(
        person.person_id,
        clip,
        first_s,
        last_s,
        frames=None if seen is None else seen.frames,
        boxes_xyxy=None if seen is None else seen.boxes_xyxy,
        confidences=None if seen is None else seen.confidences,
        quality=person.quality,
        camera="" if seen is None else seen.camera,
    )


def tell(outcome: Outcome, *, as_json: bool, quiet: bool) -> None:
    crowd = outcome.crowd
    for reason in crowd.unreadable:
        print(f"sightline: skipped: {reason}", file=sys.stderr)
    for name in crowd.nobody:
        print(f"sightline: {name!r} is left out: no readable crop", file=sys.stderr)
    if as_json:
        print(json.dumps(_as_json(outcome), indent=2))
    elif not quiet:
        print("\n".join([*_lines(outcome), *map(str, outcome.files)]))


def _lines(outcome: Outcome) -> Iterator[str]:
    people, results = _counted(len(outcome.crowd.people), "person", "people"), outcome.results
    if results is None:
        yield f"{people}, not compared"
        return
    pairs, threshold = results["high_similarity_pairs"], results["similarity_threshold"]
    yield f"{people} compared by {results['model']} ({results['model_type']}), {results['similarity_form']}"
    yield f"{_counted(len(pairs), 'pair', 'pairs')} at {threshold:.4g} or above ({outcome.limit.source})"
    yield from (f"  {score:.3f}  {one} – {other}" for one, other, score in pairs[:SHOWN])
    if outcome.merging is not None:
        merges = outcome.merging.merges
        apart = _counted(len(outcome.merging.refused), "pair", "pairs")
        yield f"{_counted(len(merges), 'group', 'groups')} of one person each; {apart} alike but kept apart"
        yield from (f"  {', '.join(map(str, merge.persons))}" for merge in merges[:SHOWN])


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _as_json(outcome: Outcome) -> dict[str, Any]:
    results, limit = outcome.results, outcome.limit
    compared = {} if results is None else {**provenance(results), "similarity_form": results["similarity_form"]}
    return {
        "persons": [person.person_id for person in outcome.crowd.people],
        "left_out": list(outcome.crowd.nobody),
        "unreadable": list(outcome.crowd.unreadable),
        "similarity_threshold": limit.value,
        "calibrated": limit.far is not None,
        "threshold_source": limit.source,
        "high_similarity_pairs": [] if results is None else results["high_similarity_pairs"],
        "merges": None if outcome.merging is None else [list(merge.persons) for merge in outcome.merging.merges],
        **compared,
        "files": [str(path) for path in outcome.files],
    }
