"""Overlaps against counted pixels, pairings against trying them all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import BackendError
from sightline.runtime import backend
from sightline.tracking.assignment import Assignment, iou_matrix

CORNERS = st.tuples(*[st.integers(0, 12)] * 4)
GRIDS = st.integers(0, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0, np.nan, -np.inf]), min_size=width, max_size=width),
        max_size=4,
    ).map(lambda rows: np.array(rows, float).reshape(len(rows), width))
)


def pixels(box: tuple[int, ...]) -> set[tuple[int, int]]:
    return set(itertools.product(range(box[0], box[2]), range(box[1], box[3])))


@given(st.lists(CORNERS, max_size=4), st.lists(CORNERS, max_size=4))
def test_overlaps_are_those_of_counted_pixels(first: list[tuple[int, ...]], second: list[tuple[int, ...]]) -> None:
    sides = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in first]
    others = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in second]
    expected = [
        [len(pixels(one) & pixels(two)) / max(1, len(pixels(one) | pixels(two))) for two in others] for one in sides
    ]
    found = iou_matrix(np.array(sides, np.float32).reshape(-1, 4), np.array(others, np.float32).reshape(-1, 4))
    assert np.allclose(found, np.array(expected).reshape(len(sides), len(others)))


def gain(similarity: np.ndarray, pairs: list[tuple[int, int]], at_least: float) -> float:
    return sum(similarity[pair] - at_least for pair in pairs)


def best_by_trying(similarity: np.ndarray, at_least: float) -> float:
    rows, columns = similarity.shape
    allowed = [(r, c) for r in range(rows) for c in range(columns) if similarity[r, c] >= at_least]
    best = 0.0
    for size in range(1, min(rows, columns) + 1):
        for pairs in itertools.combinations(allowed, size):
            if len({r for r, _ in pairs}) == len({c for _, c in pairs}) == size:
                best = max(best, gain(similarity, list(pairs), at_least))
    return best


@settings(max_examples=60, deadline=None)
@given(GRIDS)
def test_no_other_pairing_is_better(similarity: np.ndarray) -> None:
    rows, columns = Assignment().best_pairs(similarity, at_least=0.3)
    pairs = list(zip(rows.tolist(), columns.tolist(), strict=True))
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(pairs)
    assert rows.tolist() == sorted(rows.tolist())
    assert all(similarity[pair] >= 0.3 for pair in pairs)
    assert gain(similarity, pairs, 0.3) == pytest.approx(best_by_trying(similarity, 0.3))


def test_two_poor_pairs_do_not_outweigh_a_good_one() -> None:
    similarity = np.array([[0.7, 0.31], [0.31, 0.0]])
    rows, columns = Assignment().best_pairs(similarity, at_least=0.3)
    assert (rows.tolist(), columns.tolist()) == ([0], [0])


def test_a_pair_exactly_at_the_bound_counts() -> None:
    rows, columns = Assignment().best_pairs(np.array([[0.3, 0.3], [0.3, 0.1]]), at_least=0.3)
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_without_scipy_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"^tracking needs another library: .*pip install 'sightline\[tracking\]'$"):
        Assignment()
