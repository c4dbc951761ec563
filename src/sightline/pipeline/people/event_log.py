"""`events.jsonl`: one line one event, appended, on the disk before anybody else hears of it, and each event once."""

from __future__ import annotations

import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType

from sightline.errors import OutputError
from sightline.files import locked, output_error
from sightline.pipeline.people.events import FIRST, Event

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Line:
    """One event in the file."""

    number: int  # from 1
    event: Event
    end: int  # bytes from the start of the file to past its newline


START = 0, 0  # lines and bytes before a place in the file


def read_lines(path: Path, *, after: tuple[int, int] = START, until: int | None = None) -> Iterator[Line]:
    """The events between a place (lines and bytes before it) and byte `until`, but for a last line not yet whole.

    Raises `OutputError` naming the line that is no event.
    """
    number, end = after
    try:
        with path.open("rb") as file:
            file.seek(end)
            while (until is None or end < until) and (line := file.readline()).endswith(b"\n"):
                number, end = number + 1, end + len(line)
                yield Line(number, _event_of(path, number, line), end)
    except OutputError:
        raise
    except OSError as exc:
        raise OutputError(f"{path} cannot be read: {exc.strerror}") from exc


def _event_of(path: Path, number: int, line: bytes) -> Event:
    try:
        return Event.parse(line[:-1].decode("ascii"))
    except ValueError as exc:
        fault = "it is no ASCII text" if isinstance(exc, UnicodeDecodeError) else str(exc)
        raise OutputError(
            f"{path}:{number}: no event ({fault}); put the line right or remove it, or write to another folder"
        ) from exc


class EventLog:
    """The file, open for one writer. Any thread may append.

    A kill at any moment leaves whole lines and at most the beginning of one more, which the next opening cuts off:
    nobody was told that it is there. Raises `OutputError`, in one line, for whatever cannot be written or is no log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._appending = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        with ExitStack() as held:
            held.enter_context(locked(path.with_name(f".{path.name}.lock"), holder="another run"))
            self._ids, self._lines, self._size = _known(path)
            self._file = held.enter_context(_opened(path, whole=self._size))
            self._held = held.pop_all()

    def append(self, event: Event) -> bool:
        """Whether it was new. It survives a power cut once this returns; one that is refused leaves the file as it was.

        A line is only counted in `size` when it is on the disk, so that nobody sends what a power cut takes back.
        """
        with self._appending:
            key = uuid.UUID(event.id).bytes
            if key in self._ids:
                return False
            self._write(event.text.encode("ascii") + b"\n")
            self._ids.add(key)
            self._lines += 1
        for heard in self._listeners:
            heard()
        return True

    def _write(self, line: bytes) -> None:
        try:
            self._file.truncate(self._size)  # an interrupt may have left half a line
            _write_all(self._file, line)
            os.fsync(self._file.fileno())
        except OSError as exc:
            with suppress(OSError):  # a disk that refuses even this is asked again by the next append or opening
                self._file.truncate(self._size)
            raise output_error(self.path, exc) from exc
        self._size += len(line)

    def on_append(self, heard: Callable[[], None]) -> None:
        """Call it after every new event, in the thread that appends: it must not take long."""
        self._listeners.append(heard)

    @property
    def size(self) -> int:
        """Bytes of the lines that are on the disk."""
        return self._size

    def __len__(self) -> int:
        return self._lines

    def __contains__(self, event_id: str) -> bool:
        return uuid.UUID(event_id).bytes in self._ids

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _known(path: Path) -> tuple[set[bytes], int, int]:
    """The ids, 16 bytes each, and how many whole lines and bytes there are."""
    if not path.exists():
        return set(), *START
    if not path.is_file():
        raise OutputError(f"cannot write {path}: it is not a regular file")
    ids: set[bytes] = set()
    lines, size = START
    for line in read_lines(path):
        ids.add(uuid.UUID(line.event.id).bytes)
        lines, size = line.number, line.end
    return ids, lines, size


def _opened(path: Path, *, whole: int) -> FileIO:
    """Unbuffered, and without what a killed writer left after the last whole line."""
    try:
        file = FileIO(path, "a")
        try:
            _cut_off_torn_line(path, file, whole=whole)
            os.fsync(file.fileno())
            _flush_folder(path.parent)
        except BaseException:
            file.close()
            raise
    except OutputError:
        raise
    except OSError as exc:
        raise output_error(path, exc) from exc
    return file


def _cut_off_torn_line(path: Path, file: FileIO, *, whole: int) -> None:
    with path.open("rb") as reader:
        reader.seek(whole)
        torn = reader.read()
    if not torn:
        return
    # After a power cut, a file may have its new length but zeros in it.
    if not (torn.startswith(FIRST[: len(torn)]) or not torn.strip(b"\0")):
        raise OutputError(f"{path} ends with something that is no event; put it right or write to another folder")
    log.warning("%s: the last line was not written whole, by a run that was killed; it is cut off", path)
    file.truncate(whole)


def _flush_folder(folder: Path) -> None:
    """So that the name of a new file survives a power cut too. Windows does that by itself, and cannot be asked."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(file: FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
