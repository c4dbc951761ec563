"""Watching recordings and cameras: every visit kept once, however often the run is broken off."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import SourceError
from sightline.pipeline.people.plans import CameraPlan, Nobody, View
from sightline.pipeline.people.run import PeopleRun, scenes_in
from sightline.pipeline.people.visits import Decision, Visit
from sightline.pipeline.people.watching import Watch
from sightline.pipeline.timing import Stopwatch
from sightline.tracking.background import BackgroundDetector
from sightline.tracking.detector import Detector
from sightline.tracking.mot_files import read_mot
from sightline.tracking.precomputed import read_detections
from sightline.tracking.tracker import AppearanceTracker
from sightline.types import FloatArray, Frame, Tracks
from street import ColourEmbedder, write_street

DECISION = Decision("new", "somebody", "")


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_street(tmp_path_factory.mktemp("street"), seed=11, cameras=["gate", "yard"])


class Kept(Nobody):
    """Keeps visits in memory by camera and number, as a store would that takes each once; stops a run at will."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        self.visits: dict[tuple[str, int], Visit] = {}
        self.calls = 0
        self.frames: dict[str, list[int]] = {}
        self.starts: dict[str, float] = {}
        self.scenes: dict[str, FloatArray] = {}
        self._left = stop_after
        self.stop: Callable[[], None] = lambda: None

    def __call__(self, visit: Visit, view: View) -> Decision:
        self.calls += 1
        self.visits[visit.camera, visit.number] = visit
        self.starts[visit.camera] = view.plan.start_s
        if view.scene is not None:
            self.scenes[visit.camera] = view.scene
        return DECISION

    def frame_seen(self, camera: str, frame: Frame, present: Tracks) -> None:
        self.frames.setdefault(camera, []).append(frame.index)
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.stop()


def true_boxes(video: Path) -> Detector:
    return read_detections(video.with_suffix(".txt"))


def run_of(
    folder: Path,
    groups: Sequence[Sequence[CameraPlan]],
    kept: Kept,
    *,
    detector: Callable[[Path], Detector] = true_boxes,
    is_live: bool = False,
) -> PeopleRun:
    sources = {plan.name: Path(plan.source) for group in groups for plan in group}
    clock = Stopwatch()
    run = PeopleRun(
        folder,
        groups,
        detector_of=lambda camera: detector(sources[camera]),
        watch_of=lambda camera: Watch(camera, tracker=AppearanceTracker(), embedder=ColourEmbedder(), clock=clock),
        keep=kept,
        is_live=is_live,
        watcher=kept,
        clock=clock,
    )
    kept.stop = run.stop
    return run


def side_by_side(street: dict[str, Path]) -> list[list[CameraPlan]]:
    return [[CameraPlan(name, str(path), 1000.0) for name, path in street.items()]]


def plain(visits: dict[tuple[str, int], Visit]) -> dict[tuple[str, int], object]:
    return {
        key: (
            visit.tracklet.frames.tolist(),
            visit.tracklet.boxes_xyxy.tolist(),
            None if visit.tracklet.embedding is None else visit.tracklet.embedding.vectors.tolist(),
            [crop.tolist() for crop in visit.tracklet.crops],
            (visit.count, visit.quality, visit.continues),
        )
        for key, visit in visits.items()
    }


