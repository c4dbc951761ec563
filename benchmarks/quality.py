"""Does training work? OSNet x0_25 from scratch on synthetic people, judged on people it has never seen.

    python benchmarks/quality.py      # results to benchmarks/results/quality.json; about ten minutes on two cores

260 painted people under four cameras, three shots each. 180 are learned from; on the other 80, one image per person
and camera is searched among those of the other cameras. Every row is one run of the same length with one thing changed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from measuring import environment, keep
from sightline.images import read_image
from sightline.nets.checkpoint import read_checkpoint
from sightline.nets.reid import ReidNet, build_reid
from sightline.reid.metrics import Ranking, rank
from sightline.synth.people import write_people
from sightline.training.config import DataSection, ModelSection, TrainingConfig, TrainSection, ValSection
from sightline.training.network import build_network
from sightline.training.records import Record, labels, read_csv
from sightline.training.split import query_and_gallery
from sightline.training.trainer import Material, train
from sightline.training.validation import labelled, look_at
from sightline.types import FloatArray

PEOPLE, LEARNED, CAMERAS, SHOTS = 260, 180, 4, 3
BASE = TrainingConfig(
    model=ModelSection(arch="osnet_x0_25", input_size=[128, 64], reid_dim=256),
    data=DataSection(batch_size=64, num_instances=4, pad_crop=5, erase=0.3),
    train=TrainSection(epochs=10, lr=2e-3, backbone_lr=2e-3, warmup_epochs=2),
    val=ValSection(val_split=0.0),
)
CHANGES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "bnneck, triplet, label smoothing (default)": {},
    "circle instead of triplet": {"train": {"loss_type": "circle"}},
    "no metric loss": {"train": {"loss_type": "none"}},
    "no label smoothing": {"train": {"label_smooth": 0.0}},
    "no BN neck (OSNet's own head)": {"model": {"head": "torchreid"}},
}


def changed(changes: Mapping[str, Mapping[str, Any]], project: Path) -> TrainingConfig:
    config = replace(BASE, output=replace(BASE.output, project=str(project)))
    for section, values in changes.items():
        config = replace(config, **{section: replace(getattr(config, section), **values)})
    return config


def judged(records: Sequence[Record], vectors: FloatArray) -> Ranking:
    """Each query among the images of the other cameras."""
    numbers = labels(records)
    vector_of = dict(zip(records, vectors, strict=True))
    query, gallery = (labelled(side, vector_of, numbers, cameras=True) for side in query_and_gallery(records, seed=0))
    return rank(query, gallery)


def stripes(record: Record) -> FloatArray:
    """Hue and saturation, counted in eight horizontal stripes: what a careful person tries first."""
    hsv = cv2.cvtColor(read_image(record.path), cv2.COLOR_BGR2HSV)
    counts = [cv2.calcHist([part], [0, 1], None, [8, 4], [0, 180, 0, 256]).ravel() for part in np.array_split(hsv, 8)]
    return np.sqrt(np.concatenate([count / count.sum() for count in counts])).astype(np.float32)


def figures(ranking: Ranking) -> dict[str, float]:
    return {"rank-1": ranking.rank_k(1), "mAP": ranking.map_mean_precision}


def of_network(net: ReidNet, records: Sequence[Record]) -> dict[str, float]:
    return figures(judged(records, look_at(net, records, BASE).post_bn))


def trained(changes: Mapping[str, Mapping[str, Any]], learned: Sequence[Record], folder: Path) -> ReidNet:
    config = changed(changes, folder)
    outcome = train(config, Material("synthetic people", tuple(learned), ()))
    net = build_network(config, classes=len(labels(learned)))
    net.load_state_dict(read_checkpoint(outcome.folder / "weights" / "final.pt").state)
    return net


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        listing = write_people(place, ids=PEOPLE, cameras=CAMERAS, shots=SHOTS, seed=11, size_hw=(128, 64), workers=2)
        records = read_csv(listing)
        learned = [record for record in records if int(record.person) <= LEARNED]
        unseen = [record for record in records if int(record.person) > LEARNED]
        rows = {"HSV stripes": figures(judged(unseen, np.stack([stripes(record) for record in unseen])))}
        rows["untrained network"] = of_network(build_reid("osnet_x0_25", num_classes=1, reid_dim=256, seed=0), unseen)
        for name, changes in CHANGES.items():
            rows[name] = of_network(trained(changes, learned, place / "runs"), unseen)
            print(name, rows[name], file=sys.stderr)
    keep("quality", {"environment": environment(("sightline", "torch")), "rows": rows, "epochs": BASE.train.epochs})


if __name__ == "__main__":
    main()
