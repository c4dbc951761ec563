"""The file behind a gallery: how it is created, opened, locked, and what is said when it cannot be.

Write-ahead logging with `synchronous=FULL`: readers never wait for writers, and a batch is on the disk when its commit
returns. `NORMAL` would be faster by one flush a batch and lose the last batches to a power cut.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sightline.errors import GalleryError, GalleryFormatError, OutputError, SightlineError
from sightline.files import sniff

APPLICATION_ID = 0x534C4741  # "SLGA", in the header of the file
FORMAT = 1
PAGE_BYTES = 8192  # three vectors of 512 numbers a page; SQLite's own 4096 would waste half of each
PATIENCE_S = 30  # for another process to finish its batch

SCHEMA = (
    "CREATE TABLE space(one INTEGER PRIMARY KEY CHECK(one = 1), fingerprint TEXT, dim INTEGER, aggregation TEXT)",
    # Counts what was not an addition, so that a reader knows when looking for new rows is not enough.
    "CREATE TABLE rewrites(one INTEGER PRIMARY KEY CHECK(one = 1), count INTEGER NOT NULL)",
    "INSERT INTO rewrites VALUES (1, 0)",
    # AUTOINCREMENT: a number is never given twice, so whatever is above the last one seen is new.
    """CREATE TABLE entries(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, identity TEXT NOT NULL,
       camera TEXT NOT NULL, first_s REAL NOT NULL, last_s REAL NOT NULL, count INTEGER NOT NULL, quality REAL NOT NULL,
       created_by TEXT NOT NULL)""",
    "CREATE INDEX entries_in_time ON entries(first_s, id)",
    "CREATE TABLE vectors(seq INTEGER PRIMARY KEY, vector BLOB NOT NULL)",  # little-endian float32
    "CREATE TABLE thumbnails(seq INTEGER PRIMARY KEY, thumbnail BLOB NOT NULL)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
)


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """An open gallery file, created where it is missing and may be. Raises `GalleryError` in one line."""
    _require_place(path, read_only=read_only)
    with reporting(path):
        connection = _reader(path) if read_only else _opened(path, "mode=rwc")
        try:
            _prepare(connection, path, read_only=read_only)
        except BaseException:
            connection.close()
            raise
    return connection


def _require_place(path: Path, *, read_only: bool) -> None:
    if path.is_dir():
        raise GalleryError(f"{path} is a folder; expected a gallery file, or chroma:{path} for a Chroma folder")
    if read_only and not path.exists():
        raise GalleryError(f"there is no gallery {path}; `sightline gallery import` makes one")
    if not path.parent.is_dir():
        raise GalleryError(f"there is no folder {path.parent} for the gallery {path.name}; create it first")


def _opened(path: Path, how: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{how}"
    # Threads share the connection; the store lets one in at a time.
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=PATIENCE_S, check_same_thread=False)


def _reader(path: Path) -> sqlite3.Connection:
    """Reading needs a shared-memory file beside the gallery; where none can be made, nobody here can write either."""
    connection = _opened(path, "mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as exc:
        connection.close()
        log = path.with_name(path.name + "-wal")
        cannot_share = "unable to open" in str(exc) or "readonly" in str(exc)
        if not cannot_share or log.exists() or not os.access(path, os.R_OK):
            raise
        return _opened(path, "mode=ro&immutable=1")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    connection.execute("PRAGMA trusted_schema = OFF")  # the file may come from anywhere
    connection.execute("PRAGMA cell_size_check = ON")
    is_new = _is_new(connection, path)  # before anything is changed: the file may be somebody else's
    if read_only:
        if is_new:
            raise GalleryError(f"{path} is empty: nothing was ever added to this gallery")
        return
    _log_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")
    if is_new:
        with transaction(connection):
            if _is_new(connection, path):  # another process may have been first
                for statement in SCHEMA:
                    connection.execute(statement)


def _is_new(connection: sqlite3.Connection, path: Path) -> bool:
    [application], [version], [tables] = (
        connection.execute(question).fetchone()
        for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if (application, version, tables) == (0, 0, 0):
        return True
    if application != APPLICATION_ID:
        raise GalleryFormatError(f"{path} is an SQLite database, but not a gallery; name another file")
    if version > FORMAT:
        raise GalleryFormatError(
            f"{path} is a gallery of format {version}, newer than this sightline reads ({FORMAT}); upgrade sightline"
        )
    return False


def _log_ahead(connection: sqlite3.Connection) -> None:
    """SQLite does not wait for others here by itself, and they may be switching it on at the same moment."""
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    patient_until = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > patient_until:
                raise
            time.sleep(0.01)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block or nothing of it. IMMEDIATE: a writer waits for its turn before it reads, not half-way."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


_ADVICE: tuple[tuple[str, type[SightlineError], str], ...] = (
    ("disk is full", OutputError, "cannot write {path}: the disk is full; free some space and run again"),
    ("disk I/O", OutputError, "cannot read or write {path}: {told}; is the disk full, or gone?"),
    ("locked", OutputError, "{path} was kept locked by another process; try again when it is done"),
    ("readonly", GalleryError, "{path} may only be read: no permission to write it or its folder"),
    ("unable to open", GalleryError, "cannot open {path}: no permission to read it, or to write its folder"),
)


@contextmanager
def reporting(path: Path) -> Iterator[None]:
    """SQLite's errors as ours: which file, what is wrong with it, what to do."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _explained(path, exc) from exc


def _explained(path: Path, exc: sqlite3.Error) -> SightlineError:
    """By their words: the numbers behind them are only in Python from 3.11 on."""
    told = str(exc)
    for words, error, advice in _ADVICE:
        if words in told:
            return error(advice.format(path=path, told=told))
    if "not a database" in told:
        return GalleryFormatError(f"{path} is {_kind(path)}; expected a gallery written by sightline")
    return damaged(path, told)


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    return "a gallery with a damaged beginning" if head.startswith(b"SQLite") else sniff(head) or "not a gallery"


def damaged(path: Path, told: str) -> GalleryFormatError:
    return GalleryFormatError(
        f"{path} is damaged ({told}); `sightline gallery export {path} FILE.jsonl --salvage` "
        "writes what can still be read, and `sightline gallery import` makes a new gallery of it"
    )
