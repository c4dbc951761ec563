"""InpaintNet of TrackNetV3: a trajectory with gaps to one without, with the published parameter names.

A U-Net over time that never shortens it, so one network serves any length. The names, `buttleneck` among them, are part
of the file format.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from sightline.nets.osnet import seeded


def build_inpaintnet(*, seed: int | None = None) -> InpaintNet:
    """An InpaintNet with fresh weights, in training mode on the CPU; with `seed` they depend on nothing else."""
    with seeded(seed):
        return InpaintNet()


class InpaintNet(nn.Module):
    """Coordinates (N, L, 2) and mask (N, L, 1), 1 where to fill in, to coordinates (N, L, 2); all of 0..1.

    It gives every frame a new position. Keeping the ones that were measured is up to the caller.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down_1 = _unit(3, 32)
        self.down_2 = _unit(32, 64)
        self.down_3 = _unit(64, 128)
        self.buttleneck = nn.Sequential(OrderedDict(conv_1=_unit(128, 256), conv_2=_unit(256, 256)))
        self.up_1 = _unit(256 + 128, 128)
        self.up_2 = _unit(128 + 64, 64)
        self.up_3 = _unit(64 + 32, 32)
        self.predictor = nn.Conv1d(32, 2, 3, padding=1)

    def forward(self, coords: Tensor, mask: Tensor) -> Tensor:
        """The positions of all frames, through a sigmoid."""
        x1 = self.down_1(torch.cat([coords, mask], dim=2).permute(0, 2, 1))
        x2 = self.down_2(x1)
        x3 = self.down_3(x2)
        widest = self.buttleneck(x3)
        up_1 = self.up_1(torch.cat([widest, x3], dim=1))
        up_2 = self.up_2(torch.cat([up_1, x2], dim=1))
        up_3 = self.up_3(torch.cat([up_2, x1], dim=1))
        return torch.sigmoid(self.predictor(up_3)).permute(0, 2, 1)


def _unit(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=nn.Conv1d(inputs, outputs, 3, padding=1), relu=nn.LeakyReLU(0.01)))
