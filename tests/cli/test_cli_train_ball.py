"""The ball networks through the command: painted rallies in, a trajectory of an unseen one out."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.ball.trajectory import read_trajectory
from sightline.cli import main
from sightline.config import load_config
from sightline.training.ball.config import InpaintNetConfig, TrackNetConfig
from sightline.video import VideoWriter

TINY = "--arch tracknet --width x0_25 --seq-len 3 --crop 64 64 --batch-size 4 --step 3 --workers 0 --epochs 1"


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted") / "data"
    assert main(["prepare", "rallies", "--rallies", "3", "--frames", "18", "--output-dir", str(folder), "-q"]) == 0
    return folder


@pytest.fixture(scope="module")
def project(painted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of each network."""
    project = tmp_path_factory.mktemp("runs")
    assert trained(painted, project, *TINY.split(), "--name", "tracker") == 0
    flags = "--arch inpaintnet --batch-size 4 --epochs 2 --milestones 1 --workers 0 --name repairer"
    assert trained(painted, project, *flags.split()) == 0
    return project


def trained(data: Path, project: Path, *flags: str) -> int:
    return main(["train", "--dataset", str(data), "--project", str(project), *flags])


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("sightline: reading")]
    assert len(error) == 1, error
    assert error[0].startswith("sightline: error: ")
    return error[0]


# Training


def test_a_run_of_either_network_leaves_what_every_run_leaves(project: Path) -> None:
    expected = {"config.yaml", "history.csv", "curves.png", "best.pt", "final.pt", "checkpoint.pt"}
    for name in ("tracker", "repairer"):
        assert {path.name for path in (project / name).rglob("*") if path.is_file()} == expected
    assert load_config(TrackNetConfig, project / "tracker" / "config.yaml").model.seq_len == 3
    assert load_config(InpaintNetConfig, project / "repairer" / "config.yaml").train.milestones == [1]


