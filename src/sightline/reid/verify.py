"""Are these two the same person: a score, what decides, and how often that is wrong."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sightline.card import Aggregation
from sightline.errors import ImageError, SightlineError
from sightline.images import image_files
from sightline.reid.embedder import Embedded, Embedder
from sightline.reid.labelled import unit
from sightline.reid.thresholds import Limit, calibration_of
from sightline.types import FloatArray

log = logging.getLogger(__name__)

Decision = Literal["same", "different", "undecided"]
PAIR_COLUMNS = ("a", "b")


@dataclass(frozen=True, eq=False)
class Subject:
    """Somebody as seen: the vectors of one crop, or of several that show the same person."""

    name: str
    vectors: FloatArray  # (N, D), L2-normalised, N at least 1
    fingerprint: str  # of the model

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def average(self) -> FloatArray:
        """(D,), L2-normalised: the mean of unit vectors identifies better than any one of them."""
        mean = self.vectors.mean(axis=0, keepdims=True, dtype=np.float64)
        return np.asarray(unit(mean.astype(np.float32))[0])


@dataclass(frozen=True)
class Verification:
    """The answer about one pair."""

    a: str
    b: str
    score: float  # cosine; higher is closer
    aggregation: Aggregation | None  # None: a single crop against an average
    limit: Limit

    @property
    def decision(self) -> Decision:
        accepted = self.limit.accepts(self.score)
        if accepted is None:
            return "undecided"
        return "same" if accepted else "different"


def verify(
    embedder: Embedder, a: str | Path, b: str | Path, *, threshold: float | None = None, far: float | None = None
) -> Verification:
    """Compare two images, or two tracks: the images of a folder are averaged.

    Decided by `threshold` if given, else by the one calibrated for this model and kind of comparison, of rate `far` if
    given. Where there is none the decision is "undecided". Raises `ImageError` when a side has no readable image.
    """
    sides = [subject_of(embedder, side) for side in (a, b)]
    return compare(*sides, limit=_limit_of(embedder, *sides, threshold=threshold, far=far))


def verify_pairs(
    embedder: Embedder,
    pairs: Sequence[tuple[str, str]],
    *,
    threshold: float | None = None,
    far: float | None = None,
) -> list[Verification | ImageError]:
    """`verify` for many pairs, in their order, each side embedded once. A pair that cannot be read has the reason."""
    known = subjects_of(embedder, dict.fromkeys(side for pair in pairs for side in pair))
    calibration = calibration_of(embedder)

    def answer(a: Subject | ImageError, b: Subject | ImageError) -> Verification | ImageError:
        if isinstance(a, ImageError):
            return a
        if isinstance(b, ImageError):
            return b
        return compare(a, b, limit=calibration.limit(aggregation_of(a, b), far=far, by_hand=threshold))

    return [answer(known[a], known[b]) for a, b in pairs]


def compare(a: Subject, b: Subject, *, limit: Limit) -> Verification:
    """Raises `SightlineError` for vectors of different models, which no score compares."""
    require_same_model(a, b)
    return Verification(a.name, b.name, float(a.average @ b.average), aggregation_of(a, b), limit)


def require_same_model(a: Subject, b: Subject) -> None:
    if a.fingerprint != b.fingerprint:
        raise SightlineError(
            f"{a.name} and {b.name} were embedded by different models ({a.fingerprint[:16]}, {b.fingerprint[:16]}); "
            "embed both by one"
        )


def aggregation_of(a: Subject, b: Subject) -> Aggregation | None:
    """The kind of comparison two subjects make; None for one crop against several. A folder of one is one crop."""
    if (len(a) > 1) != (len(b) > 1):
        return None
    return "averaged" if len(a) > 1 else "single"


def _limit_of(embedder: Embedder, *sides: Subject, threshold: float | None, far: float | None) -> Limit:
    return calibration_of(embedder).limit(aggregation_of(*sides), far=far, by_hand=threshold)


def subject_of(embedder: Embedder, source: str | Path) -> Subject:
    """The vectors of an image file, a folder or a glob. An image among several that cannot be read is left out, loudly.

    Raises `ImageError` when none can be read.
    """
    found = subjects_of(embedder, [str(source)])[str(source)]
    if isinstance(found, ImageError):
        raise found
    return found


def subjects_of(embedder: Embedder, sources: Iterable[str]) -> dict[str, Subject | ImageError]:
    """`subject_of` for each source, or why it has none; every file is embedded once, all in one stream."""
    files = {source: _files_of(source) for source in sources}
    every = dict.fromkeys(path for found in files.values() if not isinstance(found, ImageError) for path in found)
    embedded = {item.path: item for item in embedder.embed_files(list(every))}
    return {
        source: found
        if isinstance(found, ImageError)
        else _subject(source, [embedded[path] for path in found], fingerprint=embedder.fingerprint)
        for source, found in files.items()
    }


def _files_of(source: str) -> list[Path] | ImageError:
    try:
        return image_files(source)
    except ImageError as exc:
        return exc


def _subject(source: str, items: Sequence[Embedded], *, fingerprint: str) -> Subject | ImageError:
    vectors = [item.vector for item in items if item.vector is not None]
    reasons = [item.reason for item in items if item.vector is None]
    if not vectors:
        others = f" (nor can {len(reasons) - 1} others in {source})" if len(reasons) > 1 else ""
        return ImageError(f"{reasons[0]}{others}")
    for reason in reasons:
        log.warning("left out of %s: %s", source, reason)
    return Subject(source, np.stack(vectors), fingerprint)


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The pairs of a CSV with the columns a and b, paths relative to it; other columns are passed over.

    Raises `ImageError` with the line that cannot be meant.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            pairs = list(_pairs(csv.reader(file), path))
    except OSError as exc:
        raise ImageError(f"list of pairs {path} cannot be read: {exc.strerror}") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise ImageError(f"list of pairs {path} is not CSV in UTF-8 ({exc}); expected the columns a and b") from exc
    if not pairs:
        raise ImageError(f"{path} lists no pairs; expected a CSV with the columns a and b, and a row for each pair")
    return pairs


def _pairs(rows: Iterable[Sequence[str]], path: Path) -> Iterable[tuple[str, str]]:
    numbered = enumerate(rows, start=1)
    _, header = next(numbered, (1, ()))
    columns = [cell.strip().lower() for cell in header]
    if any(columns.count(name) != 1 for name in PAIR_COLUMNS):
        raise ImageError(f"{path}: its first line is {','.join(header)!r}; expected the columns a and b")
    for number, row in numbered:
        if not any(cell.strip() for cell in row):
            continue
        cells = dict(zip(columns, (cell.strip() for cell in row), strict=False))
        if not (cells.get("a") and cells.get("b")):
            raise ImageError(f"{path}: row {number} names no two images; expected a path under a and one under b")
        yield str(path.parent / cells["a"]), str(path.parent / cells["b"])
