"""OpenCV's reader of moving pictures, and what it takes to trust it.

The FFmpeg inside it takes a name with a colon for an address and waits for ever at a pipe; it makes up a rate where a
file has none, and hands on times that go back. All that is settled here, for what reads files and what reads cameras.
"""

from __future__ import annotations

import heapq
import logging
import math
import stat
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2

from sightline.errors import SourceError

log = logging.getLogger(__name__)

FPS = 30.0  # of a folder of images, and where a file claims nothing or nonsense
FASTEST_FPS = 240.0  # a claim above it is rather the unit in which the file counts time
MEASURED_PACKETS = 300
REORDERED = 32  # more frames than any codec keeps back to send later ones first


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before its first frame is read."""

    name: str
    size_hw: tuple[int, int]  # upright
    fps: float  # the mean, where the rate varies
    frame_count: int | None = None  # as the file claims or its length suggests; None: live, or it does not say
    live: bool = False


def open_file(path: Path) -> cv2.VideoCapture:
    """A reader of a video file. Raises `SourceError` for anything else, without waiting for it."""
    require_file(path)
    capture = cv2.VideoCapture(spelled(path), cv2.CAP_FFMPEG)
    if has_pictures(capture):
        return capture
    capture.release()
    raise no_video(path)


def has_pictures(capture: cv2.VideoCapture) -> bool:
    """Whether it is open, and has a picture with a size: one full of zeros has not."""
    return capture.isOpened() and capture.get(cv2.CAP_PROP_FRAME_WIDTH) > 0


def no_video(path: Path) -> SourceError:
    return SourceError(f"{path} is not a video this build of OpenCV can read; expected pictures in e.g. .mp4 or .mkv")


def require_file(path: Path) -> None:
    """That there is a regular file with something in it: opening a pipe or a device would wait for it."""
    try:
        kind = _kind_of(path)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise SourceError(f"video not found: {path}") from exc
    except OSError as exc:
        raise SourceError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:  # a NUL in the name
        raise SourceError(f"video not found: {str(path)!r}") from exc
    if kind:
        raise SourceError(f"{path} is {kind}; expected a video file (a camera is named by its number, as in 0)")


def _kind_of(path: Path) -> str:
    """What it is, where it is no file with something in it."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        return "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
    with path.open("rb") as file:
        return "" if file.read(1) else "empty"


def spelled(path: Path) -> str:
    """The name as OpenCV understands it: absolute, so that nothing before a colon can pass for a protocol."""
    if not is_utf8(path):
        raise SourceError(f"{str(path)!r}: the name is not UTF-8, which OpenCV cannot open; rename it")
    return str(path.absolute())


def is_utf8(path: Path) -> bool:
    """Whether the name is text. OpenCV crashes on one that is not."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        return False
    return True


def info_of(capture: cv2.VideoCapture, name: str) -> SourceInfo:
    """What the source says of itself; where its rate is nonsense, `FPS` and no count."""
    width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    fps, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if not 0 < fps <= FASTEST_FPS:
        return SourceInfo(name, (height, width), FPS)
    return SourceInfo(name, (height, width), fps, count if count > 0 else None)


def info_of_file(capture: cv2.VideoCapture, path: Path) -> SourceInfo:
    """As `info_of`, with the rate measured where the file has none, as what browsers record."""
    info = info_of(capture, str(path))
    claimed_fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    if not claimed_fps > FASTEST_FPS:
        return info
    fps = _measured_fps(path)
    return replace(info, fps=fps, frame_count=round(count / claimed_fps * fps) if count > 0 else None)


def _measured_fps(path: Path) -> float:
    """The mean rate at the beginning of a file."""
    with closing(packet_times_s(path)) as times:
        first = list(islice(times, MEASURED_PACKETS))
    if len(first) < 2 or first[-1] <= first[0]:
        return FPS
    return (len(first) - 1) / (first[-1] - first[0])


def packet_times_s(path: Path) -> Generator[float, None, None]:
    """The time of every frame in a file, ascending, without decoding any: thousands a second."""
    capture = cv2.VideoCapture(spelled(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    kept_back: list[float] = []
    try:
        while capture.grab():
            heapq.heappush(kept_back, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            if len(kept_back) > REORDERED:
                yield heapq.heappop(kept_back)
    finally:
        capture.release()
    yield from sorted(kept_back)


class Clock:
    """Times of frames that always go forward, as all that reckons with them relies on.

    A time that stands still or goes back is replaced by the one before and the length of a frame; said once a file.
    """

    def __init__(self, name: str, *, fps: float) -> None:
        self._name = name
        self._fps = fps
        self._is_repaired = False
        self.last_s = -math.inf

    def tick(self, claimed_s: float) -> float:
        """The time of the next frame, in seconds."""
        time_s = claimed_s if claimed_s > self.last_s else self._repaired_s(claimed_s)
        self.last_s = time_s
        return time_s

    def _repaired_s(self, claimed_s: float) -> float:
        if not self._is_repaired:
            self._is_repaired = True
            log.warning(
                "%s: a frame at %.3f s comes after one at %.3f s; where its times do not go forward they are reckoned "
                "with its %.4g frames/s",
                *(self._name, claimed_s, self.last_s, self._fps),
            )
        return max(self.last_s, -1 / self._fps) + 1 / self._fps
