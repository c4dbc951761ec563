"""CosFace: Large Margin Cosine Loss for Deep Face Recognition (Wang et al., CVPR 2018), equation 4."""

from __future__ import annotations

from torch import Tensor

from sightline.training.losses.cosine_softmax import cosine_softmax
from sightline.training.losses.precision import in_float32


@in_float32
def cosface(
    cosines: Tensor, labels: Tensor, *, margin: float = 0.4, scale: float = 64.0, smoothing: float = 0.0
) -> Tensor:
    """The cosine to the centre of the right class counts as `margin` smaller. `cosines` (N, classes)."""
    return cosine_softmax(cosines, labels, handicap=lambda right: right - margin, scale=scale, smoothing=smoothing)
