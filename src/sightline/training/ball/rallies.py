"""Labelled clips on disk, in the layout of the Shuttlecock Trajectory Dataset.

::

    train/match1/csv/1_01_00_ball.csv        where the ball is; corrected_csv/ is preferred
    train/match1/frame/1_01_00/0.png …       the frames, or
    train/match1/video/1_01_00.mp4           the video
    train/match1/median.npz                  the background (`median`, RGB), where there is one; or in frame/1_01_00/
    train/match1/predicted_csv/…_ball.csv    what a tracker found, for InpaintNet, where there is any
    val/match1/…                             what is held out; without it, the last rally of every match
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sightline.ball.trajectory import columns_from, read_trajectory
from sightline.errors import ConfigError
from sightline.sources import open_recording
from sightline.types import BallPoint

LABELS = ("corrected_csv", "csv")  # the first that is there
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm")
LABEL_ENDING = "_ball.csv"


@dataclass(frozen=True)
class Rally:
    """One clip of a match, by its files."""

    match: Path
    name: str
    labels: Path

    def __str__(self) -> str:
        return f"{self.match.name}/{self.name}"

    @property
    def footage(self) -> Path | None:
        """A folder of frames, which is exact, else a video."""
        return self.frames if self.frames.is_dir() else self.video

    @property
    def frames(self) -> Path:
        """Where they are, if there are any."""
        return self.match / "frame" / self.name

    @property
    def video(self) -> Path | None:
        candidates = (self.match / "video" / f"{self.name}{suffix}" for suffix in VIDEOS)
        return next((path for path in candidates if path.exists()), None)

    @property
    def median(self) -> Path | None:
        places = (self.match, self.match / "frame" / self.name)
        return next((path for path in (place / "median.npz" for place in places) if path.exists()), None)

    @property
    def predicted(self) -> Path | None:
        path = self.match / "predicted_csv" / self.labels.name
        return path if path.exists() else None


@dataclass(frozen=True)
class Rallies:
    """What a run learns from, and the clips it is judged on."""

    name: str
    folder: Path
    train: tuple[Rally, ...]
    held_out: tuple[Rally, ...]


def open_rallies(folder: Path) -> Rallies:
    """Raises `ConfigError` for a folder that has no labelled rally to train on."""
    train = rallies_of(folder / "train")
    if not train:
        raise ConfigError(
            f"no rallies in {folder}: expected train/match1/csv/<rally>{LABEL_ENDING} beside frame/ or video/"
        )
    held_out = rallies_of(folder / "val")
    if not held_out:
        held_out = [rallies[-1] for rallies in _by_match(train) if len(rallies) > 1]
    learned = tuple(rally for rally in train if rally not in held_out)
    return Rallies(folder.resolve().name, folder, learned, tuple(held_out))


def rallies_of(split: Path) -> list[Rally]:
    """In the order of matches and rallies; none where there is no such folder."""
    matches = sorted((path for path in split.glob("match*") if path.is_dir()), key=_natural)
    return [rally for match in matches for rally in _rallies_in(match)]


def _rallies_in(match: Path) -> Iterator[Rally]:
    home = next((match / name for name in LABELS if (match / name).is_dir()), None)
    if home is None:
        raise ConfigError(f"{match} has no labels; expected {' or '.join(LABELS)} with <rally>{LABEL_ENDING}")
    for labels in sorted(home.glob(f"*{LABEL_ENDING}"), key=_natural):
        yield Rally(match, labels.name.removesuffix(LABEL_ENDING), labels)


def _by_match(rallies: Sequence[Rally]) -> list[list[Rally]]:
    return [list(group) for _, group in groupby(rallies, key=lambda rally: rally.match)]


def _natural(path: Path) -> list[tuple[int, str]]:
    """match2 before match10."""
    return [(int(digits or 0), text) for digits, text in re.findall(r"(\d*)(\D*)", path.name)]


@dataclass(frozen=True)
class LabelledRally:
    """A rally, its labels in pixels of its source, and the size of that."""

    rally: Rally
    points: tuple[BallPoint, ...]
    size_hw: tuple[int, int]


def labelled(rally: Rally, *, columns: str, source_hw: tuple[int, int]) -> LabelledRally:
    """The labels are read; where no footage tells the size of the source, it is `source_hw`."""
    size_hw = source_hw
    if rally.footage is not None:
        with open_recording(rally.footage) as recording:
            size_hw = recording.info.size_hw
    return LabelledRally(rally, tuple(read_labels(rally.labels, size_hw=size_hw, columns=columns)), size_hw)


def read_labels(path: Path, *, size_hw: tuple[int, int], columns: str) -> list[BallPoint]:
    return read_trajectory(path, columns=columns_from(columns) if columns else None, size_hw=size_hw)
