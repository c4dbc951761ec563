"""Losses are computed in float32 whatever the network runs in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")
Loss = Callable[Concatenate[Tensor, P], Tensor]


def in_float32(loss: Loss[P]) -> Loss[P]:
    """A loss whose first argument comes to it in float32, or in float64, and which autocast leaves alone.

    float16 ends at 65504, which a squared distance passes; bfloat16 has 8 bits, with which all near neighbours are
    equally far. `torch.amp.custom_fwd` does the like, for one kind of device named beforehand.
    """

    @wraps(loss)
    def widened(values: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        with torch.autocast(values.device.type, enabled=False):
            return loss(values if values.dtype == torch.float64 else values.float(), *args, **kwargs)

    return widened
