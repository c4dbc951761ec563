"""What a frame's metadata says, as plain values: made in the callback, read in another thread, kept by nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from sightline.types import Array, FloatArray, Tracks

UNTRACKED = 0xFFFF_FFFF_FFFF_FFFF  # nvtracker's id of an object that no tracker has seen

SizeWH = tuple[int, int]


@dataclass(frozen=True)
class FrameHead:
    """A frame without the people in it."""

    source: int  # a number that may be given to another camera once this one is gone
    index: int
    pts_ns: int  # since the source began
    ntp_ns: int  # since 1970; 0 where nobody knows
    size_wh: SizeWH  # of the camera's own frames; (0, 0) where nobody knows
    canvas_wh: SizeWH  # of the picture the boxes are in: the muxer's


@dataclass(frozen=True, eq=False)
class RawPerson:
    """Somebody as the metadata has them, copied out of it."""

    track: int
    box_ltwh: tuple[float, float, float, float]  # pixels of the canvas
    score: float  # of the detector; below 0 where only the tracker saw them
    vector: Array | None  # as the network put it out, of whatever type


@dataclass(frozen=True, eq=False)
class RawFrame:
    head: FrameHead
    people: tuple[RawPerson, ...]
    ended: frozenset[int] = frozenset()  # tracks that will not come back, where the tracker tells


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """A frame as the rest of the pipeline takes it."""

    sensor: str
    index: int
    moment_s: float  # since 1970
    size_hw: tuple[int, int]
    tracks: Tracks  # boxes in pixels of the camera's own frames; ids as signed 64 bits
    vectors: FloatArray  # (N, D) unit vectors; NaN where there is none that can be used
    ended: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Wanted:
    """Which part of the metadata is ours."""

    gie_id: int  # gie-unique-id of the re-identification network
    layer: str  # its output
    classes: frozenset[int]  # of people, as the detector counts them
    by_tracker: bool = False  # the vectors are those of nvtracker's own ReID network


class Reader(Protocol):
    """One binding's metadata. Everything is copied before an item is given: buffers are used again afterwards."""

    def frames(self, batch_meta: Any) -> Iterator[RawFrame]: ...
