"""The card of an opened model: the one it carries, or the one its graph and its user can vouch for.

A graph tells names, sizes, types and batch. It cannot tell a mean, a colour order, or whether anybody trained it; those
stay unknown until the user says them, and are asked for by whoever needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sightline.card import CARD_KEY, ImageInput, Layout, ModelCard, VectorOutput, pixels_named
from sightline.errors import CardError
from sightline.onnx_file import OnnxFile
from sightline.types import TensorSpec


@dataclass(frozen=True)
class Claims:
    """What the user says about a model that does not say it itself."""

    pixels: str | None = None  # a name in card.PIXELS
    size_hw: tuple[int, int] | None = None


NO_CLAIMS = Claims()
GRAPH_ALONE = "none: what follows from the graph alone"  # in place of a card's author


def card_of_onnx(file: OnnxFile, claims: Claims) -> ModelCard:
    """The card in the file's metadata, else one made of what its graph shows."""
    text = file.metadata.get(CARD_KEY)
    if text is not None:
        card = ModelCard.from_json(text, origin=str(file.path))
    else:
        card = card_of_graph(file.inputs, file.outputs, fingerprint=file.fingerprint)
    return with_claims(card, claims, origin=str(file.path))


def card_of_graph(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, fingerprint: str) -> ModelCard:
    """A card for a model that carries none: what the graph shows, and nothing else."""
    image = image_of(inputs[0]) if len(inputs) == 1 else None
    vector = vector_of(outputs[0]) if len(outputs) == 1 else None
    task = "reid" if image is not None and vector is not None else "unknown"
    return ModelCard(
        task=task, arch="unknown", image=image, output=vector, fingerprint=fingerprint, created_by=GRAPH_ALONE
    )


def image_of(spec: TensorSpec) -> ImageInput | None:
    """The image input this tensor is, or None when it has no axis of three channels."""
    if len(spec.shape) != 4 or spec.dtype not in {"float32", "float16", "uint8"}:
        return None
    batch, *rest = spec.shape
    layout: Layout
    if rest[0] == 3:
        layout, height, width = "NCHW", rest[1], rest[2]
    elif rest[2] == 3:
        layout, height, width = "NHWC", rest[0], rest[1]
    else:
        return None
    size_hw = None if height is None or width is None else (height, width)
    return ImageInput(spec.name, size_hw, layout=layout, dtype=spec.dtype, batch=batch)


def vector_of(spec: TensorSpec) -> VectorOutput | None:
    """The embedding this tensor is, or None when it is not one row per image."""
    return VectorOutput(spec.name, spec.shape[1]) if len(spec.shape) == 2 else None


def with_claims(card: ModelCard, claims: Claims, *, origin: str) -> ModelCard:
    """The card, completed by what the user says. A claim against what the card knows is a `CardError`."""
    if claims == NO_CLAIMS:
        return card
    if card.image is None:
        raise CardError(f"{origin}: has no single image input, so --pixels and --size say nothing about it")
    pixels = None if claims.pixels is None else pixels_named(claims.pixels)
    _no_contradiction(origin, "pixels", card.image.pixels, pixels)
    _no_contradiction(origin, "size", card.image.size_hw, claims.size_hw)
    return completed(card, claims)


def completed(card: ModelCard, claims: Claims) -> ModelCard:
    """The card with its unknowns taken from `claims`; what it knows stays."""
    if card.image is None:
        return card
    pixels = None if claims.pixels is None else pixels_named(claims.pixels)
    image = replace(card.image, pixels=card.image.pixels or pixels, size_hw=card.image.size_hw or claims.size_hw)
    return replace(card, image=image)


def _no_contradiction(origin: str, what: str, known: object, claimed: object) -> None:
    if known is not None and claimed is not None and known != claimed:
        raise CardError(f"{origin}: the model itself says its {what} is {known}; got {claimed}. Leave the flag out")


def require_agreement(
    card: ModelCard, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, origin: str
) -> None:
    """Raises `CardError` where the card says one thing and the graph another: one of the two is of another model."""
    if card.image is not None:
        spec = _declared(card.image.name, inputs, "input", origin)
        seen = image_of(spec)
        if seen is None:
            raise CardError(f"{origin}: the card calls {spec} an image; the graph disagrees")
        _agree(origin, "layout", card.image.layout, seen.layout)
        _agree(origin, "dtype", card.image.dtype, seen.dtype)
        _agree(origin, "size", card.image.size_hw, seen.size_hw)
        _agree(origin, "batch", card.image.batch, seen.batch)
    if card.output is not None:
        spec = _declared(card.output.name, outputs, "output", origin)
        _agree(origin, "rank of the output", 2, len(spec.shape))
        _agree(origin, "feature dimension", card.output.dim, spec.shape[1])


def _declared(name: str, specs: Sequence[TensorSpec], kind: str, origin: str) -> TensorSpec:
    for spec in specs:
        if spec.name == name:
            return spec
    names = ", ".join(spec.name for spec in specs)
    raise CardError(f"{origin}: the card names {kind} {name!r}; the graph has {names}. Re-export the model")


def _agree(origin: str, what: str, card: object, graph: object) -> None:
    if card is not None and graph is not None and card != graph:
        raise CardError(f"{origin}: the card says {what} is {card}; the graph says {graph}. Re-export the model")
