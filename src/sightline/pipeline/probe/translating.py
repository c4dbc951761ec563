"""From raw metadata to a record: whose camera, when, which pixels, and unit vectors or none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sightline.pipeline.probe.records import UNTRACKED, FrameHead, FrameRecord, RawFrame, RawPerson, SizeWH
from sightline.pipeline.probe.tally import Tally
from sightline.types import Array, Detections, FloatArray, IntArray, Tracks

NS = 1_000_000_000


class Sensors:
    """What the camera of a source number is called now. Any thread may add and take away.

    Numbers are given out again when cameras come and go; what is kept goes by the name.
    """

    def __init__(self, names: Mapping[int, str] | None = None) -> None:
        self._names = dict(names or {})
        self._changing = threading.Lock()

    def name(self, source: int) -> str:
        return self._names.get(source) or f"source-{source}"

    def add(self, source: int, name: str) -> None:
        with self._changing:
            self._names[source] = name

    def remove(self, source: int) -> str:
        """The name it had."""
        with self._changing:
            return self._names.pop(source, f"source-{source}")


class Timekeeper:
    """When a frame was, in seconds since 1970.

    A recording runs as fast as the GPU does, so its own clock counts, from when the run started. A camera shows what
    is now, by the sender's clock where the stream has one.
    """

    def __init__(self, *, is_live: bool, started_s: float, now: Callable[[], float] = time.time) -> None:
        self._is_live, self._started_s, self._now = is_live, started_s, now

    def moment_s(self, head: FrameHead) -> float:
        if not self._is_live:
            return self._started_s + head.pts_ns / NS
        return head.ntp_ns / NS if head.ntp_ns else self._now()


class Translator:
    """Makes records. It must be quick, for it runs in the callback, and never fails: what is unusable is counted."""

    def __init__(
        self, *, sensors: Sensors, timekeeper: Timekeeper, dim: int, canvas_wh: SizeWH, layer: str, tally: Tally
    ) -> None:
        """`canvas_wh` is the muxer's picture, for metadata that does not tell it."""
        self.sensors, self._timekeeper = sensors, timekeeper
        self._dim, self._canvas_wh, self._layer, self._tally = dim, canvas_wh, layer, tally

    def record(self, raw: RawFrame) -> FrameRecord:
        head = raw.head
        canvas_wh = head.canvas_wh if all(head.canvas_wh) else self._canvas_wh
        size_wh = head.size_wh if all(head.size_wh) else canvas_wh
        people = [person for person in raw.people if self._is_usable(person)]
        return FrameRecord(
            self.sensors.name(head.source),
            head.index,
            self._timekeeper.moment_s(head),
            (size_wh[1], size_wh[0]),
            _tracks(people, canvas_wh=canvas_wh, size_wh=size_wh),
            self._vectors(people),
            frozenset(map(signed, raw.ended)),
        )

    def _is_usable(self, person: RawPerson) -> bool:
        if person.track == UNTRACKED:
            self._tally.note("untracked", "somebody")
            return False
        if not np.isfinite(person.box_ltwh).all() or min(person.box_ltwh[2:]) <= 0:
            self._tally.note("box", f"the box {person.box_ltwh}")
            return False
        return True

    def _vectors(self, people: Sequence[RawPerson]) -> FloatArray:
        vectors = np.full((len(people), self._dim), np.nan, np.float32)
        for row, person in enumerate(people):
            fault = "" if person.vector is None else fault_in(person.vector, self._dim)
            if fault and person.vector is not None:
                self._tally.note(fault, f"a vector of {person.vector.size} numbers")
            if person.vector is not None and not fault:
                vectors[row] = unit(person.vector)
            self._tally.person(has_vector=person.vector is not None, wanted=f"layer {self._layer}")
        return vectors


def fault_in(vector: Array, dim: int) -> str:
    """Why a vector cannot be used, as a kind of `tally.ADVICE`; empty where it can."""
    if vector.size != dim:
        return "length"
    if not np.isfinite(vector).all():
        return "not finite"
    return "" if vector.any() else "zero"


def unit(vector: Array) -> FloatArray:
    """Normalised in 64 bits: the squares of half floats overflow from 256 on."""
    exact = vector.astype(np.float64)
    return np.asarray(exact / np.linalg.norm(exact), np.float32)


def signed(track: int) -> int:
    """The same 64 bits as a signed number: nvtracker's unique ids use the highest one."""
    return track - (1 << 64) if track >= 1 << 63 else track


def _tracks(people: Sequence[RawPerson], *, canvas_wh: SizeWH, size_wh: SizeWH) -> Tracks:
    """Boxes from pixels of the muxer's picture to those of the camera's."""
    ltwh = np.array([person.box_ltwh for person in people], np.float64).reshape(-1, 4)
    scale = np.array(size_wh, np.float64) / np.array(canvas_wh, np.float64)
    boxes = np.concatenate([ltwh[:, :2] * scale, (ltwh[:, :2] + ltwh[:, 2:]) * scale], axis=1)
    scores = np.clip(np.array([person.score for person in people], np.float32), 0, 1)
    ids: IntArray = np.array([signed(person.track) for person in people], np.int64)
    classes: IntArray = np.zeros(len(people), np.int64)
    return Tracks(ids, Detections(boxes.astype(np.float32), scores, classes))
