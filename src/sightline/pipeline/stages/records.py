"""What the file of a stage was made from, kept in the file: by it a later run knows whether to take it over.

A record is a JSON object: the stage, its settings, the digests of all it was made of, and their common fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline._version import __version__
from sightline.errors import SightlineError, SourceError
from sightline.files import is_regular_file, replacing, sha256_of
from sightline.types import Array

FORMAT = 1  # of the files; another one is made again
META = "meta"  # the array of an .npz, and the key of a .json, that hold the record

Record = Mapping[str, Any]
_DAMAGED = (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Origin:
    """What a stage's file is made from."""

    stage: str
    settings: Mapping[str, Any]  # plain values, as JSON has them
    inputs: Mapping[str, str]  # digests, by what they are of

    @property
    def fingerprint(self) -> str:
        content = {"format": FORMAT, "stage": self.stage, "settings": self.settings, "inputs": self.inputs}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def record(self, told: str, more: Mapping[str, Any]) -> Record:
        """What goes into the file. `told` is the stage's outcome in a few words."""
        own = {"format": FORMAT, "sightline": __version__, "stage": self.stage, "fingerprint": self.fingerprint}
        return {**own, "settings": self.settings, "inputs": self.inputs, "told": told, **more}

    def changed_since(self, record: Record) -> str:
        """What is different now, in words; empty where the file was made from the same."""
        if record.get("fingerprint") == self.fingerprint:
            return ""
        differing = [
            *_differing(record.get("settings"), self.settings),
            *_differing(record.get("inputs"), self.inputs),
        ]
        return f"{', '.join(differing) or 'the format of its file'} changed"


def _differing(before: Any, now: Any, prefix: str = "") -> Iterator[str]:
    """The keys, in full, of the values that are not the same."""
    if isinstance(before, dict) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            yield from _differing(before.get(key), now.get(key), f"{prefix}.{key}".removeprefix("."))
    elif before != now:
        yield prefix or "everything"


# Files


def write_arrays(path: Path, record: Record, arrays: Mapping[str, Array]) -> None:
    content: dict[str, Any] = {META: np.array(json.dumps(record)), **arrays}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **content)


def read_arrays(path: Path) -> tuple[Record, dict[str, Array]]:
    """All of the file, whose checksums are looked at on the way. Raises `SightlineError` where it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _object(json.loads(str(arrays.pop(META)))), arrays
    except _DAMAGED as exc:
        raise SightlineError(f"{path} is damaged ({_in_words(exc)}); delete it, and it is made again") from exc


def write_object(path: Path, record: Record, content: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({META: record, **content}, indent=2) + "\n", encoding="utf-8")


def read_object(path: Path) -> tuple[Record, dict[str, Any]]:
    """The record and the rest of a JSON file. Raises `SightlineError` where it is damaged."""
    try:
        content = _object(json.loads(path.read_text(encoding="utf-8")))
        return _object(content.pop(META)), content
    except (*_DAMAGED, RecursionError) as exc:
        raise SightlineError(f"{path} is damaged ({_in_words(exc)}); delete it, and it is made again") from exc


def read_record(path: Path) -> Record:
    """The record of a stage's file, all of which has been read. Raises `SightlineError` where it is damaged."""
    return read_arrays(path)[0] if path.suffix == ".npz" else read_object(path)[0]


def _object(content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise TypeError("it holds no JSON object")
    return content


def _in_words(exc: BaseException) -> str:
    return " ".join(str(exc).split()) or type(exc).__name__


# Digests


def digest_of(path: Path) -> str:
    """Of the content of a file; empty where there is none, which whoever needs it will say better."""
    return sha256_of(path) if is_regular_file(path) else ""


def recording_digest(path: Path) -> str:
    """Of a video or a folder of images, by names, sizes and times: an hour of video is not read to see that it is
    the same. Raises `SourceError` where there is nothing.
    """
    try:
        files = sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]
        parts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise SourceError(f"video not found: {path}") from exc
    except OSError as exc:
        raise SourceError(f"{path} cannot be read: {exc.strerror}") from exc
    return hashlib.sha256(json.dumps(parts).encode("utf-8", "backslashreplace")).hexdigest()
