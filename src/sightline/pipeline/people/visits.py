"""A visit: one person, from the first frame of a track to its last, with all that is known of them afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sightline.types import Image, Tracklet

Verdict = Literal["new", "matched", "continued", "unknown"]


@dataclass(frozen=True, eq=False)
class Visit:
    """A track that has ended, or one part of it where it changed person or went on for very long.

    The tracklet's `source` is the name of the camera, its `embedding` one averaged, normalised vector, or None where
    nobody could be recognised by any crop, its `crops` the best ones, in order of time.
    """

    number: int  # of the visits to its camera in the order they ended, from 1
    tracklet: Tracklet
    crop_frames: tuple[int, ...] = ()  # of each of the crops
    count: int = 0  # crops behind the embedding
    quality: float = 0.0  # 0..1, of the best crop
    continues: int | None = None  # the number of the visit of which this is the rest

    @property
    def camera(self) -> str:
        return self.tracklet.source

    @property
    def first_s(self) -> float:
        """Seconds from the start of the source."""
        return float(self.tracklet.times_s[0])

    @property
    def last_s(self) -> float:
        return float(self.tracklet.times_s[-1])

    @property
    def best_crop(self) -> Image | None:
        """The largest of the crops kept."""
        return max(self.tracklet.crops, key=lambda crop: crop.shape[0] * crop.shape[1], default=None)


@dataclass(frozen=True)
class RuledOut:
    """Somebody who looks more like it than the one chosen, and cannot be."""

    identity: str
    score: float
    reason: str


@dataclass(frozen=True)
class Decision:
    """Who a visit was taken for, in the numbers that decided it."""

    verdict: Verdict
    identity: str | None  # None: nobody; such a visit is in no gallery
    reason: str  # in words, with the numbers
    threshold: float | None = None
    nearest: str | None = None  # the identity most alike, of those who can be
    score: float | None = None  # its cosine
    runner_up: str | None = None
    runner_up_score: float | None = None
    likeness: float | None = None  # of the nearest: the cosine with the scene taken out; None: nothing is known of that
    ruled_out: tuple[RuledOut, ...] = ()  # best first
