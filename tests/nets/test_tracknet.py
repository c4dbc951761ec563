from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sightline.ball.planes import input_planes
from sightline.errors import ConfigError, UnknownArchError
from sightline.nets.tracknet import TrackNet, build_tracknet, planes_of

# The published table: 3×3 units of each stage, as (inputs, outputs), at full width. The first input is the planes'.
STAGES = {
    "down_block_1": [(None, 64), (64, 64)],
    "down_block_2": [(64, 128), (128, 128)],
    "down_block_3": [(128, 256), (256, 256), (256, 256)],
    "bottleneck": [(256, 512), (512, 512), (512, 512)],
    "up_block_1": [(768, 256), (256, 256), (256, 256)],
    "up_block_2": [(384, 128), (128, 128)],
    "up_block_3": [(192, 64), (64, 64)],
}
# (mode, planes for 8 frames, published number of parameters)
PUBLISHED = [
    ("", 24, 11_339_272),
    ("subtract", 8, 11_330_056),
    ("subtract_concat", 32, 11_343_880),
    ("concat", 27, 11_341_000),
]


def small(seq_len: int = 3, bg_mode: str = "concat", *, seed: int = 1) -> TrackNet:
    return build_tracknet(seq_len, bg_mode, width="x0_25", seed=seed).eval()


def noise(net: TrackNet, *, rows: int = 1, height: int = 16, width: int = 24) -> Tensor:
    return torch.rand(rows, net.in_dim, height, width, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize(("bg_mode", "planes", "parameters"), PUBLISHED)
def test_each_background_mode_has_the_published_number_of_parameters(
    bg_mode: str, planes: int, parameters: int
) -> None:
    net = build_tracknet(8, bg_mode)
    assert net.in_dim == planes == planes_of(8, bg_mode)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters


def test_every_tensor_has_the_published_name_and_shape() -> None:
    expected = {"predictor.weight": (8, 64, 1, 1), "predictor.bias": (8,)}
    for stage, units in STAGES.items():
        for number, (inputs, outputs) in enumerate(units, 1):
            unit = f"{stage}.conv_{number}"
            expected[f"{unit}.conv.weight"] = (outputs, inputs or 27, 3, 3)
            norm = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (outputs,))
            expected |= {f"{unit}.bn.{name}": shape for name, shape in norm.items()}
            expected[f"{unit}.bn.num_batches_tracked"] = ()
    found = {name: tuple(tensor.shape) for name, tensor in build_tracknet(8, "concat").state_dict().items()}
    assert len(found) == 17 * 6 + 2
    assert found == expected


