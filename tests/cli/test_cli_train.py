"""`sightline train` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.cli import main
from sightline.config import load_config
from sightline.synth.people import write_people
from sightline.training.config import TrainingConfig

FAST = (
    "--arch osnet_x0_25 --input-size 64 32 --reid-dim 32 --batch-size 8 --num-instances 2 --workers 0 --val-split 0.34"
)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people"), ids=9, cameras=2, shots=2, seed=5, size_hw=(64, 32))


def trained(labelled: Path, project: Path, *flags: str) -> int:
    return main(["train", "--dataset", str(labelled), "--project", str(project), *FAST.split(), *flags])


def resolved(project: Path, name: str = "exp") -> TrainingConfig:
    return load_config(TrainingConfig, project / name / "config.yaml")


def test_each_run_gets_a_folder_of_its_own(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert trained(labelled, tmp_path, "--epochs", "1", "--warmup-epochs", "0") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exp", "exp2"]
    out = capsys.readouterr().out
    assert f"{tmp_path / 'exp'}: 24 images of 6 people, 12 images of others held out" in out
    assert str(tmp_path / "exp2" / "weights" / "best.pt") in out


def test_a_flag_wins_over_the_file_even_with_the_value_of_the_default(labelled: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("train:\n  epochs: 1\n  warmup_epochs: 0\n  lr: 0.5\n  label_smooth: 0.3\n")
    assert trained(labelled, tmp_path, "--config", str(file), "--lr", "3.5e-4", "--loss-type", "circle") == 0
    train = resolved(tmp_path).train
    assert (train.lr, train.label_smooth, train.loss_type) == (3.5e-4, 0.3, "circle")


def test_a_finished_run_is_made_longer_by_resuming_it(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained(labelled, tmp_path, "--epochs", "1", "--warmup-epochs", "0") == 0
    capsys.readouterr()
    assert main(["train", "--resume", "exp", "--project", str(tmp_path), "--epochs", "2"]) == 0
    assert "epoch 2/2" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["exp"]


def test_every_network_is_listed_with_its_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list-models"]) == 0
    listed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert listed["osnet_x1_0"] == "2.17 M parameters"
    assert listed["osnet_x0_25"] == "0.20 M parameters"
    assert len(listed) == 9


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "nothing to train on: --dataset names a CSV"),
        (["--dataset", "nowhere.csv"], "nowhere.csv"),
        (["--resume", "exp7"], "no run 'exp7'"),
        (["--config", "nowhere.yaml"], "configuration not found: nowhere.yaml"),
        (["--epochs", "soon"], "train.epochs"),
        (["--arch", "osnet_x9"], "nothing to train on"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    flags: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *flags]) == 1
    error = capsys.readouterr().err
    assert error.startswith("sightline: error: ")
    assert told in error
    assert error.count("\n") == 1


def test_more_people_in_a_batch_than_there_are_is_answered_with_the_largest(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained(labelled, tmp_path, "--batch-size", "64") == 1
    assert "the largest possible is 12" in capsys.readouterr().err


def test_an_unknown_network_is_answered_with_the_nearest(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained(labelled, tmp_path, "--arch", "osnet_x0_52") == 1
    assert "did you mean" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
