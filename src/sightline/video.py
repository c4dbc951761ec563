"""Pictures in, one after another, and out again: video files, folders of images, and what is written of them.

Every frame has the time the file gives it, so that a variable frame rate needs no thought; `fps` is only what the file
claims. What OpenCV gets wrong about files is in `sightline.capture`, what is live in `sightline.camera`.
"""

from __future__ import annotations

import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import cast

import cv2

from sightline.capture import FPS, Clock, SourceInfo, info_of_file, is_utf8, open_file, packet_times_s, spelled
from sightline.errors import OutputError, SourceError
from sightline.files import is_regular_file, output_error
from sightline.images import IMAGE_SUFFIXES, read_image
from sightline.types import Frame, Image

__all__ = ["CODECS", "FPS", "ImageFolder", "SourceInfo", "VideoFile", "VideoWriter"]

log = logging.getLogger(__name__)

# What plays where: mp4v in every player, VP8 in every browser too. H.264 encoders are not in permissive builds.
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
DAMAGED_IN_A_ROW = 1000  # packets, after which a file is over


class _Closing(ABC):
    """What every source has in common: a `with` block closes it."""

    @abstractmethod
    def close(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class VideoFile(_Closing):
    """A file with moving pictures, decoded one frame at a time and turned upright as its metadata says.

    Frames are numbered as they can be decoded. What is damaged in the middle is stepped over and counted in
    `left_out`; the frames after it keep the times the file gives them.
    """

    dropped = 0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._capture = open_file(path)
        self.info = info_of_file(self._capture, path)
        self._clock = Clock(str(path), fps=self.info.fps)
        self._next = 0  # the number of the frame that is grabbed next
        self.left_out = 0

    def __iter__(self) -> Iterator[Frame]:
        while (time_s := self._grab()) is not None:
            there, image = self._capture.retrieve()
            if there:
                yield Frame(cast(Image, image), self._next - 1, time_s, str(self._path))
            else:
                self.left_out += 1
        self._settle()

    def start_at(self, frame: int) -> None:
        """Let the next frame be that one, with the number and the time it always has.

        The frames before it are decoded and passed over: seeking would be quicker, and in many files land on another
        frame. Raises `SourceError` where the file ends before it; right behind the last frame there is nothing left.
        """
        if frame < self._next:
            raise SourceError(f"{self._path} is at frame {self._next} already; open it again to start at {frame}")
        while self._next < frame:
            if self._grab() is None:
                raise SourceError(f"{self._path} has {self._next} frames; it cannot go on from frame {frame}")

    def picked(self, indices: Collection[int]) -> Iterator[Image]:
        """The pictures of those frames alone, ascending; the others are not turned into pixels."""
        last = max(indices, default=-1)
        while self._next <= last and self._grab() is not None:
            if self._next - 1 in indices:
                there, image = self._capture.retrieve()
                if there:
                    yield cast(Image, image)

    def _grab(self) -> float | None:
        """Step to the next frame that can be decoded: its time, in seconds, or None behind the last.

        OpenCV answers the same at a damaged packet and at the end, so it is asked again, which costs microseconds.
        """
        for damaged in range(DAMAGED_IN_A_ROW):
            if self._capture.grab():
                self.left_out += damaged
                self._next += 1
                return self._clock.tick(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        return None

    def _settle(self) -> None:
        """Nothing read is an error; fewer frames than promised is said, and what there was has been used."""
        if self._next == 0:
            raise SourceError(f"{self._path}: no frame of it can be decoded; the file is damaged or has no pictures")
        promised, fps = self.info.frame_count, self.info.fps
        if promised is not None and self._clock.last_s + 1.5 / fps < promised / fps:
            log.warning(
                "%s ends after %d of the %d frames it promises: it is damaged, or was trimmed",
                *(self._path, self._next, promised),
            )
        if self.left_out:
            log.warning("%s is damaged in the midst; frames left out: %d", self._path, self.left_out)

    def close(self) -> None:
        self._capture.release()

    def __enter__(self) -> VideoFile:
        return self


class ImageFolder(_Closing):
    """The images of a folder as the frames of a video, `2.png` before `10.png`."""

    dropped = 0

    def __init__(self, folder: Path, *, fps: float = FPS) -> None:
        self._files = sorted((file for file in entries_of(folder) if is_image(file)), key=natural_order)
        if not self._files:
            raise SourceError(
                f"no images in {folder}: expected a video, or a folder with {' '.join(sorted(IMAGE_SUFFIXES))}"
            )
        height, width = read_image(self._files[0]).shape[:2]
        self.info = SourceInfo(str(folder), (height, width), fps, len(self._files))
        self._first = 0

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._first, len(self._files)):
            yield Frame(read_image(self._files[index]), index, index / self.info.fps, str(self._files[index]))

    def start_at(self, frame: int) -> None:
        """Begin with that frame. Raises `SourceError` where there are fewer."""
        if frame > len(self._files):
            raise SourceError(f"{self.info.name} has {len(self._files)} frames; it cannot go on from frame {frame}")
        self._first = frame

    def picked(self, indices: Collection[int]) -> Iterator[Image]:
        """The pictures of those frames alone, ascending."""
        for index in sorted(indices):
            if index < len(self._files):
                yield read_image(self._files[index])

    def close(self) -> None:
        """Nothing is held open between two images."""

    def __enter__(self) -> ImageFolder:
        return self


def entries_of(folder: Path) -> list[Path]:
    """What is in a folder and not hidden. Raises `SourceError` where it may not be looked into."""
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as exc:
        raise SourceError(f"{folder} cannot be read: {exc.strerror}") from exc


def is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and is_regular_file(file)


def natural_order(file: Path) -> tuple[tuple[int, int, str], ...]:
    """The key that sorts `2.png` before `10.png`."""
    parts = re.split(r"(\d+)", file.name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


class VideoWriter:
    """A video file that appears under its name when it is whole, and not before.

    The suffix decides the codec (`CODECS`). Frames of another size than the first are a `ValueError`: a player would
    show garbage; the last row or column of an odd size is left out, as the codecs have it. Raises `OutputError` where
    the file cannot be written, or not whole: OpenCV does not tell of a full disk, so the frames are counted again.
    """

    def __init__(self, target: Path, *, fps: float) -> None:
        if target.suffix.lower() not in CODECS:
            raise OutputError(f"cannot write {target}: expected a name that ends in {', '.join(CODECS)}")
        if not is_utf8(target):
            raise OutputError(f"cannot write {str(target)!r}: the name is not UTF-8; choose another")
        self._target = target
        self._fps = fps
        # The suffix must stay last: OpenCV chooses the container by it.
        self._temporary = target.with_name(f".{target.stem[:40]}.part{target.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._size_hw = (0, 0)
        self._written = 0

    def write(self, image: Image) -> None:
        size_hw = (image.shape[0], image.shape[1])
        if self._writer is None:
            self._writer, self._size_hw = self._open(size_hw), size_hw
        if size_hw != self._size_hw:
            raise ValueError(f"{self._target}: a frame of {size_hw} after frames of {self._size_hw}; resize it first")
        self._writer.write(image)
        self._written += 1

    def _open(self, size_hw: tuple[int, int]) -> cv2.VideoWriter:
        codec = cv2.VideoWriter.fourcc(*CODECS[self._target.suffix.lower()])
        try:
            self._temporary.touch()
        except OSError as exc:
            raise output_error(self._target, exc) from exc
        writer = cv2.VideoWriter(spelled(self._temporary), cv2.CAP_FFMPEG, codec, self._fps, (size_hw[1], size_hw[0]))
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
            self._require_whole()
            self._temporary.replace(self._target)
        except OSError as exc:
            self.abandon()
            raise exc if isinstance(exc, OutputError) else output_error(self._target, exc) from exc

    def _require_whole(self) -> None:
        with self._temporary.open("rb+") as file:
            os.fsync(file.fileno())
        there = sum(1 for _ in packet_times_s(self._temporary))
        if there < self._written:
            raise OutputError(
                f"cannot write {self._target}: {there} of {self._written} frames reached the disk; is it full?"
            )

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
