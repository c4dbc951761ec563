"""What is kept of every visit: its best crops and its track, in a folder of its own, whole or not at all.

    OUT/visits/
      gate/                  a camera
        000012/              a visit, by its number
          000017.jpg …       the best crops, by the number of their frame
          track.npz          frame_numbers, bboxes, confidences, fps, camera, as `sightline cluster` reads them;
                             times_s, crop_frames, count, quality, embedding and what else a `Visit` is made of

A folder is written under a hidden name and renamed, so that a kill leaves the whole of it or something hidden, which
the next reader clears away. Only the run that owns OUT writes or reads here.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import shutil
import sys
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sightline.errors import ImageError
from sightline.files import output_error
from sightline.images import read_image
from sightline.pipeline.people.visits import Visit
from sightline.types import Array, Embeddings, Image, Tracklet

log = logging.getLogger(__name__)

VISITS = "visits"
TRACK = "track.npz"
JPEG_QUALITY = 92
LONGEST_NAME = 120  # bytes of a camera's folder; systems refuse more than 255


def camera_folder(camera: str) -> str:
    """The camera's name where every file system takes it, else its plain letters and a digest of the whole.

    Capitals are kept, so that a folder of true tracks finds its camera by name; where the file system does not tell
    capitals from small letters, names that differ in nothing else share a folder.
    """
    fits = len(camera.encode("utf-8", "surrogatepass")) <= LONGEST_NAME and unicodedata.is_normalized("NFC", camera)
    if fits and _PLAIN.fullmatch(camera) and not _RESERVED.fullmatch(camera):
        return camera
    letters = re.sub(r"[^A-Za-z0-9_-]+", "-", camera[:40]).strip("-")
    digest = hashlib.sha256(camera.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{letters}~{digest[:16]}"


_PLAIN = re.compile(r"\w(?:[\w .-]*\w)?")
_RESERVED = re.compile(r"(?i:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?")  # names of devices on Windows


def visit_folder(camera: str, number: int) -> Path:
    """Where a visit lies, seen from OUT."""
    return Path(VISITS, camera_folder(camera), f"{number:06d}")


def crop_file(frame: int) -> str:
    return f"{frame:06d}.jpg"


# Writing


def keep_visit(out: Path, visit: Visit, *, size_hw: tuple[int, int] | None = None) -> Path:
    """Write a visit below `out` and return its folder. A visit that is kept already, byte for byte, is left alone.

    `size_hw` is of the camera's frames; with it `sightline cluster` can tell which crops a border cuts. Everything is
    on the disk when this returns. Raises `OutputError` where it cannot be; what this number held before, it then holds.
    """
    target = out / visit_folder(visit.camera, visit.number)
    files = _files(visit, size_hw)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _mend(target)
        if not _holds(target, files):
            _put(target, files)
    except OSError as exc:
        raise output_error(target, exc) from exc
    return target


def _put(target: Path, files: Mapping[str, bytes]) -> None:
    """The old folder steps aside before the new one takes its name, for no system replaces a folder that is not empty.
    A kill between the two leaves the old one under `_aside`, from where `_mend` fetches it back.
    """
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        fresh.mkdir()
        for name, content in files.items():
            _write(fresh / name, content)
        _sync(fresh)
        if target.exists():
            target.rename(_aside(target))
        fresh.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        _mend(target)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _mend(target: Path) -> None:
    """Undo the half of a replacement, or clear up after a whole one."""
    aside = _aside(target)
    if not aside.exists():
        return
    if target.exists():
        shutil.rmtree(aside)
    else:
        aside.rename(target)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """A rename survives a power cut once its folder is flushed. Windows flushes no folders."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    try:
        names = {path.name for path in folder.iterdir()}
        return names == files.keys() and all((folder / name).read_bytes() == files[name] for name in names)
    except FileNotFoundError:
        return False


def _files(visit: Visit, size_hw: tuple[int, int] | None) -> dict[str, bytes]:
    crops = zip(visit.crop_frames, visit.tracklet.crops, strict=True)
    buffer = BytesIO()
    np.savez(buffer, **_arrays(visit, size_hw))
    return {**{crop_file(frame): _jpeg(crop) for frame, crop in crops}, TRACK: buffer.getvalue()}


def _jpeg(crop: Image) -> bytes:
    _, content = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return content.tobytes()


