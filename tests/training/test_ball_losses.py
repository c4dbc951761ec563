"""The losses of the ball networks, against their formulas worked out one value at a time."""

from __future__ import annotations

import math

import pytest
import torch

from sightline.training.ball.losses import MaskedSquares, WeightedCrossEntropy


def by_hand(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """-[(1-p)² y log p + p² (1-y) log(1-p)], averaged, each logarithm of 1e-7 at least."""
    terms = []
    for p, y in zip(found.double().flatten().tolist(), wanted.flatten().tolist(), strict=True):
        terms.append(-((1 - p) ** 2 * y * math.log(max(p, 1e-7)) + p**2 * (1 - y) * math.log(max(1 - p, 1e-7))))
    return sum(terms) / len(terms)


def test_weighted_cross_entropy_is_its_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    found = torch.rand(2, 3, 4, 5, generator=generator)
    wanted = (torch.rand(2, 3, 4, 5, generator=generator) < 0.1).float()
    assert WeightedCrossEntropy()(found, wanted).item() == pytest.approx(by_hand(found, wanted), rel=1e-5)


def test_heat_maps_that_two_windows_are_mixed_of_are_scored_in_proportion() -> None:
    found, wanted = torch.tensor([[0.3, 0.8]]), torch.tensor([[0.25, 0.75]])
    assert WeightedCrossEntropy()(found, wanted).item() == pytest.approx(by_hand(found, wanted), rel=1e-5)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_costs_the_rounding_of_its_input_and_no_more(half: torch.dtype) -> None:
    found = torch.linspace(0.001, 0.999, 1000).to(half)
    wanted = (torch.arange(1000) % 7 == 0).float()
    loss = WeightedCrossEntropy()(found, wanted)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(by_hand(found.float(), wanted), rel=1e-4)


def test_a_sum_that_half_precision_could_not_hold_is_right() -> None:
    found = torch.full((1, 8, 288, 512), 0.5, dtype=torch.float16)
    assert WeightedCrossEntropy()(found, torch.zeros_like(found)).item() == pytest.approx(0.25 * math.log(2), rel=1e-4)


@pytest.mark.parametrize("sure", [0.0, 1.0])
@pytest.mark.parametrize("half", [torch.float32, torch.float16])
def test_a_pixel_the_network_is_sure_of_has_a_finite_loss_and_gradient(sure: float, half: torch.dtype) -> None:
    found = torch.full((1, 1, 2, 2), sure, dtype=half, requires_grad=True)
    loss = WeightedCrossEntropy()(found, torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * -math.log(1e-7), rel=1e-4)  # half of the pixels are wholly wrong
    assert found.grad is not None
    assert torch.isfinite(found.grad).all()


def test_a_frame_without_a_ball_is_learned_from_too() -> None:
    found = torch.full((1, 1, 4, 4), 0.9)
    loss = WeightedCrossEntropy()(found, torch.zeros_like(found))
    assert loss.item() == pytest.approx(0.81 * -math.log(0.1), rel=1e-5)
    assert WeightedCrossEntropy()(torch.zeros_like(found), torch.zeros_like(found)).item() == 0


def test_only_masked_coordinates_are_scored() -> None:
    wanted = torch.tensor([[[0.5, 0.5], [0.2, 0.4], [0.9, 0.1]]])
    found = torch.tensor([[[0.0, 1.0], [0.3, 0.6], [0.9, 0.4]]])
    mask = torch.tensor([[[0.0], [1.0], [1.0]]])
    squares = (0.1**2 + 0.2**2 + 0 + 0.3**2) / 4
    assert MaskedSquares()(found, wanted, mask).item() == pytest.approx(squares, rel=1e-5)


def test_a_window_with_nothing_to_fill_in_has_no_loss_and_no_gradient() -> None:
    found = torch.full((1, 3, 2), 0.7, requires_grad=True)
    loss = MaskedSquares()(found, torch.zeros(1, 3, 2), torch.zeros(1, 3, 1))
    loss.backward()
    assert loss.item() == 0
    assert found.grad is not None
    assert not found.grad.any()
