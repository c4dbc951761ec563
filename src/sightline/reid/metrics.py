"""How well a ranking finds people again: CMC, mAP in both conventions, mINP, and CUHK03's single-shot CMC.

Only the ranks of the true matches are needed, and a rank is a count of what scored as well or better. So no ranking is
ever written down: queries are multiplied with the gallery block by block into one reused buffer and counted there. The
result is that of a full sort; the memory is that of one block and one chunk of the gallery, whatever its size.

The protocol is Market-1501's. A gallery image of the query's identity *and* camera is no evidence and is left out for
that query. Identity -1 is junk and left out altogether. Identity 0, the distractors, needs no rule: no query carries
it, so it can only push true matches down. A query without a match is skipped, and counted as skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.errors import SightlineError
from sightline.reid.labelled import ById, Labelled, Metric, Scorer, by_id, pieces, require, scorer_of, within
from sightline.types import FloatArray, IntArray

__all__ = ["Labelled", "Metric", "Ranking", "cuhk03_cmc", "rank", "rank_within"]

Figures = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """What a ranking is worth; each figure is the mean over the queries that have a match, 0 to 1."""

    cmc: Figures  # (max_rank,): share of queries with a match among the first k, at index k - 1
    map_mean_precision: float  # AP = mean of the precision at each match; torchreid's, and that of published tables
    map_trapezoid: float  # AP = area under the precision-recall line, as Market-1501's own code; reads a little lower
    minp: float  # matches over the rank of the last of them: how far down one has to look to see all
    queries: int  # with a match
    skipped: int  # without

    def rank_k(self, k: int) -> float:
        require(1 <= k <= len(self.cmc), f"rank {k} was not measured; expected 1 to {len(self.cmc)}")
        return float(self.cmc[k - 1])

    @property
    def cmc_of_all(self) -> Figures:
        """CMC over all queries, a skipped one being a miss: how Market-1501's own code divides."""
        return self.cmc * (self.queries / (self.queries + self.skipped))


def rank(
    query: Labelled,
    gallery: Labelled,
    *,
    metric: Metric = "cosine",
    scores: FloatArray | None = None,
    max_rank: int = 50,
    block: int = 128,
    gallery_chunk: int = 65536,
) -> Ranking:
    """Every query against the whole gallery.

    Ties count against the query, so that a model which tells nobody apart gets what it deserves; two scores within a
    step of float32 are a tie, as equal vectors come out of a matrix product no closer than that. Memory beyond the
    vectors: a chunk of the gallery, twice while it is prepared, and `block` rows of scores of it.

    `metric` "euclidean" compares the vectors as they are, "cosine" their directions (a zero vector has cosine 0 with
    everything). `scores` (Q, G), higher is closer, replaces both: what re-ranking returns goes here. Raises
    `SightlineError` when no query has a match.
    """
    require(min(max_rank, block, gallery_chunk) >= 1, "max_rank, block and gallery_chunk must be 1 or more")
    scorer = scorer_of(query, gallery, metric, scores)
    asked, shown = by_id(query, nameless=-1), by_id(gallery, nameless=-2)
    matches = _matches(asked, shown, scorer, block)
    ahead = [np.zeros(len(match), np.int64) for match in matches]
    found = np.flatnonzero([len(match) > 0 for match in matches])
    owns = shown.spans(asked.ids)
    for columns in pieces(len(shown), gallery_chunk):
        score = scorer.against(shown.rows[columns])
        for part in pieces(len(found), block):
            for index, row in zip(found[part].tolist(), score(asked.rows[found[part]]), strict=True):
                row[within(owns[index], columns)] = -np.inf  # matches do not compete with each other, nor does junk
                ahead[index] += _ahead(row, matches[index])
    return _ranking([_ranks(ahead[index]) for index in found], len(asked) - len(found), max_rank)


def rank_within(
    labelled: Labelled,
    *,
    metric: Metric = "cosine",
    max_rank: int = 50,
    block: int = 128,
    gallery_chunk: int = 65536,
) -> Ranking:
    """Every image in turn is the query, all others the gallery. Itself, an image is dropped as of its own camera."""
    cameras = np.arange(len(labelled)) if labelled.cameras is None else labelled.cameras
    side = Labelled(labelled.vectors, labelled.ids, cameras)
    return rank(side, side, metric=metric, max_rank=max_rank, block=block, gallery_chunk=gallery_chunk)


