"""Who is in the picture: one way to ask any detector, and the model of a file as a detector."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from sightline.card import ImageInput
from sightline.errors import ConfigError
from sightline.images import prepare
from sightline.runtime.open import open_session
from sightline.runtime.session import Session, run_part
from sightline.tracking.background import BackgroundDetector
from sightline.tracking.class_names import class_names
from sightline.tracking.families import Family
from sightline.tracking.letterbox import letterbox
from sightline.tracking.metadata import Statement, statement_of
from sightline.tracking.nms import best_apart, sound, taken
from sightline.tracking.precomputed import READERS, read_detections
from sightline.tracking.recognise import AUTO, USUAL_SIZE_HW, blank_answer, feeds_of, first_of, image_input, recognised
from sightline.types import Array, Detections, Image

log = logging.getLogger(__name__)

BACKGROUND = "background"  # the detector that needs no model
PEOPLE = ("person", "face")  # what is kept where nobody says what to keep
EVERYTHING = "all"


class Detector(Protocol):
    """Pictures in, boxes out: in pixels of the picture, inside it, best first."""

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class number in the detections."""

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """One answer a picture. Pictures may differ in size."""

    def close(self) -> None: ...

    def __enter__(self) -> Detector: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class Choice:
    """What a user may want otherwise; `None` leaves it to the family."""

    keep: Sequence[str] | None = None  # names of classes, or "all"; None: people and faces
    names: Sequence[str] | None = None  # of the model's classes, where its file does not say them
    min_score: float | None = None
    max_overlap: float | None = None
    size_hw: tuple[int, int] | None = None  # of the input, where the graph leaves it open


AS_THE_FAMILY = Choice()


def open_detector(
    model: str | Path,
    *,
    format: str = AUTO,
    choice: Choice = AS_THE_FAMILY,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    fallback: bool = True,
) -> Detector:
    """A detector from a model file; the one that needs none, "background"; or the boxes of a file, as they are there.

    `format` names the family where the file does not give it away. Raises what `open_session` raises,
    `ModelFormatError` for a model that is no detector or might be several, and `ConfigError` for a choice that does
    not go with it; about a file of boxes, `SourceError`.
    """
    if str(model) == BACKGROUND:
        return BackgroundDetector()
    if Path(model).suffix.lower() in READERS:
        return read_detections(Path(model))
    session = open_session(model, backend, device, precision, threads, fallback=fallback)
    try:
        return _detector(session, format, choice)
    except BaseException:
        session.close()
        raise


def _detector(session: Session, format: str, choice: Choice) -> ModelDetector:
    stated = statement_of(session.path)
    image = image_input(session, choice.size_hw or _stated_size(session, stated))
    answer = blank_answer(session, image)
    family = recognised(answer, format, model=session.path.name)
    if stated.licence:
        log.warning("%s states its licence: %s", session.path.name, stated.licence)
    names = tuple(choice.names or stated.names or family.names or class_names(family.classes_in(answer)))
    return ModelDetector(session, family, image=image, names=names, choice=choice)


def _stated_size(session: Session, stated: Statement) -> tuple[int, int] | None:
    """What the file says beside the graph is followed only where the graph leaves the size open."""
    is_open = any(None in spec.shape[1:] for spec in session.inputs)
    return stated.size_hw if is_open else None


class ModelDetector:
    """One family's way of feeding and reading a session."""

    def __init__(
        self,
        session: Session,
        family: Family,
        *,
        image: ImageInput,
        names: tuple[str, ...],
        choice: Choice = AS_THE_FAMILY,
    ) -> None:
        self.session = session
        self.family = family
        self.name = session.path.stem
        self.classes = names
        self.min_score = _share(choice.min_score, family.min_score, "score")
        self.max_overlap = _share(choice.max_overlap, family.max_overlap, "overlap")
        self._kept = _kept_classes(choice.keep, names, session.path.name)
        self._image = replace(image, pixels=family.pixels)
        self._size_hw = image.size_hw or USUAL_SIZE_HW
        self._warned = False

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Each part of the batch is prepared on the lane that runs it, so memory does not grow with the batch."""
        size = self.session.batch_size(len(images)) if images else 1
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        answers = self.session.map_on_lanes(lambda part: self._detect_part(part, alone=len(parts) == 1), parts)
        return [found for answer in answers for found in answer]

    def _detect_part(self, images: Sequence[Image], *, alone: bool) -> list[Detections]:
        boxed = [letterbox(image, self._size_hw, fit=self.family.fit) for image in images]
        batch = prepare([inner for inner, _ in boxed], self._image)
        run = self.session.run if alone else self.session.run_lane
        outputs = run_part(self.session, feeds_of(self.session, self._image, batch), run=run)
        return [
            placement.detections_to_source(self._read(first_of(outputs, index)))
            for index, (_, placement) in enumerate(boxed)
        ]

    def _read(self, outputs: dict[str, Array]) -> Detections:
        """The boxes of one picture in pixels of the input."""
        with np.errstate(invalid="ignore", over="ignore"):  # numbers that are none are dropped below, and told of
            decoded = self.family.decode(outputs, self._size_hw, self.min_score)
        if not self._warned and not all(np.isfinite(array).all() for array in outputs.values()):
            self._warned = True
            log.warning("%s answers with numbers that are none (NaN, infinite); such boxes are left out", self.name)
        found = sound(decoded)
        wanted = np.isin(found.classes, self._kept)
        return best_apart(taken(found, np.flatnonzero(wanted)), self.max_overlap)

    def close(self) -> None:
        self.session.close()

    def __enter__(self) -> ModelDetector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _share(chosen: float | None, usual: float, what: str) -> float:
    value = usual if chosen is None else chosen
    if not 0 <= value <= 1:
        raise ConfigError(f"a detector's {what} of {value}; expected 0 to 1")
    return value


def _kept_classes(keep: Sequence[str] | None, names: tuple[str, ...], model: str) -> Array:
    """The numbers of the classes to keep. A name the model does not know is an error, not an empty video."""
    wanted = PEOPLE if keep is None else tuple(keep)
    if EVERYTHING in wanted:
        return np.arange(len(names))
    missing = [name for name in wanted if name not in names]
    if len(missing) == len(wanted) or (missing and keep is not None):
        known = ", ".join(name for name in names[:20] if name) + (", …" if len(names) > 20 else "")
        what = f"does not know {' nor '.join(map(repr, missing))}" if missing else "is to keep no class at all"
        raise ConfigError(f"{model} {what}; its classes are {known}")
    return np.flatnonzero(np.isin(names, wanted))
