"""What a run makes of the visits it kept: `tracks.csv`, every box of every visit, and `people.json`, who was seen when.

Both are made anew from the folder of visits and from what was decided about them, so a run that was stopped loses
nothing by making them once more. At no time is more than one visit in memory, and a few numbers of each other.

people.json:

    format      1
    sightline   the version that wrote it
    people      somebody each, whoever was seen longest first: identity, seconds, cameras, firstSeen, lastSeen, bestCrop
                and visits: camera, number (the id in tracks.csv, trackId in events), firstSeen, lastSeen (ISO 8601),
                firstSeenSeconds, lastSeenSeconds (of the source), frames, quality, crop, verdict, score, reason
    unknown     the visits of nobody in particular
    cameras     of each: camera, visits, people, unknown, frames (with a box, one for each box)
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from sightline._version import __version__
from sightline.files import output_error, replacing
from sightline.pipeline.people.memory_entries import number_of
from sightline.pipeline.people.visits import Decision, Visit
from sightline.pipeline.people.visits_folder import camera_folder, crop_file, read_visit, read_visits, visit_folder
from sightline.tracking.mot_files import MotRows, mot_rows, write_mot_parts
from sightline.types import FloatArray, IntArray

FORMAT = 1
PEOPLE = "people.json"
TRACKS = "tracks.csv"
IDENTITIES = "identities.csv"
CAMERAS = "cameras"
WINDOW = 5000  # frames whose boxes are in memory at a time

VisitKey = tuple[str, int]  # camera and number
Decisions = Mapping[VisitKey, Decision]  # identities as they are called after all merges


# Who was seen when


@dataclass(frozen=True)
class VisitFacts:
    """A visit without its pictures and boxes."""

    camera: str
    number: int
    first_s: float  # seconds from the start of the source
    last_s: float
    start_s: float  # of the source, since 1970
    frames: int
    quality: float
    crop_frames: tuple[int, ...]  # of its pictures, the largest first
    decision: Decision | None  # None: nobody has decided yet

    @property
    def identity(self) -> str | None:
        return None if self.decision is None else self.decision.identity

    @property
    def seconds(self) -> float:
        return self.last_s - self.first_s

    @property
    def moments_s(self) -> tuple[float, float]:
        """Its first and last, in seconds since 1970."""
        return self.start_s + self.first_s, self.start_s + self.last_s

    @property
    def crops(self) -> list[Path]:
        """Where its pictures lie, seen from OUT, the largest first."""
        where = visit_folder(self.camera, self.number)
        return [where / crop_file(frame) for frame in self.crop_frames]

    def to_json(self) -> dict[str, Any]:
        decision = self.decision
        return {
            "camera": self.camera,
            "number": self.number,
            "firstSeen": _iso(self.moments_s[0]),
            "lastSeen": _iso(self.moments_s[1]),
            "firstSeenSeconds": round(self.first_s, 3),
            "lastSeenSeconds": round(self.last_s, 3),
            "frames": self.frames,
            "quality": round(self.quality, 4),
            "crop": next((crop.as_posix() for crop in self.crops), None),
            "verdict": None if decision is None else decision.verdict,
            "score": None if decision is None or decision.score is None else round(decision.score, 4),
            "reason": "" if decision is None else decision.reason,
        }


def facts_of(visit: Visit, decision: Decision | None, *, start_s: float) -> VisitFacts:
    return VisitFacts(
        visit.camera,
        visit.number,
        first_s=visit.first_s,
        last_s=visit.last_s,
        start_s=start_s,
        frames=len(visit.tracklet.frames),
        quality=visit.quality,
        crop_frames=_largest_first(visit),
        decision=decision,
    )


def _largest_first(visit: Visit) -> tuple[int, ...]:
    """By their boxes, so that the pictures need not be read."""
    track = visit.tracklet
    rows = np.searchsorted(track.frames, visit.crop_frames).clip(max=len(track.frames) - 1)
    sides = track.boxes_xyxy[rows, 2:] - track.boxes_xyxy[rows, :2]
    return tuple(visit.crop_frames[place] for place in np.argsort(-sides.prod(axis=1), kind="stable"))


def write_people(out: Path, decisions: Decisions, *, starts_s: Mapping[str, float]) -> Path:
    """`people.json`. `starts_s` has every camera of the run, with its start in seconds since 1970."""
    visits = [
        facts_of(visit, decisions.get((visit.camera, visit.number)), start_s=starts_s.get(visit.camera, 0.0))
        for visit in read_visits(out, crops=False)
    ]
    content = {
        "format": FORMAT,
        "sightline": __version__,
        "people": _people(visits),
        "unknown": [visit.to_json() for visit in _by_time(visits) if visit.identity is None],
        "cameras": [_camera(name, visits) for name in dict.fromkeys([*starts_s, *(one.camera for one in visits)])],
    }
    with replacing(out / PEOPLE) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        temporary.write_bytes(f"{text}\n".encode("utf-8", "backslashreplace"))
    return out / PEOPLE


def by_identity(visits: Iterable[VisitFacts]) -> dict[str, list[VisitFacts]]:
    """The visits of everybody who has a name, in order of time; whoever was seen longest comes first."""
    found: dict[str, list[VisitFacts]] = defaultdict(list)
    for visit in _by_time(visits):
        if visit.identity is not None:
            found[visit.identity].append(visit)
    return dict(sorted(found.items(), key=lambda item: (-sum(visit.seconds for visit in item[1]), item[0])))


def best_crops(visits: Iterable[VisitFacts]) -> Iterator[Path]:
    """All pictures of somebody: the largest of each visit, the best visit first, then the next largest of each."""
    best_first = sorted(visits, key=lambda visit: -visit.quality)
    for round_ in zip_longest(*(visit.crops for visit in best_first)):
        yield from (crop for crop in round_ if crop is not None)


def _by_time(visits: Iterable[VisitFacts]) -> list[VisitFacts]:
    return sorted(visits, key=lambda visit: (visit.moments_s, visit.camera, visit.number))


def _people(visits: Iterable[VisitFacts]) -> list[dict[str, Any]]:
    return [
        {
            "identity": identity,
            "seconds": round(sum(visit.seconds for visit in own), 3),
            "cameras": list(dict.fromkeys(visit.camera for visit in own)),
            "firstSeen": _iso(own[0].moments_s[0]),
            "lastSeen": _iso(max(visit.moments_s[1] for visit in own)),
            "bestCrop": next((crop.as_posix() for crop in best_crops(own)), None),
            "visits": [visit.to_json() for visit in own],
        }
        for identity, own in by_identity(visits).items()
    ]


def _camera(name: str, visits: Iterable[VisitFacts]) -> dict[str, Any]:
    own = [visit for visit in visits if visit.camera == name]
    return {
        "camera": name,
        "visits": len(own),
        "people": len({visit.identity for visit in own if visit.identity is not None}),
        "unknown": sum(visit.identity is None for visit in own),
        "frames": sum(visit.frames for visit in own),
    }


def _iso(moment_s: float) -> str:
    moment = datetime.fromtimestamp(round(moment_s, 3), tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# Every box


Span = tuple[int, int, int]  # first frame, last frame, number of the visit


def write_tracks(out: Path, decisions: Decisions, *, cameras: Sequence[str]) -> list[Path]:
    """Every box, twice: in `tracks.csv` ids are the numbers of visits, in `identities.csv` everybody has one.

    Of several cameras they are `cameras/NAME/tracks.csv`, …, and `sightline eval` takes the folder `cameras`. Frames
    count from 1, as in every such file. Who is `person-7` has the id 7.
    """
    spans: dict[str, list[Span]] = {camera: [] for camera in cameras}
    for visit in read_visits(out, crops=False):
        first, last = int(visit.tracklet.frames[0]), int(visit.tracklet.frames[-1])
        spans.setdefault(visit.camera, []).append((first, last, visit.number))
    ids = _identity_ids(decisions, [(camera, number) for camera, own in spans.items() for _, _, number in own])
    names = list(spans)
    written = []
    for camera, own in spans.items():
        by_visit = {number: number for _, _, number in own}
        by_identity = {number: ids[camera, number] for _, _, number in own}
        for name, by in ((TRACKS, by_visit), (IDENTITIES, by_identity)):
            target = tracks_file(out, camera, cameras=names, name=name)
            written.append(_write_camera(out, target, camera=camera, spans=own, ids=by))
    return written


def _identity_ids(decisions: Decisions, visits: Sequence[VisitKey]) -> dict[VisitKey, int]:
    """A number for everybody: the one in their name where it has one, above those all others, nobody's visits each."""
    names = {key: decisions[key].identity if key in decisions else None for key in visits}
    numbers = {name: number_of(name) for name in names.values() if name is not None}
    above = itertools.count(1 + max((number or 0 for number in numbers.values()), default=0))
    given = {name: number or next(above) for name, number in sorted(numbers.items())}
    return {key: next(above) if name is None else given[name] for key, name in names.items()}


