from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sightline.nets.inpaintnet import InpaintNet, build_inpaintnet

PUBLISHED_PARAMETERS = 520_610
# The published table: (inputs, outputs) of every unit; the name of its convolution is the unit's and `.conv`.
UNITS = {
    "down_1": (3, 32),
    "down_2": (32, 64),
    "down_3": (64, 128),
    "buttleneck.conv_1": (128, 256),
    "buttleneck.conv_2": (256, 256),
    "up_1": (384, 128),
    "up_2": (192, 64),
    "up_3": (96, 32),
}


def trajectory(length: int, *, rows: int = 1) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(5)
    mask = (torch.rand(rows, length, 1, generator=random) < 0.3).float()
    return torch.rand(rows, length, 2, generator=random) * (1 - mask), mask


def net_of(seed: int = 1) -> InpaintNet:
    return build_inpaintnet(seed=seed).eval()


def test_it_has_the_published_number_of_parameters() -> None:
    assert sum(parameter.numel() for parameter in net_of().parameters()) == PUBLISHED_PARAMETERS


def test_every_tensor_has_the_published_name_and_shape() -> None:
    expected: dict[str, tuple[int, ...]] = {"predictor.weight": (2, 32, 3), "predictor.bias": (2,)}
    for name, (inputs, outputs) in UNITS.items():
        expected |= {f"{name}.conv.weight": (outputs, inputs, 3), f"{name}.conv.bias": (outputs,)}
    assert {name: tuple(tensor.shape) for name, tensor in net_of().state_dict().items()} == expected


def test_what_it_computes_is_the_published_table_read_out_in_slow_loops() -> None:
    net = net_of()
    state = {name: tensor.numpy().astype(np.float64) for name, tensor in net.state_dict().items()}

    def convolved(name: str, signal: np.ndarray) -> np.ndarray:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        padded = np.pad(signal, ((0, 0), (1, 1)))
        at = [bias + (weight * padded[None, :, time : time + 3]).sum(axis=(1, 2)) for time in range(signal.shape[1])]
        return np.stack(at, axis=1)

    def unit(name: str, *signals: np.ndarray) -> np.ndarray:
        raw = convolved(f"{name}.conv", np.concatenate(signals))
        return np.where(raw > 0, raw, 0.01 * raw)

    coords, mask = trajectory(7)
    x1 = unit("down_1", coords[0].numpy().T, mask[0].numpy().T)
    x2 = unit("down_2", x1)
    x3 = unit("down_3", x2)
    deep = unit("buttleneck.conv_2", unit("buttleneck.conv_1", x3))
    up = unit("up_3", unit("up_2", unit("up_1", deep, x3), x2), x1)
    expected = 1 / (1 + np.exp(-convolved("predictor", up)))
    with torch.inference_mode():
        np.testing.assert_allclose(net(coords, mask)[0].numpy(), expected.T, atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 16, 33])
def test_it_takes_trajectories_of_any_length(length: int) -> None:
    with torch.inference_mode():
        filled = net_of()(*trajectory(length, rows=3))
    assert filled.shape == (3, length, 2)
    assert filled.min() >= 0 and filled.max() <= 1


def test_the_same_seed_draws_the_same_weights() -> None:
    first, again, other = (build_inpaintnet(seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["predictor.weight"], other["predictor.weight"])
