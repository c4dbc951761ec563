"""From crops to vectors: the card decides what the model is fed, the session how it is run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from sightline.card import ImageInput, VectorOutput
from sightline.errors import CardError, ImageError, ModelOutputError
from sightline.images import MIN_SIDE, prepare, read_image
from sightline.runtime.session import Session, run_part
from sightline.types import Embeddings, FloatArray, Image

log = logging.getLogger(__name__)

# Identities in the public person training sets, and classes in ImageNet: an output this wide is a classifier's.
CLASSIFIER_WIDTHS = frozenset({702, 751, 767, 1000, 1041, 4101})
READ_AHEAD = 64  # images decoded before the model asks for them; bounds the memory of any number of files


@dataclass(frozen=True, eq=False)
class Embedded:
    """One image file and its vector, or the reason it has none."""

    path: Path
    vector: FloatArray | None  # (D,), L2-normalised
    reason: str = ""


class Embedder:
    """A re-identification model as a function from BGR crops to L2-normalised vectors.

    Raises `CardError` when the model is not known well enough to be fed, or does not put out one vector an image.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.image, self.output = _require_embedding_model(session)
        if session.card.weights in {"untrained", "imagenet"}:
            log.warning("%s has %s weights, which do not tell people apart", session.path.name, session.card.weights)

    @property
    def fingerprint(self) -> str:
        return self.session.card.fingerprint

    @cached_property
    def dim(self) -> int:
        """Numbers in a vector. Where the graph leaves that open, one grey image is run to see."""
        if self.output.dim is not None:
            return self.output.dim
        grey = np.full((MIN_SIDE, MIN_SIDE, 3), 128, np.uint8)
        return int(self.embed([grey]).vectors.shape[1])

    def embed(self, crops: Sequence[Image]) -> Embeddings:
        """One L2-normalised vector per crop, (N, D). Any number of crops, none included.

        Crops are prepared on the lane that runs them, so the processor never waits for either.
        """
        if len(crops) == 0:
            return self._embeddings(np.empty((0, self.dim), np.float32))
        size = self.session.batch_size(len(crops))
        parts = [range(start, min(start + size, len(crops))) for start in range(0, len(crops), size)]
        run = self.session.run if len(parts) == 1 else self.session.run_lane

        def vectors_of(part: range) -> FloatArray:
            feeds = {self.image.name: prepare([crops[index] for index in part], self.image)}
            vectors = run_part(self.session, feeds, run=run)[self.output.name]
            return self._normalised(vectors, first=part.start)

        return self._embeddings(np.concatenate(self.session.map_on_lanes(vectors_of, parts)))

    def embed_files(self, paths: Sequence[Path]) -> Iterator[Embedded]:
        """The images of any number of files, in order, in bounded memory. An image that cannot be read has a reason."""
        waiting = iter(paths)
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="sightline-read") as readers:
            ahead = [readers.submit(_read, path) for path in islice(waiting, READ_AHEAD)]
            while ahead:
                images = [future.result() for future in ahead]
                ahead = [readers.submit(_read, path) for path in islice(waiting, READ_AHEAD)]
                yield from self._embed_readable(images)

    def _embed_readable(self, images: Sequence[tuple[Path, Image | str]]) -> Iterator[Embedded]:
        crops = [image for _, image in images if not isinstance(image, str)]
        vectors = iter(self.embed(crops).vectors)
        for path, image in images:
            yield Embedded(path, None, image) if isinstance(image, str) else Embedded(path, next(vectors))

    def _embeddings(self, vectors: FloatArray) -> Embeddings:
        return Embeddings(vectors, fingerprint=self.fingerprint, normalised=True)

    def _normalised(self, vectors: FloatArray, *, first: int) -> FloatArray:
        if vectors.ndim != 2:
            raise ModelOutputError(
                f"{self.session.path.name}: output has shape {vectors.shape}; expected one vector per image (N, D)"
            )
        rows = vectors.astype(np.float32, copy=False)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unusable = ~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0)
        if unusable.any():
            raise ModelOutputError(
                f"{self.session.path.name}: image {first + int(unusable.argmax())} gave a vector that is zero, NaN or "
                "infinite; the model is broken or was fed another precision than it was made for"
            )
        return np.asarray(rows / norms, dtype=np.float32)


def _read(path: Path) -> tuple[Path, Image | str]:
    try:
        return path, read_image(path)
    except ImageError as exc:
        return path, str(exc)


def _require_embedding_model(session: Session) -> tuple[ImageInput, VectorOutput]:
    name, card = session.path.name, session.card
    if card.image is None:
        inputs = ", ".join(map(str, session.inputs))
        raise CardError(f"{name} does not take one image: its inputs are {inputs}; expected one (N, 3, H, W)")
    if card.output is None:
        outputs = ", ".join(map(str, session.outputs))
        raise CardError(f"{name} does not put out one vector an image: its outputs are {outputs}; expected one (N, D)")
    if card.arch == "unknown" and card.output.dim in CLASSIFIER_WIDTHS:
        raise CardError(
            f"{name} puts out {card.output.dim} numbers: class scores of a training head, not an embedding; "
            "export the network without its classifier"
        )
    open_questions = [question for question in card.unknowns() if "--" in question]
    if open_questions:
        raise CardError(f"{name} carries no model card that says {' and '.join(open_questions)}; say it to go on")
    return card.image, card.output
