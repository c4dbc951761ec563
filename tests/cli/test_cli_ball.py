from __future__ import annotations

import csv
import json
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from running import error_line, sightline, started

from sightline.nets.ball_checkpoint import tracknet_card
from sightline.nets.checkpoint import save_checkpoint
from sightline.nets.tracknet import build_tracknet
from sightline.types import Image
from sightline.video import VideoFile, VideoWriter

SEQ_LEN = 3
HIDDEN = range(9, 12)
SIZE_HW = (144, 256)


def place(index: int) -> tuple[int, int]:
    return 40 + 5 * (index % 40), 60 + 2 * (index % 40)


def picture(index: int) -> Image:
    image = np.full((*SIZE_HW, 3), 30, np.uint8)
    if index not in HIDDEN:
        x, y = place(index)
        image[y - 3 : y + 4, x - 3 : x + 4] = 255
    return image


def write_clip(target: Path, count: int = 24, *, fps: float = 25) -> Path:
    with VideoWriter(target, fps=fps) as writer:
        for index in range(count):
            writer.write(picture(index))
    return target


def save_graph(
    path: Path, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], **shapes: list[object]
) -> Path:
    def info(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])

    inputs = [info(name) for name in shapes if name != "output"]
    graph = helper.make_graph(nodes, "g", inputs, [info("output")], initializer=tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that finds what is bright: heat is 5 × (red - 0.8), where that is above 0. It has no metadata."""
    weights = np.zeros((SEQ_LEN, 3 * SEQ_LEN, 1, 1), np.float32)
    weights[range(SEQ_LEN), range(0, 3 * SEQ_LEN, 3)] = 5
    return save_graph(
        tmp_path_factory.mktemp("tracker") / "bright.onnx",
        [helper.make_node("Conv", ["input", "w", "b"], ["raw"]), helper.make_node("Relu", ["raw"], ["output"])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.ravel()),
            helper.make_tensor("b", TensorProto.FLOAT, [SEQ_LEN], [-4.0] * SEQ_LEN),
        ],
        input=["batch", 3 * SEQ_LEN, 288, 512],
        output=["batch", SEQ_LEN, 288, 512],
    )


@pytest.fixture(scope="module")
def middling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repair network that puts whatever is missing in the middle of the picture."""
    return save_graph(
        tmp_path_factory.mktemp("repair") / "middle.onnx",
        [
            helper.make_node("Mul", ["mask", "half"], ["added"]),
            helper.make_node("Add", ["coords", "added"], ["output"]),
        ],
        [helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5])],
        coords=["batch", 8, 2],
        mask=["batch", 8, 1],
        output=["batch", 8, 2],
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "rally.avi")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_video_becomes_a_trajectory_with_a_row_for_every_frame(clip: Path, tracker: Path, tmp_path: Path) -> None:
    done = sightline("ball", clip, "-m", tracker, "-o", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "out.csv")
    assert list(rows[0]) == ["Frame", "Visibility", "X", "Y", "Confidence", "Inpaint"]
    assert [int(row["Frame"]) for row in rows] == list(range(24))
    assert [int(row["Visibility"]) for row in rows] == [int(index not in HIDDEN) for index in range(24)]
    for index, row in enumerate(rows):
        expected = place(index) if index not in HIDDEN else (0, 0)
        assert (int(row["X"]), int(row["Y"])) == pytest.approx(expected, abs=2)
    assert f"{tmp_path / 'out.csv'}: ball in 21 of 24 frames (88%)" in done.stdout
    assert "bright.onnx on onnxruntime (cpu, float32)" in done.stdout


