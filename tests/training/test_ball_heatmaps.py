"""Discs for balls, and windows laid over each other."""

from __future__ import annotations

import pytest
import torch

from sightline.ball.heatmap import find_ball
from sightline.training.ball.heatmaps import NOWHERE, centres_of, discs, mixed
from sightline.types import BallPoint


def test_a_disc_is_what_lies_within_two_and_a_half_pixels_of_the_centre() -> None:
    heat = discs(torch.tensor([[[7, 5]]]), (12, 16))[0, 0]
    for y in range(12):
        for x in range(16):
            assert heat[y, x] == float((x - 7) ** 2 + (y - 5) ** 2 <= 2.5**2)
    assert heat.sum() == 21  # the pixels of a disc of that radius


def test_every_frame_of_every_window_has_its_own_disc() -> None:
    centres = torch.tensor([[[3, 3], [9, 4]], [[NOWHERE, NOWHERE], [5, 7]]])
    heats = discs(centres, (12, 16))
    assert heats.shape == (2, 2, 12, 16)
    assert heats.sum(dim=(2, 3)).tolist() == [[21, 21], [0, 21]]
    assert heats[0, 1, 4, 9] == heats[1, 1, 7, 5] == 1


def test_a_disc_at_the_edge_is_cut_off_and_one_just_outside_reaches_in() -> None:
    assert discs(torch.tensor([[[0, 0]]]), (8, 8)).sum() == 8  # x and y from 0 to 2, without the corner (2, 2)
    assert discs(torch.tensor([[[-1, 4]]]), (8, 8)).sum() == 8  # columns 0 and 1 of the disc's five


@pytest.mark.parametrize(("x", "y"), [(0, 30), (100, 30), (509, 285), (511, 287)])
def test_what_is_learned_is_decoded_to_where_the_label_was(x: int, y: int) -> None:
    heat = discs(torch.tensor([[[x, y]]]), (288, 512))[0, 0].numpy()
    peak = find_ball(heat)
    assert peak is not None
    found = peak.in_source((1.0, 1.0))
    cut_off = {x: min(x, 509), y: min(y, 285)}  # the centre of what is left of a disc
    assert abs(found[0] - x) <= 1 + x - cut_off[x] + (x == 0)
    assert abs(found[1] - y) <= 1 + y - cut_off[y]


def test_labels_become_pixels_of_the_heat_map_rounded_down() -> None:
    points = [BallPoint(0, True, 644.0, 359.0), BallPoint(1, False, 3.0, 4.0), BallPoint(2, True, 1.0, 2.0)]
    assert centres_of(points, (720, 1280)).tolist() == [[257, 143], [NOWHERE, NOWHERE], [NOWHERE, NOWHERE]]


def test_mixing_lays_each_window_over_its_neighbour() -> None:
    windows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]).view(3, 2, 1, 1)
    laid = mixed(windows, torch.tensor([0.75, 1.0, 0.5])).view(3, 2)
    expected = [[0.75 * 1 + 0.25 * 0.5, 0.25 * 0.5], [0.0, 1.0], [0.25, 0.75]]
    assert laid.tolist() == expected
