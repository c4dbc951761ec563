"""A gallery in a vector database: what all of them need, once.

A `Database` is one collection of one database and does single calls. `DatabaseStore` makes a `Store` of it: batches
that are whole, an exact order of what an index found, one page in memory at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain
from typing import Protocol

from sightline.errors import EntryExistsError, GalleryError
from sightline.gallery.batches import BatchWriter, drop_abandoned, insert_whole
from sightline.gallery.gallery import EVERYBODY, Entry, GalleryStats, Hit, Space, Where
from sightline.gallery.places import OwnFolder, Place
from sightline.gallery.rows import (
    FORMAT,
    Facts,
    Rows,
    best,
    entries_of,
    facts_of_space,
    is_nobody,
    nearest,
    pages,
    space_of_facts,
)
from sightline.types import FloatArray

ROWS_AT_ONCE = 1_000  # read with their vectors; also what is compared one by one rather than by the index
RANKED_AGAIN = 50  # of what the index finds, per query


class Database(BatchWriter, Protocol):
    """One collection. `part_rows` is what one call may change, which is then all or none."""

    def plainly(self) -> AbstractContextManager[None]:
        """Within it the library's errors are ours."""

    def facts_of_collection(self) -> Facts | None:
        """What was said when the collection was made; None while there is none."""

    def create(self, facts: Mapping[str, str | int], *, dim: int) -> None:
        """The collection, unless there is one."""

    def matching(self, where: Where, *, ids: Sequence[str] | None = None, limit: int | None = None) -> list[str]:
        """The ids of entries that `where` admits, its own `ids` aside, among `ids` where given. In no order."""

    def read(self, ids: Sequence[str], *, vectors: bool = False, thumbnails: bool = False) -> Rows:
        """Those of `ids` that exist, in no order."""

    def candidates(self, vectors: FloatArray, *, where: Where, depth: int) -> Iterable[Rows]:
        """For each vector the `depth` nearest as the index sees them, with their vectors."""

    def rename(self, identities: Mapping[str, str]) -> None:
        """Give each of these ids its identity."""

    def remove(self, ids: Sequence[str]) -> None: ...

    def close(self) -> None: ...


