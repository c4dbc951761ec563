"""Circle Loss: A Unified Perspective of Pair Similarity Optimization (Sun et al., CVPR 2020), section 3."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sightline.training.losses.pairs import mean_over, pairs_of
from sightline.training.losses.precision import in_float32


@in_float32
def circle(features: Tensor, labels: Tensor, *, margin: float = 0.25, scale: float = 64.0) -> Tensor:
    """Each anchor's cosines to its positives are to pass 1 - `margin`, those to its negatives to fall below `margin`.

    The further a cosine is from its optimum (1 + margin, or -margin), the more it weighs. `features` (N, D) are
    L2-normalised here. The mean over the anchors that have a positive and a negative.
    """
    unit = functional.normalize(features)
    cosines = unit @ unit.T
    pairs = pairs_of(labels)
    # The weights pace the optimisation, and no gradient goes through them.
    positive_weights = (1 + margin - cosines).detach().relu()
    negative_weights = (cosines + margin).detach().relu()
    positive = _log_sum_exp(-scale * positive_weights * (cosines - (1 - margin)), pairs.positive)
    negative = _log_sum_exp(scale * negative_weights * (cosines - margin), pairs.negative)
    return mean_over(functional.softplus(negative + positive), pairs.comparable)


def _log_sum_exp(exponents: Tensor, chosen: Tensor) -> Tensor:
    """Over the chosen ones of each row. For a row with none the lowest finite number: -inf has no gradient."""
    return exponents.masked_fill(~chosen, torch.finfo(exponents.dtype).min).logsumexp(1)
