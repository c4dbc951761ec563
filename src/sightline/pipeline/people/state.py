"""How far a camera has come, on disk: so that a run that was killed goes on as if nothing had been.

Two files a camera. `NAME.npz` is all that is known between two frames, written whole every few seconds. `NAME.boxes`
are the detections of every frame since: a detector that learns, as the background's does, would see those frames
otherwise the second time, and then tracks would end elsewhere and be counted twice.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.errors import SourceError
from sightline.files import output_error, replacing
from sightline.types import Array, Detections

_HEAD = struct.Struct("<qII")  # frame, boxes, checksum of what follows
_BOX = np.dtype([("box", np.float32, 4), ("score", np.float32), ("class", np.int64)])


@dataclass(frozen=True, eq=False)
class CameraState:
    """Where a camera stands."""

    next_frame: int
    done: bool
    start_s: float  # of the source, since 1970
    seconds: float  # of the source, so far
    fps: float
    size_hw: tuple[int, int]
    dropped: int
    watch: Mapping[str, Array]


def write_state(path: Path, state: CameraState) -> None:
    times = (state.start_s, state.seconds, state.fps)
    numbers = np.array([state.next_frame, state.done, *times, *state.size_hw, state.dropped], np.float64)
    arrays: dict[str, Any] = {f"watch/{name}": array for name, array in state.watch.items()}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, numbers=numbers, **arrays)


def read_state(path: Path) -> CameraState | None:
    """None where there is none yet. Raises `SourceError` for a file that is something else."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            next_frame, done, start_s, seconds, fps, height, width, dropped = archive["numbers"].tolist()
            watch = {name.removeprefix("watch/"): archive[name] for name in archive.files if name != "numbers"}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as exc:
        raise SourceError(f"{path} cannot be used ({exc}); pass --restart to begin again") from exc
    size_hw = (int(height), int(width))
    return CameraState(int(next_frame), bool(done), start_s, seconds, fps, size_hw, int(dropped), watch)


class BoxLog:
    """The detections of each frame since the last state, appended before they are used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("ab")
        except OSError as exc:
            raise output_error(path, exc) from exc

    def append(self, frame: int, found: Detections) -> None:
        rows = np.empty(len(found), _BOX)
        rows["box"], rows["score"], rows["class"] = found.boxes_xyxy, found.scores, found.classes
        content = rows.tobytes()
        try:
            self._file.write(_HEAD.pack(frame, len(rows), zlib.crc32(content)) + content)
            self._file.flush()
        except OSError as exc:
            raise output_error(self._path, exc) from exc

    def clear(self) -> None:
        """What there was is in the state now."""
        try:
            self._file.truncate(0)
        except OSError as exc:
            raise output_error(self._path, exc) from exc

    def close(self) -> None:
        self._file.close()


def read_boxes(path: Path, *, first: int) -> dict[int, Detections]:
    """The detections of the frames from `first` on, without a gap, up to where the file was torn off."""
    content = path.read_bytes() if path.exists() else b""
    found: dict[int, Detections] = {}
    place = 0
    while place + _HEAD.size <= len(content):
        frame, count, checksum = _HEAD.unpack_from(content, place)
        place += _HEAD.size + count * _BOX.itemsize
        body = content[place - count * _BOX.itemsize : place]
        if len(body) != count * _BOX.itemsize or zlib.crc32(body) != checksum:
            break
        if frame == first + len(found):
            rows = np.frombuffer(body, _BOX)
            found[frame] = Detections(rows["box"].copy(), rows["score"].copy(), rows["class"].copy())
    return found
