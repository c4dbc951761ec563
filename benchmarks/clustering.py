"""What clustering costs once everybody is embedded: 500 people of 16 crops each, from features to finished files.

    python benchmarks/clustering.py     # in turns, to benchmarks/results/clustering.json

Comparing, merging under the rule of the shared frame, and writing the JSON and .npy files and the report are timed
together and apart; the pair form stands beside the loop over all pairs of crops that it replaces. The page is not in
it: its pictures are encoded, not compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from measuring import Figures, environment, in_turns, keep
from sightline.reid.merging import merge_people, save_merging_report
from sightline.reid.sightings import Sightings
from sightline.reid.similarity import Form, ModelUsed, PersonId, compare
from sightline.reid.similarity_files import save_similarity_results
from sightline.types import FloatArray

PEOPLE, CROPS, SIZE = 500, 16, 512
FRAMES, VISIT = 100_000, 600  # of the video, and of one track: a dozen hours at two frames a second, five minutes
USED = ModelUsed("osnet_x0_25", "onnx", "trained", "0" * 64)

Features = dict[PersonId, FloatArray]


def crowd() -> Features:
    """Half as many people as tracks, so that about as many pairs are alike as people come back."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((PEOPLE // 2, SIZE), dtype=np.float32)
    found: Features = {}
    for number in range(PEOPLE):
        rows = np.maximum(centres[number % len(centres)] + rng.standard_normal((CROPS, SIZE), dtype=np.float32), 0)
        found[f"p{number}"] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def visits() -> list[Sightings | None]:
    rng = np.random.default_rng(1)
    starts = rng.integers(0, FRAMES - VISIT, PEOPLE)
    boxes, sure = np.zeros((VISIT, 4), np.float32), np.ones(VISIT, np.float32)
    return [Sightings(np.arange(start, start + VISIT), boxes, sure) for start in starts]


def everything(form: Form) -> Callable[[], Figures]:
    def work() -> Figures:
        features, seen = crowd(), visits()
        with tempfile.TemporaryDirectory() as folder:
            clock = [time.perf_counter()]
            results = compare(features, model=USED, threshold=0.7, form=form)
            clock.append(time.perf_counter())
            merging = merge_people(results, sightings=seen, threshold=0.7)
            clock.append(time.perf_counter())
            save_similarity_results(results, folder)
            save_merging_report(merging, results, Path(folder))
            clock.append(time.perf_counter())
        compared, merged, written = np.diff(clock).tolist()
        stages = {"s": clock[-1] - clock[0], "compare s": compared, "merge s": merged, "write s": written}
        return {**stages, "pairs": len(results["high_similarity_pairs"]), "groups": len(merging.merges)}

    return work


def pair_by_pair() -> Figures:
    """The mean over all pairs of crops, one pair of people at a time; the comparison alone."""
    features = list(crowd().values())
    started = time.perf_counter()
    matrix = np.array([[(one @ other.T).mean() for other in features] for one in features])
    spent = time.perf_counter() - started
    found = compare(crowd(), model=USED, form="pairs")["similarity_matrix"]
    return {"compare s": spent, "largest difference": float(np.abs(matrix - found).max())}


CONTENDERS: dict[str, Callable[[], Figures]] = {
    "averaged": everything("averaged"),
    "pairs": everything("pairs"),
    "pairs, in a loop": pair_by_pair,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=tuple(CONTENDERS))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.contender is not None:
        print(json.dumps(CONTENDERS[args.contender]()))
        return
    medians = in_turns(__file__, list(CONTENDERS), rounds=args.rounds)
    for name in CONTENDERS:
        print(f"{name:18}", "  ".join(f"{key} {value:.4g}" for key, value in medians[name].items()))
    keep("clustering", {"environment": environment(("sightline", "numpy")), "medians": medians})
    print("results kept in benchmarks/results/clustering.json", file=sys.stderr)


if __name__ == "__main__":
    main()
