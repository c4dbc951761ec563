"""What training minimises: cross entropy over identities plus, weighted, one metric loss between images.

Each loss is a file, and a function of (values, labels) to one number that is never NaN for finite values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor, nn

from sightline.errors import ConfigError
from sightline.nets.reid import ReidOutput
from sightline.training.losses.arcface import arcface
from sightline.training.losses.batch_hard_triplet import batch_hard_triplet
from sightline.training.losses.centre import CentreLoss
from sightline.training.losses.circle import circle
from sightline.training.losses.cosface import cosface
from sightline.training.losses.smoothed_cross_entropy import smoothed_cross_entropy

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LossPlan:
    """Which losses, by the names and with the defaults of the configuration."""

    num_classes: int
    reid_dim: int = 512
    head: str = "bnneck"
    id_loss: str = "softmax"
    label_smooth: float = 0.1
    cosine_scale: float = 64.0  # of arcface and cosface
    arcface_margin: float = 0.5  # radians
    cosface_margin: float = 0.4
    loss_type: str = "triplet"
    metric_weight: float = 1.0
    triplet_margin: float = 0.3
    circle_margin: float = 0.25
    circle_scale: float = 64.0

    def __post_init__(self) -> None:
        _require_known("id_loss", self.id_loss, ID_LOSSES)
        _require_known("loss_type", self.loss_type, METRIC_LOSSES)
        fitting = ("arcface", "cosface") if self.head == "arcface" else ("softmax",)
        if self.id_loss not in fitting:
            raise ConfigError(f"head {self.head} cannot train with id_loss {self.id_loss}; use {' or '.join(fitting)}")


ID_LOSSES: Mapping[str, Callable[[LossPlan], Loss]] = MappingProxyType(
    {
        "softmax": lambda plan: partial(smoothed_cross_entropy, smoothing=plan.label_smooth),
        "arcface": lambda plan: partial(
            arcface, margin=plan.arcface_margin, scale=plan.cosine_scale, smoothing=plan.label_smooth
        ),
        "cosface": lambda plan: partial(
            cosface, margin=plan.cosface_margin, scale=plan.cosine_scale, smoothing=plan.label_smooth
        ),
    }
)

METRIC_LOSSES: Mapping[str, Callable[[LossPlan], Loss | None]] = MappingProxyType(
    {
        "triplet": lambda plan: partial(batch_hard_triplet, margin=plan.triplet_margin),
        "soft_triplet": lambda _: partial(batch_hard_triplet, margin=None),
        "circle": lambda plan: partial(circle, margin=plan.circle_margin, scale=plan.circle_scale),
        "centre": lambda plan: CentreLoss(plan.num_classes, plan.reid_dim),
        "none": lambda _: None,
    }
)


class LossParts(NamedTuple):
    """The number to go down from, and what it was made of."""

    total: Tensor
    parts: dict[str, Tensor]  # by loss name, unweighted, without a graph


class TotalLoss(nn.Module):
    """Cross entropy of the logits plus `metric_weight` times the metric loss of the features before the batch norm.

    A module because the centre loss learns: its `parameters()` are those centres, and none for all others.
    """

    def __init__(self, plan: LossPlan) -> None:
        super().__init__()
        self.plan = plan
        self.id_loss = ID_LOSSES[plan.id_loss](plan)
        self.metric_loss = METRIC_LOSSES[plan.loss_type](plan)

    def forward(self, output: ReidOutput, labels: Tensor) -> LossParts:
        """`labels` (N,) are whole numbers below num_classes."""
        identity = self.id_loss(output.logits, labels)
        parts = {self.plan.id_loss: identity.detach()}
        if self.metric_loss is None:
            return LossParts(identity, parts)
        metric = self.metric_loss(output.pre_bn, labels)
        return LossParts(identity + self.plan.metric_weight * metric, parts | {self.plan.loss_type: metric.detach()})


def _require_known(key: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise ConfigError(f"{key} is {name!r}; expected one of {', '.join(known)}")
