"""Which images of a batch are of one person, which are not, and which can teach something at all."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Pairs(NamedTuple):
    """Row: the anchor. An anchor without a positive or without a negative has nothing to compare."""

    positive: Tensor  # (N, N) of the same identity, but not itself
    negative: Tensor  # (N, N)

    @property
    def comparable(self) -> Tensor:
        """(N,): the anchors that have both."""
        return self.positive.any(1) & self.negative.any(1)


def pairs_of(labels: Tensor) -> Pairs:
    """All ordered pairs in a batch with these identities, (N,)."""
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    return Pairs(same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device), ~same)


def mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean of the chosen values; of none it is a 0 that still has a graph, so that `backward` gives zeros.

    By a product, since picking them out would make a GPU wait until their number is known.
    """
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
