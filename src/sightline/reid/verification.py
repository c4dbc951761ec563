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

Figures = NDArray[np.float64]

BLOCK = 128  # rows of scores made at once
CHUNK = 65536  # columns of them
PAIRS_AT_ONCE = 8192  # of a sample
RELIABLE = 10  # false accepts to be expected before their rate means anything
EXCESS = 1 + 1e-12  # so that 0.29 of 100 is 29, which floats miss by a little

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

    Every vector of `a` with every one of `b`, or, without `b`, each pair within `a` once. Junk (-1) is left out. All
    pairs take 4 bytes each; `max_pairs` draws at most that many of each kind, all pairs alike, and makes no others.
    """
    pairs = _pairs(a, b, exclude_same_camera_positives)
    if max_pairs is None:
        genuine, impostor = _all_scores(pairs)
    else:
        require(max_pairs >= 1, f"max_pairs is {max_pairs}; expected 1 or more")
        rng = np.random.default_rng(seed)
        genuine = pairs.scores(*_drawn_genuine(pairs, max_pairs, rng))
        impostor = pairs.scores(*_drawn_impostors(pairs, max_pairs, rng))
    genuine.sort()
    impostor.sort()
    return genuine, impostor


def eer(genuine: FloatArray, impostor: FloatArray) -> Eer:
    """Where the false accept rate, falling with the threshold, meets the false reject rate, rising with it.

    The rates only bend where a genuine score lies: between two of those nothing but impostors is passed. So looking at
    each genuine score, and just above it, is looking everywhere.
    """
    genuine, impostor = _ascending(genuine, "genuine"), _ascending(impostor, "impostor")
    accepted = [np.searchsorted(impostor, genuine, side=side) for side in ("left", "right")]
    rejected = [np.searchsorted(genuine, genuine, side=side) for side in ("left", "right")]
    far = 1 - np.stack(accepted, axis=1).ravel() / len(impostor)
    frr = np.stack(rejected, axis=1).ravel() / len(genuine)
    after = int(np.argmax(frr >= far))  # there is one: above the best genuine score all genuine pairs are rejected
    rate = _crossing(far, frr, after)
    return Eer(rate, _threshold(rate, genuine, impostor), len(genuine), len(impostor))


def _crossing(far: Figures, frr: Figures, after: int) -> float:
    if after == 0:
        return float(far[0])
    before = far[after - 1] - frr[after - 1]
    share = before / (before + frr[after] - far[after])
    return float(far[after - 1] + share * (far[after] - far[after - 1]))


def tar_at_far(
    genuine: FloatArray, impostor: FloatArray, fars: Sequence[float] = (1e-1, 1e-2, 1e-3)
) -> tuple[TarAtFar, ...]:
    """For each rate the most genuine pairs that can be accepted without accepting more impostors than that."""
    genuine, impostor = _ascending(genuine, "genuine"), _ascending(impostor, "impostor")
    return tuple(_tar(far, genuine, impostor) for far in fars)


def _tar(far: float, genuine: FloatArray, impostor: FloatArray) -> TarAtFar:
    require(0 < far < 1, f"far is {far}; expected a rate between 0 and 1")
    threshold = _threshold(far, genuine, impostor)
    tar = 1 - float(np.searchsorted(genuine, genuine.dtype.type(threshold))) / len(genuine)
    reliable = far * len(impostor) * EXCESS >= RELIABLE
    return TarAtFar(far, tar, threshold, len(genuine), len(impostor), reliable)


def far_at(threshold: float, impostor: FloatArray) -> float:
    """The share of impostors that reach the threshold."""
    _require_pairs(impostor, "impostor")
    return np.count_nonzero(impostor >= impostor.dtype.type(threshold)) / len(impostor)


def ten_fold_accuracy(
    scores: FloatArray, same: NDArray[np.bool_], *, folds: int = 10, thresholds: Figures = LFW_THRESHOLDS
) -> TenFold:
    """Accuracy as LFW and its followers state it: for each fold the best threshold of the other folds.

    Folds are consecutive, so pairs stay in the order of their list. `thresholds` are what is tried; of several equally
    good ones the first is taken, by default the strictest. For scores other than cosines give your own.
    """
    require(scores.shape == same.shape == (len(scores),), f"scores {scores.shape} with labels {same.shape}")
    require(2 <= folds <= len(scores), f"folds is {folds}; expected 2 to the number of pairs, {len(scores)}")
    right = np.stack([(scores >= threshold) == same.astype(bool) for threshold in thresholds])  # (T, N)
    parts = [slice(part[0], part[-1] + 1) for part in np.array_split(np.arange(len(scores)), folds)]
    per_fold = np.stack([np.count_nonzero(right[:, part], axis=1) for part in parts], axis=1)  # (T, folds)
    chosen = np.argmax(per_fold.sum(axis=1, keepdims=True) - per_fold, axis=0)
    accuracies = per_fold[chosen, np.arange(folds)] / [part.stop - part.start for part in parts]
    best = tuple(float(thresholds[index]) for index in chosen)
    return TenFold(float(np.mean(accuracies)), float(np.std(accuracies)), best)


def _require_pairs(scores: FloatArray, kind: str) -> None:
    if len(scores) == 0:
        raise SightlineError(f"there are no {kind} pairs, so no rate can be stated; check the ids and cameras")


def _ascending(scores: FloatArray, kind: str) -> FloatArray:
    """Sorted, and not again where it already is, as `genuine_and_impostor` leaves it."""
    _require_pairs(scores, kind)
    ordered = scores if bool((scores[:-1] <= scores[1:]).all()) else np.sort(scores)
    if np.isnan(ordered[-1]):  # NaN is sorted last
        raise SightlineError(f"{kind} scores hold NaN, which reaches no threshold; embed those images again")
    return ordered


def _threshold(far: float, genuine: FloatArray, impostor: FloatArray) -> float:
    """The lowest threshold that at most this share of impostors reaches, put halfway to the score above it.

    Where in that gap it lies changes no measured rate. Halfway is the likeliest to hold for pairs not measured.
    """
    allowed = math.floor(far * len(impostor) * EXCESS)
    if allowed >= len(impostor):
        return float(min(genuine[0], impostor[0]))
    below = impostor[len(impostor) - 1 - allowed]
    above = [scores[index] for scores in (genuine, impostor) if (index := _count_upto(scores, below)) < len(scores)]
    if not above:
        return float(np.nextafter(below, below.dtype.type(np.inf)))
    nearest = min(above)
    halfway = (below + nearest) / 2
    return float(halfway if below < halfway else nearest)


def _count_upto(scores: FloatArray, score: np.float32) -> int:
    return int(np.searchsorted(scores, score, side="right"))


# Pairs


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Rows and columns in order of identity. Of row i count the columns from `begins[i]`; `owns[i]` are its matches.

    Within one side a row is paired with the rows after it, so that no pair comes twice and nothing meets itself.
    """

    asked: ById
    shown: ById
    vectors: tuple[FloatArray, FloatArray]
    begins: IntArray  # (M,)
    owns: IntArray  # (M, 2)
    across_cameras: bool  # matches must be

    def genuine_columns(self, row: int) -> IntArray:
        columns = np.arange(*self.owns[row], dtype=np.int64)
        if self.across_cameras:
            columns = columns[self.shown.cameras[columns] != self.asked.cameras[row]]
        return columns

    def impostor_counts(self) -> IntArray:
        begin, end = self.owns.T
        return np.asarray(begin - self.begins + len(self.shown) - end, np.int64)

    def scores(self, rows: IntArray, columns: IntArray) -> FloatArray:
        """Of single pairs."""
        scores = np.empty(len(rows), np.float32)
        for part in pieces(len(rows), PAIRS_AT_ONCE):
            left = unit(self.vectors[0][self.asked.rows[rows[part]]])
            right = unit(self.vectors[1][self.shown.rows[columns[part]]])
            np.einsum("nd,nd->n", left, right, out=scores[part])
        return scores


