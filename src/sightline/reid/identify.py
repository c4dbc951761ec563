"""Who is it, of those whose pictures lie in a folder: one subfolder an identity, any number of images in it.

Vectors are cached by the content of their file, for one model and one way to prepare images. So a picture that changed
is embedded again, one that was moved is not, and one that is gone is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from sightline.card import Aggregation
from sightline.errors import CardError, ImageError, ModelFormatError, OutputError
from sightline.files import sha256_of
from sightline.images import image_files
from sightline.reid.embedder import Embedder
from sightline.reid.thresholds import Calibration, Limit, calibration_of, preparation
from sightline.reid.vector_cache import VectorCache
from sightline.reid.verify import Subject, aggregation_of, require_same_model
from sightline.types import FloatArray, Match

log = logging.getLogger(__name__)

CACHE_NAME = ".sightline-embeddings.npz"
# By which the best identity must be ahead of the next. On crops of Market-1501 it costs one right answer in 200, and
# turns away one in nine of the strangers who score like acquaintances.
MARGIN = 0.02
TIE = 1e-6  # two scores closer than this are one, whatever margin is asked for

Method = Literal["averaged", "best"]


@dataclass(frozen=True)
class Candidate:
    """One identity and how well it fits."""

    identity: str
    score: float  # cosine; higher is closer
    crops: int  # of that identity


@dataclass(frozen=True)
class Identification:
    """The answer about one query."""

    query: str
    method: Method
    candidates: tuple[Candidate, ...]  # best first
    aggregation: Aggregation | None  # of the best candidate's score; None: a single crop against an average
    limit: Limit
    match: Match | None  # None: undecided, for nothing says which score is enough
    expected_far: float | None  # for a stranger to be taken for anybody here, at most; None: nobody measured that
    reason: str  # why it is nobody, or undecided; empty when somebody was recognised


@dataclass(frozen=True, eq=False)
class IdentityFolder:
    """The identities of a folder, embedded. Made by `IdentityFolder.open`."""

    path: Path
    identities: tuple[Subject, ...]  # in order of name
    calibration: Calibration
    skipped: Mapping[Path, str] = field(default_factory=dict)  # images that could not be read, with the reason

    @classmethod
    def open(cls, folder: str | Path, embedder: Embedder, cache: Path | None = None) -> IdentityFolder:
        """Read and embed what is there, but for what `cache` (by default a hidden file in the folder) holds.

        A cache that cannot be read is made again, one that cannot be written is done without, both loudly. What was
        embedded before an interruption is kept. Raises `ImageError` where there is nobody, and `CardError` for random
        weights, which know nobody.
        """
        if embedder.session.card.weights == "untrained":
            raise CardError(f"{embedder.session.path.name} has random weights, which know nobody; use a trained model")
        home = Path(folder).expanduser().absolute()  # so that a name like ~bob stays one
        files = _files_of_identities(home)
        digests, skipped = _digests(path for paths in files.values() for path in paths)
        calibration = calibration_of(embedder)
        vectors, unreadable = _embedded(digests, embedder, cache or home / CACHE_NAME)
        skipped |= unreadable
        found = {name: [digests[path] for path in paths if path in digests] for name, paths in files.items()}
        subjects = _subjects(found, vectors, fingerprint=embedder.fingerprint)
        if not subjects:
            raise ImageError(f"no image in {home} can be used: {next(iter(skipped.values()))}")
        return cls(home, subjects, calibration, skipped)


def identify(
    gallery: IdentityFolder,
    query: Subject,
    *,
    top_k: int = 5,
    method: Method | None = None,
    margin: float = MARGIN,
    threshold: float | None = None,
    far: float | None = None,
) -> Identification:
    """The identities most like the query, and which of them it is, if any.

    "averaged" compares averages, "best" takes the closest two crops. By default a query of several crops is averaged,
    which identifies best, and a single crop is compared with single crops: that is what thresholds are calibrated for.
    Nobody is recognised below the threshold, or less than `margin` ahead of the next.
    """
    require_same_model(query, gallery.identities[0])
    chosen: Method = method or ("averaged" if len(query) > 1 else "best")
    scores = _averaged_scores(gallery, query) if chosen == "averaged" else _best_scores(gallery, query)
    order = np.argsort(-scores, kind="stable")
    best = gallery.identities[order[0]]
    aggregation = aggregation_of(query, best) if chosen == "averaged" else "single"
    limit = gallery.calibration.limit(aggregation, far=far, by_hand=threshold)
    ranked = tuple(_candidate(gallery.identities[index], scores[index]) for index in order[: max(top_k, 2)])
    match, reason = _decided(ranked, limit, margin=margin)
    comparisons = len(scores) if chosen == "averaged" else len(query) * sum(map(len, gallery.identities))
    return Identification(
        query.name, chosen, ranked[:top_k], aggregation, limit, match, _any_of(limit.far, comparisons), reason
    )


def _candidate(subject: Subject, score: np.float32) -> Candidate:
    return Candidate(subject.name, float(score), len(subject))


def _averaged_scores(gallery: IdentityFolder, query: Subject) -> FloatArray:
    return np.stack([subject.average for subject in gallery.identities]) @ query.average


def _best_scores(gallery: IdentityFolder, query: Subject) -> FloatArray:
    return np.array([(subject.vectors @ query.vectors.T).max() for subject in gallery.identities], np.float32)


def _decided(ranked: Sequence[Candidate], limit: Limit, *, margin: float) -> tuple[Match | None, str]:
    best, *others = ranked
    runner_up = others[0] if others else None
    if limit.value is None:
        return None, limit.source
    reason = ""
    if best.score < limit.value:
        reason = f"the closest, {best.identity}, scores {best.score:.4f}, below the threshold {limit.value:.4f}"
    elif runner_up is not None and best.score - runner_up.score < max(margin, TIE):
        ahead = best.score - runner_up.score
        reason = f"{best.identity} is only {ahead:.4f} ahead of {runner_up.identity}; wanted {margin:g}"
    recognised = None if reason else best.identity
    next_best = (None, None) if runner_up is None else (runner_up.identity, runner_up.score)
    return Match(recognised, best.score, limit.value, *next_best), reason


def _any_of(far: float | None, comparisons: int) -> float | None:
    """The rate of one comparison, over all that a stranger has to pass."""
    return None if far is None else 1 - (1 - far) ** comparisons


# The folder


def _files_of_identities(folder: Path) -> dict[str, list[Path]]:
    """The images of each subfolder, by its name. Hidden subfolders are none; an empty one is left out, loudly."""
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as exc:
        raise ImageError(f"gallery {folder} cannot be read: {exc.strerror}; expected a folder") from exc
    found: dict[str, list[Path]] = {}
    for entry in entries:
        if not entry.is_dir():
            log.warning("%s is in no subfolder, so it shows nobody; left out", entry)
            continue
        try:
            found[entry.name] = image_files(str(entry))
        except ImageError as exc:
            log.warning("left out: %s", exc)
    if not found:
        raise ImageError(f"nobody in {folder}: expected a subfolder with images for each identity")
    return found


def _digests(paths: Iterable[Path]) -> tuple[dict[Path, str], dict[Path, str]]:
    """The checksum of each file, and the reason for each that cannot be read."""
    digests, skipped = {}, {}
    for path in paths:
        try:
            digests[path] = sha256_of(path)
        except ModelFormatError as exc:
            skipped[path] = str(exc)
    return digests, skipped


def _embedded(digests: Mapping[Path, str], embedder: Embedder, cache: Path) -> tuple[VectorCache, dict[Path, str]]:
    """A vector for each content, from the cache or embedded once, and the reasons for those that have none.

    The cache is written however this ends, and forgets what is gone only once all that is there is in it.
    """
    vectors = VectorCache(cache, identity=_space(embedder), dim=embedder.dim)
    pending = {digest: path for path, digest in digests.items() if digest not in vectors}
    skipped = {}
    only = None
    try:
        for item in embedder.embed_files(list(pending.values())):
            if item.vector is None:
                skipped[item.path] = item.reason
            else:
                vectors.add({digests[item.path]: item.vector})
        only = [digest for digest in set(digests.values()) if digest in vectors]
    finally:
        _save(vectors, only, cache)
    return vectors, skipped


def _save(vectors: VectorCache, only: Sequence[str] | None, cache: Path) -> None:
    try:
        vectors.save(only=only)
    except OutputError as exc:
        log.warning("vectors are not kept for next time: %s; pass --cache FILE to keep them elsewhere", exc)


def _space(embedder: Embedder) -> str:
    """What a vector depends on besides its picture."""
    card, precision = embedder.session.card, embedder.session.precision
    if not card.fingerprint:
        raise CardError(f"{embedder.session.path.name} has no fingerprint that vectors could be bound to")
    return f"{card.fingerprint} {embedder.output.name} {embedder.dim} {precision} {preparation(embedder)}"


def _subjects(found: Mapping[str, Sequence[str]], vectors: VectorCache, *, fingerprint: str) -> tuple[Subject, ...]:
    """Two copies of one picture in one subfolder are one crop."""
    kept = {name: [key for key in dict.fromkeys(keys) if key in vectors] for name, keys in found.items()}
    for name in (name for name, keys in kept.items() if not keys):
        log.warning("%s has no image that can be used; left out", name)
    return tuple(Subject(name, vectors.rows(keys), fingerprint) for name, keys in kept.items() if keys)
