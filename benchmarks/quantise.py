"""INT8 beside float32: an OSNet x1_0 that has learned painted people, quantised, on two cores.

    python benchmarks/quantise.py     # results to benchmarks/results/quantise.json; a quarter of an hour on two cores

240 painted people under four cameras, three shots each. The network learns 180 of them for a few minutes: no good
network, but no random one either, whose activations say nothing about eight bits. The other 60 are what ranges are
measured on and what is judged by, never the same images. Speed is that of `Embedder.embed` on 64 of their crops.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from measuring import Figures, environment, in_turns, keep, median_seconds
from sightline.card import PIXELS, ImageInput, ModelCard, VectorOutput
from sightline.deploy.compare.agreement import Agreement
from sightline.deploy.compare.labels import labels_in_names
from sightline.images import prepare, read_image
from sightline.reid.embedder import Embedder
from sightline.runtime.open import open_session
from sightline.types import FloatArray, IntArray

PEOPLE, LEARNED, CAMERAS, SHOTS = 240, 180, 4, 3
SMALL_HW, FULL_HW = (128, 64), (256, 128)
STEPS, FULL_STEPS, EACH = 500, 60, 4  # batches of small pictures, then of full size; pictures of a person in a batch
THREADS, CROPS = 2, 64
FOLDER = Path(tempfile.gettempdir()) / "sightline-benchmark-quantise"
SOURCE = FOLDER / "osnet_x1_0.onnx"

# What stays in float32, by name; "as it comes" is what `sightline quantize` arrives at by itself.
WAYS: Mapping[str, tuple[str, ...] | None] = {
    "as it comes": None,
    "nothing": (),
    "gates": ("gates",),
    "gates, sums": ("gates", "sums"),
    "gates, sums, products": ("gates", "sums", "products"),
}
RUNS = {  # contender: (file, backend, precision)
    "float32": ("osnet_x1_0.onnx", "onnxruntime", "auto"),
    "INT8": ("int8-as it comes.onnx", "onnxruntime", "auto"),
    "float32, OpenVINO": ("osnet_x1_0.onnx", "openvino", "float32"),
    "bfloat16, OpenVINO": ("osnet_x1_0.onnx", "openvino", "bfloat16"),
    "INT8, OpenVINO": ("int8-as it comes.onnx", "openvino", "float32"),
    **{f"INT8, {name} in float32": (f"int8-{name}.onnx", "onnxruntime", "auto") for name in list(WAYS)[1:]},
}


# Something to quantise


def images(*, learned: bool) -> list[Path]:
    """In order of their paths."""
    found = sorted((FOLDER / "images").rglob("*.jpg"))
    return [path for path in found if (int(path.parent.name) <= LEARNED) == learned]


def train_and_export() -> None:
    """Small pictures first, which teach most of it in a quarter of the time."""
    import torch

    from sightline.deploy.export import PRESETS, ExportPlan, export_osnet
    from sightline.nets.osnet import build_osnet

    torch.manual_seed(0)
    torch.set_num_threads(1)  # the maps are so small that two threads mostly wait for each other
    net = build_osnet("osnet_x1_0", seed=0)
    step = learning(net)
    paths = images(learned=True)
    pictures = [read_image(path) for path in paths]
    people = np.array([int(path.parent.name) - 1 for path in paths])
    rng = np.random.default_rng(0)
    for size_hw, count, batch in ((SMALL_HW, STEPS, 16), (FULL_HW, FULL_STEPS, 8)):
        for number in range(count):
            rows = dealt_people(people, batch, rng)
            loss = step(changed(prepare([pictures[row] for row in rows], input_of(size_hw)), rng), people[rows])
            if number % 50 == 0:
                print(f"{size_hw} step {number}: {loss:.3f}", file=sys.stderr, flush=True)
    card = ModelCard(
        task="reid", arch="osnet_x1_0", image=input_of(FULL_HW), output=VectorOutput("out", 512), weights="trained"
    )
    net.to(memory_format=torch.contiguous_format)
    export_osnet(net, SOURCE, card=card, plan=ExportPlan(PRESETS["sightline"]))


def dealt_people(people: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """Rows of so many people, `EACH` of each."""
    chosen = rng.choice(LEARNED, count, replace=False)
    return np.concatenate([rng.choice(np.flatnonzero(people == one), EACH, replace=False) for one in chosen])


def learning(net: Any) -> Callable[[FloatArray, IntArray], float]:
    """A step: cross entropy behind a norm, Adam, one rise and fall of its rate. Its loss."""
    import torch
    from torch import nn

    net.to(memory_format=torch.channels_last)
    neck, head = nn.BatchNorm1d(net.feature_dim), nn.Linear(net.feature_dim, LEARNED, bias=False)
    parameters = [*net.parameters(), *neck.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, total_steps=STEPS + FULL_STEPS, pct_start=0.15)

    def step(batch: FloatArray, people: IntArray) -> float:
        net.train()
        with torch.autocast("cpu", torch.bfloat16):
            vectors = net(torch.from_numpy(batch).contiguous(memory_format=torch.channels_last))
        guesses = head(neck(vectors.float()))
        loss = nn.functional.cross_entropy(guesses, torch.from_numpy(people), label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        rate.step()
        return float(loss.detach())

    return step


def changed(batch: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Mirrored or not, in another light."""
    mirrored = batch[..., ::-1] if rng.random() < 0.5 else batch
    contrast = rng.uniform(0.8, 1.2, (len(batch), 1, 1, 1))
    return np.ascontiguousarray(mirrored * contrast + rng.normal(0, 0.1, (len(batch), 3, 1, 1)), dtype=np.float32)


