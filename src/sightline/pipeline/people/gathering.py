"""What is gathered of everybody in view, until their track ends: then it is a `Visit`, or several.

Nobody is embedded in every frame: often when they are new, for the tracker must know them, then now and then. What is
held of a track does not grow without end: shots are thinned out as they get many, and a track that goes on for long is
cut into visits that continue each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from sightline.pipeline.people import shots as shots_module
from sightline.pipeline.people.scene import seen_from
from sightline.pipeline.people.shots import Shot, average, best_of, thinned
from sightline.pipeline.people.visits import Visit
from sightline.tracking.splitting import split_tracklet
from sightline.types import Array, Embeddings, FloatArray, IntArray, Tracklet, Tracks

_ROW = np.dtype([("frame", np.int64), ("time_s", np.float64), ("box", np.float32, 4), ("score", np.float32)])


@dataclass(frozen=True)
class GatherRules:
    """How often somebody is looked at closely, and how much is kept of it."""

    embed_every_s: float = 0.5  # somebody known
    first_every_s: float = 0.1  # somebody new, for the first `first_shots`
    first_shots: int = 4
    shots_kept: int = 48  # of a track; then half of them, taken half as often
    crops_kept: int = 16  # of a visit
    longest_s: float = 600.0  # of a visit
    torn_s: float = 0.6  # a track that was lost for so long may have gone on with somebody else
    clearly: float = 0.3  # of cosine, without the scene: less alike than that, a track is of two people
    torn_clearly: float = 0.15  # where it was torn


class _Rows:
    """Where somebody was, frame after frame, in an array that grows: forty bytes a frame."""

    def __init__(self, rows: Array | None = None) -> None:
        self._array = np.empty(16, _ROW) if rows is None else rows.copy()
        self._count = 0 if rows is None else len(rows)

    def __len__(self) -> int:
        return self._count

    def append(self, frame: int, time_s: float, box: FloatArray, score: float) -> None:
        if self._count == len(self._array):
            self._array = np.concatenate([self._array, np.empty(max(16, self._count), _ROW)])
        self._array[self._count] = (frame, time_s, box, score)
        self._count += 1

    @property
    def array(self) -> Array:
        return self._array[: self._count]


@dataclass(eq=False)
class _Open:
    """A track that goes on. It has no rows where its last visit was cut a moment ago."""

    rows: _Rows = field(default_factory=_Rows)
    shots: list[Shot] = field(default_factory=list)
    thinnings: int = 0
    continues: int | None = None

    def seconds_until(self, time_s: float) -> float:
        return time_s - float(self.rows.array["time_s"][0]) if len(self.rows) else 0.0

    def next_shot_s(self, rules: GatherRules) -> float:
        """The time from which on it is to be embedded again."""
        if not self.shots:
            return -np.inf
        is_new = len(self.shots) < rules.first_shots and self.continues is None
        pause_s = rules.first_every_s if is_new else rules.embed_every_s * 2**self.thinnings
        return self.shots[-1].time_s + pause_s


class Book:
    """The open tracks of one camera."""

    def __init__(self, camera: str, *, fingerprint: str, rules: GatherRules | None = None) -> None:
        self.camera, self.fingerprint, self.rules = camera, fingerprint, rules or GatherRules()
        self.scene: FloatArray | None = None  # how the place looks without anybody
        self._open: dict[int, _Open] = {}
        self._ended = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def ended(self) -> int:
        """How many visits have ended, which is the number of the last."""
        return self._ended

    def is_due(self, track_id: int, time_s: float) -> bool:
        """Whether somebody who was seen just now is to be embedded at that time."""
        entry = self._open.get(track_id)
        return entry is None or time_s >= entry.next_shot_s(self.rules) - 1e-9

    def add(self, tracks: Tracks, shots: Mapping[int, Shot], *, frame: int, time_s: float) -> None:
        """Take in a frame: everybody's box, and the shots that were taken, by the row of `tracks`."""
        boxes, scores = tracks.detections.boxes_xyxy, tracks.detections.scores
        for row, track_id in enumerate(tracks.ids.tolist()):
            entry = self._open.setdefault(track_id, _Open())
            entry.rows.append(frame, time_s, boxes[row], float(scores[row]))
            if row in shots:
                entry.shots.append(shots[row])
                if len(entry.shots) > self.rules.shots_kept:
                    entry.shots, entry.thinnings = thinned(entry.shots), entry.thinnings + 1

    def close(self, track_ids: Sequence[int]) -> list[Visit]:
        """The visits of tracks that have ended, in that order."""
        closed = [(track_id, self._open.pop(track_id)) for track_id in track_ids if track_id in self._open]
        return [visit for track_id, entry in closed for visit in self._visits(track_id, entry)]

    def close_all(self) -> list[Visit]:
        return self.close(sorted(self._open))

    def take_as_ended(self, track_id: int) -> None:
        """The next visit is known already, and was this track's."""
        self._open.pop(track_id, None)
        self._ended += 1

    def cut_long(self, time_s: float) -> list[Visit]:
        """The visits so far of who has been here for very long. They go on as visits that continue these."""
        visits = []
        for track_id, entry in list(self._open.items()):
            if entry.seconds_until(time_s) > self.rules.longest_s:
                parts = list(self._visits(track_id, entry))
                self._open[track_id] = _Open(continues=parts[-1].number)
                visits += parts
        return visits

    def _visits(self, track_id: int, entry: _Open) -> Iterator[Visit]:
        """One; several where it changed person; none of a track cut a moment ago and not seen since."""
        if not len(entry.rows):
            return
        parts = self._parts(_tracklet(track_id, self.camera, entry.rows.array), entry.shots)
        for number, part in enumerate(parts):
            inside = [shot for shot in entry.shots if part.frames[0] <= shot.frame <= part.frames[-1]]
            yield self._visit(part, inside, continues=entry.continues if number == 0 else None)

    def _parts(self, whole: Tracklet, taken: Sequence[Shot]) -> list[Tracklet]:
        """The track, cut where it changed person: people turn around, so that takes more where it was never lost."""
        if not taken:
            return [whole]
        vectors = seen_from(self.scene, np.stack([shot.vector for shot in taken]))
        frames = np.array([shot.frame for shot in taken], np.int64)
        rows = np.searchsorted(whole.frames, frames)
        pauses_s = [np.diff(whole.times_s[first : last + 1]).max(initial=0) for first, last in pairwise(rows)]
        torn = np.array([0.0, *pauses_s]) >= self.rules.torn_s
        clearly = np.where(torn, self.rules.torn_clearly, self.rules.clearly)
        return split_tracklet(whole, vectors, frames, clearly=clearly)

    def _visit(self, part: Tracklet, taken: Sequence[Shot], *, continues: int | None) -> Visit:
        self._ended += 1
        used = [shot for shot in taken if shot.clear] or list(taken)
        vector, kept = average(used), best_of(taken, self.rules.crops_kept)
        tracklet = Tracklet(
            part.track_id,
            part.source,
            part.frames,
            part.times_s,
            part.boxes_xyxy,
            part.scores,
            None if vector is None else Embeddings(vector[None], self.fingerprint, normalised=True),
            tuple(shot.image for shot in kept),
        )
        best = max((shot.quality for shot in used), default=0.0)
        frames = tuple(shot.frame for shot in kept)
        return Visit(self._ended, tracklet, frames, 0 if vector is None else len(used), best, continues)

    # To be stored, and gone on from

    def state(self) -> dict[str, Array]:
        """All that is open, as plain arrays."""
        rows = [entry.rows.array for entry in self._open.values()]
        heads = [
            (track_id, len(entry.rows), len(entry.shots), entry.thinnings, entry.continues or 0)
            for track_id, entry in self._open.items()
        ]
        shots = shots_module.packed([shot for entry in self._open.values() for shot in entry.shots])
        return {
            "ended": np.array(self._ended),
            "heads": np.array(heads, np.int64).reshape(-1, 5),
            "rows": np.concatenate([np.empty(0, _ROW), *rows]),
            **{f"shot_{name}": array for name, array in shots.items()},
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        self._ended, self._open = int(state["ended"]), {}
        stored = {name.removeprefix("shot_"): array for name, array in state.items() if name.startswith("shot_")}
        shots, rows_done = iter(shots_module.unpacked(stored)), 0
        for track_id, row_count, shot_count, thinnings, continues in state["heads"].tolist():
            rows = _Rows(state["rows"][rows_done : rows_done + row_count])
            self._open[track_id] = _Open(rows, list(islice(shots, shot_count)), thinnings, continues or None)
            rows_done += row_count


def _tracklet(track_id: int, camera: str, rows: Array) -> Tracklet:
    frames: IntArray = rows["frame"].copy()
    times_s: NDArray[np.float64] = rows["time_s"].copy()
    return Tracklet(track_id, camera, frames, times_s, rows["box"].copy(), rows["score"].copy())
