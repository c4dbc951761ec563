"""Same person or not: pairs, and what a threshold on their scores lets through.

Everywhere a pair is accepted when its score reaches the threshold, higher is closer, and a figure comes with the number
of pairs behind it: a false accept rate of 1e-3 measured on 500 impostors is a rumour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.errors import SightlineError
from sightline.reid.labelled import ById, Labelled, Products, by_id, pieces, require, unit, within
from sightline.types import FloatArray, IntArray

BLOCK = 128  # rows of scores made at once
CHUNK = 65536  # columns of them
PAIRS_AT_ONCE = 8192  # of a sample
RELIABLE = 10  # false accepts to be expected before their rate means anything
SLACK = 1e-9  # what a product of a rate and a count may lack to the whole number it stands for

# The thresholds of the usual LFW evaluation, squared distances 0 to 4 by 0.01 between unit vectors, as cosines.
LFW_THRESHOLDS = 1 - np.arange(0, 4, 0.01) / 2


@dataclass(frozen=True)
class Eer:
    """Where as many impostors pass as genuine pairs are turned away."""

    rate: float  # interpolated between the two measured points around the crossing
    threshold: float
    genuine_pairs: int
    impostor_pairs: int


@dataclass(frozen=True)
class TarAtFar:
    """The share of genuine pairs accepted where at most `far` of the impostors are."""

    far: float
    tar: float
    threshold: float
    genuine_pairs: int
    impostor_pairs: int
    reliable: bool  # enough impostors for ten false accepts


@dataclass(frozen=True)
class TenFold:
    """Accuracy on each fold at the threshold that was best on the others."""

    accuracy: float  # mean over folds
    std: float  # over folds, of the population
    thresholds: tuple[float, ...]  # of each fold


def genuine_and_impostor(
    a: Labelled,
    b: Labelled | None = None,
    *,
    exclude_same_camera_positives: bool = True,
    max_pairs: int | None = None,
    seed: int = 0,
) -> tuple[FloatArray, FloatArray]:
    """Cosines of pairs that show the same identity, and of those that do not; each (N,), ascending.

    Every vector of `a` with every one of `b`, or, without `b`, each unordered pair within `a` once. Junk (-1) is left
    out. `max_pairs` draws that many of each kind, uniformly and without making the rest; drawing happens only where
    there are more. All pairs take 4 bytes each.
    """
    pairs = _Pairs(a, b, exclude_same_camera_positives)
    genuine, impostor = pairs.genuine_counts(), pairs.impostor_counts()
    if max_pairs is not None and max(genuine.sum(), impostor.sum()) > max_pairs:
        require(max_pairs >= 1, f"max_pairs is {max_pairs}; expected 1 or more")
        rng = np.random.default_rng(seed)
        scores = [pairs.scores(rows, pairs.genuine_columns(rows, nth)) for rows, nth in [_drawn(genuine, max_pairs, rng)]]
        scores += [pairs.scores(rows, pairs.impostor_columns(rows, nth)) for rows, nth in [_drawn(impostor, max_pairs, rng)]]
    else:
        scores = list(pairs.all_scores(int(genuine.sum()), int(impostor.sum())))
    for kind in scores:
        kind.sort()
    return scores[0], scores[1]
