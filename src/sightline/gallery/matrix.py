"""Exact nearest neighbours in memory: all vectors as one matrix, and beside it what entries are filtered by.

One product with 100,000 vectors costs less than walking an index of them would save, and misses nobody. A filter is a
mask over columns of numbers, so it costs next to nothing either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.gallery.gallery import Hit, Where
from sightline.types import Array, FloatArray, IntArray

SCORES_AT_ONCE = 4_000_000  # 16 MB; queries are answered in blocks of as many as keep to it
FEW = 5  # where a filter leaves less than one in so many rows, copying those out is faster than scoring all
EPSILON = float(np.finfo(np.float32).eps)  # times D, it is twice the most a dot product of unit vectors can be off by
ROWS_AT_ONCE = 4096  # rescored in float64 together

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Label:
    """What is known of a row besides its vector."""

    seq: int  # grows with every row ever added
    id: str
    identity: str
    camera: str
    first_s: float
    last_s: float


class Column:
    """An array that grows at its end, with room to spare, so that adding one row at a time stays cheap."""

    def __init__(self, empty: Array) -> None:
        self._room = empty
        self._count = 0

    @property
    def values(self) -> Array:
        return self._room[: self._count]

    def reserve(self, count: int) -> None:
        room = np.empty((count, *self._room.shape[1:]), self._room.dtype)
        room[: self._count] = self.values
        self._room = room

    def extend(self, rows: Any) -> None:
        count = self._count + len(rows)
        if count > len(self._room):
            self.reserve(count + count // 4)
        self._room[self._count : count] = rows
        self._count = count

    def keep(self, mask: Mask) -> None:
        self._room = self.values[mask]
        self._count = len(self._room)


class Names:
    """Texts as numbers, so that a filter compares numbers."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._names: list[str] = []

    def code(self, name: str) -> int:
        code = self._codes.setdefault(name, len(self._names))
        if code == len(self._names):
            self._names.append(name)
        return code

    def __getitem__(self, code: int) -> str:
        return self._names[code]

    def among(self, names: Collection[str], codes: IntArray) -> Mask:
        """Which of the codes (N,) stand for one of the names."""
        wanted = np.zeros(len(self._names), np.bool_)
        wanted[[self._codes[name] for name in names if name in self._codes]] = True
        return np.asarray(wanted[codes])


