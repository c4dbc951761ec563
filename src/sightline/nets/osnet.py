"""OSNet in its nine published shapes, with the parameter names of the public torchreid checkpoints.

Omni-Scale Feature Learning for Person Re-Identification (Zhou et al., ICCV 2019), and for IBN and AIN its TPAMI 2021
extension. Every attribute below that holds a module is part of the file format: rename one, and the public weights no
longer load.
"""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

from sightline.errors import UnknownArchError

Family = Literal["plain", "ibn", "ain"]
Loss = Literal["softmax", "triplet"]
InstanceNorm = Literal["none", "residual", "sum"]  # on the residual before the add, or on the sum after it

Channels = tuple[int, int, int, int]

_BATCH = nn.BatchNorm2d
_INSTANCE = partial(nn.InstanceNorm2d, affine=True)

_WIDTHS: Mapping[str, Channels] = MappingProxyType(
    {
        "x1_0": (64, 256, 384, 512),
        "x0_75": (48, 192, 288, 384),
        "x0_5": (32, 128, 192, 256),
        "x0_25": (16, 64, 96, 128),
    }
)

# Which of the two blocks of stages 2, 3 and 4 normalise per image. AIN's pattern was found by architecture search.
_INSTANCE_NORMS: Mapping[Family, tuple[tuple[InstanceNorm, InstanceNorm], ...]] = MappingProxyType(
    {
        "plain": (("none", "none"), ("none", "none"), ("none", "none")),
        "ibn": (("sum", "sum"), ("none", "none"), ("none", "none")),
        "ain": (("residual", "residual"), ("none", "residual"), ("residual", "none")),
    }
)


@dataclass(frozen=True)
class ArchSpec:
    """What tells one OSNet from another. A family is its kind of normalisation: batch, IBN's or AIN's."""

    name: str
    family: Family
    channels: Channels  # out of the stem, and of stages 2, 3 and 4

    @property
    def instance_norms(self) -> tuple[tuple[InstanceNorm, InstanceNorm], ...]:
        """Where the two blocks of stages 2, 3 and 4 have their instance norm."""
        return _INSTANCE_NORMS[self.family]


ARCHS: Mapping[str, ArchSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            *(ArchSpec(f"osnet_{width}", "plain", channels) for width, channels in _WIDTHS.items()),
            ArchSpec("osnet_ibn_x1_0", "ibn", _WIDTHS["x1_0"]),
            *(ArchSpec(f"osnet_ain_{width}", "ain", channels) for width, channels in _WIDTHS.items()),
        )
    }
)


