"""TrackNet and InpaintNet as one ONNX file each, with the predecessor's names and metadata and a card of our own."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from sightline.ball.heatmap import HEIGHT, WIDTH
from sightline.card import CARD_KEY, ModelCard
from sightline.deploy.export import OPSETS
from sightline.deploy.onnx_weights import opened
from sightline.deploy.upsample import Form, rewrite_upsample, sites
from sightline.errors import ConfigError, ExportError
from sightline.files import output_error, replacing
from sightline.nets.ball_checkpoint import MODEL_NAMES, TRACKNET, BallNet, LoadedBall
from sightline.nets.tracknet import TrackNet
from sightline.runtime.session import Session, run_batched
from sightline.types import FloatArray

if TYPE_CHECKING:
    import onnx

OUTPUT = "output"
OPEN_BATCH = "batch_size"  # the predecessor's name of the axis, and of the metadata key
LARGEST_DIFFERENCE = 5e-5  # of the span of the logits
LARGEST_ERROR = 1e-4  # of an output of 0..1
SAMPLES = 3

Feeds = Mapping[str, FloatArray]


@dataclass(frozen=True)
class BallExportPlan:
    """How a ball network is to be written. The defaults are the predecessor's.

    `upsample` rewrites doubling and convolving into less work with the same answer (`deploy/upsample.py`).
    """

    opset: int = 18
    batch: int | None = 1  # None: any
    upsample: Literal["none"] | Form = "none"

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise ConfigError(f"cannot write ONNX opset {self.opset}; expected {OPSETS[0]} to {OPSETS[-1]}")
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"batch is {self.batch}; expected 1 or more, or none for any")

    @property
    def batch_name(self) -> str:
        """The last part of the file name the predecessor gives."""
        return "dynamic" if self.batch is None else str(self.batch)


@dataclass(frozen=True)
class BallVerification:
    """How far the file is from PyTorch, alone and in a batch: in what goes into the last sigmoid, and what comes out.

    What comes out alone would not do: a trained network sees no ball in most of a picture, and two networks that both
    answer 0 there agree however wrong one of them is.
    """

    samples: int
    largest_difference: float  # of the logits, in shares of their span
    largest_error: float  # of the outputs

    @property
    def passed(self) -> bool:
        return self.largest_difference <= LARGEST_DIFFERENCE and self.largest_error <= LARGEST_ERROR

    def __str__(self) -> str:
        return (
            f"{self.samples} random and structured inputs, one by one and as a batch: largest difference "
            f"{self.largest_error:.1e}, before the last sigmoid {self.largest_difference:.1e} of the span"
        )


def export_ball(ball: LoadedBall, target: Path, *, plan: BallExportPlan) -> BallVerification:
    """Write the network to `target`, or into it where that is a folder: see `target_file`.

    The file is run against PyTorch first. Raises `ExportError`, leaving nothing behind, when the two disagree.
    """
    net = copy.deepcopy(ball.net).eval().cpu()
    with replacing(target) as temporary:
        model = _rewritten(_simplified(_traced(net, ball.card, plan)), ball.card, plan)
        _describe(model, ball.card, plan)
        temporary.write_bytes(model.SerializeToString())
        verification = verify_ball(temporary, LoadedBall(net, ball.card))
        if not verification.passed:
            raise ExportError(f"{target} was not written: the file disagrees with PyTorch on {verification}")
    return verification


def target_file(output: Path, card: ModelCard, plan: BallExportPlan) -> Path:
    """`output` itself, or for a folder `<output>/TrackNet/<model name>-<batch>.onnx`, its folder made."""
    if not output.is_dir():
        return output
    name = model_name(card)
    if re.fullmatch(r"\w[\w .+-]*", name) is None:
        raise ConfigError(f"the model is named {name!r}, which cannot be part of a file name; name a file in {output}")
    folder = output / MODEL_NAMES[card.arch]
    try:
        folder.mkdir(exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc
    return folder / f"{name}-{plan.batch_name}.onnx"


def model_name(card: ModelCard) -> str:
    """The name the network was given in training, else that of its kind."""
    return card.extra.get("model_name", MODEL_NAMES[card.arch])


def example_feeds(net: BallNet, card: ModelCard, *, count: int) -> dict[str, FloatArray]:
    """Inputs by name, the first of noise, then smooth ones, with a gap to fill where the network fills gaps."""
    rng = np.random.default_rng(0)
    if isinstance(net, TrackNet):
        coarse = rng.random((count, net.in_dim, HEIGHT // 8, WIDTH // 8), np.float32)
        planes = coarse.repeat(8, axis=2).repeat(8, axis=3)
        planes[::2] = rng.random(planes[::2].shape, np.float32)
        return {"input": planes}
    length = int(card.extra["seq_len"])
    coords = rng.random((count, length, 2), np.float32)
    coords[1::2] = np.linspace(0, 1, length, dtype=np.float32)[:, None]
    mask = (rng.random((count, length, 1)) < 0.3).astype(np.float32)
    return {"coords": coords * (1 - mask), "mask": mask}


def verify_ball(path: Path, ball: LoadedBall) -> BallVerification:
    """Run the file and the network on the same inputs, one by one and all at once."""
    feeds = example_feeds(ball.net, ball.card, count=SAMPLES)
    expected, expected_logits = _torch_answers(ball.net, feeds)
    with opened(path) as session:
        singly = [_run(session, {name: array[i : i + 1] for name, array in feeds.items()}) for i in range(SAMPLES)]
        together = _run(session, feeds)
    error = _farthest([np.concatenate(singly), together], expected)
    difference = _farthest([_logits_in(path, feeds)], expected_logits)
    scale = max(float(np.ptp(expected_logits)), 1e-2 * float(np.abs(expected_logits).max()), 1e-12)
    return BallVerification(SAMPLES, difference / scale, error)


def _torch_answers(net: BallNet, feeds: Feeds) -> tuple[FloatArray, FloatArray]:
    """The outputs, and what the sigmoid before them was given."""
    logits: list[torch.Tensor] = []
    with torch.inference_mode(), net.predictor.register_forward_hook(lambda *call: logits.append(call[2].clone())):
        outputs = net(*map(torch.from_numpy, feeds.values()))
    return outputs.numpy(), logits[0].numpy()


def _logits_in(path: Path, feeds: Feeds) -> FloatArray:
    """What the last sigmoid of the file is given: asked of a copy that puts it out too."""
    import onnx

    model = onnx.load(str(path))
    sigmoid = next(node for node in reversed(model.graph.node) if node.op_type == "Sigmoid")
    model.graph.output.append(onnx.helper.make_tensor_value_info(sigmoid.input[0], onnx.TensorProto.FLOAT, None))
    with TemporaryDirectory() as folder:
        copied = Path(folder, "logits.onnx")
        copied.write_bytes(model.SerializeToString())
        with opened(copied) as session:
            return _run(session, feeds, output=sigmoid.input[0])


def _run(session: Session, feeds: Feeds, *, output: str = OUTPUT) -> FloatArray:
    return np.asarray(run_batched(session, feeds)[output])


def _farthest(runs: list[FloatArray], expected: FloatArray) -> float:
    # NumPy's max, unlike Python's, keeps the NaN of any run.
    return float(np.abs(np.stack(runs) - expected).max())


def _traced(net: BallNet, card: ModelCard, plan: BallExportPlan) -> onnx.ModelProto:
    import onnx

    feeds = example_feeds(net, card, count=plan.batch or 1)
    open_axes = {name: {0: OPEN_BATCH} for name in (*feeds, OUTPUT)} if plan.batch is None else None
    try:
        with TemporaryDirectory() as folder, torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns of its own deprecation: docs/decisions/0003
            traced = Path(folder, "traced.onnx")
            torch.onnx.export(
                net,
                tuple(map(torch.from_numpy, feeds.values())),
                traced,
                input_names=list(feeds),
                output_names=[OUTPUT],
                dynamic_axes=open_axes,
                opset_version=plan.opset,
                dynamo=False,
            )
            return onnx.load(str(traced))
    except OSError as exc:
        raise output_error(Path(gettempdir(), "traced.onnx"), exc) from exc


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxslim

    return onnxslim.slim(model)


def _rewritten(model: onnx.ModelProto, card: ModelCard, plan: BallExportPlan) -> onnx.ModelProto:
    if plan.upsample == "none":
        return model
    if not sites(model):
        hint = "leave --rewrite-upsample out" if card.arch != TRACKNET else "expected opset 11 or later"
        raise ConfigError(f"{MODEL_NAMES[card.arch]} at opset {plan.opset} has no upsampling to rewrite; {hint}")
    return rewrite_upsample(model, plan.upsample)


def _describe(model: onnx.ModelProto, card: ModelCard, plan: BallExportPlan) -> None:
    """The predecessor's keys, all text, and the card that has them too."""
    from onnx import helper

    facts = {key: card.extra[key] for key in ("seq_len", "bg_mode") if key in card.extra}
    batch = {"batch_mode": "dynamic" if plan.batch is None else "fixed", "batch_size": str(plan.batch or 1)}
    helper.set_model_props(model, {"model_name": model_name(card), **facts, **batch, CARD_KEY: card.to_json()})
