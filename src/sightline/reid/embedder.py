"""From crops to vectors: the card decides what the model is fed, the session how it is run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from sightline.card import PIXELS, ImageInput, VectorOutput
from sightline.errors import CardError, ImageError, ModelOutputError
from sightline.images import MIN_SIDE, prepare, read_image, resize
from sightline.runtime.session import Session, run_part
from sightline.types import Embeddings, FloatArray, Image

log = logging.getLogger(__name__)

# Identities in the public person training sets, and classes in ImageNet: an output this wide is a classifier's.
CLASSIFIER_WIDTHS = frozenset({702, 751, 767, 1000, 1041, 4101})
READ_AHEAD = 64  # images decoded before the model asks for them; bounds the memory of any number of files
LARGE = 1 << 20  # pixels of an image that is not kept at its full size until then


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
        cv2.setNumThreads(1)  # crops are resized on the lanes; threads of OpenCV's own would only get in their way
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

    def embed(self, crops: Sequence[Image], *, names: Sequence[str] = ()) -> Embeddings:
        """One L2-normalised vector per crop, (N, D). Any number of crops, none included.

        `names`, one a crop, is what an error calls them instead of their number. Crops are prepared on the lane that
        runs them, so the processor never waits for either.
        """
        if len(crops) == 0:
            return self._embeddings(np.empty((0, self.dim), np.float32))
        size = self.session.batch_size(len(crops))
        parts = [range(start, min(start + size, len(crops))) for start in range(0, len(crops), size)]
        run = self.session.run if len(parts) == 1 else self.session.run_lane

        def vectors_of(part: range) -> FloatArray:
            feeds = {self.image.name: prepare([crops[index] for index in part], self.image)}
            vectors = run_part(self.session, feeds, run=run)[self.output.name]
            return self._normalised(vectors, names=names[part.start : part.stop] or [f"image {i}" for i in part])

        return self._embeddings(np.concatenate(self.session.map_on_lanes(vectors_of, parts)))

    def embed_files(self, paths: Sequence[Path]) -> Iterator[Embedded]:
        """The images of any number of files, in order, in bounded memory. An image that cannot be read has a reason."""
        waiting = iter(paths)
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="sightline-read") as readers:
            ahead = [readers.submit(self._read, path) for path in islice(waiting, READ_AHEAD)]
            while ahead:
                images = [future.result() for future in ahead]
                ahead = [readers.submit(self._read, path) for path in islice(waiting, READ_AHEAD)]
                yield from self._embed_readable(images)

    def _embed_readable(self, images: Sequence[tuple[Path, Image | str]]) -> Iterator[Embedded]:
        readable = [(str(path), image) for path, image in images if not isinstance(image, str)]
        crops, names = [image for _, image in readable], [name for name, _ in readable]
        vectors = iter(self.embed(crops, names=names).vectors)
        for path, image in images:
            yield Embedded(path, None, image) if isinstance(image, str) else Embedded(path, next(vectors))

    def _read(self, path: Path) -> tuple[Path, Image | str]:
        """An image, or why there is none. A photograph is shrunk right here, as `prepare` would later."""
        try:
            image = read_image(path)
        except ImageError as exc:
            return path, str(exc)
        size_hw = self.image.size_hw
        if size_hw is not None and image.shape[0] * image.shape[1] > LARGE:
            image = resize(image, size_hw, how=self.image.resize)
        return path, image

    def _embeddings(self, vectors: FloatArray) -> Embeddings:
        return Embeddings(vectors, fingerprint=self.fingerprint, normalised=True)

    def _normalised(self, vectors: FloatArray, *, names: Sequence[str]) -> FloatArray:
        if vectors.ndim != 2:
            raise ModelOutputError(
                f"{self.session.path.name}: output has shape {vectors.shape}; expected one vector per image (N, D)"
            )
        rows = vectors.astype(np.float32, copy=False)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unusable = ~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0)
        if unusable.any():
            raise ModelOutputError(
                f"{self.session.path.name}: {names[int(unusable.argmax())]} gave a vector that is zero, NaN or "
                "infinite; the model is broken or was fed another precision than it was made for"
            )
        return np.asarray(rows / norms, dtype=np.float32)


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
        presets = f"; presets: {', '.join(PIXELS)}" if card.image.pixels is None else ""
        raise CardError(f"{name} does not say its {' and '.join(open_questions)}; pass it to go on{presets}")
    return card.image, card.output
