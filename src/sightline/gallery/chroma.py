"""A gallery in Chroma: `chroma:FOLDER` for one process, `chroma+http://host:port` for many through `chroma run`.

What Chroma does without a word is made right or made an error: a second process on one folder (neighbours are lost),
an existing id that is added again (ignored), a collection of the same name (used as it is).

The space is "ip", not "cosine": for unit vectors both are the same, but "cosine" normalises what it is given once more,
and so gives back vectors that differ in their last bits. Fractions are kept as integers for a like reason: Chroma reads
them back one step off.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import chromadb
import httpx
import numpy as np
from chromadb.config import Settings
from chromadb.errors import ChromaError, NotFoundError

from sightline.errors import BackendError, GalleryError, GalleryFormatError, OutputError
from sightline.gallery.database import DatabaseStore
from sightline.gallery.gallery import Entry, Store, Where
from sightline.gallery.places import OwnFolder, Place, place_of
from sightline.gallery.rows import Facts, Rows, as_text, facts_of
from sightline.types import FloatArray

PORT = 8000
FILE = "chroma.sqlite3"
INDEX = {"space": "ip", "ef_construction": 400, "ef_search": 400, "max_neighbors": 32}
MOST_NAMES = 10_000  # in a filter: SQLite takes some 32,000 variables, and Chroma needs some of them
CONNECT_S = 10.0
FRACTIONS = ("first_s", "last_s", "quality")
THUMBNAIL = "data:application/octet-stream;base64,"  # kept as the row's URI, which is read only when asked for


def open_store(url: str, *, read_only: bool = False) -> Store:
    place = place_of(url, scheme="chroma", port=PORT)
    with ExitStack() as opened:
        folder = _own_folder(place.folder, read_only=read_only) if place.folder else None
        if folder:
            opened.callback(folder.close)
        with told_plainly(place):
            database = Chroma(_client(place), place)
        opened.callback(database.close)
        store = DatabaseStore(database, place, folder=folder, read_only=read_only)
        opened.pop_all()
    return store


def _own_folder(path: Path, *, read_only: bool) -> OwnFolder:
    serve = f"for more, run `chroma run --path {path} --port {PORT}` and open chroma+http://localhost:{PORT} in each"
    return OwnFolder(path, database=FILE, read_only=read_only, instead=serve)


def _client(place: Place) -> Any:
    """A `chromadb.api.client.Client`, whose declared type lacks `close`."""
    settings = Settings(anonymized_telemetry=False)
    if place.folder:
        return chromadb.PersistentClient(_spelled_anew(place.folder), settings=settings)
    _require_chroma(place)
    return chromadb.HttpClient(place.host, place.port, ssl=place.tls, settings=settings)


def _spelled_anew(folder: Path) -> str:
    """Chroma keeps one client per spelling of a path, and gives a broken one, or one of a deleted folder, out again."""
    return str(folder) + "".join(secrets.choice(("/", "/.")) for _ in range(40))


def _require_chroma(place: Place) -> None:
    """Asked before Chroma's own client, which waits without end for a server that accepts and does not answer."""
    answer = httpx.get(f"{place.address}/api/v2/heartbeat", timeout=CONNECT_S)
    if answer.status_code != httpx.codes.OK or "nanosecond heartbeat" not in answer.text:
        raise BackendError(f"{place.url}: what answers there is no Chroma server of version 1 or newer; check the port")


@contextmanager
def told_plainly(place: Place) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as exc:
        advice = f"start it with `chroma run --path FOLDER --port {place.port}`"
        raise BackendError(f"{place.url}: the Chroma server does not answer ({_line(exc)}); {advice}") from exc
    except NotFoundError as exc:
        removed = "another process removed the gallery, or took a batch of over an hour for abandoned"
        raise GalleryError(f"{place.url}: {removed}; open it again") from exc
    except ChromaError as exc:
        raise _refusal(place, _line(exc)) from exc
    except Exception as exc:
        if type(exc) is not Exception:  # what chromadb raises for an answer that is not in its server's form
            raise
        raise BackendError(f"{place.url}: the Chroma server failed ({_line(exc)}); see its log") from exc


def _refusal(place: Place, reason: str) -> GalleryError | OutputError:
    if "disk is full" in reason or "disk I/O error" in reason:
        return OutputError(f"cannot write {place.url}: {reason}; free some space and run again")
    if "not a database" in reason or "malformed" in reason:
        return GalleryFormatError(f"{place.url} is damaged ({reason}); rebuild it from its source with reindex")
    return GalleryError(f"{place.url}: Chroma refuses: {reason}")


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__


def ordered_int(number: float) -> int:
    """The bits of a number as an integer that is larger where the number is; `from_ordered_int` undoes it exactly."""
    (bits,) = struct.unpack("<q", struct.pack("<d", abs(number)))
    return int(bits if number >= 0 else -bits)


def from_ordered_int(order: int) -> float:
    (number,) = struct.unpack("<d", struct.pack("<q", abs(order)))
    return float(number if order >= 0 else -number)


