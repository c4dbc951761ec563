"""Re-ranking against the equations of Zhong et al. (CVPR 2017), written out densely and slowly."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import SightlineError
from sightline.reid.metrics import Labelled, rank
from sightline.reid.rerank import rerank
from sightline.types import FloatArray


def by_equations(query: FloatArray, gallery: FloatArray, k1: int, k2: int, weight: float) -> np.ndarray:
    """Final distances of equation 12, with sets for sets and a full matrix for every vector."""
    everyone = np.concatenate([query, gallery]).astype(float)
    everyone /= np.linalg.norm(everyone, axis=1, keepdims=True)
    count = len(everyone)
    d = np.array([[np.sum((a - b) ** 2) for b in everyone] for a in everyone])
    d /= d.max(axis=1, keepdims=True)
    order = [sorted(range(count), key=lambda j, i=i: (j != i, d[i, j])) for i in range(count)]

    def nearest(p: int, k: int) -> list[int]:  # N(p, k), and p itself
        return order[p][: k + 1]

    def reciprocal(p: int, k: int) -> set[int]:  # R(p, k), equation 4
        return {g for g in nearest(p, k) if p in nearest(g, k)}

    def expanded(p: int) -> set[int]:  # R*(p, k1), equation 5
        own = reciprocal(p, k1)
        theirs = [reciprocal(q, round(k1 / 2)) for q in own]
        return own.union(*(other for other in theirs if len(own & other) > 2 / 3 * len(other)))

    encoding = np.zeros((count, count))
    for p in range(count):  # equation 7
        members = sorted(expanded(p))
        encoding[p, members] = np.exp(-d[p, members]) / np.exp(-d[p, members]).sum()
    encoding = np.array([np.mean([encoding[i] for i in order[p][:k2]], axis=0) for p in range(count)])  # equation 11
    final = np.empty((len(query), len(gallery)))
    for p in range(len(query)):
        for g in range(len(gallery)):
            a, b = encoding[p], encoding[len(query) + g]
            jaccard = 1 - np.minimum(a, b).sum() / np.maximum(a, b).sum()  # equation 10
            final[p, g] = (1 - weight) * jaccard + weight * d[p, len(query) + g]  # equation 12
    return final


def crowd(
    count: int, *, seed: int, size: int = 16, people: int = 6, spread: float = 1.0
) -> tuple[FloatArray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, people, count)
    centres = np.random.default_rng(7).normal(size=(people, size))
    return (centres[ids] + spread * rng.normal(size=(count, size))).astype(np.float32), ids


@pytest.mark.parametrize(
    ("queries", "gallery", "k1", "k2", "weight"),
    [
        (8, 60, 20, 6, 0.3),  # the paper's choice
        (5, 40, 7, 1, 0.0),  # no averaging, overlap alone
        (5, 40, 9, 4, 0.7),
        (6, 30, 1, 1, 0.5),
        (3, 6, 20, 6, 0.3),  # fewer images than neighbours asked for
        (1, 25, 5, 3, 0.3),
        (4, 1, 3, 2, 0.3),
        (4, 30, 6, 3, 1.0),
    ],
)
def test_it_is_one_minus_the_distance_of_the_equations(
    queries: int, gallery: int, k1: int, k2: int, weight: float
) -> None:
    asked, shown = crowd(queries, seed=1)[0], crowd(gallery, seed=2)[0]
    found = rerank(asked, shown, k1=k1, k2=k2, weight=weight)
    np.testing.assert_allclose(found, 1 - by_equations(asked, shown, k1, k2, weight), atol=2e-6)
    assert found.dtype == np.float32


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 18), st.integers(1, 12), st.integers(1, 15))
@settings(max_examples=60, deadline=None)
def test_it_is_that_for_any_crowd(seed: int, queries: int, gallery: int, k1: int, k2: int) -> None:
    asked, shown = crowd(queries, seed=seed)[0], crowd(gallery, seed=seed + 1)[0]
    found = rerank(asked, shown, k1=k1, k2=k2, block=3)
    np.testing.assert_allclose(found, 1 - by_equations(asked, shown, k1, k2, 0.3), atol=2e-6)


def test_the_size_of_a_block_changes_nothing() -> None:
    asked, shown = crowd(9, seed=1)[0], crowd(70, seed=2)[0]
    whole = rerank(asked, shown, block=1000)
    for block in (1, 7, 64):
        np.testing.assert_allclose(rerank(asked, shown, block=block), whole, atol=2e-6)


def test_a_harder_crowd_is_ranked_better_than_by_its_vectors() -> None:
    (asked, asked_ids), (shown, shown_ids) = (crowd(n, seed=n, people=30, spread=1.3) for n in (60, 600))
    query, gallery = Labelled(asked, asked_ids), Labelled(shown, shown_ids)
    before = rank(query, gallery).map_mean_precision
    after = rank(query, gallery, scores=rerank(asked, shown)).map_mean_precision
    assert after > before + 0.05


def test_images_that_are_all_the_same_are_all_as_close() -> None:
    vectors = np.ones((30, 4), np.float32)
    scores = rerank(vectors[:3], vectors)
    assert np.isfinite(scores).all()
    assert 0 <= scores.min() <= scores.max() <= 1


def test_the_vectors_are_left_as_they_were_given() -> None:
    asked, shown = crowd(3, seed=1)[0], crowd(20, seed=2)[0]
    before = asked.copy(), shown.copy()
    rerank(asked, shown)
    np.testing.assert_array_equal(asked, before[0])
    np.testing.assert_array_equal(shown, before[1])


def test_nothing_as_large_as_all_distances_is_ever_held() -> None:
    asked, shown = crowd(100, seed=1, people=300)[0], crowd(1900, seed=2, people=300)[0]
    tracemalloc.start()
    try:
        rerank(asked, shown, block=64)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    block, result, vectors = 12 * 64 * 2000, 4 * 100 * 1900, 3 * 4 * 16 * 2000
    assert peak < block + result + vectors + 36 * 2000 * 100 + 2e6
    assert peak < 4 * 2000**2 / 1.5  # one of the dense matrices


def test_no_query_gives_no_rows() -> None:
    assert rerank(np.empty((0, 16), np.float32), crowd(20, seed=2)[0]).shape == (0, 20)


def test_what_cannot_be_compared_is_refused() -> None:
    asked, shown = crowd(3, seed=1)[0], crowd(20, seed=2)[0]
    with pytest.raises(ValueError, match="query vectors have 15 numbers, gallery vectors 16"):
        rerank(asked[:, 1:], shown)
    with pytest.raises(ValueError, match="the gallery is empty"):
        rerank(asked, shown[:0])
    with pytest.raises(ValueError, match="weight is 2; expected 0 to 1"):
        rerank(asked, shown, weight=2)
    with pytest.raises(ValueError, match="k1, k2 and block are 0, 6, 128; expected 1 or more"):
        rerank(asked, shown, k1=0)
    with pytest.raises(SightlineError, match="vectors hold NaN"):
        rerank(asked, np.full_like(shown, np.nan))
