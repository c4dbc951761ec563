from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sightline.errors import ModelError
from sightline.nets.osnet import ARCHS, OSBlock, OSNet, build_osnet

# Without classifier. The first six are published or counted on the public code; AIN adds and removes as many
# (an instance norm in place of a batch norm), so it counts what the plain network of its width does.
PARAMETERS = {
    "osnet_x1_0": 2_169_508,
    "osnet_x0_75": 1_285_754,
    "osnet_x0_5": 630_034,
    "osnet_x0_25": 201_864,
    "osnet_ibn_x1_0": 2_170_532,
    "osnet_ain_x1_0": 2_169_508,
    "osnet_ain_x0_75": 1_285_754,
    "osnet_ain_x0_5": 630_034,
    "osnet_ain_x0_25": 201_864,
}

# Entries of the public files, classifier and num_batches_tracked included.
ENTRIES = {"plain": 567, "ibn": 568, "ain": 552}

# Written down from public checkpoints.
KEYS = {
    "osnet_x1_0": {
        "conv1.conv.weight": (64, 3, 7, 7),
        "conv1.bn.running_mean": (64,),
        "conv2.0.conv1.conv.weight": (64, 64, 1, 1),
        "conv2.0.conv2a.conv1.weight": (64, 64, 1, 1),
        "conv2.0.conv2a.conv2.weight": (64, 1, 3, 3),
        "conv2.0.conv2a.bn.num_batches_tracked": (),
        "conv2.0.conv2b.1.conv1.weight": (64, 64, 1, 1),
        "conv2.0.conv2d.3.conv2.weight": (64, 1, 3, 3),
        "conv2.0.gate.fc1.weight": (4, 64, 1, 1),
        "conv2.0.gate.fc2.bias": (64,),
        "conv2.0.conv3.conv.weight": (256, 64, 1, 1),
        "conv2.0.downsample.conv.weight": (256, 64, 1, 1),
        "conv2.0.downsample.bn.weight": (256,),
        "conv2.2.0.conv.weight": (256, 256, 1, 1),
        "conv3.2.0.bn.running_var": (384,),
        "conv4.1.conv2c.2.bn.bias": (128,),
        "conv5.conv.weight": (512, 512, 1, 1),
        "fc.0.weight": (512, 512),
        "fc.0.bias": (512,),
        "fc.1.running_var": (512,),
        "classifier.weight": (7, 512),
    },
    "osnet_x0_25": {"conv2.0.gate.fc1.weight": (1, 16, 1, 1), "conv3.0.gate.fc1.weight": (1, 24, 1, 1)},
    "osnet_ibn_x1_0": {"conv2.0.IN.weight": (256,), "conv2.1.IN.bias": (256,), "conv1.bn.weight": (64,)},
    "osnet_ain_x0_5": {
        "conv1.bn.bias": (32,),
        "conv2.0.conv2.0.layers.0.conv1.weight": (32, 32, 1, 1),
        "conv2.1.conv2.3.layers.3.bn.running_mean": (32,),
        "conv2.0.conv3.conv.weight": (128, 32, 1, 1),
        "conv2.0.IN.weight": (128,),
        "pool2.0.conv.weight": (128, 128, 1, 1),
        "pool3.0.bn.weight": (192,),
        "conv3.0.conv3.bn.weight": (192,),
        "conv3.1.IN.weight": (192,),
        "conv4.0.IN.bias": (256,),
        "conv4.1.conv3.bn.weight": (256,),
    },
}

ABSENT = {
    "osnet_x1_0": r"classifier|.*\.IN\.|pool2|conv4\.2\.|conv2\.0\.conv2a\.0|conv2\.1\.downsample|.*layers",
    "osnet_ibn_x1_0": r"classifier|conv1\.bn\.running|conv[34]\.\d\.IN|.*\.IN\.running",
    "osnet_ain_x1_0": r"conv1\.bn\.running|conv2\.[01]\.conv3\.bn|conv3\.0\.IN|conv4\.1\.IN|conv2\.2\.|.*\.conv2a",
}


