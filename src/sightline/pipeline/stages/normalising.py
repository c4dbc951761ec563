"""Stage 0: the recording at a constant rate and within a size, or as it is where nothing of that is asked for."""

from __future__ import annotations

from pathlib import Path

from sightline.camera import is_address
from sightline.errors import SourceError
from sightline.normalise import normalised
from sightline.pipeline.stages.records import Record, read_object, recording_digest, write_object
from sightline.pipeline.stages.step import Job, Step

TARGET = "stage0_normalised.mp4"


def recording_of(job: Job) -> Path:
    """The video that the later stages look at."""
    _, content = read_object(job.files[STAGE0.name])
    return Path(content["video"])


def require_recording(video_file: str) -> Path:
    """Raises `SourceError` for what does not give the same frames twice."""
    if is_address(video_file) or video_file.isdecimal():
        raise SourceError(f"{video_file} is a camera; stages read a recording several times: expected a file or folder")
    return Path(video_file).expanduser()


def _normalise(job: Job) -> None:
    source = require_recording(job.pipeline.video_file)
    settings, target = job.settings, job.folder / TARGET
    size_hw = None if settings.resize_to is None else (settings.resize_to[1], settings.resize_to[0])
    video = normalised(source, target, fps=settings.fps, size_hw=size_hw)
    told = "as it is" if video == source else f"written anew as {video.name}"
    write_object(job.file, job.record(told, seen=recording_digest(video)), {"video": str(video)})


def _missing(job: Job, record: Record) -> str:
    video = recording_of(job)
    try:
        return "" if recording_digest(video) == record.get("seen") else f"{video} changed"
    except SourceError:
        return f"{video} is gone"


STAGE0 = Step("stage0_normalise", "stage0_video.json", (), _normalise, missing=_missing)
