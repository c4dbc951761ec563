"""Does training find the ball? TrackNet x0_25 from scratch on painted rallies, judged on halls it has never seen.

    python benchmarks/ball_quality.py                # an hour and a half on one core; to benchmarks/results
    python benchmarks/ball_quality.py --keep tracknet_x0_25.onnx   # how the bundled model was made
    python benchmarks/ball_quality.py --rallies 16 --epochs 1   # a look at it; nothing is kept

The network sees crops about the ball while it learns, and whole pictures when it is judged: in use, as
`sightline ball` runs it, on rallies of another seed, and by the paper's count at 4 pixels of 512x288.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from measuring import environment, keep
from sightline.ball.ensemble import EvalMode
from sightline.ball.metrics import Counts, score
from sightline.ball.models import open_ball_model, tracker_of
from sightline.deploy.ball_export import BallExportPlan, export_ball
from sightline.nets.ball_checkpoint import load_ball
from sightline.pipeline.ball import BallOptions, follow
from sightline.sources import open_recording
from sightline.synth.rallies import write_rallies
from sightline.training.ball.config import TrackNetConfig, TrackNetData, TrackNetLoop, TrackNetModel
from sightline.training.ball.frames import read_median
from sightline.training.ball.rallies import labelled, open_rallies, rallies_of
from sightline.training.ball.tracknet import Tracking
from sightline.training.observers import Unwatched
from sightline.training.trainer import train

LEARNED, UNSEEN, FRAMES = 320, 12, 64
MODES: tuple[EvalMode, ...] = ("weight", "nonoverlap")
CONFIG = TrackNetConfig(
    model=TrackNetModel(width="x0_25", seq_len=8, bg_mode="concat"),
    data=TrackNetData(batch_size=8, workers=0, step=4, crop=[96, 160], mixup=0.0, flip=0.5, colour_jitter=True),
    train=TrackNetLoop(epochs=20, lr=3e-3, schedule="cosine", ema=0.99),
)


class Lines(Unwatched):
    """A line an epoch."""

    def epoch_done(self, epoch: int, figures: dict[str, float]) -> None:
        print(f"epoch {epoch}  " + "  ".join(f"{name} {value:.4g}" for name, value in figures.items()), file=sys.stderr)


def trained(folder: Path, *, rallies: int, epochs: int) -> tuple[Path, dict[str, float]]:
    """The weights that did best on rallies held out, and what it took."""
    write_rallies(folder / "data", rallies=rallies, frames=FRAMES, seed=1)
    config = replace(
        CONFIG,
        train=replace(CONFIG.train, epochs=epochs),
        output=replace(CONFIG.output, project=str(folder / "runs")),
    )
    course = Tracking(config, open_rallies(folder / "data"))
    course.make_ready()
    started = time.perf_counter()
    outcome = train(course, observer=Lines())
    minutes = (time.perf_counter() - started) / 60
    return outcome.folder / "weights" / "best.pt", {"minutes": minutes, "last loss": outcome.history[-1]["loss"]}


def keep_model(weights: Path, target: Path, *, rallies: int) -> None:
    """With a card that says what it learned from."""
    ball = load_ball(weights)
    trained_on = f"{rallies} painted rallies (sightline.synth.rallies, seed 1)"
    ball = replace(ball, card=replace(ball.card, licence="Apache-2.0", trained_on=trained_on))
    export_ball(ball, target, plan=BallExportPlan(batch=None))


def judged(weights: Path, folder: Path, *, unseen: int) -> dict[str, Counts]:
    """Each way to average windows, over rallies of another seed."""
    write_rallies(folder / "unseen", rallies=unseen, frames=FRAMES, seed=2)
    exported = folder / "tracker.onnx"
    export_ball(load_ball(weights), exported, plan=BallExportPlan(batch=None))
    totals: dict[str, Counts] = dict.fromkeys(MODES, Counts())
    with open_ball_model(exported) as session:
        tracker = tracker_of(session)
        for found in (*rallies_of(folder / "unseen" / "train"), *rallies_of(folder / "unseen" / "val")):
            rally = labelled(found, columns="", source_hw=(288, 512))
            assert found.median is not None
            background = read_median(found.median)
            for mode in MODES:
                with open_recording(found.frames) as frames:
                    points = list(follow(frames, tracker, background=background, options=BallOptions(eval_mode=mode)))
                totals[mode] += score(rally.points, points, size_hw=rally.size_hw).counts
    return totals


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rallies", type=int, default=LEARNED)
    parser.add_argument("--epochs", type=int, default=CONFIG.train.epochs)
    parser.add_argument("--unseen", type=int, default=UNSEEN)
    parser.add_argument("--keep", type=Path, metavar="ONNX", help="where to export what was trained")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights, took = trained(Path(folder), rallies=args.rallies, epochs=args.epochs)
        if args.keep is not None:
            keep_model(weights, args.keep, rallies=args.rallies)
        rows = {mode: counts.figures() for mode, counts in judged(weights, Path(folder), unseen=args.unseen).items()}
    results = {
        "environment": environment(("sightline", "torch", "onnxruntime")),
        "rallies": {"learned from": args.rallies, "unseen": args.unseen, "frames": FRAMES},
        "epochs": args.epochs,
        "training": took,
        "rows": rows,
    }
    print(json.dumps(results, indent=2))
    if (args.rallies, args.epochs, args.unseen) == (LEARNED, CONFIG.train.epochs, UNSEEN):
        keep("ball_quality", results)


if __name__ == "__main__":
    main()
