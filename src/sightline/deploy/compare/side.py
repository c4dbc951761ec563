"""One side of a comparison: vectors, and which image each is of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np

from sightline.errors import ModelOutputError
from sightline.images import IMAGE_SUFFIXES
from sightline.reid.embedder import Embedder
from sightline.types import FloatArray

_NAMED = 3  # of the images that are missing; the rest are counted


@dataclass(frozen=True, eq=False)
class Side:
    """Vectors as one model, or one machine, made them."""

    origin: str  # the file or folder
    kind: str  # in words: "onnxruntime (cpu, float32)", "Ascend dumps", …
    vectors: FloatArray  # (N, D)
    names: tuple[str, ...] | None  # (N,) the image of each, a path or its stem; None: in the order of the images
    skipped: Mapping[str, str] = field(default_factory=dict)  # images that have no vector, and why
    fingerprint: str = ""  # of the weights; empty: not known
    fed: str = ""  # what the model is fed, in words; empty: not known

    def __post_init__(self) -> None:
        if self.names is not None and len(self.names) != len(self.vectors):
            raise ValueError(f"{self.origin}: {len(self.vectors)} vectors of {len(self.names)} images")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Row i of `a` and row i of `b` are of the image `names[i]`."""

    a: FloatArray  # (N, D)
    b: FloatArray  # (N, D)
    names: tuple[str, ...]
    skipped: Mapping[str, str]


def embedded(embedder: Embedder, images: Sequence[Path]) -> Side:
    """What a model says of the images. One that cannot be read is skipped."""
    session = embedder.session
    items = list(embedder.embed_files(images))
    rows = [item.vector for item in items if item.vector is not None]
    return Side(
        origin=str(session.path),
        kind=f"{session.backend} ({session.device}, {session.precision})",
        vectors=np.stack(rows) if rows else np.empty((0, embedder.dim), np.float32),
        names=tuple(str(item.path) for item in items if item.vector is not None),
        skipped={str(item.path): item.reason for item in items if item.vector is None},
        fingerprint=embedder.fingerprint,
        fed=f"{embedder.image.pixels}, size {embedder.image.size_hw}, {embedder.image.resize}",
    )


def paired(a: Side, b: Side, images: Sequence[str] | None = None) -> Pairs:
    """The vectors of both sides, image by image, in the order of `images`: by default, of a side that names its own.

    An image that one side skipped is left out of both. Raises `ModelOutputError` where a side lacks an image, or it
    cannot be told which of its vectors belongs to which: figures over fewer images would be figures of another test.
    """
    _require_same_dim(a, b)
    skipped = {**a.skipped, **b.skipped}
    wanted = [name for name in _images(a, b, images) if name not in skipped]
    rows_a, rows_b = _rows(a, wanted), _rows(b, wanted)
    if not wanted:
        raise ModelOutputError(
            f"{a.origin} and {b.origin} have no image in common; expected vectors of the same images"
        )
    for side, rows in ((a, rows_a), (b, rows_b)):
        _require_finite(side, rows, wanted)
    return Pairs(a.vectors[rows_a], b.vectors[rows_b], tuple(wanted), skipped)


def _require_finite(side: Side, rows: Sequence[int], images: Sequence[str]) -> None:
    unusable = ~np.isfinite(side.vectors[rows]).all(axis=1)
    if unusable.any():
        image = images[int(unusable.argmax())]
        raise ModelOutputError(f"{side.origin}: the vector of {image} holds NaN or infinity; it was made wrongly")


def _require_same_dim(a: Side, b: Side) -> None:
    dims = a.vectors.shape[1], b.vectors.shape[1]
    if dims[0] != dims[1]:
        raise ModelOutputError(
            f"{a.origin} puts out {dims[0]} numbers an image and {b.origin} {dims[1]}: vectors of two different spaces"
        )


def _images(a: Side, b: Side, images: Sequence[str] | None) -> Sequence[str]:
    if images is not None:
        return images
    names = a.names if a.names is not None else b.names
    return names if names is not None else [f"row {row}" for row in range(len(a.vectors))]


def _rows(side: Side, images: Sequence[str]) -> list[int]:
    """The row of each image: by its place, by its path, or by its stem where both have it once."""
    if side.names is None:
        return _in_order(side, images)
    places = {name: row for row, name in enumerate(side.names)}
    if not all(image in places for image in images):
        stems = [_stem(image) for image in images]
        _require_once(stems, "of the images", side)
        _require_once(map(_stem, side.names), f"in {side.origin}", side)
        places = {_stem(name): row for name, row in places.items()}
        _require_all(side, [image for image, stem in zip(images, stems, strict=True) if stem not in places], images)
        return [places[stem] for stem in stems]
    return [places[image] for image in images]


def _in_order(side: Side, images: Sequence[str]) -> list[int]:
    if len(side.vectors) != len(images):
        raise ModelOutputError(
            f"{side.origin} holds {len(side.vectors)} vectors in the order they were made, and there are "
            f"{len(images)} images; expected one of each image, in order of their paths"
        )
    return list(range(len(images)))


def _stem(name: str) -> str:
    """Dumps are named after the image without its suffix, which may have dots of its own. Files travel, and bring
    either kind of slash."""
    path = PurePath(name.replace("\\", "/"))
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def _require_once(stems: Iterable[str], where: str, side: Side) -> None:
    twice = next((stem for stem, count in Counter(stems).items() if count > 1), None)
    if twice is not None:
        raise ModelOutputError(
            f"two {where} are called {twice!r}, so which vector of {side.origin} is whose cannot be told; "
            "expected every name once"
        )


def _require_all(side: Side, missing: Sequence[str], images: Sequence[str]) -> None:
    if missing:
        first = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
        raise ModelOutputError(f"{side.origin} has no vector of {len(missing)} of the {len(images)} images: {first}")