class Matrix:
    """Rows in the order they were added. Changed only by its owner, which keeps other threads away meanwhile."""

    def __init__(self, dim: int) -> None:
        self._vectors = Column(np.empty((0, dim), np.float32))
        self._seqs, self._identity, self._camera = (Column(np.empty(0, np.int64)) for _ in range(3))
        self._first_s, self._last_s = (Column(np.empty(0, np.float64)) for _ in range(2))
        self._ids: list[str] = []
        self._row_of: dict[str, int] | None = None  # by id, made when a filter first asks
        self._identities, self._cameras = Names(), Names()
        self._copied = np.empty((0, dim), np.float32)  # what a filter left last: the next question often has the same
        self._copied_rows: IntArray = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def last_seq(self) -> int:
        return int(self._seqs.values[-1]) if self._ids else 0

    def reserve(self, more: int) -> None:
        """Make room at once for rows that are about to come."""
        self._vectors.reserve(len(self) + more)

    def append(self, labels: Sequence[Label], vectors: FloatArray) -> None:
        self._vectors.extend(vectors)
        self._seqs.extend([label.seq for label in labels])
        self._identity.extend([self._identities.code(label.identity) for label in labels])
        self._camera.extend([self._cameras.code(label.camera) for label in labels])
        self._first_s.extend([label.first_s for label in labels])
        self._last_s.extend([label.last_s for label in labels])
        self._ids += [label.id for label in labels]
        self._row_of = None

    def relabel(self, identities: dict[int, str]) -> None:
        """Keep the rows whose `seq` is here, and give each the identity it has here."""
        seqs = self._seqs.values.tolist()
        kept = np.array([seq in identities for seq in seqs], np.bool_)
        if not kept.all():
            for column in (self._vectors, self._seqs, self._identity, self._camera, self._first_s, self._last_s):
                column.keep(kept)
            self._ids = [name for name, is_kept in zip(self._ids, kept, strict=True) if is_kept]
            self._row_of = None
            self._copied, self._copied_rows = self._copied[:0], np.empty(0, np.int64)
        codes = [self._identities.code(identities[seq]) for seq in seqs if seq in identities]
        self._identity.values[:] = codes

    def nearest(self, queries: FloatArray, *, top_k: int, where: Where) -> list[list[Hit]]:
        """For each query (Q, D) the `top_k` rows of highest cosine, equal scores in order of id."""
        rows = self._rows(where)
        if rows is not None and len(rows) * FEW > len(self):
            vectors, off = self._vectors.values, np.ones(len(self), np.bool_)
            off[rows] = False
            rows = None
        else:
            vectors, off = self._vectors.values if rows is None else self._copy_of(rows), None
        top_k = min(top_k, len(vectors) if off is None else int((~off).sum()))
        if top_k == 0:
            return [[] for _ in queries]
        found = []
        for query, scores in _scored(queries, vectors):
            if off is not None:
                scores[off] = -np.inf
            near = _candidates(scores, top_k, slack=vectors.shape[1] * EPSILON)
            found.append(self._hits(query, near if rows is None else rows[near], top_k))
        return found

    def _copy_of(self, rows: IntArray) -> FloatArray:
        """Those vectors side by side, until this is called again."""
        if not np.array_equal(rows, self._copied_rows):
            self._copied, self._copied_rows = self._vectors.values.take(rows, axis=0), rows
        return self._copied

    def _hits(self, query: FloatArray, rows: IntArray, top_k: int) -> list[Hit]:
        scores = _exact_scores(self._vectors.values, rows, query)
        order = sorted(zip((-scores).tolist(), (self._ids[row] for row in rows), rows.tolist(), strict=True))[:top_k]
        identity, camera, first_s, last_s = (
            column.values for column in (self._identity, self._camera, self._first_s, self._last_s)
        )
        return [
            Hit(
                id=name,
                identity=self._identities[identity[row]],
                score=-negative,
                camera=self._cameras[camera[row]],
                first_s=float(first_s[row]),
                last_s=float(last_s[row]),
            )
            for negative, name, row in order
        ]

    def _rows(self, where: Where) -> IntArray | None:
        """The rows a filter leaves, in order; None where it leaves all."""
        masks = list(self._masks(where))
        return np.flatnonzero(np.logical_and.reduce(masks)) if masks else None

    def _masks(self, where: Where) -> Iterator[Mask]:
        if where.identities is not None:
            yield self._identities.among(where.identities, self._identity.values)
        if where.not_identities:
            yield ~self._identities.among(where.not_identities, self._identity.values)
        if where.cameras is not None:
            yield self._cameras.among(where.cameras, self._camera.values)
        if where.not_cameras:
            yield ~self._cameras.among(where.not_cameras, self._camera.values)
        if where.since_s is not None:
            yield self._last_s.values >= where.since_s
        if where.until_s is not None:
            yield self._first_s.values <= where.until_s
        if where.ids is not None:
            yield self._among_ids(where.ids)

    def _among_ids(self, ids: Collection[str]) -> Mask:
        if self._row_of is None:
            self._row_of = {name: row for row, name in enumerate(self._ids)}
        mask = np.zeros(len(self), np.bool_)
        mask[[self._row_of[name] for name in ids if name in self._row_of]] = True
        return mask


def _scored(queries: FloatArray, vectors: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Each query with its cosines to all vectors (N,), as float32 rounds them."""
    step = max(1, SCORES_AT_ONCE // max(1, len(vectors)))
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        # Alone, a query is a third faster as a vector than as a matrix of one row.
        scores = (vectors @ block[0])[None] if len(block) == 1 else block @ vectors.T
        yield from zip(block, scores, strict=True)


def _candidates(scores: FloatArray, top_k: int, *, slack: float) -> IntArray:
    """Rows that may be among the best, once rounding is allowed for.

    The order of summation, and so the last bits of a score, depend on where in the matrix a row is. Equal vectors
    would otherwise come in an order that changes when somebody else is added.
    """
    least = np.partition(scores, len(scores) - top_k)[len(scores) - top_k]
    return np.flatnonzero((scores >= least - slack) & (scores > -np.inf))


def _exact_scores(vectors: FloatArray, rows: IntArray, query: FloatArray) -> NDArray[np.float64]:
    """Cosines in float64, each row summed in the same order, so that equal vectors score equally."""
    exact = query.astype(np.float64)
    blocks = [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
    return np.concatenate([(vectors[block] * exact).sum(axis=1) for block in blocks])
