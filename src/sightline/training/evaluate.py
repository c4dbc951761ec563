"""How good a model is on an exam: any model that opens as a session, so an ONNX file is judged without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sightline.errors import ImageError, SightlineError
from sightline.images import read_image, resize
from sightline.reid.embedder import Embedder
from sightline.reid.labelled import Labelled, unit
from sightline.reid.metrics import Ranking, rank
from sightline.reid.rerank import rerank
from sightline.reid.verification import (
    Eer,
    TarAtFar,
    TenFold,
    eer,
    genuine_and_impostor,
    tar_at_far,
    ten_fold_accuracy,
)
from sightline.training.exam import Exam, are_seen_by_two_cameras
from sightline.training.pair_list import Pair, are_same, images_of
from sightline.training.records import Record, labels
from sightline.types import FloatArray, Image

ALL_PAIRS = 100_000_000  # of more pairs than this, at 4 bytes each,
SOME_PAIRS = 2_000_000  # so many of each kind are drawn
FARS = (1e-1, 1e-2, 1e-3)
NAMED = 3  # missing files, in the message that counts them


@dataclass(frozen=True)
class Reading:
    """How image files are brought to the model. None of it changes a figure."""

    batch_size: int = 128
    workers: int = 2
    progress: Callable[[int], None] = lambda count: None  # told the images of each batch when it is done


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of image files, found by path."""

    paths: tuple[Path, ...]
    rows: FloatArray  # (N, D), L2-normalised

    @cached_property
    def _index(self) -> dict[Path, int]:
        return {path: row for row, path in enumerate(self.paths)}

    def of(self, paths: Sequence[Path]) -> FloatArray:
        return self.rows[[self._index[path] for path in paths]]


