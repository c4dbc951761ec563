"""Who has been seen: a gallery of averaged vectors, whatever stores them.

A `Store` is one class in one file that only keeps rows and finds near ones. Everything a caller relies on is in
`Gallery` once: the refusal of vectors that do not belong, how identities are renamed, merged and split, export and
import. Entries are events and never change; an identity is only a name over entries, so that every merge can be undone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol

from sightline._version import __version__
from sightline.card import Aggregation, ModelCard
from sightline.errors import GalleryError
from sightline.gallery.admission import admitted, admitted_queries, require_name, require_space, shortened
from sightline.types import Embeddings, FloatArray


@dataclass(frozen=True)
class Space:
    """What makes two vectors comparable. A gallery holds vectors of one space and refuses every other."""

    fingerprint: str  # of the model
    dim: int
    aggregation: Aggregation = "averaged"

    def __post_init__(self) -> None:
        require_space(self)

    def __str__(self) -> str:
        return f"{self.aggregation} vectors of {self.dim} numbers by model {self.fingerprint[:16]}"


def space_of(card: ModelCard, *, dim: int | None = None, aggregation: Aggregation = "averaged") -> Space:
    """The space of a model's vectors. `dim` is asked for only where the card leaves it open.

    The one way from a model to a gallery, because the card knows what a fingerprint does not: whether anybody taught
    the network to tell people apart. Raises `GalleryError` for random and for ImageNet weights.
    """
    if card.weights in {"untrained", "imagenet"}:
        raise GalleryError(
            f"this {card.arch} has {card.weights} weights, which do not tell people apart; "
            "galleries take vectors of models trained for re-identification only"
        )
    width = dim if card.output is None or card.output.dim is None else card.output.dim
    if width is None:
        raise GalleryError(f"the card of this {card.arch} does not say how long its vectors are; pass dim")
    return Space(card.fingerprint, width, aggregation)


@dataclass(frozen=True, eq=False)
class Entry:
    """One visit of somebody: where and when, and the average of what was seen."""

    id: str  # unique in the gallery
    identity: str
    vector: FloatArray  # (D,), L2-normalised
    camera: str = ""
    first_s: float = 0.0  # seconds since 1970
    last_s: float = 0.0
    count: int = 1  # crops behind the vector
    quality: float = 0.0  # 0..1, of the best crop
    thumbnail: bytes = b""  # an encoded image, or nothing
    created_by: str = f"sightline {__version__}"


@dataclass(frozen=True)
class Where:
    """Which entries: each condition narrows, and the empty one is everybody."""

    identities: Collection[str] | None = None
    not_identities: Collection[str] = ()
    cameras: Collection[str] | None = None
    not_cameras: Collection[str] = ()
    since_s: float | None = None  # seen at or after: last_s >= since_s
    until_s: float | None = None  # seen at or before: first_s <= until_s
    ids: Collection[str] | None = None


EVERYBODY = Where()


@dataclass(frozen=True)
class Hit:
    """One entry that was found, without its vector and picture."""

    id: str
    identity: str
    score: float  # cosine; higher is closer
    camera: str
    first_s: float
    last_s: float


@dataclass(frozen=True)
class Change:
    """What an operation did, entry by entry: all that `Gallery.undo` needs to take it back."""

    operation: Literal["rename", "merge", "split", "undo", "delete"]
    identity: str  # the entries' identity now; empty after an undo or a deletion
    former: Mapping[str, tuple[str, ...]]  # ids of the entries, by the identity they had before

    @property
    def entries(self) -> int:
        return sum(map(len, self.former.values()))


@dataclass(frozen=True)
class GalleryStats:
    url: str
    space: Space | None  # None: nothing was ever added
    entries: int
    identities: int
    cameras: tuple[str, ...]
    first_s: float | None
    last_s: float | None
    size_bytes: int | None  # None: the store does not tell
    format: int  # of the stored layout


class Store(Protocol):
    """What a backend must be: rows, kept durably. It may trust its arguments; `Gallery` has checked them.

    After `close`, and for a write to a store opened to be read, every method raises `GalleryError`.
    """

    url: str

    def space(self) -> Space | None: ...

    def bind(self, space: Space) -> Space:
        """Make `space` the space of an empty store; answers the one it is bound to, another writer's included."""

    def insert(self, entries: Sequence[Entry]) -> None:
        """All or none, durable when it returns. An id that is there already is an `EntryExistsError`."""

    def search(self, vectors: FloatArray, *, top_k: int, where: Where) -> list[list[Hit]]:
        """For each of (Q, D) unit vectors the nearest entries, best first; equal scores in order of id."""

    def fetch(self, ids: Sequence[str]) -> list[Entry]:
        """Those that exist, in the order asked for."""

    def iterate(self, where: Where) -> Iterator[Entry]:
        """In order of first_s, then id; bounded memory."""

    def assign(self, ids: Collection[str], identity: str) -> int:
        """Give entries to an identity, all or none; answers how many there were."""

    def remove(self, ids: Collection[str]) -> int:
        """Remove entries, all or none; answers how many there were. The space stays."""

    def ids(self, where: Where) -> list[str]:
        """In the order of `iterate`."""

    def stats(self) -> GalleryStats: ...

    def close(self) -> None: ...


