"""`sightline eval --task ball`: predicted trajectories held against labels."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from sightline._version import __version__
from sightline.ball.metrics import TOLERANCE, Counts, Score, frames_of_rally, read_rally_frames, score
from sightline.ball.trajectory import columns_from, read_trajectory
from sightline.cli.metrics_file import write_metrics
from sightline.cli.model_arguments import size_hw
from sightline.errors import ConfigError


def add_ball_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where the ball is (--task ball)")
    group.add_argument("--pred", type=Path, metavar="CSV", help="what was predicted: a file, or a folder of them")
    group.add_argument(
        "--labels", type=Path, metavar="CSV", help="what is right: a file, or a folder of the same names"
    )
    group.add_argument("--frame-size", type=size_hw, metavar="HEIGHTxWIDTH", help="of the video, e.g. 720x1280")
    group.add_argument(
        "--tolerance", type=_distance, default=TOLERANCE, metavar="PX", help="in 512×288 pixels (default: 4)"
    )
    group.add_argument("--columns", metavar="MAP", help="names of the labels' columns, e.g. frame=id,visible=seen,x=cx")
    group.add_argument("--rally-frames", type=Path, metavar="JSON", help="the frames that count: drop_frame.json")


def _distance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e4:
        raise argparse.ArgumentTypeError(f"{text!r} is not a distance in pixels")
    return value


def require_ball_arguments(args: argparse.Namespace) -> None:
    """Raises `ConfigError` for what is missing, or belongs to the other task."""
    for name, flag in (("pred", "--pred"), ("labels", "--labels"), ("frame_size", "--frame-size")):
        if getattr(args, name) is None:
            raise ConfigError(f"--task ball needs {flag}; give --pred CSV --labels CSV --frame-size HEIGHTxWIDTH")
    for name in ("exp", "weights", "onnx", "csv", "dataset", "pairs"):
        if getattr(args, name) is not None:
            raise ConfigError(f"--{name} is of --task reid; with --task ball files are compared, and no model is run")


def refuse_ball_arguments(args: argparse.Namespace) -> None:
    for name, flag in (("pred", "--pred"), ("labels", "--labels"), ("rally_frames", "--rally-frames")):
        if getattr(args, name) is not None:
            raise ConfigError(f"{flag} is of --task ball; add --task ball, or leave it out")


def run_ball(args: argparse.Namespace) -> int:
    require_ball_arguments(args)
    total, files = Score(Counts()), 0
    for pred, labels in _file_pairs(args.pred, args.labels):
        total, files = total + _score(args, pred, labels), files + 1
    if not total.counts.frames:
        raise ConfigError(f"no frame of {args.labels} counts; expected labels inside the frames of --rally-frames")
    found = {"files": files, "tolerance": args.tolerance, **asdict(total), **total.counts.figures()}
    found = {"version": __version__, "pred": str(args.pred), "labels": str(args.labels), **found}
    text = json.dumps({key: value for key, value in found.items() if key != "counts"}, indent=2)
    if args.out is not None:
        write_metrics(args.out, text)
    if args.json:
        print(text)
    elif not args.quiet:
        print("\n".join(_table(args, total, files)))
    return 0


def _file_pairs(pred: Path, labels: Path) -> Iterator[tuple[Path, Path]]:
    """One file against one, or each label file of a folder against its namesake."""
    if not labels.is_dir():
        yield pred, labels
        return
    names = sorted(path.relative_to(labels) for path in labels.rglob("*.csv"))
    if not names:
        raise ConfigError(f"{labels} holds no label CSV; expected a CSV, or a folder with some")
    missing = [name for name in names if not (pred / name).is_file()]
    if missing:
        raise ConfigError(f"{pred} lacks {len(missing)} of {len(names)} predictions, first {missing[0]}")
    yield from ((pred / name, labels / name) for name in names)


def _score(args: argparse.Namespace, pred: Path, labels: Path) -> Score:
    columns = columns_from(args.columns) if args.columns else None
    right = read_trajectory(labels, columns=columns, size_hw=args.frame_size)
    found = read_trajectory(pred, size_hw=args.frame_size)
    spans = None if args.rally_frames is None else read_rally_frames(args.rally_frames)
    frames = None if spans is None else frames_of_rally(spans, labels)
    return score(right, found, size_hw=args.frame_size, tolerance=args.tolerance, frames=frames)


def _table(args: argparse.Namespace, total: Score, files: int) -> Iterator[str]:
    counts = total.counts
    yield f"{args.pred} against {args.labels}"
    rallies = "1 file" if files == 1 else f"{files:,} files"
    yield f"  {counts.frames:,} frames of {rallies}, tolerance {args.tolerance:g} px"
    yield ""
    meanings = ("found", "rightly none", "elsewhere", "none there", "missed")
    for (name, value), meaning in zip(asdict(counts).items(), meanings, strict=True):
        yield f"  {name.upper():<12}{value:>9,}  {meaning}"
    for name in ("accuracy", "precision", "recall", "f1", "miss_rate"):
        yield f"  {name.replace('_', ' '):<12}{getattr(counts, name):>9.2%}"
    if total.unanswered:
        yield f"  note: {total.unanswered:,} labelled frames have no row in the prediction; counted as no ball found"
    if total.unlabelled:
        yield f"  note: {total.unlabelled:,} rows of the prediction have no label; not counted"
