"""Labelled image files: who is on each and which camera took it, read from and written to `labels.csv`."""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from sightline.errors import ConfigError
from sightline.files import output_error, replacing

COLUMNS = ("img_path", "person_id", "camera_id")
REQUIRED = COLUMNS[:2]
_NAMED = 3  # of the files that are missing; the rest are counted


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled image. A person is a name as written: "0001" and "1" are two people."""

    path: Path
    person: str
    camera: int


@dataclass(frozen=True)
class Dataset:
    """A data set's three parts. One read from a CSV has nothing but `train`."""

    name: str
    train: tuple[Record, ...]
    query: tuple[Record, ...]
    gallery: tuple[Record, ...]


def labels(records: Iterable[Record]) -> dict[str, int]:
    """The class of each person: 0 to n - 1 in the order of their names."""
    return {person: number for number, person in enumerate(sorted({record.person for record in records}))}


def read_csv(csv: Path, *, root: Path | None = None) -> tuple[Record, ...]:
    """The images that a CSV names below `root` (the CSV's own folder), in its order.

    The columns are img_path, person_id and camera_id; the last may be absent, and others are passed over. Raises
    `ConfigError` with file and line for the first row that cannot be meant, and for images that are not there.
    """
    home = ImageRoot(root or csv.parent)
    records: dict[Path, Record] = {}
    lost: list[str] = []
    for place, row in _rows(csv):
        path = home.below(row["img_path"], place)
        if path in records:
            raise ConfigError(f"{place}: {row['img_path']!r} is listed twice; expected one row an image")
        records[path] = Record(path, row["person_id"], _camera(row.get("camera_id", "0"), place))
        if not home.holds(path, place):
            lost.append(row["img_path"])
    require_found(csv, lost, total=len(records))
    _require_people(csv, records.values())
    return tuple(records.values())


def _rows(csv_file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row that is not blank, with its `file:line`."""
    try:
        with csv_file.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            _require_columns(header, csv_file)
            for cells in reader:
                if cells:
                    place = f"{csv_file}:{reader.line_num}"
                    yield place, _row(header, cells, place)
    except OSError as exc:
        raise ConfigError(f"{csv_file} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{csv_file} is not UTF-8 text: save it as UTF-8") from exc
    except csv.Error as exc:
        raise ConfigError(f"{csv_file}:{reader.line_num}: {exc}; expected comma-separated values") from exc


def _require_columns(header: Sequence[str], csv_file: Path) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        found = ", ".join(header) or "nothing"
        raise ConfigError(f"{csv_file}:1: no column {' and no '.join(missing)}; expected {', '.join(COLUMNS)}: {found}")
    twice = [name for name in COLUMNS if header.count(name) > 1]
    if twice:
        raise ConfigError(f"{csv_file}:1: two columns are called {twice[0]}; expected one")


def _row(header: Sequence[str], cells: Sequence[str], place: str) -> dict[str, str]:
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if name in COLUMNS}
    for name in COLUMNS:
        if name in header and not row.get(name):
            raise ConfigError(f"{place}: {name} is empty")
    return row


def _camera(text: str, place: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"{place}: camera_id is {text!r}; expected a whole number from 0")
    return int(text)


class ImageRoot:
    """The folder that images may come from. Folders are looked up once, for a CSV may name half a million images."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real = root.resolve()
        self._inside: dict[Path, bool] = {}

    def below(self, location: str, place: str) -> Path:
        """Where the image of a row is, should it be there. Slashes may lean either way, as Windows writes them."""
        spelling = PureWindowsPath(location)
        if spelling.anchor or ".." in spelling.parts or "\0" in location:
            raise ConfigError(f"{place}: {location!r} leads out of {self._root}; expected a path relative to it")
        return self._root.joinpath(*spelling.parts)

    def holds(self, path: Path, place: str) -> bool:
        """Whether a file with something in it is there. Raises `ConfigError` where a link leads out of the folder."""
        try:
            seen = path.lstat()
            if stat.S_ISLNK(seen.st_mode):
                seen = path.stat()
                inside = self._is_inside(path)
            else:
                inside = self._inside.setdefault(path.parent, self._is_inside(path.parent))
        except (OSError, RuntimeError):  # a RuntimeError is a link to itself before Python 3.13
            return False
        if not inside:
            raise ConfigError(f"{place}: {path} is a link that leads out of {self._root}; pass the folder it leads to")
        return stat.S_ISREG(seen.st_mode) and seen.st_size > 0

    def _is_inside(self, path: Path) -> bool:
        known = self._inside.get(path)
        return path.resolve().is_relative_to(self._real) if known is None else known


def require_found(listing: Path, lost: Sequence[str], *, total: int) -> None:
    if lost:
        named = ", ".join(lost[:_NAMED]) + (", …" if len(lost) > _NAMED else "")
        raise ConfigError(f"{listing}: {len(lost)} of {total} images are missing or empty: {named}")


def _require_people(csv_file: Path, records: Iterable[Record]) -> None:
    people = {record.person for record in records}
    if not people:
        raise ConfigError(f"{csv_file} has a header but no rows; expected one row an image")
    if len(people) == 1:
        raise ConfigError(f"{csv_file} knows only one person, {people.pop()}; expected two or more to tell apart")


def write_csv(target: Path, records: Iterable[Record], *, root: Path) -> None:
    """Write the records, whole or not at all, with paths relative to `root` and forward slashes on every system."""
    rows = ((Path(os.path.relpath(r.path, root)).as_posix(), r.person, r.camera) for r in records)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(target, exc) from exc
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
