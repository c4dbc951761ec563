"""Label smoothing: Rethinking the Inception Architecture for Computer Vision (Szegedy et al., CVPR 2016), section 7."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from sightline.training.losses.precision import in_float32


@in_float32
def smoothed_cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.1) -> Tensor:
    """Cross entropy to a target of which `smoothing` is spread evenly over all classes, the right one included."""
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
