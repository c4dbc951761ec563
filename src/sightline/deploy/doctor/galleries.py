"""What a gallery says about itself, read without opening it as one: nothing is locked, created or upgraded.

The databases come from anywhere, so no question to them may take long: a view can be made to run for ever.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sightline.errors import GalleryFormatError
from sightline.gallery.sqlite_file import APPLICATION_ID

CHROMA_FILE = "chroma.sqlite3"
LOCK = "sightline.lock"
_MOST_STEPS = 200  # of 10,000 instructions of SQLite's
_MOST_COLLECTIONS = 100


@dataclass(frozen=True)
class GalleryFacts:
    """One collection. `None` and "" are what it does not say."""

    path: Path
    kind: Literal["sightline", "chroma"]
    name: str
    dim: int | None = None
    fingerprint: str = ""
    aggregation: str = ""
    space: str = ""  # of a Chroma collection: l2, cosine or ip
    ef_search: int | None = None
    locked: bool = True  # whether a lock of ours keeps other writers out

    @property
    def is_ours(self) -> bool:
        return bool(self.fingerprint)


def read_galleries(path: Path) -> list[GalleryFacts]:
    """The collections at a path: an SQLite gallery, or a Chroma folder. Raises `GalleryFormatError` for neither."""
    database = path / CHROMA_FILE if path.is_dir() else path
    try:
        with closing(_connected(database)) as connection:
            if path.is_dir():
                return _of_chroma(connection, path)
            return [_of_sqlite(connection, path)]
    except (sqlite3.Error, OSError, ValueError) as exc:
        raise GalleryFormatError(f"{database} cannot be read as a gallery: {exc}") from exc


def _connected(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
    steps = iter(range(_MOST_STEPS))
    connection.set_progress_handler(lambda: next(steps, None) is None, 10_000)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _of_sqlite(connection: sqlite3.Connection, path: Path) -> GalleryFacts:
    [application] = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise ValueError("it is another application's SQLite database")
    row = connection.execute("SELECT fingerprint, dim, aggregation FROM space").fetchone()
    fingerprint, dim, aggregation = row or ("", None, "")
    width = dim if isinstance(dim, int) else None
    return GalleryFacts(path, "sightline", path.name, width, str(fingerprint), str(aggregation))


def _of_chroma(connection: sqlite3.Connection, folder: Path) -> list[GalleryFacts]:
    columns = {str(row[1]) for row in connection.execute("PRAGMA table_info(collections)")}
    wanted = ["id", "name", "dimension", *(name for name in ("config_json_str", "schema_str") if name in columns)]
    rows = connection.execute(f"SELECT {', '.join(wanted)} FROM collections LIMIT {_MOST_COLLECTIONS}").fetchall()
    return [_collection(connection, folder, dict(zip(wanted, row, strict=True))) for row in rows]


def _collection(connection: sqlite3.Connection, folder: Path, row: dict[str, Any]) -> GalleryFacts:
    facts = _metadata(connection, row["id"])
    index = _index(row.get("schema_str"), row.get("config_json_str"))
    space = index.get("space") or facts.get("hnsw:space") or "l2"
    ef_search = index.get("ef_search") or facts.get("hnsw:search_ef")
    dim = row["dimension"] or facts.get("dim")
    return GalleryFacts(
        folder,
        "chroma",
        str(row["name"]),
        dim if isinstance(dim, int) else None,
        str(facts.get("fingerprint") or ""),
        str(facts.get("aggregation") or ""),
        str(space),
        ef_search if isinstance(ef_search, int) else None,
        (folder / LOCK).exists(),
    )


def _metadata(connection: sqlite3.Connection, collection: object) -> dict[str, Any]:
    question = "SELECT key, str_value, int_value FROM collection_metadata WHERE collection_id = ?"
    rows = connection.execute(question, (collection,)).fetchmany(_MOST_COLLECTIONS)
    return {str(key): text if text is not None else number for key, text, number in rows}


def _index(schema: object, configuration: object) -> dict[str, Any]:
    """How a collection is indexed: Chroma keeps that in one column or the other, by its version."""
    outer = _within(_parsed(schema), "keys", "#embedding", "float_list", "vector_index", "config")
    if outer:
        return {**_within(outer, "hnsw"), "space": outer.get("space")}
    known = _parsed(configuration)
    return _within(known, "hnsw") or _within(known, "hnsw_configuration")


def _parsed(text: object) -> dict[str, Any]:
    try:
        value = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _within(value: dict[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        found = value.get(key)
        if not isinstance(found, dict):
            return {}
        value = found
    return value
