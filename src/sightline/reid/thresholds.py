"""The threshold that belongs to a model: where it is kept, and which one a comparison may be decided by.

A threshold holds for one set of weights, one way to prepare images, and one kind of vector: single crops, or averages
of several. Averaging moves the scores, so a threshold of the one kind says nothing about the other. Thresholds are part
of the model's card: in the ONNX file, or, where that must not be written, in a copy of the card beside the model.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sightline._version import __version__
from sightline.card import CARD_KEY, Aggregation, ModelCard, Threshold
from sightline.errors import CardError
from sightline.files import replacing
from sightline.onnx_file import with_metadata
from sightline.reid.embedder import Embedder
from sightline.reid.faces import FaceEmbedder
from sightline.reid.verification import EXCESS, RELIABLE
from sightline.zoo import cache_dir

log = logging.getLogger(__name__)

SUFFIX = ".thresholds.json"
PREPARED = "thresholds.prepared"  # in a card's extra: how the images were prepared that the thresholds come from
KINDS: dict[Aggregation, str] = {"single": "single crops", "averaged": "averages of several crops"}


@dataclass(frozen=True)
class Limit:
    """What one comparison is decided by, or why nothing can decide it."""

    value: float | None  # None: nothing; `source` says why
    far: float | None  # the false-accept rate to be expected at it, at most; None: nobody measured that
    pairs: int  # impostor pairs behind that rate
    source: str

    @property
    def reliable(self) -> bool:
        """Whether enough impostors stand behind the rate for ten false accepts."""
        return self.far is not None and self.far * self.pairs * EXCESS >= RELIABLE

    def accepts(self, score: float) -> bool | None:
        """None where nothing can decide it."""
        return None if self.value is None else score >= self.value


@dataclass(frozen=True)
class Calibration:
    """The thresholds that hold for an embedder, and where they are from, or why there are none."""

    thresholds: tuple[Threshold, ...]
    origin: str

    def limit(
        self, aggregation: Aggregation | None, *, far: float | None = None, by_hand: float | None = None
    ) -> Limit:
        """What decides between two vectors of this kind; None is one of each kind, which nothing is calibrated for.

        `far` picks the threshold of that rate; by default it is the strictest there is. One given by hand always
        decides; the rate known for it is that of the nearest calibrated threshold below.
        """
        fitting = [threshold for threshold in self.thresholds if threshold.aggregation == aggregation]
        if by_hand is not None:
            return _by_hand(by_hand, fitting)
        if aggregation is None:
            return _none("not calibrated: one side is a single crop and the other an average of several")
        if not fitting:
            known = ", ".join(sorted({KINDS[threshold.aggregation] for threshold in self.thresholds}))
            only = f"{self.origin} is for {known} only" if known else self.origin
            return _none(f"not calibrated for {KINDS[aggregation]}: {only}")
        asked = [threshold for threshold in fitting if far is None or math.isclose(threshold.far, far)]
        if not asked:
            rates = ", ".join(f"{threshold.far:g}" for threshold in fitting)
            return _none(f"not calibrated for a rate of {far:g}: {self.origin} has {rates}")
        chosen = min(asked, key=lambda threshold: threshold.far)
        measured = f", measured on {chosen.source}" if chosen.source else ""
        return Limit(chosen.value, chosen.far, chosen.pairs, f"calibrated for this model: {self.origin}{measured}")


def _none(reason: str) -> Limit:
    return Limit(None, None, 0, reason)


def _by_hand(value: float, fitting: Iterable[Threshold]) -> Limit:
    below = [threshold for threshold in fitting if threshold.value <= value]
    if not below:
        return Limit(value, None, 0, "given by hand, not calibrated")
    nearest = min(below, key=lambda threshold: threshold.far)
    return Limit(value, nearest.far, nearest.pairs, f"given by hand; calibrated is {nearest.value:.4f}")


def preparation(embedder: Embedder) -> str:
    """How images become the model's input, in words: vectors prepared differently are scored differently."""
    image = embedder.image
    size = "any size" if image.size_hw is None else f"{image.size_hw[0]}x{image.size_hw[1]}"
    faces = f", faces aligned by {embedder.finder.fingerprint[:16]}" if isinstance(embedder, FaceEmbedder) else ""
    return f"{image.pixels}, {size}, {image.resize}{faces}"


