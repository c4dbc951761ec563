"""The optimizer, and how its learning rates rise and fall: a pure function of the step, so that resuming is exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from torch import nn, optim

from sightline.nets.reid import ReidNet
from sightline.training.config import LoopSection, TrainSection

OPTIMIZERS: Mapping[str, Callable[..., optim.Optimizer]] = MappingProxyType(
    {
        "adam": optim.Adam,
        "amsgrad": partial(optim.Adam, amsgrad=True),
        "adamw": optim.AdamW,
        "sgd": partial(optim.SGD, momentum=0.9, nesterov=True),
    }
)


def build_optimizer(net: ReidNet, losses: nn.Module, config: TrainSection) -> optim.Optimizer:
    """One group for the backbone, one for the head, and one for what the losses themselves learn."""
    groups = [
        {"params": list(net.backbone_parameters()), "lr": config.backbone_lr},
        {"params": list(net.head_parameters()), "lr": config.lr},
    ]
    centres = list(losses.parameters())
    if centres:
        groups.append({"params": centres, "lr": 0.5, "weight_decay": 0.0})  # the centre loss paper's rate
    return OPTIMIZERS[config.optimizer](groups, lr=config.lr, weight_decay=config.weight_decay)


def build_plain_optimizer(net: nn.Module, config: LoopSection) -> optim.Optimizer:
    """One rate for all of the network."""
    return OPTIMIZERS[config.optimizer](net.parameters(), lr=config.lr, weight_decay=config.weight_decay)


def build_scheduler(
    optimizer: optim.Optimizer, config: LoopSection, *, steps_per_epoch: int
) -> optim.lr_scheduler.LambdaLR:
    """To be stepped after every optimizer step."""
    return optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, config, steps_per_epoch))


def rate_factor(step: int, config: LoopSection, steps_per_epoch: int) -> float:
    """What the rates are multiplied with: linear warm-up, then a half cosine to 0, falls at milestones, or 1."""
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "step":
        return config.gamma ** sum(step >= epoch * steps_per_epoch for epoch in config.milestones)
    total = config.epochs * steps_per_epoch
    done = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
