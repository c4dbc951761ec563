"""Labelled vectors in order of identity, and the scores between two sides of them, block by block.

In order of identity all images of one person are one slice: finding the matches of a query, or leaving them out, is a
look at the ends of that slice and never a search through labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np

from sightline.errors import SightlineError
from sightline.types import FloatArray, IntArray

JUNK = -1  # the identity of detections that are nobody
ROUNDING = 2.0**-23  # of a score, a step of float32: how unlike equal products may come out
LARGEST = 1e15  # of a vector's numbers, so that its products fit float32

Metric = Literal["cosine", "euclidean"]


def _within(largest: float, values: FloatArray) -> bool:
    """False for NaN too. Looks at the extremes, so that nothing the size of `values` is made."""
    return values.size == 0 or bool(-largest <= values.min() and values.max() <= largest)


def require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def require_embeddings(vectors: FloatArray) -> None:
    if not _within(LARGEST, vectors):
        raise SightlineError(f"vectors hold NaN or values beyond {LARGEST:g}: not an embedding; embed them again")


@dataclass(frozen=True, eq=False)
class Labelled:
    """The vectors of one side of a comparison, with who each shows and which camera took it.

    Without `cameras` every image counts as taken by a camera of its own, so that no match is left out.
    """

    vectors: FloatArray  # (N, D), normalised or not
    ids: IntArray  # (N,)
    cameras: IntArray | None = None  # (N,)

    def __post_init__(self) -> None:
        require(self.vectors.ndim == 2, f"vectors must be (N, D), got {self.vectors.shape}")
        for name, labels in (("ids", self.ids), ("cameras", self.cameras)):
            if labels is not None:
                sound = labels.shape == (len(self),) and labels.dtype.kind in "iu"
                require(
                    sound, f"{len(self)} vectors with {labels.dtype} {name} {labels.shape}; expected one integer each"
                )
        require_embeddings(self.vectors)

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, eq=False)
class ById:
    """One side in order of identity, junk left out."""

    rows: IntArray  # (M,) into the vectors
    ids: IntArray  # (M,) ascending
    cameras: IntArray  # (M,)

    def __len__(self) -> int:
        return len(self.rows)

    def spans(self, ids: IntArray) -> list[tuple[int, int]]:
        """Where each of the identities begins and ends."""
        begins, ends = np.searchsorted(self.ids, ids, side="left"), np.searchsorted(self.ids, ids, side="right")
        return list(zip(begins.tolist(), ends.tolist(), strict=True))


def by_id(side: Labelled, *, nameless: int) -> ById:
    """`nameless` is the camera of a side that names none."""
    rows = np.argsort(side.ids, kind="stable")
    rows = rows[side.ids[rows] != JUNK]
    cameras = np.full(len(rows), nameless) if side.cameras is None else side.cameras[rows]
    return ById(rows, side.ids[rows], cameras)


def pieces(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def within(span: tuple[int, int], columns: slice) -> slice:
    """The part of a span that lies in these columns, counted from their first. Empty where there is none."""
    begin, end = (min(max(edge, columns.start), columns.stop) - columns.start for edge in span)
    return slice(begin, end)


# Scores, higher is closer


class Scorer(Protocol):
    """Scores between any rows of the query side and any of the gallery's."""

    def against(self, columns: IntArray) -> Callable[[IntArray], FloatArray]:
        """Prepare these gallery rows. The scores of each call may be written to, and live until the next call."""

    def rounding(self, rows: IntArray, scores: FloatArray) -> FloatArray:
        """For scores (rows, any) of these queries, by how much others may be lower and still be equal."""


def unit(vectors: FloatArray) -> FloatArray:
    """L2-normalised, as float32. A zero vector stays one."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))[:, None]  # float32 would underflow
    return np.divide(vectors, np.where(lengths > 0, lengths, 1.0), dtype=np.float32, casting="same_kind")


def _with_one(vectors: FloatArray) -> FloatArray:
    return np.hstack([vectors, np.ones((len(vectors), 1), np.float32)], dtype=np.float32)


def _with_half_square(vectors: FloatArray) -> FloatArray:
    """Beside `_with_one`, the product is q·g - g²/2 = (q² - |q - g|²) / 2: for one query, in order of distance."""
    squares = np.einsum("nd,nd->n", vectors, vectors)[:, None]
    return np.hstack([vectors, squares / -2], dtype=np.float32)


Prepare = Callable[[FloatArray], FloatArray]
METRICS: Mapping[str, tuple[Prepare, Prepare]] = MappingProxyType(
    {"cosine": (unit, unit), "euclidean": (_with_one, _with_half_square)}
)


class Products:
    """Scores as matrix products of prepared vectors."""

    def __init__(self, query: FloatArray, gallery: FloatArray, metric: Metric = "cosine") -> None:
        require(metric in METRICS, f"metric is {metric!r}; expected one of {', '.join(METRICS)}")
        sizes = query.shape[1], gallery.shape[1]
        require(sizes[0] == sizes[1], f"query vectors have {sizes[0]} numbers, gallery vectors {sizes[1]}")
        self._query, self._gallery = query, gallery
        self._prepare_query, self._prepare_gallery = METRICS[metric]

    def against(self, columns: IntArray) -> Callable[[IntArray], FloatArray]:
        right = self._prepare_gallery(self._gallery[columns]).T
        buffer = np.empty((0, len(columns)), np.float32)

        def score(rows: IntArray) -> FloatArray:
            nonlocal buffer
            if len(buffer) < len(rows):
                buffer = np.empty((len(rows), len(columns)), np.float32)
            scores: FloatArray = np.matmul(self._prepare_query(self._query[rows]), right, out=buffer[: len(rows)])
            return scores

        return score

    def rounding(self, rows: IntArray, scores: FloatArray) -> FloatArray:
        """A score near zero is a sum of numbers that are not, so it is taken for a quarter of the largest there is."""
        left = self._prepare_query(self._query[rows])[:, : self._query.shape[1]]
        largest = np.einsum("nd,nd->n", left, left)[:, None]
        return np.asarray(np.maximum(np.abs(scores), largest / 4) * ROUNDING, np.float32)


class Given:
    """Scores from a matrix (Q, G), to be taken as they are."""

    def __init__(self, scores: FloatArray) -> None:
        self._scores = scores

    def against(self, columns: IntArray) -> Callable[[IntArray], FloatArray]:
        return lambda rows: self._scores[np.ix_(rows, columns)]

    def rounding(self, rows: IntArray, scores: FloatArray) -> FloatArray:
        return np.zeros_like(scores)


def scorer_of(query: Labelled, gallery: Labelled, metric: Metric, scores: FloatArray | None) -> Scorer:
    if scores is None:
        return Products(query.vectors, gallery.vectors, metric)
    expected = len(query), len(gallery)
    require(scores.shape == expected, f"scores must be {expected}, one row a query, got {scores.shape}")
    require(_within(float(np.finfo(np.float32).max), scores), "scores hold NaN or infinity, which have no rank")
    return Given(scores)
