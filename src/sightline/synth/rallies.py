"""Painted rallies on disk, laid out as the Shuttlecock Trajectory Dataset, so that a trainer takes them as they are.

Each rally is a match of its own, for each has a hall and a camera of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from sightline.ball.background import StreamingMedian, sample_indices
from sightline.ball.trajectory import write_trajectory
from sightline.errors import OutputError
from sightline.files import output_error, replacing
from sightline.synth.court import Rally
from sightline.synth.dice import dice, fresh_seed
from sightline.synth.folders import require_counts
from sightline.types import BallPoint, Image

NAME = "1_01_00"  # of the only rally of a match
HELD_OUT = 8  # one in so many rallies is for validation
_QUALITY = 95  # the camera has compressed already; this must not do it again
_MEDIAN_FRAMES = 60


def write_rallies(
    folder: Path, *, rallies: int, frames: int, seed: int, done: Callable[[], None] = lambda: None
) -> tuple[int, int]:
    """Paint that many rallies into `train/match…` and `val/match…`; how many are in each.

    `done` is called after each. Raises `OutputError` where there is a data set already: two in one folder would be
    taken for one.
    """
    require_counts(rallies=rallies, frames=frames)
    for split in ("train", "val"):
        if (folder / split).exists():
            raise OutputError(f"{folder / split} is there already; remove it, or choose another folder")
    for match, (split, rally_seed) in enumerate(_plan(rallies, seed), 1):
        write_rally(folder / split / f"match{match}", Rally(rally_seed, frames=frames))
        done()
    held_out = sum(split == "val" for split, _ in _plan(rallies, seed))
    return rallies - held_out, held_out


def _plan(rallies: int, seed: int) -> Iterator[tuple[str, int]]:
    """Where each rally goes, and its own seed."""
    rng = dice("rallies", seed)
    for number in range(1, rallies + 1):
        last_of_few = number == rallies and 1 < rallies < HELD_OUT
        yield "val" if number % HELD_OUT == 0 or last_of_few else "train", fresh_seed(rng)


def write_rally(match: Path, rally: Rally) -> None:
    """Frames as JPEG, the background, and last the labels, whole: where they are, everything is."""
    frames = match / "frame" / NAME
    try:
        frames.mkdir(parents=True)
        (match / "csv").mkdir()
        labels, median = _write_frames(frames, rally)
    except OSError as exc:
        raise output_error(match, exc) from exc
    with replacing(frames / "median.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, median=median[:, :, ::-1])  # RGB, as the data set has it
    write_trajectory(match / "csv" / f"{NAME}_ball.csv", labels)


def _write_frames(frames: Path, rally: Rally) -> tuple[list[BallPoint], Image]:
    """The labels, and the background (BGR)."""
    sampled = set(sample_indices(len(rally), _MEDIAN_FRAMES))
    median, labels = StreamingMedian(len(sampled)), []
    for index, (image, label) in enumerate(rally):
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        (frames / f"{index}.jpg").write_bytes(data.tobytes())
        labels.append(label)
        if index in sampled:
            median.push(image)
    return labels, median.median()
