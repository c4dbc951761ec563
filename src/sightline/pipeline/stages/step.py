"""One stage as the run sees it: what it reads, what it does, and what it is given to do it with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.pipeline.cluster import OnProgress
from sightline.pipeline.stages.config import Pipeline
from sightline.pipeline.stages.records import Origin, Record


@dataclass(frozen=True)
class Job:
    """A stage about to be done."""

    pipeline: Pipeline
    origin: Origin
    files: Mapping[str, Path]  # of all stages, by their names
    progress: OnProgress

    @property
    def settings(self) -> Any:
        """The stage's own section."""
        return getattr(self.pipeline, self.origin.stage)

    @property
    def folder(self) -> Path:
        return Path(self.pipeline.output_root)

    @property
    def file(self) -> Path:
        """What the stage writes last, with the record of what it was made from."""
        return self.files[self.origin.stage]

    def record(self, told: str, **more: Any) -> Record:
        return self.origin.record(told, more)


def counted(count: int, noun: str) -> str:
    """A count in words: 1 box, 2 boxes."""
    plural = f"{noun}es" if noun.endswith("x") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def _no_files(pipeline: Pipeline) -> Iterable[Path]:
    return ()


def _always_whole(job: Job, record: Record) -> str:
    return ""


def _never_idle(pipeline: Pipeline) -> str:
    return ""


@dataclass(frozen=True)
class Step:
    """A stage of the pipeline."""

    name: str  # of its section in the pipeline file
    file: str  # in the output folder
    reads: tuple[str, ...]  # the stages whose files it is made of
    work: Callable[[Job], None]  # writes the file, as the last thing
    models: Callable[[Pipeline], Iterable[Path]] = _no_files  # other files that decide what comes out
    missing: Callable[[Job, Record], str] = _always_whole  # what is not there of what it wrote beside its file
    idle: Callable[[Pipeline], str] = _never_idle  # why there is nothing to do; empty where there is
