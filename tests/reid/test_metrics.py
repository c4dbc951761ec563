"""Rankings against hand-worked cases and against the protocol written out as plain loops."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import SightlineError
from sightline.reid.metrics import Labelled, Ranking, cuhk03_cmc, rank, rank_within
from sightline.types import FloatArray

MB = 1e6


def people(*rows: tuple[Sequence[float], int, int]) -> Labelled:
    """(vector, identity, camera) for each image."""
    vectors, ids, cameras = zip(*rows, strict=True)
    return Labelled(np.array(vectors, np.float32), np.array(ids), np.array(cameras))


def on_a_line(*rows: tuple[float, int, int]) -> Labelled:
    """(place, identity, camera): under the Euclidean metric a query at 0 meets them in order of place."""
    return people(*(((place,), identity, camera) for place, identity, camera in rows))


def figures(found: Ranking) -> tuple[float, ...]:
    return (*found.cmc, found.map_mean_precision, found.map_trapezoid, found.minp, found.queries, found.skipped)


# By hand. A query of identity 7 from camera 0 at 0; what it meets is at 1, 2, 3, ….


def ranked(*identities: int, max_rank: int = 5) -> Ranking:
    gallery = on_a_line(*((place, identity, 1) for place, identity in enumerate(identities, start=1)))
    return rank(on_a_line((0, 7, 0)), gallery, metric="euclidean", max_rank=max_rank)


def test_one_match_at_the_top_is_perfect() -> None:
    assert figures(ranked(7, 1, 2)) == (1, 1, 1, 1, 1, 1, 1, 1, 1, 0)


def test_matches_at_ranks_one_and_three_have_precisions_one_and_two_thirds() -> None:
    found = ranked(7, 1, 7, 2)
    assert found.map_mean_precision == pytest.approx((1 / 1 + 2 / 3) / 2)
    # Before rank 1 the precision counts as 1, before rank 3 it is 1/2; each trapezoid has half the recall as its base.
    assert found.map_trapezoid == pytest.approx((1 + 1) / 2 / 2 + (1 / 2 + 2 / 3) / 2 / 2)
    assert found.minp == pytest.approx(2 / 3)


def test_a_match_at_rank_three_counts_from_rank_three_on() -> None:
    found = ranked(1, 2, 7)
    assert found.cmc.tolist() == [0, 0, 1, 1, 1]
    assert [found.rank_k(1), found.rank_k(3)] == [0, 1]
    assert found.map_mean_precision == pytest.approx(1 / 3)
    assert found.map_trapezoid == pytest.approx((0 / 2 + 1 / 3) / 2)


def test_a_match_behind_the_last_measured_rank_is_in_the_map_but_not_in_the_cmc() -> None:
    found = ranked(1, 2, 7, max_rank=2)
    assert found.cmc.tolist() == [0, 0]
    assert found.map_mean_precision == pytest.approx(1 / 3)


def test_the_same_person_under_the_same_camera_is_neither_match_nor_rival() -> None:
    gallery = on_a_line((1, 7, 0), (2, 7, 0), (3, 7, 1))
    assert rank(on_a_line((0, 7, 0)), gallery, metric="euclidean").rank_k(1) == 1


def test_without_cameras_every_image_of_the_person_is_a_match() -> None:
    query = Labelled(np.zeros((1, 1), np.float32), np.array([7]))
    gallery = Labelled(np.array([[1], [2], [3]], np.float32), np.array([7, 1, 7]))
    assert rank(query, gallery, metric="euclidean").minp == pytest.approx(2 / 3)


def test_junk_is_left_out_and_distractors_are_rivals() -> None:
    gallery = on_a_line((1, -1, 1), (2, 0, 1), (3, -1, 2), (4, 7, 1))
    assert rank(on_a_line((0, 7, 0)), gallery, metric="euclidean").map_mean_precision == 1 / 2


def test_a_query_that_is_junk_is_not_asked_and_not_counted_as_skipped() -> None:
    query = on_a_line((0, -1, 0), (0, 7, 0))
    found = rank(query, on_a_line((1, -1, 1), (2, 7, 1)), metric="euclidean")
    assert (found.queries, found.skipped) == (1, 0)


def test_a_query_without_a_match_is_skipped_and_a_miss_only_where_all_are_counted() -> None:
    query = on_a_line((0, 7, 0), (0, 8, 0), (0, 9, 1))
    found = rank(query, on_a_line((1, 7, 1), (2, 9, 1)), metric="euclidean", max_rank=2)
    assert (found.queries, found.skipped) == (1, 2)
    assert found.cmc.tolist() == [1, 1]
    assert found.cmc_of_all == pytest.approx([1 / 3, 1 / 3])


def test_a_tie_counts_against_the_query() -> None:
    gallery = on_a_line((1, 1, 1), (1, 7, 1), (-1, 2, 1))
    assert rank(on_a_line((0, 7, 0)), gallery, metric="euclidean").map_mean_precision == 1 / 3


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("size", [4, 64, 256])  # squares, so that signs have a whole length and exact products
def test_a_model_that_gives_everyone_the_same_vector_ranks_every_match_last(size: int, metric: str) -> None:
    vector = np.random.default_rng(0).choice([-1, 1], size).astype(np.float32)
    ids = np.arange(301) % 100 + 1  # three of each but of identity 1, which has four
    gallery = Labelled(np.tile(vector, (301, 1)), ids, np.ones(301, int))
    query = Labelled(np.tile(vector, (9, 1)), np.arange(2, 11), np.zeros(9, int))
    found = rank(query, gallery, metric=metric)  # type: ignore[arg-type]  # parametrize knows only str
    assert found.minp == pytest.approx(3 / 301)
    assert found.map_mean_precision == pytest.approx((1 / 299 + 2 / 300 + 3 / 301) / 3)


def test_the_cosine_looks_at_directions_and_the_distance_at_places() -> None:
    query = people(((1, 0), 7, 0))
    gallery = people(((9, 1), 7, 1), ((1, 1), 2, 1))
    assert rank(query, gallery).rank_k(1) == 1
    assert rank(query, gallery, metric="euclidean").rank_k(1) == 0


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e12])
def test_the_length_of_a_vector_does_not_change_its_cosine(scale: float) -> None:
    query = people(((1 * scale, 0), 7, 0))
    gallery = people(((3, 1), 7, 1), ((1 * scale, 1 * scale), 2, 1), ((0, 0), 3, 1))
    assert rank(query, gallery).map_mean_precision == 1


def test_each_image_in_turn_is_the_query_and_never_finds_itself() -> None:
    # 7 at 0 and 3, 8 at 1 and 2: each 7 meets both 8s first, each 8 meets the other at distance 1, one ties with a 7.
    found = rank_within(on_a_line((0, 7, 0), (1, 8, 0), (2, 8, 1), (3, 7, 1)), metric="euclidean")
    assert (found.queries, found.skipped) == (4, 0)
    assert found.map_mean_precision == pytest.approx((1 / 3 + 1 / 2 + 1 / 2 + 1 / 3) / 4)
    without_cameras = Labelled(np.array([[0], [1], [3]], np.float32), np.array([7, 7, 7]))
    assert rank_within(without_cameras).queries == 3


# Against the protocol as loops


def by_loops(query: Labelled, gallery: Labelled, scores: FloatArray, max_rank: int) -> tuple[float, ...]:
    """Figures in the order of `figures`, by walking down each ranking as Market-1501's program does."""
    assert query.cameras is not None and gallery.cameras is not None
    cmc, precisions, areas, penalties, skipped = [], [], [], [], 0
    for q, identity in enumerate(query.ids):
        if identity == -1:
            continue
        met = []
        for g, other in enumerate(gallery.ids):
            if other == -1 or (other == identity and gallery.cameras[g] == query.cameras[q]):
                continue
            met.append((-scores[q, g], bool(other == identity)))
        walk = [is_match for _, is_match in sorted(met)]  # False before True: a tie goes to the rival
        if not any(walk):
            skipped += 1
            continue
        cmc.append([any(walk[: k + 1]) for k in range(max_rank)])
        found, recall, precision, area, at_matches = 0, 0.0, 1.0, 0.0, []
        for place, is_match in enumerate(walk, start=1):
            found += is_match
            new_recall, new_precision = found / sum(walk), found / place
            area += (new_recall - recall) * (precision + new_precision) / 2
            recall, precision = new_recall, new_precision
            if is_match:
                at_matches.append(precision)
        precisions.append(np.mean(at_matches))
        areas.append(area)
        penalties.append(at_matches[-1])
    means = (np.mean(kind) for kind in (precisions, areas, penalties))
    return (*np.mean(cmc, axis=0), *means, len(cmc), skipped)


