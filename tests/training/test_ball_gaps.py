"""What InpaintNet learns from: points taken away that are known, and gaps to judge by that are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from sightline.training.ball.gaps import LONGEST_HOLE, Stretches, collated, with_holes
from sightline.training.ball.rallies import LabelledRally, Rally
from sightline.training.ball.validation import repaired
from sightline.types import BallPoint, FloatArray

RALLY = Rally(Path("match1"), "1_01_00", Path("match1/csv/1_01_00_ball.csv"))
SIZE_HW = (100, 200)


def line(count: int, *, hidden: Sequence[int] = ()) -> list[BallPoint]:
    return [BallPoint(i, i not in hidden, 10.0 + i, 50.0 + i / 2) for i in range(count)]


def stretches(
    labels: Sequence[BallPoint], found: Sequence[BallPoint], *, mask_ratio: float = 0.3, seq_len: int = 16
) -> Stretches:
    rally = LabelledRally(RALLY, tuple(labels), SIZE_HW)
    return Stretches([(rally, found)], seq_len=seq_len, step=1, mask_ratio=mask_ratio, seed=13)


def test_coordinates_are_shares_of_the_picture_and_0_where_they_were_taken_away() -> None:
    window = stretches(line(20), line(20))[2]
    for place in range(16):
        x, y = (12 + place) / 200, (51 + place / 2) / 100
        taken = bool(window.mask[place, 0])
        assert window.wanted[place].tolist() == pytest.approx([x, y])
        assert window.coords[place].tolist() == pytest.approx([0, 0] if taken else [x, y])
    assert window.name == "match1/1_01_00 from frame 2"


def test_three_in_ten_visible_points_are_taken_away() -> None:
    data = stretches(line(600), line(600))
    masks = torch.cat([data[index].mask for index in range(0, len(data), 16)])
    assert masks.mean().item() == pytest.approx(0.3, abs=0.06)  # four standard deviations of 584 points


def test_what_was_not_seen_or_is_not_known_is_never_to_be_filled_in() -> None:
    labels, found = line(40, hidden=range(5, 10)), line(40, hidden=range(20, 26))
    data = stretches(labels, found, mask_ratio=0.99)
    masked = {start + place for start in range(len(data)) for place in np.flatnonzero(data[start].mask[:, 0])}
    assert masked == set(range(40)) - set(range(5, 10)) - set(range(20, 26))
    window = data[0]
    assert window.coords[8].tolist() == pytest.approx([0.09, 0.54])  # what the tracker found goes in, right or wrong


def test_the_answer_is_the_label_and_not_what_the_tracker_found() -> None:
    off = [BallPoint(point.frame, True, point.x + 8, point.y) for point in line(16)]
    window = stretches(line(16), off)[0]
    kept = window.mask[:, 0] == 0
    assert (window.coords[kept, 0] - window.wanted[kept, 0]).tolist() == pytest.approx([8 / 200] * int(kept.sum()))


def test_every_epoch_takes_others_away_and_the_same_epoch_the_same() -> None:
    first, second = stretches(line(20), line(20)), stretches(line(20), line(20))
    assert torch.equal(first[1].mask, second[1].mask)
    second.set_epoch(1)
    assert not torch.equal(first[1].mask, second[1].mask)


def test_a_batch_is_its_windows_one_after_another() -> None:
    data = stretches(line(20), line(20))
    batch = collated([data[0], data[3]])
    assert (batch.coords.shape, batch.mask.shape, batch.wanted.shape) == ((2, 16, 2), (2, 16, 1), (2, 16, 2))
    assert torch.equal(batch.mask[1], data[3].mask)


def test_rallies_shorter_than_a_window_have_none() -> None:
    assert len(stretches(line(15), line(15))) == 0


def test_holes_are_short_have_both_their_sides_and_are_the_same_for_a_seed() -> None:
    holed = with_holes(line(500), seed=2)
    assert holed == with_holes(line(500), seed=2)
    assert holed != with_holes(line(500), seed=3)
    runs = "".join("." if point.visible else "#" for point in holed).split(".")
    lengths = [len(run) for run in runs if run]
    assert len(lengths) > 10
    assert max(lengths) <= LONGEST_HOLE
    assert holed[0].visible


def test_gaps_are_filled_as_in_use_and_what_was_found_stays() -> None:
    def halfway(coords: FloatArray, mask: FloatArray) -> FloatArray:
        return np.full_like(coords, 0.5)

    found = line(20, hidden=range(8, 11))
    filled = repaired(found, halfway, seq_len=8, size_hw=SIZE_HW)
    assert [point.frame for point in filled] == list(range(20))
    assert [(point.visible, point.x, point.y) for point in filled[8:11]] == [(True, 100.0, 50.0)] * 3
    assert [(p.x, p.y) for p in filled[:8]] == [(round(p.x), round(p.y)) for p in found[:8]]
