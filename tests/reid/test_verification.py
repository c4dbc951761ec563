"""Pairs and thresholds against plain loops, arithmetic by hand, and every threshold tried in turn."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import SightlineError
from sightline.reid.labelled import Labelled
from sightline.reid.verification import eer, far_at, genuine_and_impostor, tar_at_far, ten_fold_accuracy
from sightline.types import FloatArray


def floats(*values: float) -> FloatArray:
    return np.array(values, np.float32)


def people(rows: Sequence[tuple[Sequence[float], int, int]]) -> Labelled:
    vectors, ids, cameras = zip(*rows, strict=True)
    return Labelled(np.array(vectors, np.float32).reshape(len(rows), -1), np.array(ids), np.array(cameras))


# Pairs

some_people = st.lists(
    st.tuples(st.lists(st.sampled_from((-1, 1)), min_size=4, max_size=4), st.integers(-1, 2), st.integers(0, 1)),
    min_size=1,
    max_size=9,
).map(people)


def pairs_by_loops(a: Labelled, b: Labelled | None, exclude: bool) -> tuple[list[float], list[float]]:
    """For vectors of length 2."""
    other = a if b is None else b
    assert a.cameras is not None and other.cameras is not None
    genuine, impostor = [], []
    for i in range(len(a)):
        for j in range(i + 1 if b is None else 0, len(other)):
            if -1 in (a.ids[i], other.ids[j]):
                continue
            score = float(a.vectors[i] @ other.vectors[j]) / 4
            if a.ids[i] != other.ids[j]:
                impostor.append(score)
            elif not exclude or a.cameras[i] != other.cameras[j]:
                genuine.append(score)
    return sorted(genuine), sorted(impostor)


@given(some_people, st.none() | some_people, st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_pairs_are_those_of_two_loops(a: Labelled, b: Labelled | None, exclude: bool) -> None:
    found = genuine_and_impostor(a, b, exclude_same_camera_positives=exclude)
    assert tuple(kind.tolist() for kind in found) == pairs_by_loops(a, b, exclude)


@given(some_people, st.none() | some_people, st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_sample_as_large_as_there_are_pairs_is_all_of_them(a: Labelled, b: Labelled | None, exclude: bool) -> None:
    found = genuine_and_impostor(a, b, exclude_same_camera_positives=exclude, max_pairs=100)
    assert tuple(kind.tolist() for kind in found) == pairs_by_loops(a, b, exclude)


def test_pairs_are_the_same_however_many_pieces_they_are_made_in(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = (Labelled(rng.choice([-1, 1], (n, 16)).astype(np.float32), rng.integers(0, 5, n)) for n in (23, 41))
    whole = genuine_and_impostor(a, b), genuine_and_impostor(b)
    monkeypatch.setattr("sightline.reid.verification.BLOCK", 3)
    monkeypatch.setattr("sightline.reid.verification.CHUNK", 7)
    parts = genuine_and_impostor(a, b), genuine_and_impostor(b)
    for expected, found in zip(whole, parts, strict=True):
        assert [kind.tolist() for kind in found] == [kind.tolist() for kind in expected]


def test_without_cameras_no_pair_of_a_person_is_left_out() -> None:
    side = Labelled(np.eye(3, dtype=np.float32), np.array([4, 4, 5]))
    genuine, impostor = genuine_and_impostor(side)
    assert (len(genuine), len(impostor)) == (1, 2)


def test_a_sample_holds_different_pairs_drawn_alike() -> None:
    # One number per pair: 12 × 12 images on a circle, the angle between two of them is unlike any other's.
    angles = np.r_[np.linspace(0, 0.5, 12), 1 + np.linspace(0, 0.7, 12) ** 2]
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    a, b = Labelled(vectors[:12], np.arange(12) % 2), Labelled(vectors[12:], np.arange(12) % 2)
    everything = np.sort(np.concatenate(genuine_and_impostor(a, b)).astype(float))
    assert np.diff(everything).min() > 1e-6
    seen = np.zeros(144)
    for seed in range(300):
        for kind in genuine_and_impostor(a, b, max_pairs=24, seed=seed):
            places = np.abs(everything - kind[:, None].astype(float)).argmin(axis=1)
            assert len(set(places.tolist())) == 24
            seen[places] += 1
    # Each of 72 pairs of a kind is drawn with chance 1/3: 100 of 300 times, 8.2 its standard deviation.
    assert 60 < seen.min() < seen.max() < 140


def test_a_sample_makes_no_other_pairs() -> None:
    rng = np.random.default_rng(0)
    side = Labelled(rng.normal(size=(20_000, 8)).astype(np.float32), np.arange(20_000) // 2)
    tracemalloc.start()
    try:
        genuine, impostor = genuine_and_impostor(side, max_pairs=5000, seed=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(genuine), len(impostor)) == (5000, 5000)
    assert peak < 20e6  # all scores would be 800e6 bytes


def test_the_same_seed_draws_the_same_pairs() -> None:
    side = Labelled(np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32), np.arange(60) // 4)
    first, again, other = (genuine_and_impostor(side, max_pairs=40, seed=seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


# Thresholds

few_scores = st.lists(st.integers(-4, 4), min_size=1, max_size=12).map(lambda values: np.array(values, np.float32) / 4)


def rates_at(threshold: float, genuine: FloatArray, impostor: FloatArray) -> tuple[float, float]:
    """(FAR, FRR), one score at a time."""
    far = sum(score >= threshold for score in impostor) / len(impostor)
    return far, sum(score < threshold for score in genuine) / len(genuine)


def eer_by_all_thresholds(genuine: FloatArray, impostor: FloatArray) -> float:
    """Walk the line through the rates at every threshold there is, to where it meets FAR = FRR."""
    thresholds = [*sorted({*genuine.tolist(), *impostor.tolist()}), np.inf]
    line = [rates_at(threshold, genuine, impostor) for threshold in thresholds]
    if line[0][1] >= line[0][0]:
        return line[0][0]
    for (far, frr), (next_far, next_frr) in itertools.pairwise(line):
        if next_frr >= next_far:
            share = (far - frr) / ((far - frr) + (next_frr - next_far))
            return far + share * (next_far - far)
    raise AssertionError("at an infinite threshold everything is rejected")


@given(few_scores, few_scores)
@settings(max_examples=300, deadline=None)
def test_the_eer_is_where_the_rates_of_all_thresholds_cross(genuine: FloatArray, impostor: FloatArray) -> None:
    found = eer(genuine, impostor)
    assert found.rate == pytest.approx(eer_by_all_thresholds(genuine, impostor))
    assert rates_at(found.threshold, genuine, impostor)[0] <= found.rate + 1e-9
    assert (found.genuine_pairs, found.impostor_pairs) == (len(genuine), len(impostor))


def test_the_eer_of_a_case_worked_by_hand() -> None:
    # At a threshold of .5 to .6, one of four impostors passes and one of four genuine pairs is turned away.
    found = eer(floats(0.4, 0.6, 0.8, 0.9), floats(0.1, 0.2, 0.5, 0.7))
    assert found.rate == pytest.approx(1 / 4)
    assert 0.5 < found.threshold <= 0.6


def test_the_eer_lies_between_measured_points_where_no_threshold_has_equal_rates() -> None:
    # At the shared score .5 FAR falls from 1 to 0 while FRR rises from 0 to 1/2: they meet at 1/3.
    assert eer(floats(0.5, 0.9), floats(0.5)).rate == pytest.approx(1 / 3)


def test_kinds_that_do_not_overlap_have_no_error_and_a_threshold_halfway_between_them() -> None:
    found = eer(floats(0.75, 0.875), floats(0.125, 0.25))
    assert (found.rate, found.threshold) == (0, 0.5)


def test_scores_the_wrong_way_round_have_an_error_of_one() -> None:
    assert eer(floats(0.1, 0.2), floats(0.8, 0.9)).rate == 1


def test_scores_that_say_nothing_have_an_error_of_one_half() -> None:
    assert eer(floats(0.5, 0.5, 0.5), floats(0.5, 0.5)).rate == 0.5


@given(few_scores, few_scores, st.sampled_from((0.5, 0.3, 0.25, 0.1, 0.01)))
@settings(max_examples=300, deadline=None)
def test_no_threshold_accepts_more_genuine_pairs_at_that_rate(
    genuine: FloatArray, impostor: FloatArray, far: float
) -> None:
    thresholds = [*genuine.tolist(), *impostor.tolist(), np.inf]
    rates = [rates_at(threshold, genuine, impostor) for threshold in thresholds]
    best = max(1 - frr for rate, frr in rates if rate <= far)
    (found,) = tar_at_far(genuine, impostor, (far,))
    assert found.tar == pytest.approx(best)
    assert rates_at(found.threshold, genuine, impostor) == (
        pytest.approx(far_at(found.threshold, impostor)),
        pytest.approx(1 - best),
    )
    assert far_at(found.threshold, impostor) <= far


def test_a_rate_needs_ten_false_accepts_to_be_reliable() -> None:
    genuine, impostor = floats(*np.linspace(0.5, 1, 50)), floats(*np.linspace(0, 0.6, 1000))
    found = tar_at_far(genuine, impostor)
    assert [(one.far, one.reliable) for one in found] == [(0.1, True), (0.01, True), (0.001, False)]
    assert [(one.genuine_pairs, one.impostor_pairs) for one in found] == [(50, 1000)] * 3
    (short,) = tar_at_far(genuine, impostor[:999], (0.01,))
    assert not short.reliable


def test_a_rate_that_floats_miss_by_a_little_means_its_whole_number() -> None:
    impostor = np.arange(100, dtype=np.float32)
    assert 0.29 * 100 < 29
    (found,) = tar_at_far(floats(1000), impostor, (0.29,))
    assert far_at(found.threshold, impostor) == 0.29
    assert 70 < found.threshold <= 71


def test_neighbouring_floats_are_told_apart_by_the_threshold_between_them() -> None:
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    found = eer(np.array([high]), np.array([low]))
    assert (found.rate, far_at(found.threshold, np.array([low])), far_at(found.threshold, np.array([high]))) == (
        0,
        0,
        1,
    )
    above_all = tar_at_far(np.array([low]), np.array([high]), (0.01,))[0]
    assert (above_all.tar, far_at(above_all.threshold, np.array([high]))) == (0, 0)


def test_scores_are_left_as_they_were_given() -> None:
    genuine, impostor = floats(0.9, 0.4), floats(0.8, 0.1)
    eer(genuine, impostor)
    tar_at_far(genuine, impostor)
    assert genuine.tolist() == floats(0.9, 0.4).tolist()
    assert impostor.tolist() == floats(0.8, 0.1).tolist()


# Ten folds


def ten_fold_by_loops(scores: Sequence[float], same: Sequence[bool], folds: int, thresholds: Sequence[float]) -> list:
    sizes = [len(scores) // folds + (fold < len(scores) % folds) for fold in range(folds)]
    results, start = [], 0
    for size in sizes:
        inside = range(start, start + size)
        best, chosen = -1, 0.0
        for threshold in thresholds:
            right = sum((scores[i] >= threshold) == same[i] for i in range(len(scores)) if i not in inside)
            if right > best:
                best, chosen = right, threshold
        results.append((sum((scores[i] >= chosen) == same[i] for i in inside) / size, chosen))
        start += size
    return results


@given(st.integers(0, 2**32 - 1), st.integers(10, 33), st.integers(2, 10))
@settings(max_examples=60, deadline=None)
def test_ten_folds_are_what_the_loops_find(seed: int, count: int, folds: int) -> None:
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.5
    scores = (rng.integers(-2, 3, count) + same) / np.float32(4)
    thresholds = np.array([0.75, 0.5, 0.25, 0.0, -0.25])
    expected = ten_fold_by_loops(scores.tolist(), same.tolist(), folds, thresholds.tolist())
    found = ten_fold_accuracy(scores, same, folds=folds, thresholds=thresholds)
    accuracies = [accuracy for accuracy, _ in expected]
    assert found.accuracy == pytest.approx(np.mean(accuracies))
    assert found.std == pytest.approx(np.std(accuracies))
    assert list(found.thresholds) == [threshold for _, threshold in expected]


def test_a_threshold_is_not_chosen_on_the_fold_it_is_tried_on() -> None:
    # The last fold alone would like .1; the nine others like anything above .5, the strictest of which is tried.
    scores = floats(*[0.9, 0.5] * 9, 0.2, 0.0)
    same = np.array([True, False] * 10)
    found = ten_fold_accuracy(scores, same, thresholds=np.array([0.8, 0.1]))
    assert found.accuracy == pytest.approx((9 * 1 + 0.5) / 10)


def test_the_usual_thresholds_are_cosines_of_squared_distances_by_a_hundredth() -> None:
    # Unit vectors at squared distance 1.0 have cosine .5, at 1.2 cosine .4; 1.005 to 1.195 is between them.
    scores = floats(*[0.5, 0.4] * 10)
    found = ten_fold_accuracy(scores, np.array([True, False] * 10))
    assert found.accuracy == 1
    assert found.thresholds[0] == pytest.approx(0.5, abs=0.005)


# What cannot be measured


@pytest.mark.parametrize("function", [eer, tar_at_far])
def test_a_kind_without_pairs_is_named(function: object) -> None:
    with pytest.raises(SightlineError, match="there are no genuine pairs"):
        function(floats(), floats(0.1))  # type: ignore[operator]
    with pytest.raises(SightlineError, match="there are no impostor pairs"):
        function(floats(0.1), floats())  # type: ignore[operator]
    with pytest.raises(SightlineError, match="there are no impostor pairs"):
        far_at(0.5, floats())


@pytest.mark.parametrize("place", range(3))
def test_a_score_that_is_not_a_number_is_refused_wherever_it_is(place: int) -> None:
    scores = floats(0.1, 0.2, 0.3)
    scores[place] = np.nan
    with pytest.raises(SightlineError, match="impostor scores hold NaN"):
        eer(floats(0.5), scores)
    with pytest.raises(SightlineError, match="genuine scores hold NaN"):
        tar_at_far(scores, floats(0.5))


def test_arguments_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"far is 1; expected a rate between 0 and 1"):
        tar_at_far(floats(0.5), floats(0.1), (1,))
    with pytest.raises(ValueError, match="folds is 3; expected 2 to the number of pairs, 2"):
        ten_fold_accuracy(floats(0.5, 0.1), np.array([True, False]), folds=3)
    with pytest.raises(ValueError, match="max_pairs is 0"):
        genuine_and_impostor(people([((1, 1), 1, 0), ((1, 1), 1, 1), ((1, 1), 2, 1)]), max_pairs=0)
