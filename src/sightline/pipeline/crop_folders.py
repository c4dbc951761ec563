"""People as a folder of crops each, with what a tracker wrote beside them: `track.json` or `track.npz`.

    crops/
      person_3/
        000017.jpg 000018.jpg …
        track.json    frame_numbers, bboxes (x1, y1, x2, y2), confidences; fps, frame_size (width, height), camera

Files are taken in the order a person would count them, which is their order in time.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.errors import ImageError, SightlineError
from sightline.images import image_files
from sightline.reid.sightings import Sightings
from sightline.types import Array

PICKLES = frozenset({".pkl", ".pickle", ".p", ".joblib"})
LAST_FRAME = 2**40  # no video is longer; a larger number is something else
LARGEST_TRACK = 1 << 28  # bytes, unpacked


@dataclass(frozen=True, eq=False)
class CropFolder:
    """One person as they lie on disk. Nothing is decoded yet."""

    person_id: str
    files: tuple[Path, ...]  # in time order; empty when the folder holds no image
    sightings: Sightings | None

    def rows(self) -> list[int | None]:
        """For each file its row of the sightings: by position where they are as many, else by the last number."""
        if self.sightings is None:
            return [None] * len(self.files)
        if len(self.files) == len(self.sightings):
            return list(range(len(self.files)))
        row_of = {frame: row for row, frame in enumerate(self.sightings.frames.tolist())}
        return [row_of.get(_last_number(file.stem)) for file in self.files]


def people_in(folder: Path, *, leave_out: Path | None = None) -> list[CropFolder]:
    """The person folders in `folder`, in the order of their names. `leave_out` is the output, which may lie in it.

    Raises `SightlineError` where there is none, and for pickles, which are never loaded.
    """
    _require_folder(folder)
    try:
        inside = sorted(folder.iterdir(), key=lambda path: _countable(path.name))
    except OSError as exc:
        raise SightlineError(f"cannot look for people in {folder}: {exc.strerror}") from exc
    skipped = None if leave_out is None else leave_out.resolve()
    people = [path for path in inside if path.is_dir() and not path.name.startswith(".") and path.resolve() != skipped]
    if not people:
        raise SightlineError(f"no people in {folder}: {_what_is_there(inside)}; expected a folder of crops for each")
    return [_crop_folder(path) for path in people]


def _require_folder(path: Path) -> None:
    if path.suffix.lower() in PICKLES and not path.is_dir():
        raise SightlineError(f"{path}: {NO_PICKLE}")
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise SightlineError(f"{path} {what}; expected a folder with a folder of crops for each person")


NO_PICKLE = (
    "a pickle can run code when it is loaded, so it never is; in the program that wrote it, save every crop as "
    "PERSON/FRAME.png and name the folder of these folders"
)


def _what_is_there(inside: Sequence[Path]) -> str:
    pickles = [path.name for path in inside if path.suffix.lower() in PICKLES]
    if pickles:
        return f"{pickles[0]} is not read ({NO_PICKLE})"
    return f"only files, such as {inside[-1].name}" if inside else "it is empty"


def _crop_folder(folder: Path) -> CropFolder:
    try:
        files = image_files(str(folder.absolute()))
    except ImageError:
        files = []
    within = [file.relative_to(folder.absolute()) for file in files]
    in_time = sorted((folder / path for path in within), key=lambda path: _countable(path.as_posix()))
    return CropFolder(_person_id(folder.name), tuple(in_time), read_sightings(folder))


def _person_id(name: str) -> str:
    """A folder may have bytes in its name that are no text; they are shown as escapes, so that files can hold them."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _countable(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key by which 9 comes before 10."""
    parts = re.split(r"(\d{1,4000})", name)  # int() refuses longer ones
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part)


def _last_number(name: str) -> int:
    numbers = re.findall(r"\d{1,18}", name)
    return int(numbers[-1]) if numbers else -1


# Tracks


def read_sightings(folder: Path) -> Sightings | None:
    """The track beside a person's crops; None where there is none. Raises `SightlineError` when it makes no sense."""
    readers = {"track.json": _read_json, "track.npz": _read_npz}
    there = [folder / name for name in readers if (folder / name).exists()]
    pickled = [path for path in folder.glob("track.*") if path.suffix.lower() in PICKLES]
    if pickled:
        raise SightlineError(f"{pickled[0]} is a pickle, which could run code; save frame_numbers, bboxes as track.npz")
    if len(there) > 1:
        raise SightlineError(f"{folder} has both track.json and track.npz; remove one")
    if not there:
        return None
    try:
        return _sightings(readers[there[0].name](there[0]))
    except _NO_TRACK as exc:
        raise SightlineError(f"{there[0]} cannot be used: {_in_words(exc)}") from exc


# What json, zipfile and numpy let out of files that are something else. RecursionError: JSON a thousand brackets deep.
_NO_TRACK = (
    *(OSError, EOFError, KeyError, ValueError, TypeError, OverflowError, MemoryError, RecursionError),
    zipfile.BadZipFile,
)


def _in_words(exc: BaseException) -> str:
    if isinstance(exc, KeyError):
        return f"it has no {exc.args[0]}; expected frame_numbers and bboxes"
    return " ".join(str(exc).split()) or type(exc).__name__


def _read_json(path: Path) -> Mapping[str, Any]:
    if path.stat().st_size > LARGEST_TRACK:
        raise ValueError("it is far too large for one track")
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError("it is no JSON object; expected frame_numbers and bboxes by name")
    return content


def _read_npz(path: Path) -> Mapping[str, Any]:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > LARGEST_TRACK:
            raise ValueError("it is far too large for one track")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _sightings(track: Mapping[str, Any]) -> Sightings:
    frames = _frames(track["frame_numbers"])
    boxes = _floats(track["bboxes"], shape=(len(frames), 4), name="bboxes")
    confidences = track.get("confidences")
    return Sightings(
        frames,
        boxes.astype(np.float32),
        np.ones(len(frames), np.float32)
        if confidences is None
        else _floats(confidences, shape=(len(frames),), name="confidences").astype(np.float32),
        fps=_fps(track.get("fps")),
        size_hw=_size_hw(track.get("frame_size")),
        camera=str(track.get("camera", "")),
    )


def _frames(values: object) -> Array:
    given = np.asarray(values, np.float64)
    within = given.ndim == 1 and given.size > 0 and ((given >= 0) & (given < LAST_FRAME)).all()  # NaN is not
    frames = given.astype(np.int64) if within else np.empty(0, np.int64)
    if not within or (frames != given).any() or (np.diff(frames) <= 0).any():
        raise ValueError("frame_numbers must be whole numbers from 0 that ascend, each once, and at least one")
    return frames


def _floats(values: object, *, shape: tuple[int, ...], name: str) -> Array:
    given = np.asarray(values, np.float64)
    if given.shape != shape or not np.isfinite(given).all():
        raise ValueError(f"{name} are {given.shape}; expected {shape} finite numbers, a row for each of frame_numbers")
    return given


def _fps(value: Any) -> float | None:
    if value is None:
        return None
    fps = float(value)
    if not 0 < fps < np.inf:
        raise ValueError(f"fps is {fps:g}; expected frames per second, above 0")
    return fps


def _size_hw(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    width, height = (int(side) for side in value)
    if min(width, height) < 1:
        raise ValueError(f"frame_size is {width}, {height}; expected (width, height) in pixels")
    return height, width
