"""Any data set as one folder and one `labels.csv`: what training reads, with nothing in it that cannot be decoded."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from sightline.errors import ConfigError, ImageError
from sightline.files import output_error
from sightline.images import image_files, read_image
from sightline.training.folders import CSV_NAME
from sightline.training.recordio import image_at, labelled_offsets
from sightline.training.records import Record, write_csv

_T = TypeVar("_T")


@dataclass(frozen=True)
class Picture:
    """A labelled image where it was published: a file, or a record within one."""

    person: str
    camera: int
    stem: str  # what its file is to be called, without a suffix
    source: Path
    offset: int | None = None  # of its record in a RecordIO file

    @property
    def name(self) -> str:
        return str(self.source) if self.offset is None else f"{self.source} at byte {self.offset}"

    def content(self) -> bytes:
        return self.source.read_bytes() if self.offset is None else image_at(self.source, self.offset)


@dataclass(frozen=True)
class Prepared:
    """What was written, and why what was left out was."""

    csv: Path
    records: tuple[Record, ...]
    refused: tuple[str, ...]  # one line an image


@dataclass(frozen=True)
class Refusal:
    """Why an image is not in the result."""

    reason: str


def prepare(
    pictures: Sequence[Picture],
    folder: Path,
    *,
    csv_name: str = CSV_NAME,
    check: bool = False,
    workers: int = 1,
    done: Callable[[], None] = lambda: None,
) -> Prepared:
    """Bring the pictures together under `folder`, then write the CSV that names them.

    A picture already under `folder` is named where it is. The others become `images/<person>/<stem>` with the suffix
    of what their bytes are: hard links where that is possible, else copies. What an interrupted run has placed is kept.
    An image that is missing, empty or of no known kind is refused, and with `check` one that cannot be decoded; the
    CSV names the others. It comes last and whole. `done` is called once a picture.
    """
    records: list[Record] = []
    refused: list[str] = []
    for outcome in _each(partial(_admitted, folder=folder, check=check), _distinct(pictures), workers=workers):
        if isinstance(outcome, Refusal):
            refused.append(outcome.reason)
        else:
            records.append(outcome)
        done()
    if not records:
        reason = f": {refused[0]}" if refused else ""
        raise ConfigError(f"none of {len(pictures)} images can be used{reason}")
    write_csv(folder / csv_name, records, root=folder)
    return Prepared(folder / csv_name, tuple(records), tuple(refused))


def undecodable(
    records: Iterable[Record], *, workers: int = 1, done: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """Why each image that cannot be decoded cannot; `done` is called once an image."""
    for outcome in _each(_decoded, records, workers=workers):
        done()
        if isinstance(outcome, Refusal):
            yield outcome.reason


def _each(work: Callable[[_T], Record | Refusal], items: Iterable[_T], *, workers: int) -> Iterator[Record | Refusal]:
    """In order, by several threads: Pillow decodes without the interpreter's lock. A few items ahead, not all."""
    remaining = iter(items)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        while batch := list(islice(remaining, 64 * max(1, workers))):
            yield from pool.map(work, batch)


def _decoded(record: Record) -> Record | Refusal:
    try:
        read_image(record.path)
    except ImageError as exc:
        return Refusal(str(exc))
    return record


# Which pictures


def selected(pictures: Iterable[Picture], *, min_images: int = 1, max_ids: int | None = None) -> list[Picture]:
    """The pictures of people who have at least so many, and of the first `max_ids` of those in the given order."""
    by_person: defaultdict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        by_person[picture.person].append(picture)
    enough = [theirs for theirs in by_person.values() if len(theirs) >= min_images]
    if len(enough) < 2 or (max_ids is not None and max_ids < 2):
        raise ConfigError(
            f"{len(enough)} of {len(by_person)} people have {min_images} images or more, and max_ids is {max_ids}; "
            "expected two people at least"
        )
    return [picture for theirs in enough[:max_ids] for picture in theirs]