class Gallery:
    """A store, and what may be done to it. Opened by `sightline.gallery.open_gallery.open_gallery`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._space = store.space()

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def space(self) -> Space | None:
        """What its vectors are of; None while nothing was ever added."""
        if self._space is None:
            self._space = self._store.space()
        return self._space

    def add(self, entries: Sequence[Entry], *, space: Space) -> None:
        """Keep entries, all or none; they survive a power cut once this returns. `space` is made by `space_of`.

        Raises `GalleryError` when the gallery is of another space or an entry is not fit to be kept, and
        `EntryExistsError` when an id is there already.
        """
        self._require_space(space)
        checked = admitted(entries, space)
        if not checked:
            return
        self._space = self._store.bind(space)
        self._require_space(space)  # another process may have been first
        self._store.insert(checked)

    def search(self, query: Embeddings, *, top_k: int = 5, where: Where = EVERYBODY) -> list[list[Hit]]:
        """For each row of the query its nearest entries, best first; equal scores in order of id."""
        if top_k < 1:
            raise GalleryError(f"asked for the {top_k} nearest entries; expected 1 or more")
        space = self.space
        if space is None:
            return [[] for _ in range(len(query))]
        if query.fingerprint != space.fingerprint:
            raise GalleryError(
                f"the query is by model {shortened(query.fingerprint[:16])}, {self.url} holds {space}; "
                "embed the query with that model"
            )
        return self._store.search(admitted_queries(query.vectors, space), top_k=top_k, where=where)

    def get(self, entry_id: str) -> Entry:
        """Raises `GalleryError` where there is none of that id."""
        found = self._store.fetch([entry_id])
        if not found:
            raise GalleryError(f"no entry {shortened(entry_id)} in {self.url}; `sightline gallery show` lists ids")
        return found[0]

    def fetch(self, ids: Sequence[str]) -> list[Entry]:
        """Those that exist, in the order asked for."""
        return self._store.fetch(ids)

    def iterate(self, where: Where = EVERYBODY) -> Iterator[Entry]:
        """In order of first_s, then id; bounded memory."""
        return self._store.iterate(where)

    def ids(self, where: Where = EVERYBODY) -> list[str]:
        """In the order of `iterate`."""
        return self._store.ids(where)

    def stats(self) -> GalleryStats:
        return self._store.stats()

    def rename(self, identity: str, new: str) -> Change:
        """Call somebody by a new name, which nobody may have yet: two people become one by `merge` only."""
        require_name(new, what="the new name")
        if self.ids(Where(identities=[new])):
            raise GalleryError(f"there is an identity {shortened(new)} already; to make one of the two, merge them")
        return self._move("rename", {identity: self._ids_of(identity)}, into=new)

    def merge(self, identities: Collection[str], *, into: str) -> Change:
        """Make several identities one. `undo` of the answer gives every entry its former identity again."""
        require_name(into, what="the name to merge into")
        former = {name: self._ids_of(name) for name in identities if name != into}
        if not former:
            raise GalleryError(f"nobody to merge into {shortened(into)}; expected the names of others")
        return self._move("merge", former, into=into)

    def split(self, identity: str, ids: Collection[str], *, into: str) -> Change:
        """Give some of an identity's entries to another one, which may be new."""
        require_name(into, what="the name to split into")
        own, asked = set(self._ids_of(identity)), tuple(dict.fromkeys(ids))
        strangers = [name for name in asked if name not in own]
        if strangers:
            raise GalleryError(f"entry {shortened(strangers[0])} is not of {shortened(identity)}; nothing was split")
        return self._move("split", {identity: asked}, into=into)

    def undo(self, change: Change) -> Change:
        """Give entries back the identities they had before. Those that were moved again since, or deleted, stay."""
        if change.operation in {"undo", "delete"}:
            raise GalleryError(f"a change by {change.operation!r} cannot be undone; expected a rename, merge or split")
        undone = {}
        for former, ids in change.former.items():
            require_name(former, what="a former identity")
            still = self.ids(Where(ids=ids, identities=[change.identity]))
            self._store.assign(still, former)
            undone[former] = tuple(still)
        return Change("undo", "", undone)

    def delete(self, ids: Collection[str]) -> Change:
        """Remove entries for good, all or none. Ids that are not there are not in the answer."""
        former: dict[str, list[str]] = {}
        for entry in self.iterate(Where(ids=ids)):
            former.setdefault(entry.identity, []).append(entry.id)
        self._store.remove([name for group in former.values() for name in group])
        return Change("delete", "", {identity: tuple(group) for identity, group in former.items()})

    def _move(
        self, operation: Literal["rename", "merge", "split"], former: Mapping[str, Sequence[str]], *, into: str
    ) -> Change:
        self._store.assign([name for ids in former.values() for name in ids], into)
        return Change(operation, into, {identity: tuple(ids) for identity, ids in former.items()})

    def _ids_of(self, identity: str) -> list[str]:
        ids = self.ids(Where(identities=[identity]))
        if not ids:
            raise GalleryError(f"no identity {shortened(identity)} in {self.url}; `sightline gallery list` shows them")
        return ids

    def _require_space(self, space: Space) -> None:
        if self.space is not None and self.space != space:
            raise GalleryError(f"{self.url} holds {self.space} and refuses {space}; start another gallery for these")

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
