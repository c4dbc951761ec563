"""Tracks of known people, cut where the person changes; means and cuts by slow loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import ModelOutputError
from sightline.tracking.splitting import CLEARLY, FEWEST, parts_of, split_tracklet
from sightline.types import FloatArray, Tracklet

SIZE = 128


def crops(rng: np.random.Generator, person: FloatArray, count: int, *, noise: float = 0.8) -> FloatArray:
    """Vectors about a person's own, as unlike each other as crops of one track are (cosine about 0.6)."""
    vectors = person + noise * rng.standard_normal((count, SIZE)) / np.sqrt(SIZE)
    return vectors.astype(np.float32)


def people(rng: np.random.Generator, count: int) -> list[FloatArray]:
    """Unit vectors with a cosine of about 0.3 between them."""
    common = rng.standard_normal(SIZE)
    mixed = [
        0.55 * common / np.linalg.norm(common) + 0.83 * own / np.linalg.norm(own)
        for own in rng.normal(size=(count, SIZE))
    ]
    return [vector / np.linalg.norm(vector) for vector in mixed]


LENGTHS = st.lists(st.integers(FEWEST, 25), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(LENGTHS, st.integers(0, 1000))
def test_each_person_is_a_part(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = [crops(rng, person, n) for person, n in zip(people(rng, len(lengths)), lengths, strict=True)]
    ends = list(itertools.accumulate(lengths, initial=0))
    assert parts_of(np.concatenate(vectors)) == [range(a, b) for a, b in itertools.pairwise(ends)]


def test_who_was_taken_for_another_for_a_while_is_a_part_on_either_side() -> None:
    rng = np.random.default_rng(0)
    one, other = people(rng, 2)
    vectors = np.concatenate([crops(rng, one, 10), crops(rng, other, 6), crops(rng, one, 10)])
    assert parts_of(vectors) == [range(10), range(10, 16), range(16, 26)]


@pytest.mark.parametrize("odd", [1, 2])
def test_a_few_odd_crops_at_the_end_are_no_other_person(odd: int) -> None:
    rng = np.random.default_rng(0)
    one, other = people(rng, 2)
    assert parts_of(np.concatenate([crops(rng, one, 10), crops(rng, other, odd)])) == [range(10 + odd)]


def test_somebody_who_slowly_turns_is_one_person() -> None:
    """Over forty crops by half a right angle in all: each crop is close to those about it."""
    angles = np.linspace(0, np.pi / 4, 40)
    vectors = np.zeros((40, SIZE), np.float32)
    vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
    assert parts_of(vectors) == [range(40)]


def every_way(count: int, start: int = 0) -> list[list[range]]:
    """All ways to cut the rows from `start` on into parts of FEWEST or more."""
    ways = [[range(start, count)]] if count - start >= FEWEST else []
    for stop in range(start + FEWEST, count - FEWEST + 1):
        ways += [[range(start, stop), *rest] for rest in every_way(count, stop)]
    return ways


@pytest.mark.parametrize("seed", range(8))
def test_no_other_way_to_cut_leaves_less_spread(seed: int) -> None:
    """Three people and twelve crops, in the order of the loop: spread about the mean, and a price for each part."""
    rng = np.random.default_rng(seed)
    vectors = np.concatenate([crops(rng, person, 4, noise=1.0) for person in people(rng, 3)])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def cost(parts: list[range]) -> float:
        spread = sum(float(((unit[part] - unit[part].mean(axis=0)) ** 2).sum()) for part in map(list, parts))
        return spread + FEWEST * CLEARLY * len(parts)

    best = min(every_way(12), key=cost)
    assert parts_of(vectors) == best
    assert len(best) > 1


def test_people_who_are_hardly_less_alike_than_crops_of_one_are_left_together() -> None:
    """Cosines by hand: 1 within each half, 0.9 across; and 1 within, 0.8 across."""
    for cosine, parts in ((0.9, [range(20)]), (0.8, [range(10), range(10, 20)])):
        vectors = np.zeros((20, SIZE), np.float32)
        vectors[:10, 0] = 1
        vectors[10:, :2] = cosine, np.sqrt(1 - cosine**2)
        assert parts_of(vectors) == parts


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_crops_are_never_cut(count: int) -> None:
    vectors = np.eye(5, SIZE, dtype=np.float32)[:count]
    assert parts_of(vectors) == ([range(count)] if count else [])


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_vector_that_says_nothing_is_refused(value: float) -> None:
    vectors = np.ones((8, SIZE), np.float32)
    vectors[3] = value
    with pytest.raises(ModelOutputError, match="not finite, or zero"):
        parts_of(vectors)


def tracklet(count: int) -> Tracklet:
    frames = np.arange(100, 100 + count)
    boxes = np.repeat(np.arange(count, dtype=np.float32)[:, None], 4, axis=1)
    return Tracklet(7, "door", frames, frames / 25, boxes, np.linspace(0, 1, count, dtype=np.float32))


def test_a_tracklet_is_cut_half_way_between_the_crops_on_either_side() -> None:
    """Crops every tenth frame, the person changes after that of frame 140: the cut lies behind frame 145."""
    rng = np.random.default_rng(0)
    one, other = people(rng, 2)
    vectors = np.concatenate([crops(rng, one, 5), crops(rng, other, 5)])
    whole = tracklet(100)
    first, second = split_tracklet(whole, vectors, np.arange(100, 200, 10))
    assert (first.frames[0], first.frames[-1], second.frames[0], second.frames[-1]) == (100, 145, 146, 199)
    assert {first.track_id, second.track_id} == {7} and {first.source, second.source} == {"door"}
    for name in ("frames", "times_s", "boxes_xyxy", "scores"):
        assert np.array_equal(np.concatenate([getattr(first, name), getattr(second, name)]), getattr(whole, name))


def test_a_tracklet_of_one_person_stays_as_it_is() -> None:
    rng = np.random.default_rng(0)
    whole = tracklet(50)
    assert split_tracklet(whole, crops(rng, people(rng, 1)[0], 10), np.arange(100, 150, 5)) == [whole]
