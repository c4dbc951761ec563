"""Tracklets in an .npz of plain arrays, one row a box: those of a tracker, and those joined into persons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.errors import SightlineError
from sightline.pipeline.stages.records import Record, read_arrays, write_arrays
from sightline.reid.sightings import Sightings
from sightline.types import Array, Tracklet

_ROWS = ("frames", "times_s", "boxes", "scores")


@dataclass(frozen=True)
class Film:
    """What has to be known of a recording to make sense of boxes in it."""

    name: str
    fps: float
    height: int
    width: int
    frames: int

    @classmethod
    def of(cls, record: Record) -> Film:
        """The one a record tells of."""
        return cls(**record["film"])

    def to_record(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Tracked:
    """Tracklets of one recording, and of each the numbers of what it was joined from, itself where it was not."""

    film: Film
    tracklets: tuple[Tracklet, ...]
    members: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.tracklets)

    def boxes(self) -> int:
        return sum(len(tracklet.frames) for tracklet in self.tracklets)


def joined(number: int, parts: Sequence[Tracklet]) -> Tracklet:
    """One tracklet of several that share no frame."""
    frames = np.concatenate([part.frames for part in parts])
    order = np.argsort(frames, kind="stable")
    return Tracklet(
        number,
        parts[0].source,
        frames[order],
        np.concatenate([part.times_s for part in parts])[order],
        np.concatenate([part.boxes_xyxy for part in parts])[order],
        np.concatenate([part.scores for part in parts])[order],
    )


def sightings_of(tracklet: Tracklet, film: Film) -> Sightings:
    return Sightings(
        tracklet.frames,
        tracklet.boxes_xyxy,
        tracklet.scores,
        fps=film.fps,
        size_hw=(film.height, film.width),
    )


def write_tracked(path: Path, tracked: Tracked, record: Record) -> None:
    tracklets, members = tracked.tracklets, tracked.members
    arrays: dict[str, Array] = {
        "ids": np.array([tracklet.track_id for tracklet in tracklets], np.int64),
        "lengths": np.array([len(tracklet.frames) for tracklet in tracklets], np.int64),
        "frames": _stacked([tracklet.frames for tracklet in tracklets], np.empty(0, np.int64)),
        "times_s": _stacked([tracklet.times_s for tracklet in tracklets], np.empty(0)),
        "boxes": _stacked([tracklet.boxes_xyxy for tracklet in tracklets], np.empty((0, 4), np.float32)),
        "scores": _stacked([tracklet.scores for tracklet in tracklets], np.empty(0, np.float32)),
        "members": np.array([number for group in members for number in group], np.int64),
        "member_counts": np.array([len(group) for group in members], np.int64),
    }
    write_arrays(path, {**record, "film": tracked.film.to_record()}, arrays)


def _stacked(parts: Sequence[Array], none: Array) -> Array:
    return np.concatenate([none, *parts])


def read_tracked(path: Path) -> Tracked:
    """Raises `SightlineError` where the file is damaged or holds something else."""
    record, arrays = read_arrays(path)
    try:
        film = Film.of(record)
        return Tracked(film, tuple(_tracklets(arrays, film)), tuple(_groups(arrays)))
    except (KeyError, TypeError, ValueError) as exc:
        raise SightlineError(f"{path} holds no tracklets ({exc}); delete it, and it is made again") from exc


def _tracklets(arrays: Mapping[str, Array], film: Film) -> list[Tracklet]:
    cuts = np.cumsum(arrays["lengths"])[:-1]
    parts = [np.split(arrays[name], cuts) for name in _ROWS] if len(arrays["lengths"]) else [[]] * len(_ROWS)
    return [
        Tracklet(int(number), film.name, *rows) for number, *rows in zip(arrays["ids"].tolist(), *parts, strict=True)
    ]


def _groups(arrays: Mapping[str, Array]) -> list[tuple[int, ...]]:
    counts = arrays["member_counts"]
    parts = np.split(arrays["members"], np.cumsum(counts)[:-1]) if len(counts) else []
    return [tuple(part.tolist()) for part in parts]