def from_records(records: Iterable[Record], *, person: Callable[[Record], str] | None = None) -> list[Picture]:
    """Pictures of a data set that was read, under other names of the people where `person` gives them."""
    return [
        Picture(person(record) if person else record.person, record.camera, record.path.stem, record.path)
        for record in records
    ]


def from_faces(folder: Path, *, but: Path | None = None) -> list[Picture]:
    """Pictures of a face set: a RecordIO file anywhere below the folder, or a folder for each person.

    What is below `but` is passed over: an earlier run's output.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; expected one with a .rec file or a folder of images for each person")
    found = sorted(folder.rglob("*.rec"))
    if len(found) > 1:
        raise ConfigError(f"{folder} holds {len(found)} .rec files; pass the folder of one of them")
    if found:
        offsets = labelled_offsets(found[0])
        return [Picture(f"{person:06d}", 0, f"{offset:012d}", found[0], offset) for person, offset in offsets]
    files = [file for file in image_files(str(folder)) if file.parent != folder]
    return [
        Picture(file.parent.name, 0, file.stem, file) for file in files if but is None or not file.is_relative_to(but)
    ]


# Where a picture goes


def _distinct(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """The pictures under stems that are safe as file names and, within a person's folder, each its own."""
    seen: Counter[str] = Counter()
    for picture in pictures:
        target = f"{_safe(picture.person)}/{_safe(picture.stem)}"
        seen[target.lower()] += 1  # there are file systems that do not tell capitals
        number = seen[target.lower()]
        yield replace(picture, stem=target if number == 1 else f"{target}~{number}")


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def _admitted(picture: Picture, *, folder: Path, check: bool) -> Record | Refusal:
    placed = _placed(picture, folder)
    return _decoded(placed) if check and isinstance(placed, Record) else placed


def _placed(picture: Picture, folder: Path) -> Record | Refusal:
    try:
        suffix = true_suffix(_head(picture))
    except OSError as exc:
        return Refusal(f"{picture.name} cannot be read: {exc.strerror}")
    if not suffix:
        return Refusal(f"{picture.name} is empty or no image: its first bytes are those of no known kind")
    target = folder / "images" / f"{picture.stem}{suffix}"
    if picture.offset is None and _is_below(picture.source, folder):
        target = picture.source
    else:
        _place(picture, target)
    return Record(target, picture.person, picture.camera)


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _head(picture: Picture) -> bytes:
    if picture.offset is not None:
        return picture.content()[:16]
    with picture.source.open("rb") as file:
        return file.read(16)


_KINDS = (
    (re.compile(rb"\xff\xd8\xff"), ".jpg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), ".png"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), ".webp"),
    (re.compile(rb"BM"), ".bmp"),
    (re.compile(rb"II\*\0|MM\0\*"), ".tif"),
    (re.compile(rb"P[36]\s"), ".ppm"),
    (re.compile(rb"P[25]\s"), ".pgm"),
)


def true_suffix(head: bytes) -> str:
    """The suffix of a file that begins like this, whatever it is called; empty where it is no image."""
    return next((suffix for pattern, suffix in _KINDS if pattern.match(head)), "")


def _place(picture: Picture, target: Path) -> None:
    """Make `target` hold the picture, through a rename, so that what is there is whole."""
    try:
        if _is_there(picture, target):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.unlink(missing_ok=True)
        if picture.offset is None:
            _link_or_copy(picture.source.resolve(), part)
        else:
            part.write_bytes(picture.content())
        part.replace(target)
    except OSError as exc:
        raise output_error(target, exc) from exc


def _is_there(picture: Picture, target: Path) -> bool:
    if not target.is_file():
        return False
    if picture.offset is None and target.samefile(picture.source):
        return True
    return target.read_bytes() == picture.content()


def _link_or_copy(source: Path, target: Path) -> None:
    """A link costs no space, but not every file system has them, and none has them to another."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