def cuhk03_cmc(
    query: Labelled,
    gallery: Labelled,
    *,
    metric: Metric = "cosine",
    repeats: int = 10,
    max_rank: int = 50,
    seed: int = 0,
) -> Figures:
    """CMC, (max_rank,), of CUHK03's classic protocol: the gallery shows every identity once, drawn anew each repeat.

    The image that stands for the query's own identity is drawn among its true matches. Holds one score per query and
    identity. Raises `SightlineError` when no query has a match.
    """
    require(min(max_rank, repeats) >= 1, "max_rank and repeats must be 1 or more")
    scorer = scorer_of(query, gallery, metric, None)
    asked, shown = by_id(query, nameless=-1), by_id(gallery, nameless=-2)
    matches = _matches(asked, shown, scorer, block=128)
    found = np.flatnonzero([len(match) > 0 for match in matches])
    _require_queries(len(found))
    names, first, sizes = np.unique(shown.ids, return_index=True, return_counts=True)
    own = np.searchsorted(names, asked.ids[found])
    rng = np.random.default_rng(seed)
    hits = np.zeros(max_rank + 1)  # the last counts the queries whose match came later than that
    for _ in range(repeats):
        score = scorer.against(shown.rows[first + rng.integers(0, sizes)])(asked.rows[found])
        score[np.arange(len(found)), own] = -np.inf
        drawn = np.array([rng.choice(matches[index]) for index in found])
        before = np.count_nonzero(score >= drawn[:, None], axis=1)
        hits += np.bincount(np.minimum(before, max_rank), minlength=max_rank + 1)
    return np.cumsum(hits)[:max_rank] / (repeats * len(found))


# Counting


def _matches(asked: ById, shown: ById, scorer: Scorer, block: int) -> list[FloatArray]:
    """For each query the scores of its true matches, ascending, less the rounding: what scores that much is level."""
    owns = shown.spans(asked.ids)
    matches: list[FloatArray] = []
    while len(matches) < len(asked):
        first = len(matches)
        last = min(int(np.searchsorted(asked.ids, asked.ids[first], side="right")), first + block)
        own = slice(*owns[first])
        scores = scorer.against(shown.rows[own])(asked.rows[first:last])
        level = scores - scorer.rounding(asked.rows[first:last], scores)
        elsewhere = asked.cameras[first:last, None] != shown.cameras[own]
        matches += [np.sort(row[counts]) for row, counts in zip(level, elsewhere, strict=True)]
    return matches


def _ahead(row: FloatArray, matches: FloatArray) -> IntArray:
    """For each match, how many of the row score as well or better. Only those that reach the worst are sorted."""
    rivals = row[np.flatnonzero(row >= matches[0])]  # three times as fast as the mask itself
    rivals.sort()
    return len(rivals) - np.searchsorted(rivals, matches)


def _ranks(ahead: IntArray) -> IntArray:
    """Ranks, from 1, of the matches from the best to the worst: behind all that are ahead, and the better matches."""
    return ahead[::-1] + np.arange(1, len(ahead) + 1)


def _require_queries(found: int) -> None:
    if found == 0:
        raise SightlineError(
            "no query has a match: expected gallery images of the same identity from another camera; "
            "check the ids and cameras, or leave the cameras out where they are not known"
        )


def _ranking(ranks: Sequence[IntArray], skipped: int, max_rank: int) -> Ranking:
    """All queries at once: their ranks in one row, `begins` where each query starts in it."""
    _require_queries(len(ranks))
    sizes = np.array([len(found) for found in ranks])
    begins = np.cumsum(sizes) - sizes
    places = np.concatenate(ranks)
    before = np.arange(len(places)) - np.repeat(begins, sizes)  # matches better than this one
    precisions = (before + 1) / places
    just_before = np.where(places > 1, before / np.maximum(places - 1, 1), 1.0)  # the original code starts at 1
    firsts = np.bincount(np.minimum(places[begins], max_rank + 1), minlength=max_rank + 2)
    return Ranking(
        cmc=np.cumsum(firsts[1 : max_rank + 1]) / len(ranks),
        map_mean_precision=_mean_of_means(precisions, begins, sizes),
        map_trapezoid=_mean_of_means((just_before + precisions) / 2, begins, sizes),
        minp=float(np.mean(sizes / places[begins + sizes - 1])),
        queries=len(ranks),
        skipped=skipped,
    )


def _mean_of_means(values: Figures, begins: IntArray, sizes: IntArray) -> float:
    return float(np.mean(np.add.reduceat(values, begins) / sizes))
