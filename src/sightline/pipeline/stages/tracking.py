"""Stage 2: boxes joined into tracklets by how they move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sightline.pipeline.stages.config import OUR_TRACKER, TrackSection
from sightline.pipeline.stages.detecting import STAGE1
from sightline.pipeline.stages.records import read_arrays
from sightline.pipeline.stages.step import Job, Step, counted
from sightline.pipeline.stages.tracklet_file import Film, Tracked, write_tracked
from sightline.tracking.precomputed import Precomputed, read_detections
from sightline.tracking.tracker import AppearanceTracker, Tracker
from sightline.tracking.trackers_library import LibraryTracker
from sightline.types import Array, Tracklet, Tracks

TOLD_EVERY = 100  # frames


def _track(job: Job) -> None:
    record, arrays = read_arrays(job.files[STAGE1.name])
    film, seen, times_s = Film.of(record), arrays["seen"], arrays["times_s"]
    answers = list(_answers(job, read_detections(job.files[STAGE1.name]), seen, times_s, film))
    tracklets = tuple(tracklets_of(answers, seen, times_s, source=film.name, min_frames=job.settings.min_frames))
    tracked = Tracked(film, tracklets, tuple((tracklet.track_id,) for tracklet in tracklets))
    told = f"{counted(len(tracklets), 'tracklet')} of {counted(tracked.boxes(), 'box')}, by {job.settings.tracker}"
    write_tracked(job.file, tracked, job.record(told))


def _answers(job: Job, found: Precomputed, seen: Array, times_s: Array, film: Film) -> Iterator[Tracks]:
    tracker = _tracker(job.settings, film)
    for frame, time_s in zip(seen.tolist(), times_s.tolist(), strict=True):
        if frame % TOLD_EVERY == 0:
            job.progress(job.origin.stage, frame, film.frames)
        yield tracker.update(found.at(frame), frame=frame, time_s=time_s)


def _tracker(settings: TrackSection, film: Film) -> Tracker:
    if settings.tracker == OUR_TRACKER:
        return AppearanceTracker(settings.settings)
    return LibraryTracker(settings.tracker, frame_rate=film.fps)


def tracklets_of(
    answers: Sequence[Tracks], seen: Array, times_s: Array, *, source: str, min_frames: int
) -> Iterator[Tracklet]:
    """The tracklets in what a tracker answered to each of the frames `seen`, the lowest id first."""
    counts = [len(answer) for answer in answers]
    ids = np.concatenate([np.empty(0, np.int64), *(answer.ids for answer in answers)])
    moments = np.repeat(np.arange(len(answers)), counts)
    boxes = np.concatenate([np.empty((0, 4), np.float32), *(answer.detections.boxes_xyxy for answer in answers)])
    scores = np.concatenate([np.empty(0, np.float32), *(answer.detections.scores for answer in answers)])
    order = np.argsort(ids, kind="stable")  # of one id, in the order of frames
    numbers, starts = np.unique(ids[order], return_index=True)
    for number, rows in zip(numbers.tolist(), np.split(order, starts[1:]), strict=False):
        if len(rows) >= min_frames:
            when = moments[rows]
            yield Tracklet(number, source, seen[when], times_s[when], boxes[rows], scores[rows])


STAGE2 = Step("stage2_track", "stage2_tracklets.npz", (STAGE1.name,), _track)
