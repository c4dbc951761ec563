"""MXNet's RecordIO, as far as face data sets use it: `train.rec`, and `train.idx` that says where each record begins.

A record is parts of `magic, kind and length, bytes` padded to four bytes; it has several where its own bytes contain
the magic number, which is then left out between them. Image records begin with `IRHeader`: flag, label, id, id2; where
flag is above 0 that many labels follow, and the first is the identity.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sightline.errors import ConfigError

MAGIC = 0xCED7230A
_PART = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


def labelled_offsets(rec: Path) -> Iterator[tuple[int, int]]:
    """(identity, offset) of every image. Records without an image, which face data sets begin with, are passed over."""
    offsets = _indexed(rec.with_suffix(".idx"))
    try:
        with rec.open("rb") as file:
            for offset in offsets if offsets is not None else _scanned(file, rec):
                identity, image = _unpacked(_record(file, offset, rec), f"{rec} at byte {offset}")
                if image:
                    yield identity, offset
    except OSError as exc:
        raise ConfigError(f"{rec} cannot be read: {exc.strerror}") from exc


def image_at(rec: Path, offset: int) -> bytes:
    """The encoded image of the record that begins at `offset`."""
    with rec.open("rb") as file:
        return _unpacked(_record(file, offset, rec), f"{rec} at byte {offset}")[1]


def _indexed(idx: Path) -> list[int] | None:
    """The offsets in an index of `key<tab>offset` lines, in their order; None without an index."""
    if not idx.is_file():
        return None
    try:
        return sorted(int(line.split()[1]) for line in idx.read_text(encoding="ascii").splitlines() if line.strip())
    except (ValueError, IndexError) as exc:
        raise ConfigError(f"{idx} is no RecordIO index: expected lines of `key<tab>offset`") from exc


def _scanned(file: BinaryIO, rec: Path) -> Iterator[int]:
    """Where each record begins, found by walking through the file."""
    offset, end = 0, rec.stat().st_size
    while offset < end:
        kind, length = _part(file, offset, rec)
        if kind in (_WHOLE, _FIRST):
            yield offset
        offset += _PART.size + _padded(length)


def _padded(length: int) -> int:
    return (length + 3) // 4 * 4


def _part(file: BinaryIO, offset: int, rec: Path) -> tuple[int, int]:
    """(kind, length) of the part at `offset`; the file then stands at its bytes."""
    file.seek(offset)
    head = file.read(_PART.size)
    if len(head) < _PART.size:
        raise ConfigError(f"{rec} ends within the record at byte {offset}; copy or download it again")
    magic, packed = _PART.unpack(head)
    if magic != MAGIC:
        raise ConfigError(f"{rec} holds no record at byte {offset}; is it RecordIO, and is its .idx of this file?")
    return packed >> 29, packed & (1 << 29) - 1


def _record(file: BinaryIO, offset: int, rec: Path) -> bytes:
    parts: list[bytes] = []
    kind = _FIRST
    while kind in (_FIRST, _MIDDLE):
        kind, length = _part(file, offset, rec)
        content = file.read(length)
        if len(content) < length:
            raise ConfigError(f"{rec} ends within the record at byte {offset}; copy or download it again")
        parts.append(content)
        offset += _PART.size + _padded(length)
    return MAGIC.to_bytes(4, "little").join(parts)


def _unpacked(record: bytes, place: str) -> tuple[int, bytes]:
    """(identity, image) of a record; 0 where there is no image."""
    if len(record) < _HEADER.size:
        raise ConfigError(f"{place}: a record of {len(record)} bytes; expected a header of {_HEADER.size}")
    count, label, _, _ = _HEADER.unpack_from(record)
    image = record[_HEADER.size + 4 * count :]
    if not image:
        return 0, image
    if count:
        (label,) = struct.unpack_from("<f", record, _HEADER.size)
    if not float(label).is_integer():
        raise ConfigError(f"{place}: the label is {label}; expected the whole number of an identity")
    return int(label), image
