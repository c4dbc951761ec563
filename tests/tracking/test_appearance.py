"""What tracks look like: means and beliefs by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.tracking.appearance import (
    BELIEVED_S,
    CROWDED_IOU,
    MEMORY,
    Appearance,
    crowding,
    likeness,
    normalised,
    reliability,
    unknown,
)

USABLE = np.array([True])


def test_the_first_crops_count_alike() -> None:
    """Nearly alike crops, so that the mean of unit vectors hardly needs its length put right on the way."""
    rng = np.random.default_rng(0)
    crops = normalised((np.eye(1, 32) + 0.01 * rng.standard_normal((MEMORY, 32))).astype(np.float32))
    looked = unknown(1, 32)
    for number, crop in enumerate(crops):
        looked = looked.with_crops(crop[None], USABLE, float(number))
    mean = crops.mean(axis=0)
    assert looked.vectors[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-4)
    assert (looked.crops.tolist(), looked.embedded_s.tolist()) == ([MEMORY], [MEMORY - 1])


def test_new_clothes_replace_old_ones_in_the_end() -> None:
    old, new = np.eye(2, dtype=np.float32)
    looked = Appearance(old[None], np.array([1000]), np.zeros(1))
    for _ in range(3 * MEMORY):
        looked = looked.with_crops(new[None], USABLE, 0.0)
    assert looked.vectors[0] @ new > 0.95


def test_an_unusable_crop_changes_nothing() -> None:
    looked = unknown(2, 2).with_crops(np.eye(2, dtype=np.float32), np.array([True, False]), 3.0)
    assert looked.vectors.tolist() == [[1, 0], [0, 0]]
    assert (looked.known.tolist(), looked.embedded_s.tolist()) == ([True, False], [3, -np.inf])


def test_belief_halves_with_time_and_falls_with_the_crowd() -> None:
    looked = Appearance(np.ones((3, 1), np.float32), np.array([1, 1, 0]), np.array([10 - BELIEVED_S, 10, -np.inf]))
    embedded, crowded = np.array([True, True, True, False]), np.array([0, CROWDED_IOU / 2, 0.9, 0])
    found = reliability(looked, embedded, crowded, time_s=10)
    assert found.tolist() == [[0.5, 0.25, 0, 0], [1, 0.5, 0, 0], [0, 0, 0, 0]]


def test_likeness_is_a_half_at_the_threshold_and_certain_beyond_its_span() -> None:
    assert likeness(np.array([-1, 0.4, 0.6, 0.7, 0.8, 1]), same_person=0.6) == pytest.approx([0, 0, 0.5, 0.75, 1, 1])


def test_a_crowd_is_the_largest_overlap_with_another() -> None:
    assert crowding(np.array([[1, 0.2, 0.7], [0.2, 1, 0], [0.7, 0, 1]])).tolist() == [0.7, 0.2, 0.7]
    assert crowding(np.ones((1, 1))).tolist() == [0]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30])
def test_a_vector_without_a_length_says_nothing(value: float) -> None:
    vectors = np.array([[3, 4], [value, 0]], np.float32)
    assert normalised(vectors).tolist() == [pytest.approx([0.6, 0.8]), [0, 0]]
