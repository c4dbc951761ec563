"""From a network to one ONNX file that says what it needs, and is not left behind unless it gives the same answers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from sightline.card import CARD_KEY, ImageInput, ModelCard, Pixels, VectorOutput
from sightline.deploy.onnx_weights import opened
from sightline.errors import ConfigError, ExportError
from sightline.files import output_error, replacing
from sightline.images import prepare
from sightline.nets.osnet import OSNet
from sightline.nets.reid import ReidNet
from sightline.reid.embedder import Embedder
from sightline.reid.probe import Probe, painted_strangers, probe_weights
from sightline.runtime.backend import Request
from sightline.runtime.session import Session, run_batched
from sightline.runtime.torch import INPUT, OUTPUT, vector_engine
from sightline.types import FloatArray, Image

if TYPE_CHECKING:
    import onnx


Fold = Literal["none", "float", "uint8"]

SMALLEST_COSINE = 0.99999
LARGEST_DIFFERENCE = 1e-4  # of the largest value in the vector
OPSETS = range(9, 21)  # what torch's tracing exporter writes; beyond, it prints its whole graph and fails


@dataclass(frozen=True)
class Preset:
    """The names and habits of one destination."""

    input_name: str
    output_name: str
    l2: bool
    opset: int
    fold: Fold = "none"

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise ConfigError(f"cannot write ONNX opset {self.opset}; expected {OPSETS[0]} to {OPSETS[-1]}")


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "sightline": Preset("input", "reid_features", l2=True, opset=13),
        "ascend": Preset("image", "feature", l2=False, opset=11),
        # nvinfer has one scale for three channels, so the three ImageNet deviations must be in the graph.
        "deepstream": Preset("input", "embedding", l2=False, opset=17, fold="float"),
    }
)


@dataclass(frozen=True)
class ExportPlan:
    """How a network is to be written. `fold` puts the normalisation into the graph.

    "none": float32 (N, 3, H, W), normalised by the caller. "float": the same, but raw 0..255 in the trained colour
    order. "uint8": (N, H, W, 3) BGR as images are decoded, which spares the caller everything but the resize.
    """

    preset: Preset = PRESETS["sightline"]
    batch: int | None = None  # None: any

    def card_for(self, card: ModelCard, net: OSNet) -> ModelCard:
        """The card of the file to be written; `card` says what the network was trained on."""
        output = VectorOutput(self.preset.output_name, net.feature_dim, normalised=self.preset.l2)
        return replace(card, image=self._image(_described(card)), output=output)

    def _image(self, trained: ImageInput) -> ImageInput:
        bytes_in = self.preset.fold == "uint8"
        return replace(
            trained,
            name=self.preset.input_name,
            folded=self.preset.fold != "none",
            fed_color="BGR" if bytes_in else None,
            layout="NHWC" if bytes_in else "NCHW",
            dtype="uint8" if bytes_in else "float32",
            batch=self.batch,
        )


@dataclass(frozen=True)
class Verification:
    """How far the file is from PyTorch, over random and structured images."""

    images: int
    batches: tuple[int, int]
    largest_difference: float  # relative to the largest value of the vectors
    smallest_cosine: float

    @property
    def passed(self) -> bool:
        return self.largest_difference <= LARGEST_DIFFERENCE and self.smallest_cosine >= SMALLEST_COSINE

    def __str__(self) -> str:
        return (
            f"{self.images} random and structured images at batch {self.batches[0]} and {self.batches[1]}: "
            f"largest difference {self.largest_difference:.1e} of the largest value, "
            f"smallest cosine {self.smallest_cosine:.7f}"
        )


def export_osnet(net: OSNet, target: Path, *, card: ModelCard, plan: ExportPlan) -> Verification:
    """Write `net` as ONNX. `card` describes the network; the card in the file is that one, adapted to the plan.

    The file is run against PyTorch first. Raises `ExportError`, leaving nothing behind, when the two disagree.
    """
    net = copy.deepcopy(net).eval().cpu()
    written = plan.card_for(card, net)
    with replacing(target) as temporary:
        model = _simplified(_traced(net, written, plan))
        _set(model, CARD_KEY, written.to_json())
        temporary.write_bytes(model.SerializeToString())
        verification = verify(temporary, net, written)
        if not verification.passed:
            raise ExportError(f"{target} was not written: the file disagrees with PyTorch on {verification}")
    return verification


def probe_network(net: OSNet, card: ModelCard) -> Probe:
    """Whether the weights about to be exported tell people apart, before anything is written."""
    engine = vector_engine(net, Request(device="cpu"))
    spoken = replace(card, image=replace(_described(card), name=INPUT), output=VectorOutput(OUTPUT, net.feature_dim))
    return probe_weights(Embedder(Session(engine, card=spoken, path=Path(card.arch), backend="torch")))


def _described(card: ModelCard) -> ImageInput:
    if card.image is None or card.image.pixels is None or card.image.size_hw is None:
        open_questions = [question for question in card.unknowns() if "--" in question]
        raise ExportError(f"cannot export {card.arch}: its card leaves open {', '.join(open_questions) or 'its input'}")
    return card.image


class _Raw(nn.Module):
    """A network behind the arithmetic of its card: raw pixels in, or normalised ones; vectors out, or unit vectors.

    The mean is subtracted before the stem, not folded into a bias, because the stem pads with zeros: at the border a
    bias would be added where no pixel was. The deviation is a factor and goes into the stem's weights.
    """

    mean: Tensor

    def __init__(self, net: OSNet, card: ModelCard) -> None:
        super().__init__()
        self.net = net
        self._fuse_head()
        self.l2 = _is_l2(card)
        self.image = _described(card)
        if self.image.folded and self.image.pixels is not None:
            self._fold(self.image.pixels, flip=self.image.fed_color not in {None, self.image.pixels.color})

    def forward(self, images: Tensor) -> Tensor:
        if self.image.layout == "NHWC":
            images = images.permute(0, 3, 1, 2).to(torch.float32)  # transposed while a pixel is one byte
        if self.image.folded:
            images = images - self.mean
        vectors: Tensor = self.net(images)
        return nn.functional.normalize(vectors, dim=1) if self.l2 else vectors

    def _fuse_head(self) -> None:
        """Put the last batch norm into the linear layer before it: tracing does so behind convolutions only."""
        head = self.net.neck_module if isinstance(self.net, ReidNet) else self.net.fc
        for index, (layer, after) in enumerate(pairwise(list(head))):
            if isinstance(layer, nn.Linear) and isinstance(after, nn.BatchNorm1d):
                head[index], head[index + 1] = fuse_linear_bn_eval(layer, after), nn.Identity()

    def _fold(self, pixels: Pixels, *, flip: bool) -> None:
        mean = torch.tensor(pixels.mean).reshape(1, 3, 1, 1)
        stem = self.net.conv1.get_parameter("conv.weight")
        weights = stem.detach() / torch.tensor(pixels.std).reshape(1, 3, 1, 1)
        self.register_buffer("mean", mean.flip(1) if flip else mean)
        stem.data = weights.flip(1) if flip else weights


def _traced(net: OSNet, card: ModelCard, plan: ExportPlan) -> onnx.ModelProto:
    try:
        return _trace(_Raw(copy.deepcopy(net), card).eval(), plan)
    except OSError as exc:
        raise output_error(Path(gettempdir(), "traced.onnx"), exc) from exc
    except RuntimeError as exc:  # a size too small for the network
        reason = str(exc).partition("\n")[0]
        raise ExportError(f"torch cannot trace {card.arch} on {_described(card).size_hw} images: {reason}") from exc


def _trace(net: _Raw, plan: ExportPlan) -> onnx.ModelProto:
    import onnx

    example = torch.from_numpy(np.repeat(prepare(painted_strangers(1), net.image), plan.batch or 1, axis=0))
    names = (plan.preset.input_name, plan.preset.output_name)
    open_batch = {name: {0: "batch"} for name in names} if plan.batch is None else None
    with TemporaryDirectory() as folder, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of its own deprecation: docs/decisions/0003
        traced = Path(folder, "traced.onnx")
        torch.onnx.export(
            net,
            (example,),
            traced,
            input_names=[names[0]],
            output_names=[names[1]],
            dynamic_axes=open_batch,
            opset_version=plan.preset.opset,
            dynamo=False,
        )
        return onnx.load(str(traced))


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxslim

    return onnxslim.slim(model)


def _set(model: onnx.ModelProto, key: str, value: str) -> None:
    entry = model.metadata_props.add()
    entry.key, entry.value = key, value


def verify(path: Path, net: OSNet, card: ModelCard) -> Verification:
    """Run the file and the network on the same images, at batch 1 and at another one."""
    image = _described(card)
    images = list(_test_images(image.size_hw or painted_strangers(1)[0].shape[:2]))
    normalised = replace(image, folded=False, fed_color=None, layout="NCHW", dtype="float32")
    with torch.inference_mode():
        vectors = net(torch.from_numpy(prepare(images, normalised)))
        expected = (nn.functional.normalize(vectors, dim=1) if _is_l2(card) else vectors).numpy()
    other = (image.batch or 2) + 1
    with opened(path) as session:
        feeds = prepare(images, image)
        runs = [_in_groups(session, feeds, size) for size in (1, other)]
    return _compared(expected, runs, batches=(1, other))


def _is_l2(card: ModelCard) -> bool:
    return card.output is not None and bool(card.output.normalised)


def _in_groups(session: Session, feeds: FloatArray, size: int) -> FloatArray:
    name = session.inputs[0].name
    starts = range(0, len(feeds), size)
    return np.concatenate([run_batched(session, {name: feeds[i : i + size]})[session.outputs[0].name] for i in starts])


def _compared(expected: FloatArray, runs: list[FloatArray], *, batches: tuple[int, int]) -> Verification:
    scale = max(float(np.abs(expected).max()), 1e-12)
    # NumPy's max and min, unlike Python's, keep the NaN of any run.
    difference = float(np.abs(np.stack(runs) - expected).max()) / scale
    cosine = float(np.min([_cosines(expected, run) for run in runs]))
    return Verification(len(expected), batches, difference, cosine)


def _cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(norms, 1e-12))


def _test_images(size_hw: tuple[int, int]) -> Iterator[Image]:
    """Noise, painted figures, a ramp and the two flat extremes: what a wrong border or a wrong channel shows up on."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        yield rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    yield from painted_strangers(3)
    ramp = np.linspace(0, 255, size_hw[0] * size_hw[1] * 3).reshape(*size_hw, 3)
    yield ramp.astype(np.uint8)
    for value in (0, 255):
        yield np.full((*size_hw, 3), value, np.uint8)