class DatabaseStore:
    """A change of up to `part_rows` entries is one transaction of the database.

    Longer insertions are whole as `batches` says. A longer `assign` that fails is taken back, but a kill in the middle
    of one leaves a part of it done; the same again completes it.
    """

    def __init__(self, database: Database, place: Place, *, folder: OwnFolder | None, read_only: bool) -> None:
        self.url = place.url
        self._database = database
        self._collection = place.collection
        self._folder = folder
        self._read_only = read_only
        self._space: Space | None = None
        self._closed = False
        if self.space() and not read_only:
            with self._speaking():
                drop_abandoned(database, alone=folder is not None)

    def space(self) -> Space | None:
        with self._speaking():
            if self._space is None and (facts := self._database.facts_of_collection()) is not None:
                self._space = space_of_facts(facts, place=f"{self.url} (collection {self._collection!r})")
        return self._space

    def bind(self, space: Space) -> Space:
        """Read back: an existing collection silently keeps what it was made with."""
        with self._speaking(to_write=True):
            self._database.create(facts_of_space(space), dim=space.dim)
        return self.space() or space

    def insert(self, entries: Sequence[Entry]) -> None:
        with self._speaking(to_write=True):
            if there := self._matching(Where(ids=[entry.id for entry in entries])):
                raise EntryExistsError(f"{self.url} has an entry {min(there)!r} already; nothing was added")
            insert_whole(self._database, entries)

    def search(self, vectors: FloatArray, *, top_k: int, where: Where) -> list[list[Hit]]:
        with self._speaking():
            few = self._few(where)
            if few is None and top_k <= ROWS_AT_ONCE:
                found = self._by_index(vectors, top_k=top_k, where=where)
                if all(len(hits) == top_k for hits in found):
                    return found
            return self._one_by_one(vectors, self._matching(where) if few is None else few, top_k=top_k)

    def fetch(self, ids: Sequence[str]) -> list[Entry]:
        with self._speaking():
            rows = (self._database.read(page, vectors=True, thumbnails=True) for page in self._pages(ids))
            found = {entry.id: entry for page in rows for entry in entries_of(page)}
        return [found[name] for name in ids if name in found]

    def iterate(self, where: Where) -> Iterator[Entry]:
        """Holds ids and times of all the entries, but vectors and thumbnails of one page."""
        return chain.from_iterable(map(self.fetch, pages(self.ids(where), ROWS_AT_ONCE)))

    def assign(self, ids: Collection[str], identity: str) -> int:
        with self._speaking(to_write=True), ExitStack() as undo:
            former = {name: facts["identity"] for name, facts in self._facts(self._matching(Where(ids=ids)))}
            undo.callback(self._rename, former)
            self._rename(dict.fromkeys(former, identity))
            undo.pop_all()
        return len(former)

    def remove(self, ids: Collection[str]) -> int:
        with self._speaking(to_write=True):
            there = self._matching(Where(ids=ids))
            for page in pages(there, self._database.part_rows):
                self._database.remove(page)
        return len(there)

    def ids(self, where: Where) -> list[str]:
        with self._speaking():
            return [name for _, name in sorted((f["first_s"], name) for name, f in self._facts(self._matching(where)))]

    def stats(self) -> GalleryStats:
        space = self.space()
        with self._speaking():
            rows = [facts for _, facts in self._facts(self._matching(EVERYBODY))]
        return GalleryStats(
            url=self.url,
            space=space,
            entries=len(rows),
            identities=len({facts["identity"] for facts in rows}),
            cameras=tuple(sorted({facts["camera"] for facts in rows})),
            first_s=min((facts["first_s"] for facts in rows), default=None),
            last_s=max((facts["last_s"] for facts in rows), default=None),
            size_bytes=self._folder.size_bytes() if self._folder else None,
            format=FORMAT,
        )

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._database.close()
            if self._folder:
                self._folder.close()

    @contextmanager
    def _speaking(self, *, to_write: bool = False) -> Iterator[None]:
        if self._closed:
            raise GalleryError(f"{self.url} is closed")
        if to_write and self._read_only:
            raise GalleryError(f"{self.url} was opened for reading only; open it again to change it")
        if self._folder:
            self._folder.require_unchanged()
        with self._database.plainly():
            yield

    def _pages(self, ids: Iterable[str]) -> Iterator[list[str]]:
        """Each id once; none where nothing was ever added."""
        return pages(dict.fromkeys(ids) if self.space() else (), ROWS_AT_ONCE)

    def _matching(self, where: Where) -> list[str]:
        """All that `where` admits, in no order."""
        if is_nobody(where) or self.space() is None:
            return []
        if where.ids is None:
            return self._database.matching(where)
        return [name for page in self._pages(where.ids) for name in self._database.matching(where, ids=page)]

    def _few(self, where: Where) -> list[str] | None:
        """The entries that `where` admits, if they are few or listed: an index is slow and forgetful then."""
        if where.ids is not None or is_nobody(where) or self.space() is None:
            return self._matching(where)
        if where == EVERYBODY:
            return None
        found = self._database.matching(where, limit=ROWS_AT_ONCE + 1)
        return found if len(found) <= ROWS_AT_ONCE else None

    def _by_index(self, vectors: FloatArray, *, top_k: int, where: Where) -> list[list[Hit]]:
        """The nearest in the index's view, in exact order. May be fewer than there are."""
        depth = max(top_k, RANKED_AGAIN)
        groups = (vectors[at : at + ROWS_AT_ONCE // depth] for at in range(0, len(vectors), ROWS_AT_ONCE // depth))
        return [
            nearest(query, rows, top_k=top_k)
            for group in groups
            for query, rows in zip(group, self._database.candidates(group, where=where, depth=depth), strict=True)
        ]

    def _one_by_one(self, vectors: FloatArray, ids: Sequence[str], *, top_k: int) -> list[list[Hit]]:
        found: list[list[Hit]] = [[] for _ in vectors]
        for page in pages(ids, ROWS_AT_ONCE):
            rows = self._database.read(page, vectors=True)
            pairs = zip(found, vectors, strict=True)
            found = [best([*hits, *nearest(query, rows, top_k=top_k)], top_k=top_k) for hits, query in pairs]
        return found

    def _facts(self, ids: Iterable[str]) -> Iterator[tuple[str, Facts]]:
        for page in pages(ids, ROWS_AT_ONCE):
            rows = self._database.read(page)
            yield from zip(rows.ids, rows.facts, strict=True)

    def _rename(self, identities: Mapping[str, str]) -> None:
        for page in pages(identities, self._database.part_rows):
            self._database.rename({name: identities[name] for name in page})