def _kept(facts: Facts) -> dict[str, Any]:
    return {key: ordered_int(value) if key in FRACTIONS else value for key, value in facts.items()}


def _given(facts: Facts) -> Facts:
    return {key: from_ordered_int(value) if key in FRACTIONS else value for key, value in facts.items()}


class Chroma:
    """One collection."""

    def __init__(self, client: Any, place: Place) -> None:
        self.part_rows: int = client.get_max_batch_size()
        self._client = client
        self._place = place
        self._known: Any = None  # the collection, once there is one

    def plainly(self) -> AbstractContextManager[None]:
        return told_plainly(self._place)

    def facts_of_collection(self) -> Facts | None:
        try:
            self._known = self._client.get_collection(self._place.collection, embedding_function=None)
        except NotFoundError:
            return None
        return dict(self._known.metadata or {})

    def create(self, facts: Mapping[str, str | int], *, dim: int) -> None:
        """Chroma learns `dim` from the first vector."""
        self._client.get_or_create_collection(
            self._place.collection, metadata=dict(facts), configuration={"hnsw": INDEX}, embedding_function=None
        )

    def matching(self, where: Where, *, ids: Sequence[str] | None = None, limit: int | None = None) -> list[str]:
        found = self._known.get(ids=ids, where=self._condition(where), include=[], limit=limit)
        return list(found["ids"])

    def read(self, ids: Sequence[str], *, vectors: bool = False, thumbnails: bool = False) -> Rows:
        columns = ["metadatas", *(["embeddings"] if vectors else []), *(["uris"] if thumbnails else [])]
        found = self._known.get(ids=list(ids), include=columns)
        pictures = [uri.removeprefix(THUMBNAIL) for uri in found["uris"] or ()]
        facts = [_given(kept) for kept in found["metadatas"]]
        return Rows(found["ids"], facts, np.asarray(found["embeddings"] if vectors else ()), pictures)

    def candidates(self, vectors: FloatArray, *, where: Where, depth: int) -> Iterable[Rows]:
        found = self._known.query(
            query_embeddings=vectors,
            n_results=depth,
            where=self._condition(where),
            include=["embeddings", "metadatas"],
        )
        columns = zip(found["ids"], found["metadatas"], found["embeddings"], strict=True)
        return [Rows(ids, list(map(_given, kept)), np.asarray(near)) for ids, kept, near in columns]

    def rename(self, identities: Mapping[str, str]) -> None:
        self._known.update(ids=list(identities), metadatas=[{"identity": name} for name in identities.values()])

    def remove(self, ids: Sequence[str]) -> None:
        self._known.delete(ids=list(ids))

    def close(self) -> None:
        self._client.close()

    def add(self, part: Sequence[Entry], batch: str) -> None:
        self._known.add(
            ids=[entry.id for entry in part],
            embeddings=np.stack([entry.vector for entry in part]),
            metadatas=[_kept(facts_of(entry, batch=batch)) for entry in part],
            uris=[THUMBNAIL + as_text(entry.thumbnail) for entry in part],
        )

    def count(self, batch: str) -> int:
        return len(self._of_batch(batch))

    def drop(self, batch: str) -> None:
        there = self._of_batch(batch)
        for at in range(0, len(there), self.part_rows):
            self.remove(there[at : at + self.part_rows])
        if batch in self.announced():
            self.withdraw(batch)

    def announce(self, batch: str, *, since_s: float) -> None:
        """As an empty collection: the one thing besides rows that Chroma makes and removes by name."""
        self._client.create_collection(self._announcements + batch, metadata={"since_s": since_s})

    def withdraw(self, batch: str) -> None:
        self._client.delete_collection(self._announcements + batch)

    def announced(self) -> Mapping[str, float]:
        start = self._announcements
        found = [known for known in self._client.list_collections() if known.name.startswith(start)]
        return {known.name.removeprefix(start): known.metadata["since_s"] for known in found}

    @property
    def _announcements(self) -> str:
        return f"{self._place.collection}.unfinished."

    def _of_batch(self, batch: str) -> list[str]:
        return list(self._known.get(where={"batch": batch}, include=[])["ids"])

    def _condition(self, where: Where) -> dict[str, Any] | None:
        named = [
            ("identity", "$in", where.identities),
            ("identity", "$nin", where.not_identities),
            ("camera", "$in", where.cameras),
            ("camera", "$nin", where.not_cameras),
        ]
        if (names := sum(len(values or ()) for _, _, values in named)) > MOST_NAMES:
            raise GalleryError(
                f"{self._place.url}: a filter of {names:,} names; Chroma takes {MOST_NAMES:,}, ask in parts"
            )
        timed = [("last_s", "$gte", where.since_s), ("first_s", "$lte", where.until_s)]
        parts: list[dict[str, Any]] = [{key: {sign: list(values)}} for key, sign, values in named if values]
        parts += [{key: {sign: ordered_int(moment)}} for key, sign, moment in timed if moment is not None]
        return {"$and": parts} if len(parts) > 1 else parts[0] if parts else None