def _arrays(visit: Visit, size_hw: tuple[int, int] | None) -> dict[str, Any]:
    """What is not known has no array."""
    track = visit.tracklet
    known: dict[str, Any] = {
        "frame_numbers": track.frames,
        "bboxes": track.boxes_xyxy,
        "confidences": track.scores,
        "camera": visit.camera,
        "times_s": track.times_s,
        "track_id": track.track_id,
        "crop_frames": np.array(visit.crop_frames, np.int64),
        "count": visit.count,
        "quality": visit.quality,
    }
    if track.frames[-1] > 0 and track.times_s[-1] > 0:
        known["fps"] = track.frames[-1] / track.times_s[-1]  # so that the last frame falls on its own time
    if size_hw is not None:
        known["frame_size"] = (size_hw[1], size_hw[0])
    if visit.continues is not None:
        known["continues"] = visit.continues
    if track.embedding is not None:
        vectors = track.embedding
        known.update(embedding=vectors.vectors, fingerprint=vectors.fingerprint, normalised=vectors.normalised)
    return known


# Reading


def read_visits(out: Path, *, crops: bool = True) -> Iterator[Visit]:
    """Every visit kept below `out`, by camera and number; `crops=False` leaves their pictures on the disk.

    What a kill left half is removed. A damaged one is named in a warning and left out.
    """
    for folder in _visit_folders(out / VISITS):
        visit = _read(folder, crops=crops)
        if visit is not None:
            yield visit


def read_visit(out: Path, camera: str, number: int, *, crops: bool = True) -> Visit | None:
    """One visit; None, and a warning, where it is damaged or is not there."""
    return _read(out / visit_folder(camera, number), crops=crops)


def _visit_folders(visits: Path) -> Iterator[Path]:
    for camera in sorted(path for path in _inside(visits) if path.is_dir()):
        for path in _inside(camera):
            _clear(path)
        kept = [path for path in _inside(camera) if _NUMBER.fullmatch(path.name)]
        yield from sorted(kept, key=lambda path: int(path.name))


_NUMBER = re.compile(r"[0-9]{6,18}")
_HALF = re.compile(r"\.([0-9]{6,18})\.(?:old|[0-9a-f]{16}\.tmp)")


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _clear(path: Path) -> None:
    found = _HALF.fullmatch(path.name)
    if found is None:
        return
    try:
        if path.suffix == ".old":
            _mend(path.with_name(found[1]))
        else:
            shutil.rmtree(path)
    except OSError as exc:
        log.warning("%s is left over from a run that was stopped, and cannot be removed: %s", path, exc.strerror)


# What zipfile, numpy and a disk let out of files that are something else, or only in part there.
_DAMAGED = (
    *(OSError, EOFError, KeyError, TypeError, ValueError, OverflowError, MemoryError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, ImageError),
)


def _read(folder: Path, *, crops: bool) -> Visit | None:
    try:
        with np.load(folder / TRACK, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _visit(folder, arrays, crops=crops)
    except _DAMAGED as exc:
        why = f"it has no {exc.args[0]}" if isinstance(exc, KeyError) else " ".join(str(exc).split())
        log.warning("the visit in %s is damaged and left out: %s", folder, why or type(exc).__name__)
        return None


def _visit(folder: Path, arrays: Mapping[str, Array], *, crops: bool) -> Visit:
    frames = [int(frame) for frame in arrays["crop_frames"]]
    files = [folder / crop_file(frame) for frame in frames]
    missing = next((file.name for file in files if not file.is_file()), None)
    if missing is not None:
        raise FileNotFoundError(f"{missing} is missing")
    return Visit(
        number=int(folder.name),
        tracklet=_tracklet(arrays, tuple(read_image(file) for file in files) if crops else ()),
        crop_frames=tuple(frames),
        count=int(arrays["count"]),
        quality=float(arrays["quality"]),
        continues=int(arrays["continues"]) if "continues" in arrays else None,
    )


def _tracklet(arrays: Mapping[str, Array], crops: tuple[Image, ...]) -> Tracklet:
    return Tracklet(
        track_id=int(arrays["track_id"]),
        source=str(arrays["camera"]),
        frames=arrays["frame_numbers"],
        times_s=arrays["times_s"],
        boxes_xyxy=arrays["bboxes"],
        scores=arrays["confidences"],
        embedding=_embedding(arrays) if "embedding" in arrays else None,
        crops=crops,
    )


def _embedding(arrays: Mapping[str, Array]) -> Embeddings:
    return Embeddings(arrays["embedding"], str(arrays["fingerprint"]), bool(arrays["normalised"]))
