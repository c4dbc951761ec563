"""A model as nvinfer can feed it: one file, float pixels in, one embedding of its own name out.

nvinfer computes scale · (x - offset) with one scale for three channels, and three ImageNet deviations do not fit into
one. So the arithmetic goes into the graph, before everything else, and nvinfer hands over the pixels as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline._version import __version__
from sightline.card import CARD_KEY, ImageInput, ModelCard, Pixels, VectorOutput
from sightline.deploy.onnx_weights import opened
from sightline.errors import CardError, ConfigError, ExportError
from sightline.files import replacing
from sightline.images import prepare
from sightline.onnx_file import read_onnx, require_whole, with_metadata
from sightline.reid.embedder import CLASSIFIER_WIDTHS, Embedder
from sightline.reid.probe import painted_strangers, probe_weights
from sightline.reid.thresholds import PREPARED, calibration_of, preparation
from sightline.runtime.cards import Claims, with_claims
from sightline.runtime.session import run_batched
from sightline.types import FloatArray, Image

if TYPE_CHECKING:
    import onnx

OUTPUT = "embedding"  # a name of its own, for a probe finds the layer by it
INPUT = "pixels"
SMALLEST_COSINE = 0.99999  # of the folded model to its source, on the same images


@dataclass(frozen=True)
class Prepared:
    """What was written, and what there is to say about it."""

    card: ModelCard
    remarks: tuple[str, ...] = ()

    @property
    def image(self) -> ImageInput:
        assert self.card.image is not None  # `prepare_model` lets no other card through
        return self.card.image

    @property
    def output(self) -> VectorOutput:
        assert self.card.output is not None
        return self.card.output


def prepare_model(
    source: Path, target: Path, *, claims: Claims, scalar: bool = False, allow_untrained: bool = False
) -> Prepared:
    """Write the ONNX file `source` as nvinfer wants it. With `scalar` the arithmetic stays outside, near enough.

    Raises `CardError` for a model that is not known well enough or cannot be fed by nvinfer, and `ExportError`, leaving
    nothing behind, where the written file does not give the same vectors.
    """
    require_whole(read_onnx(source))
    with opened(source) as session:
        session.card = with_claims(session.card, claims, origin=str(source))
        embedder = Embedder(session)
        _require_feedable(session.card, source)
        card, remarks = _judged(_calibrated(embedder), embedder, allow_untrained=allow_untrained)
        remarks += _scalar_remarks(embedder) if scalar else []
        images = [*painted_strangers(4), _noise()]
        expected = embedder.embed(images).vectors
        card = _measured(card, embedder, images)
    written = _write(source, target, card, scalar=scalar, images=images, expected=expected)
    return Prepared(written, tuple(remarks))


def _measured(card: ModelCard, embedder: Embedder, images: list[Image]) -> ModelCard:
    """With what a run shows where the graph leaves it open: how long the vectors are, in both senses."""
    assert card.image is not None
    feeds = {card.image.name: prepare(images, card.image)}
    raw = run_batched(embedder.session, feeds)[embedder.output.name].astype(np.float64)
    is_unit = bool(np.abs(np.linalg.norm(raw, axis=1) - 1).max() < 1e-3)
    known = embedder.output.normalised
    output = replace(embedder.output, dim=embedder.dim, normalised=is_unit if known is None else known)
    return replace(card, output=output, created_by=f"sightline {__version__}")


def _calibrated(embedder: Embedder) -> ModelCard:
    """With the thresholds that were kept beside the model: beside the copy nobody would find them."""
    card = embedder.session.card
    found = calibration_of(embedder).thresholds
    if not found or card.thresholds:
        return card
    return replace(card, thresholds=found, extra={**card.extra, PREPARED: preparation(embedder)})


def _require_feedable(card: ModelCard, source: Path) -> None:
    image = card.image
    assert image is not None and card.output is not None  # an Embedder has both
    if image.layout != "NCHW" or image.dtype != "float32":
        raise CardError(
            f"{source} takes {image.layout} {image.dtype}, and nvinfer feeds float32 (N, 3, H, W); "
            "export it again with `sightline export --preset deepstream`"
        )
    if card.output.dim in CLASSIFIER_WIDTHS:
        raise CardError(f"{source} puts out {card.output.dim} class scores of a training head; export it without")


def _judged(card: ModelCard, embedder: Embedder, *, allow_untrained: bool) -> tuple[ModelCard, list[str]]:
    """Weights nobody vouches for are called trained where they tell painted strangers apart, as an export does it."""
    name = embedder.session.path.name
    if card.weights in {"untrained", "imagenet"} and not allow_untrained:
        raise CardError(
            f"{name} has {card.weights} weights, which do not tell people apart; use a re-identification checkpoint, "
            "or pass --allow-untrained to see the parts work together"
        )
    if card.weights != "unknown":
        return card, []
    probe = probe_weights(embedder)
    remark = f"{name} does not say who trained it: {probe}"
    return replace(card, weights="trained") if probe.tells_apart else card, [remark]


# The scalar form


def scalar_pixels(pixels: Pixels) -> Pixels:
    """The nearest that one scale for all channels comes to: the mean deviation in place of the three."""
    deviation = float(np.mean(pixels.std))
    return replace(pixels, std=(deviation, deviation, deviation))


def _scalar_remarks(embedder: Embedder) -> list[str]:
    """How far the vectors of nvinfer's one scale are from the right ones, measured."""
    session, image = embedder.session, embedder.image
    if image.folded or image.pixels is None:
        raise ConfigError(f"{session.path.name} normalises by itself, so there is no scale to be given; drop --scalar")
    near = scalar_pixels(image.pixels)
    if near == image.pixels:
        return []
    images = painted_strangers(8)
    right = embedder.embed(images).vectors
    known, session.card = session.card, replace(session.card, image=replace(image, pixels=near))
    cosines = (Embedder(session).embed(images).vectors * right).sum(axis=1)
    session.card = known
    return [
        f"one scale stands for three deviations: on painted people the vectors have cosine {cosines.min():.4f} to "
        f"{cosines.max():.4f} with the right ones; without --scalar they are exact"
    ]


