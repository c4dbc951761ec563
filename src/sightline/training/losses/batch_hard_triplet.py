"""In Defense of the Triplet Loss for Person Re-Identification (Hermans, Beyer & Leibe, 2017), equation 5."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sightline.training.losses.pairs import Pairs, mean_over, pairs_of
from sightline.training.losses.precision import in_float32


@in_float32
def batch_hard_triplet(features: Tensor, labels: Tensor, *, margin: float | None = 0.3) -> Tensor:
    """Each anchor's farthest positive is to be nearer than its nearest negative, by `margin`.

    Euclidean, of features (N, D) that are not normalised; the margin is in their units. With None it is soft: softplus
    never quite stops parting the two. Anchors without a positive or without a negative are left out.
    """
    pairs = pairs_of(labels)
    farthest, nearest = _hardest(features.detach(), pairs)
    # Measured again for the chosen pairs only: the gradient of all the distances would need (N, N, D) numbers.
    gap = _distance(features, features[farthest]) - _distance(features, features[nearest])
    losses = functional.softplus(gap) if margin is None else functional.relu(gap + margin)
    return mean_over(losses, pairs.comparable)


def _hardest(features: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """For each anchor its farthest positive and its nearest negative; anything where there is none."""
    # Not by a matrix product, which cancels for near neighbours, the very ones to be told apart here.
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    farthest = distances.masked_fill(~pairs.positive, -torch.inf).argmax(1)
    nearest = distances.masked_fill(~pairs.negative, torch.inf).argmin(1)
    return farthest, nearest


def _distance(features: Tensor, others: Tensor) -> Tensor:
    """Row by row. The gradient of this norm at 0 is 0; that of a square root of a sum of squares is NaN."""
    distances: Tensor = torch.linalg.vector_norm(features - others, dim=1)
    return distances