def _pairs(a: Labelled, b: Labelled | None, across_cameras: bool) -> _Pairs:
    other = a if b is None else b
    asked, shown = by_id(a, nameless=-1), by_id(other, nameless=-1)
    owns = np.array(shown.spans(asked.ids), np.int64).reshape(-1, 2)
    begins = np.zeros(len(asked), np.int64)
    if b is None:
        begins = np.arange(1, len(asked) + 1)
        owns[:, 0] = begins
    known = a.cameras is not None and other.cameras is not None
    return _Pairs(asked, shown, (a.vectors, other.vectors), begins, owns, across_cameras and known)


def _all_scores(pairs: _Pairs) -> tuple[FloatArray, FloatArray]:
    genuine: list[FloatArray] = [np.empty(0, np.float32)]
    impostor = np.empty(pairs.impostor_counts().sum(), np.float32)
    filled = 0
    for row, columns, scores in _score_rows(pairs):
        own = pairs.genuine_columns(row)
        genuine.append(scores[own[(own >= columns.start) & (own < columns.stop)] - columns.start])
        begin, end = pairs.owns[row]
        for span in ((pairs.begins[row], begin), (end, len(pairs.shown))):
            part = scores[within(span, columns)]
            impostor[filled : filled + len(part)] = part
            filled += len(part)
    return np.concatenate(genuine), impostor


def _score_rows(pairs: _Pairs) -> Iterator[tuple[int, slice, FloatArray]]:
    products = Products(*pairs.vectors)
    for columns in pieces(len(pairs.shown), CHUNK):
        score = products.against(pairs.shown.rows[columns])
        for rows in pieces(len(pairs.asked), BLOCK):
            block = score(pairs.asked.rows[rows])
            yield from ((rows.start + offset, columns, row) for offset, row in enumerate(block))


def _drawn_genuine(pairs: _Pairs, count: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    columns = [pairs.genuine_columns(row) for row in range(len(pairs.asked))]
    rows, nth = _drawn(np.array([len(own) for own in columns], np.int64), count, rng)
    return rows, np.array([columns[row][index] for row, index in zip(rows, nth, strict=True)], np.int64)


def _drawn_impostors(pairs: _Pairs, count: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    rows, nth = _drawn(pairs.impostor_counts(), count, rng)
    columns = pairs.begins[rows] + nth
    begin, end = pairs.owns[rows].T
    return rows, np.where(columns < begin, columns, columns + end - begin)


def _drawn(counts: IntArray, count: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Different pairs out of rows that hold `counts` of them: (rows, which of the row)."""
    total = int(counts.sum())
    pairs = np.arange(total) if total <= count else np.sort(rng.choice(total, count, replace=False, shuffle=False))
    ends = np.cumsum(counts)
    rows = np.searchsorted(ends, pairs, side="right")
    return rows, pairs - (ends - counts)[rows]
