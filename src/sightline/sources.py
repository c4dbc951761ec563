"""Where pictures come from: one function for whatever a user names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

from sightline.camera import Camera, is_address
from sightline.types import Frame
from sightline.video import ImageFolder, SourceInfo, VideoFile


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
    if live or is_address(text) or text.isdecimal():
        return Camera(text)
    return open_recording(Path(source))


def open_recording(path: Path) -> VideoFile | ImageFolder:
    """What can be opened again and gives the same frames: a video file or a folder of images."""
    path = path.expanduser()
    return ImageFolder(path) if path.is_dir() else VideoFile(path)
