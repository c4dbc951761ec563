"""How far two sides agree: cosines image by image, who is found, and what a threshold of the one is on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sightline.card import Threshold
from sightline.deploy.compare.labels import Labels, labelled
from sightline.deploy.compare.side import Pairs
from sightline.errors import SightlineError
from sightline.reid.calibrate import PairScores, scores_between
from sightline.reid.labelled import Labelled, unit
from sightline.reid.metrics import Ranking, rank_within
from sightline.reid.verification import far_at, tar_at_far
from sightline.types import FloatArray

FLOOR = 0.98  # of the smallest cosine
FARS = (1e-1, 1e-2, 1e-3)
TOO_ALIKE = 0.9  # mean cosine between different images, as in reid.probe
SAMPLE = 1000  # images between which that is taken


@dataclass(frozen=True)
class Shift:
    """The scores at which both sides accept the same share of strangers."""

    far: float
    a: float
    b: float
    tar_a: float  # share of genuine pairs that reach it
    tar_b: float
    impostor_pairs: int
    reliable: bool  # enough of them for ten false accepts


@dataclass(frozen=True, eq=False)
class Agreement:
    """`a` is what is measured by: the source, or simply the first."""

    names: tuple[str, ...]
    cosines: FloatArray  # (N,) between the two vectors of one image
    between: tuple[float, float]  # mean cosine between vectors of different images, of a and of b
    rankings: tuple[Ranking, Ranking] | None = None  # None: who is on the images is not known
    shifts: tuple[Shift, ...] = ()  # at round rates
    moved: tuple[Shift, ...] = ()  # of the thresholds in use with `a`
    labels: str = ""  # where the people are known from

    @property
    def smallest(self) -> float:
        return float(self.cosines.min())

    @property
    def mean(self) -> float:
        return float(self.cosines.mean(dtype=np.float64))

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.cosines, share))

    def reaches(self, floor: float) -> bool:
        return self.smallest >= floor

    @property
    def is_telling(self) -> bool:
        """False where `a` says nearly the same of every image, so that cosines are high whatever `b` does."""
        return self.between[0] < TOO_ALIKE

    def worst(self, count: int) -> list[int]:
        """The images with the smallest cosines, the smallest first."""
        return [int(row) for row in np.argsort(self.cosines, kind="stable")[:count]]


def agreement(
    pairs: Pairs, labels: Labels, *, fars: Sequence[float] = FARS, thresholds: Sequence[Threshold] = ()
) -> Agreement:
    """Measure everything that the labels allow. `thresholds` are those in use with `a`."""
    a, b = unit(pairs.a), unit(pairs.b)
    left, right = (labelled(side, pairs.names, labels) for side in (a, b))
    scores = tuple(scores_between(side, aggregation="single", source=labels.source) for side in (left, right))
    return Agreement(
        names=pairs.names,
        cosines=np.einsum("nd,nd->n", a, b, dtype=np.float64).astype(np.float32),
        between=(_between_different(a), _between_different(b)),
        rankings=_rankings(left, right),
        shifts=_shifts(scores[0], scores[1], fars),
        moved=_moved(scores[0], scores[1], thresholds),
        labels=labels.source,
    )


def _rankings(left: Labelled, right: Labelled) -> tuple[Ranking, Ranking] | None:
    try:
        return rank_within(left), rank_within(right)
    except SightlineError:  # nobody was seen twice, or nobody by two cameras
        return None


def _between_different(vectors: FloatArray) -> float:
    """Of many images, of an even sample. The square of the sum holds every pair twice, and each with itself once."""
    rows = vectors[:: max(1, len(vectors) // SAMPLE)].astype(np.float64)
    if len(rows) < 2:
        return 0.0
    every = float(np.square(rows.sum(axis=0)).sum()) - float(np.square(rows).sum())
    return every / (len(rows) * (len(rows) - 1))


def _shifts(a: PairScores, b: PairScores, fars: Sequence[float]) -> tuple[Shift, ...]:
    if min(len(a.genuine), len(a.impostor)) == 0:
        return ()
    both = zip(tar_at_far(a.genuine, a.impostor, fars), tar_at_far(b.genuine, b.impostor, fars), strict=True)
    return tuple(
        Shift(one.far, one.threshold, other.threshold, one.tar, other.tar, one.impostor_pairs, bool(one.reliable))
        for one, other in both
    )


def _moved(a: PairScores, b: PairScores, thresholds: Sequence[Threshold]) -> tuple[Shift, ...]:
    """One that none of these strangers reaches, or all, says nothing here, and is left out."""
    values = [threshold.value for threshold in thresholds if threshold.aggregation == "single"]
    fars = {value: float(far_at(value, a.impostor)) for value in values if len(a.impostor)}
    found = {value: _shifts(a, b, [far]) for value, far in fars.items() if 0 < far < 1}
    return tuple(replace(shift, a=value) for value, shifts in found.items() for shift in shifts)
