"""Our tracker beside those of the `trackers` library on the same boxes: frames per second, and how right the ids are.

    python benchmarks/tracking.py     # in turns, to benchmarks/results/tracking.json

The scenes are walks in the plane with their own occlusion: who is covered is detected worse, then not at all, and
detections are missed and made up besides. "with looks" adds a vector to each detection, as like those of the same
person as crops of one track are (cosine about 0.6), and half somebody else's where he is covered. None of the library's
trackers takes vectors. Our bounds were chosen on other seeds of the same scenes; the library's are its defaults.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from measuring import Figures, environment, in_turns, keep
from sightline.tracking.assignment import iou_matrix
from sightline.tracking.evaluation import evaluate
from sightline.tracking.mot_files import MotRows, mot_rows
from sightline.tracking.tracker import AppearanceTracker, Tracker
from sightline.tracking.trackers_library import LIBRARY_TRACKERS, LibraryTracker
from sightline.types import Detections, FloatArray

Floats = NDArray[np.float64]

FPS, WIDTH, HEIGHT, SIZE = 25, 1280, 720, 128
FRAMES = 500
SPEEDS = (1, 10, 50)  # boxes a frame
OURS = {"sightline": False, "sightline with looks": True}


@dataclass(frozen=True)
class Scene:
    """Who was where, and what a detector made of it."""

    truth: MotRows
    frames: list[tuple[Detections, FloatArray]]


class Crowd:
    """People who walk up and down, and may be gone for one to four seconds beyond the edge."""

    def __init__(self, rng: Generator, people: int, *, leave: bool) -> None:
        self.rng, self.leave = rng, leave
        self.feet = rng.uniform([0, 250], [WIDTH, 650], (people, 2))
        self.speed = np.stack(
            [rng.choice([-1, 1], people) * rng.uniform(40, 160, people), rng.normal(0, 15, people)], 1
        )
        self.gone_s = np.zeros(people)

    def step(self) -> None:
        self.speed += self.rng.normal(0, 3, self.speed.shape)
        self.feet += self.speed / FPS
        self.gone_s -= 1 / FPS
        for person in np.flatnonzero((self.feet[:, 0] < 0) | (self.feet[:, 0] > WIDTH)):
            self._turn(person)
        self.feet[:, 1] = self.feet[:, 1].clip(200, 700)

    def _turn(self, person: int) -> None:
        right = bool(self.feet[person, 0] > WIDTH / 2)
        if self.leave:
            self.gone_s[person], right = self.rng.uniform(1, 4), bool(self.rng.random() < 0.5)
        self.feet[person, 0] = WIDTH if right else 0
        self.speed[person, 0] = abs(self.speed[person, 0]) * (-1 if right else 1)

    def boxes(self) -> Floats:
        height = 40 + 0.25 * self.feet[:, 1]
        half = np.stack([0.2 * height, height / 2], axis=1)
        centre = self.feet - np.stack([0 * height, height / 2], axis=1)
        return np.concatenate([centre - half, centre + half], axis=1)


def covered(boxes: Floats) -> Floats:
    """How much of each is hidden by whoever stands nearer, as an overlap."""
    nearer = boxes[None, :, 3] > boxes[:, None, 3]
    most: Floats = (iou_matrix(boxes, boxes) * nearer).max(axis=1, initial=0)
    return most


def scene(seed: int, people: int, *, frames: int = FRAMES, leave: bool = False, missed: float = 0.08) -> Scene:
    rng = np.random.default_rng(seed)
    crowd, looks = Crowd(rng, people, leave=leave), unit(rng.standard_normal((people + 1, SIZE)))
    truth, seen = [], []
    for frame in range(1, frames + 1):
        crowd.step()
        here = np.flatnonzero(crowd.gone_s <= 0)
        boxes = crowd.boxes()[here]
        truth += [(frame, person + 1, *box) for person, box in zip(here, boxes, strict=True)]
        seen.append(detected(rng, boxes, looks[here], looks[-1], missed=missed))
    table = np.array(truth, float)
    return Scene(mot_rows(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:]), seen)


def detected(
    rng: Generator, boxes: Floats, looks: Floats, common: Floats, *, missed: float
) -> tuple[Detections, FloatArray]:
    hidden = covered(boxes)
    vectors = 0.45 * common + 0.8 * looks + 0.54 * rng.standard_normal(looks.shape) / np.sqrt(SIZE)
    vectors[hidden > 0.3] = 0.5 * (vectors + np.roll(vectors, 1, axis=0))[hidden > 0.3]
    scores = np.clip(rng.normal(0.85 - 0.9 * hidden, 0.1), 0.05, 0.99)
    noisy = boxes + rng.normal(0, 0.02, boxes.shape) * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    kept = (rng.random(len(boxes)) >= missed) & (hidden < 0.6)
    ghosts = int(rng.random() < 0.02)
    corner = rng.uniform([0, 200], [WIDTH, 600], (ghosts, 2))
    everywhere = np.concatenate([noisy[kept], np.concatenate([corner, corner + np.array([40, 100])], axis=1)])
    sure = np.concatenate([scores[kept], rng.uniform(0.2, 0.75, ghosts)])
    strange = np.concatenate([vectors[kept], rng.standard_normal((ghosts, SIZE))])
    found = Detections(everywhere.astype(np.float32), sure.astype(np.float32), np.zeros(len(sure), np.int64))
    return found, unit(strange).astype(np.float32)


def unit(vectors: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


SCENES: dict[str, Callable[[int], Scene]] = {
    "crossing": lambda seed: scene(seed, 8),
    "crowd": lambda seed: scene(seed, 20, frames=300),
    "missed": lambda seed: scene(seed, 8, missed=0.3),
    "returners": lambda seed: scene(seed, 8, leave=True),
}
SEEDS = range(100, 105)


def run(tracker: Tracker, shown: Scene, *, with_looks: bool) -> MotRows:
    found = []
    for number, (seen, vectors) in enumerate(shown.frames):
        embeddings = vectors if with_looks else None
        answer = tracker.update(seen, frame=number, time_s=number / FPS, embeddings=embeddings)
        found += [(number + 1, i, *box) for i, box in zip(answer.ids, answer.detections.boxes_xyxy, strict=True)]
    table = np.array(found, float).reshape(-1, 6)
    return mot_rows(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:])


def make(name: str) -> Tracker:
    return AppearanceTracker() if name in OURS else LibraryTracker(name, frame_rate=FPS)


def speed(name: str, people: int) -> float:
    shown = scene(1, people)
    run(make(name), shown, with_looks=OURS.get(name, False))  # what is imported and allocated once
    tracker, looks = make(name), OURS.get(name, False)
    started = time.process_time()
    for number, (seen, vectors) in enumerate(shown.frames):
        tracker.update(seen, frame=number, time_s=number / FPS, embeddings=vectors if looks else None)
    return len(shown.frames) / (time.process_time() - started)


def measured(name: str) -> Figures:
    warnings.simplefilter("ignore")  # of the library, about its next version
    figures = {f"frames/s at {people}": speed(name, people) for people in SPEEDS}
    for title, build in SCENES.items():
        scores = []
        for seed in SEEDS:
            shown = build(seed)
            scores.append(evaluate(shown.truth, run(make(name), shown, with_looks=OURS.get(name, False))).figures())
        for figure in ("IDF1", "HOTA", "IDSW"):
            figures[f"{title} {figure}"] = float(np.mean([score[figure] for score in scores]))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=(*OURS, *LIBRARY_TRACKERS))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.contender is not None:
        print(json.dumps(measured(args.contender)))
        return
    medians = in_turns(__file__, [*OURS, *LIBRARY_TRACKERS], rounds=args.rounds)
    report(medians)
    packages = ("sightline", "numpy", "scipy", "trackers", "supervision")
    keep("tracking", {"environment": environment(packages), "medians": medians})
    print("results kept in benchmarks/results/tracking.json", file=sys.stderr)


def report(medians: dict[str, Figures]) -> None:
    ours = medians["sightline"]
    for name in (*OURS, *LIBRARY_TRACKERS):
        print(f"\n{name}")
        for figure, value in medians[name].items():
            ratio = f"  {ours[figure] / value:5.2f}× ours to this" if figure.startswith("frames") else ""
            print(f"  {figure:16} {value:10.4g}{ratio}")


if __name__ == "__main__":
    main()
