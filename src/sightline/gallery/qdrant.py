"""A gallery in Qdrant: `qdrant+http://host:port` for a server or a cluster, `qdrant:FOLDER` to try it without one.

A folder is searched by brute force, serves one process, and holds pickles: open only folders of your own.

The distance is the dot product, not cosine: for unit vectors both are the same, but cosine normalises what it is given
once more, and so gives back vectors that differ in their last bits.
"""

from __future__ import annotations

import pickle
import re
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from sightline.errors import BackendError, GalleryError, GalleryFormatError, OutputError
from sightline.gallery.database import DatabaseStore
from sightline.gallery.gallery import Entry, Store, Where
from sightline.gallery.places import OwnFolder, Place, place_of
from sightline.gallery.rows import Facts, Rows, as_text, facts_of
from sightline.types import FloatArray

PORT = 6333
FILE = "meta.json"
OLDEST = (1, 17)  # the first server that can be told to insert and never to replace
PART_ROWS = 1_000
PAGE = 10_000  # ids and a few facts, never vectors
INDEX = models.HnswConfigDiff(m=32, ef_construct=400)
SEARCHED = models.SearchParams(hnsw_ef=400)
TIMEOUT_S = 60
INDEXED = {
    "identity": models.PayloadSchemaType.KEYWORD,
    "camera": models.PayloadSchemaType.KEYWORD,
    "batch": models.PayloadSchemaType.KEYWORD,
    "first_s": models.PayloadSchemaType.FLOAT,
    "last_s": models.PayloadSchemaType.FLOAT,
}
WITHOUT_THUMBNAIL = models.PayloadSelectorExclude(exclude=["thumbnail"])


def open_store(url: str, *, read_only: bool = False) -> Store:
    place = place_of(url, scheme="qdrant", port=PORT)
    with ExitStack() as opened:
        folder = _own_folder(place.folder, read_only=read_only) if place.folder else None
        if folder:
            opened.callback(folder.close)
        database = Qdrant(_client(place), place)
        opened.callback(database.close)
        store = DatabaseStore(database, place, folder=folder, read_only=read_only)
        opened.pop_all()
    return store


def _own_folder(path: Path, *, read_only: bool) -> OwnFolder:
    serve = f"for more, run a Qdrant server and open qdrant+http://localhost:{PORT} in each"
    return OwnFolder(path, database=FILE, read_only=read_only, instead=serve)


def _client(place: Place) -> QdrantClient:
    return _in_folder(place.folder) if place.folder else _at_server(place)


def _in_folder(folder: Path) -> QdrantClient:
    try:
        return QdrantClient(path=str(folder))
    except RuntimeError as exc:
        raise GalleryError(f"{folder} is open in another program; close it there, or run a Qdrant server") from exc
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, pickle.UnpicklingError, sqlite3.Error) as exc:
        raise GalleryFormatError(
            f"{folder} is damaged ({_line(exc)}); rebuild it from its source with reindex"
        ) from exc


def _at_server(place: Place) -> QdrantClient:
    client = QdrantClient(url=place.address, timeout=TIMEOUT_S, check_compatibility=False)
    with ExitStack() as opened, told_plainly(place):
        opened.callback(client.close)
        _require_new(client.info().version, place)
        opened.pop_all()
    return client


