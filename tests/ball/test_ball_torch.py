from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from sightline.ball.heatmap import Row
from sightline.ball.onnx import InpaintModuleONNX, TrackNetModuleONNX
from sightline.ball.stream import TrackNetStream
from sightline.ball.torch import InpaintModule, TrackNetModule
from sightline.ball.windows import TrackOptions
from sightline.errors import BackendError
from sightline.nets.inpaintnet import build_inpaintnet
from sightline.nets.tracknet import TrackNet, build_tracknet
from sightline.types import Image

SEQ_LEN = 2
HW = (96, 160)


def exported(net: torch.nn.Module, inputs: dict[str, torch.Tensor], path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        torch.onnx.export(
            net.eval(),
            tuple(inputs.values()),
            str(path),
            dynamo=False,
            opset_version=18,
            input_names=list(inputs),
            output_names=["output"],
            dynamic_axes={name: {0: "batch_size"} for name in (*inputs, "output")},
        )
    return path


def frames(count: int) -> list[Image]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*HW, 3), dtype=np.uint8) for _ in range(count)]


def pushed(module: TrackNetStream, images: Sequence[Image]) -> list[Row]:
    module.options = TrackOptions(decode="argmax")  # random weights are never sure of anything
    rows = [module.push(image) for image in images]
    return [row for row in rows if row is not None] + module.flush()


@pytest.mark.parametrize(
    ("bg_mode", "eval_mode"),
    [("", "weight"), ("subtract", "average"), ("subtract_concat", "nonoverlap"), ("concat", "weight")],
)
def test_the_onnx_module_answers_as_the_torch_module(tmp_path: Path, bg_mode: str, eval_mode: str) -> None:
    net: TrackNet = build_tracknet(SEQ_LEN, bg_mode, width="x0_25", seed=1)
    path = exported(net, {"input": torch.zeros(1, net.in_dim, 288, 512)}, tmp_path / "t.onnx")
    theirs = pushed(TrackNetModule(net, SEQ_LEN, bg_mode, "cpu", eval_mode, median_warmup=2), frames(3))
    ours = pushed(TrackNetModuleONNX(path, SEQ_LEN, bg_mode, "cpu", eval_mode, median_warmup=2), frames(3))
    assert [row["Frame"] for row in ours] == [0, 1, 2]
    assert [(row["X"], row["Y"]) for row in ours] == [(row["X"], row["Y"]) for row in theirs]
    assert [row["Confidence"] for row in ours] == pytest.approx([row["Confidence"] for row in theirs], abs=1e-5)


def test_both_repair_modules_fill_a_gap_alike(tmp_path: Path) -> None:
    net = build_inpaintnet(seed=2)
    shapes = {"coords": torch.zeros(1, 8, 2), "mask": torch.zeros(1, 8, 1)}
    path = exported(net, shapes, tmp_path / "r.onnx")
    seen = [True] * 4 + [False] * 3 + [True] * 6
    rows = [Row(Frame=i, X=200 + 9 * i, Y=300, Visibility=int(here), Confidence=1.0) for i, here in enumerate(seen)]
    answers = []
    for module in (InpaintModule(net, 8, "cpu", (2.5, 2.5)), InpaintModuleONNX(path, 8, "cpu", (2.5, 2.5))):
        out = [row for row in map(module.push, rows) if row is not None] + module.flush()
        assert [row["Inpaint"] for row in out] == [int(not here) for here in seen]
        answers.append([(row["X"], row["Y"]) for row in out])
    assert np.abs(np.subtract(*answers)).max() <= 1  # a float apart may round to the next pixel


def test_the_promised_attributes_are_there() -> None:
    net = build_tracknet(SEQ_LEN, "", width="x0_25", seed=0)
    module = TrackNetModule(net, SEQ_LEN, None, torch.device("cpu"))
    assert (module.seq_len, module.bg_mode, module.device, module.eval_mode) == (
        SEQ_LEN,
        "",
        torch.device("cpu"),
        "weight",
    )
    assert module.img_scaler is None and module.img_shape is None and module.tracknet is net
    repair = InpaintModule(build_inpaintnet(seed=0), 16, "cpu", (1.0, 2.0))
    assert (repair.seq_len, repair.device, repair.img_scaler) == (16, torch.device("cpu"), (1.0, 2.0))


def test_the_network_is_put_into_evaluation_mode() -> None:
    net = build_tracknet(SEQ_LEN, "", width="x0_25", seed=0).train()
    TrackNetModule(net, SEQ_LEN, "", "cpu")
    assert not net.training


def test_a_network_of_another_mode_is_named() -> None:
    net = build_tracknet(SEQ_LEN, "concat", width="x0_25", seed=0)
    module = TrackNetModule(net, SEQ_LEN, "", "cpu")
    module.push(frames(1)[0])
    with pytest.raises(BackendError, match=r"TrackNet cannot run \[1, 6, 288, 512\], made by seq_len and bg_mode"):
        module.push(frames(1)[0])


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(BackendError, match="unknown device 'gpu'; expected what PyTorch calls one"):
        TrackNetModule(build_tracknet(1, "", width="x0_25", seed=0), 1, "", "gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_gpu_that_is_not_there_is_named_and_not_replaced() -> None:
    with pytest.raises(BackendError, match="device cuda not available: this PyTorch sees 0 CUDA devices"):
        TrackNetModule(build_tracknet(1, "", width="x0_25", seed=0), 1, "", "cuda")


def test_without_a_device_it_runs_on_what_there_is() -> None:
    module = TrackNetModule(build_tracknet(1, "", width="x0_25", seed=0), 1, "", None)
    assert module.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
