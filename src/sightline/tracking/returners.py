"""Whether people who left and came back were known again, over any number of cameras.

A *visit* is one track of one person. A *return* is a visit of somebody who has an earlier one, to the same camera or to
another. Visits count in the order in which their tracks ended, as that is when a gallery hears of them. CLEAR, IDF1 and
HOTA look at one clip of one camera and see nothing of this.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightline.errors import ConfigError
from sightline.tracking.mot_clear import matched_pairs
from sightline.tracking.mot_files import MotRows
from sightline.tracking.mot_overlaps import ENOUGH, overlaps

_HALF = 0.5


@dataclass(frozen=True)
class Visit:
    """One track: who it really was, and who it was taken for."""

    person: int | None  # None: of nobody, a track of something that is no person
    identity: str | None  # None: it was left open who it is
    start_s: float
    end_s: float
    camera: str = ""


@dataclass(frozen=True)
class ReturnerScore:
    """Counts, and the rates that follow; a rate of nothing is 0."""

    visits: int  # of people
    people: int
    identities: int  # size of the gallery in the end, tracks of nobody included
    returns: int
    relinked: int  # returns given to the identity that holds most of the person's earlier visits
    false_firsts: int  # first visits given to somebody else's identity
    false_returns: int  # returns given to somebody else's identity
    across: int  # returns to another camera than the one of the visit before
    across_relinked: int
    nobody: int  # tracks of no person; not in any rate
    absences_s: tuple[float, ...]  # of each return, from the end of the visit before; below 0 where they overlap
    splits: Mapping[int, int] = field(default_factory=dict)  # by person: identities with a visit of theirs, minus 1

    @property
    def relink_rate(self) -> float:
        return self.relinked / max(1, self.returns)

    @property
    def across_relink_rate(self) -> float:
        return self.across_relinked / max(1, self.across)

    @property
    def false_merge_rate(self) -> float:
        return (self.false_firsts + self.false_returns) / max(1, self.visits)

    @property
    def splits_per_person(self) -> float:
        """The mean; 0 is best."""
        return sum(self.splits.values()) / max(1, len(self.splits))

    def figures(self) -> dict[str, float]:
        """Every figure by name; absences as their shortest, median and longest, NaN where nobody returned."""
        absences = np.array(self.absences_s) if self.absences_s else np.array([np.nan])
        return {
            "relink_rate": self.relink_rate,
            "relinked": self.relinked,
            "returns": self.returns,
            "across_relink_rate": self.across_relink_rate,
            "across_relinked": self.across_relinked,
            "across": self.across,
            "false_merge_rate": self.false_merge_rate,
            "false_firsts": self.false_firsts,
            "false_returns": self.false_returns,
            "splits_per_person": self.splits_per_person,
            "visits": self.visits,
            "people": self.people,
            "identities": self.identities,
            "nobody": self.nobody,
            "absence_shortest_s": float(absences.min()),
            "absence_median_s": float(np.median(absences)),
            "absence_longest_s": float(absences.max()),
        }


class _Ledger:
    """What a gallery holds at some moment, and whose it really is."""

    def __init__(self) -> None:
        self._by_person: dict[int | None, Counter[str]] = defaultdict(Counter)
        self._by_identity: dict[str, Counter[int | None]] = defaultdict(Counter)
        self._last: dict[int | None, Visit] = {}

    def enter(self, visit: Visit) -> None:
        self._last[visit.person] = visit
        if visit.identity is not None:
            self._by_person[visit.person][visit.identity] += 1
            self._by_identity[visit.identity][visit.person] += 1

    def before(self, visit: Visit) -> Visit | None:
        return self._last.get(visit.person)

    def is_relinked(self, visit: Visit) -> bool:
        """Where two identities hold as much of a person, either is right."""
        held = self._by_person[visit.person]
        return visit.identity is not None and held[visit.identity] == max(held.values(), default=-1)

    def is_of_somebody_else(self, visit: Visit) -> bool:
        """An identity is of whoever has most visits in it; where two have as many, of either."""
        if visit.identity is None or visit.identity not in self._by_identity:
            return False
        holds = self._by_identity[visit.identity]
        return holds[visit.person] < max(holds.values())

    @property
    def identities(self) -> int:
        return len(self._by_identity)

    def splits(self) -> dict[int, int]:
        return {who: max(0, len(self._by_person[who]) - 1) for who in self._last if who is not None}


def score_returners(visits: Iterable[Visit]) -> ReturnerScore:
    """The visits of all cameras that share a gallery, in any order."""
    ledger, counts, absences = _Ledger(), Counter[str](), list[float]()
    for visit in sorted(visits, key=lambda visit: (visit.end_s, visit.start_s, visit.camera)):
        before = ledger.before(visit)
        if visit.person is None:
            counts["nobody"] += 1
        else:
            counts["visits"] += 1
            merged = ledger.is_of_somebody_else(visit)
            counts["false_firsts" if before is None else "false_returns"] += merged
            if before is not None:
                absences.append(visit.start_s - before.end_s)
                counts.update(_return(visit, before, relinked=ledger.is_relinked(visit)))
        ledger.enter(visit)
    splits = ledger.splits()
    names = ("visits", "returns", "relinked", "false_firsts", "false_returns", "across", "across_relinked", "nobody")
    return ReturnerScore(
        **{name: counts[name] for name in names},
        people=len(splits),
        identities=ledger.identities,
        absences_s=tuple(absences),
        splits=splits,
    )


def _return(visit: Visit, before: Visit, *, relinked: bool) -> dict[str, int]:
    across = visit.camera != before.camera
    return {
        "returns": 1,
        "relinked": int(relinked),
        "across": int(across),
        "across_relinked": int(across and relinked),
    }


# From tracks to visits


def visits_of(
    truth: MotRows, found: MotRows, *, identities: Mapping[int, str | None], fps: float, camera: str = ""
) -> list[Visit]:
    """The tracks found by one camera as visits: who they were by the truth, and the identity each was given.

    A track that `identities` does not have was left open.
    """
    people = people_of_tracks(truth, found)
    visits = []
    for track, person in people.items():
        frames = found.frames[found.ids == track]
        times = (float(frames[0] - 1) / fps, float(frames[-1] - 1) / fps)
        visits.append(Visit(person, identities.get(track), *times, camera=camera))
    return visits


def people_of_tracks(truth: MotRows, found: MotRows, *, enough: float = ENOUGH) -> dict[int, int | None]:
    """Who each found track really is: the person with most of its boxes, None where that is less than half of them.

    Boxes are of the same person from `enough` IoU on.
    """
    clip = overlaps(truth, found)
    pairs = matched_pairs(clip, enough=enough)
    held: dict[int, Counter[int]] = defaultdict(Counter)
    tracks, people = clip.found.ids[clip.found_rows[pairs]], clip.truth.ids[clip.truth_rows[pairs]]
    for track, person in zip(tracks.tolist(), people.tolist(), strict=True):
        held[track][person] += 1
    answers: dict[int, int | None] = dict.fromkeys(np.unique(found.ids).tolist())
    for track, counts in held.items():
        person, boxes = min(counts.items(), key=lambda item: (-item[1], item[0]))
        if boxes >= _HALF * clip.found.lengths[track]:
            answers[int(clip.found.names[track])] = int(clip.truth.names[person])
    return answers


# The identities that were given

Identities = Mapping[str, Mapping[int, str | None]]  # by camera, by track


def read_identities(path: Path) -> Identities:
    """Who each track was taken for in the end, from events: one JSON object a line (`docs/events.md`).

    A visit, which is also what has no `type`, gives a track (`sensorId`, `trackId`) its `identity`, null where it was
    left open; the last event of a track counts. A merge gives the entries in `former` to `into`, and with them the
    tracks that they are of (`embedding.ref`). Other events say nothing of it. Raises `ConfigError` naming the line.
    """
    found: dict[str, dict[int, str | None]] = defaultdict(dict)
    track_of_entry: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(_lines(path), 1):
        event = _event(path, number, line) if line.strip() else {"type": "none"}
        if event.get("type", "visit") == "visit":
            camera, track, identity, entry = _visit(path, number, event)
            found[camera][track] = identity
            if entry is not None:
                track_of_entry[entry] = camera, track
        elif event["type"] == "merge":
            into, entries = _merge(path, number, event)
            for camera, track in (track_of_entry[entry] for entry in entries if entry in track_of_entry):
                found[camera][track] = into
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 text; expected events, one JSON object a line") from exc


def _event(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path}:{number}: no event; expected a JSON object") from exc
    if not isinstance(event, dict):
        raise ConfigError(f"{path}:{number}: no event; expected a JSON object")
    return event


def _visit(path: Path, number: int, event: Mapping[str, Any]) -> tuple[str, int, str | None, str | None]:
    """Camera, track, identity, and the entry it has in the gallery."""
    try:
        camera, track, identity = event["sensorId"], event["trackId"], event["identity"]
        entry = (event.get("embedding") or {}).get("ref")
    except (KeyError, AttributeError) as exc:
        expected = "expected a JSON object with sensorId, trackId and identity"
        raise ConfigError(f"{path}:{number}: no event of a track; {expected}") from exc
    sound = isinstance(camera, str) and isinstance(track, int) and isinstance(identity, str | None)
    if not (sound and isinstance(entry, str | None)):
        raise ConfigError(f"{path}:{number}: expected sensorId as text, trackId as a number, identity as text or null")
    return camera, track, identity, entry


def _merge(path: Path, number: int, event: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The identity that remains, and the entries it was given."""
    try:
        into, entries = event["into"], [entry for moved in event["former"].values() for entry in moved]
    except (KeyError, AttributeError, TypeError) as exc:
        expected = "expected into, and former: lists of entries by identity"
        raise ConfigError(f"{path}:{number}: no event of a merge; {expected}") from exc
    if not all(isinstance(name, str) for name in (into, *entries)):
        raise ConfigError(f"{path}:{number}: no event of a merge; expected the names in it as text")
    return into, entries
