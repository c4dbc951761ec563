"""Rows of a gallery file as values, and filters as SQL.

A file may be damaged, or made by somebody who means harm: SQLite itself never promises what type a column has, so every
row is held to it here before it becomes an `Entry`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from sightline.errors import GalleryError
from sightline.gallery.admission import UNIT_TOLERANCE
from sightline.gallery.gallery import Entry, Space, Where
from sightline.gallery.matrix import Label
from sightline.types import FloatArray

LISTED = "IN (SELECT value FROM json_each(?))"  # any number of names as one parameter
ENTRY = """SELECT e.id, e.identity, v.vector, e.camera, e.first_s, e.last_s, e.count, e.quality, t.thumbnail,
    e.created_by FROM entries e LEFT JOIN vectors v USING (seq) LEFT JOIN thumbnails t USING (seq)"""
LABELLED = """SELECT e.seq, e.id, e.identity, e.camera, e.first_s, e.last_s, v.vector
    FROM entries e LEFT JOIN vectors v USING (seq)"""

_ENTRY_TYPES = (str, str, bytes, str, float, float, int, float, bytes | None, str)
_LABELLED_TYPES = (int, str, str, str, float, float, bytes)


class DamagedRowError(sqlite3.DatabaseError):
    """A row that SQLite could read, but that nobody wrote."""


def space_in(connection: sqlite3.Connection) -> Space | None:
    row = connection.execute("SELECT fingerprint, dim, aggregation FROM space").fetchone()
    if row is None:
        return None
    try:
        return Space(*row)
    except (GalleryError, TypeError) as exc:
        raise DamagedRowError("it does not say which model its vectors are of") from exc


def entry_of(row: Sequence[Any]) -> Entry:
    """One row of `ENTRY`."""
    fits = all(isinstance(value, kind) for value, kind in zip(row, _ENTRY_TYPES, strict=True))
    if not fits or len(row[2]) % 4:
        raise DamagedRowError(f"an entry lacks its {'vector' if row[2] is None else 'content'}")
    name, identity, vector, camera, first_s, last_s, count, quality, thumbnail, created_by = row
    array = np.frombuffer(vector, "<f4").astype(np.float32, copy=False)
    if not abs(float(array @ array) - 1) <= 3 * UNIT_TOLERANCE:
        raise DamagedRowError("a vector is not of length 1")
    return Entry(name, identity, array, camera, first_s, last_s, count, quality, thumbnail or b"", created_by)


def labelled(rows: Sequence[Sequence[Any]], dim: int) -> tuple[list[Label], FloatArray]:
    """Rows of `LABELLED` as the matrix takes them: labels, and vectors (N, D).

    Bits that flipped on the disk seldom leave a vector its length, so that is looked at.
    """
    columns = list(zip(*rows, strict=True))
    if any({*map(type, column)} != {kind} for column, kind in zip(columns, _LABELLED_TYPES, strict=True)):
        raise DamagedRowError("an entry lacks its vector or another part")
    if {*map(len, columns[-1])} != {4 * dim}:
        raise DamagedRowError("a vector is cut short")
    vectors = np.frombuffer(b"".join(columns[-1]), "<f4").reshape(-1, dim).astype(np.float32, copy=False)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    if not (np.abs(lengths - 1) <= UNIT_TOLERANCE).all():
        raise DamagedRowError("a vector is not of length 1")
    return [Label(*row[:6]) for row in rows], vectors


def condition(where: Where) -> tuple[str, list[str | float]]:
    """`where` as SQL over `entries e`, and its values."""
    names: tuple[tuple[str, Collection[str] | None, Collection[str]], ...] = (
        ("e.identity", where.identities, where.not_identities),
        ("e.camera", where.cameras, where.not_cameras),
        ("e.id", where.ids, ()),
    )
    asked: list[tuple[str, str | float]] = []
    for column, wanted, unwanted in names:
        if wanted is not None:
            asked.append((f"{column} {LISTED}", json.dumps(list(wanted))))
        if unwanted:
            asked.append((f"NOT {column} {LISTED}", json.dumps(list(unwanted))))
    if where.since_s is not None:
        asked.append(("e.last_s >= ?", where.since_s))
    if where.until_s is not None:
        asked.append(("e.first_s <= ?", where.until_s))
    return " AND ".join(["1", *(sql for sql, _ in asked)]), [value for _, value in asked]
