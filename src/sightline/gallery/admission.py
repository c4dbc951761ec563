"""What may enter a gallery: unit vectors of its own space, and names a person can read and type.

A zero or NaN vector is close to nobody or to everybody, a name of ten kilobytes is no name; once stored, either spoils
every answer after it. So all of a batch is looked at before any of it is kept.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from sightline.card import Aggregation
from sightline.errors import EntryExistsError, GalleryError
from sightline.types import FloatArray

if TYPE_CHECKING:
    from sightline.gallery.gallery import Entry, Space

WIDEST = 1 << 16  # numbers in a vector; no network comes near
LONGEST_NAME = 200  # characters of an identity, a camera, an id
MOST_CROPS = 1 << 31  # behind one vector
LARGEST_THUMBNAIL = 1 << 20  # bytes
UNIT_TOLERANCE = 1e-3  # a length further from 1 was never normalised
EXACT = 1e-6  # closer than this it is left bit for bit, so that what was exported comes back the same
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, half characters, line ends
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # make one name look like another


def require_space(space: Space) -> None:
    if not re.fullmatch(r"[0-9a-f]{16,64}", space.fingerprint):
        raise GalleryError(f"model fingerprint {shortened(space.fingerprint)}; expected 16 to 64 hexadecimal digits")
    if not 0 < space.dim <= WIDEST:
        raise GalleryError(f"vectors of {space.dim} numbers; expected 1 to {WIDEST}")
    if space.aggregation not in get_args(Aggregation):
        raise GalleryError(f"aggregation {space.aggregation!r}; expected one of {', '.join(get_args(Aggregation))}")


def admitted(entries: Sequence[Entry], space: Space) -> list[Entry]:
    """The entries as they are stored: float32 vectors of length 1. Raises `GalleryError` for the first unfit one."""
    seen: set[str] = set()
    for entry in entries:
        _require_sound(entry)
        if entry.id in seen:
            raise EntryExistsError(f"entry {entry.id!r} is given twice; every entry needs an id of its own")
        seen.add(entry.id)
    if not entries:
        return []
    for entry in entries:
        _require_dim(np.shape(entry.vector), space, what=f"entry {entry.id!r}")
    rows = unit_rows(np.stack([entry.vector for entry in entries]), names=[f"entry {entry.id!r}" for entry in entries])
    return [replace(entry, vector=row) for entry, row in zip(entries, rows, strict=True)]


def admitted_queries(vectors: FloatArray, space: Space) -> FloatArray:
    """(Q, D) vectors to search with, of length 1."""
    names = [f"query {number}" for number in range(len(vectors))]
    _require_dim(vectors.shape[1:], space, what="the query")
    return unit_rows(vectors, names=names)


def unit_rows(vectors: FloatArray, *, names: Sequence[str]) -> FloatArray:
    """Rows (N, D) of length 1 within `UNIT_TOLERANCE`, put right. `GalleryError` names the first that is not."""
    rows = np.asarray(vectors, np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    wrong = ~(np.abs(lengths - 1) <= UNIT_TOLERANCE)  # written so that NaN is wrong too
    if wrong.any():
        number = int(wrong.argmax())
        raise GalleryError(f"{names[number]}: {_what_is_wrong(float(lengths[number]))}")
    inexact = np.abs(lengths - 1) > EXACT
    if inexact.any():
        rows = rows.copy()
        rows[inexact] = (rows[inexact] / lengths[inexact, None]).astype(np.float32)
    return rows


def _what_is_wrong(length: float) -> str:
    if not math.isfinite(length):
        return "its vector has NaN or infinite numbers; the model is broken or was fed another precision"
    if length == 0:
        return "its vector is all zeros, which is nobody; the model is broken or was fed nothing"
    return f"its vector has length {length:.4g}; expected L2-normalised vectors, of length 1"


def _require_dim(shape: tuple[int, ...], space: Space, *, what: str) -> None:
    if shape != (space.dim,):
        got = f"{shape[0]} numbers" if len(shape) == 1 else f"shape {shape}"
        raise GalleryError(f"{what} has a vector of {got}; expected {space.dim}, as the model has")


def _require_sound(entry: Entry) -> None:
    who = f"entry {shortened(entry.id)}"
    require_name(entry.id, what="an entry id")
    require_name(entry.identity, what=f"the identity of {who}")
    if entry.camera:
        require_name(entry.camera, what=f"the camera of {who}")
    times = entry.first_s, entry.last_s
    if not (all(math.isfinite(time) for time in times) and entry.first_s <= entry.last_s):
        raise GalleryError(f"{who} was seen from {times[0]} to {times[1]}; expected seconds since 1970, first to last")
    require_name(entry.created_by, what=f"the maker of {who}")
    if not 1 <= entry.count <= MOST_CROPS:
        raise GalleryError(f"{who} is made of {entry.count} crops; expected 1 or more")
    if not 0 <= entry.quality <= 1:
        raise GalleryError(f"{who} has quality {entry.quality}; expected 0 to 1")
    if len(entry.thumbnail) > LARGEST_THUMBNAIL:
        megabytes = len(entry.thumbnail) / 1e6
        raise GalleryError(f"{who} has a thumbnail of {megabytes:.1f} MB; expected at most 1 MB: make it smaller")


def require_name(name: str, *, what: str) -> None:
    """Anything printable up to `LONGEST_NAME`: slashes, quotes, markup and emoji are text like any other."""
    if not name.strip():
        raise GalleryError(f"{what} is empty; expected a name")
    if len(name) > LONGEST_NAME:
        raise GalleryError(f"{what} has {len(name):,} characters ({shortened(name)}); expected at most {LONGEST_NAME}")
    hidden = next((letter for letter in name if _is_hidden(letter)), "")
    if hidden:
        raise GalleryError(
            f"{what} ({shortened(name)}) has the character U+{ord(hidden):04X}, which cannot be seen; leave it out"
        )
    if name != name.strip():
        raise GalleryError(f"{what} ({shortened(name)}) begins or ends with a space; leave it out")


def _is_hidden(letter: str) -> bool:
    return letter in _REORDERING or unicodedata.category(letter) in _UNPRINTABLE


def shortened(name: str) -> str:
    """A name as errors quote it: escaped, and never longer than a line."""
    return ascii(name) if len(name) <= 40 else f"{name[:40]!a}…"
