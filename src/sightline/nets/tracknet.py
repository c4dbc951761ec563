"""TrackNet of TrackNetV3: consecutive frames to a heat map of the ball for each, with the published parameter names.

A U-Net of three levels (Chen and Wang, TrackNetV3, ACM Multimedia Asia 2023). Every attribute below that holds a module
is part of the file format: rename one, and the public weights no longer load.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from sightline.errors import ConfigError, UnknownArchError
from sightline.nets.osnet import seeded

# Channels of the first stage; each level down has twice as many.
WIDTHS: Mapping[str, int] = MappingProxyType({"x1_0": 64, "x0_5": 32, "x0_25": 16})

# The heat that fresh weights give every pixel. Hardly one in a thousand is the ball: begun at a half, a network learns
# for hundreds of steps nothing but that (docs/log.md).
FIRST_HEAT = 0.01

_PLANES: Mapping[str, Callable[[int], int]] = MappingProxyType(
    {
        "": lambda frames: 3 * frames,
        "subtract": lambda frames: frames,
        "subtract_concat": lambda frames: 4 * frames,
        "concat": lambda frames: 3 * (frames + 1),
    }
)


def planes_of(seq_len: int, bg_mode: str | None) -> int:
    """Input channels for that many frames and that use of the background; None is "", no background.

    Raises `ConfigError` for a mode or a length that no network has.
    """
    mode = bg_mode or ""
    if mode not in _PLANES:
        raise ConfigError(f"no bg_mode {bg_mode!r:.40}; expected one of {', '.join(map(repr, _PLANES))}")
    if seq_len < 1:
        raise ConfigError(f"seq_len is {seq_len}; expected 1 frame or more")
    return _PLANES[mode](seq_len)


def build_tracknet(seq_len: int, bg_mode: str | None, *, width: str = "x1_0", seed: int | None = None) -> TrackNet:
    """A TrackNet with fresh weights, in training mode on the CPU; with `seed` they depend on nothing else.

    Raises `ConfigError` for an unknown mode or length, `UnknownArchError` for an unknown width.
    """
    in_dim = planes_of(seq_len, bg_mode)
    with seeded(seed):
        return TrackNet(in_dim, seq_len, width=width)


class TrackNet(nn.Module):
    """Planes (N, in_dim, H, W) in 0..1 to heat maps (N, out_dim, H, W) in 0..1, oldest frame first.

    Trained at 288 by 512; any H and W that are multiples of 8 will do.
    """

    def __init__(self, in_dim: int, out_dim: int, *, width: str = "x1_0") -> None:
        super().__init__()
        if width not in WIDTHS:
            raise UnknownArchError(f"no TrackNet width {width!r}; expected one of {', '.join(WIDTHS)}")
        self.in_dim, self.out_dim, self.width = in_dim, out_dim, width
        c1, c2, c3, c4 = (WIDTHS[width] << level for level in range(4))
        self.down_block_1 = _stage(in_dim, c1, c1)
        self.down_block_2 = _stage(c1, c2, c2)
        self.down_block_3 = _stage(c2, c3, c3, c3)
        self.bottleneck = _stage(c3, c4, c4, c4)
        self.up_block_1 = _stage(c4 + c3, c3, c3, c3)
        self.up_block_2 = _stage(c3 + c2, c2, c2)
        self.up_block_3 = _stage(c2 + c1, c1, c1)
        self.predictor = nn.Conv2d(c1, out_dim, 1)
        self.apply(_initialise)
        nn.init.constant_(self.predictor.bias, math.log(FIRST_HEAT / (1 - FIRST_HEAT)))  # type: ignore[arg-type]

    def forward(self, planes: Tensor) -> Tensor:
        """The heat maps, through a sigmoid."""
        x1 = self.down_block_1(planes)
        x2 = self.down_block_2(functional.max_pool2d(x1, 2))
        x3 = self.down_block_3(functional.max_pool2d(x2, 2))
        deepest = self.bottleneck(functional.max_pool2d(x3, 2))
        up_1 = self.up_block_1(_joined(deepest, x3))
        up_2 = self.up_block_2(_joined(up_1, x2))
        up_3 = self.up_block_3(_joined(up_2, x1))
        return torch.sigmoid(self.predictor(up_3))


def _joined(low: Tensor, skipped: Tensor) -> Tensor:
    return torch.cat([functional.interpolate(low, scale_factor=2.0, mode="nearest"), skipped], dim=1)


def _stage(*channels: int) -> nn.Sequential:
    units = (_unit(inputs, outputs) for inputs, outputs in pairwise(channels))
    return nn.Sequential(OrderedDict((f"conv_{number}", unit) for number, unit in enumerate(units, 1)))


def _unit(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            bn=nn.BatchNorm2d(outputs),
            relu=nn.ReLU(inplace=True),
        )
    )


def _initialise(module: nn.Module) -> None:
    """He's. torch's own shrinks what passes 17 layers to nothing: all frames would get one and the same heat map."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
