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
from pathlib import Path
from typing import Any, BinaryIO, TextIO

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
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as exc:
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

    def __init__(self, folder: Path, vectors: BinaryIO, lines: TextIO, rows: Sequence[_Row], dim: int) -> None:
        self._folder = folder
        self._vectors = vectors
        self._lines = lines
        self._dim = dim
        self._rows = {row.path: row for row in rows}
        self._embedded = sum(row.index is not None for row in rows)
        self.finished = False

    def pending(self, paths: Sequence[Path]) -> list[Path]:
        """Those of the paths that have no row yet, or changed since they got one."""
        return [path for path in paths if not self._is_done(path)]

    def add(self, item: Embedded) -> None:
        """Keep one image's outcome. What was added before a kill is found again by the next run."""
        stat = item.path.stat() if item.path.exists() else None
        index = None if item.vector is None else self._embedded
        row = _Row(str(item.path), stat.st_size if stat else 0, stat.st_mtime_ns if stat else 0, index, item.reason)
        try:
            if item.vector is not None:
                self._vectors.write(item.vector.astype("<f4", copy=False).tobytes())
                self._vectors.flush()
                self._embedded += 1
            self._lines.write(row.to_line())
            self._lines.flush()
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
        row = self._rows.get(str(path))
        return row is not None and path.exists() and row.is_of(path)

    def _write_vectors(self, archive: zipfile.ZipFile, indices: Sequence[int]) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(indices), self._dim)}
        with archive.open("vectors.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            if indices:
                stored = np.memmap(self._folder / "vectors.f32", dtype="<f4", mode="r").reshape(-1, self._dim)
                for start in range(0, len(indices), ROWS_AT_ONCE):
                    member.write(stored[indices[start : start + ROWS_AT_ONCE]].tobytes())


def _write_member(archive: zipfile.ZipFile, name: str, array: np.ndarray[Any, Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


@contextmanager
def open_journal(target: Path, *, dim: int, identity: str, restart: bool = False) -> Iterator[FeatureJournal]:
    """The journal of the run that will write `target`: the one an interrupted run left, or a new one.

    `identity` is what makes rows comparable (the model's fingerprint, how it was fed). A journal of another identity is
    an `OutputError`, not an overwrite, unless `restart`. A finished journal is removed.
    """
    folder = target.with_name(target.name + ".part")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc
    with locked(folder / "lock", holder="another `sightline embed`"):
        rows = [] if restart else _rows_left(folder, dim, identity)
        (folder / "identity").write_text(identity, encoding="utf-8")
        with _cut_vectors(folder, rows, dim) as vectors, _cut_lines(folder, rows) as lines:
            journal = FeatureJournal(folder, vectors, lines, rows, dim)
            yield journal
    if journal.finished:
        shutil.rmtree(folder)


def _rows_left(folder: Path, dim: int, identity: str) -> list[_Row]:
    described, lines = folder / "identity", folder / "rows.jsonl"
    if not (described.exists() and lines.exists()):
        return []
    if described.read_text(encoding="utf-8") != identity:
        raise OutputError(
            f"{folder} holds the unfinished work of another model; finish it, or pass --restart to drop it"
        )
    stored = (folder / "vectors.f32").stat().st_size // (4 * dim)
    return list(_whole_rows(lines, stored))


def _whole_rows(lines: Path, stored: int) -> Iterator[_Row]:
    """Rows up to the first that is torn or whose vector is: what a kill left unfinished is done again."""
    with lines.open(encoding="utf-8") as file:
        for line in file:
            try:
                row = _Row(**json.loads(line))
            except (ValueError, TypeError):
                return
            if not line.endswith("\n") or (row.index is not None and row.index >= stored):
                return
            yield row


def _cut_vectors(folder: Path, rows: Sequence[_Row], dim: int) -> BinaryIO:
    file = (folder / "vectors.f32").open("ab")
    file.truncate(4 * dim * sum(row.index is not None for row in rows))
    return file


def _cut_lines(folder: Path, rows: Sequence[_Row]) -> TextIO:
    """The lines file, holding `rows` and open for more."""
    path = folder / "rows.jsonl"
    with replacing(path) as temporary:
        temporary.write_text("".join(row.to_line() for row in rows), encoding="utf-8")
    return path.open("a", encoding="utf-8")
