from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from running import error_line, write_crops

from sightline.cli import main
from sightline.onnx_file import read_onnx
from sightline.reid.features import read_features

Capture = pytest.CaptureFixture[str]


def table(capsys: Capture) -> dict[str, list[str]]:
    """The printed lines by what they are of; a line without a name goes on with the one above."""
    out = capsys.readouterr().out.splitlines()
    width = len(out[0]) - len(out[0].split("  ", 1)[1].lstrip())
    found: dict[str, list[str]] = {}
    for line in out:
        name = line[:width].strip() or name  # noqa: F821 - set by the line before
        found.setdefault(name, []).append(line[width:])
    return found


class TestTable:
    def test_it_shows_the_file_and_what_runs_it(self, osnet: Path, capsys: Capture) -> None:
        assert main(["inspect", str(osnet)]) == 0
        shown = table(capsys)
        assert shown["file"] == [str(osnet)]
        assert shown["size"] == [f"{osnet.stat().st_size / 1e6:.2f} MB"]
        assert shown["format"][0].startswith("ONNX opset 13, IR ") and "pytorch" in shown["format"][0]
        assert shown["runs on"] == ["onnxruntime, cpu, float32"]
        assert shown["inputs"] == ["images float32[?, 3, 256, 128]"]
        assert shown["outputs"] == ["features float32[?, 512]"]
        assert "instead of" not in shown

    def test_it_shows_what_the_card_says(self, osnet: Path, capsys: Capture) -> None:
        assert main(["inspect", str(osnet)]) == 0
        shown = table(capsys)
        assert shown["task"] == ["reid (osnet_x0_25)"]
        assert shown["fed with"] == [
            "256×128 (height × width), NCHW float32, RGB, (x - 123.675/116.28/103.53) / 58.395/57.12/57.375, "
            "resized with antialias, any batch"
        ]
        assert shown["gives"] == ["512 numbers an image, not normalised"]
        assert shown["fingerprint"] == [read_onnx(osnet).fingerprint]
        assert shown["not known"] == ["whether its weights are trained"]

    def test_without_a_card_it_says_what_is_not_known(self, bare_osnet: Path, capsys: Capture) -> None:
        assert main(["inspect", str(bare_osnet)]) == 0
        shown = table(capsys)
        assert shown["card"] == ["none: what follows from the graph alone"]
        assert "pixels nobody has described" in shown["fed with"][0]
        assert shown["not known"] == [
            "colour order, mean and std (--pixels PRESET)",
            "whether its vectors are L2-normalised",
            "whether its weights are trained",
        ]

    def test_what_the_user_says_is_known(self, bare_osnet: Path, capsys: Capture) -> None:
        assert main(["inspect", str(bare_osnet), "--pixels", "torchreid"]) == 0
        shown = table(capsys)
        assert "--pixels" not in " ".join(shown["not known"])
        assert "RGB, (x - 123.675/116.28/103.53) / 58.395/57.12/57.375" in shown["fed with"][0]

    def test_a_device_that_is_not_there_shows_in_the_result(
        self, osnet: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        onnxruntime = pytest.importorskip("onnxruntime")
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        assert main(["inspect", str(osnet), "--device", "cuda"]) == 0
        shown = table(capsys)
        assert shown["runs on"] == ["onnxruntime, cpu, float32"]
        assert "cuda not available" in shown["instead of"][0].lower()
        assert main(["inspect", str(osnet), "--device", "cuda", "--no-fallback"]) == 1
        assert "cuda not available" in error_line(capsys.readouterr().err).lower()

    def test_a_model_with_several_outputs_is_shown_too(self, shared: Path, capsys: Capture) -> None:
        assert main(["inspect", str(shared / "real/models/yunet_s.onnx")]) == 0
        shown = table(capsys)
        assert len(shown["outputs"]) == 12 and shown["gives"] == ["no single vector"]


class TestJson:
    def test_a_program_gets_the_same_facts_and_the_whole_card(self, osnet: Path, capsys: Capture) -> None:
        assert main(["inspect", str(osnet), "--json"]) == 0
        out = capsys.readouterr().out
        facts = json.loads(out)
        assert out.isascii()  # so that no terminal can spoil it
        assert facts["file"] == str(osnet)
        assert facts["inputs"] == ["images float32[?, 3, 256, 128]"]
        assert facts["card"]["image"]["size_hw"] == [256, 128]
        assert facts["card"]["image"]["pixels"]["color"] == "RGB"
        assert facts["card"]["output"] == {"name": "features", "dim": 512, "normalised": False}
        assert facts["card"]["fingerprint"] == facts["fingerprint"] == read_onnx(osnet).fingerprint


class TestProbe:
    def test_random_weights_are_found_out(self, osnet: Path, capsys: Capture) -> None:
        assert main(["inspect", str(osnet), "--probe"]) == 0
        assert "do NOT tell people apart" in table(capsys)["probe"][0]

    def test_trained_weights_pass(self, shared: Path, capsys: Capture) -> None:
        model = shared / "real/models/osnet_x0_25_market1501_128x64.onnx"
        assert main(["inspect", str(model), "--probe", "--pixels", "torchreid"]) == 0
        assert table(capsys)["probe"][0].endswith("(these weights tell people apart)")

    def test_a_model_that_cannot_be_fed_cannot_be_probed(self, bare_osnet: Path, capsys: Capture) -> None:
        assert main(["inspect", str(bare_osnet), "--probe"]) == 1
        captured = capsys.readouterr()
        assert "--pixels PRESET" in error_line(captured.err) and captured.out == ""


class TestWriting:
    def test_what_the_user_says_once_need_not_be_said_again(
        self, bare_osnet: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        copy = tmp_path / "mine.onnx"
        assert main(["inspect", str(bare_osnet), "--pixels", "torchreid", "--write", str(copy)]) == 0
        assert table(capsys)["written to"] == [str(copy)]
        assert read_onnx(copy).fingerprint == read_onnx(bare_osnet).fingerprint
        write_crops(tmp_path / "crops", 2)
        crops = str(tmp_path / "crops")
        assert main(["embed", crops, "-m", str(copy), "-o", str(tmp_path / "a.npz")]) == 0
        assert (
            main(["embed", crops, "-m", str(bare_osnet), "--pixels", "torchreid", "-o", str(tmp_path / "b.npz")]) == 0
        )
        a, b = (read_features(tmp_path / name) for name in ("a.npz", "b.npz"))
        assert np.array_equal(a.vectors, b.vectors)


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("missing.onnx", None, "model file not found: "),
            ("empty.onnx", b"", "is empty (0 bytes)"),
            ("notes.txt", b"notes", "no runtime reads '.txt'"),
        ],
    )
    def test_a_file_that_is_no_model_is_one_line(
        self, tmp_path: Path, capsys: Capture, name: str, content: bytes | None, told: str
    ) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert main(["inspect", str(tmp_path / name)]) == 1
        captured = capsys.readouterr()
        assert told in error_line(captured.err) and captured.out == ""

    def test_half_a_model_is_one_line(self, osnet: Path, tmp_path: Path, capsys: Capture) -> None:
        (tmp_path / "half.onnx").write_bytes(osnet.read_bytes()[: osnet.stat().st_size // 2])
        assert main(["inspect", str(tmp_path / "half.onnx")]) == 1
        assert error_line(capsys.readouterr().err).startswith(f"{tmp_path / 'half.onnx'}")

    def test_a_folder_is_no_model(self, tmp_path: Path, capsys: Capture) -> None:
        (tmp_path / "model.onnx").mkdir()
        assert main(["inspect", str(tmp_path / "model.onnx")]) == 1
        assert error_line(capsys.readouterr().err).endswith("is a folder; expected a model file")
