"""The videos of a Shuttlecock Trajectory Dataset as pictures, once and for all, with the background of each match."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from sightline.ball.background import median_of
from sightline.errors import ConfigError
from sightline.files import output_error, replacing
from sightline.training.ball.frames import sampled_median
from sightline.training.ball.rallies import Rally, rallies_of
from sightline.video import VideoFile

SPLITS = ("train", "val", "test")
_FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def rallies_with_video(folder: Path) -> list[Rally]:
    """Of all splits. Raises `ConfigError` where there is none."""
    rallies = [rally for split in SPLITS for rally in rallies_of(folder / split) if rally.video is not None]
    if not rallies:
        raise ConfigError(f"no rallies in {folder}: expected train/match1/csv/<rally>_ball.csv and video/<rally>.mp4")
    return rallies


def extract_all(rallies: Sequence[Rally], *, median_frames: int, done: Callable[[], None]) -> None:
    """`frame/<rally>/0.png …` of each rally, then `median.npz` of its match. What is there already is left alone."""
    for match, group in groupby(rallies, key=lambda rally: rally.match):
        of_match = list(group)
        for rally in of_match:
            extract(rally)
            done()
        if not (match / "median.npz").exists():
            _write_median(match, of_match, median_frames=median_frames)


def extract(rally: Rally) -> None:
    """The folder gets its name when all its pictures are in it."""
    if rally.video is None or rally.frames.exists():
        return
    unfinished = rally.frames.with_name(f".{rally.frames.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        with VideoFile(rally.video) as video:
            for frame in video:
                _, data = cv2.imencode(".png", frame.image, _FAST)
                (unfinished / f"{frame.index}.png").write_bytes(data.tobytes())
        unfinished.rename(rally.frames)
    except OSError as exc:
        raise output_error(rally.frames, exc) from exc


def _write_median(match: Path, rallies: Sequence[Rally], *, median_frames: int) -> None:
    """The median of the medians of the match's rallies, RGB, as the data set's tools write it."""
    background_bgr = median_of(sampled_median(rally.frames, median_frames) for rally in rallies)
    with replacing(match / "median.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, median=background_bgr[:, :, ::-1])
