"""What ArcFace and CosFace share: cross entropy over scaled cosines, with a handicap for the right class."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional


def cosine_softmax(
    cosines: Tensor, labels: Tensor, *, handicap: Callable[[Tensor], Tensor], scale: float, smoothing: float
) -> Tensor:
    """`handicap` lowers the cosines to the right classes, (N, 1), before the softmax over all, (N, classes)."""
    right = labels.unsqueeze(1)
    handicapped = cosines.scatter(1, right, handicap(cosines.gather(1, right)))
    return functional.cross_entropy(scale * handicapped, labels, label_smoothing=smoothing)
