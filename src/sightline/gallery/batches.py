"""Batches that are in a gallery whole or not at all, on databases that promise it for a single call only.

Every row carries the name of its batch. A batch that fits one call is one call. A longer one is announced before its
first part and the announcement withdrawn after its last; an error in between removes its rows. What a kill leaves is
found by its announcement when the gallery is opened next: at once in a folder, whose lock proves that the writer is
gone; on a server once it is an hour old. Until then a server's other clients see the rows of an unfinished batch.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Protocol

from sightline.errors import EntryExistsError
from sightline.gallery.gallery import Entry

log = logging.getLogger(__name__)

PART_BYTES = 8 << 20  # of vectors and thumbnails: servers refuse requests of some 32 MB, and a third goes to base64
ABANDONED_S = 3600.0


class BatchWriter(Protocol):
    """The few things a database has to do for a batch."""

    part_rows: int

    def add(self, part: Sequence[Entry], batch: str) -> None:
        """In one transaction; may leave out an entry whose id is there."""

    def count(self, batch: str) -> int: ...

    def drop(self, batch: str) -> None:
        """Its rows, then its announcement, as far as they are there."""

    def announce(self, batch: str, *, since_s: float) -> None: ...

    def withdraw(self, batch: str) -> None:
        """The announcement alone. Not finding it is an error: somebody took the batch for abandoned."""

    def announced(self) -> Mapping[str, float]:
        """Unfinished batches and when each was begun, in seconds since 1970."""


def insert_whole(writer: BatchWriter, entries: Sequence[Entry]) -> None:
    """All of `entries`, or an error and none of them."""
    batch = secrets.token_hex(8)
    parts = list(parts_of(entries, most_rows=writer.part_rows))
    with ExitStack() as undo:
        undo.callback(writer.drop, batch)
        if len(parts) > 1:
            writer.announce(batch, since_s=time.time())
        for part in parts:
            writer.add(part, batch)
        if writer.count(batch) != len(entries):
            raise EntryExistsError("another process added an entry of the same id meanwhile; nothing was added")
        if len(parts) > 1:
            writer.withdraw(batch)
        undo.pop_all()


def drop_abandoned(writer: BatchWriter, *, alone: bool) -> None:
    """Remove what writers left that were killed. `alone`: no other process can be writing now."""
    for batch, since_s in writer.announced().items():
        if alone or time.time() - since_s > ABANDONED_S:
            log.warning("removing the unfinished batch %s of a writer that was interrupted", batch)
            writer.drop(batch)


def parts_of(entries: Sequence[Entry], *, most_rows: int) -> Iterator[list[Entry]]:
    """In order; none longer than `most_rows`, and none heavier than `PART_BYTES` unless it is a single entry."""
    part: list[Entry] = []
    weight = 0
    for entry in entries:
        heft = entry.vector.nbytes + len(entry.thumbnail)
        if part and (len(part) == most_rows or weight + heft > PART_BYTES):
            yield part
            part, weight = [], 0
        part.append(entry)
        weight += heft
    if part:
        yield part