@pytest.fixture(scope="module")
def whole(street: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Kept:
    kept = Kept()
    run_of(tmp_path_factory.mktemp("whole"), side_by_side(street), kept).go()
    return kept


def test_every_frame_of_every_camera_is_seen_once_and_in_order(whole: Kept) -> None:
    assert whole.frames == {"gate": list(range(150)), "yard": list(range(150))}


def test_the_boxes_of_all_visits_are_those_that_were_found(whole: Kept, street: dict[str, Path]) -> None:
    for name, video in street.items():
        truth = read_mot(video.with_suffix(".txt"))
        true = {(frame - 1, *box) for frame, box in zip(truth.frames.tolist(), truth.boxes_xyxy.tolist(), strict=True)}
        visits = [visit.tracklet for (camera, _), visit in whole.visits.items() if camera == name]
        rows = [
            (frame, *box)
            for track in visits
            for frame, box in zip(track.frames.tolist(), track.boxes_xyxy.tolist(), strict=True)
        ]
        found = set(rows)
        assert len(found) == len(rows)  # none in two visits
        clipped = {(frame, *np.clip(box, 0, [320, 180, 320, 180]).tolist()) for frame, *box in true}
        assert found <= clipped
        assert len(found) > 0.9 * len(clipped)  # a track needs two frames to be one, and what has no size is none


def test_visits_are_numbered_without_gaps(whole: Kept) -> None:
    for camera in ("gate", "yard"):
        numbers = sorted(number for name, number in whole.visits if name == camera)
        assert numbers == list(range(1, len(numbers) + 1)) and numbers
    assert whole.calls == len(whole.visits)


@pytest.mark.parametrize("first", [1, 2, 37, 150, 163, 299])
def test_a_run_stopped_at_any_frame_goes_on_as_if_it_had_not_been(
    whole: Kept, street: dict[str, Path], tmp_path: Path, first: int
) -> None:
    kept = Kept(stop_after=first)
    run_of(tmp_path, side_by_side(street), kept).go()
    assert kept.calls < len(whole.visits) or first == 299
    again = run_of(tmp_path, side_by_side(street), kept)
    again.go()
    assert again.finished
    assert plain(kept.visits) == plain(whole.visits)
    assert kept.frames == whole.frames


class Killed(Kept):
    """Takes a copy of the folder at a frame, which is what a kill then leaves, and of the visits before."""

    def __init__(self, folder: Path, copy: Path, *, at: int) -> None:
        super().__init__()
        self._folder, self._copy, self._at = folder, copy, at
        self.before: dict[tuple[str, int], Visit] = {}

    def frame_seen(self, camera: str, frame: Frame, present: Tracks) -> None:
        super().frame_seen(camera, frame, present)
        if sum(map(len, self.frames.values())) == self._at:
            shutil.copytree(self._folder, self._copy)
            self.before = dict(self.visits)


@pytest.mark.parametrize("detector", [true_boxes, lambda video: BackgroundDetector()], ids=["given", "background"])
@pytest.mark.parametrize("at", [20, 130, 222])
def test_what_a_kill_leaves_is_enough_to_go_on_as_if_nothing_had_been(
    street: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    detector: Callable[[Path], Detector],
    at: int,
) -> None:
    monkeypatch.setattr("sightline.pipeline.people.run.SAVED_EVERY_S", 0.1)
    groups = side_by_side(street)
    whole = Killed(tmp_path / "whole", tmp_path / "killed", at=at)
    run_of(tmp_path / "whole", groups, whole, detector=detector).go()
    kept = Kept()
    kept.visits = dict(whole.before)
    run_of(tmp_path / "killed", groups, kept, detector=detector).go()
    assert plain(kept.visits) == plain(whole.visits)


def test_a_run_that_is_done_does_nothing_again(street: dict[str, Path], tmp_path: Path) -> None:
    run_of(tmp_path, side_by_side(street), Kept()).go()
    kept = Kept()
    again = run_of(tmp_path, side_by_side(street), kept)
    again.go()
    assert (kept.calls, kept.frames, again.finished) == (0, {}, True)
    assert {name: report.frames for name, report in again.reports.items()} == {"gate": 150, "yard": 150}


def test_groups_come_one_after_another_in_time(street: dict[str, Path], tmp_path: Path) -> None:
    kept = Kept()
    groups = [[CameraPlan(name, str(path), 1000.0)] for name, path in street.items()]
    run_of(tmp_path, groups, kept).go()
    # 150 frames at 25 a second: the last is at 5.96 s, and a second lies between the two.
    assert kept.starts == {"gate": 1000.0, "yard": pytest.approx(1006.96)}


def test_one_source_that_is_none_does_not_keep_the_others_from_being_watched(
    street: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video at all" * 100)
    broken.with_suffix(".txt").write_text("")
    kept = Kept()
    groups = [[CameraPlan("broken", str(broken), 0.0), CameraPlan("gate", str(street["gate"]), 0.0)]]
    run = run_of(tmp_path / "out", groups, kept)
    run.go()
    assert kept.frames == {"gate": list(range(150))}
    assert "broken.mp4" in run.reports["broken"].error and not run.reports["gate"].error


def test_the_only_source_that_is_none_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video at all" * 100)
    with pytest.raises(SourceError, match=r"broken\.mp4"):
        run_of(tmp_path / "out", [[CameraPlan("broken", str(broken), 0.0)]], Kept()).go()


def test_how_each_place_looks_is_told_with_its_visits_and_known_to_the_next_run(
    street: dict[str, Path], tmp_path: Path
) -> None:
    kept = Kept()
    run_of(tmp_path, side_by_side(street), kept).go()
    found = scenes_in(tmp_path, ["gate", "yard", "roof"])
    assert found.keys() == kept.scenes.keys() == {"gate", "yard"}
    for camera, scene in kept.scenes.items():
        assert np.array_equal(found[camera], scene) and scene.shape == (ColourEmbedder.dim,)
    assert not np.array_equal(found["gate"], found["yard"])


def test_what_keeping_raises_ends_the_run_and_its_threads(street: dict[str, Path], tmp_path: Path) -> None:
    class Full(Kept):
        def __call__(self, visit: Visit, view: View) -> Decision:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run_of(tmp_path, side_by_side(street), Full()).go()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("sightline-d")]


def test_a_camera_that_is_left_and_watched_again_counts_its_visits_on(street: dict[str, Path], tmp_path: Path) -> None:
    groups = [[CameraPlan("gate", str(street["gate"]), 1000.0)]]
    first = Kept(stop_after=40)
    run_of(tmp_path, groups, first, is_live=True).go()
    later = [[CameraPlan("gate", str(street["gate"]), 2000.0)]]
    second = Kept(stop_after=40)
    run = run_of(tmp_path, later, second, is_live=True)
    run.go()
    assert not run.finished
    numbers = [number for _, number in (*first.visits, *second.visits)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(first.visits) > 0 and len(second.visits) > 0
