"""Files: what kind of model one is before anything parses it, and writing so that no half file is ever seen."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Literal

from sightline.errors import ModelFormatError, ModelNotFoundError, OutputError

ModelKind = Literal["onnx", "checkpoint", "openvino", "tensorrt"]

SUFFIXES: dict[str, ModelKind] = {
    ".onnx": "onnx",
    ".pth": "checkpoint",
    ".pt": "checkpoint",
    ".tar": "checkpoint",
    ".ckpt": "checkpoint",
    ".xml": "openvino",
    ".engine": "tensorrt",
    ".plan": "tensorrt",
}

_LFS_POINTER = b"version https://git-lfs"
_WEB_PAGE = (b"<!doctype html", b"<html")
_SNIFFED = (  # a first-bytes test for each kind of file people pass by mistake
    (b"PK\x03\x04", "a PyTorch checkpoint (zip)"),
    (b"\x80\x02", "a PyTorch checkpoint (pickle)"),
    (b"\x80\x03", "a PyTorch checkpoint (pickle)"),
    (b"\x80\x04", "a PyTorch checkpoint (pickle)"),
    (b"\x80\x05", "a PyTorch checkpoint (pickle)"),
    (b"<?xml", "an XML document"),
    (b"ptrt", "a TensorRT engine"),
    (b"ftrt", "a TensorRT engine"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"),
)


def sniff(head: bytes) -> str:
    """What the first bytes of a file say it is, in words; empty when they say nothing."""
    return next((kind for magic, kind in _SNIFFED if head.startswith(magic)), "")


def model_kind(path: Path) -> ModelKind:
    """The kind a model's file name promises. Raises `ModelFormatError` for a suffix no backend reads."""
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        known = ", ".join(SUFFIXES)
        raise ModelFormatError(f"{path}: no runtime reads {path.suffix or 'a name without suffix'!r}; expected {known}")
    return kind


def require_model_file(path: Path) -> Path:
    """The path, once it is known to hold something that could be a model.

    Catches what otherwise surfaces as a protobuf or pickle error: nothing there, a folder, an empty file, the pointer
    that git leaves where LFS was not pulled, a web page saved under a model's name.
    """
    head = _head(path)
    if not head:
        raise ModelFormatError(f"{path} is empty (0 bytes); copy or download it again")
    if head.startswith(_LFS_POINTER):
        raise ModelFormatError(f"{path} is a Git LFS pointer, not the model; run `git lfs pull` where it came from")
    if head.lstrip().lower().startswith(_WEB_PAGE):
        raise ModelFormatError(f"{path} is a web page, not a model; the download needs a log-in or another address")
    return path


def _head(path: Path) -> bytes:
    """The first bytes of a regular file: opening a pipe would wait for somebody to write into it."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb") as file:
                return file.read(64)
    except OSError as exc:
        if isinstance(exc, (FileNotFoundError, NotADirectoryError)):
            raise ModelNotFoundError(f"model file not found: {path}") from exc
        raise ModelFormatError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:  # a NUL in the name
        raise ModelNotFoundError(f"model file not found: {str(path)!r}") from exc
    kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
    raise ModelFormatError(f"{path} is {kind}; expected a model file")


def is_regular_file(path: Path) -> bool:
    """Unlike `Path.is_file`, False also for a name the system will not look up, such as one too long."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def is_outside(model: Path, location: str) -> bool:
    """Whether a file named inside a model lies outside the model's folder: as spelled on any system, or through a link.

    Where the model itself is a link (the Hugging Face cache keeps every file so), the folder it leads to is home too.
    """
    spelling = PureWindowsPath(location)  # splits at both slashes and knows drives
    if spelling.anchor or ".." in spelling.parts or not spelling.name or "\0" in location:
        return True
    try:
        named = (model.parent / location).resolve()
        return not any(named.is_relative_to(home) for home in (model.parent.resolve(), model.resolve().parent))
    except (OSError, RuntimeError):  # a link to itself; a RuntimeError before Python 3.13
        return True


def sha256_of(path: Path) -> str:
    """The checksum of a model file, in hexadecimal, read 1 MiB at a time."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as exc:
        raise ModelFormatError(f"{path} cannot be read: {exc.strerror}") from exc
    return digest.hexdigest()


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`, renamed over it when the block ends well and removed when it does not.

    The rename is the only moment anything appears under the final name, so a reader, a full disk or a kill never
    leaves half a file there. `OSError` becomes `OutputError` with the path and what to do.
    """
    temporary = target.parent / f".{target.name[:40]}.{secrets.token_hex(8)}.tmp"
    try:
        # Not tempfile: its files are private, and asking for the umask to undo that changes it for all threads.
        temporary.touch(exist_ok=False)
    except OSError as exc:
        raise output_error(target, exc) from exc
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(target)
    except OutputError:
        raise
    except OSError as exc:
        raise output_error(target, exc) from exc
    finally:
        temporary.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def locked(path: Path, *, holder: str) -> Iterator[None]:
    """Hold a lock file for the length of the block; another process that holds it is an `OutputError` naming `holder`.

    The system drops the lock when its process dies, so a kill leaves nothing to clean up.
    """
    try:
        file = path.open("a+b")
    except OSError as exc:
        raise output_error(path, exc) from exc
    with file:
        try:
            _lock(file.fileno())
        except OSError as exc:
            raise OutputError(f"{path.parent} is being written by {holder}; wait for it or choose another -o") from exc
        yield


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_ADVICE = {
    errno.ENOENT: "the folder does not exist; create it first",
    errno.ENOTDIR: "its parent is not a folder",
    errno.EACCES: "no permission to write there",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EISDIR: "a folder has that name",
}


def output_error(target: Path, exc: OSError) -> OutputError:
    """The `OutputError` for a write to `target` that failed: the path, the reason, what to do."""
    reason = _ADVICE.get(exc.errno or 0, exc.strerror or str(exc))
    return OutputError(f"cannot write {target}: {reason}")
