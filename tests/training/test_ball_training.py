"""The ball networks on the trainer: they learn, they stop and go on, and what they leave is used as it is."""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sightline.ball.metrics import score
from sightline.ball.models import open_ball_model, repairer_of, tracker_of
from sightline.ball.trajectory import write_trajectory
from sightline.errors import CheckpointError
from sightline.nets.ball_checkpoint import load_ball
from sightline.nets.checkpoint import read_checkpoint, weights_fingerprint
from sightline.nets.inpaintnet import build_inpaintnet
from sightline.nets.tracknet import TrackNet, build_tracknet
from sightline.pipeline.ball import BallOptions, follow
from sightline.sources import open_recording
from sightline.synth.rallies import write_rallies
from sightline.training.ball.config import (
    InpaintNetConfig,
    InpaintNetData,
    InpaintNetLoop,
    TrackNetConfig,
    TrackNetData,
    TrackNetLoop,
    TrackNetModel,
)
from sightline.training.ball.frames import read_median
from sightline.training.ball.gaps import with_holes
from sightline.training.ball.inpaintnet import Repairing
from sightline.training.ball.rallies import Rallies, open_rallies
from sightline.training.ball.tracknet import Tracking
from sightline.training.ball.validation import heats_of
from sightline.training.course import Course
from sightline.training.observers import Unwatched
from sightline.training.processes import Processes
from sightline.training.state import read_saved
from sightline.training.trainer import Outcome, train

TRACKER = TrackNetConfig(
    model=TrackNetModel(width="x0_25", seq_len=4),
    data=TrackNetData(batch_size=4, workers=0, crop=[64, 96], step=2, flip=0.5, colour_jitter=True),
    train=TrackNetLoop(epochs=2, ema=0.5),
)
REPAIRER = InpaintNetConfig(
    data=InpaintNetData(batch_size=8, workers=0), train=InpaintNetLoop(epochs=3, milestones=[1, 2], ema=0.5)
)

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def rallies(tmp_path_factory: pytest.TempPathFactory) -> Rallies:
    folder = tmp_path_factory.mktemp("data")
    write_rallies(folder, rallies=3, frames=22, seed=3)
    return open_rallies(folder)


class StopsAfter(Unwatched):
    """Asks the run to stop after so many steps."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def step_done(self, figures: dict[str, float]) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


def course(rallies: Rallies, project: Path, config: TrackNetConfig | InpaintNetConfig) -> Course[Any, Any]:
    output = replace(config.output, project=str(project))
    if isinstance(config, TrackNetConfig):
        return Tracking(replace(config, output=output), rallies)
    return Repairing(replace(config, output=output), rallies)


def trained(rallies: Rallies, project: Path, config: TrackNetConfig | InpaintNetConfig, **how: Any) -> Outcome:
    return train(course(rallies, project, config), **how)


@pytest.fixture(scope="module")
def finished(rallies: Rallies, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(rallies, tmp_path_factory.mktemp("finished"), TRACKER).folder


@pytest.fixture(scope="module")
def repairer(rallies: Rallies, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(rallies, tmp_path_factory.mktemp("repairer"), REPAIRER).folder


@pytest.fixture(scope="module")
def runs(finished: Path, repairer: Path) -> dict[str, Path]:
    return {"tracknet": finished, "inpaintnet": repairer}


def same(one: Any, other: Any) -> bool:
    """Deep equality to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def history_of(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("config", "steps"), [(TRACKER, 1), (TRACKER, 5), (REPAIRER, 2)])
def test_a_run_stopped_at_any_step_goes_on_as_if_it_had_not_been(
    rallies: Rallies, runs: dict[str, Path], tmp_path: Path, config: TrackNetConfig | InpaintNetConfig, steps: int
) -> None:
    stopped = trained(rallies, tmp_path, config, observer=StopsAfter(steps))
    assert stopped.interrupted
    trained(rallies, tmp_path, config, resume=stopped.folder)
    straight = runs[config.model.arch]
    resumed, never_stopped = (read_saved(run / "weights" / "checkpoint.pt") for run in (stopped.folder, straight))
    del resumed["config"], never_stopped["config"]  # they are of two projects
    assert [key for key in resumed if not same(resumed[key], never_stopped[key])] == []
    assert history_of(stopped.folder) == history_of(straight)


