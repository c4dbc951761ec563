"""What a configuration stands for: the network, its losses, and the card its weights are shipped with."""

from __future__ import annotations

import logging
from pathlib import Path

from sightline.card import ModelCard, VectorOutput
from sightline.nets.checkpoint import read_checkpoint, weights_fingerprint
from sightline.nets.reid import ReidNet, build_reid, reid_facts, start_from
from sightline.training.config import TrainingConfig
from sightline.training.losses import LossPlan, TotalLoss

log = logging.getLogger(__name__)


def build_network(config: TrainingConfig, *, classes: int) -> ReidNet:
    """A seeded network, its backbone filled from `pretrained` where one is named."""
    net = build_reid(
        config.model.arch,
        num_classes=classes,
        head=config.model.head,
        reid_dim=config.model.reid_dim,
        last_stride_1=config.model.last_stride_1,
        seed=config.train.seed,
    )
    if config.model.pretrained:
        coverage = start_from(net, read_checkpoint(Path(config.model.pretrained)))
        log.info("%s: %s", config.model.pretrained, coverage)
    return net


def build_losses(config: TrainingConfig, *, classes: int) -> TotalLoss:
    chosen = config.train
    plan = LossPlan(
        num_classes=classes,
        reid_dim=config.model.reid_dim,
        head=config.model.head,
        id_loss=chosen.id_loss,
        label_smooth=chosen.label_smooth,
        loss_type=chosen.loss_type,
        metric_weight=chosen.metric_weight,
        triplet_margin=chosen.triplet_margin,
        circle_margin=chosen.circle_margin,
        circle_scale=chosen.circle_scale,
    )
    return TotalLoss(plan)


def card_for(net: ReidNet, config: TrainingConfig, *, trained_on: str) -> ModelCard:
    """Says all that `embed`, `export` and `eval` need to take the weights without another word."""
    return ModelCard(
        task=config.model.task,
        arch=config.model.arch,
        image=config.image,
        output=VectorOutput("features", config.model.reid_dim, normalised=False),
        weights="trained",
        fingerprint=weights_fingerprint(net.state_dict()),
        trained_on=trained_on,
        extra=reid_facts(net),
    )