@dataclass(frozen=True, eq=False)
class Verification:
    """Same or not, over pairs. The scores are cosines, ascending."""

    genuine: FloatArray
    impostor: FloatArray
    eer: Eer
    tars: tuple[TarAtFar, ...]
    protocol: str  # which pairs these are, in words


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that was found out. What was not asked for, or cannot be had, is None."""

    exam: Exam | None  # None: only a list of pairs
    vectors: Vectors
    verification: Verification
    ten_fold: TenFold | None = None
    ranking: Ranking | None = None
    reranked: Ranking | None = None


def evaluate(
    embedder: Embedder,
    exam: Exam | None,
    *,
    pairs: Sequence[Pair] = (),
    ranked: bool = False,
    reranked: bool = False,
    fars: Sequence[float] = FARS,
    reading: Reading | None = None,
) -> Evaluation:
    """Embed every image once and judge by that.

    Verification is over the list of pairs where there is one, else over the exam. An official exam is always ranked.
    """
    records = () if exam is None else exam.images
    vectors = embed_images(embedder, list(dict.fromkeys([*paths_of(records), *images_of(pairs)])), reading)
    if pairs:
        found, ten_fold = verify_pairs(pairs, vectors, fars=fars)
    elif exam is not None:
        found, ten_fold = verify_exam(exam, vectors, fars=fars), None
    else:
        raise ValueError("nothing to evaluate on; expected an exam, a list of pairs, or both")
    if exam is None or not exam.can_rank or not (ranked or reranked or exam.is_official):
        return Evaluation(exam, vectors, found, ten_fold)
    again = rank_exam(exam, vectors, reranked=True) if reranked else None
    return Evaluation(exam, vectors, found, ten_fold, rank_exam(exam, vectors), again)


def embed_images(embedder: Embedder, paths: Sequence[Path], reading: Reading | None = None) -> Vectors:
    """One vector a file. Unlike embedding for its own sake, nothing is skipped: figures over fewer images than the
    exam has would be figures of another exam.

    Raises `ImageError`: for missing files before anything is run, with their number and the first of them; for a file
    that cannot be read when it is met.
    """
    reading = Reading() if reading is None else reading
    _require_all(paths)
    batches = [embedder.embed(crops, names=names).vectors for crops, names in _read(embedder, paths, reading)]
    rows = np.concatenate(batches) if batches else np.empty((0, embedder.dim), np.float32)
    return Vectors(tuple(paths), rows)


def _require_all(paths: Sequence[Path]) -> None:
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        named = ", ".join(missing[:NAMED])
        raise ImageError(f"{len(missing)} of {len(paths)} images are not there: {named}{more}; expected them all")


def _read(embedder: Embedder, paths: Sequence[Path], reading: Reading) -> Iterator[tuple[list[Image], list[str]]]:
    """Batches of images at the size of the model, the next one being read while the last one runs."""
    size = reading.batch_size
    parts = [paths[start : start + size] for start in range(0, len(paths), size)]

    def image_at(path: Path) -> Image:
        image = read_image(path)
        size_hw = embedder.image.size_hw
        return image if size_hw is None else resize(image, size_hw, how=embedder.image.resize)

    with ThreadPoolExecutor(max(1, reading.workers), thread_name_prefix="sightline-read") as readers:
        ahead = [readers.submit(image_at, path) for path in parts[0]] if parts else []
        for index, part in enumerate(parts):
            images = [future.result() for future in ahead]
            ahead = [readers.submit(image_at, path) for path in (parts[index + 1] if index + 1 < len(parts) else ())]
            yield images, [str(path) for path in part]
            reading.progress(len(part))


def paths_of(records: Sequence[Record]) -> list[Path]:
    """The files of some records, each once."""
    return list(dict.fromkeys(record.path for record in records))


def labelled(records: Sequence[Record], vectors: Vectors, numbers: dict[str, int]) -> Labelled:
    """`numbers` are those of `labels` over the whole exam, so that both sides of it call a person the same."""
    return Labelled(
        vectors.of([record.path for record in records]),
        np.array([numbers[record.person] for record in records], np.int64),
        np.array([record.camera for record in records], np.int64),
    )


def verify_exam(exam: Exam, vectors: Vectors, *, fars: Sequence[float] = FARS) -> Verification:
    """All pairs of the exam: of its query with its gallery where it is official, of all its images otherwise.

    Two images of one person are a pair when two cameras took them; where that never happened, whoever took them.
    Raises `SightlineError` when there is one person only, or one image of each.
    """
    numbers = labels(exam.images)
    asked = labelled(exam.query if exam.is_official else exam.images, vectors, numbers)
    shown = labelled(exam.gallery, vectors, numbers) if exam.is_official else None
    across = exam.can_rank if exam.is_official else are_seen_by_two_cameras(exam.images)
    count = len(asked) * (len(asked) // 2 if shown is None else len(shown))
    genuine, impostor = genuine_and_impostor(
        asked, shown, exclude_same_camera_positives=across, max_pairs=SOME_PAIRS if count > ALL_PAIRS else None
    )
    return _verification(genuine, impostor, fars, protocol=_protocol(exam, across=across, drawn=count > ALL_PAIRS))


def _protocol(exam: Exam, *, across: bool, drawn: bool) -> str:
    kept = f"{SOME_PAIRS:,} drawn of each kind" if drawn else "all"
    sides = "query with gallery" if exam.is_official else "every two images"
    return f"{sides}, {kept}; genuine pairs {'across cameras only' if across else 'within a camera too'}"


def verify_pairs(
    pairs: Sequence[Pair], vectors: Vectors, *, fars: Sequence[float] = FARS
) -> tuple[Verification, TenFold]:
    """The pairs of a list, and the accuracy over ten folds of it."""
    first = unit(vectors.of([pair.first for pair in pairs]))
    second = unit(vectors.of([pair.second for pair in pairs]))
    scores: FloatArray = np.einsum("nd,nd->n", first, second)
    same = are_same(pairs)
    if len(pairs) < 10:
        raise SightlineError(f"the list has {len(pairs)} pairs; expected at least one for each of ten folds")
    found = _verification(np.sort(scores[same]), np.sort(scores[~same]), fars, protocol="the list of pairs")
    return found, ten_fold_accuracy(scores, same)


def _verification(genuine: FloatArray, impostor: FloatArray, fars: Sequence[float], *, protocol: str) -> Verification:
    if len(impostor) == 0:
        raise SightlineError("no two images show different people; expected at least two identities")
    if len(genuine) == 0:
        raise SightlineError("no two images show the same person; expected at least one identity with two images")
    found = eer(genuine, impostor)
    return Verification(genuine, impostor, found, tar_at_far(genuine, impostor, fars), protocol)


def rank_exam(exam: Exam, vectors: Vectors, *, reranked: bool = False) -> Ranking:
    """Every query of the exam against its gallery; `reranked` by their k-reciprocal neighbours.

    Raises `SightlineError` when nobody was seen by two cameras.
    """
    numbers = labels(exam.images)
    query, gallery = (labelled(side, vectors, numbers) for side in (exam.query, exam.gallery))
    return rank(query, gallery, scores=rerank(query.vectors, gallery.vectors) if reranked else None)
