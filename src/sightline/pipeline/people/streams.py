"""The frames of several cameras as one stream, each with what the detector found in it."""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Generic, TypeVar

from sightline.errors import SourceError
from sightline.pipeline.ahead import ahead
from sightline.pipeline.timing import Stopwatch
from sightline.tracking.background import BackgroundDetector
from sightline.tracking.detector import Detector
from sightline.tracking.precomputed import Precomputed
from sightline.types import Detections, Frame

IN_FLIGHT = 1 << 26  # bytes of pictures that wait between two stages
DEEPEST = 4  # frames

Key = TypeVar("Key")


@dataclass(frozen=True, eq=False)
class Feed(Generic[Key]):
    """One camera as a stream: its frames, and the detector that looks at them."""

    key: Key
    frames: Iterable[Frame]
    detector: Detector
    known: dict[int, Detections] = field(default_factory=dict)  # frames that need not be looked at again
    first: int = 0  # the frame to begin with; those before it are for the detector to learn from


@dataclass(frozen=True, eq=False)
class Seen(Generic[Key]):
    """A frame that was looked at; without one, the end of a camera, with the error that ended it."""

    key: Key
    frame: Frame | None
    detections: Detections | None = None
    error: SourceError | None = None


def depth_for(size_hw: tuple[int, int]) -> int:
    """How many frames of that size may wait: few of large ones, whatever a camera sends."""
    return max(1, min(DEEPEST, IN_FLIGHT // max(1, 3 * size_hw[0] * size_hw[1])))


def recorded(feeds: Sequence[Feed[Key]], *, depth: int, clock: Stopwatch) -> Generator[Seen[Key]]:
    """Recordings as if they ran side by side: always the frame with the earliest time next, the same in every run."""
    streams = [
        _with_end(feed, ahead(clock.making("decode", feed.frames), depth=depth, name="decode")) for feed in feeds
    ]
    merged = heapq.merge(*streams, key=lambda seen: seen.frame.time_s if seen.frame is not None else -1.0)
    yield from ahead(_looked_at(merged, feeds, batch=depth, clock=clock), depth=depth, name="detect")


def live(feeds: Sequence[Feed[Key]], *, depth: int, clock: Stopwatch) -> Generator[Seen[Key]]:
    """Cameras: whichever has a frame next. What comes faster than it is used is dropped by the cameras themselves."""
    yield from ahead(_looked_at(_as_they_come(feeds), feeds, batch=1, clock=clock), depth=1, name="detect")


def _with_end(feed: Feed[Key], frames: Iterable[Frame]) -> Iterator[Seen[Key]]:
    """Every frame, then the end."""
    try:
        for frame in frames:
            yield Seen(feed.key, frame)
    except SourceError as exc:
        yield Seen(feed.key, None, error=exc)
        return
    yield Seen(feed.key, None)


def _as_they_come(feeds: Sequence[Feed[Key]]) -> Iterator[Seen[Key]]:
    ready: queue.Queue[Seen[Key]] = queue.Queue(1)
    given_up = threading.Event()

    def read(feed: Feed[Key]) -> None:
        for seen in _with_end(feed, feed.frames):
            while not given_up.is_set():
                try:
                    ready.put(seen, timeout=0.1)
                except queue.Full:
                    continue
                break

    readers = [threading.Thread(target=read, args=(feed,), name="sightline-read", daemon=True) for feed in feeds]
    for reader in readers:
        reader.start()
    try:
        going = len(feeds)
        while going:
            seen = ready.get()
            going -= seen.frame is None
            yield seen
    finally:
        given_up.set()


def _looked_at(
    stream: Iterable[Seen[Key]], feeds: Sequence[Feed[Key]], *, batch: int, clock: Stopwatch
) -> Iterator[Seen[Key]]:
    """The same with detections, up to `batch` frames looked at at once."""
    by_key = {feed.key: feed for feed in feeds}
    waiting = iter(stream)
    while part := list(islice(waiting, batch)):
        with clock("detect"):
            found = _detected(part, by_key.__getitem__)
        yield from found


def _detected(part: Sequence[Seen[Key]], feed_of: Callable[[Key], Feed[Key]]) -> list[Seen[Key]]:
    """Neighbours of one detector in one call, so that it may use every core."""
    answers: list[Seen[Key]] = []
    for detector, group in groupby(part, key=lambda seen: feed_of(seen.key).detector):
        members = list(group)
        to_look_at = [seen.frame for seen in members if seen.frame is not None and _must_look(feed_of(seen.key), seen)]
        if isinstance(detector, Precomputed) and to_look_at:
            detector.seek(to_look_at[0].index)
        found = iter(detector.detect([frame.image for frame in to_look_at]) if to_look_at else [])
        for seen in members:
            if seen.frame is None:
                answers.append(seen)
                continue
            feed = feed_of(seen.key)
            fresh = next(found) if _must_look(feed, seen) else None
            if seen.frame.index >= feed.first:
                answers.append(Seen(seen.key, seen.frame, feed.known.get(seen.frame.index, fresh)))
    return answers


def _must_look(feed: Feed[Key], seen: Seen[Key]) -> bool:
    """A detector that learns is shown every frame, another one only those it has not answered before."""
    assert seen.frame is not None
    learns = isinstance(feed.detector, BackgroundDetector)
    return learns or (seen.frame.index >= feed.first and seen.frame.index not in feed.known)
