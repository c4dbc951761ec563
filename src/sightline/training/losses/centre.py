"""A Discriminative Feature Learning Approach for Deep Face Recognition (Wen et al., ECCV 2016), equation 2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sightline.training.losses.precision import in_float32


class CentreLoss(nn.Module):
    """Half the mean squared distance of features to the centre of their identity, which is learned beside the network.

    The centres need an optimiser of their own. Their gradient is scaled by the weight that the loss has beside others,
    which is small, while they should follow their identities at a pace that has nothing to do with it: with SGD give
    them the learning rate over that weight. They start at 0, so no seed decides about them.
    """

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.zeros(num_classes, dim))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """`features` (N, dim), not normalised."""
        return _half_squared_distance(features, self.centres[labels])


@in_float32
def _half_squared_distance(features: Tensor, centres: Tensor) -> Tensor:
    return (features - centres).square().sum(1).mean() / 2