@pytest.mark.parametrize(
    "flags", [(), ("--batch", "1"), ("--eval-mode", "nonoverlap"), ("--stride", "2"), ("--backend", "openvino")]
)
def test_however_it_is_run_the_ball_is_in_the_same_frames(
    clip: Path, tracker: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    done = sightline("ball", clip, "-m", tracker, "-o", tmp_path / "out.csv", *flags)
    assert done.returncode == 0, done.stderr
    seen = [int(row["Frame"]) for row in rows_of(tmp_path / "out.csv") if row["Visibility"] == "1"]
    assert seen == [index for index in range(24) if index not in HIDDEN]


def test_the_drawn_video_the_page_and_the_summary_come_with_it(clip: Path, tracker: Path, tmp_path: Path) -> None:
    extras = ("--video", tmp_path / "drawn.mp4", "--page", tmp_path / "report.html", "--json")
    done = sightline("ball", clip, "-m", tracker, "-o", tmp_path / "out.csv", *extras)
    assert done.returncode == 0, done.stderr
    with VideoFile(tmp_path / "drawn.mp4") as drawn:
        frames = list(drawn)
    assert len(frames) == 24
    assert drawn.info.size_hw == SIZE_HW
    assert np.abs(frames[20].image.astype(int) - picture(20)).max() > 100
    assert "24 frames" in (tmp_path / "report.html").read_text(encoding="utf-8")
    found = json.loads(done.stdout)
    assert (found["frames"], found["visible"], found["gaps"], found["longest_gap"]) == (24, 21, 1, 3)
    assert found["model"] == "bright.onnx"


def test_gaps_are_filled_and_marked_by_a_repair_network(
    clip: Path, tracker: Path, middling: Path, tmp_path: Path
) -> None:
    done = sightline("ball", clip, "-m", tracker, "--inpaint", middling, "-o", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    filled = [row for row in rows_of(tmp_path / "out.csv") if row["Inpaint"] == "1"]
    assert [int(row["Frame"]) for row in filled] == list(HIDDEN)
    assert all((int(row["X"]), int(row["Y"])) == (SIZE_HW[1] // 2, SIZE_HW[0] // 2) for row in filled)
    assert "ball in 24 of 24 frames (100%), 3 of them filled in" in done.stdout


def test_a_folder_of_frames_is_a_video_too(tracker: Path, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for index in range(12):
        cv2.imwrite(str(tmp_path / "frames" / f"{index}.png"), picture(index))
    done = sightline("ball", tmp_path / "frames", "-m", tracker, "-o", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    seen = [int(row["Frame"]) for row in rows_of(tmp_path / "out.csv") if row["Visibility"] == "1"]
    assert seen == list(range(9))


def test_a_checkpoint_with_a_background_runs_as_it_is(clip: Path, tmp_path: Path) -> None:
    net = build_tracknet(2, "concat", width="x0_25", seed=0)
    save_checkpoint(tmp_path / "net.pt", net, card=tracknet_card(net, "concat", weights="untrained"))
    done = sightline("ball", clip, "-m", tmp_path / "net.pt", "-o", tmp_path / "out.csv", "--eval-mode", "nonoverlap")
    assert done.returncode == 0, done.stderr
    assert len(rows_of(tmp_path / "out.csv")) == 24
    assert "net.pt on torch" in done.stdout


def test_a_file_played_live_is_answered_while_it_plays(tracker: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "rally.avi", 40, fps=20)
    done = sightline("ball", clip, "-m", tracker, "-o", tmp_path / "out.csv", "--live")
    assert done.returncode == 0, done.stderr
    frames = [int(row["Frame"]) for row in rows_of(tmp_path / "out.csv")]
    assert frames == sorted(set(frames))
    dropped = 40 - len(frames)
    assert (f"{dropped} frames came too fast and were dropped" in done.stdout) == (dropped > 0)


def test_ctrl_c_writes_what_was_found_until_then(tracker: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "rally.avi", 200, fps=10)  # twenty seconds, played live
    running = started("ball", clip, "-m", tracker, "-o", tmp_path / "out.csv", "--live")
    while not list(tmp_path.glob(".out.csv*")):
        time.sleep(0.05)
        assert running.poll() is None
    time.sleep(1.5)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130, errors
    rows = rows_of(tmp_path / "out.csv")
    assert 3 <= len(rows) < 200
    assert f"interrupted: the frames until then are in {tmp_path / 'out.csv'}" in errors


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"video": "none.mp4"}, "video not found: {0}/none.mp4"),
        ({"video": "text.mp4"}, "{0}/text.mp4 is not a video"),
        ({"model": "none.onnx"}, "ONNX model file not found: {0}/none.onnx"),
        ({"model": "text.onnx"}, "{0}/text.onnx: not an ONNX file"),
        ({"output": "none/out.csv"}, "cannot write {0}/none/out.csv: the folder does not exist; create it first"),
        ({"video_out": "drawn.gif"}, "cannot write {0}/drawn.gif: expected a name that ends in"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_nothing(
    clip: Path, tracker: Path, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    for name in ("text.mp4", "text.onnx"):
        (tmp_path / name).write_text("hello " * 100)
    named = {key: tmp_path / name for key, name in change.items()}
    drawn = ("--video", named["video_out"]) if "video_out" in named else ()
    output = named.get("output", tmp_path / "out.csv")
    done = sightline("ball", named.get("video", clip), "-m", named.get("model", tracker), "-o", output, *drawn)
    assert done.returncode == 1
    assert error_line(done.stderr).startswith(said.format(tmp_path))
    assert not output.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"text.mp4", "text.onnx"}


def test_models_in_each_others_place_are_told_apart(clip: Path, tracker: Path, middling: Path, tmp_path: Path) -> None:
    done = sightline("ball", clip, "-m", middling, "-o", tmp_path / "out.csv")
    assert error_line(done.stderr).startswith(f"{middling} is not a TrackNet")
    done = sightline("ball", clip, "-m", tracker, "--inpaint", tracker, "-o", tmp_path / "out.csv")
    assert error_line(done.stderr).startswith(f"{tracker} is not an InpaintNet")