def test_the_history_has_the_figures_of_the_paper(finished: Path, repairer: Path) -> None:
    for run in (finished, repairer):
        for line in history_of(run):
            assert {"epoch", "loss", "lr", "accuracy", "precision", "recall", "f1", "miss"} <= line.keys()
            assert float(line["lr"]) in {1e-3, 1e-4, 1e-5}
    assert "val_loss" in history_of(finished)[0]


def test_a_tracker_is_kept_with_all_that_is_needed_to_use_it(finished: Path, rallies: Rallies) -> None:
    loaded = load_ball(finished / "weights" / "best.pt")
    assert isinstance(loaded.net, TrackNet)
    card = loaded.card
    assert (card.task, card.arch, card.weights, card.trained_on) == ("ball", "tracknet", "trained", rallies.name)
    assert (card.extra["seq_len"], card.extra["bg_mode"], card.extra["width"]) == ("4", "concat", "x0_25")


def test_a_repair_network_is_kept_with_the_length_it_learned(repairer: Path) -> None:
    with open_ball_model(repairer / "weights" / "best.pt") as session:
        assert repairer_of(session).seq_len == 16
        assert session.card.weights == "trained"


def test_the_validation_is_what_the_tracker_does_in_use(finished: Path, rallies: Rallies) -> None:
    with open_ball_model(finished / "weights" / "final.pt") as session:
        tracker = tracker_of(session)
        counts = []
        for rally in Tracking(TRACKER, rallies)._held_out:
            assert rally.rally.median is not None
            background = read_median(rally.rally.median)
            with open_recording(rally.rally.frames) as frames:
                options = BallOptions(eval_mode="nonoverlap", batch=1)
                found = list(follow(frames, tracker, background=background, options=options))
            counts.append(score(rally.points, found, size_hw=rally.size_hw).counts)
    expected = reduce(add, counts)
    last = history_of(finished)[-1]
    assert expected.frames == 22
    assert float(last["accuracy"]) == pytest.approx(expected.accuracy, abs=1e-5)
    assert float(last["miss"]) == pytest.approx(expected.miss_rate, abs=1e-5)


def test_every_frame_is_judged_once_in_the_window_it_belongs_to(rallies: Rallies) -> None:
    """Against the network on one window after another, the last of them filled up with its last frame."""
    tracking = Tracking(TRACKER, rallies)
    tracking.make_ready()
    (rally,) = tracking._held_out
    net = tracking.network().eval()
    parts = list(heats_of(net, rally, tracking._cache))
    assert [frame for frames, _ in parts for frame in frames] == list(range(22))
    footage = tracking._cache.open(tracking._cache.path_of(rally.rally))
    expected = []
    for places in ([0, 1, 2, 3], [4, 5, 6, 7], [16, 17, 18, 19], [20, 21, 21, 21]):
        planes = np.concatenate([footage.front, *footage.planes[places]])
        with torch.no_grad():
            expected.append(net(torch.from_numpy(planes).float()[None] / 255)[0])
    found = torch.cat([heats for _, heats in parts])
    wanted = torch.cat([*expected[:3], expected[3][:2]])
    assert torch.allclose(found[[*range(8), *range(16, 22)]], wanted, atol=1e-5)


