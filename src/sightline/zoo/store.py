"""The cache of pulled models: one file a model, and beside it a record of where it came from and what it hashed to.

The record is what makes a file count as cached, and it is written last. A model whose publisher states no sha256 is
trusted the first time; from then on the record holds it to the same bytes.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from sightline.errors import DownloadError, ModelError, ModelNotFoundError, OutputError
from sightline.files import replacing, require_model_file
from sightline.zoo.catalog import ZooModel
from sightline.zoo.download import Progress, download, sha256_of

log = logging.getLogger(__name__)

_LOCK_POLL_S = 0.1


@dataclass(frozen=True)
class Record:
    """What the cache knows of one file."""

    name: str
    url: str
    sha256: str
    size_bytes: int
    pulled_at: str  # ISO 8601, UTC


def cache_dir() -> Path:
    """Where pulled models live: $SIGHTLINE_CACHE, else `sightline` in the user's own cache folder."""
    if chosen := os.environ.get("SIGHTLINE_CACHE"):
        return Path(chosen).expanduser().absolute()
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        folder = Path(os.environ.get(variable, ""))
        if folder.is_absolute():  # the XDG specification has relative ones ignored
            return folder / "sightline"
    try:
        return Path.home() / ".cache" / "sightline"
    except RuntimeError as exc:
        raise OutputError("this user has no home folder to keep models in; set SIGHTLINE_CACHE to a folder") from exc


def path_of(model: ZooModel) -> Path:
    """Where the model is, or would be."""
    return cache_dir() / model.file_name


def record_of(model: ZooModel) -> Record | None:
    """What was noted when the model was pulled; `None` where nothing was, or the note is damaged."""
    try:
        return Record(**json.loads(_record_path(path_of(model)).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def cached(model: ZooModel) -> Path | None:
    """The model's file, if it is complete and the one the catalog means. Does not hash it: see `verify`."""
    path, record = path_of(model), record_of(model)
    if record is None or model.sha256 not in (None, record.sha256):
        return None
    return path if path.is_file() and path.stat().st_size == record.size_bytes else None


def verify(model: ZooModel) -> str:
    """Hash the cached file again and return its sha256.

    Raises `ModelNotFoundError` where it is not cached, `DownloadError` where its bytes are no longer the promised ones.
    """
    path, record = path_of(model), record_of(model)
    if record is None or not path.is_file():
        raise ModelNotFoundError(f"{model.name} is not cached; run `sightline models pull {model.name}`")
    expected = model.sha256 or record.sha256
    digest = _hash(path)
    if digest != expected:
        advice = f"run `sightline models remove {model.name}` and pull it again"
        raise DownloadError(f"{path}: sha256 is {digest}, expected {expected}; {advice}")
    return digest


def remove(model: ZooModel) -> bool:
    """Delete the model, its record and what a broken download left of it. False where there was nothing."""
    path = path_of(model)
    leftovers = [leftover for leftover in (_record_path(path), path, *_parts(path)) if leftover.exists()]
    try:
        for leftover in leftovers:  # the record first: without it, what remains does not count as cached
            leftover.unlink(missing_ok=True)
    except OSError as exc:
        raise OutputError(f"cannot remove {exc.filename}: {exc.strerror}; check who owns the cache") from exc
    return bool(leftovers)


def pull(model: ZooModel, *, progress: Progress | None = None, offline: bool = False) -> Path:
    """The model's file, downloaded unless it is in the cache.

    A file put in its place by hand is taken in if its sha256 is the published one, or none is published. With
    `offline`, or SIGHTLINE_OFFLINE=1, nothing is downloaded: `DownloadError` says where to put the file instead.
    Several processes may pull the same model: one downloads, the others wait for it.
    """
    if path := cached(model):
        return path
    with _one_at_a_time(path_of(model)):
        return cached(model) or _adopt(model) or _fetch(model, progress, offline=offline or _is_offline())


def _is_offline() -> bool:
    return os.environ.get("SIGHTLINE_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def _fetch(model: ZooModel, progress: Progress | None, *, offline: bool) -> Path:
    path = path_of(model)
    if offline:
        raise DownloadError(f"{model.name} is not cached and downloads are off; put {model.url} at {path} by hand")
    expected = _expected_sha256(model)
    digest = download(model.url, path, sha256=expected, size_bytes=model.size_bytes, progress=progress)
    return _record(model, digest)


def _adopt(model: ZooModel) -> Path | None:
    """Take in a file that is there without a valid record: put by hand, or downloaded just before a crash."""
    path = path_of(model)
    if not path.exists():
        return None
    try:
        require_model_file(path)
    except ModelError as exc:
        log.warning("%s; not used", exc)
        return None
    digest, expected = _hash(path), _expected_sha256(model)
    if expected in (None, digest):
        log.info("%s: taking in the file found at %s", model.name, path)
        return _record(model, digest)
    log.warning("%s: the file at %s has sha256 %s, expected %s; not used", model.name, path, digest, expected)
    return None


def _expected_sha256(model: ZooModel) -> str | None:
    record = record_of(model)
    return model.sha256 or (record.sha256 if record else None)


def _record(model: ZooModel, digest: str) -> Path:
    path = path_of(model)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    record = Record(model.name, model.url, digest, path.stat().st_size, now)
    with replacing(_record_path(path)) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=2) + "\n", "utf-8")
    return path


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _parts(path: Path) -> tuple[Path, ...]:
    return path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as exc:
        raise DownloadError(f"{path} cannot be read: {exc.strerror}; check who owns the cache") from exc


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock of one cached file, waiting for whoever has it.

    The operating system's lock, not a file whose existence means "locked": it is let go when its holder dies, so none
    is ever stale. The empty lock file stays, since removing it would let two holders in.
    """
    with _lock_file(path) as lock:
        _wait_for(lock, path)
        yield


def _lock_file(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".{path.name}.lock").open("ab")
    except OSError as exc:
        advice = "set SIGHTLINE_CACHE to a folder you may write to"
        raise OutputError(f"cannot use the cache at {path.parent}: {exc.strerror}; {advice}") from exc


def _wait_for(lock: IO[bytes], path: Path) -> None:
    if _try_lock(lock):
        return
    log.info("another process is pulling %s; waiting for it", path.name)
    while not _try_lock(lock):
        time.sleep(_LOCK_POLL_S)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(lock: IO[bytes]) -> bool:
        try:
            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _try_lock(lock: IO[bytes]) -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