def settle(net: nn.Module, *, seed: int) -> nn.Module:
    """Every tensor at random values, so that no norm is the identity; in eval."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            low = 0.5 if name.endswith("running_var") else -0.5
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + low)
    return net.eval()


@pytest.mark.parametrize("arch", PARAMETERS)
def test_a_network_has_the_published_number_of_parameters(arch: str) -> None:
    assert sum(parameter.numel() for parameter in build_osnet(arch).parameters()) == PARAMETERS[arch]


@pytest.mark.parametrize("arch", PARAMETERS)
def test_a_state_dict_has_as_many_entries_as_the_public_files(arch: str) -> None:
    assert len(build_osnet(arch, num_classes=7).state_dict()) == ENTRIES[ARCHS[arch].family]


def test_the_nine_published_names_are_the_names_there_are() -> None:
    assert set(ARCHS) == set(PARAMETERS)


@pytest.mark.parametrize("arch", KEYS)
def test_names_and_shapes_are_those_of_the_public_files(arch: str) -> None:
    state = build_osnet(arch, num_classes=7).state_dict()
    assert {name: tuple(state[name].shape) for name in KEYS[arch]} == KEYS[arch]


@pytest.mark.parametrize("arch", ABSENT)
def test_what_the_public_files_lack_is_absent(arch: str) -> None:
    assert [name for name in build_osnet(arch).state_dict() if re.match(ABSENT[arch], name)] == []


class SlowBlock:
    """One block from its state dict with NumPy loops, batch norms from their definition. Nothing of ours is called."""

    def __init__(self, block: nn.Module) -> None:
        self.state = {name: tensor.double().numpy() for name, tensor in block.state_dict().items()}

    def pointwise(self, name: str, maps: NDArray[np.float64]) -> NDArray[np.float64]:
        kernel = self.state[f"{name}.weight"][:, :, 0, 0]
        mixed = np.stack([sum(kernel[o, i] * maps[i] for i in range(len(maps))) for o in range(len(kernel))])
        return mixed + self.state.get(f"{name}.bias", np.zeros(len(kernel)))[:, None, None]

    def depthwise(self, name: str, maps: NDArray[np.float64]) -> NDArray[np.float64]:
        kernel, padded, result = (
            self.state[f"{name}.weight"],
            np.pad(maps, ((0, 0), (1, 1), (1, 1))),
            np.zeros_like(maps),
        )
        for channel, row, column in np.ndindex(*maps.shape):
            window = padded[channel, row : row + 3, column : column + 3]
            result[channel, row, column] = (window * kernel[channel, 0]).sum()
        return result

    def scale(self, name: str, maps: NDArray[np.float64], mean: object, var: object) -> NDArray[np.float64]:
        weight, bias = (self.state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
        return (maps - mean) / np.sqrt(var + 1e-5) * weight + bias

    def batch_norm(self, name: str, maps: NDArray[np.float64]) -> NDArray[np.float64]:
        mean, var = (self.state[f"{name}.running_{part}"][:, None, None] for part in ("mean", "var"))
        return self.scale(name, maps, mean, var)

    def instance_norm(self, maps: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.scale("IN", maps, maps.mean((1, 2), keepdims=True), maps.var((1, 2), keepdims=True))

    def conv(self, name: str, maps: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.batch_norm(f"{name}.bn", self.pointwise(f"{name}.conv", maps))

    def light(self, name: str, maps: NDArray[np.float64]) -> NDArray[np.float64]:
        maps = self.depthwise(f"{name}.conv2", self.pointwise(f"{name}.conv1", maps))
        return np.maximum(self.batch_norm(f"{name}.bn", maps), 0)

    def gate(self, maps: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = maps.mean((1, 2), keepdims=True)
        raw = self.pointwise("gate.fc2", np.maximum(self.pointwise("gate.fc1", mean), 0))
        return maps / (1 + np.exp(-raw))

    def fused(self, maps: NDArray[np.float64], streams: list[list[str]]) -> NDArray[np.float64]:
        start, total = np.maximum(self.conv("conv1", maps), 0), 0.0
        for stream in streams:
            seen = start
            for name in stream:
                seen = self.light(name, seen)
            total = total + self.gate(seen)
        return np.asarray(total)


NAMED_STREAMS = [
    ["conv2a"],
    *([f"conv2{letter}.{i}" for i in range(depth)] for letter, depth in (("b", 2), ("c", 3), ("d", 4))),
]
LISTED_STREAMS = [[f"conv2.{t}.layers.{i}" for i in range(t + 1)] for t in range(4)]
MAPS = torch.randn(1, 64, 5, 4, generator=torch.Generator().manual_seed(5))


def agree(block: nn.Module, expected: NDArray[np.float64]) -> bool:
    assert expected.std() > 0.1  # or there is little to compare
    with torch.no_grad():
        return np.allclose(block(MAPS)[0].numpy(), expected, atol=1e-5, rtol=1e-4)


def test_a_plain_block_is_four_gated_streams_plus_a_shortcut() -> None:
    block = settle(OSBlock(64, 128, instance_norm="none", family="plain"), seed=1)
    slow, maps = SlowBlock(block), MAPS[0].double().numpy()
    residual = slow.conv("conv3", slow.fused(maps, NAMED_STREAMS))
    assert agree(block, np.maximum(residual + slow.conv("downsample", maps), 0))


def test_a_block_that_keeps_its_width_adds_its_input_itself() -> None:
    block = settle(OSBlock(64, 64, instance_norm="none", family="plain"), seed=2)
    slow, maps = SlowBlock(block), MAPS[0].double().numpy()
    assert agree(block, np.maximum(slow.conv("conv3", slow.fused(maps, NAMED_STREAMS)) + maps, 0))


def test_ibn_normalises_the_sum_after_the_shortcut_is_added() -> None:
    block = settle(OSBlock(64, 128, instance_norm="sum", family="ibn"), seed=3)
    slow, maps = SlowBlock(block), MAPS[0].double().numpy()
    residual = slow.conv("conv3", slow.fused(maps, NAMED_STREAMS))
    assert agree(block, np.maximum(slow.instance_norm(residual + slow.conv("downsample", maps)), 0))


def test_ain_normalises_the_residual_before_the_shortcut_is_added() -> None:
    block = settle(OSBlock(64, 128, instance_norm="residual", family="ain"), seed=4)
    slow, maps = SlowBlock(block), MAPS[0].double().numpy()
    residual = slow.pointwise("conv3.conv", slow.fused(maps, LISTED_STREAMS))
    assert agree(block, np.maximum(slow.instance_norm(residual) + slow.conv("downsample", maps), 0))


def test_the_four_streams_share_one_gate() -> None:
    block = OSBlock(64, 128, instance_norm="none", family="plain").eval()
    calls: list[Tensor] = []
    block.gate.register_forward_hook(lambda gate, inputs, output: calls.append(output))
    block(MAPS)
    assert len(calls) == 4
    assert [name for name in block.state_dict() if "fc1.weight" in name] == ["gate.fc1.weight"]


@pytest.mark.parametrize(
    ("arch", "stages"),
    [
        ("osnet_x1_0", [["none", "none"], ["none", "none"], ["none", "none"]]),
        ("osnet_ibn_x1_0", [["sum", "sum"], ["none", "none"], ["none", "none"]]),
        ("osnet_ain_x0_25", [["residual", "residual"], ["none", "residual"], ["residual", "none"]]),
    ],
)
def test_instance_norms_stand_where_the_paper_puts_them(arch: str, stages: list[list[str]]) -> None:
    net = build_osnet(arch)
    blocks = [
        [part.instance_norm for part in stage if isinstance(part, OSBlock)]
        for stage in (net.conv2, net.conv3, net.conv4)
    ]
    assert blocks == stages


@pytest.mark.parametrize("arch", ["osnet_x0_25", "osnet_ain_x0_25"])
def test_the_stages_follow_one_another_as_the_paper_says(arch: str) -> None:
    net = settle(build_osnet(arch), seed=6)
    state = net.state_dict()
    images = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(7))

    def conv(name: str, maps: Tensor) -> Tensor:
        mixed = functional.conv2d(maps, state[f"{name}.conv.weight"])
        parts = [state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(mixed, *parts).relu()

    stem = functional.conv2d(images, state["conv1.conv.weight"], stride=2, padding=3)
    weight, bias = state["conv1.bn.weight"], state["conv1.bn.bias"]
    if "ain" in arch:
        stem = functional.instance_norm(stem, weight=weight, bias=bias)
    else:
        stem = functional.batch_norm(stem, state["conv1.bn.running_mean"], state["conv1.bn.running_var"], weight, bias)
    maps = functional.max_pool2d(stem.relu(), 3, stride=2, padding=1)
    for stage, transition in ((net.conv2, "2"), (net.conv3, "3"), (net.conv4, "")):
        maps = stage[1](stage[0](maps))
        if transition:
            name = f"pool{transition}.0" if "ain" in arch else f"conv{transition}.2.0"
            maps = functional.avg_pool2d(conv(name, maps), 2)
    maps = conv("conv5", maps)
    torch.testing.assert_close(net.feature_map(images), maps)

    mixed = functional.linear(maps.mean((2, 3)), state["fc.0.weight"], state["fc.0.bias"])
    parts = [state[f"fc.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    torch.testing.assert_close(net(images), functional.batch_norm(mixed, *parts).relu())


@pytest.mark.parametrize("arch", PARAMETERS)
def test_every_network_trains_all_its_parameters_and_then_evaluates(arch: str) -> None:
    net = build_osnet(arch, num_classes=3, seed=0)
    images = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    functional.cross_entropy(net(images), torch.tensor([0, 1, 2, 0])).backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []
    vectors = net.eval()(images)
    assert vectors.shape == (4, 512)
    assert vectors.min() == 0  # the ReLU came last


def test_a_person_crop_leaves_the_last_stage_at_a_sixteenth_of_its_size() -> None:
    maps = build_osnet("osnet_x0_25").eval().feature_map(torch.zeros(1, 3, 256, 128))
    assert maps.shape == (1, 128, 16, 8)


def test_an_image_has_the_same_vector_alone_and_in_a_batch() -> None:
    net = build_osnet("osnet_ain_x0_25", seed=0).eval()
    images = torch.randn(3, 3, 64, 32, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(net(images)[1:2], net(images[1:2]))


def test_training_gives_logits_and_a_triplet_loss_gets_the_vectors_too() -> None:
    images = torch.randn(2, 3, 64, 32)
    assert build_osnet("osnet_x0_25", num_classes=5)(images).shape == (2, 5)
    logits, vectors = build_osnet("osnet_x0_25", num_classes=5, loss="triplet")(images)
    assert (logits.shape, vectors.shape) == ((2, 5), (2, 512))


def test_without_a_classifier_training_gives_the_vectors() -> None:
    net = build_osnet("osnet_x0_25", feature_dim=64, loss="triplet")
    assert net(torch.randn(2, 3, 64, 32)).shape == (2, 64)
    assert net.classifier is None


def test_a_mistyped_name_is_answered_with_the_nearest_and_all_others() -> None:
    with pytest.raises(ModelError, match=r"osnet_1_0.*did you mean osnet_x1_0\?") as caught:
        build_osnet("osnet_1_0")
    assert all(arch in str(caught.value) for arch in ARCHS)


def test_a_name_near_none_gets_the_list_only() -> None:
    with pytest.raises(ModelError, match="no network 'vit'; expected one of osnet_x1_0, "):
        build_osnet("vit")


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31), elsewhere=st.integers(0, 2**31))
def test_a_seed_decides_the_weights_and_leaves_the_global_state_alone(seed: int, elsewhere: int) -> None:
    torch.manual_seed(elsewhere)
    expected = torch.rand(3)
    first = build_osnet("osnet_x0_25", seed=seed).state_dict()
    torch.manual_seed(elsewhere)
    second = build_osnet("osnet_x0_25", seed=seed).state_dict()
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_other_seeds_and_no_seed_give_other_weights() -> None:
    nets = [build_osnet("osnet_x0_25", seed=seed) for seed in (1, 2, None, None)]
    assert len({net.conv1[0].weight.sum().item() for net in nets}) == 4


def test_fresh_weights_are_spread_as_published() -> None:
    net: OSNet = build_osnet("osnet_x1_0", num_classes=751, seed=0)
    state = net.state_dict()
    fan_out = 512  # of conv5: 512 filters of 1×1
    assert state["conv5.conv.weight"].std() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
    assert state["classifier.weight"].std() == pytest.approx(0.01, rel=0.02)
    assert state["conv2.0.conv2a.conv2.weight"].std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)
    assert {
        float(state[name].abs().max()) for name in state if name.endswith((".bn.bias", "fc1.bias", "fc.0.bias"))
    } == {0}
    assert {float(state[name].mean()) for name in state if name.endswith("bn.weight")} == {1}
