"""Evaluation of a Market-1501-sized test set: sightline beside a sort per query, torchreid's rankers and scikit-learn.

    python benchmarks/ranking.py                    # all contenders in turns, to benchmarks/results/ranking.json
    python benchmarks/ranking.py --peer CHECKOUT    # with a checkout of torchreid, its Cython ranker built in place

Every contender starts from the same raw vectors, 3,368 queries and 19,732 gallery images of 512 numbers from six
cameras. Pairs for verification are those of the same two sets, 66 million. Contenders that are not there are left out
and said to be.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from measuring import Figures, environment, in_turns, keep
from sightline.reid.labelled import unit
from sightline.reid.metrics import Labelled, rank
from sightline.reid.verification import eer, genuine_and_impostor, tar_at_far
from sightline.types import FloatArray

QUERIES, GALLERY, DISTRACTORS = 3368, 19_732, 3819
SIZE, PEOPLE, CAMERAS = 512, 750, 6
SPREAD = 1.8  # of a person's images around their centre: R1 and mAP come out like a trained network's
PEER = "SIGHTLINE_BENCHMARK_PEER"  # hands --peer on to the processes that measure
SCALE = "SIGHTLINE_BENCHMARK_SCALE"  # and --scale

Sides = tuple[Labelled, Labelled]


def crowd(count: int, *, seed: int, distractors: int = 0) -> Labelled:
    """Clustered vectors without negative numbers, as networks ending in a ReLU give. Distractors have identity 0."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((PEOPLE + 1, SIZE), dtype=np.float32)
    ids = rng.integers(1, PEOPLE + 1, count)
    vectors = centres[ids] + SPREAD * rng.standard_normal((count, SIZE), dtype=np.float32)
    ids[:distractors] = 0
    vectors[:distractors] = np.hypot(1, SPREAD) * rng.standard_normal((distractors, SIZE), dtype=np.float32)
    return Labelled(np.maximum(vectors, 0), ids, rng.integers(0, CAMERAS, count))


def both_sides() -> Sides:
    share = float(os.environ.get(SCALE, "1"))
    query, gallery, distractors = (round(count * share) for count in (QUERIES, GALLERY, DISTRACTORS))
    return crowd(query, seed=1), crowd(gallery, seed=2, distractors=distractors)


def sightline(sides: Sides) -> Figures:
    found = rank(*sides)
    return {"R1": found.rank_k(1), "mAP": found.map_mean_precision, "mINP": found.minp}


def product_alone(sides: Sides) -> Figures:
    """The floor: nothing but the matrix product, in the blocks sightline makes it in."""
    query, right = unit(sides[0].vectors), unit(sides[1].vectors).T
    buffer = np.empty((128, right.shape[1]), np.float32)
    for start in range(0, len(query), 128):
        block = query[start : start + 128]
        np.matmul(block, right, out=buffer[: len(block)])
    return {}


def argsort_per_query(sides: Sides) -> Figures:
    """The usual way: all distances, then for each query a full sort, labels in its order, a walk down the matches."""
    query, gallery = sides
    distances = 1 - unit(query.vectors) @ unit(gallery.vectors).T
    first, precisions = [], []
    for row, identity, camera in zip(distances, query.ids, _cameras(query), strict=True):
        order = np.argsort(row)
        own = gallery.ids[order] == identity
        is_match = own[~(own & (_cameras(gallery)[order] == camera))]
        if is_match.any():
            places = np.flatnonzero(is_match) + 1
            first.append(is_match[0])
            precisions.append(np.mean(np.arange(1, len(places) + 1) / places))
    return {"R1": float(np.mean(first)), "mAP": float(np.mean(precisions))}


def _cameras(side: Labelled) -> np.ndarray:
    assert side.cameras is not None
    return side.cameras


def torchreid(name: str, function: str, **options: bool) -> Callable[[Sides], Figures]:
    def evaluate(sides: Sides) -> Figures:
        query, gallery = sides
        evaluator = getattr(_peer_module(name), function)
        distances = 1 - unit(query.vectors) @ unit(gallery.vectors).T
        labels = query.ids, gallery.ids, _cameras(query), _cameras(gallery)
        cmc, mean_precision = evaluator(distances, *labels, 50, **options)
        return {"R1": float(cmc[0]), "mAP": float(mean_precision)}

    return evaluate


