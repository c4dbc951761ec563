"""The trainer: what it writes, how it stops, and that going on is the same as never having stopped."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sightline.errors import BackendError, CheckpointError, ModelFormatError, OutputError
from sightline.nets.checkpoint import read_checkpoint, weights_fingerprint
from sightline.reid.embedder import Embedder
from sightline.runtime.open import open_session
from sightline.synth.people import write_people
from sightline.training.config import DataSection, ModelSection, TrainingConfig, TrainSection, ValSection
from sightline.training.folders import open_dataset
from sightline.training.identities import Identities, Material
from sightline.training.observers import Unwatched
from sightline.training.schedule import rate_factor
from sightline.training.split import split_by_identity
from sightline.training.state import read_saved
from sightline.training.trainer import Outcome, TrainingStoppedError, train

TINY = TrainingConfig(
    model=ModelSection(arch="osnet_x0_25", input_size=[64, 32], reid_dim=32),
    data=DataSection(batch_size=8, num_instances=2, workers=0),
    train=TrainSection(epochs=3, warmup_epochs=1, lr=1e-3, backbone_lr=1e-3, ema=0.5),
    val=ValSection(val_split=0.34),
)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people"), ids=9, cameras=2, shots=3, seed=5, size_hw=(64, 32))


@pytest.fixture(scope="module")
def material(labelled: Path) -> Material:
    dataset = open_dataset(str(labelled))
    return Material("synthetic", *split_by_identity(dataset.train, share=0.34, seed=0))


class Nobody(Unwatched):
    """Watches without a word, and asks the run to stop after so many steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.steps: list[dict[str, float]] = []
        self.epochs: list[dict[str, float]] = []

    def epoch_begins(self, epoch: int, steps: int, first_step: int) -> None:
        self.total = steps

    def step_done(self, figures: dict[str, float]) -> None:
        self.steps.append(figures)
        if len(self.steps) == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    def epoch_done(self, epoch: int, figures: dict[str, float]) -> None:
        self.epochs.append(figures)


def in_project(
    project: Path,
    config: TrainingConfig,
    material: Material,
    observer: Nobody | None = None,
    resume: Path | None = None,
) -> Outcome:
    placed = replace(config, output=replace(config.output, project=str(project)))
    return train(Identities(placed, material), observer=observer or Nobody(), resume=resume)


def fingerprint(path: Path) -> str:
    return weights_fingerprint(read_checkpoint(path).state)


