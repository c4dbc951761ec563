"""Stage 3c: persons who look alike and were never seen together are one person.

Pictures of everybody who was kept are taken from the recording and compared; who is merged shares one folder of them.
A model without a calibrated threshold merges nobody unless one is given by hand: what is alike for one model is anybody
for another.
The folder appears under its name when it is whole, and the stage's file after it.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sightline.errors import ConfigError, ModelNotFoundError
from sightline.files import output_error
from sightline.pipeline.cluster import Clustering, cluster, threshold_for
from sightline.pipeline.crop_folders import people_in
from sightline.pipeline.stages.canonical import STAGE3A
from sightline.pipeline.stages.config import Pipeline, RefinementSection
from sightline.pipeline.stages.crops import make_folder, write_crops, write_track
from sightline.pipeline.stages.normalising import STAGE0, recording_of
from sightline.pipeline.stages.ranking import STAGE3B
from sightline.pipeline.stages.records import Record, read_object
from sightline.pipeline.stages.step import Job, Step, counted
from sightline.pipeline.stages.tracklet_file import Tracked, joined, read_tracked, write_tracked
from sightline.reid.embedder import Embedder
from sightline.reid.merging import Merging, merge_people, require_mergeable
from sightline.reid.osnet import as_person_model
from sightline.reid.similarity import ModelUsed
from sightline.reid.thresholds import Limit, path_beside
from sightline.runtime.open import open_session
from sightline.runtime.session import Session

log = logging.getLogger(__name__)

CROPS = "stage3c_crops"
VECTORS = ".stage3c_vectors.npz"
REPORTED = 20  # pairs kept apart
NOBODY: Mapping[str, Any] = MappingProxyType({"merges": [], "refused": []})


@dataclass(frozen=True, eq=False)
class Refined:
    """Who was found to be whom."""

    groups: tuple[tuple[int, ...], ...]  # the numbers of persons who are one, in order of time; singles too
    report: Mapping[str, Any]  # how that was decided


def crops_folder(job: Job) -> Path:
    """A folder of crops for each person; its own name is that of the recording."""
    return job.folder / CROPS / Path(job.pipeline.video_file).stem


def _refine(job: Job) -> None:
    persons = kept_persons(job)
    with _opened(job.settings) as session, _folder_in_the_making(crops_folder(job), record=job.file) as folder:
        write_crops(
            recording_of(job),
            persons.tracklets,
            folder,
            per_person=job.settings.crops_per_person,
            progress=lambda done, total: job.progress("taking crops", done, total),
        )
        for person in persons.tracklets:
            write_track(folder / str(person.track_id), person, persons.film)
        refined = _compared(job, persons, folder, session)
        merged = merged_persons(persons, refined.groups)
        _share_folders(folder, merged)
        crops = {str(person.track_id): len(_crops_in(folder / str(person.track_id))) for person in merged.tracklets}
    told = f"{counted(len(merged), 'person')} of {len(persons)}, with {counted(sum(crops.values()), 'crop')}"
    write_tracked(job.file, merged, job.record(told, crops=crops, **refined.report))


def kept_persons(job: Job) -> Tracked:
    """The canonical persons whom the ranking has kept, in the order they appear."""
    persons = read_tracked(job.files[STAGE3A.name])
    _, ranking = read_object(job.files[STAGE3B.name])
    kept = tuple(person for person in persons.tracklets if person.track_id in ranking["kept"])
    return Tracked(persons.film, kept, tuple((person.track_id,) for person in kept))


def merged_persons(persons: Tracked, groups: Sequence[Sequence[int]]) -> Tracked:
    """Each group as one person, named by its first."""
    by_number = {person.track_id: person for person in persons.tracklets}
    tracklets = tuple(joined(group[0], [by_number[number] for number in group]) for group in groups)
    return Tracked(persons.film, tracklets, tuple(tuple(group) for group in groups))


# Appearance


@contextmanager
def _opened(settings: RefinementSection) -> Iterator[Session | None]:
    """The model, found out to be there and good for it before a frame is decoded; None where none is wanted."""
    if not settings.enabled:
        yield None
        return
    if not settings.osnet_model:
        raise ConfigError("stage3c_reid_refinement.osnet_model is not set; name a model, or set enabled to false")
    with as_person_model(_first_found(settings)) as session:
        used = ModelUsed.of(session)
        require_mergeable(weights=used.weights, model=used.model)
        yield session


def _first_found(settings: RefinementSection) -> Session:
    try:
        return open_session(settings.osnet_model, device=settings.device)
    except ModelNotFoundError as exc:
        if not settings.osnet_model_fallback:
            raise
        log.warning("%s; using osnet_model_fallback instead", exc)
    return open_session(settings.osnet_model_fallback, device=settings.device)


def _compared(job: Job, persons: Tracked, folder: Path, session: Session | None) -> Refined:
    alone = tuple((person.track_id,) for person in persons.tracklets)
    if session is None or not alone:
        return Refined(alone, NOBODY)
    embedder, settings = Embedder(session), job.settings
    limit = threshold_for(embedder, by_hand=settings.similarity_threshold)
    if limit.value is None or (limit.far is None and settings.similarity_threshold is None):
        log.warning(
            "%s: nobody is merged: %s; or set similarity_threshold",
            *(job.origin.stage, limit.source),
        )
        return Refined(alone, {"threshold": None, "threshold_source": limit.source, **NOBODY})
    found = cluster(
        people_in(folder),
        embedder,
        num_best_crops=settings.num_best_crops,
        threshold=limit.value,
        cache=job.folder / VECTORS,
        progress=job.progress,
    )
    for name in found.crowd.nobody:
        log.warning("%s: person %s has no picture to be compared by", job.origin.stage, name)
    merging = merge_people(
        found.results,
        sightings=found.crowd.sightings,
        threshold=found.results["similarity_threshold"],
        max_gap_frames=settings.max_gap_frames,
    )
    return Refined(_groups(alone, merging), _report(found, merging, limit))


def _groups(alone: Sequence[tuple[int, ...]], merging: Merging) -> tuple[tuple[int, ...], ...]:
    groups = [tuple(sorted(int(person) for person in merge.persons)) for merge in merging.merges]
    merged = {number for group in groups for number in group}
    return tuple(sorted([*groups, *(single for single in alone if single[0] not in merged)]))


def _report(found: Clustering, merging: Merging, limit: Limit) -> dict[str, Any]:
    refused = [
        {"persons": list(item.pair), "score": round(item.score, 4), "reason": item.reason}
        for item in islice(merging.refused, REPORTED)
    ]
    return {
        "model": found.results["model"],
        "model_fingerprint": found.results["fingerprint"],
        "threshold": merging.threshold,
        "threshold_source": limit.source,
        "merges": [
            {"persons": list(merge.persons), "scores": [round(score, 4) for score in merge.scores]}
            for merge in merging.merges
        ],
        "refused": refused,
    }


# Folders


@contextmanager
def _folder_in_the_making(target: Path, *, record: Path) -> Iterator[Path]:
    """A hidden folder that takes the place of `target` when the block ends well. What a killed run left is cleared.

    The `record` of what was there goes first, so that it is never taken for that of what comes.
    """
    making = target.parent / f".{target.name[:40]}.making"
    shutil.rmtree(making, ignore_errors=True)
    make_folder(making)
    try:
        yield making
        record.unlink(missing_ok=True)
        if target.exists():
            shutil.rmtree(target)
        making.rename(target)
    except OSError as exc:
        raise output_error(target, exc) from exc
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _share_folders(folder: Path, merged: Tracked) -> None:
    """The crops of a group into the folder of its first, beside the track of all. No two of them are of one frame."""
    for person, group in zip(merged.tracklets, merged.members, strict=True):
        home = folder / str(person.track_id)
        for other in group[1:]:
            for crop in _crops_in(folder / str(other)):
                crop.rename(home / crop.name)
            shutil.rmtree(folder / str(other))
        write_track(home, person, merged.film)


def _crops_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jpg"))


def _missing(job: Job, record: Record) -> str:
    folder = crops_folder(job)
    for person, count in record["crops"].items():
        if len(_crops_in(folder / person)) != count:
            return f"{folder / person} is not as it was written"
    return ""


def _files(pipeline: Pipeline) -> Iterator[Path]:
    """The model, and the threshold that may lie beside it."""
    settings = pipeline.stage3c_reid_refinement
    if settings.enabled:
        for name in filter(None, (settings.osnet_model, settings.osnet_model_fallback)):
            yield from (Path(name), path_beside(Path(name)))


STAGE3C = Step(
    "stage3c_reid_refinement",
    "stage3c_persons.npz",
    (STAGE0.name, STAGE3A.name, STAGE3B.name),
    _refine,
    models=_files,
    missing=_missing,
)
