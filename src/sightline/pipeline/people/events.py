"""What the world is told: a visit has ended, two identities were one. The format is that of `docs/events.md`."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from typing import Any

from sightline.gallery.gallery import Change
from sightline.pipeline.people.visits import Decision, Visit
from sightline.types import FloatArray, Tracklet

VERSION = "1.0"
FIRST = f'{{"version":"{VERSION[0]}.'.encode()  # what every line of this major version begins with

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Event:
    """One JSON object, and the few fields of it that decide where it goes."""

    id: str  # a UUID; whoever receives it a second time knows it by this
    type: str  # "visit" or "merge"
    camera: str | None  # None: of no camera in particular
    text: str  # the whole of it, one line of ASCII

    @classmethod
    def parse(cls, text: str) -> Event:
        """Raises `ValueError` saying what is wrong with the text."""
        fields = _parsed(text)
        identifier, kind, camera = (fields.get(name) for name in ("id", "type", "sensorId"))
        if not (isinstance(identifier, str) and isinstance(kind, str) and kind.isidentifier()):
            raise ValueError("no event with an id and a type")
        if not isinstance(camera, str | None):
            raise ValueError("sensorId is no text")
        return cls(str(uuid.UUID(identifier)), kind, camera, text)

    @property
    def fields(self) -> dict[str, Any]:
        """All of it, by the names of `docs/events.md`."""
        return _parsed(self.text)


def _parsed(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except RecursionError as exc:
        raise ValueError("nested thousands of levels deep") from exc
    if not isinstance(fields, dict):
        raise ValueError("no JSON object")
    return fields


def event_schema() -> dict[str, Any]:
    """The JSON Schema of the events of this major version."""
    found: dict[str, Any] = json.loads(files("sightline").joinpath("schemas/event-1.json").read_text("utf-8"))
    return found


def visit_event(
    visit: Visit,
    decision: Decision,
    *,
    visit_id: str,
    entry_id: str | None,
    start_s: float,
    at_s: float,
    with_vector: bool = False,
) -> Event:
    """That a visit has ended, and who it was taken for.

    `entry_id` is the gallery's, None where it got no entry. `start_s` and `at_s` are seconds since 1970: the moment the
    source's own seconds count from, and now.
    """
    track = visit.tracklet
    runner_up = decision.runner_up and {"identity": decision.runner_up, "score": _score(decision.runner_up_score)}
    ruled_out = [
        {"identity": one.identity, "score": _score(one.score), "reason": one.reason} for one in decision.ruled_out
    ]
    return _event(
        {
            "version": VERSION,
            "type": "visit",
            "id": visit_id,
            "@timestamp": iso_time(at_s),
            "sensorId": visit.camera,
            "trackId": visit.number,
            "continues": visit.continues,
            "firstSeen": iso_time(start_s + visit.first_s),
            "lastSeen": iso_time(start_s + visit.last_s),
            "frames": len(track.frames),
            "boxFirst": _box(track.boxes_xyxy[0]),
            "boxLast": _box(track.boxes_xyxy[-1]),
            "boxesDigest": boxes_digest(track),
            "decision": decision.verdict,
            "identity": decision.identity,
            "reason": decision.reason,
            "nearest": decision.nearest,
            "score": _score(decision.score),
            "likeness": _score(decision.likeness),
            "threshold": _score(decision.threshold),
            "runnerUp": runner_up or None,
            "ruledOut": ruled_out,
            "embedding": _embedding(visit, entry_id=entry_id, with_vector=with_vector),
        }
    )


def merge_event(change: Change, *, score: float, threshold: float, run_id: str, at_s: float) -> Event:
    """That identities were found to be one. The same merge of the same run is the same event, however often it is told.

    `score` is the cosine of their averages, `threshold` what it had to reach.
    """
    if change.operation != "merge":
        raise ValueError(f"a change by {change.operation!r} is no event; expected a merge")
    former = {identity: list(ids) for identity, ids in change.former.items()}
    content = json.dumps([run_id, change.identity, former], sort_keys=True)
    return _event(
        {
            "version": VERSION,
            "type": "merge",
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, content)),
            "@timestamp": iso_time(at_s),
            "into": change.identity,
            "former": former,
            "score": _score(score),
            "threshold": _score(threshold),
        }
    )


def boxes_digest(track: Tracklet) -> str:
    """By which two can tell whether they speak of the same boxes: all frame numbers as int64, all boxes as float32."""
    content = track.frames.astype("<i8").tobytes() + track.boxes_xyxy.astype("<f4").tobytes()
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def iso_time(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, to the nearest millisecond."""
    moment = _EPOCH + timedelta(milliseconds=round(seconds * 1000))
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _event(fields: Mapping[str, object]) -> Event:
    """Compact, and ASCII whatever a camera is called: names of files need not be text that can be encoded."""
    return Event.parse(json.dumps(fields, separators=(",", ":"), allow_nan=False))


def _embedding(visit: Visit, *, entry_id: str | None, with_vector: bool) -> dict[str, object] | None:
    found = visit.tracklet.embedding
    if found is None:
        return None
    facts = {
        "ref": entry_id,
        "dimension": found.vectors.shape[1],
        "aggregation": "averaged",
        "crops": visit.count,
        "modelFingerprint": found.fingerprint,
    }
    return facts | {"vector": _exact(found.vectors[0])} if with_vector else facts


def _exact(vector: FloatArray) -> list[float]:
    """In as few digits as give every float32 back."""
    return [float(str(value)) for value in vector]


def _box(box_xyxy: Sequence[float] | FloatArray) -> list[float]:
    return [round(float(side), 2) for side in box_xyxy]


def _score(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)
