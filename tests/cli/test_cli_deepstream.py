from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sightline.card import CARD_KEY, ModelCard
from sightline.cli import VERBS, main
from sightline.deploy.deepstream.detectors import DETECTORS
from sightline.nets.checkpoint import save_checkpoint
from sightline.nets.osnet import build_osnet
from sightline.onnx_file import read_onnx, with_metadata

FINAL = "models/osnet/osnet_x0_25_final.onnx"


@pytest.fixture(autouse=True)
def as_a_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "deepstream", "write a folder in which DeepStream recognises people")


@pytest.fixture
def trained(osnet: Path, tmp_path: Path) -> Path:
    """The shared network, which calls itself trained here, so that nothing is said about its weights."""
    path = tmp_path / "trained.onnx"
    card = ModelCard.from_json(read_onnx(osnet).metadata[CARD_KEY])
    with_metadata(osnet, path, entries={CARD_KEY: replace(card, weights="trained").to_json()})
    return path


def init(*arguments: str | Path) -> int:
    return main(["deepstream", "init", *map(str, arguments)])


def settings(file: Path) -> dict[str, str]:
    lines = (line for line in file.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def error(capsys: pytest.CaptureFixture[str]) -> str:
    told = capsys.readouterr().err
    assert told.startswith("sightline: error: ") and told.count("\n") == 1, told
    return told


def test_a_folder_is_written_and_what_is_in_it_is_said(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a" / "reid"
    assert init(folder, "--model", trained, "--detector", "peoplenet", "--batch", "8", "--streams", "3") == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "256x128, batch 8\n" in told.out and "a person is class 0 of PeopleNet" in told.out
    assert (folder / FINAL).is_file()
    sgie, pgie = settings(folder / "reid_sgie_config.txt"), settings(folder / "pgie_config.txt")
    assert sgie["onnx-file"] == str(folder / FINAL)
    assert (sgie["batch-size"], pgie["batch-size"]) == ("8", "3")
    assert json.loads((folder / "deployment.json").read_text())["model"] == FINAL


def test_the_same_command_again_changes_nothing_and_a_changed_file_stops_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "reid"
    assert init(folder, "-m", trained) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert init(folder, "-m", trained) == 0
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    (folder / "app.py").write_text("mine\n")
    capsys.readouterr()
    assert init(folder, "-m", trained, "--scalar") == 1
    assert "--force" in error(capsys)
    assert (folder / "app.py").read_text() == "mine\n"
    assert (folder / FINAL).read_bytes() == before[folder / FINAL]  # the model was not exchanged either
    assert init(folder, "-m", trained, "--force") == 0
    assert (folder / "app.py").read_bytes() == before[folder / "app.py"]


def test_a_checkpoint_is_exported_on_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(tmp_path / "osnet.pth", build_osnet("osnet_x0_25", seed=0))
    assert init(tmp_path / "reid", "-m", tmp_path / "osnet.pth", "--size", "64x32") == 0
    assert "taken as trained on torchreid pixels" in capsys.readouterr().err
    file = read_onnx(tmp_path / "reid" / FINAL)
    assert (str(file.inputs[0]), str(file.outputs[0])) == ("input float32[?, 3, 64, 32]", "embedding float32[?, 512]")
    sgie = settings(tmp_path / "reid" / "reid_sgie_config.txt")
    assert (sgie["net-scale-factor"], sgie["offsets"], sgie["infer-dims"]) == ("1", "0;0;0", "3;64;32")


def test_the_scalar_form_says_how_far_off_it_is(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(tmp_path / "reid", "-m", trained, "--scalar") == 0
    assert "one scale stands for three deviations" in capsys.readouterr().err
    sgie = settings(tmp_path / "reid" / "reid_sgie_config.txt")
    assert (sgie["net-scale-factor"], sgie["offsets"]) == ("0.01735207357", "123.675;116.28;103.53")


def test_a_folder_may_be_meant_for_another_machine(trained: Path, tmp_path: Path) -> None:
    assert init(tmp_path / "reid", "-m", trained, "--root", "/app/reid") == 0
    assert settings(tmp_path / "reid" / "reid_sgie_config.txt")["onnx-file"] == f"/app/reid/{FINAL}"


def test_a_detector_s_file_is_put_in_its_place(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"\x08\x07 a detector")
    assert init(tmp_path / "reid", "-m", trained, "--detector", "coco", "--detector-onnx", tmp_path / "mine.onnx") == 0
    assert (tmp_path / "reid" / DETECTORS["coco"].onnx).read_bytes() == b"\x08\x07 a detector"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--root", "reid"], "expected an absolute path"),
        (["--detector-onnx", "trained.onnx"], "lies in DeepStream's own folder"),
        (["--detector", "coco", "--detector-onnx", "nowhere.onnx"], "model file not found: nowhere.onnx"),
        (["--pixels", "face"], "the model itself says its pixels is"),
        (["--model", "nowhere.onnx"], "model file not found"),
        (["--model", "model.engine"], "is a tensorrt model; expected an .onnx file or a checkpoint"),
    ],
)
def test_what_cannot_be_written_is_told_in_one_line_and_leaves_no_half_folder(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    tmp_path = trained.parent
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.engine").write_bytes(b"ptrt....")
    assert init("reid", "-m", trained, *arguments) == 1
    assert told in error(capsys)
    assert not (tmp_path / "reid").exists()


def test_random_weights_are_refused_before_anything_is_written(
    osnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "untrained.onnx"
    card = ModelCard.from_json(read_onnx(osnet).metadata[CARD_KEY])
    with_metadata(osnet, path, entries={CARD_KEY: replace(card, weights="untrained").to_json()})
    assert init(tmp_path / "reid", "-m", path) == 1
    assert "--allow-untrained" in error(capsys)
    assert not (tmp_path / "reid").exists()
    assert init(tmp_path / "reid", "-m", path, "--allow-untrained") == 0


def test_wrong_usage_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path / "reid") == 2
    assert "--model" in error(capsys)
    assert init(tmp_path / "reid", "-m", "x.onnx", "--detector", "yolo") == 2
    assert "trafficcamnet" in error(capsys)
