"""How far a ball network is off."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALLEST = 1e-7  # that a logarithm is taken of


class WeightedCrossEntropy(nn.Module):
    """Binary cross-entropy that counts a pixel the less the surer and righter the network is of it (TrackNetV3).

    Of heat maps in 0..1, through a sigmoid. In half precision a sure pixel is exactly 0 or 1, so sums are in float32.
    """

    def forward(self, found: Tensor, wanted: Tensor) -> Tensor:
        found, wanted = found.float(), wanted.float()
        ball = (1 - found).square() * wanted * found.clamp(min=SMALLEST).log()
        rest = found.square() * (1 - wanted) * (1 - found).clamp(min=SMALLEST).log()
        return -(ball + rest).mean()


class MaskedSquares(nn.Module):
    """The mean squared distance of the coordinates that were to be filled in; 0 where there were none."""

    def forward(self, found: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
        """(N, L, 2) twice, and (N, L, 1), 1 where to fill in."""
        squares = (found.float() - wanted).square() * mask
        return squares.sum() / torch.clamp(mask.sum() * wanted.shape[-1], min=1)
