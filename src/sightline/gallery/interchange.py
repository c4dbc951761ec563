"""Galleries as files to hand on, and one gallery made equal to another.

An export is text, one JSON object a line, so that any program reads it and none has to be trusted:

- `{"sightline_gallery": 1, "fingerprint": …, "dim": …, "aggregation": …, "created_by": …}`;
- one line an entry, with the fields of `Entry`; `vector` (little-endian float32) and `thumbnail` in base64;
- `{"end": N}`, the number of entries, without which the file is known to be cut short.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

import numpy as np

from sightline._version import __version__
from sightline.errors import GalleryError, GalleryFormatError
from sightline.files import replacing
from sightline.gallery.admission import LARGEST_THUMBNAIL, WIDEST, admitted, shortened
from sightline.gallery.gallery import EVERYBODY, Entry, Gallery, Space

FORMAT = 1
BATCH = 1024  # entries in memory at once
LONGEST_LINE = 2 * (4 * WIDEST + LARGEST_THUMBNAIL)  # bytes; more than the largest entry takes

_TEXTS = ("id", "identity", "camera", "created_by")
_NUMBERS = ("first_s", "last_s", "quality")
_KEYS = {*_TEXTS, *_NUMBERS, "count", "vector", "thumbnail"}


@dataclass(frozen=True)
class Export:
    """A file that is known to be whole."""

    path: Path
    space: Space
    entries: int


@dataclass(frozen=True)
class Imported:
    added: int
    same: int  # were there already, alike in everything
    conflicts: tuple[str, ...]  # ids that are there with other content, which was left as it is


@dataclass(frozen=True)
class Reindexed:
    added: int
    replaced: int
    removed: int


def export_gallery(gallery: Gallery, target: Path) -> int:
    """Write every entry to one file; the same gallery gives the same bytes. Answers how many there were."""
    if gallery.space is None:
        raise GalleryError(f"nothing was ever added to {gallery.url}: there is nothing to export")
    return write_export(target, gallery.space, gallery.iterate(EVERYBODY))


def write_export(target: Path, space: Space, entries: Iterable[Entry]) -> int:
    header = {
        "sightline_gallery": FORMAT,
        "fingerprint": space.fingerprint,
        "dim": space.dim,
        "aggregation": space.aggregation,
        "created_by": f"sightline {__version__}",
    }
    count = 0
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(_line(header))
        for entry in entries:
            file.write(_line(_fields(entry)))
            count += 1
        file.write(_line({"end": count}))
    return count


def _line(fields: Mapping[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"


def _fields(entry: Entry) -> dict[str, object]:
    vector = b64encode(entry.vector.astype("<f4", copy=False).tobytes()).decode()
    return {**vars(entry), "vector": vector, "thumbnail": b64encode(entry.thumbnail).decode()}


def checked_export(path: Path) -> Export:
    """An export that was read to its end and found whole. Raises `GalleryFormatError` naming the line that is not."""
    with _opened(path) as file:
        space = _space(file, path)
        seen: set[str] = set()
        for entry in _entries(file, path, space):
            if entry.id in seen:
                raise GalleryFormatError(f"{path} has the entry {shortened(entry.id)} twice; export it again")
            seen.add(entry.id)
    return Export(path, space, len(seen))


def import_into(gallery: Gallery, export: Export) -> Imported:
    """Add what an export holds. It is made by `checked_export`, so that a bad file adds nothing.

    Ids that are there already are never overwritten: alike they are counted, unlike they are reported.
    """
    added, same, conflicts = 0, 0, list[str]()
    with _opened(export.path) as file:
        space = _space(file, export.path)
        for batch in _batches(_entries(file, export.path, space)):
            there = {entry.id: entry for entry in gallery.fetch([entry.id for entry in batch])}
            new = [entry for entry in batch if entry.id not in there]
            gallery.add(new, space=space)
            unlike = [entry.id for entry in batch if entry.id in there and not _alike(entry, there[entry.id])]
            added, same = added + len(new), same + len(there) - len(unlike)
            conflicts += unlike
    return Imported(added, same, tuple(conflicts))


def _opened(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as exc:
        raise GalleryError(f"cannot read {source}: {exc.strerror}; expected an export of a gallery") from exc


def _space(file: BinaryIO, source: Path) -> Space:
    """The header, before anything else is believed."""
    fields = _object(file, f"{source}, line 1")
    version = fields.get("sightline_gallery")
    if type(version) is not int or version < 1:
        raise GalleryFormatError(f"{source} is not a gallery export; expected what `sightline gallery export` writes")
    if version > FORMAT:
        raise GalleryFormatError(
            f"{source} is an export of format {version}, newer than this sightline reads ({FORMAT}); upgrade sightline"
        )
    fingerprint, dim, aggregation = (fields.get(key) for key in ("fingerprint", "dim", "aggregation"))
    if not (isinstance(fingerprint, str) and type(dim) is int and isinstance(aggregation, str)):
        raise GalleryFormatError(f"{source} does not say which vectors it holds; export the gallery again")
    return Space(fingerprint, dim, aggregation)  # type: ignore[arg-type]  # Space itself refuses an unknown aggregation


def _entries(file: BinaryIO, source: Path, space: Space) -> Iterator[Entry]:
    """Checked entries up to the end line, which must be there, be right, and be the last."""
    count = 0
    while True:
        where = f"{source}, line {count + 2}"
        fields = _object(file, where)
        if "end" in fields:
            break
        try:
            yield admitted([_entry(fields, where)], space)[0]
        except GalleryFormatError:
            raise
        except GalleryError as exc:
            raise GalleryFormatError(f"{where}: {exc}") from exc
        count += 1
    if fields != {"end": count} or file.read(1):
        _refuse(where, f"ends after {count} entries, but not as an export ends")


def _object(file: BinaryIO, where: str) -> dict[str, Any]:
    line = file.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        _refuse(where, "is too long" if len(line) == LONGEST_LINE else "the file is cut short here")
    try:
        fields = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise GalleryFormatError(f"{where}: is not JSON; expected what `sightline gallery export` writes") from exc
    if not isinstance(fields, dict):
        _refuse(where, "is not a JSON object")
    return fields


def _entry(fields: dict[str, Any], where: str) -> Entry:
    if fields.keys() != _KEYS:
        odd = ", ".join(shortened(key) for key in sorted(fields.keys() ^ _KEYS)[:5])
        _refuse(where, f"lacks or should not have {odd}")
    wrong = [key for key in (*_TEXTS, "vector", "thumbnail") if type(fields[key]) is not str]
    wrong += [key for key in _NUMBERS if type(fields[key]) not in {int, float}]
    wrong += ["count"] if type(fields["count"]) is not int else []
    if wrong:
        _refuse(where, f"{wrong[0]} is {shortened(str(fields[wrong[0]]))}, which is of the wrong type")
    try:
        numbers = {key: float(fields[key]) for key in _NUMBERS}
        vector = np.frombuffer(b64decode(fields["vector"], validate=True), "<f4").astype(np.float32, copy=False)
        thumbnail = b64decode(fields["thumbnail"], validate=True)
    except (binascii.Error, ValueError, OverflowError) as exc:
        raise GalleryFormatError(f"{where}: {exc}") from exc
    return Entry(**{**fields, **numbers, "vector": vector, "thumbnail": thumbnail})


def _refuse(where: str, why: str) -> NoReturn:
    raise GalleryFormatError(f"{where}: {why}; export the gallery again")


_Item = TypeVar("_Item")


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    waiting = iter(items)
    while batch := list(islice(waiting, BATCH)):
        yield batch


def _alike(one: Entry, other: Entry) -> bool:
    mine, its = ({**vars(entry), "vector": entry.vector.tobytes()} for entry in (one, other))
    return mine == its


def reindex(source: Gallery, target: Gallery) -> Reindexed:
    """Make `target` hold exactly what `source` does. What is right already stays, so an interrupted one goes on."""
    if source.space is None:
        raise GalleryError(f"nothing was ever added to {source.url}: there is nothing to index")
    if source.url == target.url:
        raise GalleryError(f"{source.url} cannot be rebuilt from itself; name another gallery")
    added = replaced = 0
    kept: set[str] = set()
    for batch in _batches(source.iterate()):
        kept.update(entry.id for entry in batch)
        there = {entry.id: entry for entry in target.fetch([entry.id for entry in batch])}
        new = [entry for entry in batch if entry.id not in there]
        unlike = [entry for entry in batch if entry.id in there and not _alike(entry, there[entry.id])]
        target.delete([entry.id for entry in unlike])
        target.add([*new, *unlike], space=source.space)
        added, replaced = added + len(new), replaced + len(unlike)
    gone = [name for name in target.ids() if name not in kept]
    target.delete(gone)
    return Reindexed(added, replaced, len(gone))
