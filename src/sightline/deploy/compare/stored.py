"""Vectors that were made elsewhere: a feature file, and the folders that Ascend tools and DeepStream leave."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.deploy.ascend.dumps import dump_files, read_dumps
from sightline.deploy.compare.side import Side
from sightline.errors import ModelOutputError
from sightline.reid.features import read_features
from sightline.types import FloatArray

# Of nvinfer, with raw-output-file-write=1; a slash in the name of a layer became an underscore.
_RAW = re.compile(
    r"gstnvdsinfer_uid-(?P<uid>\d+)_layer-(?P<layer>.+)_batch-(?P<batch>\d+)_batchsize-(?P<rows>\d+)\.bin"
)
# Of deepstream-app, with reid-track-output-dir: application, stream, frame.
_TRACKED = re.compile(r"\d{2,}_\d{3,}_\d{6,}\.txt")


def is_stored(path: Path) -> bool:
    """Whether that is vectors, and no model to be run."""
    return path.suffix.lower() == ".npz" or path.is_dir()


def is_told_by_dim(path: Path) -> bool:
    """Whether only the number of values tells which of its layers is the vector: nvinfer writes its inputs as well."""
    return path.is_dir() and any(_RAW.fullmatch(name) for name in _listing(path))


def read_stored(path: Path, *, dim: int | None = None) -> Side:
    """A feature file or a folder of dumps; `dim` is how many numbers a vector should have, where that is known.

    Raises `ModelOutputError` for a folder of anything else, and for dumps that are damaged or incomplete.
    """
    if not path.is_dir():
        return _of_features(path)
    names = _listing(path)
    if any(_RAW.fullmatch(name) for name in names):
        return _of_raw(path, names, dim)
    if any(_TRACKED.fullmatch(name) for name in names):
        return _of_tracker(path, names)
    if not dump_files(path):
        raise ModelOutputError(
            f"{path} holds no vectors that are known here; expected dumps of Ascend tools (0001_c1s1_001051_00_1.txt), "
            "of nvinfer (gstnvdsinfer_uid-…_batchsize-….bin) or of deepstream-app's reid-track-output-dir"
        )
    dumps = read_dumps(path, dim=dim)
    return Side(str(path), "Ascend dumps", dumps.vectors, dumps.stems)


def _listing(path: Path) -> list[str]:
    try:
        return sorted(file.name for file in path.iterdir())
    except OSError as exc:
        raise ModelOutputError(f"{path} cannot be read: {exc.strerror}; expected a folder of dumps") from exc


def _of_features(path: Path) -> Side:
    features = read_features(path)
    meta: Mapping[str, Any] = features.meta if isinstance(features.meta, dict) else {}
    skipped = meta.get("skipped")
    return Side(
        str(path),
        "feature file",
        features.vectors,
        features.paths,
        skipped={str(key): str(why) for key, why in skipped.items()} if isinstance(skipped, dict) else {},
        fingerprint=str(meta.get("fingerprint", "")),
    )


# nvinfer: one file a batch and layer, rows in the order in which the objects came


@dataclass(frozen=True)
class _Batch:
    path: Path
    number: int
    rows: int


def _of_raw(folder: Path, names: Sequence[str], dim: int | None) -> Side:
    layers: dict[str, list[_Batch]] = defaultdict(list)
    for said in filter(None, map(_RAW.fullmatch, names)):
        layer = f"{said['layer']} of uid {int(said['uid'])}"
        layers[layer].append(_Batch(folder / said[0], int(said["batch"]), int(said["rows"])))
    vectors = {name: _vectors(sorted(batches, key=lambda batch: batch.number), dim) for name, batches in layers.items()}
    fitting = {name: found for name, found in vectors.items() if dim in (None, found.shape[1])}
    if len(fitting) != 1:
        seen = ", ".join(f"{name} ({found.shape[1]} numbers)" for name, found in sorted(vectors.items()))
        wanted = "one layer" if dim is None else f"one layer of {dim} numbers"
        raise ModelOutputError(f"{folder} holds {seen}; expected {wanted}: move the files of the others away")
    layer, found = next(iter(fitting.items()))
    return Side(str(folder), f"DeepStream dumps, {layer}", found, None)


def _vectors(batches: Sequence[_Batch], dim: int | None) -> FloatArray:
    """All batches of one layer. A batch that is missing would shift every row after it."""
    for place, batch in enumerate(batches):
        if batch.number != place:
            raise ModelOutputError(
                f"{batch.path} is batch {batch.number} where batch {place} was expected: some are missing, or files of "
                "two runs lie in one folder; empty it and run again"
            )
    rows = [_read(batch, dim) for batch in batches]
    widths = {part.shape[1] for part in rows}
    if len(widths) > 1:
        raise ModelOutputError(
            f"{batches[0].path.parent}: rows of one layer hold {sorted(widths)} numbers; expected one length: "
            "files of two runs lie in one folder; empty it and run again"
        )
    return np.concatenate(rows)


def _read(batch: _Batch, dim: int | None) -> FloatArray:
    """Raw numbers say nothing of their type: they are halves where that, and only that, gives `dim` of them."""
    try:
        content = batch.path.read_bytes()
    except OSError as exc:
        raise ModelOutputError(f"{batch.path} cannot be read: {exc.strerror}") from exc
    is_half = dim is not None and len(content) == 2 * dim * batch.rows
    size = 2 if is_half else 4
    if not content or not batch.rows or len(content) % (size * batch.rows):
        raise ModelOutputError(
            f"{batch.path} holds {len(content)} bytes, which is no whole number of values for {batch.rows} rows; "
            "it was cut off: run again"
        )
    numbers = np.frombuffer(content, "<f2" if is_half else "<f4").astype(np.float32)
    return numbers.reshape(batch.rows, -1)


# deepstream-app: one file a frame of a stream, one line an object


def _of_tracker(folder: Path, names: Sequence[str]) -> Side:
    """Vectors of the tracker's own network. There are no images; objects are told apart by frame and track."""
    rows = [row for name in names if _TRACKED.fullmatch(name) for row in _objects(folder / name)]
    widths = {len(vector) for _, vector in rows}
    if len(widths) != 1:
        raise ModelOutputError(f"{folder} holds vectors of {sorted(widths) or 'no'} numbers; expected one length")
    found = np.stack([vector for _, vector in rows])
    return Side(str(folder), "DeepStream tracker dumps", found, tuple(name for name, _ in rows))


def _objects(path: Path) -> list[tuple[str, FloatArray]]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        cells = [line.split() for line in lines if line.strip()]
        return [(f"{path.stem}#{int(track)}", np.array(vector, np.float32)) for track, *vector in cells]
    except (OSError, ValueError) as exc:
        raise ModelOutputError(f"{path} is not a track number and its vector on each line: {exc}") from exc
