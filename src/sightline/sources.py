"""Where pictures come from: one function for whatever a user names, and one for all that several names mean."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

from sightline.camera import Camera, is_address, without_password
from sightline.capture import require_file
from sightline.errors import SourceError
from sightline.types import Frame
from sightline.video import ImageFolder, SourceInfo, VideoFile, entries_of, is_image, natural_order

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts"}
    | {".wmv", ".flv", ".3gp", ".ogv", ".mjpg", ".mjpeg", ".h264", ".h265"}
)


class Source(Protocol):
    """Frames in order, once; `dropped` counts those that came and were never yielded."""

    @property
    def info(self) -> SourceInfo: ...

    @property
    def dropped(self) -> int: ...

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_source(source: str | Path, *, live: bool = False) -> Source:
    """A video file, a folder of images, the number of a camera, or the address of a stream.

    `live` plays a file as if a camera sent it. Raises `SourceError` where there is nothing to be read.
    """
    text = str(source)
    if live or is_live(text):
        return Camera(text)
    return open_recording(Path(source))


def open_recording(path: Path) -> VideoFile | ImageFolder:
    """What can be opened again and gives the same frames: a video file or a folder of images."""
    path = _at_home(path)
    return ImageFolder(path) if _is_folder(path) else VideoFile(path)


def is_live(source: str) -> bool:
    """Whether it is an address or the number of a camera, and so nothing that can be opened a second time."""
    return is_address(source) or source.isdecimal()


def expand_sources(texts: Sequence[str]) -> list[tuple[str, str]]:
    """All that a user's words mean, each with a short name of its own: (name, what `open_source` takes).

    A word is a file, a glob, a folder, an address or the number of a camera. A folder with videos means all of them, in
    natural order, one with images only is one source. What is named twice comes once. Raises `SourceError` for a word
    that means nothing; whether a file is a video shows when it is opened.
    """
    sources: dict[str, str] = {}
    for source in (source for text in texts for source in _meant_by(text)):
        sources.setdefault(_key(source), source)
    if not sources:
        raise SourceError("no source is named; expected a video, a folder, a glob, or the address of a camera")
    found = list(sources.values())
    return list(zip(_names(found), found, strict=True))


def _meant_by(text: str) -> list[str]:
    if is_live(text):
        return [text]
    path = _at_home(Path(text))
    if _is_folder(path):
        return [str(source) for source in _in_folder(path)]
    if not set("*?[") & set(text) or _is_there(path):
        require_file(path)
        return [str(path)]
    return [str(source) for source in _matching(path)]


def _in_folder(folder: Path) -> list[Path]:
    entries = entries_of(folder)
    videos = sorted((entry for entry in entries if entry.suffix.lower() in VIDEO_SUFFIXES), key=natural_order)
    if videos:
        return videos
    if any(is_image(entry) for entry in entries):
        return [folder]
    raise SourceError(f"no videos and no images in {folder}: expected e.g. .mp4 files, or .jpg files of one camera")


def _matching(pattern: Path) -> list[Path]:
    """The videos that match, and those in folders that match. Images are no sources one by one."""
    matches = (Path(match) for match in glob.glob(str(pattern), recursive=True))  # noqa: PTH207 - no absolute patterns
    found = []
    for match in sorted(matches, key=lambda match: [natural_order(Path(part)) for part in match.parts]):
        if match.suffix.lower() in VIDEO_SUFFIXES and not match.is_dir():
            found.append(match)
        elif match.is_dir() and _holds_frames(match):
            found += _in_folder(match)
    if not found:
        raise SourceError(f"no video matches {pattern}; images are named by their folder")
    return found


def _holds_frames(folder: Path) -> bool:
    return any(entry.suffix.lower() in VIDEO_SUFFIXES or is_image(entry) for entry in entries_of(folder))


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as exc:  # `~name`, where nobody has that name
        raise SourceError(f"video not found: {path}") from exc


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long to be one
        return False


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _key(source: str) -> str:
    """What two names of the same source have in common."""
    return without_password(source) if is_live(source) else str(Path(source).resolve())


def _names(sources: Sequence[str]) -> list[str]:
    """The shortest spellings that tell all of them apart."""
    spellings = [_spellings(source, position) for position, source in enumerate(sources, 1)]
    names = [next(spelling) for spelling in spellings]
    while alike := {name for name, count in Counter(names).items() if count > 1}:
        names = [next(longer) if name in alike else name for name, longer in zip(names, spellings, strict=True)]
    return names


def _spellings(source: str, position: int) -> Iterator[str]:
    """Names for it, from the shortest, without end; from some point on no other source has the same."""
    name = ""
    for name in _own_names(source):
        yield name
    while True:
        name = f"{name}-{position}"
        yield name


def _own_names(source: str) -> Iterator[str]:
    if source.isdecimal():
        yield f"camera-{source}"
    elif is_address(source):
        host, *folders = _address_parts(source)
        yield from ("-".join([host, *folders[:length]]) for length in range(len(folders) + 1))
    else:
        path = Path(source).absolute()
        stem = path.name if _is_folder(path) else path.stem
        yield from (stem, f"{path.parent.name}-{stem}", path.name)
        yield from ("-".join(path.parts[-length:]) for length in range(2, len(path.parts)))


def _address_parts(source: str) -> list[str]:
    """The host and the folders of an address: not who logs in, and not what is asked for, where secrets may be."""
    shown = without_password(source)
    try:
        address = urlsplit(shown)
        return [address.hostname or "camera", *filter(None, address.path.split("/"))]
    except ValueError as exc:
        raise SourceError(f"{shown} is not an address: {exc}") from exc
