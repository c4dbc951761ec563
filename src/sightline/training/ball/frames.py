"""The frames of rallies at the size the network sees, kept on disk as they are in memory.

Decoding and shrinking a frame takes longer than learning from it. So each rally is read once, into a file of its planes
that is mapped into memory; every process shares what the system has cached of it. The name of the file is made of what
it was made from: where the footage changes, so does the name, and the rally is read again.
"""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline.ball.background import StreamingMedian, sample_indices
from sightline.ball.heatmap import HEIGHT, WIDTH
from sightline.ball.planes import PLANES_PER_FRAME, BgMode, FramePlanes, Resize, median_of_source
from sightline.errors import ConfigError, SourceError
from sightline.files import output_error, replacing
from sightline.images import IMAGE_SUFFIXES
from sightline.sources import open_recording
from sightline.training.ball.rallies import Rally
from sightline.types import Image

log = logging.getLogger(__name__)

_VERSION = b"1"  # of what is kept; another one, and everything is read again


@dataclass(frozen=True, eq=False)
class Footage:
    """A rally as the network is fed of it, uint8."""

    planes: Image  # (N, P, 288, 512), mapped
    front: Image  # (3, 288, 512) background for "concat", else (0, 288, 512)


@dataclass(frozen=True)
class FrameCache:
    """The planes of rallies, made as inference makes them, under `folder`."""

    folder: Path
    bg_mode: BgMode
    resize: Resize = "area"
    median_frames: int = 60

    def fill(self, rallies: Sequence[Rally]) -> None:
        """Read what is not there yet. What an interrupted run has read stays. Raises `SourceError`, `OutputError`."""
        missing = [rally for rally in rallies if not self.path_of(rally).exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise output_error(self.folder, exc) from exc
        for number, rally in enumerate(missing, 1):
            log.info("reading %s (%d of %d) into %s", rally, number, len(missing), self.folder)
            self._write(rally)

    def open(self, path: Path) -> Footage:
        """What `fill` has put there."""
        shape = (PLANES_PER_FRAME[self.bg_mode], HEIGHT, WIDTH)
        front = np.empty((0, HEIGHT, WIDTH), np.uint8)
        if self.bg_mode == "concat":
            front = np.load(path.with_suffix(".npy"))
        return Footage(np.memmap(path, np.uint8, mode="r").reshape(-1, *shape), front)

    def frames_in(self, path: Path) -> int:
        return path.stat().st_size // (PLANES_PER_FRAME[self.bg_mode] * HEIGHT * WIDTH)

    def path_of(self, rally: Rally) -> Path:
        """Where `fill` puts it."""
        digest = hashlib.sha256(_VERSION)
        for file in (*_files_of(_required_footage(rally)), *([rally.median] if self.bg_mode and rally.median else [])):
            about = file.stat()
            digest.update(f"{file.name}|{about.st_size}|{about.st_mtime_ns}\n".encode())
        settings = (self.bg_mode, self.resize, self.median_frames if self.bg_mode else 0)
        digest.update(f"{rally.match.parent.name}|{settings}".encode())
        return self.folder / f"{rally.match.name}_{rally.name}_{digest.hexdigest()[:16]}.planes"

    def _write(self, rally: Rally) -> None:
        path, footage = self.path_of(rally), _required_footage(rally)
        planes = FramePlanes(self.bg_mode, resize=self.resize)
        if self.bg_mode:
            background_bgr = read_median(rally.median) if rally.median else sampled_median(footage, self.median_frames)
            median = median_of_source(background_bgr, self.bg_mode, resize=self.resize)
            planes.set_median(median)
            with replacing(path.with_suffix(".npy")) as temporary, temporary.open("wb") as file:
                np.save(file, median)
        with replacing(path) as temporary, temporary.open("wb") as file, open_recording(footage) as recording:
            for frame in recording:
                file.write(planes.of(frame.image).tobytes())


def read_median(path: Path) -> Image:
    """The array `median` of a data set's median.npz, which is RGB, as BGR. Raises `ConfigError` for any other file."""
    try:
        with np.load(path, allow_pickle=False) as content:
            median = content["median"]
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as exc:
        raise ConfigError(f"{path} is no background: expected an .npz with an array named median") from exc
    if median.ndim != 3 or median.shape[2] != 3:
        raise ConfigError(f"{path}: its median is {median.shape}; expected (height, width, 3), RGB")
    return np.ascontiguousarray(np.asarray(median, np.uint8)[:, :, ::-1])


def sampled_median(footage: Path, frames: int) -> Image:
    """BGR. A source that does not say how long it is gives its first frames."""
    with open_recording(footage) as recording:
        count = recording.info.frame_count
        wanted = set(sample_indices(frames if count is None else count, frames))
        median = StreamingMedian(max(1, len(wanted)))
        for image in recording.picked(wanted):
            median.push(image)
    return median.median()


def _required_footage(rally: Rally) -> Path:
    if rally.footage is None:
        raise SourceError(
            f"{rally.labels} has no footage: expected {rally.match}/frame/{rally.name}/ or video/{rally.name}.mp4"
        )
    return rally.footage


def _files_of(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    frames = sorted((file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES), key=_number)
    if [_number(file) for file in frames] != list(range(len(frames))):
        raise SourceError(f"{path}: its images are not 0, 1, 2, …, one for each frame, so labels would not meet them")
    yield from frames


def _number(file: Path) -> int:
    return int(file.stem) if file.stem.isdecimal() else -1
