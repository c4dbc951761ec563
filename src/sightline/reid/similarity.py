"""Who looks like whom: one vector a person, and the matrix of their similarities.

The names and keys are those of the OSNet clustering notes, filled with what is true: the dimension the model has, the
threshold that was used, the model that was run. `similarity_files` writes them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, TypedDict, get_args

import numpy as np

from sightline.errors import ImageError, SightlineError
from sightline.images import require_image
from sightline.reid.osnet import extract_osnet_features, load_osnet_model, model_type_of
from sightline.reid.tracklets import select_best_crops
from sightline.runtime.session import Session
from sightline.types import Array, FloatArray, Image

log = logging.getLogger(__name__)

PersonId = str | int
Form = Literal["averaged", "pairs"]
FORMS: tuple[Form, ...] = get_args(Form)


class Similarity(TypedDict):
    """What `compute_similarity_matrix` finds. Row i of the matrix is `person_ids[i]`."""

    similarity_matrix: FloatArray  # (P, P), higher is closer
    person_ids: list[PersonId]
    high_similarity_pairs: list[tuple[PersonId, PersonId, float]]  # best first
    similarity_threshold: float
    timestamp: str  # ISO 8601, UTC


class SimilarityResults(Similarity):
    """The same with where it comes from: what `save_similarity_results` writes."""

    similarity_form: Form
    embeddings: dict[PersonId, FloatArray]  # (D,) each, averaged and L2-normalised, whatever the form
    model: str
    model_type: str  # "onnx", "pytorch" or "random"
    weights: str  # as the card says: trained, imagenet, untrained, unknown
    fingerprint: str
    timing: dict[str, float]  # seconds by stage


@dataclass(frozen=True)
class ModelUsed:
    """What files must say about the model their vectors are from."""

    model: str
    model_type: str
    weights: str
    fingerprint: str

    @classmethod
    def of(cls, session: Session) -> ModelUsed:
        card = session.card
        name = session.path.name if card.arch == "unknown" else card.arch
        return cls(name, model_type_of(session), card.weights, card.fingerprint)


# Vectors


def compute_embedding(features: FloatArray) -> FloatArray:
    """One person's (N, D) features as one L2-normalised vector, (D,): their mean, then its direction."""
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(f"features are {features.shape}; expected (N, D) with at least one row")
    mean = features.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(mean)
    if not (np.isfinite(length) and length > 0):
        raise SightlineError("features average to zero, NaN or infinity, which has no direction; embed them again")
    return np.asarray(mean / length, np.float32)