def test_a_tracker_that_finds_every_ball_is_told_so(rallies: Rallies, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that gives back the discs of the labels, in the place of one that has learned."""
    from sightline.training.ball import validation
    from sightline.training.ball.heatmaps import centres_of, discs

    tracking = Tracking(TRACKER, rallies)
    tracking.make_ready()

    def perfect(net: TrackNet, of: Any, cache: Any) -> Any:
        centres = torch.from_numpy(centres_of(of.points, of.size_hw))
        yield range(22), discs(centres, (288, 512)) * 0.9

    monkeypatch.setattr(validation, "heats_of", perfect)
    judgement = tracking.judge(build_tracknet(4, "concat", width="x0_25", seed=0))
    assert judgement.score == judgement.figures["f1"] == 1
    assert 0 < judgement.figures["val_loss"] < 0.01


def test_judging_leaves_the_network_in_the_mode_it_was_in(rallies: Rallies) -> None:
    tracking, repairing = Tracking(TRACKER, rallies), Repairing(REPAIRER, rallies)
    tracking.make_ready()
    for net in (build_tracknet(4, "concat", width="x0_25", seed=0).train(), build_inpaintnet(seed=0).train()):
        first = (tracking if isinstance(net, TrackNet) else repairing).judge(net)  # type: ignore[arg-type]
        assert net.training
        assert first == (tracking if isinstance(net, TrackNet) else repairing).judge(net)  # type: ignore[arg-type]


def fitted_to_one_batch(learned: Course[Any, Any], *, steps: int) -> tuple[float, float]:
    """The loss at the start, and in the end."""
    learned.make_ready()
    batch = next(iter(learned.loader(rank=0, world=1)))
    net, losses = learned.network().train(), learned.losses()
    optimizer = torch.optim.Adam(net.parameters(), 0.003)
    history = []
    for _ in range(steps):
        loss, _ = learned.step(net, losses, batch, processes=ALONE, amp="off")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        history.append(loss.item())
    return history[0], history[-1]


def test_a_tracker_learns_where_the_ball_is(rallies: Rallies) -> None:
    data = replace(TRACKER.data, mixup=0.0, flip=0.0, colour_jitter=False, crop=[64, 64])
    first, last = fitted_to_one_batch(Tracking(replace(TRACKER, data=data), rallies), steps=40)
    assert last < 0.1 * first


def test_a_repair_network_learns_where_the_ball_was(rallies: Rallies) -> None:
    first, last = fitted_to_one_batch(Repairing(REPAIRER, rallies), steps=80)
    assert last < 0.1 * first


def test_a_repair_network_is_judged_by_the_gaps_of_a_tracker_where_there_is_one(tmp_path: Path) -> None:
    write_rallies(tmp_path / "data", rallies=2, frames=30, seed=4)
    rallies = open_rallies(tmp_path / "data")
    (rally,) = Repairing(REPAIRER, rallies)._held_out
    without_tracker = rally[1]
    assert without_tracker == with_holes(rally[0].points, seed=0)
    match = rallies.held_out[0].match
    (match / "predicted_csv").mkdir()
    missed_all = [replace(point, visible=False) for point in rally[0].points]
    write_trajectory(match / "predicted_csv" / rallies.held_out[0].labels.name, missed_all)
    judgement = Repairing(REPAIRER, rallies).judge(build_inpaintnet(seed=0))
    labels = rally[0].points
    assert judgement.figures["recall"] == 0  # nothing was seen, so nothing is invented
    assert judgement.score == sum(not point.visible for point in labels) / len(labels)


def test_training_starts_from_weights_of_the_same_network_only(
    finished: Path, repairer: Path, rallies: Rallies, tmp_path: Path
) -> None:
    weights = finished / "weights" / "final.pt"
    going_on = replace(TRACKER, model=replace(TRACKER.model, pretrained=str(weights)))
    started = Tracking(going_on, rallies).network()
    assert weights_fingerprint(started.state_dict()) == weights_fingerprint(read_checkpoint(weights).state)
    for other in (
        replace(going_on.model, seq_len=3),
        replace(going_on.model, pretrained=str(repairer / "weights" / "best.pt")),
    ):
        with pytest.raises(CheckpointError, match="of another network than the one to train"):
            trained(rallies, tmp_path, replace(TRACKER, model=other))
    assert list(tmp_path.iterdir()) == []


def test_mixing_is_part_of_the_step(rallies: Rallies) -> None:
    plain = Tracking(replace(TRACKER, data=replace(TRACKER.data, mixup=0.0)), rallies)
    mixing = Tracking(TRACKER, rallies)
    plain.make_ready()
    net = plain.network().eval()
    batch = next(iter(mixing.loader(rank=0, world=1)))
    with torch.no_grad():
        as_one, _ = plain.step(net, plain.losses(), batch, processes=ALONE, amp="off")
        as_two, _ = mixing.step(net, plain.losses(), batch, processes=ALONE, amp="off")
        alike = batch._replace(shares=torch.ones(4))
        unmixed, _ = mixing.step(net, plain.losses(), alike, processes=ALONE, amp="off")
    assert as_one.item() != as_two.item()
    assert as_one.item() == unmixed.item()
