"""People from crops to groups: look at every crop, embed the best, compare everybody with everybody.

Looking and embedding go through the folder file by file, so that memory is bounded by a batch and not by the video.
What was embedded once is kept (`reid/vector_cache.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sightline.errors import ImageError
from sightline.images import read_image, resize
from sightline.pipeline.crop_folders import CropFolder
from sightline.reid.embedder import Embedder
from sightline.reid.sightings import Sightings, settings_of
from sightline.reid.similarity import Form, ModelUsed, PersonId, SimilarityResults, compare
from sightline.reid.thresholds import Limit, calibration_of
from sightline.reid.tracklets import ALONE, Judged, Setting, choose, judge
from sightline.reid.vector_cache import VectorCache
from sightline.types import FloatArray, Image

READERS = 2  # threads that decode; embedding wants the other cores
SAVED_EVERY = 2048  # crops that a kill may cost

OnProgress = Callable[[str, int, int], None]  # what is being done, how many of how many


def _unwatched(stage: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True, eq=False)
class Person:
    """One person, every readable crop judged and the best chosen."""

    person_id: str
    files: tuple[Path, ...]  # readable, in time order
    judged: tuple[Judged, ...]  # one a file
    chosen: tuple[int, ...]  # which of them are embedded, ascending
    sightings: Sightings | None

    @property
    def quality(self) -> float:
        """Of the best crop that was taken."""
        return max(self.judged[index].quality for index in self.chosen)

    @property
    def seen_s(self) -> tuple[float, float] | None:
        """When the first and the last time, in seconds from the start of the video."""
        seen = self.sightings
        if seen is None or seen.fps is None:
            return None
        return float(seen.frames[0] / seen.fps), float(seen.frames[-1] / seen.fps)


@dataclass(frozen=True, eq=False)
class Crowd:
    """Everybody who can be compared, and what could not be read."""

    people: tuple[Person, ...]
    nobody: tuple[str, ...]  # ids of folders without a readable crop
    unreadable: tuple[str, ...]  # a line a file

    @property
    def whole(self) -> bool:
        return not (self.nobody or self.unreadable)

    @property
    def sightings(self) -> list[Sightings | None]:
        return [person.sightings for person in self.people]


def look_at(folders: Sequence[CropFolder], *, num_best_crops: int = 16, progress: OnProgress = _unwatched) -> Crowd:
    """Judge every crop and choose up to `num_best_crops` of each person."""
    settings = settings_of([folder.sightings for folder in folders])
    people: list[Person] = []
    nobody: list[str] = []
    unreadable: list[str] = []
    with ThreadPoolExecutor(READERS, thread_name_prefix="sightline-read") as readers:
        for number, (folder, own) in enumerate(zip(folders, settings, strict=True)):
            progress("looking at crops", number, len(folders))
            at_file = [ALONE if row is None else own[row] for row in folder.rows()]
            judged = list(readers.map(_judged, folder.files, at_file))
            unreadable += [item for item in judged if isinstance(item, str)]
            person = _person(folder, judged, num_best_crops)
            if person is None:
                nobody.append(folder.person_id)
            else:
                people.append(person)
    return Crowd(tuple(people), tuple(nobody), tuple(unreadable))


def _judged(file: Path, setting: Setting) -> Judged | str:
    try:
        return judge(read_image(file), setting)
    except ImageError as exc:
        return str(exc)


def _person(folder: CropFolder, judged: Sequence[Judged | str], num: int) -> Person | None:
    readable = [(file, item) for file, item in zip(folder.files, judged, strict=True) if isinstance(item, Judged)]
    if not readable:
        return None
    files, items = zip(*readable, strict=True)
    return Person(folder.person_id, files, items, tuple(choose(items, num)), folder.sightings)


# Vectors


def open_cache(path: Path | None, embedder: Embedder) -> VectorCache:
    """The cache of this very model, fed this very way."""
    card = replace(embedder.session.card, thresholds=(), extra={})  # which change no vector
    identity = f"{card.to_json()} {embedder.session.precision}"
    return VectorCache(path, identity=identity, dim=embedder.dim)


def embed_people(
    people: Sequence[Person], embedder: Embedder, *, cache: VectorCache, progress: OnProgress = _unwatched
) -> dict[PersonId, FloatArray]:
    """L2-normalised features of the chosen crops, (N, D) a person. What is done is kept when this is interrupted."""
    digests = {person.person_id: [person.judged[index].digest for index in person.chosen] for person in people}
    try:
        _embed_missing(people, embedder, cache, progress)
    finally:
        cache.save()
    cache.save(only={digest for own in digests.values() for digest in own})
    return {person: cache.rows(own) for person, own in digests.items()}


def _embed_missing(people: Sequence[Person], embedder: Embedder, cache: VectorCache, progress: OnProgress) -> None:
    wanted = {person.judged[index].digest: person.files[index] for person in people for index in person.chosen}
    missing = {digest: file for digest, file in wanted.items() if digest not in cache}
    for number, (digest, item) in enumerate(zip(missing, embedder.embed_files(list(missing.values())), strict=True)):
        progress("embedding", number, len(missing))
        if item.vector is None:  # it could be read a moment ago
            raise ImageError(f"{item.reason}; it was changed while this ran")
        cache.add({digest: item.vector})
        if cache.unsaved >= SAVED_EVERY:
            cache.save()


# Everything


USUAL_THRESHOLD = 0.70  # of the clustering notes; what it means for a model, nobody knows who has not measured it


def threshold_for(
    embedder: Embedder, *, form: Form = "averaged", by_hand: float | None = None, far: float | None = None
) -> Limit:
    """The score of people who may be one: given by hand, else calibrated for the model (for the rate `far`, by default
    the strictest there is), else the usual one.

    Calibrated are averages; mean scores of pairs of crops lie elsewhere, and no rate is known for them.
    """
    if form == "pairs":
        return Limit(USUAL_THRESHOLD if by_hand is None else by_hand, None, 0, "not calibrated for pairs of crops")
    limit = calibration_of(embedder).limit("averaged", by_hand=by_hand, far=far)
    return replace(limit, value=USUAL_THRESHOLD) if limit.value is None else limit


@dataclass(frozen=True, eq=False)
class Clustering:
    """Who was there, and how alike they are."""

    crowd: Crowd
    results: SimilarityResults


def cluster(
    folders: Sequence[CropFolder],
    embedder: Embedder,
    *,
    num_best_crops: int = 16,
    threshold: float = USUAL_THRESHOLD,
    form: Form = "averaged",
    cache: Path | None = None,
    progress: OnProgress = _unwatched,
) -> Clustering:
    """Look, embed, compare. `cache` is the file that keeps vectors for the next run."""
    started = time.perf_counter()
    crowd = look_at(folders, num_best_crops=num_best_crops, progress=progress)
    looked = time.perf_counter()
    kept = open_cache(cache, embedder)
    features = embed_people(crowd.people, embedder, cache=kept, progress=progress)
    timing = {"select_crops": looked - started, "extract_features": time.perf_counter() - looked}
    model = ModelUsed.of(embedder.session)
    return Clustering(crowd, compare(features, model=model, threshold=threshold, form=form, timing=timing))


# Clips


def clip_of(person: Person, *, crops: int, within_wh: tuple[int, int]) -> tuple[Image, ...]:
    """Up to `crops` pictures of a person, spread evenly over their time, none larger than the clip they are for."""
    count = len(person.files)
    spread = np.unique(np.linspace(0, count - 1, min(crops, count)).round().astype(int))
    return tuple(_shrunk(read_image(person.files[index]), within_wh) for index in spread)


def _shrunk(image: Image, within_wh: tuple[int, int]) -> Image:
    height, width = image.shape[:2]
    factor = min(within_wh[0] / width, within_wh[1] / height)
    return image if factor >= 1 else resize(image, (max(1, round(height * factor)), max(1, round(width * factor))))


def clips_of(people: Sequence[Person], *, crops: int, within_wh: tuple[int, int]) -> Iterator[tuple[Image, ...]]:
    """The clip of each person; of a crowd each clip is shorter, so that all of them fit into memory."""
    bounded = max(1, min(crops, CLIP_CROPS // max(1, len(people))))
    return (clip_of(person, crops=bounded, within_wh=within_wh) for person in people)


CLIP_CROPS = 5000  # in all clips together; half a gigabyte where crops fill a clip of 256×256 pixels