def _peer_module(name: str) -> ModuleType:
    """One module of the checkout, by its file: the package around it needs PyTorch and more."""
    folder = Path(os.environ[PEER]) / "torchreid" / "metrics"
    path = next(iter(sorted(folder.glob(f"{name}*.so")) or sorted(folder.glob(f"{name}.py"))))
    spec = importlib.util.spec_from_file_location(path.name.partition(".")[0], path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def our_rates(genuine: FloatArray, impostor: FloatArray) -> Figures:
    for scores in (genuine, impostor):
        scores.sort()  # in place, as `genuine_and_impostor` does it
    found = eer(genuine, impostor)
    return {"EER": found.rate, **{f"TAR@{one.far:g}": one.tar for one in tar_at_far(genuine, impostor)}}


def rates_of_roc_curve(genuine: FloatArray, impostor: FloatArray) -> Figures:
    roc_curve = importlib.import_module("sklearn.metrics").roc_curve
    labels = np.repeat([True, False], [len(genuine), len(impostor)])
    far, tar, _ = roc_curve(labels, np.concatenate([genuine, impostor]))
    after = int(np.argmax(far >= 1 - tar))
    gaps = (1 - tar - far)[[after - 1, after]]
    rate = far[after - 1] + gaps[0] / (gaps[0] - gaps[1]) * (far[after] - far[after - 1])
    tars = {f"TAR@{limit:g}": float(tar[np.searchsorted(far, limit, side="right") - 1]) for limit in (1e-1, 1e-2, 1e-3)}
    return {"EER": float(rate), **tars}


OURS = "sightline"
PRODUCT = "matrix product alone"
RANKERS: dict[str, Callable[[Sides], Figures]] = {
    OURS: sightline,
    PRODUCT: product_alone,
    "argsort per query": argsort_per_query,
    "torchreid, Cython": torchreid("rank_cylib/rank_cy", "evaluate_cy", use_metric_cuhk03=False),
    "torchreid, Python": torchreid("rank", "eval_market1501"),
}
RATES = {"sightline, EER and TAR": our_rates, "scikit-learn roc_curve": rates_of_roc_curve}


def absent() -> list[str]:
    """The contenders that cannot run here."""
    peer = os.environ.get(PEER)
    missing = [name for name in RANKERS if name.startswith("torchreid") and peer is None]
    if peer is not None and not list(Path(peer).glob("torchreid/metrics/rank_cylib/rank_cy*.so")):
        missing.append("torchreid, Cython")
    return missing + [name for name in RATES if "scikit" in name and importlib.util.find_spec("sklearn") is None]


def measure(contender: str) -> Figures:
    """Seconds and megabytes on top of what was there before, and the figures found, so that they can be compared."""
    sides = both_sides()
    if contender in RANKERS:
        work, arguments = RANKERS[contender], (sides,)
    else:
        genuine, impostor = genuine_and_impostor(*sides)
        np.random.default_rng(0).shuffle(impostor)  # sorted scores would be a present to both
        work, arguments = RATES[contender], (genuine, impostor)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
    before = _resident_mb("VmRSS")
    started = time.perf_counter()
    found = work(*arguments)
    return {"s": time.perf_counter() - started, "extra MB": _resident_mb("VmHWM") - before, **found}


def _resident_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=(*RANKERS, *RATES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", type=Path, help="a checkout of torchreid")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size, to try things out; not kept")
    args = parser.parse_args()
    if args.contender is not None:
        print(json.dumps(measure(args.contender)))
        return
    os.environ[SCALE] = str(args.scale)
    if args.peer is not None:
        os.environ[PEER] = str(args.peer.resolve())
    missing = absent()
    for name in missing:
        print(f"{name}: not run")
    contenders = [name for name in (*RANKERS, *RATES) if name not in missing]
    medians = in_turns(__file__, contenders, rounds=args.rounds)
    for name in contenders:
        print(f"{name:24}", "  ".join(f"{key} {value:.8g}" for key, value in medians[name].items()))
    if args.scale == 1:
        packages = ("sightline", "numpy", "scikit-learn")
        keep("ranking", {"environment": environment(packages), "medians": medians, "not run": missing})
        print("results kept; `python benchmarks/report.py` writes docs/benchmarks.md", file=sys.stderr)


if __name__ == "__main__":
    main()
