"""Does training work? OSNet x0_25 from scratch on synthetic people, judged on people it has never seen.

    python benchmarks/quality.py      # results to benchmarks/results/quality.json; some twenty minutes on two cores

380 painted people under four cameras, three shots each. Of 80 of them, who are never learned from, each image is
searched among those of the other cameras; the network learns from the other 300. Every row of the first group is one
run from random weights with one thing changed. Those of the second go on from the first run, for fewer epochs.
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
from sightline.nets.checkpoint import load_into, read_checkpoint
from sightline.nets.reid import ReidNet, build_reid, rebuild
from sightline.reid.metrics import Ranking, rank
from sightline.synth.people import write_people
from sightline.training.config import DataSection, ModelSection, TrainingConfig, TrainSection, ValSection
from sightline.training.identities import Identities, Material
from sightline.training.records import Record, labels, read_csv
from sightline.training.split import query_and_gallery
from sightline.training.trainer import train
from sightline.training.validation import labelled, look_at
from sightline.types import FloatArray

PEOPLE, LEARNED, CAMERAS, SHOTS = 380, 300, 4, 3
Changes = Mapping[str, Mapping[str, Any]]
BASE = TrainingConfig(
    model=ModelSection(arch="osnet_x0_25", input_size=[128, 64], reid_dim=256),
    data=DataSection(batch_size=64, num_instances=4, pad_crop=5, erase=0.3),
    train=TrainSection(epochs=10, lr=2e-3, backbone_lr=2e-3, warmup_epochs=1, loss_type="none"),
    val=ValSection(val_split=0.0),
)
PLAIN = "cross entropy, label smoothing, BN neck"
FROM_SCRATCH: Mapping[str, Changes] = {
    PLAIN: {},
    "no label smoothing": {"train": {"label_smooth": 0.0}},
    "no BN neck (OSNet's own head)": {"model": {"head": "torchreid"}},
    "triplet from the start": {"train": {"loss_type": "triplet"}},
    "circle from the start": {"train": {"loss_type": "circle", "metric_weight": 0.02}},
}
GOING_ON: Mapping[str, Changes] = {
    "going on with cross entropy alone": {},
    "going on with triplet": {"train": {"loss_type": "triplet"}},
    "going on with circle": {"train": {"loss_type": "circle", "metric_weight": 0.02}},
}
LATER = {"epochs": 4, "lr": 1e-3, "backbone_lr": 5e-4}  # of a run that goes on


def changed(changes: Changes, project: Path) -> TrainingConfig:
    config = replace(BASE, output=replace(BASE.output, project=str(project)))
    for section, values in changes.items():
        config = replace(config, **{section: replace(getattr(config, section), **values)})
    return config


def going_on(changes: Changes, start: Path) -> Changes:
    return {"model": {"pretrained": str(start)}, "train": {**LATER, **changes.get("train", {})}}


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


def trained(changes: Changes, learned: Sequence[Record], folder: Path) -> Path:
    """The weights of a finished run."""
    outcome = train(Identities(changed(changes, folder), Material("synthetic people", tuple(learned), ())))
    return outcome.folder / "weights" / "final.pt"


def judged_weights(path: Path, unseen: Sequence[Record]) -> dict[str, float]:
    checkpoint = read_checkpoint(path)
    net = rebuild(checkpoint.state, {} if checkpoint.card is None else checkpoint.card.extra)
    load_into(net, checkpoint)
    return of_network(net, unseen)


def main() -> None:
    torch.manual_seed(0)
    rows: dict[str, dict[str, float]] = {}

    def note(name: str, found: dict[str, float]) -> None:
        rows[name] = found
        print(name, found, file=sys.stderr, flush=True)
        keep("quality", {"environment": environment(("sightline", "torch")), "rows": rows, "epochs": BASE.train.epochs})

    with tempfile.TemporaryDirectory() as folder:
        place, runs = Path(folder), Path(folder) / "runs"
        listing = write_people(place, ids=PEOPLE, cameras=CAMERAS, shots=SHOTS, seed=11, size_hw=(128, 64), workers=2)
        records = read_csv(listing)
        learned = [record for record in records if int(record.person) <= LEARNED]
        unseen = [record for record in records if int(record.person) > LEARNED]
        note("HSV stripes", figures(judged(unseen, np.stack([stripes(record) for record in unseen]))))
        untrained = build_reid("osnet_x0_25", num_classes=1, reid_dim=256, seed=0)
        note("untrained network", of_network(untrained, unseen))
        weights = {}
        for name, changes in FROM_SCRATCH.items():
            weights[name] = trained(changes, learned, runs)
            note(name, judged_weights(weights[name], unseen))
        for name, changes in GOING_ON.items():
            note(name, judged_weights(trained(going_on(changes, weights[PLAIN]), learned, runs), unseen))


if __name__ == "__main__":
    main()