def compute_similarity_matrix(embeddings: Mapping[PersonId, FloatArray], threshold: float = 0.70) -> Similarity:
    """The product of every vector with every other, and the pairs of people at or above `threshold`.

    Vectors are taken as they are. Of normalised ones the products are cosines. Of plain means of normalised features
    they are the mean cosine over all pairs of crops, because a mean of products over two independent choices is the
    product of two means: no loop over crops is needed. There the diagonal says how alike a person's own crops are.
    """
    _require_threshold(threshold)
    ids = list(embeddings)
    vectors = _stacked(embeddings)
    matrix = np.clip(vectors @ vectors.T, -1.0, 1.0)
    return Similarity(
        similarity_matrix=matrix,
        person_ids=ids,
        high_similarity_pairs=_pairs_above(matrix, ids, threshold),
        similarity_threshold=threshold,
        timestamp=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _require_threshold(threshold: float) -> None:
    if not -1.0 <= threshold <= 1.0:
        raise ValueError(f"threshold is {threshold}; expected a cosine, -1..1")


def _stacked(embeddings: Mapping[PersonId, FloatArray]) -> FloatArray:
    if len({str(person) for person in embeddings}) < len(embeddings):
        raise ValueError("two people have the same id but for its type, such as 1 and '1'; the files cannot hold both")
    shapes = {vector.shape for vector in embeddings.values()}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise ValueError(f"vectors are {sorted(shapes)}; expected one (D,) each, all of the same length")
    if not embeddings:
        return np.empty((0, 0), np.float32)
    vectors = np.array(list(embeddings.values()), np.float32)
    if not np.isfinite(vectors).all():
        raise SightlineError("vectors hold NaN or infinity: not embeddings; embed them again")
    return vectors


def _pairs_above(
    matrix: FloatArray, ids: Sequence[PersonId], threshold: float
) -> list[tuple[PersonId, PersonId, float]]:
    rows, columns = np.nonzero(np.triu(matrix >= np.float32(threshold), k=1))
    scores = matrix[rows, columns]
    best_first = np.argsort(-scores, kind="stable")
    found = zip(rows[best_first].tolist(), columns[best_first].tolist(), scores[best_first].tolist(), strict=True)
    return [(ids[row], ids[column], score) for row, column, score in found]


# From features, and from crops


def compare(
    features: Mapping[PersonId, FloatArray],
    *,
    model: ModelUsed,
    threshold: float = 0.70,
    form: Form = "averaged",
    timing: Mapping[str, float] | None = None,
) -> SimilarityResults:
    """The L2-normalised features (N, D) of each person, compared. `averaged` compares the averages, `pairs` crops.

    The two forms live on different scales: thresholds of one mean nothing to the other.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; expected one of {', '.join(FORMS)}")
    started = time.perf_counter()
    averaged = {person: compute_embedding(rows) for person, rows in features.items()}
    compared = averaged if form == "averaged" else {person: rows.mean(axis=0) for person, rows in features.items()}
    found = compute_similarity_matrix(compared, threshold)
    spent = {**(timing or {}), "similarity": time.perf_counter() - started}
    return SimilarityResults(
        **found,
        similarity_form=form,
        embeddings=averaged,
        model=model.model,
        model_type=model.model_type,
        weights=model.weights,
        fingerprint=model.fingerprint,
        timing={**spent, "total": sum(spent.values())},
    )


def create_similarity_matrix(
    buckets: Mapping[PersonId, Sequence[Image]],
    osnet_model_path: str | Path | None,
    device: str = "cuda",
    num_best_crops: int = 16,
    similarity_threshold: float = 0.70,
    *,
    form: Form = "averaged",
    allow_random: bool = False,
) -> SimilarityResults:
    """Everybody's BGR crops, compared. People without a usable crop are left out, with a warning that names them.

    The notes went on with random weights where there was no model; here that has to be allowed.
    """
    _require_threshold(similarity_threshold)
    clock = _Clock()
    session, used, kind = load_osnet_model(osnet_model_path, device, allow_random=allow_random)
    with session:
        clock.lap("load_model")
        best = {person: select_best_crops(_usable(crops), num_best_crops) for person, crops in buckets.items()}
        _warn_of_nobody([person for person, crops in best.items() if not crops])
        clock.lap("select_crops")
        kept = {person: crops for person, crops in best.items() if crops}
        together = [crop for crops in kept.values() for crop in crops]
        rows = extract_osnet_features(together, session, used, kind)
        ends = np.cumsum([len(crops) for crops in kept.values()])[:-1]
        features = dict(zip(kept, np.split(rows, ends), strict=True)) if kept else {}
        clock.lap("extract_features")
        model = ModelUsed.of(session)
    return compare(features, model=model, threshold=similarity_threshold, form=form, timing=clock.laps)


def _usable(crops: Sequence[Image]) -> list[Image]:
    return [crop for crop in crops if _is_image(crop)]


def _is_image(crop: Array) -> bool:
    try:
        require_image(crop)
    except ImageError:
        return False
    return True


def _warn_of_nobody(people: Sequence[PersonId]) -> None:
    for person in people:
        log.warning("%r has no usable crop and is left out", person)


class _Clock:
    """Seconds by stage, each from the end of the one before."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage], self._last = now - self._last, now
