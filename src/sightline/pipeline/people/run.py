"""The main job: every frame of every camera, every visit kept as it ends, and a place to go on from.

What is kept lies in one folder and is durable the moment it is written: whoever kills this loses nothing that had
ended, and the next run takes up the people who were in view. A visit that ended twice, because the run was killed just
after it was kept, has the same number and the same content both times, and every step of keeping it knows that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from sightline.camera import Camera
from sightline.errors import SourceError
from sightline.pipeline.people.plans import CameraPlan, CameraReport, Keep, Nobody, View, Watcher
from sightline.pipeline.people.state import BoxLog, CameraState, read_boxes, read_state, write_state
from sightline.pipeline.people.streams import Feed, Seen, depth_for, live, recorded
from sightline.pipeline.people.visits import Visit
from sightline.pipeline.people.visits_folder import read_visit, visit_folder
from sightline.pipeline.people.watching import Watch, scene_in
from sightline.pipeline.timing import Stopwatch
from sightline.sources import Source, open_source
from sightline.tracking.background import MEMORY, BackgroundDetector
from sightline.tracking.detector import Detector
from sightline.types import FloatArray
from sightline.video import ImageFolder, SourceInfo, VideoFile

STATE = "state"  # the folder, within the run's
SAVED_EVERY_S = 5.0
BETWEEN_S = 1.0  # from the end of one source to the beginning of the next


@dataclass(eq=False)
class _Station:
    """A camera at work."""

    plan: CameraPlan
    watch: Watch
    boxes: BoxLog
    source: Source
    detector: Detector
    next_frame: int = 0
    seconds: float = 0.0
    done: bool = False
    error: str = ""

    @property
    def info(self) -> SourceInfo:
        return self.source.info

    @property
    def size_hw(self) -> tuple[int, int]:
        """Of the frames now; a camera may come back with another."""
        return self.watch.size_hw or self.info.size_hw

    @property
    def state(self) -> CameraState:
        size_hw = self.size_hw
        times = (self.plan.start_s, self.seconds, self.info.fps)
        return CameraState(self.next_frame, self.done, *times, size_hw, self.source.dropped, self.watch.state())

    @property
    def report(self) -> CameraReport:
        state = self.state
        return CameraReport(
            self.plan, state.next_frame, state.seconds, state.fps, state.size_hw, state.dropped, self.error
        )


@dataclass(eq=False)
class PeopleRun:
    """Groups of cameras: those of one group are watched side by side, the groups one after another."""

    folder: Path
    groups: Sequence[Sequence[CameraPlan]]
    detector_of: Callable[[str], Detector]  # by the camera's name; the same one may serve several
    watch_of: Callable[[str], Watch]
    keep: Keep
    is_live: bool = False
    watcher: Watcher = field(default_factory=Nobody)
    clock: Stopwatch = field(default_factory=Stopwatch)
    reports: dict[str, CameraReport] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._asked_to_stop = threading.Event()
        self._cameras: list[Camera] = []
        self._saved_s = 0.0
        self.frames = 0  # looked at by this object

    @property
    def stopped(self) -> bool:
        return self._asked_to_stop.is_set()

    @property
    def finished(self) -> bool:
        """Whether all recordings came to their end. Cameras never do: they are gone on with another day."""
        return not (self.is_live or self.stopped) and len(self.reports) == sum(map(len, self.groups))

    def stop(self) -> None:
        """Come to an end soon; from any thread or a signal handler."""
        self._asked_to_stop.set()
        for camera in self._cameras:
            camera.stop()

    def go(self) -> None:
        """Watch until all sources have ended, or `stop`. Sources that fail are in `reports` with their error.

        A group begins, by the clock of its visits, when the one before has ended. Raises `SourceError` where the only
        source fails, and whatever `keep` raises.
        """
        behind_s = 0.0
        for group in self.groups:
            if self.stopped:
                break
            self._watch_group([replace(plan, start_s=plan.start_s + behind_s) for plan in group])
            behind_s += max(self.reports[plan.name].seconds for plan in group) + BETWEEN_S

    def _watch_group(self, group: Sequence[CameraPlan]) -> None:
        with ExitStack() as stack:
            stations = {}
            for plan in group:
                station = self._station(plan, stack)
                if station is not None:
                    stations[plan.name] = station
            if stations:
                self._follow(stations)

    # Opening

    def _station(self, plan: CameraPlan, stack: ExitStack) -> _Station | None:
        """None for one that is done, or cannot be opened."""
        state = read_state(self._path(plan, "npz"))
        if state is not None and state.done and not self.is_live:
            self.reports[plan.name] = _report_of(plan, state)
            return None
        try:
            source = stack.enter_context(open_source(plan.source, live=self.is_live))
        except SourceError as exc:
            self._failed(plan, exc)
            return None
        if isinstance(source, Camera):
            self._cameras.append(source)
        boxes = stack.enter_context(closing(BoxLog(self._path(plan, "boxes"))))
        station = _Station(plan, self.watch_of(plan.name), boxes, source, self.detector_of(plan.name))
        if state is not None:
            self._restored(station, state)
        self.watcher.camera_opened(plan.name, source.info, station.next_frame)
        return station

    def _path(self, plan: CameraPlan, suffix: str) -> Path:
        folder = self.folder / STATE
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{plan.name}.{suffix}"

    def _failed(self, plan: CameraPlan, exc: SourceError) -> None:
        if sum(map(len, self.groups)) == 1:
            raise exc
        self.reports[plan.name] = CameraReport(plan, 0, 0.0, 0.0, (0, 0), error=str(exc))

    def _restored(self, station: _Station, state: CameraState) -> None:
        station.watch.restore(state.watch)
        if not self.is_live:
            station.next_frame, station.seconds = state.next_frame, state.seconds
        if not self._is_exact(station):
            self._end_what_was_open(station, replace(station.plan, start_s=state.start_s))

    def _is_exact(self, station: _Station) -> bool:
        """Whether the visits since the state was saved come again as they were; no camera shows a thing twice."""
        return station.watch.is_exact and not self.is_live

    def _end_what_was_open(self, station: _Station, then: CameraPlan) -> None:
        """Everybody who was in view when it was left, but for those whose visits were kept since."""
        book = station.watch.book
        while (self.folder / visit_folder(then.name, book.ended + 1)).exists():
            kept = read_visit(self.folder, then.name, book.ended + 1, crops=False)
            book.take_as_ended(0 if kept is None else kept.tracklet.track_id)
        self._keep(replace(station, plan=then), station.watch.end())

    def _feed(self, station: _Station) -> Feed[str]:
        source, first = station.source, station.next_frame
        if not isinstance(source, VideoFile | ImageFolder) or first == 0:
            return Feed(station.plan.name, source, station.detector)
        known = read_boxes(self._path(station.plan, "boxes"), first=first)
        learnt_over = MEMORY if isinstance(station.detector, BackgroundDetector) else 0
        source.start_at(max(0, min(first, first + len(known) - learnt_over)))
        return Feed(station.plan.name, source, station.detector, known, first)

    # Watching

    def _follow(self, stations: dict[str, _Station]) -> None:
        feeds = [self._feed(station) for station in stations.values()]
        largest = max((station.info.size_hw for station in stations.values()), key=lambda hw: hw[0] * hw[1])
        how = live if self.is_live else recorded
        self._saved_s = time.monotonic()
        with closing(how(feeds, depth=depth_for(largest), clock=self.clock)) as stream:
            try:
                self._use(stream, stations)
            finally:
                self.reports.update({name: station.report for name, station in stations.items()})

    def _use(self, stream: Generator[Seen[str]], stations: dict[str, _Station]) -> None:
        for seen in stream:
            station = stations[seen.key]
            if seen.frame is None:
                self._ended(station, seen.error)
            else:
                self._see(station, seen)
            if self.stopped:
                break
            if time.monotonic() - self._saved_s > SAVED_EVERY_S:
                self._save(stations.values())
                self._saved_s = time.monotonic()
        if self.is_live:
            for station in stations.values():
                self._ended(station, None)
        self._save(stations.values())

    def _see(self, station: _Station, seen: Seen[str]) -> None:
        assert seen.frame is not None and seen.detections is not None
        frame = seen.frame
        if not self.is_live:
            station.boxes.append(frame.index, seen.detections)
        visits = station.watch.see(frame, seen.detections)
        station.next_frame, station.seconds, self.frames = frame.index + 1, frame.time_s, self.frames + 1
        self._keep(station, visits)
        self.watcher.frame_seen(station.plan.name, frame, station.watch.present)

    def _ended(self, station: _Station, error: SourceError | None) -> None:
        if station.done:
            return
        self._keep(station, station.watch.end())
        station.done = True
        if error is not None:
            self._failed(station.plan, error)
            station.error = str(error)
        self._save([station])

    def _keep(self, station: _Station, visits: Sequence[Visit]) -> None:
        view = View(station.plan, station.size_hw, station.watch.scene)
        for visit in visits:
            with self.clock("remember"):
                decision = self.keep(visit, view)
            self.watcher.visit_kept(visit, decision)
        if visits and not self._is_exact(station):
            self._save([station])

    def _save(self, stations: Iterable[_Station]) -> None:
        with self.clock("save"):
            for station in stations:
                write_state(self._path(station.plan, "npz"), station.state)
                station.boxes.clear()


def scenes_in(folder: Path, cameras: Iterable[str]) -> dict[str, FloatArray]:
    """How the places of cameras look without anybody, (D,) each: of those of which the run in that folder knows it."""
    states = ((camera, read_state(folder / STATE / f"{camera}.npz")) for camera in cameras)
    scenes = ((camera, scene_in(state.watch)) for camera, state in states if state is not None)
    return {camera: scene for camera, scene in scenes if scene is not None}


def _report_of(plan: CameraPlan, state: CameraState) -> CameraReport:
    return CameraReport(plan, state.next_frame, state.seconds, state.fps, state.size_hw, state.dropped)
