"""An entry as a vector database keeps it: a vector and flat facts; and the exact order of those it found."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar, get_args

import numpy as np

from sightline.card import Aggregation
from sightline.errors import GalleryFormatError
from sightline.gallery.gallery import Entry, Hit, Space, Where
from sightline.types import Array, FloatArray

FORMAT = 1
Facts = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Rows:
    """What was read, column by column. Vectors and thumbnails are empty where nobody asked for them."""

    ids: Sequence[str]
    facts: Sequence[Facts]
    vectors: Array = field(default_factory=lambda: np.empty((0, 0), np.float32))  # (N, D)
    thumbnails: Sequence[str] = ()  # base64


def facts_of_space(space: Space) -> dict[str, str | int]:
    return {
        "sightline_format": FORMAT,
        "fingerprint": space.fingerprint,
        "dim": space.dim,
        "aggregation": space.aggregation,
    }


def space_of_facts(facts: Facts | None, *, place: str) -> Space:
    """Refuses a collection that somebody else made, and one that a newer sightline did. `place`: for the message."""
    known = facts or {}
    stored = known.get("sightline_format")
    if isinstance(stored, int) and stored > FORMAT:
        raise GalleryFormatError(f"{place} has format {stored}, this sightline reads up to {FORMAT}; upgrade sightline")
    fingerprint, dim, aggregation = (known.get(name) for name in ("fingerprint", "dim", "aggregation"))
    sound = isinstance(fingerprint, str) and isinstance(dim, int) and aggregation in get_args(Aggregation)
    if stored != FORMAT or not sound:
        raise GalleryFormatError(f"{place} was not made by sightline; name another collection or folder")
    return Space(str(fingerprint), int(dim or 0), aggregation or "averaged")


def facts_of(entry: Entry, *, batch: str) -> dict[str, str | int | float]:
    """All but the vector and the thumbnail. Databases tell 1 from 1.0 in comparisons, so types are made sure of."""
    return {
        "identity": entry.identity,
        "camera": entry.camera,
        "first_s": float(entry.first_s),
        "last_s": float(entry.last_s),
        "count": int(entry.count),
        "quality": float(entry.quality),
        "created_by": entry.created_by,
        "batch": batch,
    }


def entries_of(rows: Rows) -> Iterator[Entry]:
    columns = zip(rows.ids, rows.vectors, rows.facts, rows.thumbnails, strict=True)
    return (_entry(name, vector, facts, thumbnail) for name, vector, facts, thumbnail in columns)


def _entry(name: str, vector: Array, facts: Facts, thumbnail: str) -> Entry:
    try:
        return Entry(
            id=name,
            identity=facts["identity"],
            vector=np.asarray(vector, np.float32),
            camera=facts["camera"],
            first_s=facts["first_s"],
            last_s=facts["last_s"],
            count=facts["count"],
            quality=facts["quality"],
            thumbnail=base64.b64decode(thumbnail, validate=True),
            created_by=facts["created_by"],
        )
    except (KeyError, TypeError, binascii.Error) as exc:
        raise GalleryFormatError(f"entry {name!r} is damaged ({exc}); rebuild the gallery from its source") from exc


def as_text(thumbnail: bytes) -> str:
    return base64.b64encode(thumbnail).decode("ascii")


def nearest(query: FloatArray, rows: Rows, *, top_k: int) -> list[Hit]:
    """The best of the candidates by exact cosine, equal ones in order of id.

    Summed row by row: a matrix product rounds the same vector differently in different rows, and so tears ties apart.
    """
    if not rows.ids:
        return []
    scores = np.multiply(rows.vectors, query, dtype=np.float64).sum(axis=1)
    floor = -np.inf if len(scores) <= top_k else np.partition(scores, -top_k)[-top_k]
    kept = (int(row) for row in np.flatnonzero(scores >= floor))
    return best((_hit(rows.ids[row], rows.facts[row], score=float(scores[row])) for row in kept), top_k=top_k)


def _hit(name: str, facts: Facts, *, score: float) -> Hit:
    try:
        return Hit(name, facts["identity"], score, facts["camera"], facts["first_s"], facts["last_s"])
    except KeyError as exc:
        raise GalleryFormatError(f"entry {name!r} is damaged ({exc} is missing); rebuild the gallery") from exc


def best(hits: Iterable[Hit], *, top_k: int) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:top_k]


def is_nobody(where: Where) -> bool:
    """Whether a condition lists nothing to choose from, which databases take for no condition, or refuse."""
    return any(chosen is not None and not chosen for chosen in (where.identities, where.cameras, where.ids))


def pages(things: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(things)
    while page := list(islice(rest, size)):
        yield page
