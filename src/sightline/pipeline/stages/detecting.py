"""Stage 1: the boxes of every frame, in the form of a file of precomputed detections."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from sightline.errors import SourceError
from sightline.pipeline.ahead import ahead
from sightline.pipeline.stages.config import DetectSection, Pipeline
from sightline.pipeline.stages.detection_parts import DetectionParts
from sightline.pipeline.stages.normalising import STAGE0, recording_of
from sightline.pipeline.stages.records import write_arrays
from sightline.pipeline.stages.step import Job, Step, counted
from sightline.pipeline.stages.tracklet_file import Film
from sightline.sources import open_recording
from sightline.tracking.detector import BACKGROUND, Choice, Detector, ModelDetector, open_detector
from sightline.tracking.precomputed import Precomputed
from sightline.types import Array, Frame
from sightline.video import ImageFolder, SourceInfo, VideoFile

log = logging.getLogger(__name__)

PARTS = ".stage1_parts"


def _detect(job: Job) -> None:
    parts = DetectionParts(job.folder / PARTS, fingerprint=job.origin.fingerprint)
    with _opened(job.settings) as detector, open_recording(recording_of(job)) as recording:
        if not isinstance(detector, ModelDetector):
            parts.forget()  # it learns as it goes, or costs nothing
        _look(job, detector, recording, parts=parts)
        film, columns = _film(recording.info, parts), parts.all()
        _warn_of_more(detector, film)
    told = f"{counted(len(columns['frames']), 'box')} in {counted(film.frames, 'frame')}, by {detector.name}"
    write_arrays(job.file, job.record(told, film=film.to_record(), classes=list(detector.classes)), columns)
    parts.clear()


def _opened(settings: DetectSection) -> Detector:
    choice = Choice(keep=settings.keep, min_score=settings.min_score, max_overlap=settings.max_overlap)
    return open_detector(
        settings.detector, format=settings.format, choice=choice, backend=settings.backend, device=settings.device
    )


def _look(job: Job, detector: Detector, recording: VideoFile | ImageFolder, *, parts: DetectionParts) -> None:
    total, first = recording.info.frame_count or 0, parts.next_frame
    if first:
        log.info("%s goes on at frame %d", job.origin.stage, first)
        recording.start_at(first)
    size = 1 if isinstance(detector, Precomputed) else job.settings.batch
    with closing(ahead(recording, depth=2 * size, name="decode")) as decoded, parts:
        for batch in _batches(decoded, size):
            if isinstance(detector, Precomputed):
                detector.seek(batch[0].index)  # a damaged frame of the recording may have been left out
            for frame, found in zip(batch, detector.detect([frame.image for frame in batch]), strict=True):
                parts.add(frame.index, frame.time_s, found)
            job.progress(job.origin.stage, batch[-1].index + 1, total)


def _batches(frames: Iterator[Frame], size: int) -> Iterator[list[Frame]]:
    while batch := list(islice(frames, size)):
        yield batch


def _film(info: SourceInfo, parts: DetectionParts) -> Film:
    """Raises `SourceError` for a recording without a frame."""
    columns, (height, width) = parts.all(), info.size_hw
    if not len(columns["seen"]):
        raise SourceError(f"{info.name}: no frame of it can be decoded")
    seen, times_s = columns["seen"], columns["times_s"]
    return Film(Path(info.name).stem, _rate(seen, times_s, info.fps), height, width, int(seen[-1]) + 1)


def _rate(seen: Array, times_s: Array, claimed: float) -> float:
    """Frames per second, on average: what the file claims is often rounded, and says nothing where the rate varies."""
    lasted = float(times_s[-1] - times_s[0])
    return round(float(seen[-1] - seen[0]) / lasted, 4) if lasted > 0 else claimed


def _warn_of_more(detector: Detector, film: Film) -> None:
    if isinstance(detector, Precomputed) and detector.frame_count > film.frames:
        log.warning(
            "%s has boxes up to frame %d, and %s ends at %d; are they of another recording?",
            *(detector.name, detector.frame_count, film.name, film.frames),
        )


def _files(pipeline: Pipeline) -> Iterator[Path]:
    if pipeline.stage1_detect.detector != BACKGROUND:
        yield Path(pipeline.stage1_detect.detector)


STAGE1 = Step("stage1_detect", "stage1_detections.npz", (STAGE0.name,), _detect, models=_files)
