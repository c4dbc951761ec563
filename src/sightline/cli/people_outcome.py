"""The page of `sightline people`: a card for everybody who was given a name, however often and wherever they came.

Made of the folder of visits in one pass without pictures; then the best ones of everybody are read, and no more of them
than the page shows.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from sightline.errors import ImageError
from sightline.images import read_image, resize
from sightline.pipeline.cluster import CLIP_CROPS, USUAL_THRESHOLD
from sightline.pipeline.people.people_file import Decisions, VisitFacts, best_crops, by_identity, facts_of
from sightline.pipeline.people.visits_folder import read_visits
from sightline.reid.similarity import ModelUsed
from sightline.reid.thresholds import Limit
from sightline.types import FloatArray, Image, Tracklet
from sightline.viewer.page import PageNotes, PersonOnPage, write_person_page

log = logging.getLogger(__name__)

CROPS = 24  # pictures of one person, at most


def notes_of(model: ModelUsed, limit: Limit, *, title: str, video: str = "") -> PageNotes:
    """What the page says of its scores. `limit` is the threshold that visits were matched by."""
    return PageNotes(
        title=title,
        model=model.model,
        model_type=model.model_type,
        fingerprint=model.fingerprint,
        threshold=USUAL_THRESHOLD if limit.value is None else limit.value,
        calibrated=limit.far is not None,
        video=video,
    )


def write_people_page(
    out: Path,
    decisions: Decisions,
    *,
    starts_s: Mapping[str, float],
    notes: PageNotes,
    top: int = 10,
    crops: int = CROPS,
    clip_ms: int = 250,
    clip_size: tuple[int, int] = (256, 256),
) -> Path:
    """`person_selection.html`, `webp/` and `tracks.npz` in `out`, of the visits kept there.

    `starts_s` is when each camera's source started, in seconds since 1970; times on the page count from the earliest.
    Visits of nobody in particular are not on the page, which says how many they are.
    """
    crowd = _crowd(out, decisions, starts_s=starts_s)
    bounded = max(1, min(crops, CLIP_CROPS // max(1, len(crowd.people))))
    epoch_s = min(starts_s.values(), default=0.0)
    people = [
        _on_page(
            identity,
            visits,
            crowd.tracks[identity],
            epoch_s=epoch_s,
            crops=_clip(out, visits, crops=bounded, within_wh=clip_size),
        )
        for identity, visits in crowd.people.items()
    ]
    return write_person_page(
        out,
        people,
        similarity=_similarity([crowd.vectors.get(identity) for identity in crowd.people]),
        notes=replace(notes, remark=_remark(crowd.unknown)),
        top=top,
        clip_ms=clip_ms,
        clip_size=clip_size,
    )


# Everybody, without pictures


@dataclass
class _Crowd:
    """`people` are in the order of the page; the other fields have what is known of them by identity."""

    people: dict[str, list[VisitFacts]] = field(default_factory=dict)
    tracks: dict[str, list[Tracklet]] = field(default_factory=lambda: defaultdict(list))
    vectors: dict[str, FloatArray] = field(default_factory=dict)  # (D,) the sum over visits
    unknown: int = 0


def _crowd(out: Path, decisions: Decisions, *, starts_s: Mapping[str, float]) -> _Crowd:
    crowd, visits = _Crowd(), list[VisitFacts]()
    for visit in read_visits(out, crops=False):
        decision = decisions.get((visit.camera, visit.number))
        facts = facts_of(visit, decision, start_s=starts_s.get(visit.camera, 0.0))
        visits.append(facts)
        if facts.identity is None:
            crowd.unknown += 1
            continue
        crowd.tracks[facts.identity].append(visit.tracklet)
        if visit.tracklet.embedding is not None:
            vector = visit.tracklet.embedding.vectors.sum(axis=0)
            crowd.vectors[facts.identity] = crowd.vectors.get(facts.identity, np.zeros_like(vector)) + vector
    crowd.people = by_identity(visits)
    return crowd


def _similarity(sums: Sequence[FloatArray | None]) -> FloatArray:
    """The cosine of everybody's averaged vectors with everybody's; NaN where somebody has none."""
    known = {place: total for place, total in enumerate(sums) if total is not None and total.any()}
    scores = np.full((len(sums), len(sums)), np.nan, np.float32)
    if known:
        vectors = np.stack([total / np.linalg.norm(total) for total in known.values()])
        scores[np.ix_(list(known), list(known))] = np.clip(vectors @ vectors.T, -1, 1)
    return scores


def _remark(unknown: int) -> str:
    if not unknown:
        return ""
    visits = "1 visit was" if unknown == 1 else f"{unknown} visits were"
    stay = "is" if unknown == 1 else "are"
    return f"{visits} of nobody who could be named and {stay} not on this page; people.json says why."


# One of them


def _on_page(
    identity: str, visits: Sequence[VisitFacts], tracks: Iterable[Tracklet], *, epoch_s: float, crops: tuple[Image, ...]
) -> PersonOnPage:
    in_order = sorted(tracks, key=lambda track: (track.source, int(track.frames[0])))
    return PersonOnPage(
        identity,
        crops,
        first_s=min(visit.moments_s[0] for visit in visits) - epoch_s,
        last_s=max(visit.moments_s[1] for visit in visits) - epoch_s,
        frames=np.concatenate([track.frames for track in in_order]),
        boxes_xyxy=np.concatenate([track.boxes_xyxy for track in in_order]),
        confidences=np.concatenate([track.scores for track in in_order]),
        quality=max(visit.quality for visit in visits),
        row_cameras=[track.source for track in in_order for _ in track.frames],
        seconds=sum(visit.seconds for visit in visits),
        visits=len(visits),
    )


def _clip(out: Path, visits: Sequence[VisitFacts], *, crops: int, within_wh: tuple[int, int]) -> tuple[Image, ...]:
    """The best pictures of somebody, in order of time, none larger than the clip they are for."""
    chosen = set(islice(best_crops(visits), crops))
    in_time = [crop for visit in visits for crop in sorted(visit.crops) if crop in chosen]
    return tuple(_pictures((out / crop for crop in in_time), within_wh=within_wh))


def _pictures(files: Iterable[Path], *, within_wh: tuple[int, int]) -> Iterator[Image]:
    """One that cannot be read is named in a warning and left out."""
    for file in files:
        try:
            image = read_image(file)
        except ImageError as exc:
            log.warning("%s; the page does without it", exc)
            continue
        height, width = image.shape[:2]
        factor = min(1.0, within_wh[0] / width, within_wh[1] / height)
        yield image if factor == 1.0 else resize(image, (max(1, round(height * factor)), max(1, round(width * factor))))
