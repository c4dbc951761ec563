from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sightline.ball.heatmap import Row
from sightline.ball.onnx import InpaintModuleONNX, TrackNetModuleONNX, heats_of
from sightline.ball.stream import TrackNetStream, track
from sightline.errors import BackendError, SightlineError
from sightline.runtime.open import open_session
from sightline.types import Array, Image

PLANES = {"": 3, "subtract": 1, "subtract_concat": 4, "concat": 3}
SEQ_LEN = 3
HW = (144, 256)
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
DTYPES = {FLOAT: np.float32, HALF: np.float16}


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    output: Sequence[int | str],
    *,
    constants: Mapping[str, Array],
    metadata: Mapping[str, str],
    dtype: int = FLOAT,
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "fake",
        [helper.make_tensor_value_info(name, dtype, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("output", dtype, list(output))],
        [numpy_helper.from_array(array.astype(DTYPES[dtype]), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def tracker(
    path: Path,
    *,
    bg_mode: str = "",
    batch: int | str = "batch_size",
    dtype: int = FLOAT,
    metadata: Mapping[str, str] | None = None,
    name: str = "input",
) -> Path:
    """A network that finds the ball where the last plane of each frame is bright."""
    front = 3 if bg_mode == "concat" else 0
    planes = PLANES[bg_mode]
    weights = np.zeros((SEQ_LEN, front + planes * SEQ_LEN, 1, 1))
    for place in range(SEQ_LEN):
        weights[place, front + planes * place + planes - 1] = 1
    known = {"model_name": "TrackNet", "seq_len": str(SEQ_LEN), "bg_mode": bg_mode}
    return save(
        path,
        [helper.make_node("Conv", [name, "weights"], ["output"])],
        {name: [batch, weights.shape[1], 288, 512]},
        [batch, SEQ_LEN, 288, 512],
        constants={"weights": weights},
        metadata=known if metadata is None else metadata,
        dtype=dtype,
    )


def repairer(path: Path, *, batch: int | str = "batch_size", dtype: int = FLOAT, swapped: bool = False) -> Path:
    """A network that adds a half wherever it is to fill in."""
    inputs: dict[str, list[int | str]] = {"coords": [batch, 4, 2], "mask": [batch, 4, 1]}
    return save(
        path,
        [
            helper.make_node("Mul", ["mask", "half"], ["added"]),
            helper.make_node("Add", ["coords", "added"], ["output"]),
        ],
        dict(reversed(inputs.items())) if swapped else inputs,
        [batch, 4, 2],
        constants={"half": np.array([0.5])},
        metadata={"model_name": "InpaintNet", "seq_len": "4"},
        dtype=dtype,
    )


def frames(count: int) -> list[Image]:
    images = []
    for index in range(count):
        image = np.zeros((*HW, 3), np.uint8)
        image[20 + index : 24 + index, 30 + 7 * index : 34 + 7 * index] = 230
        images.append(image)
    return images


def centres(rows: Sequence[Row]) -> list[tuple[int, int]]:
    return [(row["X"], row["Y"]) for row in rows]


def pushed(module: TrackNetStream, images: Sequence[Image]) -> list[Row]:
    rows = [module.push(image) for image in images]
    return [row for row in rows if row is not None] + module.flush()


@pytest.mark.parametrize("bg_mode", PLANES)
@pytest.mark.parametrize("eval_mode", ["weight", "average", "nonoverlap"])
def test_the_ball_is_found_where_it_is(tmp_path: Path, bg_mode: str, eval_mode: str) -> None:
    black = np.zeros((3, 288, 512) if bg_mode == "concat" else (*HW, 3))
    module = TrackNetModuleONNX(
        tracker(tmp_path / "t.onnx", bg_mode=bg_mode), SEQ_LEN, bg_mode, "cpu", eval_mode, black
    )
    rows = pushed(module, frames(8))
    assert centres(rows) == [(32 + 7 * index, 22 + index) for index in range(8)]
    module.reset()
    assert [sighting.row() for sighting in track(module, [(None, image) for image in frames(8)], batch=3)] == rows


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_filled_up_and_the_rest_thrown_away(tmp_path: Path, batch: int) -> None:
    rows = pushed(TrackNetModuleONNX(tracker(tmp_path / "t.onnx", batch=batch), SEQ_LEN, ""), frames(5))
    assert rows == pushed(TrackNetModuleONNX(tracker(tmp_path / "d.onnx"), SEQ_LEN, ""), frames(5))


def test_a_half_precision_model_is_fed_half_precision(tmp_path: Path) -> None:
    rows = pushed(TrackNetModuleONNX(tracker(tmp_path / "t.onnx", dtype=HALF), SEQ_LEN, ""), frames(5))
    assert centres(rows) == [(32 + 7 * index, 22 + index) for index in range(5)]
    assert all(type(row["Confidence"]) is float for row in rows)


def test_openvino_gives_the_same_rows_through_the_same_core(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="compares with OpenVINO")
    path = tracker(tmp_path / "t.onnx")
    with open_session(path, "openvino", device="cpu") as session:
        rows = pushed(TrackNetStream(heats_of(session), seq_len=SEQ_LEN, bg_mode=""), frames(6))
    assert centres(rows) == centres(pushed(TrackNetModuleONNX(path, SEQ_LEN, ""), frames(6)))


def test_the_promised_attributes_are_there(tmp_path: Path) -> None:
    module = TrackNetModuleONNX(str(tracker(tmp_path / "t.onnx")), SEQ_LEN, None, device="cpu")
    assert (module.seq_len, module.bg_mode, module.device, module.eval_mode) == (SEQ_LEN, "", "cpu", "weight")
    assert module.input_name == "input" and module.output_names == ["output"]
    assert module.img_scaler is None and module.img_shape is None and module.stats["push_calls"] == 0
    assert isinstance(module.session, onnxruntime.InferenceSession)
    assert module.session.get_providers() == ["CPUExecutionProvider"]


def test_an_input_of_another_name_is_fed_by_that_name(tmp_path: Path) -> None:
    module = TrackNetModuleONNX(tracker(tmp_path / "t.onnx", name="frames"), SEQ_LEN, "")
    assert module.input_name == "frames" and len(pushed(module, frames(3))) == 3


class Device:
    """As a torch.device is: an object with a type and a text."""

    type = "cpu"

    def __str__(self) -> str:
        return self.type


@pytest.mark.parametrize("device", [None, "cpu", Device()])
def test_a_device_may_be_nothing_a_name_or_an_object(tmp_path: Path, device: object) -> None:
    assert TrackNetModuleONNX(tracker(tmp_path / "t.onnx"), SEQ_LEN, "", device).device in {"cpu", "cuda:0"}


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_said_aloud_and_not_claimed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        module = TrackNetModuleONNX(tracker(tmp_path / "t.onnx"), SEQ_LEN, "", "cuda:0")
    assert module.device == "cpu"
    assert "CUDA:0 not available, falling back to CPU" in caplog.text


def test_an_unknown_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="unknown device 'gpu'"):
        TrackNetModuleONNX(tracker(tmp_path / "t.onnx"), SEQ_LEN, "", "gpu")


def test_one_session_with_all_threads_serves_every_push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    create = onnxruntime.InferenceSession

    def counted(path: str, options: onnxruntime.SessionOptions, **rest: object) -> onnxruntime.InferenceSession:
        made.append(options.intra_op_num_threads)
        return create(path, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", counted)
    monkeypatch.setattr("sightline.runtime.backend.available_cores", lambda: 2)
    pushed(TrackNetModuleONNX(tracker(tmp_path / "t.onnx"), SEQ_LEN, "", "cpu"), frames(12))
    assert made == [2]


# What cannot be opened


def test_a_missing_file_is_named_in_the_promised_words(tmp_path: Path) -> None:
    path = str(tmp_path / "nowhere.onnx")
    for module in (lambda: TrackNetModuleONNX(path, 3, ""), lambda: InpaintModuleONNX(path, 4, "cpu", (1.0, 1.0))):
        with pytest.raises(ValueError) as caught:
            module()
        assert str(caught.value) == f"ONNX model file not found: {path}"


def test_another_seq_len_is_named_in_the_promised_words(tmp_path: Path) -> None:
    path = tracker(tmp_path / "t.onnx")
    with pytest.raises(ValueError) as caught:
        TrackNetModuleONNX(str(path), 8, "")
    assert str(caught.value) == f"Model metadata mismatch: expected seq_len=8, got 3. Model={path}"
    path = repairer(tmp_path / "r.onnx")
    with pytest.raises(ValueError) as caught:
        InpaintModuleONNX(str(path), 16, "cpu", (1.0, 1.0))
    assert str(caught.value) == f"Model metadata mismatch: expected seq_len=16, got 4. Model={path}"


@pytest.mark.parametrize(
    ("asked", "stored"), [("concat", ""), ("", "concat"), (None, "subtract"), ("subtract", "concat")]
)
def test_another_bg_mode_is_named_both_ways(tmp_path: Path, asked: str | None, stored: str) -> None:
    path = tracker(tmp_path / "t.onnx", bg_mode=stored)
    with pytest.raises(ValueError) as caught:
        TrackNetModuleONNX(str(path), SEQ_LEN, asked)
    words = f"Model metadata mismatch: expected bg_mode='{asked or ''}', got '{stored}'. Model={path}"
    assert str(caught.value) == words


def test_without_metadata_the_graph_is_asked(tmp_path: Path) -> None:
    path = tracker(tmp_path / "t.onnx", bg_mode="concat", metadata={})
    assert len(pushed(TrackNetModuleONNX(path, SEQ_LEN, "concat", median=np.zeros((3, 288, 512))), frames(4))) == 4
    with pytest.raises(ValueError, match="expected seq_len=8, got 3"):
        TrackNetModuleONNX(path, 8, "concat")
    with pytest.raises(ValueError, match="takes 12 planes; seq_len=3 with bg_mode='' makes 9"):
        TrackNetModuleONNX(path, SEQ_LEN, "")


def test_a_runtime_without_providers_is_named_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", list)
    with pytest.raises(RuntimeError) as caught:
        TrackNetModuleONNX(tracker(tmp_path / "t.onnx"), SEQ_LEN, "")
    assert str(caught.value) == "No ONNX Runtime execution providers available"


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08" + b"\xff" * 64, None])
def test_a_broken_file_is_an_error_with_its_path(tmp_path: Path, content: bytes | None) -> None:
    path = tracker(tmp_path / "t.onnx")
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    with pytest.raises(ValueError, match=r"t\.onnx") as caught:
        TrackNetModuleONNX(path, SEQ_LEN, "")
    assert isinstance(caught.value, SightlineError) and "\n" not in str(caught.value)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match=tmp_path.name):
        TrackNetModuleONNX(tmp_path, SEQ_LEN, "")


def test_a_model_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not an InpaintNet: it takes input float32"):
        InpaintModuleONNX(tracker(tmp_path / "t.onnx"), 4, "cpu", (1.0, 1.0))
    with pytest.raises(ValueError, match="is not a TrackNet: it takes coords float32"):
        TrackNetModuleONNX(repairer(tmp_path / "r.onnx"), SEQ_LEN, "")


# Repair


def rows_with_a_gap() -> list[Row]:
    seen = [True, True, False, True, True]
    return [
        Row(Frame=i, X=300 if here else 0, Y=200 if here else 0, Visibility=int(here), Confidence=float(here))
        for i, here in enumerate(seen)
    ]


@pytest.mark.parametrize("batch", ["batch_size", 1, 3])
@pytest.mark.parametrize("dtype", [FLOAT, HALF])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_gap_is_filled_whatever_the_batch_the_precision_and_the_order_of_the_inputs(
    tmp_path: Path, batch: int | str, dtype: int, swapped: bool
) -> None:
    path = repairer(tmp_path / "r.onnx", batch=batch, dtype=dtype, swapped=swapped)
    module = InpaintModuleONNX(path, 4, None, (2.5, 2.5))
    assert (module.input_coords, module.input_mask, module.output_names) == ("coords", "mask", ["output"])
    assert (module.seq_len, module.img_scaler) == (4, (2.5, 2.5)) and module.device in {"cpu", "cuda:0"}
    rows = [row for row in map(module.push, rows_with_a_gap()) if row is not None] + module.flush()
    assert [row["Inpaint"] for row in rows] == [0, 0, 1, 0, 0]
    assert (rows[2]["X"], rows[2]["Y"]) == (640, 360)  # (0, 0) and a half of 1280 by 720


# Without torch

WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError(f"{name} was imported")
sys.meta_path.insert(0, Blocked())
import numpy
from sightline.ball.onnx import InpaintModuleONNX, TrackNetModuleONNX
tracker = TrackNetModuleONNX(sys.argv[1], 3, "")
repairer = InpaintModuleONNX(sys.argv[2], 4, None, (0.5, 0.5))
image = numpy.zeros((144, 256, 3), numpy.uint8)
image[50:54, 60:64] = 255
for _ in range(4):
    tracker.push(image)
rows = tracker.flush()
for row in rows:
    repairer.push(row)
print([row["X"] for row in rows], len(repairer.flush()), "torch" in sys.modules)
"""


def test_the_onnx_modules_run_where_torch_is_not_installed(tmp_path: Path) -> None:
    models = [str(tracker(tmp_path / "t.onnx")), str(repairer(tmp_path / "r.onnx"))]
    ran = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *models], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("[62, 62] 2 False\n", 0), ran.stderr
