"""Visits made of angles, so that every score is a cosine one can look up; and processes that keep visits."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from math import cos, radians, sin, sqrt
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np

from sightline.gallery.gallery import Entry, Gallery, Space
from sightline.gallery.open_gallery import open_gallery
from sightline.pipeline.people.memory import Memory, MemoryRules, Remembered
from sightline.pipeline.people.visits import Visit
from sightline.types import Embeddings, FloatArray, Image, Tracklet

DIM = 4
SPACE = Space("0123456789abcdef", DIM)
START_S = 1_700_000_000.0
RULES = MemoryRules(threshold=0.7, margin=0.02)


def at(degrees: float, *, axis: int = 1) -> FloatArray:
    """A unit vector at that angle to the first axis, turned towards another; two of one axis score cos(difference)."""
    vector = np.zeros(DIM, np.float32)
    vector[[0, axis]] = cos(radians(degrees)), sin(radians(degrees))
    return vector


def random_units(count: int, *, seed: int, dim: int = DIM) -> FloatArray:
    vectors = np.random.default_rng(seed).standard_normal((count, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def visit(
    number: int,
    vector: FloatArray | None,
    *,
    seen: tuple[float, float] | None = None,
    camera: str = "gate",
    count: int = 4,
    continues: int | None = None,
    crops: Sequence[Image] = (),
    fingerprint: str = SPACE.fingerprint,
) -> Visit:
    """By default it lasts 5 s, and nobody else is there meanwhile: visit N begins 10 * N seconds after the start."""
    times = np.array(seen or (10.0 * number, 10.0 * number + 5), np.float64)
    embedding = None if vector is None else Embeddings(vector[None], fingerprint, normalised=True)
    boxes, scores = np.zeros((2, 4), np.float32), np.ones(2, np.float32)
    tracklet = Tracklet(number, camera, np.array([0, 1]), times, boxes, scores, embedding, tuple(crops))
    return Visit(number, tracklet, count=count, quality=0.5, continues=continues)


def entry(
    name: str, identity: str, vector: FloatArray, *, first_s: float, last_s: float, camera: str = "gate"
) -> Entry:
    return Entry(name, identity, vector, camera, START_S + first_s, START_S + last_s, 4, 0.5)


Scenes = Mapping[str, FloatArray]  # how places look without anybody, by camera


def memory_of(
    gallery: Gallery,
    *,
    run_id: str = "run",
    rules: MemoryRules = RULES,
    space: Space = SPACE,
    scenes: Scenes | None = None,
) -> Memory:
    return Memory(gallery, space=space, run_id=run_id, rules=rules, scenes=scenes)


def remember(memory: Memory, *visits: Visit, scenes: Scenes | None = None) -> list[Remembered]:
    return [
        memory.decide_and_keep(one, start_s=START_S, scene=None if scenes is None else scenes.get(one.camera))
        for one in visits
    ]


# The scene taken out, by a slow loop


def unit(vector: Sequence[float]) -> list[float]:
    length = sqrt(sum(value * value for value in vector))
    return [value / length if length > 1e-6 else 0.0 for value in vector]


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def less(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [float(a) - float(b) for a, b in zip(one, other, strict=True)]


def mean_of(rows: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
    return [sum(w * float(row[k]) for w, row in zip(weights, rows, strict=True)) / sum(weights) for k in range(DIM)]


def weights_of(rows: Sequence[Sequence[float]], place: Sequence[float]) -> list[float]:
    """Of people, where each shares one with all who look like them from that place."""
    seen = [unit(less(row, place)) for row in rows]
    return [1 / max(1, sum(dot(one, other) >= 0.7 for other in seen)) for one in seen]


def middles(known: Sequence[Entry], scenes: Scenes, cameras: Sequence[str]) -> dict[str, list[float]] | None:
    """The middle of what each camera shows; None where nothing is known."""
    firsts: dict[tuple[str, str], Entry] = {}
    for one in sorted(known, key=lambda one: (one.first_s, one.id)):
        firsts.setdefault((one.camera, one.identity), one)
    nowhere = [0.0] * DIM
    if scenes:
        others = mean_of([scenes[camera] for camera in sorted(scenes)], [1.0] * len(scenes))
    else:
        everybody = {identity: firsts[camera, identity].vector for camera, identity in sorted(firsts)}
        weights = weights_of(list(everybody.values()), nowhere)
        if sum(weights) < 2.5:
            return None
        others = mean_of(list(everybody.values()), weights)
    found = {}
    for camera in cameras:
        empty = list(map(float, scenes[camera])) if camera in scenes else others
        people = [one.vector for (place, _), one in firsts.items() if place == camera]
        found[camera] = mean_of([empty, *people], [3.0, *weights_of(people, empty)])
    return found


# Processes


def strangers(run_id: str, count: int) -> list[Visit]:
    """Nobody like anybody else, not of another run either."""
    space = np.eye(64, dtype=np.float32)
    first = 16 * int(run_id)
    return [visit(number + 1, space[first + number], camera=f"camera {run_id}") for number in range(count)]


STRANGERS = Space("0123456789abcdef", 64)


def keep_strangers(url: str, run_id: str, count: int, barrier: Barrier) -> None:
    """All processes begin at the same moment."""
    with open_gallery(url) as gallery:
        barrier.wait(60)
        remember(memory_of(gallery, run_id=run_id, space=STRANGERS), *strangers(run_id, count))


class Doomed(Gallery):
    """A gallery whose process is killed as soon as it has kept something."""

    lives = 0

    def add(self, entries: Sequence[Entry], *, space: Space) -> None:
        super().add(entries, space=space)
        if entries:
            self.lives -= 1
            if self.lives == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def a_day() -> list[Visit]:
    """Of four people, who come back; of somebody between two of them; the rest of a visit; and nobody to be seen."""
    people = [at(0), at(90), at(90, axis=2), at(90, axis=3)]
    between = np.asarray((people[0] + people[1]) / np.sqrt(2), np.float32)
    visits = [visit(number + 1, people[number % 4]) for number in range(8)]
    return [*visits, visit(9, between), visit(10, people[2], continues=7), visit(11, None)]


def keep_and_be_killed(url: str, rounds: int) -> None:
    """Each round a child keeps the whole day anew, and is killed by its first, second, … addition."""
    for _ in range(rounds):
        child = os.fork()
        if child == 0:
            with open_gallery(url) as plain:
                gallery = Doomed(plain._store)
                gallery.lives = 1
                remember(memory_of(gallery), *a_day())
            os._exit(1)  # nothing was left to add
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status


def gallery_at(folder: Path) -> Gallery:
    return open_gallery(str(folder / "gallery.sqlite"))
