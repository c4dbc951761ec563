"""How good the weights are on people they have never seen: held-out identities, across cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sightline.nets.reid import ReidNet, ReidOutput
from sightline.reid.labelled import Labelled
from sightline.reid.metrics import rank
from sightline.training.config import TrainingConfig
from sightline.training.exam import are_seen_by_two_cameras
from sightline.training.loading import evaluation_loader
from sightline.training.losses import METRIC_LOSSES, LossPlan
from sightline.training.records import Record, labels
from sightline.training.sampler import IdentitySampler
from sightline.training.split import query_and_gallery
from sightline.types import FloatArray


@dataclass(frozen=True)
class Validation:
    """The figures of one look at the held-out people."""

    loss: float  # the metric loss of the run, over P×K batches of held-out images
    mean_ap: float
    rank_1: float

    @property
    def figures(self) -> dict[str, float]:
        return {"val_loss": self.loss, "val_map": self.mean_ap, "val_rank1": self.rank_1}


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network makes of some images, in their order."""

    pre_bn: torch.Tensor  # (N, D), for the metric loss
    post_bn: FloatArray  # (N, D), what is compared


def validate(net: ReidNet, held_out: Sequence[Record], config: TrainingConfig) -> Validation:
    """Judge `net`, which is put back into the mode it was in. The same weights give the same figures."""
    seen = look_at(net, held_out, config)
    numbers = labels(held_out)
    people = [numbers[record.person] for record in held_out]
    vectors = {record: seen.post_bn[index] for index, record in enumerate(held_out)}
    cameras = are_seen_by_two_cameras(held_out)
    query, gallery = (labelled(side, vectors, numbers, cameras=cameras) for side in query_and_gallery(held_out, seed=0))
    ranking = rank(query, gallery)
    return Validation(
        loss=_metric_loss(seen.pre_bn, people, config),
        mean_ap=ranking.map_mean_precision,
        rank_1=ranking.rank_k(1),
    )


def look_at(net: ReidNet, records: Sequence[Record], config: TrainingConfig) -> Seen:
    """All vectors of the records, without augmentation, in evaluation mode."""
    was_training = net.training
    net.eval()
    device = next(net.parameters()).device
    before, after = [], []
    with torch.inference_mode():
        for batch in evaluation_loader(records, config.image, batch_size=64, workers=config.data.workers):
            output: ReidOutput = net(batch.images.to(device), "both")
            before.append(output.pre_bn.float().cpu())
            after.append(output.post_bn.float().cpu().numpy())
    net.train(was_training)
    return Seen(torch.cat(before), np.concatenate(after))


def labelled(
    records: Sequence[Record], vectors: Mapping[Record, FloatArray], numbers: Mapping[str, int], *, cameras: bool
) -> Labelled:
    """One side of a search. Without `cameras` an image of the person by the same camera is a match as well."""
    return Labelled(
        np.stack([vectors[record] for record in records]),
        np.array([numbers[record.person] for record in records]),
        np.array([record.camera for record in records]) if cameras else None,
    )


def _metric_loss(features: torch.Tensor, people: Sequence[int], config: TrainingConfig) -> float:
    """The mean over a fixed set of P×K batches; without a metric loss of its own, a run is judged by the triplet."""
    chosen = config.train.loss_type if config.train.loss_type not in {"none", "centre"} else "triplet"
    plan = LossPlan(
        num_classes=1,
        triplet_margin=config.train.triplet_margin,
        circle_margin=config.train.circle_margin,
        circle_scale=config.train.circle_scale,
    )
    loss = METRIC_LOSSES[chosen](plan)
    batches = list(_batches(people, config))
    targets = torch.tensor(people)
    if loss is None or not batches:
        return 0.0
    return float(np.mean([loss(features[batch], targets[batch]).item() for batch in batches]))


def _batches(people: Sequence[int], config: TrainingConfig) -> list[list[int]]:
    instances = config.data.num_instances
    identities = min(config.data.batch_size // instances, len(set(people)))
    if identities < 2:
        return []
    sampler = IdentitySampler(people, batch_size=identities * instances, num_instances=instances, seed=0)
    return [list(batch) for batch in sampler]
