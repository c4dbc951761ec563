"""The threshold for a wanted rate of false accepts, measured on labelled images or pairs.

A threshold is measured on the kind of vector it will decide about: single crops, or averages of several, whose scores
lie elsewhere. It is a quantile of the impostor scores there really are: a rate of 1 in 1000 cannot be read off 500
pairs, and is refused.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline.card import Aggregation, Threshold
from sightline.errors import SightlineError
from sightline.reid.embedder import Embedder
from sightline.reid.labelled import Labelled, by_id, unit
from sightline.reid.verification import RELIABLE, genuine_and_impostor, tar_at_far
from sightline.reid.verify import Subject
from sightline.types import FloatArray, IntArray

log = logging.getLogger(__name__)

CROPS_PER_ENTRY = 8
ALL_VECTORS = 10_000  # of more than these not every pair is scored,
SOME_PAIRS = 5_000_000  # but so many of each kind, drawn


@dataclass(frozen=True, eq=False)
class PairScores:
    """Cosines of pairs, ascending, of vectors of one kind."""

    genuine: FloatArray  # (N,)
    impostor: FloatArray  # (N,)
    aggregation: Aggregation
    source: str  # what was compared, in words


@dataclass(frozen=True, eq=False)
class Entries:
    """Averages as a gallery keeps them, and how many crops are behind each."""

    vectors: Labelled
    crops: IntArray  # (N,)

    def __str__(self) -> str:
        fewest, most = (0, 0) if len(self.crops) == 0 else (self.crops.min(), self.crops.max())
        return f"{len(self.crops):,} averages of {fewest} to {most} crops"


@dataclass(frozen=True)
class Calibrated:
    """A threshold, and what it costs: the share of genuine pairs that reach it."""

    threshold: Threshold
    tar: float
    genuine_pairs: int
    reliable: bool  # enough impostors for ten false accepts


def calibrate(scores: PairScores, fars: Sequence[float], *, accept_few: bool = False) -> tuple[Calibrated, ...]:
    """For each rate the lowest threshold that at most this share of the impostors reaches.

    Raises `SightlineError` where fewer than ten of the impostors may be accepted, so that the rate would be a guess,
    unless `accept_few`; and where there are no pairs of either kind.
    """
    _require_both(scores)
    found = tar_at_far(scores.genuine, scores.impostor, fars)
    few = next((item for item in found if not item.reliable), None)
    if few is not None and not accept_few:
        raise SightlineError(
            f"a false-accept rate of {few.far:g} needs {math.ceil(RELIABLE / few.far):,} impostor pairs of "
            f"{_KINDS[scores.aggregation]}; there are {few.impostor_pairs:,}, enough for "
            f"{_lowest_rate(few.impostor_pairs)}: add people, ask for a higher rate, or accept few"
        )
    return tuple(
        Calibrated(
            Threshold(item.threshold, item.far, scores.aggregation, item.impostor_pairs, scores.source),
            item.tar,
            item.genuine_pairs,
            item.reliable,
        )
        for item in found
    )


_KINDS = {"single": "single crops", "averaged": "averaged crops"}


def _lowest_rate(impostors: int) -> str:
    return f"{RELIABLE / impostors:.2g}" if impostors > RELIABLE else "no rate at all"


def _require_both(scores: PairScores) -> None:
    kinds = {"same person": scores.genuine, "different people": scores.impostor}
    missing = next((kind for kind, pairs in kinds.items() if len(pairs) == 0), None)
    if missing is not None:
        hint = "; take fewer crops for an average" if scores.aggregation == "averaged" else ""
        raise SightlineError(
            f"no two {_KINDS[scores.aggregation]} in {scores.source} show the {missing}; expected some of both{hint}"
        )


def scores_between(vectors: Labelled, *, aggregation: Aggregation, source: str, seed: int = 0) -> PairScores:
    """The scores of every two vectors, or, of very many, of pairs drawn by the seed.

    Two of one person count when two cameras took them; where nobody was seen by two cameras, whoever took them.
    """
    drawn = None if len(vectors) <= ALL_VECTORS else SOME_PAIRS
    across = _seen_by_two_cameras(vectors)
    genuine, impostor = genuine_and_impostor(vectors, exclude_same_camera_positives=across, max_pairs=drawn, seed=seed)
    return PairScores(genuine, impostor, aggregation, source)


def _seen_by_two_cameras(vectors: Labelled) -> bool:
    if vectors.cameras is None:
        return False
    seen = np.unique(np.stack([vectors.ids, vectors.cameras]), axis=1)[0]
    return len(np.unique(seen)) < len(seen)


def averaged_entries(vectors: Labelled, *, crops: int = CROPS_PER_ENTRY, seed: int = 0) -> Entries:
    """The crops of a person by a camera, dealt at random into averages of `crops`.

    What does not fill one is spread over the others; somebody with fewer crops has one average of them, and who has
    one crop has none. The same seed deals the same.
    """
    rng = np.random.default_rng(seed)
    entries = [entry for group in _groups(vectors) for entry in _dealt(group, crops, rng)]
    means = [unit(vectors.vectors[rows]).mean(axis=0, dtype=np.float64) for rows in entries]
    firsts = np.array([rows[0] for rows in entries], np.int64)
    rows = unit(np.array(means, np.float32).reshape(-1, vectors.vectors.shape[1]))
    cameras = None if vectors.cameras is None else vectors.cameras[firsts]
    return Entries(Labelled(rows, vectors.ids[firsts], cameras), np.array([len(entry) for entry in entries], np.int64))


def _groups(vectors: Labelled) -> list[IntArray]:
    """The rows of each person by each camera."""
    side = by_id(vectors, nameless=-1)
    order = np.lexsort((side.rows, side.cameras, side.ids))
    changed = (np.diff(side.ids[order]) != 0) | (np.diff(side.cameras[order]) != 0)
    return np.split(side.rows[order], np.flatnonzero(changed) + 1)


def _dealt(rows: IntArray, crops: int, rng: np.random.Generator) -> list[IntArray]:
    if len(rows) < 2:
        return []
    return np.array_split(rng.permutation(rows), max(1, len(rows) // crops))


def labelled_files(
    embedder: Embedder, paths: Sequence[Path], people: Sequence[str], *, cameras: Sequence[int] | None = None
) -> Labelled:
    """Embed image files, one person and camera each. One that cannot be read is left out, loudly."""
    numbers = {person: number for number, person in enumerate(sorted(set(people)))}
    rows, vectors = [], []
    for row, item in enumerate(embedder.embed_files(paths)):
        if item.vector is None:
            log.warning("left out: %s", item.reason)
        else:
            rows.append(row)
            vectors.append(item.vector)
    stacked = np.stack(vectors) if vectors else np.empty((0, embedder.dim), np.float32)
    ids = np.array([numbers[people[row]] for row in rows], np.int64)
    return Labelled(stacked, ids, None if cameras is None else np.array([cameras[row] for row in rows], np.int64))


def labelled_subjects(subjects: Sequence[Subject]) -> Labelled:
    """Each subject as a person of its own, all its crops by one camera."""
    ids = np.repeat(np.arange(len(subjects)), [len(subject) for subject in subjects])
    return Labelled(np.concatenate([subject.vectors for subject in subjects]), ids)


def scores_of_pairs(embedder: Embedder, pairs: Sequence[tuple[Path, Path, bool]], *, source: str) -> PairScores:
    """The scores of a list of pairs of images, and whether each is of one person. Pairs with an image that cannot be
    read are left out, loudly."""
    vectors = {}
    for item in embedder.embed_files(list(dict.fromkeys(path for a, b, _ in pairs for path in (a, b)))):
        if item.vector is None:
            log.warning("left out: %s", item.reason)
        else:
            vectors[item.path] = item.vector
    scored = [(vectors[a] @ vectors[b], same) for a, b, same in pairs if a in vectors and b in vectors]
    genuine, impostor = (np.array([score for score, same in scored if same == kind]) for kind in (True, False))
    return PairScores(np.sort(genuine.astype(np.float32)), np.sort(impostor.astype(np.float32)), "single", source)
