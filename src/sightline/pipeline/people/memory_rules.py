"""When two visits may be of one person: by looks, and by where and when they were seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ConfigError
from sightline.gallery.gallery import Entry, Hit
from sightline.pipeline.cluster import USUAL_THRESHOLD
from sightline.reid.identify import MARGIN, TIE

# Likeness, the cosine with the scene taken out, from which on two may be one. Strangers seldom reach it, and people who
# come back mostly do (docs/decisions/0008).
DISTINCT = 0.5
# Cosine, besides that likeness, where nobody has calibrated one: no more than a floor. Two who share a scene reach it
# anyhow, and likeness decides; two who do not reach it share neither that nor looks, whatever is left of them.
UNCALIBRATED = 0.5

# As a track breaks and goes on under another number, a tracker may follow both for a moment: that is not two people.
HANDOVER_S = 0.2

Seconds = NDArray[np.float64]
Mask = NDArray[np.bool_]

_A_COSINE = "a cosine, from -1 to 1"


@dataclass(frozen=True)
class MemoryRules:
    """What it takes to be recognised. Raises `ConfigError` for numbers that mean nothing."""

    threshold: float | None  # cosine of averaged vectors; None: nobody knows which
    margin: float = MARGIN  # of likeness, by which the best identity must be ahead of the next
    distinct: float = DISTINCT  # likeness: the cosine with the scene taken out, where that is known
    least_crops: int = 2  # behind a vector that makes a new identity; fewer can only be recognised
    travel_s: float | None = None  # from one camera to any other; None: cameras may see the same place
    forget_s: float | None = None  # whoever was last seen longer ago is not considered; None: everybody is

    def __post_init__(self) -> None:
        _require(self.threshold is None or -1 <= self.threshold <= 1, "threshold", self.threshold, _A_COSINE)
        _require(-1 <= self.distinct <= 1, "distinct", self.distinct, _A_COSINE)
        _require(0 <= self.margin <= 2, "margin", self.margin, "a difference of cosines, 0 or more")
        _require(self.least_crops >= 1, "least_crops", self.least_crops, "1 or more")
        for name in ("travel_s", "forget_s"):
            value = getattr(self, name)
            _require(value is None or 0 <= value < math.inf, name, value, "seconds, 0 or more, or none")

    @property
    def lead(self) -> float:
        """By which the best is ahead at least."""
        return max(self.margin, TIE)

    def bar(self, *, scene: bool) -> Bar:
        """For two visits, `scene`: of which it is known what is to be taken out. Else likeness is the cosine, of which
        more is asked then: as much as is usual, unless somebody knows better.
        """
        if not scene:
            plain = USUAL_THRESHOLD if self.threshold is None else self.threshold
            return Bar(plain, None)
        return Bar(UNCALIBRATED if self.threshold is None else self.threshold, self.distinct)


@dataclass(frozen=True)
class Bar:
    """What two of one person reach, both of it."""

    cosine: float
    likeness: float | None  # None: it is the cosine

    @property
    def least(self) -> float:
        """Likeness, whatever that is."""
        return self.cosine if self.likeness is None else self.likeness

    def is_reached(self, cosine: float, likeness: float) -> bool:
        return cosine >= self.cosine and (self.likeness is None or likeness >= self.likeness)


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{name} is {value}; expected {expected}")


@dataclass(frozen=True, eq=False)
class Stays:
    """Some stays of people before cameras, as columns (N,)."""

    firsts_s: Seconds
    lasts_s: Seconds

    @classmethod
    def of(cls, seen: Sequence[Entry | Hit]) -> Stays:
        return cls(np.array([one.first_s for one in seen], float), np.array([one.last_s for one in seen], float))

    def __getitem__(self, row: int) -> tuple[float, float]:
        return float(self.firsts_s[row]), float(self.lasts_s[row])

    def overlaps_s(self, first_s: float, last_s: float) -> Seconds:
        """For how long each was around together with that stay; below 0, how long one was gone when the other came."""
        return np.minimum(self.lasts_s, last_s) - np.maximum(self.firsts_s, first_s)

    def at_once(self, first_s: float, last_s: float) -> Mask:
        """Which of them, before the same camera, were in the picture at the same time as that stay.

        A stay that lies wholly within the other was, however short it is.
        """
        shorter = np.minimum(self.lasts_s - self.firsts_s, last_s - first_s)
        return self.overlaps_s(first_s, last_s) >= np.minimum(shorter, HANDOVER_S)

    def too_soon(self, first_s: float, last_s: float, travel_s: float | None) -> Mask:
        """Which of them, before another camera, are nearer in time to that stay than anybody gets from there."""
        if travel_s is None:
            return np.zeros(len(self.firsts_s), np.bool_)
        return -self.overlaps_s(first_s, last_s) < travel_s
