"""Scoring of tracks, CLEAR, identity and HOTA together: sightline beside the MOTChallenge's own evaluation.

    python benchmarks/mot_evaluation.py    # both in turns, to benchmarks/results/mot_evaluation.json

Ten minutes of a crowd, 10,000 frames of 20 boxes, as a middling tracker follows it. sightline starts from boxes;
trackeval from overlaps that are worked out before its clock starts. trackeval asks for OpenCV's desktop build, which
would replace ours: install it with `pip install --no-deps trackeval tabulate pycocotools`. It is left out, and said to
be, where it is not there.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import numpy as np

from measuring import Figures, environment, in_turns, keep
from sightline.tracking.assignment import iou_matrix
from sightline.tracking.evaluation import evaluate
from sightline.tracking.mot_files import MotRows, mot_rows

FRAMES, PEOPLE = 10_000, 20
SHARED = ("HOTA", "IDF1", "MOTA")


def crowd() -> tuple[MotRows, MotRows]:
    """People who drift about in a full-HD picture; and tracks of them with gaps, jitter and a switch now and then."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1500, (1, PEOPLE, 2)) + np.cumsum(rng.normal(0, 3, (FRAMES, PEOPLE, 2)), axis=0)
    boxes = np.concatenate([corners, corners + np.array([60, 150])], axis=2)
    frames, ids = np.repeat(np.arange(1, FRAMES + 1), PEOPLE), np.tile(np.arange(PEOPLE), FRAMES)
    truth = mot_rows(frames, ids, boxes.reshape(-1, 4))
    names = ids + PEOPLE * np.cumsum(rng.random((FRAMES, PEOPLE)) < 0.002, axis=0).reshape(-1)
    found = mot_rows(frames, names, (boxes + rng.normal(0, 4, boxes.shape)).reshape(-1, 4))
    return truth, found.take(rng.random(len(found)) < 0.9)


def sightline(truth: MotRows, found: MotRows) -> Figures:
    started = time.perf_counter()
    figures = evaluate(truth, found).figures()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, **{name: figures[name] for name in SHARED}}


def trackeval(truth: MotRows, found: MotRows) -> Figures:
    from trackeval.metrics import CLEAR, HOTA, Identity

    data = _as_official(truth, found)
    quiet = {"PRINT_CONFIG": False}
    started = time.perf_counter()
    scores = [metric.eval_sequence(data) for metric in (HOTA(), CLEAR(quiet), Identity(quiet))]
    seconds = time.perf_counter() - started
    figures = {name: value for score in scores for name, value in score.items()}
    return {"seconds": seconds, **{name: float(np.mean(figures[name])) for name in SHARED}}


def _as_official(truth: MotRows, found: MotRows) -> dict[str, object]:
    (names, ours), (others, theirs) = (np.unique(rows.ids, return_inverse=True) for rows in (truth, found))
    cuts = [np.searchsorted(rows.frames, np.arange(2, FRAMES + 1)) for rows in (truth, found)]
    boxes = [np.split(rows.boxes_xyxy, cut) for rows, cut in zip((truth, found), cuts, strict=True)]
    return {
        "num_timesteps": FRAMES,
        "num_gt_dets": len(truth),
        "num_tracker_dets": len(found),
        "num_gt_ids": len(names),
        "num_tracker_ids": len(others),
        "gt_ids": np.split(ours, cuts[0]),
        "tracker_ids": np.split(theirs, cuts[1]),
        "similarity_scores": [iou_matrix(one, other) for one, other in zip(*boxes, strict=True)],
    }


CONTENDERS = MappingProxyType[str, Callable[[MotRows, MotRows], Figures]](
    {"sightline": sightline, "trackeval": trackeval}
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.contender:
        print(json.dumps(CONTENDERS[args.contender](*crowd())))
        return
    there = [name for name in CONTENDERS if name == "sightline" or importlib.util.find_spec(name)]
    medians = in_turns(str(Path(__file__)), there, rounds=args.rounds)
    where = environment(["sightline", "numpy", "scipy", "trackeval"])
    keep("mot_evaluation", {"environment": where, "frames": FRAMES, "people": PEOPLE, "medians": medians})
    print(f"{where['processor']}, numpy {where['numpy']}, trackeval {where['trackeval']}, {where['date']}")
    print(f"{FRAMES:,} frames of {PEOPLE} boxes{'' if 'trackeval' in there else '; trackeval is not installed'}")
    for name in there:
        figures = medians[name]
        scores = ", ".join(f"{key} {figures[key]:.4%}" for key in SHARED)
        times = figures["seconds"] / medians["sightline"]["seconds"]
        print(f"  {name:<12}{figures['seconds']:>7.2f} s{times:>7.1f}×   {scores}")


if __name__ == "__main__":
    main()
