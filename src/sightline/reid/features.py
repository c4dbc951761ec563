"""Feature files: vectors keyed by image path, written so that an interrupted run goes on where it stopped.

While a run is under way its rows lie in `<output>.part/`: `vectors.f32`, raw float32 rows, and `rows.jsonl`, one line
per image. Both are only ever appended to, vectors first, so whatever a kill leaves behind is a valid beginning. The
finished `.npz` is assembled from them without holding the vectors in memory.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from sightline.errors import OutputError, SightlineError
from sightline.files import locked, output_error, replacing
from sightline.reid.embedder import Embedded
from sightline.types import FloatArray

ROWS_AT_ONCE = 4096  # of the finished file, while it is assembled


@dataclass(frozen=True, eq=False)
class Features:
    """A finished feature file: row i of `vectors` belongs to `paths[i]`."""

    paths: tuple[str, ...]
    vectors: FloatArray  # (N, D), L2-normalised
    meta: Mapping[str, Any]  # fingerprint, model, card, versions, skipped images with their reasons


def read_features(path: Path) -> Features:
    """A feature file as `FeatureJournal.finish` wrote it. Raises `SightlineError` when it is something else."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            meta = json.loads(str(archive["meta"]))
            return Features(tuple(str(name) for name in archive["paths"]), archive["vectors"], meta)
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as exc:
        raise SightlineError(f"{path} is not a feature file written by `sightline embed`: {exc}") from exc


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of `rows.jsonl`: which version of which file, and where its vector is."""

    path: str
    size: int
    mtime_ns: int
    index: int | None  # into vectors.f32; None: skipped
    reason: str = ""

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    def is_of(self, path: Path) -> bool:
        stat = path.stat()
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.mtime_ns)


class FeatureJournal:
    """The rows of a run under way, on disk. Made by `open_journal`."""

    def __init__(self, folder: Path, vectors: FileIO, lines: FileIO, rows: Sequence[_Row], dim: int) -> None:
        self._folder = folder
        self._vectors = vectors
        self._lines = lines
        self._dim = dim
        self._rows = {row.path: row for row in rows}
        self._embedded = sum(row.index is not None for row in rows)
        self.finished = False

    def pending(self, paths: Sequence[Path]) -> list[Path]:
        """Those of the paths that have no vector yet, or changed since they got one."""
        return [path for path in paths if not self._is_done(path)]

    def add(self, item: Embedded) -> None:
        """Keep one image's outcome. What was added before a kill is found again by the next run."""
        stat = item.path.stat() if item.path.exists() else None
        index = None if item.vector is None else self._embedded
        row = _Row(str(item.path), stat.st_size if stat else 0, stat.st_mtime_ns if stat else 0, index, item.reason)
        try:
            if item.vector is not None:
                _write_all(self._vectors, item.vector.astype("<f4", copy=False).tobytes())
                self._embedded += 1
            _write_all(self._lines, row.to_line().encode())
        except OSError as exc:
            raise output_error(self._folder, exc) from exc
        self._rows[row.path] = row

    def finish(self, paths: Sequence[Path], target: Path, *, meta: Mapping[str, Any]) -> tuple[int, int]:
        """Write the feature file for `paths`, in their order, and end the journal. Returns (embedded, skipped)."""
        rows = [self._rows[str(path)] for path in paths]
        kept = [row for row in rows if row.index is not None]
        skipped = {row.path: row.reason for row in rows if row.index is None}
        described = json.dumps({**meta, "skipped": skipped}, sort_keys=True)
        with replacing(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            self._write_vectors(archive, [row.index for row in kept if row.index is not None])
            _write_member(archive, "paths", np.array([row.path for row in kept], dtype=np.str_))
            _write_member(archive, "meta", np.array(described))
        self.finished = True
        return len(kept), len(skipped)

    def _is_done(self, path: Path) -> bool:
        """What could not be read is tried again: its permissions or its disk may have been put right."""
        row = self._rows.get(str(path))
        return row is not None and row.index is not None and path.exists() and row.is_of(path)

    def _write_vectors(self, archive: zipfile.ZipFile, indices: Sequence[int]) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(indices), self._dim)}
        with archive.open("vectors.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for start in range(0, len(indices), ROWS_AT_ONCE):
                # Mapped anew each time: what a mapping has touched counts as this process's memory until it goes.
                stored = np.memmap(self._folder / "vectors.f32", dtype="<f4", mode="r").reshape(-1, self._dim)
                member.write(stored[indices[start : start + ROWS_AT_ONCE]].tobytes())


def _write_member(archive: zipfile.ZipFile, name: str, array: np.ndarray[Any, Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _write_all(file: FileIO, data: bytes) -> None:
    """Write to an unbuffered file. With a buffer, what a full disk refused would be tried, and fail, again on close."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


@contextmanager
def open_journal(target: Path, *, dim: int, identity: str, restart: bool = False) -> Iterator[FeatureJournal]:
    """The journal of the run that will write `target`: the one an interrupted run left, or a new one.

    `identity` is what makes rows comparable (the model's fingerprint, how it was fed). A journal of another identity is
    an `OutputError`, not an overwrite, unless `restart`. A finished journal is removed.
    """
    folder = _folder_for(target)
    with locked(folder / "lock", holder="another `sightline embed`"):
        rows = [] if restart else _rows_left(folder, dim, identity)
        vectors, lines = _prepared(folder, rows, dim, identity)
        with vectors, lines:
            journal = FeatureJournal(folder, vectors, lines, rows, dim)
            yield journal
    if journal.finished:
        shutil.rmtree(folder, ignore_errors=True)  # what stays is a whole journal, which the next run goes through


def _folder_for(target: Path) -> Path:
    """Where the journal lies. Finds out now, and not after hours of work, that the target cannot be written there."""
    try:
        if target.is_dir():
            example = target / "features.npz"
            raise OutputError(f"cannot write {target}: it is a folder; name a file in it, e.g. {example}")
        folder = target.with_name(target.name + ".part")
        folder.mkdir(exist_ok=True)
    except OutputError:
        raise
    except FileExistsError as exc:
        raise output_error(folder, exc) from exc
    except OSError as exc:
        raise output_error(target, exc) from exc
    return folder


def _rows_left(folder: Path, dim: int, identity: str) -> list[_Row]:
    described, lines, vectors = (folder / name for name in ("identity", "rows.jsonl", "vectors.f32"))
    if not (described.exists() and lines.exists() and vectors.exists()):
        return []
    if lines.stat().st_size > 0 and described.read_bytes() != identity.encode():
        raise OutputError(
            f"{folder} holds the unfinished work of another model; finish it, or pass --restart to drop it"
        )
    return list(_whole_rows(lines, vectors.stat().st_size // (4 * dim)))


def _whole_rows(lines: Path, stored: int) -> Iterator[_Row]:
    """Rows up to the first that is torn or whose vector is: what a kill left unfinished is done again."""
    with lines.open(encoding="ascii", errors="replace") as file:
        for line in file:
            try:
                row = _Row(**json.loads(line))
            except (ValueError, TypeError):
                return
            if not line.endswith("\n") or (row.index is not None and row.index >= stored):
                return
            yield row


def _prepared(folder: Path, rows: Sequence[_Row], dim: int, identity: str) -> tuple[FileIO, FileIO]:
    """The files of vectors and of lines, holding `rows` and open for more.

    The lines come first and the identity last, so that a kill in between leaves no row that claims a vector of another
    model.
    """
    try:
        with replacing(folder / "rows.jsonl") as temporary:
            temporary.write_text("".join(row.to_line() for row in rows), encoding="ascii")
        vectors = FileIO(folder / "vectors.f32", "a")
        vectors.truncate(4 * dim * sum(row.index is not None for row in rows))
        with replacing(folder / "identity") as temporary:
            temporary.write_bytes(identity.encode())
        return vectors, FileIO(folder / "rows.jsonl", "a")
    except OutputError:
        raise
    except OSError as exc:
        raise output_error(folder, exc) from exc