@pytest.mark.parametrize(("width", "share"), [("x0_5", 2), ("x0_25", 4)])
def test_a_narrower_network_has_that_share_of_the_channels_in_every_unit(width: str, share: int) -> None:
    full, narrow = (build_tracknet(8, "concat", width=name).state_dict() for name in ("x1_0", width))
    assert full.keys() == narrow.keys()
    for name, tensor in narrow.items():
        inputs_too = (1, share)[not name.startswith("down_block_1.conv_1.")]
        wanted = [full[name].shape[0] // (1 if name.startswith("predictor") else share)] if tensor.ndim else []
        if tensor.ndim == 4:
            wanted += [full[name].shape[1] // inputs_too, *full[name].shape[2:]]
        assert list(tensor.shape) == wanted, name


def test_what_it_computes_is_the_published_table_read_out() -> None:
    net = small()
    for module in net.modules():  # statistics of their own, so that a norm left out shows
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(module.num_features))
            module.running_var.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(module.num_features + 1))
    state, planes = net.state_dict(), noise(net, rows=2)

    def through(stage: str, maps: Tensor) -> Tensor:
        for number in range(1, len(STAGES[stage]) + 1):
            unit = f"{stage}.conv_{number}"
            maps = functional.conv2d(maps, state[f"{unit}.conv.weight"], padding=1)
            mean, var, gain, bias = (
                state[f"{unit}.bn.{name}"].reshape(1, -1, 1, 1)
                for name in ("running_mean", "running_var", "weight", "bias")
            )
            maps = ((maps - mean) / (var + 1e-5).sqrt() * gain + bias).clamp(min=0)
        return maps

    def halved(maps: Tensor) -> Tensor:
        corners = [maps[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]
        return torch.stack(corners).amax(dim=0)

    def joined(low: Tensor, skipped: Tensor) -> Tensor:
        return torch.cat([low.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3), skipped], dim=1)

    x1 = through("down_block_1", planes)
    x2 = through("down_block_2", halved(x1))
    x3 = through("down_block_3", halved(x2))
    up = through("up_block_1", joined(through("bottleneck", halved(x3)), x3))
    up = through("up_block_3", joined(through("up_block_2", joined(up, x2)), x1))
    logits = functional.conv2d(up, state["predictor.weight"], state["predictor.bias"])
    with torch.inference_mode():
        torch.testing.assert_close(net(planes), 1 / (1 + (-logits).exp()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seq_len", [1, 2, 5, 8])
@pytest.mark.parametrize("bg_mode", [mode for mode, _, _ in PUBLISHED])
def test_any_number_of_frames_gets_one_heat_map_each_in_0_to_1(seq_len: int, bg_mode: str) -> None:
    net = small(seq_len, bg_mode)
    with torch.inference_mode():
        heat = net(noise(net, rows=2))
    assert heat.shape == (2, seq_len, 16, 24)
    assert heat.min() >= 0 and heat.max() <= 1


def test_the_network_takes_as_many_planes_as_the_stream_prepares() -> None:
    for bg_mode in (None, *(mode for mode, _, _ in PUBLISHED)):
        for seq_len in (1, 3, 8, 16):
            assert planes_of(seq_len, bg_mode) == input_planes(seq_len, bg_mode)


def test_no_background_may_be_said_as_none() -> None:
    assert planes_of(8, None) == planes_of(8, "") == 24
    assert build_tracknet(2, None, width="x0_25").in_dim == 6


def test_fresh_weights_already_tell_one_picture_from_another() -> None:
    """With torch's own initialisation 17 layers pass on nothing but the last bias, and learning begins in the dark."""
    net = small()
    with torch.inference_mode():
        heat = net(noise(net)).numpy().astype(np.float64)
    assert float(np.ptp(np.log(heat / (1 - heat)))) > 0.2  # before the sigmoid, whose end they begin at


def test_a_row_of_a_batch_does_not_depend_on_the_others() -> None:
    net = small()
    planes = noise(net, rows=3)
    with torch.inference_mode():
        torch.testing.assert_close(net(planes)[1:2], net(planes[1:2]), rtol=1e-4, atol=1e-6)


def test_the_same_seed_draws_the_same_weights_and_leaves_the_global_state_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (build_tracknet(2, "", width="x0_25", seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["predictor.weight"], other["predictor.weight"])


@pytest.mark.parametrize("bg_mode", ["substract", "Concat", " ", "none"])
def test_an_unknown_background_mode_is_named_with_those_there_are(bg_mode: str) -> None:
    with pytest.raises(ConfigError, match=r"^no bg_mode '.*'; expected one of '', 'subtract', 'subtract_concat', 'con"):
        build_tracknet(8, bg_mode)


@pytest.mark.parametrize("seq_len", [0, -8])
def test_no_frames_are_no_network(seq_len: int) -> None:
    with pytest.raises(ConfigError, match=rf"^seq_len is {seq_len}; expected 1 frame or more$"):
        build_tracknet(seq_len, "")


def test_an_unknown_width_is_named_with_those_there_are() -> None:
    with pytest.raises(UnknownArchError, match=r"^no TrackNet width 'x0_75'; expected one of x1_0, x0_5, x0_25$"):
        build_tracknet(8, "", width="x0_75")
