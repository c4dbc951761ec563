"""ArcFace: Additive Angular Margin Loss for Deep Face Recognition (Deng et al., CVPR 2019), equation 3."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from sightline.training.losses.cosine_softmax import cosine_softmax
from sightline.training.losses.precision import in_float32

_INSIDE = 1e-6  # how far from ±1 the cosines are kept, where the slope of the angle is infinite


@in_float32
def arcface(
    cosines: Tensor, labels: Tensor, *, margin: float = 0.5, scale: float = 64.0, smoothing: float = 0.0
) -> Tensor:
    """The angle to the centre of the right class counts as `margin` radians larger. `cosines` (N, classes)."""
    return cosine_softmax(cosines, labels, handicap=partial(_widened, margin=margin), scale=scale, smoothing=smoothing)


def _widened(cosines: Tensor, *, margin: float) -> Tensor:
    """cos(θ + margin). Past π, where it would rise again and reward being wrong, a line that goes on falling."""
    inside = cosines.clamp(-1 + _INSIDE, 1 - _INSIDE)
    sines = (1 - inside.square()).sqrt()
    turned = inside * math.cos(margin) - sines * math.sin(margin)
    return torch.where(inside > -math.cos(margin), turned, cosines - margin * math.sin(margin))
