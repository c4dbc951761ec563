"""A gallery in one SQLite file: exact search, several processes writing at once, nothing acknowledged ever lost.

The file is the source of truth; the matrix that is searched is a copy of it in memory, brought up to date when another
connection wrote. An index in the file would be one more thing to be wrong.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from sightline.errors import EntryExistsError, GalleryError
from sightline.gallery.admission import shortened
from sightline.gallery.gallery import Entry, GalleryStats, Hit, Space, Where
from sightline.gallery.matrix import Matrix
from sightline.gallery.sqlite_file import FORMAT, connect, reporting, transaction
from sightline.gallery.sqlite_rows import ENTRY, LABELLED, LISTED, condition, entry_of, labelled, space_in
from sightline.types import FloatArray

PAGE = 256  # entries of `iterate` in memory at once
LOADED_AT_ONCE = 2048  # rows of the matrix
MAPPED_BYTES = 1 << 40  # of the file while the matrix is loaded: five times as fast as reading it page by page


def open_store(url: str, *, read_only: bool = False) -> SqliteStore:
    """The gallery file of that path, created where it is missing and not only to be read."""
    path = Path(url)
    return SqliteStore(path, connect(path, read_only=read_only), read_only=read_only)


class SqliteStore:
    """One connection. Threads may share it; processes open their own."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, read_only: bool) -> None:
        self.url = str(path)
        self._path = path
        self._file = _file_id(path)
        self._connection: sqlite3.Connection | None = connection
        self._read_only = read_only
        self._lock = RLock()
        self._matrix: Matrix | None = None
        self._seen = (-1, -1)  # data_version, own writes
        self._own_writes = 0
        self._rewrites = 0

    def space(self) -> Space | None:
        with self._reading() as connection:
            return space_in(connection)

    def bind(self, space: Space) -> Space:
        bound = self.space()
        if bound is not None:
            return bound
        row = 1, space.fingerprint, space.dim, space.aggregation
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO space VALUES (?, ?, ?, ?)", row)
        return self.space() or space

    def insert(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        with self._writing() as connection:
            [last] = connection.execute("SELECT ifnull(max(seq), 0) FROM sqlite_sequence").fetchone()
            numbered = list(enumerate(entries, last + 1))
            try:
                connection.executemany(
                    "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    ((seq, e.id, e.identity, e.camera, e.first_s, e.last_s, e.count, e.quality, e.created_by)
                     for seq, e in numbered),
                )  # fmt: skip
            except sqlite3.IntegrityError as exc:
                raise self._exists_already(connection, entries) from exc
            vectors = ((seq, entry.vector.astype("<f4", copy=False).tobytes()) for seq, entry in numbered)
            connection.executemany("INSERT INTO vectors VALUES (?, ?)", vectors)
            pictures = ((seq, entry.thumbnail) for seq, entry in numbered if entry.thumbnail)
            connection.executemany("INSERT INTO thumbnails VALUES (?, ?)", pictures)

    def _exists_already(self, connection: sqlite3.Connection, entries: Sequence[Entry]) -> EntryExistsError:
        ids = json.dumps([entry.id for entry in entries])
        row = connection.execute(f"SELECT id FROM entries WHERE id {LISTED} ORDER BY id", (ids,)).fetchone()
        name = shortened(row[0]) if row else "of its batch"
        return EntryExistsError(f"{self.url} has an entry {name} already; nothing of this batch was kept")

    def search(self, vectors: FloatArray, *, top_k: int, where: Where) -> list[list[Hit]]:
        with self._reading() as connection:
            matrix = self._up_to_date(connection)
            return [[] for _ in vectors] if matrix is None else matrix.nearest(vectors, top_k=top_k, where=where)

    def fetch(self, ids: Sequence[str]) -> list[Entry]:
        with self._reading() as connection:
            rows = connection.execute(f"{ENTRY} WHERE e.id {LISTED}", (json.dumps(list(ids)),)).fetchall()
            found = {entry.id: entry for entry in map(entry_of, rows)}
        return [found[name] for name in ids if name in found]

    def iterate(self, where: Where) -> Iterator[Entry]:
        """By pages, each read on its own: a long walk keeps no lock, and nobody's writes from being tidied away."""
        sql, values = condition(where)
        question = f"{ENTRY} WHERE {sql} AND (e.first_s, e.id) > (?, ?) ORDER BY e.first_s, e.id LIMIT {PAGE}"
        after: tuple[float, str] = (float("-inf"), "")
        while True:
            with self._reading() as connection:
                page = [entry_of(row) for row in connection.execute(question, (*values, *after))]
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].first_s, page[-1].id

    def assign(self, ids: Collection[str], identity: str) -> int:
        if not ids:
            return 0
        with self._writing() as connection:
            change = connection.execute(
                f"UPDATE entries SET identity = ? WHERE id {LISTED}", (identity, json.dumps(list(ids)))
            )
            connection.execute("UPDATE rewrites SET count = count + 1")
        return change.rowcount

    def remove(self, ids: Collection[str]) -> int:
        if not ids:
            return 0
        listed = (json.dumps(list(ids)),)
        with self._writing() as connection:
            for table in ("vectors", "thumbnails"):
                connection.execute(
                    f"DELETE FROM {table} WHERE seq IN (SELECT seq FROM entries WHERE id {LISTED})", listed
                )
            removed = connection.execute(f"DELETE FROM entries WHERE id {LISTED}", listed).rowcount
            connection.execute("UPDATE rewrites SET count = count + 1")
        return removed

    def ids(self, where: Where) -> list[str]:
        sql, values = condition(where)
        question = f"SELECT e.id FROM entries e WHERE {sql} ORDER BY e.first_s, e.id"
        with self._reading() as connection:
            return [name for (name,) in connection.execute(question, values)]

    def stats(self) -> GalleryStats:
        counted = "SELECT count(*), count(DISTINCT identity), min(first_s), max(last_s) FROM entries"
        with self._reading() as connection:
            entries, identities, first_s, last_s = connection.execute(counted).fetchone()
            cameras = tuple(row[0] for row in connection.execute("SELECT DISTINCT camera FROM entries ORDER BY camera"))
        files = (self._path, self._path.with_name(self._path.name + "-wal"))
        size = sum(file.stat().st_size for file in files if file.exists())
        return GalleryStats(self.url, self.space(), entries, identities, cameras, first_s, last_s, size, FORMAT)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._matrix = None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, reporting(self._path):
            if self._connection is None:
                raise GalleryError(f"{self.url} was closed; expected an open gallery: open it again")
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            if self._read_only:
                raise GalleryError(f"{self.url} was opened to be read-only; open it for writing to change it")
            if _file_id(self._path) != self._file:  # SQLite would go on writing into a file nobody can find
                raise GalleryError(f"{self.url} was deleted or replaced while it was open; open it again")
            with transaction(connection):
                yield connection
            self._own_writes += 1

    def _up_to_date(self, connection: sqlite3.Connection) -> Matrix | None:
        """The matrix as the file is now. `data_version` changes when another connection wrote, and costs nothing."""
        [version] = connection.execute("PRAGMA data_version").fetchone()
        if self._seen != (version, self._own_writes):
            space = self.space()
            if space is None:
                return None
            connection.execute("BEGIN")  # one moment of the file for all that follows
            try:
                self._matrix = self._refreshed(connection, self._matrix or Matrix(space.dim), space.dim)
            finally:
                connection.execute("ROLLBACK")
            self._seen = version, self._own_writes
        return self._matrix

    def _refreshed(self, connection: sqlite3.Connection, matrix: Matrix, dim: int) -> Matrix:
        [rewrites] = connection.execute("SELECT count FROM rewrites").fetchone()
        if rewrites != self._rewrites and len(matrix):
            known = connection.execute("SELECT seq, identity FROM entries WHERE seq <= ?", (matrix.last_seq,))
            matrix.relabel(dict(known))
        self._rewrites = rewrites
        self._append_new(connection, matrix, dim)
        return matrix

    def _append_new(self, connection: sqlite3.Connection, matrix: Matrix, dim: int) -> None:
        since = (matrix.last_seq,)
        [count] = connection.execute("SELECT count(*) FROM entries WHERE seq > ?", since).fetchone()
        if count > LOADED_AT_ONCE:
            matrix.reserve(count)
            connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
        new = connection.execute(f"{LABELLED} WHERE e.seq > ? ORDER BY e.seq", since)
        while rows := new.fetchmany(LOADED_AT_ONCE):
            matrix.append(*labelled(rows, dim))
        connection.execute("PRAGMA mmap_size = 0")  # a disk that fails under a mapping ends the process


def _file_id(path: Path) -> tuple[int, int] | None:
    """Which file the path leads to now; None where it leads nowhere."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