def tracks_file(out: Path, camera: str, *, cameras: Sequence[str], name: str = TRACKS) -> Path:
    return out / name if len(cameras) == 1 else out / CAMERAS / camera_folder(camera) / name


def _write_camera(out: Path, target: Path, *, camera: str, spans: Sequence[Span], ids: Mapping[int, int]) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(target, exc) from exc
    return write_mot_parts(target, _windows(out, camera, spans, ids))


def _windows(out: Path, camera: str, spans: Sequence[Span], ids: Mapping[int, int]) -> Iterator[MotRows]:
    """The boxes of one camera, `WINDOW` frames at a time; a visit is read again for each window it reaches into."""
    reached: dict[int, list[int]] = defaultdict(list)
    for first, last, number in spans:
        for window in range(first // WINDOW, last // WINDOW + 1):
            reached[window].append(number)
    for window, numbers in sorted(reached.items()):
        visits = (read_visit(out, camera, number, crops=False) for number in numbers)
        parts = [_within(visit, window, ids[visit.number]) for visit in visits if visit is not None]
        frames, owners, boxes, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        kept = _once_a_frame(frames, owners, scores)
        yield mot_rows(frames[kept], owners[kept], boxes[kept], confidences=scores[kept])


def _within(visit: Visit, window: int, owner: int) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    track = visit.tracklet
    rows = track.frames // WINDOW == window
    return track.frames[rows] + 1, np.full(rows.sum(), owner), track.boxes_xyxy[rows], track.scores[rows]


def _once_a_frame(frames: IntArray, owners: IntArray, scores: FloatArray) -> IntArray:
    """The rows to keep: where two visits of one person touch, they may share a frame, and the surer box stands."""
    order = np.lexsort((-scores, owners, frames))
    same = (np.diff(frames[order]) == 0) & (np.diff(owners[order]) == 0)
    return np.sort(order[np.concatenate([[True], ~same])[: len(order)]])
