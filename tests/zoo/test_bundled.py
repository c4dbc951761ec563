"""The models that come with the package."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from sightline.ball.background import median_of
from sightline.ball.metrics import Counts, score
from sightline.ball.models import open_ball_model, tracker_of
from sightline.cli import main
from sightline.pipeline.ball import BallOptions, follow
from sightline.runtime.open import open_session
from sightline.synth.court import Rally
from sightline.types import Frame
from sightline.zoo import BUNDLED, bundled

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("task", BUNDLED)
def test_its_card_says_what_it_is_and_that_it_may_be_used(task: str) -> None:
    with open_session(bundled(task)) as session:
        card = session.card
    assert (card.task, card.weights, card.licence) == (task, "trained", "Apache-2.0")
    assert "painted" in card.trained_on


@pytest.mark.parametrize("task", BUNDLED)
def test_its_weights_are_those_of_the_log(task: str) -> None:
    with open_session(bundled(task)) as session:
        assert session.card.fingerprint in (ROOT / "docs/log.md").read_text(encoding="utf-8")


def test_it_is_small() -> None:
    assert bundled("ball").stat().st_size < 4e6


def test_it_finds_the_ball_in_rallies_it_has_never_seen() -> None:
    """A floor, below the 0.92 of the benchmark: 60 frames of two rallies are few."""
    counts = Counts()
    with open_ball_model(bundled("ball")) as session:
        for seed in (90_001, 90_002):
            rally = Rally(seed, frames=64)
            pictures = [image for image, _ in rally]
            frames = (Frame(image, index, index / 30) for index, image in enumerate(pictures))
            background = median_of(pictures)
            options = BallOptions(eval_mode="nonoverlap")
            points = list(follow(frames, tracker_of(session), background=background, options=options))
            counts += score(rally.labels, points, size_hw=rally.size_hw).counts
    assert counts.figures()["f1"] > 0.7


def test_without_a_model_the_ball_is_looked_for_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, (image, _) in enumerate(Rally(7, frames=16)):
        cv2.imwrite(str(folder / f"{index}.png"), image)
    assert main(["ball", str(folder), "-o", str(tmp_path / "ball.csv"), "--eval-mode", "nonoverlap"]) == 0
    assert "trained on 320 painted rallies" in capsys.readouterr().out
    assert main(["ball", str(folder), "-o", str(tmp_path / "ball.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "tracknet_x0_25.onnx"
