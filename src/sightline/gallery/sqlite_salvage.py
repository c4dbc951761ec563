"""What can still be read of a damaged gallery file, entry by entry."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sightline.errors import GalleryError, GalleryFormatError
from sightline.gallery.admission import admitted
from sightline.gallery.gallery import Entry, Space
from sightline.gallery.sqlite_file import connect
from sightline.gallery.sqlite_rows import entry_of, space_in

log = logging.getLogger(__name__)

MOST_ROWS = 1 << 26  # tried one by one; a damaged counter may name any number

_WITH_THUMBNAIL = """SELECT e.id, e.identity, v.vector, e.camera, e.first_s, e.last_s, e.count, e.quality, t.thumbnail,
    e.created_by FROM entries e JOIN vectors v USING (seq) LEFT JOIN thumbnails t USING (seq) WHERE e.seq = ?"""
_WITHOUT = """SELECT e.id, e.identity, v.vector, e.camera, e.first_s, e.last_s, e.count, e.quality, NULL, e.created_by
    FROM entries e JOIN vectors v USING (seq) WHERE e.seq = ?"""


def salvaged_space(path: Path) -> Space:
    """What the vectors are of. Raises `GalleryFormatError` when not even that can be read."""
    with closing(connect(path, read_only=True)) as connection:
        try:
            space = space_in(connection)
        except sqlite3.Error as exc:
            raise GalleryFormatError(f"{path} is too damaged to be read at all ({exc})") from exc
    if space is None:
        raise GalleryError(f"nothing was ever added to {path}: there is nothing to salvage")
    return space


def salvaged_entries(path: Path, space: Space) -> Iterator[Entry]:
    """Every entry that is whole, in the order they were added. How many rows could not be read is logged."""
    lost = 0
    with closing(connect(path, read_only=True)) as connection:
        for seq in range(1, _last_seq(connection) + 1):
            try:
                entry = _read(connection, seq, space)
            except (sqlite3.Error, GalleryError):
                lost += 1
                continue
            if entry is not None:
                yield entry
    if lost:
        log.warning("%s: entries that could not be read: %d", path, lost)


def _last_seq(connection: sqlite3.Connection) -> int:
    """Each of these is kept in other pages, so one that is damaged leaves the others."""
    found = [0]
    for table in ("entries", "vectors", "sqlite_sequence"):
        try:
            [last] = connection.execute(f"SELECT max(seq) FROM {table}").fetchone()
        except sqlite3.Error:
            continue
        if isinstance(last, int):
            found.append(min(last, MOST_ROWS))
    return max(found)


def _read(connection: sqlite3.Connection, seq: int, space: Space) -> Entry | None:
    """An entry is worth keeping without its picture. None where there is no such row."""
    try:
        row = connection.execute(_WITH_THUMBNAIL, (seq,)).fetchone()
    except sqlite3.Error:
        row = connection.execute(_WITHOUT, (seq,)).fetchone()
    return None if row is None else admitted([entry_of(row)], space)[0]