def same(a: Any, b: Any) -> bool:
    """Deep equality to the last bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.fixture(scope="module")
def finished(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    return in_project(tmp_path_factory.mktemp("finished"), TINY, material).folder


def test_a_run_leaves_the_files_the_framework_promises(finished: Path) -> None:
    written = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert written == {
        "config.yaml",
        "weights/best.pt",
        "weights/final.pt",
        "weights/checkpoint.pt",
        "history.csv",
        "curves.png",
    }
    saved = read_saved(finished / "weights" / "checkpoint.pt")
    promised = {"model_state_dict", "optimizer_state_dict", "scheduler_state_dict", "epoch", "best_metric"}
    assert promised <= saved.keys()
    assert saved["epoch"] == 3


def test_the_history_has_a_line_an_epoch_with_its_losses_and_its_validation(finished: Path) -> None:
    with (finished / "history.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["epoch"] for line in lines] == ["1", "2", "3"]
    for line in lines:
        total = float(line["softmax"]) + TINY.train.metric_weight * float(line["triplet"])
        assert float(line["loss"]) == pytest.approx(total, rel=1e-4)
        assert 0 <= float(line["val_map"]) <= 1


def test_nobody_is_both_learned_from_and_judged_on(material: Material) -> None:
    learned = {record.person for record in material.train}
    judged = {record.person for record in material.held_out}
    assert learned
    assert judged
    assert not learned & judged


def test_the_same_seed_is_the_same_run(finished: Path, material: Material, tmp_path: Path) -> None:
    again = in_project(tmp_path, TINY, material).folder
    assert (again / "history.csv").read_text() == (finished / "history.csv").read_text()
    assert fingerprint(again / "weights" / "final.pt") == fingerprint(finished / "weights" / "final.pt")


def test_another_seed_is_another_run(finished: Path, material: Material, tmp_path: Path) -> None:
    other = in_project(tmp_path, replace(TINY, train=replace(TINY.train, seed=1)), material).folder
    assert fingerprint(other / "weights" / "final.pt") != fingerprint(finished / "weights" / "final.pt")


@pytest.mark.parametrize("steps", [1, 4, 5])
def test_a_run_stopped_at_any_step_goes_on_as_if_it_had_not_been(
    finished: Path, material: Material, tmp_path: Path, steps: int
) -> None:
    first = in_project(tmp_path, TINY, material, Nobody(stop_after=steps))
    assert first.interrupted
    assert not (first.folder / "weights" / "final.pt").exists()
    second = in_project(tmp_path, TINY, material, resume=first.folder)
    assert (second.folder, second.interrupted) == (first.folder, False)
    resumed, straight = (read_saved(folder / "weights" / "checkpoint.pt") for folder in (first.folder, finished))
    assert resumed.keys() == straight.keys()
    del resumed["config"], straight["config"]  # they are of two projects
    assert [key for key in resumed if not same(resumed[key], straight[key])] == []
    assert (first.folder / "history.csv").read_text() == (finished / "history.csv").read_text()


def test_the_weights_that_are_kept_are_the_averaged_ones(finished: Path) -> None:
    saved = read_saved(finished / "weights" / "checkpoint.pt")
    final = read_checkpoint(finished / "weights" / "final.pt").state
    averaged = {name.removeprefix("module."): value for name, value in saved["ema_state_dict"].items()}
    assert torch.equal(final["conv1.conv.weight"], averaged["conv1.conv.weight"])
    assert not torch.equal(final["conv1.conv.weight"], saved["model_state_dict"]["conv1.conv.weight"])


def test_the_kept_weights_embed_by_themselves_for_their_card_says_how(finished: Path) -> None:
    with open_session(finished / "weights" / "best.pt") as session:
        card = session.card
        assert card.image is not None
        assert (card.arch, card.image.size_hw, card.weights) == ("osnet_x0_25", (64, 32), "trained")
        assert card.extra["head"] == "bnneck"
        crop = np.full((80, 40, 3), 90, np.uint8)
        assert Embedder(session).embed([crop]).vectors.shape == (1, 32)


def test_an_exported_run_gives_the_vectors_of_its_checkpoint(finished: Path, tmp_path: Path) -> None:
    weights, target = finished / "weights" / "final.pt", tmp_path / "final.onnx"
    command = [sys.executable, "-m", "sightline", "export", "-w", str(weights), "-o", str(target), "-q"]
    subprocess.run(command, check=True, capture_output=True)
    crops = [np.random.default_rng(seed).integers(0, 256, (90, 45, 3), dtype=np.uint8) for seed in range(3)]
    with open_session(weights) as torch_session, open_session(target) as onnx_session:
        cosines = (Embedder(torch_session).embed(crops).vectors * Embedder(onnx_session).embed(crops).vectors).sum(1)
    assert cosines.min() > 0.99999


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_batch(material: Material, tmp_path: Path) -> None:
    wild = replace(TINY, train=replace(TINY.train, lr=1e30, backbone_lr=1e30, warmup_epochs=0, clip=0.0, ema=0.0))
    with pytest.raises(TrainingStoppedError, match=r"the loss became (nan|inf) in epoch 1, batch \d.*first image is"):
        in_project(tmp_path, wild, material)


def test_a_checkpoint_is_not_written_over_by_a_run_whose_loss_is_no_number(
    finished: Path, material: Material, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    checkpoint = tmp_path / "weights" / "checkpoint.pt"
    before = checkpoint.read_bytes()
    saved = torch.load(checkpoint, weights_only=True)
    saved["model_state_dict"]["conv1.conv.weight"].fill_(float("nan"))
    torch.save(saved, checkpoint)
    poisoned = checkpoint.read_bytes()
    longer = replace(TINY, train=replace(TINY.train, epochs=5))
    with pytest.raises(TrainingStoppedError, match=r"weights/checkpoint.pt is the last good checkpoint"):
        in_project(tmp_path, longer, material, resume=tmp_path)
    assert checkpoint.read_bytes() == poisoned != before


def test_a_full_disk_is_one_error_and_the_old_checkpoint_survives(
    finished: Path, material: Material, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the disk: at it, writing fails as it does where no room is left."""
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    weights = {file.name: file.read_bytes() for file in (tmp_path / "weights").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    longer = replace(TINY, train=replace(TINY.train, epochs=4))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*weights/\w+\.pt: "):
            in_project(tmp_path, longer, material, resume=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {file.name: file.read_bytes() for file in (tmp_path / "weights").iterdir()} == weights
    assert in_project(tmp_path, longer, material, resume=tmp_path).history[-1]["epoch"] == 4


def test_another_network_cannot_go_on_with_a_run(finished: Path, material: Material, tmp_path: Path) -> None:
    other = replace(TINY, model=replace(TINY.model, arch="osnet_x0_5"))
    with pytest.raises(CheckpointError, match="is of another network or other identities than this run"):
        in_project(tmp_path, other, material, resume=finished)


def test_other_identities_cannot_go_on_with_a_run(finished: Path, material: Material, tmp_path: Path) -> None:
    everybody = replace(material, train=material.train + material.held_out)
    with pytest.raises(CheckpointError, match="is of another network or other identities than this run"):
        in_project(tmp_path, TINY, everybody, resume=finished)


def test_weights_alone_are_no_run_to_go_on_with(finished: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"final.pt holds weights only; expected the checkpoint.pt"):
        read_saved(finished / "weights" / "final.pt")


def test_a_gpu_that_is_not_there_is_asked_for_in_vain(material: Material, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    config = replace(TINY, advanced=replace(TINY.advanced, device="cuda"))
    with pytest.raises(BackendError, match="torch sees no GPU; pass --device cpu"):
        in_project(tmp_path, config, material)


def test_a_run_that_gets_no_better_stops_early(material: Material, tmp_path: Path) -> None:
    still = replace(TINY.train, lr=0.0, backbone_lr=0.0, epochs=9, ema=0.0)
    config = replace(TINY, train=still, val=replace(TINY.val, patience=2, best_by="map"))
    outcome = in_project(tmp_path, config, material)
    assert outcome.stopped_early
    assert len(outcome.history) < 9


def test_a_resting_backbone_does_not_move_and_its_head_does(material: Material, tmp_path: Path) -> None:
    resting = replace(TINY, train=replace(TINY.train, epochs=1, freeze_epochs=1, ema=0.0, warmup_epochs=0))
    folder = in_project(tmp_path, resting, material).folder
    moved = read_checkpoint(folder / "weights" / "final.pt").state
    from sightline.nets.reid import build_reid

    classes = len({record.person for record in material.train})
    fresh = build_reid("osnet_x0_25", num_classes=classes, reid_dim=32, seed=0).state_dict()
    assert torch.equal(moved["conv1.conv.weight"], fresh["conv1.conv.weight"])
    assert not torch.equal(moved["classifier.weight"], fresh["classifier.weight"])


def test_the_time_spent_waiting_for_images_is_told_and_not_kept(material: Material, tmp_path: Path) -> None:
    watcher = Nobody()
    outcome = in_project(tmp_path, replace(TINY, train=replace(TINY.train, epochs=1)), material, watcher)
    assert 0 < watcher.epochs[0]["wait"] < 1
    assert "wait" not in outcome.history[0]


def test_batches_that_are_too_few_for_a_step_do_not_leak_into_the_next_epoch(
    material: Material, tmp_path: Path
) -> None:
    accumulating = replace(TINY, train=replace(TINY.train, accumulate=2, epochs=2))
    watcher = Nobody()
    straight = in_project(tmp_path / "straight", accumulating, material, watcher)
    assert watcher.total % 2 == 1  # or nothing would be left over
    stopped = in_project(tmp_path / "stopped", accumulating, material, Nobody(stop_after=watcher.total + 2))
    resumed = in_project(tmp_path / "stopped", accumulating, material, resume=stopped.folder)
    final = "weights/final.pt"
    assert fingerprint(resumed.folder / final) == fingerprint(straight.folder / final)


def test_two_processes_train_one_network(labelled: Path, tmp_path: Path) -> None:
    flags = (
        "--arch osnet_x0_25 --input-size 64 32 --reid-dim 32 --batch-size 4 --num-instances 2 --epochs 1 --workers 0"
    )
    port = 20000 + os.getpid() % 20000
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    command += ["-m", "sightline", "train", "--dataset", str(labelled), "--project", str(tmp_path), *flags.split()]
    command += ["--warmup-epochs", "0", "--val-split", "0.34"]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [path.name for path in tmp_path.iterdir()] == ["exp"]
    assert (tmp_path / "exp" / "weights" / "final.pt").exists()
    assert done.stdout.count("epoch 1/1") == 1


def test_sigterm_from_outside_saves_and_says_how_to_go_on(labelled: Path, tmp_path: Path) -> None:
    flags = (
        "--arch osnet_x0_25 --input-size 64 32 --reid-dim 32 --batch-size 8 --num-instances 2 --epochs 500 --workers 0"
    )
    command = [sys.executable, "-m", "sightline", "train", "--dataset", str(labelled), "--project", str(tmp_path)]
    running = subprocess.Popen([*command, *flags.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "exp" / "history.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert f"go on with: sightline train --resume {tmp_path / 'exp'}" in errors
    assert (tmp_path / "exp" / "weights" / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 1 / 20),  # the first of two warm-up epochs of ten steps
        (19, 1.0),
        (20, 1.0),  # the cosine begins at its top
        (60, 0.5),  # half of the remaining eight epochs
        (100, 0.0),
    ],
)
def test_rates_rise_in_a_line_and_fall_in_half_a_cosine(step: int, factor: float) -> None:
    config = TrainSection(epochs=10, warmup_epochs=2)
    assert rate_factor(step, config, steps_per_epoch=10) == pytest.approx(factor)


@pytest.mark.parametrize(("step", "factor"), [(39, 1.0), (40, 0.1), (69, 0.1), (70, 0.01)])
def test_rates_fall_at_the_milestones(step: int, factor: float) -> None:
    config = TrainSection(epochs=10, warmup_epochs=0, schedule="step", milestones=[4, 7])
    assert rate_factor(step, config, steps_per_epoch=10) == pytest.approx(factor)