def _require_new(version: str, place: Place) -> None:
    found = re.match(r"(\d+)\.(\d+)", version)
    if not found:
        raise BackendError(f"{place.url}: what answers there is no Qdrant server; check the port")
    if (int(found[1]), int(found[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise BackendError(f"{place.url}: the server is Qdrant {version}; expected {oldest} or newer, so update it")


@contextmanager
def told_plainly(place: Place) -> Iterator[None]:
    try:
        yield
    except UnexpectedResponse as exc:
        raise BackendError(f"{place.url}: the Qdrant server refuses: {_line(exc)}; see its log") from exc
    except ResponseHandlingException as exc:
        advice = f"start it with `docker run -p {place.port}:{PORT} qdrant/qdrant`"
        raise BackendError(f"{place.url}: no Qdrant server answers ({_line(exc)}); {advice}") from exc
    except sqlite3.Error as exc:
        raise OutputError(f"cannot write {place.url}: {_line(exc)}; check the disk and run again") from exc


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__


def point_id(name: str) -> str:
    """Qdrant names points by number or UUID only; the entry's own id is kept among its facts."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


class Qdrant:
    """One collection, and beside it a small one of unfinished batches."""

    def __init__(self, client: QdrantClient, place: Place) -> None:
        self.part_rows = 1 if place.folder else PART_ROWS  # a folder is written point by point
        self._client = client
        self._place = place
        self._name = place.collection
        self._unfinished = f"{place.collection}-unfinished"

    def plainly(self) -> AbstractContextManager[None]:
        return told_plainly(self._place)

    def facts_of_collection(self) -> Facts | None:
        if not self._client.collection_exists(self._name):
            return None
        return self._client.get_collection(self._name).config.metadata or {}

    def create(self, facts: Mapping[str, str | int], *, dim: int) -> None:
        """The one of batches first: whoever sees the gallery may count on it."""
        self._make(self._unfinished, {}, {})
        vectors = models.VectorParams(size=dim, distance=models.Distance.DOT)
        if self._make(self._name, vectors, facts) and not self._place.folder:
            for field, kind in INDEXED.items():
                self._client.create_payload_index(self._name, field, field_schema=kind, wait=True)

    def matching(self, where: Where, *, ids: Sequence[str] | None = None, limit: int | None = None) -> list[str]:
        found: list[str] = []
        after: models.ExtendedPointId | None = None
        while limit is None or len(found) < limit:
            points, after = self._client.scroll(
                self._name,
                scroll_filter=_condition(where, ids=ids),
                limit=min(PAGE, limit or PAGE),
                offset=after,
                with_payload=["id"],
            )
            found += [(point.payload or {})["id"] for point in points]
            if after is None:
                break
        return found[:limit]

    def read(self, ids: Sequence[str], *, vectors: bool = False, thumbnails: bool = False) -> Rows:
        wanted = True if thumbnails else WITHOUT_THUMBNAIL
        names = list(map(point_id, ids))
        return _rows(self._client.retrieve(self._name, names, with_payload=wanted, with_vectors=vectors))

    def candidates(self, vectors: FloatArray, *, where: Where, depth: int) -> Iterable[Rows]:
        condition = _condition(where)
        asked = [
            models.QueryRequest(
                query=vector.tolist(),
                filter=condition,
                params=None if self._place.folder else SEARCHED,
                limit=depth,
                with_vector=True,
                with_payload=WITHOUT_THUMBNAIL,
            )
            for vector in vectors
        ]
        return [_rows(answer.points) for answer in self._client.query_batch_points(self._name, asked)]

    def rename(self, identities: Mapping[str, str]) -> None:
        for identity in set(identities.values()):
            points = _points(name for name, given in identities.items() if given == identity)
            self._client.set_payload(self._name, {"identity": identity}, points=points, wait=True)

    def remove(self, ids: Sequence[str]) -> None:
        self._client.delete(self._name, _points(ids), wait=True)

    def close(self) -> None:
        self._client.close()

    def add(self, part: Sequence[Entry], batch: str) -> None:
        points = [
            models.PointStruct(
                id=point_id(entry.id),
                vector=entry.vector.tolist(),
                payload={"id": entry.id, "thumbnail": as_text(entry.thumbnail), **facts_of(entry, batch=batch)},
            )
            for entry in part
        ]
        self._client.upsert(self._name, points, wait=True, update_mode=models.UpdateMode.INSERT_ONLY)

    def count(self, batch: str) -> int:
        return self._client.count(self._name, _of_batch(batch), exact=True).count

    def drop(self, batch: str) -> None:
        self._client.delete(self._name, models.FilterSelector(filter=_of_batch(batch)), wait=True)
        self._client.delete(self._unfinished, _points([batch]), wait=True)

    def announce(self, batch: str, *, since_s: float) -> None:
        point = models.PointStruct(id=point_id(batch), vector={}, payload={"batch": batch, "since_s": since_s})
        self._client.upsert(self._unfinished, [point], wait=True)

    def withdraw(self, batch: str) -> None:
        if batch not in self.announced():
            raise GalleryError(f"{self._place.url}: the batch took over an hour and was removed; add it in parts")
        self._client.delete(self._unfinished, _points([batch]), wait=True)

    def announced(self) -> Mapping[str, float]:
        points, _ = self._client.scroll(self._unfinished, limit=PAGE)
        facts = [point.payload or {} for point in points]
        return {known["batch"]: known["since_s"] for known in facts}

    def _make(self, name: str, vectors: models.VectorParams | dict[str, models.VectorParams], facts: Facts) -> bool:
        """Whether it was not there. Of two processes that try at once one is refused, and finds it there."""
        if self._client.collection_exists(name):
            return False
        try:
            self._client.create_collection(name, vectors_config=vectors, hnsw_config=INDEX, metadata=dict(facts))
        except UnexpectedResponse:
            if not self._client.collection_exists(name):
                raise
            return False
        return True


def _points(names: Iterable[str]) -> models.PointIdsList:
    return models.PointIdsList(points=[point_id(name) for name in names])


def _rows(points: Sequence[models.Record | models.ScoredPoint]) -> Rows:
    facts = [point.payload or {} for point in points]
    vectors = np.asarray([point.vector or () for point in points], np.float32)
    return Rows([fact["id"] for fact in facts], facts, vectors, [fact.get("thumbnail", "") for fact in facts])


def _of_batch(batch: str) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="batch", match=models.MatchValue(value=batch))])


def _any_of(key: str, names: Iterable[str]) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchAny(any=list(names)))


def _condition(where: Where, *, ids: Sequence[str] | None = None) -> models.Filter:
    chosen = {"identity": where.identities, "camera": where.cameras}
    barred = {"identity": where.not_identities, "camera": where.not_cameras}
    since = models.FieldCondition(key="last_s", range=models.Range(gte=where.since_s))
    until = models.FieldCondition(key="first_s", range=models.Range(lte=where.until_s))
    return models.Filter(
        must=[
            *(_any_of(key, names) for key, names in chosen.items() if names),
            *([since] if where.since_s is not None else []),
            *([until] if where.until_s is not None else []),
            *([models.HasIdCondition(has_id=list(map(point_id, ids)))] if ids is not None else []),
        ],
        must_not=[_any_of(key, names) for key, names in barred.items() if names],
    )