def arch_named(name: str) -> ArchSpec:
    """The spec of that name. Raises `UnknownArchError` with all names, and the nearest where one is near."""
    if name in ARCHS:
        return ARCHS[name]
    nearest = difflib.get_close_matches(name, ARCHS, n=1)
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    raise UnknownArchError(f"no network {name!r}{hint}; expected one of {', '.join(ARCHS)}")


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Random numbers from `seed` within, and the global random state as it was behind; None changes nothing."""
    with torch.random.fork_rng(devices=(), enabled=seed is not None):
        if seed is not None:
            # Not torch.manual_seed: that would reseed every GPU too, and the fork restores the CPU only.
            torch.default_generator.manual_seed(seed)
        yield


def build_osnet(
    arch: str, *, num_classes: int = 0, feature_dim: int = 512, loss: Loss = "softmax", seed: int | None = None
) -> OSNet:
    """An OSNet with fresh weights, in training mode on the CPU.

    With `seed` the weights depend on nothing else, and the global random state is left as it was. Raises
    `UnknownArchError` for an unknown `arch`.
    """
    spec = arch_named(arch)
    with seeded(seed):
        return OSNet(spec, num_classes=num_classes, feature_dim=feature_dim, loss=loss)


def feature_dim_in(state: Mapping[str, Tensor]) -> int:
    """The `feature_dim` of the network these weights are of, told by its last layer; the published 512 without one."""
    last = state.get("fc.0.weight")
    return 512 if last is None or last.ndim != 2 or last.numel() == 0 else last.shape[0]


class OSNet(nn.Module):
    """Images (N, 3, H, W), normalised as the weights expect, to vectors (N, feature_dim) that are not L2-normalised."""

    def __init__(self, spec: ArchSpec, *, num_classes: int = 0, feature_dim: int = 512, loss: Loss = "softmax") -> None:
        super().__init__()
        self.spec = spec
        self.loss = loss
        self.feature_dim = feature_dim
        stem, *widths = spec.channels
        self.conv1 = _conv(3, stem, kernel=7, stride=2, norm=_BATCH if spec.family == "plain" else _INSTANCE)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2, self.conv3, self.conv4 = _stages(spec)
        self.pool2, self.pool3 = self._place_transitions()
        self.conv5 = _conv(widths[-1], widths[-1])
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(widths[-1], feature_dim), nn.BatchNorm1d(feature_dim), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(feature_dim, num_classes) if num_classes else None
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """In eval the vectors, none below 0. In training the logits, or (logits, vectors) for a triplet loss.

        Without a classifier there are no logits, so training gives the vectors as well.
        """
        pooled = self.global_avgpool(self.feature_map(images))
        vectors: Tensor = self.fc(torch.flatten(pooled, 1))
        if self.classifier is None or not self.training:
            return vectors
        logits: Tensor = self.classifier(vectors)
        return (logits, vectors) if self.loss == "triplet" else logits

    def feature_map(self, images: Tensor) -> Tensor:
        """(N, C, H/16, W/16): what the global pool averages."""
        stem = self.maxpool(self.conv1(images))
        stage_2 = self.pool2(self.conv2(stem))
        stage_3 = self.pool3(self.conv3(stage_2))
        last: Tensor = self.conv5(self.conv4(stage_3))
        return last

    def _place_transitions(self) -> tuple[nn.Module, nn.Module]:
        """What follows stages 2 and 3. Only AIN names its transitions there; others keep theirs inside the stage."""
        after_2, after_3 = (_transition(channels) for channels in self.spec.channels[1:3])
        if self.spec.family == "ain":
            return after_2, after_3
        self.conv2.append(after_2)
        self.conv3.append(after_3)
        return nn.Identity(), nn.Identity()


class OSBlock(nn.Module):
    """Four streams that see 3, 5, 7 and 9 pixels, weighed by one gate they share, added to a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, instance_norm: InstanceNorm, family: Family) -> None:
        super().__init__()
        middle = outputs // 4
        self.instance_norm = instance_norm
        self.family = family
        self.conv1 = _conv(inputs, middle)
        if family == "ain":
            self.conv2 = nn.ModuleList(_named("layers", _stream(middle, depth)) for depth in (1, 2, 3, 4))
        else:
            self.conv2a = _light_conv(middle)
            self.conv2b, self.conv2c, self.conv2d = (_stream(middle, depth) for depth in (2, 3, 4))
        self.gate = ChannelGate(middle)
        # An instance norm on the residual would undo a batch norm right before it.
        self.conv3 = _conv(middle, outputs, norm=None if instance_norm == "residual" else _BATCH, relu=False)
        self.downsample = _conv(inputs, outputs, relu=False) if inputs != outputs else None
        if instance_norm != "none":
            self.IN = _INSTANCE(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        squeezed = self.conv1(maps)
        first, *others = (self.gate(stream(squeezed)) for stream in self._streams())
        residual = self.conv3(sum(others, start=first))
        shortcut = maps if self.downsample is None else self.downsample(maps)
        if self.instance_norm == "residual":
            return torch.relu(self.IN(residual) + shortcut)
        if self.instance_norm == "sum":
            return torch.relu(self.IN(residual + shortcut))
        return torch.relu(residual + shortcut)

    def _streams(self) -> Iterable[nn.Module]:
        return self.conv2 if self.family == "ain" else (self.conv2a, self.conv2b, self.conv2c, self.conv2d)


class ChannelGate(nn.Module):
    """Scales each channel by a factor in 0..1 computed from the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, channels // 16, 1)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """The maps (N, C, H, W), each scaled."""
        squeezed = torch.relu(self.fc1(self.global_avgpool(maps)))
        return maps * torch.sigmoid(self.fc2(squeezed))


def _stages(spec: ArchSpec) -> Iterator[nn.Sequential]:
    for (inputs, outputs), norms in zip(pairwise(spec.channels), spec.instance_norms, strict=True):
        yield nn.Sequential(
            OSBlock(inputs, outputs, instance_norm=norms[0], family=spec.family),
            OSBlock(outputs, outputs, instance_norm=norms[1], family=spec.family),
        )


def _conv(
    inputs: int,
    outputs: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    norm: Callable[[int], nn.Module] | None = _BATCH,
    relu: bool = True,
) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride), its norm, always named `bn`, and a ReLU."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["conv"] = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    if norm is not None:
        parts["bn"] = norm(outputs)
    if relu:
        parts["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(parts)


def _light_conv(channels: int) -> nn.Sequential:
    """A 3x3 convolution factored into a pointwise and a depthwise one, with nothing between the two."""
    parts: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(channels, channels, 1, bias=False),
        "conv2": nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        "bn": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(inplace=True),
    }
    return nn.Sequential(OrderedDict(parts))


def _stream(channels: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(_light_conv(channels) for _ in range(depth)))


def _named(name: str, module: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict([(name, module)]))


def _transition(channels: int) -> nn.Sequential:
    return nn.Sequential(_conv(channels, channels), nn.AvgPool2d(2, stride=2))


def _initialise(module: nn.Module) -> None:
    """The published initialisation. Norms are left alone: torch already starts them at weight 1 and bias 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
