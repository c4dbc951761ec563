"""The longest stage, kept as it goes on: what was detected in every few hundred frames is a file of its own.

They lie in a hidden folder until the stage is done, and go by the fingerprint of the stage: those of other settings are
of no use and are cleared away.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType

import numpy as np

from sightline.errors import SightlineError
from sightline.files import output_error
from sightline.pipeline.stages.records import read_arrays, write_arrays
from sightline.types import Array, Detections

Looked = tuple[int, float, Detections]  # a frame, its time, and what was seen in it
EVERY = 256  # frames that a kill may cost
_EMPTY: dict[str, Array] = {
    "seen": np.empty(0, np.int64),  # the number of every frame that was looked at
    "times_s": np.empty(0, np.float64),  # and its time
    "frames": np.empty(0, np.int64),  # of every box
    "boxes": np.empty((0, 4), np.float32),
    "scores": np.empty(0, np.float32),
    "classes": np.empty(0, np.int64),
}


class DetectionParts:
    """Frame by frame in, arrays of all frames out. Making one finds what an interrupted run has left."""

    def __init__(self, folder: Path, *, fingerprint: str) -> None:
        self._folder = folder / fingerprint[:16]
        self._fingerprint = fingerprint
        self._open(folder)
        self._parts = list(self._left())
        self._gathered: list[Looked] = []

    def _open(self, folder: Path) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise output_error(self._folder, exc) from exc
        for other in folder.iterdir():
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)

    def _left(self) -> Iterator[dict[str, Array]]:
        for number in count():
            path = self._path(number)
            if not path.exists():
                return
            try:
                record, arrays = read_arrays(path)
            except SightlineError:
                return  # it and what is behind it are detected again
            if record.get("fingerprint") != self._fingerprint or arrays.keys() != _EMPTY.keys():
                return
            yield arrays

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}.npz"

    @property
    def next_frame(self) -> int:
        """The first that has to be looked at."""
        return int(self._parts[-1]["seen"][-1]) + 1 if self._parts else 0

    def forget(self) -> None:
        """Begin with the first frame again."""
        self._parts = []

    def add(self, frame: int, time_s: float, found: Detections) -> None:
        self._gathered.append((frame, time_s, found))
        if len(self._gathered) >= EVERY:
            self.keep()

    def keep(self) -> None:
        """Write what has been added since the last file."""
        if not self._gathered:
            return
        arrays = _columns(self._gathered)
        write_arrays(self._path(len(self._parts)), {"fingerprint": self._fingerprint}, arrays)
        self._parts.append(arrays)
        self._gathered = []

    def all(self) -> dict[str, Array]:
        """Everything that was kept."""
        return {name: np.concatenate([none, *(part[name] for part in self._parts)]) for name, none in _EMPTY.items()}

    def __enter__(self) -> DetectionParts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """However the block ends, by Ctrl-C too, what was detected in it is kept."""
        self.keep()

    def clear(self) -> None:
        shutil.rmtree(self._folder.parent, ignore_errors=True)


def _columns(gathered: Sequence[Looked]) -> dict[str, Array]:
    frames, times_s, found = zip(*gathered, strict=True)
    return {
        "seen": np.array(frames, np.int64),
        "times_s": np.array(times_s, np.float64),
        "frames": np.repeat(np.array(frames, np.int64), [len(answer) for answer in found]),
        "boxes": np.concatenate([answer.boxes_xyxy for answer in found]),
        "scores": np.concatenate([answer.scores for answer in found]),
        "classes": np.concatenate([answer.classes for answer in found]),
    }
