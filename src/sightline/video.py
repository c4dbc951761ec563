"""Pictures in, one after another, and out again: video files, folders of images, and what is written of them.

Every frame has the time the file gives it, so that a variable frame rate needs no thought; `fps` is only what the file
claims. What is live is in `sightline.camera`.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import cast

import cv2

from sightline.errors import OutputError, SourceError
from sightline.files import output_error
from sightline.images import IMAGE_SUFFIXES, read_image
from sightline.types import Frame, Image

log = logging.getLogger(__name__)

FPS = 30.0  # of a folder of images, and where a file claims nothing or nonsense
# What plays where: mp4v in every player, VP8 in every browser too. H.264 encoders are not in permissive builds.
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP80"}


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before its first frame is read."""

    name: str
    size_hw: tuple[int, int]  # upright
    fps: float
    frame_count: int | None = None  # as the file claims it; None: live, or the file does not say
    live: bool = False


class _Closing(ABC):
    """What every source has in common: a `with` block closes it."""

    @abstractmethod
    def close(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class VideoFile(_Closing):
    """A file with moving pictures, decoded one frame at a time and turned upright as its metadata says."""

    dropped = 0

    def __init__(self, path: Path) -> None:
        _require_video_file(path)
        self._path = path
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise SourceError(f"{path} is not a video this build of OpenCV can read; expected e.g. .mp4, .mkv or .avi")
        self.info = info_of(self._capture, str(path))

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            there, image = self._capture.read()
            if not there:
                break
            yield Frame(cast(Image, image), index, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, str(self._path))
            index += 1
        self._settle(index)

    def picked(self, indices: Collection[int]) -> Iterator[Image]:
        """The pictures of those frames alone, ascending.

        The others are passed over without being turned into pixels. Seeking would be quicker, and in many files land
        on another frame than the one asked for.
        """
        last = max(indices, default=-1)
        for index in range(last + 1):
            if not self._capture.grab():
                return
            if index in indices:
                yield cast(Image, self._capture.retrieve()[1])

    def _settle(self, read: int) -> None:
        """Nothing read is an error; fewer frames than promised is said, and what there was has been used."""
        if read == 0:
            raise SourceError(f"{self._path}: no frame of it can be decoded; the file is damaged or has no pictures")
        promised = self.info.frame_count
        if promised is not None and read < promised:
            log.warning("%s ends after %d of the %d frames it promises", self._path, read, promised)

    def close(self) -> None:
        self._capture.release()

    def __enter__(self) -> VideoFile:
        return self


class ImageFolder(_Closing):
    """The images of a folder as the frames of a video, `2.png` before `10.png`."""

    dropped = 0

    def __init__(self, folder: Path, *, fps: float = FPS) -> None:
        self._files = sorted((file for file in folder.iterdir() if _is_image(file)), key=_natural)
        if not self._files:
            raise SourceError(
                f"no images in {folder}: expected a video, or a folder with {' '.join(sorted(IMAGE_SUFFIXES))}"
            )
        height, width = read_image(self._files[0]).shape[:2]
        self.info = SourceInfo(str(folder), (height, width), fps, len(self._files))

    def __iter__(self) -> Iterator[Frame]:
        for index, file in enumerate(self._files):
            yield Frame(read_image(file), index, index / self.info.fps, str(file))

    def picked(self, indices: Collection[int]) -> Iterator[Image]:
        """The pictures of those frames alone, ascending."""
        for index in sorted(indices):
            if index < len(self._files):
                yield read_image(self._files[index])

    def close(self) -> None:
        """Nothing is held open between two images."""

    def __enter__(self) -> ImageFolder:
        return self


def _require_video_file(path: Path) -> None:
    if not path.exists():
        raise SourceError(f"video not found: {path}")
    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty; expected a video")


def info_of(capture: cv2.VideoCapture, name: str) -> SourceInfo:
    width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    fps, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return SourceInfo(name, (height, width), fps if 0 < fps <= 1000 else FPS, count if count > 0 else None)


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()


def _natural(file: Path) -> tuple[tuple[int, int, str], ...]:
    parts = re.split(r"(\d+)", file.name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


class VideoWriter:
    """A video file that appears under its name when it is whole, and not before.

    The suffix decides the codec (`CODECS`). Frames of another size than the first are a `ValueError`: a player would
    show garbage. Raises `OutputError` where the file cannot be written.
    """

    def __init__(self, target: Path, *, fps: float) -> None:
        if target.suffix.lower() not in CODECS:
            raise OutputError(f"cannot write {target}: expected a name that ends in {', '.join(CODECS)}")
        self._target = target
        self._fps = fps
        # The suffix must stay last: OpenCV chooses the container by it.
        self._temporary = target.with_name(f".{target.stem[:40]}.part{target.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._size_hw = (0, 0)

    def write(self, image: Image) -> None:
        size_hw = (image.shape[0], image.shape[1])
        if self._writer is None:
            self._writer, self._size_hw = self._open(size_hw), size_hw
        if size_hw != self._size_hw:
            raise ValueError(f"{self._target}: a frame of {size_hw} after frames of {self._size_hw}; resize it first")
        self._writer.write(image)

    def _open(self, size_hw: tuple[int, int]) -> cv2.VideoWriter:
        codec = cv2.VideoWriter.fourcc(*CODECS[self._target.suffix.lower()])
        try:
            self._temporary.touch()
        except OSError as exc:
            raise output_error(self._target, exc) from exc
        writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, codec, self._fps, (size_hw[1], size_hw[0]))
        if not writer.isOpened():
            self._temporary.unlink(missing_ok=True)
            raise OutputError(f"cannot write {self._target}: OpenCV cannot encode {size_hw[1]}x{size_hw[0]} to it")
        return writer

    def close(self) -> None:
        """Finish the file and give it its name. Without a single frame there is no file."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            self._temporary.replace(self._target)
        except OSError as exc:
            raise output_error(self._target, exc) from exc

    def abandon(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()
