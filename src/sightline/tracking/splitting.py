"""A track that changes person is cut where it does, before anybody averages two people into one.

Trackers swap ids where people cross; what they look like says so afterwards. Crops of one person lie around one mean
vector. At a swap the crops before lie around another than the crops after.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ModelOutputError
from sightline.tracking.appearance import normalised
from sightline.types import Array, FloatArray, IntArray, Tracklet

Floats = NDArray[np.float64]
Edge = int | Array

FEWEST = 3  # crops on each side: one or two odd ones are a bad crop, not another person
CLEARLY = 0.15  # of cosine: how much less alike the sides are to each other than each is in itself


def parts_of(vectors: FloatArray, *, clearly: float | Floats = CLEARLY) -> list[range]:
    """The rows of each person in turn, for the vectors (N, D) of one track in order of time; one part if all are one.

    `clearly` is how much less alike the sides of a cut must be than each in itself, for all cuts or (N,) for one before
    each row. Somebody who comes back later is a part of his own again. First the cuts that explain the vectors best,
    all at once (halving again and again is blind to a stranger in the middle); then neighbours too alike are joined.
    Memory grows with N². Raises `ModelOutputError` for vectors that are not finite, or zero.
    """
    if vectors.ndim != 2:
        raise ModelOutputError(f"vectors must be (N, D), got {vectors.shape}")
    unit = normalised(vectors)
    if not (unit != 0).any(axis=1).all():
        raise ModelOutputError("a track with a vector that is not finite, or zero; leave such crops out")
    if not len(unit):
        return []
    sums = _block_sums((unit @ unit.T).astype(np.float64))
    edges = _best_cuts(sums)
    while len(edges) > 2:
        apart = [_apart(sums, *three) for three in zip(edges, edges[1:], edges[2:], strict=False)]
        beyond = np.array(apart) - np.broadcast_to(clearly, len(unit))[edges[1:-1]]
        least = int(np.argmin(beyond))
        if beyond[least] >= 0:
            break
        del edges[least + 1]
    return [range(start, stop) for start, stop in pairwise(edges)]


def _block_sums(cosines: Floats) -> Floats:
    """(N + 1, N + 1): the sum of any block of the matrix is four of these."""
    return np.pad(cosines.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))


def _block(sums: Floats, rows: tuple[Edge, Edge], columns: tuple[Edge, Edge]) -> Floats:
    """The sum over the rows and the columns from the first edge up to the second, for arrays of edges at once."""
    (top, bottom), (left, right) = rows, columns
    total: Floats = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return total


def _best_cuts(sums: Floats) -> list[int]:
    """The edges of the parts, of `FEWEST` rows or more, with the smallest spread about their means.

    The spread of n unit vectors is n less the sum of their cosines over n. Each part costs what one of `FEWEST` saves
    when it is just clearly another: optimal partitioning (Jackson et al., 2005), a row at a time.
    """
    count, price = len(sums) - 1, FEWEST * CLEARLY
    spent, came_from = np.full(count + 1, np.inf), np.zeros(count + 1, np.int64)
    spent[0] = 0
    for stop in range(min(FEWEST, count), count + 1):
        starts = np.arange(max(stop - FEWEST, 0) + 1)
        size = stop - starts
        cost = spent[starts] + size - _block(sums, (starts, stop), (starts, stop)) / size + price
        came_from[stop] = cost.argmin()
        spent[stop] = cost.min()
    edges = [count]
    while edges[-1] > 0:
        edges.append(int(came_from[edges[-1]]))
    return edges[::-1]


def _apart(sums: Floats, start: int, cut: int, stop: int) -> float:
    """How much less alike the parts on either side are to each other than the looser of them is in itself."""
    before, after = cut - start, stop - cut
    left, right = _block(sums, (start, cut), (start, cut)), _block(sums, (cut, stop), (cut, stop))
    across = _block(sums, (start, cut), (cut, stop)) / (before * after)
    return float(min(_mean_of_others(left, before), _mean_of_others(right, after)) - across)


def _mean_of_others(total: Floats, count: int) -> float:
    """Of the cosines in a block, without those of vectors with themselves, which are 1 and say nothing."""
    return float(total - count) / max(count * (count - 1), 1)


def split_tracklet(
    tracklet: Tracklet, vectors: FloatArray, frames: IntArray, *, clearly: float | Floats = CLEARLY
) -> list[Tracklet]:
    """The tracklet, cut where its appearance changes person; itself alone where it does not.

    `vectors` (M, D) are of its crops at `frames` (M,), ascending. A cut falls half way between the last crop of one
    person and the first of the next. The parts keep the track's id; its embedding and its crops, which are of both
    people, are in neither.
    """
    parts = parts_of(vectors, clearly=clearly)
    if len(parts) < 2:
        return [tracklet]
    edges = [(frames[before[-1]] + frames[after[0]]) / 2 for before, after in pairwise(parts)]
    bounds = [0, *np.searchsorted(tracklet.frames, edges, side="right").tolist(), len(tracklet.frames)]
    return [_part(tracklet, slice(*ends)) for ends in pairwise(bounds) if ends[1] > ends[0]]


def _part(tracklet: Tracklet, rows: slice) -> Tracklet:
    return Tracklet(
        tracklet.track_id,
        tracklet.source,
        tracklet.frames[rows],
        tracklet.times_s[rows],
        tracklet.boxes_xyxy[rows],
        tracklet.scores[rows],
    )
