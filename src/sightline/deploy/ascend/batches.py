"""One ONNX file of any batch becomes files of one batch each, simplified: what `atc` compiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.card import CARD_KEY, ModelCard
from sightline.deploy.onnx_weights import opened
from sightline.errors import ExportError
from sightline.files import replacing
from sightline.onnx_file import OnnxFile, read_onnx, require_whole
from sightline.runtime.session import Session, run_batched
from sightline.types import Array

if TYPE_CHECKING:
    import onnx

BATCHES = (1, 4, 8, 16, 32)
LARGEST_DIFFERENCE = 1e-4  # of the largest value in the vectors


def batch_file(source: Path, batch: int) -> Path:
    """`osnet_x1_0_bs16_sim.onnx`, beside `osnet_x1_0.onnx`."""
    return source.with_name(f"{source.stem}_bs{batch}_sim.onnx")


def fix_batch(source: Path, target: Path, *, batch: int) -> float:
    """Write `source` with its batch fixed, and return how far its answers are from the source's, relative to the
    largest value. Raises `ExportError`, leaving nothing behind, where they are not the same.
    """
    import onnx
    import onnxslim

    file = read_onnx(source)
    require_whole(file)
    _require_open(file, batch)
    with replacing(target) as temporary:
        model = onnxslim.slim(_with_batch(onnx.load(str(source)), batch))
        _keep_metadata(model, file.metadata, batch)
        temporary.write_bytes(model.SerializeToString())
        difference = _difference(source, temporary, batch)
        if not difference <= LARGEST_DIFFERENCE:
            raise ExportError(
                f"{target} was not written: at batch {batch} it differs from {source.name} by {difference:.1e} of the "
                "largest value; its images do not pass one by one, export it with an open batch"
            )
    return difference


def _require_open(file: OnnxFile, batch: int) -> None:
    fixed = next((spec.shape[0] for spec in file.inputs if spec.shape), None)
    if fixed not in {None, batch}:
        raise ExportError(f"{file.path} has a fixed batch of {fixed}; expected one with an open batch, or of {batch}")


def _with_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.output):
        if value.name not in weights and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    return model


def _keep_metadata(model: onnx.ModelProto, metadata: Mapping[str, str], batch: int) -> None:
    """That of the source, its card telling the new batch."""
    del model.metadata_props[:]
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, _card_of(value, batch) if key == CARD_KEY else value


def _card_of(text: str, batch: int) -> str:
    card = ModelCard.from_json(text)
    return text if card.image is None else replace(card, image=replace(card.image, batch=batch)).to_json()


def _difference(source: Path, target: Path, batch: int) -> float:
    """Over one image more than a batch, so that padding is seen to do nothing; the source gets them one by one."""
    with opened(source) as expected, opened(target) as got:
        spec = got.inputs[0]
        shape = tuple(size or 1 for size in spec.shape[1:])
        feed = np.random.default_rng(0).normal(size=(batch + 1, *shape)).astype(spec.dtype)
        alone = np.concatenate([_answers(expected, image[None]) for image in feed])
        return _largest(alone, _answers(got, feed))


def _answers(session: Session, feed: Array) -> Array:
    return run_batched(session, {session.inputs[0].name: feed})[session.outputs[0].name]


def _largest(expected: Array, got: Array) -> float:
    scale = max(float(np.abs(expected).max()), 1e-12)
    return float(np.abs(got - expected).max()) / scale