def distances(query: Labelled, gallery: Labelled) -> FloatArray:
    return np.array([[-np.sum((q - g) ** 2) for g in gallery.vectors] for q in query.vectors])


def cosines(query: Labelled, gallery: Labelled) -> FloatArray:
    """For vectors of length 0 or 2."""
    return np.array([[np.dot(q, g) / 4 for g in gallery.vectors] for q in query.vectors])


def sides(values: Sequence[int]) -> st.SearchStrategy[Labelled]:
    """Few values, identities and cameras, so that ties, junk, skipped queries and lone images are common."""
    vector = st.lists(st.sampled_from(values), min_size=4, max_size=4)
    row = st.tuples(vector, st.integers(-1, 3), st.integers(0, 2))
    return st.lists(row, min_size=1, max_size=14).map(lambda rows: people(*rows))


blocks = st.sampled_from([(128, 65536), (1, 1), (2, 3), (5, 4)])


def check(query: Labelled, gallery: Labelled, metric: str, scores: FloatArray, block: tuple[int, int]) -> None:
    expected = by_loops(query, gallery, scores, max_rank=6) if _has_match(query, gallery) else None
    options = {"metric": metric, "max_rank": 6, "block": block[0], "gallery_chunk": block[1]}
    if expected is None:
        with pytest.raises(SightlineError, match="no query has a match"):
            rank(query, gallery, **options)
    else:
        assert figures(rank(query, gallery, **options)) == pytest.approx(expected)