def input_of(size_hw: tuple[int, int]) -> ImageInput:
    return ImageInput("input", size_hw, PIXELS["torchreid"])


# What becomes of it


def quantised() -> Iterator[tuple[str, dict[str, Any]]]:
    from sightline.deploy.quantise.bench import Plan
    from sightline.deploy.quantise.crops import dealt
    from sightline.deploy.quantise.quantise import quantise

    crops = dealt(images(learned=False))
    for name, parts in WAYS.items():
        plan = Plan(keep=parts, force=parts is not None, labels=labels_in_names(crops.judged))
        outcome = quantise(SOURCE, FOLDER / f"int8-{name}.onnx", crops, plan=plan)
        yield (
            name,
            {
                "kept in float32": ", ".join(outcome.chosen.keep) or "nothing",
                "crops": [len(crops.calibration), len(crops.judged)],
                "megabytes": [size / 1e6 for size in outcome.size_bytes],
                **figures(outcome.chosen.agreement),
            },
        )


def figures(measured: Agreement) -> dict[str, Any]:
    assert measured.rankings is not None
    return {
        "smallest cosine": measured.smallest,
        "mean cosine": measured.mean,
        "mean cosine between images": measured.between[0],
        "rank-1": [ranking.rank_k(1) for ranking in measured.rankings],
        "mAP": [ranking.map_mean_precision for ranking in measured.rankings],
        "threshold at FAR 0.01": next((shift.a, shift.b) for shift in measured.shifts if shift.far == 0.01),
    }


def measure(contender: str) -> Figures:
    """Milliseconds to embed the crops."""
    logging.disable(logging.WARNING)
    file, backend, precision = RUNS[contender]
    crops = [read_image(path) for path in images(learned=False)[:CROPS]]
    with open_session(FOLDER / file, backend, "cpu", precision, THREADS) as session:
        embedder = Embedder(session)
        return {"ms": 1e3 * median_seconds(lambda: embedder.embed(crops))}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=tuple(RUNS))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(arguments)
    if args.contender is not None:
        print(json.dumps(measure(args.contender)))
        return
    if not SOURCE.exists():
        from sightline.synth.people import write_people

        FOLDER.mkdir(exist_ok=True)
        write_people(FOLDER, ids=PEOPLE, cameras=CAMERAS, shots=SHOTS, seed=11, size_hw=FULL_HW, workers=2)
        train_and_export()
    agreements = dict(quantised())
    medians = in_turns(__file__, tuple(RUNS), rounds=args.rounds)
    packages = ("sightline", "onnxruntime", "openvino", "onnx", "torch", "numpy")
    about = {"people": PEOPLE, "learned": LEARNED, "steps": [STEPS, FULL_STEPS], "crops": CROPS, "threads": THREADS}
    keep(
        "quantise",
        {"environment": environment(packages), "about": about, "agreement": agreements, "medians_ms": medians},
    )


if __name__ == "__main__":
    main()