# Writing


def _write(
    source: Path, target: Path, card: ModelCard, *, scalar: bool, images: list[Image], expected: FloatArray
) -> ModelCard:
    import onnx

    target.parent.mkdir(parents=True, exist_ok=True)
    model = onnx.load(str(source), load_external_data=True)
    with replacing(target) as temporary:
        written = _output_named(model, card)
        written = written if scalar else _folded(model, written)
        temporary.write_bytes(model.SerializeToString())
        with_metadata(temporary, temporary, entries={CARD_KEY: written.to_json()})
        _verify(temporary, images, expected, target=target)
    return written


def _verify(path: Path, images: list[Image], expected: FloatArray, *, target: Path) -> None:
    with opened(path) as session:
        got = Embedder(session).embed(images).vectors
    cosine = float((got * expected).sum(axis=1).min())
    if cosine < SMALLEST_COSINE:
        raise ExportError(
            f"{target} was not written: with the arithmetic in the graph its vectors have cosine {cosine:.6f} "
            f"with those of the source; expected at least {SMALLEST_COSINE}"
        )


def _output_named(model: onnx.ModelProto, card: ModelCard) -> ModelCard:
    from onnx import helper

    assert card.output is not None
    old = card.output.name
    if old == OUTPUT:
        return card
    name = _free(model.graph, OUTPUT)
    model.graph.node.append(helper.make_node("Identity", [old], [name]))
    next(value for value in model.graph.output if value.name == old).name = name
    return replace(card, output=replace(card.output, name=name))


def _folded(model: onnx.ModelProto, card: ModelCard) -> ModelCard:
    """The input gets a new name, and the old one is what the arithmetic gives: so nothing behind it changes.

    The mean is subtracted before the stem pads with zeros, so that the border is exact too.
    """
    assert card.image is not None and card.image.pixels is not None
    image, pixels = card.image, card.image.pixels
    if image.folded or pixels == Pixels(pixels.color):
        return card
    graph = model.graph
    name = _free(graph, INPUT)
    first = [
        _constant(f"{name}/mean", np.array(pixels.mean)),
        _constant(f"{name}/factor", 1 / np.array(pixels.std)),
        _node("Sub", [name, f"{name}/mean"], f"{name}/centred"),
        _node("Mul", [f"{name}/centred", f"{name}/factor"], image.name),
    ]
    next(value for value in graph.input if value.name == image.name).name = name
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*first, *rest])
    return replace(card, image=replace(image, name=name, folded=True, fed_color=None))


def _constant(name: str, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> onnx.NodeProto:
    from onnx import helper, numpy_helper

    tensor = numpy_helper.from_array(values.astype(np.float32).reshape(1, 3, 1, 1), name)
    return helper.make_node("Constant", [], [name], value=tensor)


def _node(kind: str, inputs: list[str], output: str) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node(kind, inputs, [output])


def _free(graph: onnx.GraphProto, name: str) -> str:
    taken = {value.name for value in (*graph.input, *graph.initializer, *graph.output)}
    taken.update(output for node in graph.node for output in node.output)
    while name in taken:
        name += "_"
    return name


def _noise() -> Image:
    return np.random.default_rng(0).integers(0, 256, (96, 48, 3), np.uint8)
