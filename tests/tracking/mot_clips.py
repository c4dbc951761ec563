"""Small clips of tracks, at random, and the way they are asked for in tests."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from sightline.tracking.mot_files import MotRows, mot_rows


def rows(*boxes: tuple[int, int, float, float, float, float], **columns: list[float]) -> MotRows:
    """(frame, id, left, top, right, bottom) each."""
    table = np.array(boxes, float).reshape(-1, 6)
    given = {name: np.array(values) for name, values in columns.items()}
    return mot_rows(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:], **given)


def walkers(rng: Generator, *, frames: int, people: int) -> MotRows:
    """Boxes that drift about close to each other, some missing."""
    start = rng.uniform(0, 30, (1, people, 2))
    corners = start + np.cumsum(rng.normal(0, 3, (frames, people, 2)), axis=0)
    boxes = np.concatenate([corners, corners + rng.uniform(15, 25, (1, people, 2))], axis=2).reshape(-1, 4)
    there = rng.random(frames * people) < 0.8
    frame, person = np.repeat(np.arange(1, frames + 1), people), np.tile(np.arange(people), frames)
    return mot_rows(frame, 3 * person + 1, boxes).take(there)


def tracked(rng: Generator, truth: MotRows, *, jitter: float = 2.0, swap: float = 0.15, ghosts: int = 3) -> MotRows:
    """What a middling tracker makes of it: shifted, with boxes missed and made up, ids that change hands."""
    kept = truth.take(rng.random(len(truth)) < 0.85)
    ids = kept.ids.copy()
    for index in np.flatnonzero(rng.random(len(ids)) < swap):
        ids[index:][ids[index:] == ids[index]] = rng.integers(50, 56)
    boxes = kept.boxes_xyxy + rng.normal(0, jitter, kept.boxes_xyxy.shape)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    low = rng.uniform(0, 40, (ghosts, 2))
    frames = np.concatenate([kept.frames, rng.integers(1, 9, ghosts)])
    made_up = np.concatenate([low, low + rng.uniform(10, 25, (ghosts, 2))], axis=1)
    everything = mot_rows(frames, np.concatenate([ids, np.arange(ghosts) + 90]), np.vstack([boxes, made_up]))
    keys = np.stack([everything.frames, everything.ids], axis=1)
    _, first = np.unique(keys, axis=0, return_index=True)
    return everything.take(first)
