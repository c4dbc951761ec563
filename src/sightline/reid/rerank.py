"""k-reciprocal re-ranking, after Zhong, Zheng, Cao and Li (CVPR 2017, arXiv 1701.08398).

Two images of one person have much the same neighbours. Each image is encoded by its reciprocal neighbours, those that
have it among theirs too, and a query is compared with the gallery by how far the encodings overlap.

The usual way holds several dense (Q + G)² matrices. An encoding has a few dozen entries that are not zero, so here
everything is a list of those. Peak memory, in bytes, beside the vectors, a normalised copy of them and the (Q, G)
result: 12 · block · (Q + G) for the scores of one block, and 36 · (Q + G) · (entries of an encoding, some 50 to 150).

Equations are the paper's. Where its text leaves something open the authors' program decides, as all published figures
come from it: an image is its own first neighbour, a distance is divided by the largest of its row, and a neighbour's
neighbours are taken when strictly more than two thirds of them are shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.reid.labelled import pieces, require, require_embeddings, unit
from sightline.types import Array, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class _Sparse:
    """Rows of a matrix, each as the columns that are not zero and their values."""

    columns: Sequence[IntArray]
    values: Sequence[FloatArray]


@dataclass(frozen=True, eq=False)
class _Neighbours:
    nearest: IntArray  # (N, k) closest first; column 0 is the image itself
    farthest: FloatArray  # (N,) the largest distance of each row


def rerank(
    query_vectors: FloatArray,
    gallery_vectors: FloatArray,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    block: int = 128,
) -> FloatArray:
    """Scores, (Q, G), 0 to 1, higher is closer: one minus the paper's final distance (equation 12).

    `k1` neighbours are looked at for reciprocity, encodings are averaged over `k2`, and `weight` is the share of the
    original distance, the squared Euclidean between L2-normalised vectors. Time grows with (Q + G)².
    """
    require(min(k1, k2, block) >= 1, f"k1, k2 and block are {k1}, {k2}, {block}; expected 1 or more")
    require(0 <= weight <= 1, f"weight is {weight}; expected 0 to 1")
    sizes = query_vectors.shape[1], gallery_vectors.shape[1]
    require(sizes[0] == sizes[1], f"query vectors have {sizes[0]} numbers, gallery vectors {sizes[1]}")
    require(len(gallery_vectors) > 0, "the gallery is empty; expected at least one vector")
    require_embeddings(query_vectors)
    require_embeddings(gallery_vectors)
    vectors = unit(np.concatenate([query_vectors, gallery_vectors]))
    around = _neighbours(vectors, max(k1 + 1, k2), block)
    encodings = _averaged(_encodings(vectors, around, k1, block), around.nearest[:, :k2])
    queries = len(query_vectors)
    scores = _overlaps(encodings, queries)
    for rows in pieces(queries, block):
        distances = _distances(vectors[rows], vectors[queries:]) / around.farthest[rows, None]
        scores[rows] = (1 - weight) * scores[rows] + weight * (1 - distances)
    return scores


def _distances(left: FloatArray, right: FloatArray) -> FloatArray:
    """Squared Euclidean between unit vectors."""
    products: FloatArray = left @ right.T
    np.multiply(products, -2, out=products)
    np.add(products, 2, out=products)
    return np.maximum(products, 0, out=products)


def _neighbours(vectors: FloatArray, count: int, block: int) -> _Neighbours:
    count = min(count, len(vectors))
    nearest = np.empty((len(vectors), count), np.int64)
    farthest = np.empty(len(vectors), np.float32)
    for rows in pieces(len(vectors), block):
        distances = _distances(vectors[rows], vectors)
        farthest[rows] = distances.max(axis=1)
        distances[np.arange(rows.stop - rows.start), np.arange(rows.start, rows.stop)] = -1  # before its duplicates
        nearest[rows] = _smallest(distances, count)
    return _Neighbours(nearest, np.where(farthest > 0, farthest, 1))


def _smallest(distances: FloatArray, count: int) -> IntArray:
    """Columns of the smallest of each row, ascending."""
    chosen = np.argpartition(distances, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(distances, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


def _reciprocal(nearest: IntArray, rows: slice) -> Array:
    """Which neighbours of these rows have the row among theirs: R(p, k), equation 4. (rows, k), bool."""
    own = np.arange(rows.start, rows.stop)[:, None, None]
    return np.asarray((nearest[nearest[rows]] == own).any(axis=2))


def _encodings(vectors: FloatArray, around: _Neighbours, k1: int, block: int) -> _Sparse:
    """Each image as weights over its expanded reciprocal neighbours, which sum to 1: equation 7, normalised."""
    columns, values = [], []
    for row, members in enumerate(_expanded(around.nearest[:, : k1 + 1], k1, block)):
        distances = np.maximum(2 - 2 * (vectors[members] @ vectors[row]), 0) / around.farthest[row]
        weights = np.exp(-distances)
        columns.append(members)
        values.append(weights / weights.sum())
    return _Sparse(columns, values)


def _expanded(nearest: IntArray, k1: int, block: int) -> Iterator[IntArray]:
    """R*(p, k1) of every row, equation 5: its reciprocal neighbours, and theirs where most of those are shared."""
    half = nearest[:, : round(k1 / 2) + 1]
    half_mutual = np.concatenate([_reciprocal(half, rows) for rows in pieces(len(half), block)])
    for rows in pieces(len(nearest), block):
        mutual = _reciprocal(nearest, rows)
        candidates = half[nearest[rows]]  # (rows, k, half)
        counted = half_mutual[nearest[rows]]
        shared = np.stack([_is_in(candidates[i], nearest[rows][i][mutual[i]]) for i in range(len(mutual))]) & counted
        taken = mutual & (3 * shared.sum(axis=2) > 2 * counted.sum(axis=2))
        for i, own in enumerate(nearest[rows]):
            yield np.unique(np.concatenate([own[mutual[i]], candidates[i][taken[i, :, None] & counted[i]]]))


def _is_in(values: IntArray, members: IntArray) -> Array:
    return np.asarray((values[..., None] == members).any(axis=-1))


def _averaged(encodings: _Sparse, nearest: IntArray) -> _Sparse:
    """Each encoding as the mean of those of its nearest, itself included: local query expansion, equation 11."""
    columns, values = [], []
    for near in nearest:
        entries, places = np.unique(np.concatenate([encodings.columns[i] for i in near]), return_inverse=True)
        weights = np.concatenate([encodings.values[i] for i in near])
        columns.append(entries)
        values.append((np.bincount(places, weights) / len(near)).astype(np.float32))
    return _Sparse(columns, values)


def _overlaps(encodings: _Sparse, queries: int) -> FloatArray:
    """Generalised Jaccard similarity of each query with each gallery image, (Q, G): one minus equation 10.

    Encodings sum to 1, so the sum of the larger weights is 2 less the sum of the smaller. Only gallery images that
    share an entry with the query are visited.
    """
    gallery = len(encodings.columns) - queries
    holders = _transposed(encodings, queries)
    scores = np.zeros((queries, gallery), np.float32)
    for row in range(queries):
        entries, weights = encodings.columns[row], encodings.values[row]
        images = np.concatenate([holders.columns[entry] for entry in entries])
        smaller = np.concatenate([np.minimum(w, holders.values[e]) for e, w in zip(entries, weights, strict=True)])
        shared = np.bincount(images, smaller, minlength=gallery)
        scores[row] = shared / (2 - shared)
    return scores


def _transposed(encodings: _Sparse, queries: int) -> _Sparse:
    """For each entry, the gallery images whose encoding has it, and the weight it has there."""
    entries = np.concatenate(encodings.columns[queries:])
    values = np.concatenate(encodings.values[queries:])
    images = np.repeat(np.arange(len(encodings.columns) - queries), [len(c) for c in encodings.columns[queries:]])
    order = np.argsort(entries, kind="stable")
    ends = np.searchsorted(entries[order], np.arange(1, len(encodings.columns)))
    return _Sparse(np.split(images[order], ends), np.split(values[order], ends))