def _has_match(query: Labelled, gallery: Labelled) -> bool:
    assert query.cameras is not None and gallery.cameras is not None
    pairs = product(zip(query.ids, query.cameras, strict=True), zip(gallery.ids, gallery.cameras, strict=True))
    return any(a == b != -1 and camera != other for (a, camera), (b, other) in pairs)


@given(sides(range(-2, 3)), sides(range(-2, 3)), blocks)
@settings(max_examples=150, deadline=None)
def test_by_distance_it_is_what_the_loops_find(query: Labelled, gallery: Labelled, block: tuple[int, int]) -> None:
    check(query, gallery, "euclidean", distances(query, gallery), block)


@given(sides((-1, 1)), sides((-1, 1)), blocks)
@settings(max_examples=150, deadline=None)
def test_by_cosine_it_is_what_the_loops_find(query: Labelled, gallery: Labelled, block: tuple[int, int]) -> None:
    check(query, gallery, "cosine", cosines(query, gallery), block)


@given(sides((-1, 0, 1)), st.integers(0, 2**32 - 1), blocks)
@settings(max_examples=50, deadline=None)
def test_given_scores_replace_those_of_the_vectors(side: Labelled, seed: int, block: tuple[int, int]) -> None:
    scores = np.random.default_rng(seed).integers(-3, 4, (len(side), len(side))).astype(np.float32)
    before = scores.copy()
    if _has_match(side, side):
        found = rank(side, side, scores=scores, max_rank=6, block=block[0], gallery_chunk=block[1])
        assert figures(found) == pytest.approx(by_loops(side, side, scores, max_rank=6))
    np.testing.assert_array_equal(scores, before)


def crowd(count: int, *, size: int, identities: int, seed: int) -> Labelled:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(identities, size))
    ids = rng.integers(0, identities, count)
    vectors = centres[ids] + 1.5 * rng.normal(size=(count, size))
    return Labelled(vectors.astype(np.float32), ids, rng.integers(0, 6, count))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_for_real_numbers_it_is_what_the_loops_find_in_double_precision(metric: str) -> None:
    query, gallery = crowd(40, size=32, identities=30, seed=1), crowd(600, size=32, identities=30, seed=2)
    left, right = query.vectors.astype(float), gallery.vectors.astype(float)
    if metric == "cosine":
        scores = (left / np.linalg.norm(left, axis=1)[:, None]) @ (right / np.linalg.norm(right, axis=1)[:, None]).T
    else:
        scores = -((left[:, None] - right) ** 2).sum(axis=2)
    expected = by_loops(query, gallery, scores, max_rank=50)
    for block, chunk in ((128, 65536), (7, 100)):
        found = rank(query, gallery, metric=metric, block=block, gallery_chunk=chunk)  # type: ignore[arg-type]  # str
        assert figures(found) == pytest.approx(expected, abs=1e-4)  # two neighbours swapped move the mAP by 1e-5


