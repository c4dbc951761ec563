"""What `sightline gallery` shows: tables for people, JSON for programs. Names are text, whatever markup they hold."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sightline.gallery.gallery import Entry, GalleryStats, Hit

_UNLIMITED = 10_000  # columns, where nobody looks: one line a row, for grep and less


@dataclass
class _Person:
    """Everything of one identity, added up."""

    identity: str
    first_s: float
    last_s: float
    entries: int = 0
    crops: int = 0
    cameras: set[str] = field(default_factory=set)

    def add(self, entry: Entry) -> None:
        self.entries += 1
        self.crops += entry.count
        self.cameras.add(entry.camera)
        self.last_s = max(self.last_s, entry.last_s)


def print_people(entries: Iterable[Entry], *, as_json: bool) -> None:
    """One row an identity, in the order they were first seen, which is the order of the entries."""
    people: dict[str, _Person] = {}
    for entry in entries:
        people.setdefault(entry.identity, _Person(entry.identity, entry.first_s, entry.last_s)).add(entry)
    if as_json:
        _print_json([{**vars(person), "cameras": sorted(person.cameras)} for person in people.values()])
        return
    rows = [
        (p.identity, str(p.entries), str(p.crops), ", ".join(sorted(p.cameras)), moment(p.first_s), moment(p.last_s))
        for p in people.values()
    ]
    _print_table(("identity", "entries", "crops", "cameras", "first seen (UTC)", "last seen (UTC)"), rows)


def print_entries(entries: Sequence[Entry], *, as_json: bool) -> None:
    if as_json:
        _print_json([_facts(entry) for entry in entries])
        return
    rows = [
        (e.id, e.identity, e.camera, moment(e.first_s), moment(e.last_s), str(e.count), f"{e.quality:.2f}")
        for e in entries
    ]
    _print_table(("id", "identity", "camera", "first seen (UTC)", "last seen (UTC)", "crops", "quality"), rows)


def _facts(entry: Entry) -> dict[str, object]:
    """All but the vector and the picture, which `export` gives."""
    facts = {key: value for key, value in vars(entry).items() if key not in {"vector", "thumbnail"}}
    return {**facts, "thumbnail_bytes": len(entry.thumbnail)}


def print_hits(queries: Sequence[str], found: Sequence[Sequence[Hit]], *, as_json: bool) -> None:
    if as_json:
        answers = zip(queries, found, strict=True)
        _print_json([{"query": query, "hits": [asdict(hit) for hit in hits]} for query, hits in answers])
        return
    rows = [
        (query, f"{hit.score:.3f}", hit.identity, hit.id, hit.camera, moment(hit.first_s), moment(hit.last_s))
        for query, hits in zip(queries, found, strict=True)
        for hit in hits
    ]
    _print_table(("query", "score", "identity", "id", "camera", "first seen (UTC)", "last seen (UTC)"), rows)


def print_stats(stats: GalleryStats, *, as_json: bool) -> None:
    if as_json:
        _print_json(asdict(stats))
        return
    size = "not told" if stats.size_bytes is None else f"{stats.size_bytes / 1e6:.1f} MB"
    seen = "never" if stats.first_s is None else f"{moment(stats.first_s)} to {moment(stats.last_s or 0)} UTC"
    facts = {
        "gallery": f"{stats.url} (format {stats.format})",
        "holds": str(stats.space or "nothing: nothing was ever added"),
        "entries": str(stats.entries),
        "identities": str(stats.identities),
        "cameras": ", ".join(name or "(no name)" for name in stats.cameras),
        "seen": seen,
        "size": size,
    }
    for label, fact in facts.items():
        print(f"{label + ':':<12}{fact}".rstrip())


def moment(time_s: float) -> str:
    """A time of day where it is one: entries of a film count from its start, and anything finite may be stored."""
    try:
        return datetime.fromtimestamp(time_s, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{time_s:g} s"


def _print_json(answer: object) -> None:
    print(json.dumps(answer, indent=2))


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        print("nobody")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        is_number = heading in {"entries", "crops", "score", "quality"}
        table.add_column(heading, overflow="fold", justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(width=None if sys.stdout.isatty() else _UNLIMITED, highlight=False)
    with console.capture() as drawn:  # rich itself would answer a reader that has gone away with exit code 1
        console.print(table)
    print("\n".join(line.rstrip() for line in drawn.get().splitlines()))
