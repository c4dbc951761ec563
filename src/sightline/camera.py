"""What is live: cameras and streams, read by a thread of their own so that a slow reader never lags behind the world.

The thread keeps the newest few frames; what does not fit is dropped, oldest first, and counted. A stream that ends or
stalls is opened again after a growing pause; frame numbers and times go on. The picture may come back in another size:
each `Frame` carries its own. (Where the size changes within one connection, OpenCV scales to the size it began with.)
A picture that repeats is no sign of a frozen camera: encoders send nothing new where nothing moves.
"""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import cast

import cv2

from sightline.capture import has_pictures, info_of, no_video, require_file, spelled
from sightline.errors import SourceError
from sightline.types import Frame, Image

log = logging.getLogger(__name__)

_ADDRESS = re.compile(r"(rtsps?|https?|rtmps?|udp|tcp|srt)://", re.IGNORECASE)
_PASSWORD = re.compile(r"(://[^/@:]*):[^/]*@")  # up to the last @: a password may hold one itself
_SECRET = re.compile(r"([?&](?:pwd|pass|passwd|password|token|key|auth)=)[^&#]*", re.IGNORECASE)


def is_address(source: str) -> bool:
    return _ADDRESS.match(source) is not None


def without_password(source: str) -> str:
    """The address as it may be shown and logged."""
    return _SECRET.sub(r"\1…", _PASSWORD.sub(r"\1:…@", source))


@dataclass(frozen=True)
class Patience:
    """How long a live source is waited for."""

    open_s: float = 10.0  # for it to answer
    stall_s: float = 10.0  # for the next frame
    first_pause_s: float = 0.5  # before it is opened again; doubles each time
    longest_pause_s: float = 30.0
    retries: int | None = None  # openings in a row that may fail; None: for ever


class Camera:
    """A live source as an iterator of frames.

    `keep` bounds how old a frame can be when it is handed out: at most `keep` frames wait. A file behaves as a camera
    that sends at the file's own pace, once, and then ends.
    """

    def __init__(self, source: str, *, keep: int = 2, patience: Patience | None = None) -> None:
        self._source = source
        self._name = without_password(source)
        self._patience = patience or Patience()
        self._waiting: deque[Frame] = deque()
        self._keep = max(1, keep)
        self._changed = threading.Condition()
        self._closed = False
        self._ended = False  # and there will be no more frames
        self._began_s = time.monotonic()
        self._last_index = -1
        self.dropped = 0
        self.reconnects = 0
        capture = self._open()
        if capture is None:
            raise self._silence()
        self.info = replace(info_of(capture, self._name), live=True, frame_count=None)
        self._thread = threading.Thread(target=self._watch, args=(capture,), name="sightline-camera", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended or self._closed)
                if not self._waiting:
                    return
                frame = self._waiting.popleft()
            yield frame

    def stop(self) -> None:
        """End the iteration, from any thread or a signal handler. Frames that wait are handed out before it ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        self.stop()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=max(self._patience.open_s, self._patience.stall_s) + 1)

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _is_file(self) -> bool:
        return not is_address(self._source) and not self._source.isdecimal()

    def _silence(self) -> SourceError:
        if self._is_file:
            return no_video(Path(self._source))
        return SourceError(f"{self._name} does not answer within {self._patience.open_s:g} s; is it on, and reachable?")

    def _open(self) -> cv2.VideoCapture | None:
        if self._source.isdecimal():
            capture = cv2.VideoCapture(int(self._source))
        else:
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(self._patience.open_s * 1000)]
            limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(self._patience.stall_s * 1000)]
            capture = cv2.VideoCapture(self._opened_name(), cv2.CAP_FFMPEG, limits)
        if has_pictures(capture):
            return capture
        capture.release()
        return None

    def _opened_name(self) -> str:
        if not self._is_file:
            return self._source
        path = Path(self._source).expanduser()
        require_file(path)
        return spelled(path)

    def _watch(self, capture: cv2.VideoCapture) -> None:
        """The thread. Whatever ends it, nobody is left waiting for a frame."""
        try:
            self._read_and_reopen(capture)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read_and_reopen(self, capture: cv2.VideoCapture) -> None:
        """Read until closed, opening the source again whenever it falls silent."""
        current: cv2.VideoCapture | None = capture
        pauses_s = self._pauses_s()
        while current is not None:
            if self._read_out(current):
                pauses_s = self._pauses_s()
            current.release()
            current = None if self._closed or self._is_file else self._reopened(pauses_s)

    def _read_out(self, capture: cv2.VideoCapture) -> bool:
        """Hand over frames for as long as they come: whether any did."""
        pace = _Pace(capture) if self._is_file else None
        before = self._last_index
        while not self._closed:
            there, image = capture.read()
            if not there:
                break
            if pace is not None:
                pace.wait(lambda: self._closed)
            self._hand_over(cast(Image, image))
        return self._last_index > before

    def _hand_over(self, image: Image) -> None:
        with self._changed:
            self._last_index += 1
            self._waiting.append(Frame(image, self._last_index, time.monotonic() - self._began_s, self._name))
            if len(self._waiting) > self._keep:
                self._waiting.popleft()
                self.dropped += 1
            self._changed.notify_all()

    def _pauses_s(self) -> Iterator[float]:
        """The pauses before each new opening, until frames come again."""
        pause_s, retries = self._patience.first_pause_s, self._patience.retries
        for _ in itertools.count() if retries is None else range(retries):
            yield pause_s
            pause_s = min(2 * pause_s, self._patience.longest_pause_s)

    def _reopened(self, pauses_s: Iterator[float]) -> cv2.VideoCapture | None:
        for pause_s in pauses_s:
            log.warning("%s fell silent; opening it again in %.1f s", self._name, pause_s)
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=pause_s)
            capture = None if self._closed else self._open()
            if capture is not None:
                self.reconnects += 1
                return capture
            if self._closed:
                break
        return None


class _Pace:
    """Makes a file send its frames when they were taken."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self._began_s = time.monotonic()

    def wait(self, give_up: Callable[[], bool]) -> None:
        due_s = self._began_s + self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        while not give_up() and (left_s := due_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.05))