def test_what_is_trained_on_is_said_first(painted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained(painted, tmp_path, *TINY.split()) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{tmp_path / 'exp'}: 2 rallies, 1 others held out"
    assert out[1].startswith("epoch 1/1  loss ")
    assert "accuracy " in out[1] and "f1 " in out[1]
    assert str(tmp_path / "exp" / "weights" / "best.pt") in out


def test_the_trained_networks_find_the_ball_of_a_rally_they_have_not_seen(
    painted: Path, project: Path, tmp_path: Path
) -> None:
    frames, out = painted / "val" / "match3" / "frame" / "1_01_00", tmp_path / "out.csv"
    weights = project / "tracker" / "weights" / "best.pt"
    repair = project / "repairer" / "weights" / "best.pt"
    assert main(["ball", str(frames), "-m", str(weights), "--inpaint", str(repair), "-o", str(out), "-q"]) == 0
    assert [point.frame for point in read_trajectory(out)] == list(range(18))


@pytest.mark.parametrize("name", ["tracker", "repairer"])
def test_the_trained_networks_are_exported(project: Path, tmp_path: Path, name: str) -> None:
    weights, out = project / name / "weights" / "best.pt", tmp_path / "net.onnx"
    assert main(["export", "--task", "ball", "-w", str(weights), "-o", str(out), "-q"]) == 0
    assert out.stat().st_size > 1_000_000


def test_a_finished_run_is_made_longer_by_resuming_it(
    painted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained(painted, tmp_path, *TINY.split()) == 0
    assert main(["train", "--resume", "exp", "--project", str(tmp_path), "--epochs", "2"]) == 0
    assert "epoch 2/2" in capsys.readouterr().out
    with (tmp_path / "exp" / "history.csv").open() as file:
        assert [line["epoch"] for line in csv.DictReader(file)] == ["1", "2"]


def test_a_flag_may_take_the_background_away(painted: Path, tmp_path: Path) -> None:
    assert trained(painted, tmp_path, *TINY.split(), "--bg-mode", "") == 0
    assert load_config(TrackNetConfig, tmp_path / "exp" / "config.yaml").model.bg_mode == ""


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--arch", "trackent"], "no network 'trackent'; did you mean tracknet?"),
        (["--arch", "tracknet", "--triplet-margin", "1"], "unknown key 'train.triplet_margin'"),
        (["--arch", "tracknet", "--width", "x9"], "width is 'x9'; expected one of x1_0, x0_5, x0_25"),
        (["--arch", "tracknet", "--seq-len", "many"], "model.seq_len"),
        (["--arch", "inpaintnet", "--mixup", "0.5"], "unknown key 'data.mixup'"),
        (["--arch", "inpaintnet", "--batch-size", "900"], "batch_size is 900; expected at most 6"),
        (["--arch", "inpaintnet", "--pretrained", "nowhere.pt"], "nowhere.pt"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    painted: Path, tmp_path: Path, flags: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained(painted, tmp_path, *flags, "-q") == 1
    assert told in error_of(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_flag_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--arch", "tracknet", "--mixap", "1"]) == 2
    assert "--mixap" in error_of(capsys)


def test_without_a_data_set_the_layout_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--arch", "tracknet"]) == 1
    assert "--dataset names a folder with train/match1/csv" in error_of(capsys)
    assert trained(tmp_path / "nowhere", tmp_path, "--arch", "tracknet") == 1
    assert "no rallies in" in error_of(capsys)


# Preparing


def test_the_same_seed_paints_the_same_data_set(painted: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    for folder, seed in ((again, "0"), (other, "1")):
        flags = ["--rallies", "3", "--frames", "18", "--seed", seed, "--output-dir", str(folder), "-q"]
        assert main(["prepare", "rallies", *flags]) == 0
    name = Path("train/match1/frame/1_01_00/7.jpg")
    assert (again / name).read_bytes() == (painted / name).read_bytes() != (other / name).read_bytes()
    labels = Path("val/match3/csv/1_01_00_ball.csv")
    assert (again / labels).read_bytes() == (painted / labels).read_bytes()


def test_a_data_set_is_not_painted_over_another(painted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "rallies", "--output-dir", str(painted)]) == 1
    assert "train is there already; remove it, or choose another folder" in error_of(capsys)


@pytest.fixture
def filmed(tmp_path: Path) -> Path:
    """One match with two videos of five frames: a grey one and a brighter one."""
    match = tmp_path / "data" / "train" / "match1"
    for folder in ("csv", "video"):
        (match / folder).mkdir(parents=True)
    for name, grey in (("1_01_00", 40), ("1_02_00", 80)):
        (match / "csv" / f"{name}_ball.csv").write_text("Frame,Visibility,X,Y\n0,0,0,0\n")
        with VideoWriter(match / "video" / f"{name}.avi", fps=30) as video:
            for frame in still(grey):
                video.write(frame)
    return tmp_path / "data"


def still(grey: int) -> Iterator[np.ndarray]:
    for _ in range(5):
        yield np.full((64, 96, 3), grey, np.uint8)


def test_videos_become_pictures_with_the_background_of_their_match(
    filmed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", "shuttlecock", "--dataset-dir", str(filmed)]) == 0
    assert capsys.readouterr().out == f"{filmed}: the frames of 2 rallies\n"
    match = filmed / "train" / "match1"
    assert sorted(path.name for path in (match / "frame" / "1_02_00").iterdir()) == [f"{i}.png" for i in range(5)]
    levels = [cv2.imread(str(match / "frame" / name / "3.png")).mean() for name in ("1_01_00", "1_02_00")]
    assert levels == pytest.approx([40, 80], abs=3)  # what the codec makes of them
    with np.load(match / "median.npz") as content:
        assert content["median"].shape == (64, 96, 3)
        assert content["median"].mean() == pytest.approx(sum(levels) / 2, abs=1)  # the median of two medians


def test_pictures_that_are_there_are_left_alone_and_unfinished_ones_made_again(filmed: Path) -> None:
    home = filmed / "train" / "match1" / "frame"
    (home / "1_01_00").mkdir(parents=True)
    cv2.imwrite(str(home / "1_01_00" / "0.png"), np.zeros((64, 96, 3), np.uint8))
    (home / ".1_02_00.part").mkdir()
    (home / ".1_02_00.part" / "99.png").write_bytes(b"half")
    assert main(["prepare", "shuttlecock", "--dataset-dir", str(filmed), "-q"]) == 0
    assert sorted(path.name for path in home.iterdir()) == ["1_01_00", "1_02_00"]
    assert [path.name for path in (home / "1_01_00").iterdir()] == ["0.png"]
    assert len(list((home / "1_02_00").iterdir())) == 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rallies"], "nowhere to write: pass --output-dir"),
        (["shuttlecock"], "where is the data set? pass --dataset-dir"),
        (["shuttlecock", "--dataset-dir", "nowhere"], "no rallies in nowhere"),
    ],
)
def test_what_cannot_be_prepared_is_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", *arguments]) == 1
    assert told in error_of(capsys)