def test_a_large_gallery_takes_the_memory_of_one_chunk_and_one_block() -> None:
    query, gallery = crowd(512, size=128, identities=200, seed=1), crowd(20_000, size=128, identities=200, seed=2)
    tracemalloc.start()
    try:
        rank(query, gallery, block=64, gallery_chunk=4000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    chunk = 2 * 4000 * 128 * 4  # gathered, and normalised
    block = 64 * 4000 * 4
    labels = 20_000 * 8 * 4 + 512 * 100 * 4 * 4
    assert peak < chunk + block + labels + 2 * MB
    assert peak < 512 * 20_000 * 4 / 3  # the scores alone, were they all held


# CUHK03


def test_the_single_shot_cmc_is_exact_where_every_identity_has_one_image() -> None:
    query = on_a_line((0, 7, 0), (10, 8, 0), (0, 9, 0))
    gallery = on_a_line((1, 7, 1), (2, 8, 1), (3, 6, 1))
    # 7 is met first; 8 lies at 8 from its query, behind 6 at 7, before 7 at 9; 9 is not there.
    assert cuhk03_cmc(query, gallery, metric="euclidean", max_rank=3).tolist() == [0.5, 1, 1]


def test_the_single_shot_cmc_has_the_mean_over_all_possible_galleries() -> None:
    side = on_a_line((0, 1, 0), (2, 1, 1), (6, 1, 1), (1, 2, 1), (5, 2, 0), (3, 3, 1), (9, 3, 1), (4, 4, 1), (8, -1, 1))
    query = on_a_line((0, 1, 0), (7, 2, 1))
    places = {1: {2: 1, 6: 1, 0: 0}, 2: {1: 1, 5: 0}, 3: {3: 1, 9: 1}, 4: {4: 1}}
    expected = np.zeros(4)
    for place, identity, camera in ((0, 1, 0), (7, 2, 1)):
        own = [p for p, c in places[identity].items() if c != camera]
        shots = list(product(own, *(places[other] for other in places if other != identity)))
        for match, *others in shots:
            before = sum(abs(other - place) <= abs(match - place) for other in others)
            expected[before:] += 1 / len(shots) / 2
    found = cuhk03_cmc(query, side, metric="euclidean", repeats=4000, max_rank=4, seed=3)
    np.testing.assert_allclose(found, expected, atol=0.03)  # four standard errors of 4000 draws


def test_the_same_seed_draws_the_same_galleries() -> None:
    query, gallery = crowd(20, size=4, identities=10, seed=1), crowd(100, size=4, identities=10, seed=2)
    first, again, other = (cuhk03_cmc(query, gallery, repeats=2, seed=seed) for seed in (5, 5, 6))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


# What cannot be ranked


@pytest.mark.parametrize("function", [rank, cuhk03_cmc])
def test_nothing_to_find_is_an_error_that_says_so(function: object) -> None:
    with pytest.raises(SightlineError, match="no query has a match: expected gallery images of the same identity"):
        function(on_a_line((0, 7, 0)), on_a_line((0, 7, 0), (1, 8, 1)))  # type: ignore[operator]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20])
def test_vectors_that_have_no_rank_are_refused(value: float) -> None:
    with pytest.raises(SightlineError, match="vectors hold NaN or values beyond 1e"):
        on_a_line((0, 7, 0), (value, 7, 1))


def test_labels_that_do_not_fit_their_vectors_are_refused() -> None:
    vectors = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"2 vectors with int64 ids \(3,\)"):
        Labelled(vectors, np.arange(3))
    with pytest.raises(ValueError, match=r"2 vectors with float64 cameras \(2,\)"):
        Labelled(vectors, np.arange(2), np.zeros(2))  # type: ignore[arg-type]  # which is the point
    with pytest.raises(ValueError, match="query vectors have 3 numbers, gallery vectors 1"):
        rank(Labelled(vectors, np.arange(2)), on_a_line((0, 7, 0)))


def test_arguments_that_mean_nothing_are_refused() -> None:
    side = on_a_line((0, 7, 0), (1, 7, 1))
    with pytest.raises(ValueError, match="must be 1 or more"):
        rank(side, side, block=0)
    with pytest.raises(ValueError, match="metric is 'manhattan'; expected one of cosine, euclidean"):
        rank(side, side, metric="manhattan")  # type: ignore[arg-type]  # which is the point
    with pytest.raises(ValueError, match=r"scores must be \(2, 2\)"):
        rank(side, side, scores=np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="scores hold NaN"):
        rank(side, side, scores=np.full((2, 2), np.nan, np.float32))
    with pytest.raises(ValueError, match="rank 51 was not measured; expected 1 to 50"):
        rank(side, side).rank_k(51)
