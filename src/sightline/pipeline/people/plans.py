"""What a run is asked to watch, what it answers, and whom it tells meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sightline.pipeline.people.visits import Decision, Visit
from sightline.types import FloatArray, Frame, Tracks
from sightline.video import SourceInfo


@dataclass(frozen=True)
class CameraPlan:
    """One source to be watched."""

    name: str
    source: str
    start_s: float  # seconds since 1970 of its first frame


@dataclass(frozen=True)
class CameraReport:
    """How far one camera came."""

    plan: CameraPlan
    frames: int  # up to the last that was looked at
    seconds: float
    fps: float
    size_hw: tuple[int, int]
    dropped: int = 0
    error: str = ""  # why it ended early


class Watcher(Protocol):
    """Told what happens, as it happens, by the thread that does it."""

    def camera_opened(self, camera: str, info: SourceInfo, first: int) -> None:
        """`first` is the frame it begins with."""

    def frame_seen(self, camera: str, frame: Frame, present: Tracks) -> None: ...

    def visit_kept(self, visit: Visit, decision: Decision) -> None: ...


class Nobody:
    """A `Watcher` that does not care."""

    def camera_opened(self, camera: str, info: SourceInfo, first: int) -> None:
        pass

    def frame_seen(self, camera: str, frame: Frame, present: Tracks) -> None:
        pass

    def visit_kept(self, visit: Visit, decision: Decision) -> None:
        pass


@dataclass(frozen=True, eq=False)
class View:
    """What is known of a camera when a visit to it ends."""

    plan: CameraPlan
    size_hw: tuple[int, int] | None  # of its frames
    scene: FloatArray | None = None  # (D,) how the place looks without anybody


# What is done with a visit: durable when it returns, and nothing new the second time.
Keep = Callable[[Visit, View], Decision]
