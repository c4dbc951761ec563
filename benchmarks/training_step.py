"""One training step at batch 64: sightline's network and losses beside torchreid's, same arch, same batch.

    python benchmarks/training_step.py --peer CHECKOUT     # results to benchmarks/results/training_step.json

A step is forward, cross entropy with label smoothing plus batch-hard triplet, backward, Adam. The peer is torchreid's
own OSNet and its own losses, from a checkout; its engine needs torchvision and is left out, which can only favour it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from measuring import Figures, environment, in_turns, keep
from sightline.training.config import ModelSection, TrainingConfig
from sightline.training.network import build_losses, build_network
from sightline.training.schedule import build_optimizer

ARCHS = ("osnet_x1_0", "osnet_x0_25")
CLASSES, PEOPLE, EACH = 751, 16, 4
STEPS = 5
PEER = "SIGHTLINE_BENCHMARK_PEER"  # hands --peer on to the processes that measure

Step = Callable[[Tensor, Tensor], object]


def ours(arch: str) -> Step:
    config = TrainingConfig(model=ModelSection(arch=arch))
    net = build_network(config, classes=CLASSES)
    losses = build_losses(config, classes=CLASSES)
    optimizer = build_optimizer(net, losses, config.train)

    def step(images: Tensor, people: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        losses(net(images, "both"), people).total.backward()
        optimizer.step()

    return step


def torchreid(arch: str) -> Step:
    net = _module("models/osnet").__dict__[arch](num_classes=CLASSES, pretrained=False, loss="triplet")
    cross_entropy = _module("losses/cross_entropy_loss").CrossEntropyLoss(num_classes=CLASSES, use_gpu=False)
    triplet = _module("losses/hard_mine_triplet_loss").TripletLoss(margin=0.3)
    optimizer = torch.optim.Adam(net.parameters(), lr=3.5e-4, weight_decay=5e-4)

    def step(images: Tensor, people: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        logits, vectors = net(images)
        (cross_entropy(logits, people) + triplet(vectors, people)).backward()
        optimizer.step()

    return step


def _module(name: str) -> ModuleType:
    """One file of the checkout, without the package around it, which imports torchvision."""
    path = Path(os.environ[PEER]) / "torchreid" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONTENDERS = {"sightline": ours, "torchreid": torchreid}


def measure(contender: str) -> Figures:
    torch.manual_seed(0)
    images = torch.randn(PEOPLE * EACH, 3, 256, 128)
    people = torch.arange(PEOPLE).repeat_interleave(EACH)
    figures = {}
    for arch in ARCHS:
        step = CONTENDERS[contender](arch)
        step(images, people)
        times = []
        for _ in range(STEPS):
            started = time.perf_counter()
            step(images, people)
            times.append(time.perf_counter() - started)
        figures[arch] = statistics.median(times)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=tuple(CONTENDERS))
    parser.add_argument("--peer", type=Path, help="a checkout of torchreid")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.contender is not None:
        print(json.dumps(measure(args.contender)))
        return
    if args.peer is None:
        sys.exit("training_step: --peer names a checkout of torchreid; there is nothing to compare with")
    os.environ[PEER] = str(args.peer.resolve())
    medians = in_turns(__file__, tuple(CONTENDERS), rounds=args.rounds)
    keep("training_step", {"environment": environment(("sightline", "torch")), "medians": medians})


if __name__ == "__main__":
    main()
