"""What a model is judged on: images of people it was not trained on, and who is looked for among whom."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sightline.errors import ConfigError, SightlineError
from sightline.training.config import TrainingConfig
from sightline.training.folders import open_dataset
from sightline.training.records import Dataset, Record
from sightline.training.split import query_and_gallery, split_by_identity

OFFICIAL = "the query and gallery of the dataset"
HELD_OUT = "the people held out of training"
EVERYBODY = "everybody in it"
ONE_CAMERA = "nobody was seen by two cameras: pairs are taken within a camera, and nothing can be ranked"


@dataclass(frozen=True)
class Exam:
    """The images a model is shown. `query` is empty where nobody was seen by two cameras."""

    dataset: str
    people: str  # whose images these are: OFFICIAL, HELD_OUT or EVERYBODY
    images: tuple[Record, ...]
    query: tuple[Record, ...]
    gallery: tuple[Record, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_official(self) -> bool:
        """Whether the dataset itself says what is query and what is gallery."""
        return self.people == OFFICIAL

    @property
    def can_rank(self) -> bool:
        """Whether any query has a match: a gallery image of its person by another camera."""
        cameras: dict[str, set[int]] = defaultdict(set)
        for record in self.gallery:
            cameras[record.person].add(record.camera)
        return any(cameras[record.person] - {record.camera} for record in self.query)

    @property
    def identities(self) -> int:
        return len({record.person for record in self.images})

    @property
    def cameras(self) -> int:
        return len({record.camera for record in self.images})


def choose_exam(
    source: str | None, *, root: Path | None = None, config: TrainingConfig | None = None, max_images: int = 10_000
) -> Exam:
    """The exam on `source`, a dataset folder, name or CSV, or by default on the data of the run that `config` is of.

    A dataset with a query and a gallery of its own is taken whole. Of the run's own data only the people it held out
    are taken. Any other CSV is taken as it is, once it is known to share no image with what the run trained on; where
    it shares only names of people, a note says so. Beyond `max_images` (0: no limit) whole people are left out.

    Raises `ConfigError` where that leaves nothing to judge by.
    """
    wanted = source or (config.data.dataset if config is not None else "")
    if not wanted:
        raise ConfigError("nothing to evaluate on; expected --csv FILE, --dataset NAME or a run with data of its own")
    dataset = open_dataset(wanted, root=root or _default_root(wanted, config))
    name = wanted if Path(wanted).is_file() else dataset.name
    if dataset.query:
        images = tuple(dict.fromkeys((*dataset.query, *dataset.gallery)))
        exam = Exam(name, OFFICIAL, images, dataset.query, dataset.gallery)
        return exam if exam.can_rank else replace(exam, notes=(ONE_CAMERA,))
    if config is not None and _is_same(wanted, config.data.dataset):
        return _exam(name, HELD_OUT, _held_out(dataset, config), max_images=max_images)
    notes = () if config is None else _compared(name, dataset, config)
    return _exam(name, EVERYBODY, dataset.train, max_images=max_images, notes=notes)


def _default_root(wanted: str, config: TrainingConfig | None) -> Path | None:
    """That of the run, for its own data and for known names; any other CSV has its images beside it."""
    if config is None or not config.data.data_root:
        return None
    is_of_the_run = not Path(wanted).exists() or _is_same(wanted, config.data.dataset)
    return Path(config.data.data_root) if is_of_the_run else None


def _is_same(wanted: str, trained_on: str) -> bool:
    return bool(trained_on) and (wanted == trained_on or os.path.realpath(wanted) == os.path.realpath(trained_on))


def _held_out(dataset: Dataset, config: TrainingConfig) -> Sequence[Record]:
    _, held_out = split_by_identity(dataset.train, share=config.val.val_split, seed=config.train.seed)
    if not held_out:
        raise ConfigError(
            f"the run held nobody out of {dataset.name} (val_split is {config.val.val_split:g}); "
            "pass --csv or --dataset with people it was not trained on"
        )
    return held_out


# People the run knows


def _compared(name: str, dataset: Dataset, config: TrainingConfig) -> tuple[str, ...]:
    """What there is to say about people the run was trained on. Raises `ConfigError` where it saw these very images."""
    unchecked = "not checked whether the model was trained on these people"
    if not config.data.dataset:
        return (f"{unchecked}: its configuration names no data",)
    try:
        trained = open_dataset(config.data.dataset, root=_default_root(config.data.dataset, config))
    except SightlineError as exc:
        return (f"{unchecked}: {exc}",)
    known, _ = split_by_identity(trained.train, share=config.val.val_split, seed=config.train.seed)
    files = {os.path.realpath(record.path) for record in known}
    seen = [record for record in dataset.train if os.path.realpath(record.path) in files]
    people = {record.person for record in dataset.train}
    if seen:
        raise ConfigError(
            f"{len({record.person for record in seen})} of the {len(people)} people in {name} were trained on "
            f"({len(seen)} of its images); leave it out to evaluate on the people the run held out"
        )
    namesakes = people & {record.person for record in known}
    if not namesakes:
        return ()
    return (
        f"{len(namesakes)} of the {len(people)} people have the name of one the model was trained on; "
        "if they are the same people, these figures are too good",
    )


# Who is asked about


def _exam(name: str, people: str, records: Sequence[Record], *, max_images: int, notes: Iterable[str] = ()) -> Exam:
    chosen = records if max_images == 0 else _whole_people(records, max_images)
    told = list(notes)
    if len(chosen) < len(records):
        told.append(f"{len(chosen):,} of {len(records):,} images: people drawn at random up to --max-samples")
    if not are_seen_by_two_cameras(chosen):
        told.append(ONE_CAMERA)
        return Exam(name, people, tuple(chosen), (), (), tuple(told))
    query, gallery = query_and_gallery(chosen, seed=0)
    return Exam(name, people, tuple(chosen), tuple(query), tuple(gallery), tuple(told))


def _whole_people(records: Sequence[Record], limit: int) -> Sequence[Record]:
    """All images of as many people as fit, drawn in the same order every time; of two people at least."""
    if len(records) <= limit:
        return records
    by_person: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_person[record.person].append(record)
    names = sorted(by_person)
    chosen: set[str] = set()
    count = 0
    for index in np.random.default_rng(0).permutation(len(names)):
        size = len(by_person[names[index]])
        if len(chosen) < 2 or count + size <= limit:
            chosen.add(names[index])
            count += size
    return [record for record in records if record.person in chosen]


def are_seen_by_two_cameras(records: Iterable[Record]) -> bool:
    """Whether anybody is."""
    first: dict[str, int] = {}
    return any(first.setdefault(record.person, record.camera) != record.camera for record in records)