def calibration_of(embedder: Embedder) -> Calibration:
    """The thresholds kept beside the model, else those in its card.

    Raises `CardError` for a file beside it that cannot be read: to pass it over would decide by another threshold.
    """
    session = embedder.session
    beside = path_beside(session.path)
    kept = _read_beside(beside)
    if kept is not None and kept.fingerprint == session.card.fingerprint:
        return _holding(kept, embedder, origin=beside.name)
    if kept is not None:
        log.warning("%s is of another model, and not used; calibrate this one", beside)
    return _holding(session.card, embedder, origin=f"the card of {session.path.name}")


def _holding(card: ModelCard, embedder: Embedder, *, origin: str) -> Calibration:
    if not card.thresholds:
        return Calibration((), f"{embedder.session.path.name} has no threshold; make one with `sightline calibrate`")
    if not card.fingerprint:
        return Calibration((), f"{origin} names no fingerprint of the weights its thresholds are for")
    prepared, calibrated = preparation(embedder), card.extra.get(PREPARED)
    if calibrated is None and isinstance(embedder, FaceEmbedder):
        return Calibration((), f"the thresholds in {origin} are not for aligned faces")
    if calibrated not in (None, prepared):
        return Calibration((), f"the thresholds in {origin} are for images prepared as {calibrated}, not {prepared}")
    return Calibration(card.thresholds, origin)


def path_beside(model: Path) -> Path:
    return model.with_name(model.name + SUFFIX)


def _read_beside(path: Path) -> ModelCard | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise CardError(f"{path} cannot be read ({exc}); delete it and calibrate again") from exc
    try:
        return ModelCard.from_json(text, origin=path.name)
    except CardError as exc:
        raise CardError(f"{path} holds no thresholds ({exc}); delete it and calibrate again") from exc


def belongs_beside(model: Path) -> bool:
    """Whether thresholds are kept beside this file: no ONNX, a link to another's, or one whose checksum is known."""
    return model.suffix.lower() != ".onnx" or model.is_symlink() or model.resolve().is_relative_to(cache_dir())


def keep_thresholds(embedder: Embedder, thresholds: Sequence[Threshold], *, beside: bool | None = None) -> Path:
    """Write thresholds into the model's card, or `beside` it (by default where they belong); the file written to.

    One for the same kind of vector and the same rate is replaced, the others stay, unless they were measured on images
    prepared differently. The weights and their fingerprint do not change. Raises `CardError` for a model without a
    fingerprint, and `OutputError` where the file cannot be written.
    """
    path, card = embedder.session.path, embedder.session.card
    if not card.fingerprint:
        raise CardError(f"{path.name} has no fingerprint that a threshold could be bound to; export it again")
    merged = {(old.aggregation, old.far): old for old in calibration_of(embedder).thresholds}
    merged.update({(new.aggregation, new.far): new for new in thresholds})
    extra = {**card.extra, PREPARED: preparation(embedder)}
    ordered = tuple(merged[key] for key in sorted(merged))
    content = replace(card, thresholds=ordered, extra=extra, created_by=f"sightline {__version__}").to_json()
    if belongs_beside(path) if beside is None else beside:
        return _write_beside(path_beside(path), content)
    with_metadata(path, path, entries={CARD_KEY: content})
    path_beside(path).unlink(missing_ok=True)  # merged into the card; left there, it would hide what comes after
    return path


def _write_beside(target: Path, content: str) -> Path:
    with replacing(target) as temporary:
        temporary.write_text(content + "\n", encoding="utf-8")
    return target
