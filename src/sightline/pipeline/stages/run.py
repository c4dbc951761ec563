"""Stage after stage: those whose files are there, and made from the same, are passed over; the others are done."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sightline.config import save_config
from sightline.errors import ConfigError, SightlineError
from sightline.files import locked, replacing
from sightline.pipeline.cluster import OnProgress
from sightline.pipeline.stages.canonical import STAGE3A
from sightline.pipeline.stages.config import Pipeline, read_pipeline
from sightline.pipeline.stages.crops import make_folder
from sightline.pipeline.stages.detecting import STAGE1
from sightline.pipeline.stages.normalising import STAGE0, require_recording
from sightline.pipeline.stages.ranking import STAGE3B
from sightline.pipeline.stages.records import Origin, digest_of, read_record, recording_digest
from sightline.pipeline.stages.refinement import STAGE3C
from sightline.pipeline.stages.step import Job, Step
from sightline.pipeline.stages.tracking import STAGE2

log = logging.getLogger(__name__)

STEPS = (STAGE0, STAGE1, STAGE2, STAGE3A, STAGE3B, STAGE3C)
TIMING = "timing.json"
CONFIG = "resolved.yaml"  # what the run goes by, which is a pipeline file too


@dataclass(frozen=True)
class StageOutcome:
    """What became of one stage."""

    stage: str
    file: Path
    done: bool  # False: passed over
    reason: str  # why it was done, or was not
    told: str  # what it found
    seconds: float


@dataclass(frozen=True)
class StagesOutcome:
    """What became of all stages that were asked for, in their order."""

    folder: Path
    stages: tuple[StageOutcome, ...]


def _unwatched(stage: str, done: int, total: int) -> None:
    pass


def run_stages(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    start: str | None = None,
    until: str | None = None,
    progress: OnProgress = _unwatched,
    beyond: Sequence[Step] = (),
) -> StagesOutcome:
    """The stages of a pipeline file, up to `until` and those `beyond` the ones known here, which the caller brings.

    From `start` on they are done again, whatever is there; the ones before it too where their files are missing,
    damaged, or made from something else. A stage is called by its section's name, or the beginning of it up to a `_`.
    Raises `ConfigError` for a file or a name that makes no sense, and what the stages raise; those before are kept.
    """
    pipeline = read_pipeline(path, overrides=overrides)
    steps = (*STEPS, *beyond)
    last = _place(until, steps, len(steps) - 1)
    first = _place(start, steps, last + 1)
    if start is not None and first > last:
        raise ConfigError(f"--from {start} comes after --until {until}; expected it before, or the same")
    folder = Path(pipeline.output_root)
    make_folder(folder)
    with locked(folder / ".lock", holder="another run of its stages"):
        save_config(pipeline, folder / CONFIG)
        stages = tuple(_run(pipeline, steps[: last + 1], again_from=first, progress=progress))
    return StagesOutcome(folder, stages)


def _place(name: str | None, steps: Sequence[Step], default: int) -> int:
    """The position of a stage among the steps."""
    if name is None:
        return default
    for index, step in enumerate(steps):
        if name == step.name or step.name.startswith(f"{name}_"):
            return index
    known = ", ".join(step.name.partition("_")[0] for step in steps)
    raise ConfigError(f"no stage {name!r}; expected one of {known}")


def _run(pipeline: Pipeline, steps: Sequence[Step], *, again_from: int, progress: OnProgress) -> Iterator[StageOutcome]:
    files = {step.name: Path(pipeline.output_root) / step.file for step in steps}
    seconds = _seconds_before(Path(pipeline.output_root))
    for number, step in enumerate(steps):
        idle = step.idle(pipeline)
        if idle:
            yield StageOutcome(step.name, files[step.name], False, "nothing to do", idle, 0.0)
            continue
        job = Job(pipeline, _origin(pipeline, step, files), files, progress)
        reason = "asked for" if number >= again_from else _why(step, job)
        yield _passed_over(step, job) if not reason else _done(step, job, reason, seconds)


def _origin(pipeline: Pipeline, step: Step, files: Mapping[str, Path]) -> Origin:
    inputs = {name: digest_of(files[name]) for name in step.reads}
    if not step.reads:
        inputs["recording"] = recording_digest(require_recording(pipeline.video_file))
    inputs.update({str(path): digest_of(path) for path in step.models(pipeline)})
    return Origin(step.name, json.loads(json.dumps(asdict(getattr(pipeline, step.name)))), inputs)


def _why(step: Step, job: Job) -> str:
    """Why the stage has to be done; empty where what it wrote is there, whole, and made from the same."""
    if not job.file.exists():
        return "its file is not there"
    try:
        record = read_record(job.file)
        return job.origin.changed_since(record) or step.missing(job, record)
    except SightlineError as exc:
        return str(exc).partition(";")[0]
    except (KeyError, TypeError, AttributeError):
        return f"{job.file} is of another make"


def _passed_over(step: Step, job: Job) -> StageOutcome:
    told = str(read_record(job.file).get("told", ""))
    log.debug("%s is there already: %s", step.name, told)
    return StageOutcome(step.name, job.file, False, "there already", told, 0.0)


def _done(step: Step, job: Job, reason: str, seconds: dict[str, float]) -> StageOutcome:
    log.debug("%s: %s", step.name, reason)
    started = time.perf_counter()
    step.work(job)
    seconds[step.name] = round(time.perf_counter() - started, 3)
    with replacing(job.folder / TIMING) as temporary:
        temporary.write_text(json.dumps(seconds, indent=2) + "\n", encoding="utf-8")
    return StageOutcome(step.name, job.file, True, reason, str(read_record(job.file)["told"]), seconds[step.name])


def _seconds_before(folder: Path) -> dict[str, float]:
    """How long the stages took that are not done again; nothing where nobody knows."""
    try:
        content: Any = json.loads((folder / TIMING).read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
