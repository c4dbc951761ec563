"""The kinds of `sightline prepare` that are about the ball."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType

from sightline.cli.model_arguments import positive
from sightline.errors import ConfigError

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "shuttlecock": "the videos of the Shuttlecock Trajectory Dataset as pictures, with their backgrounds",
        "rallies": "painted badminton with exact labels, laid out as that data set",
    }
)

Bar = Callable[..., AbstractContextManager[Callable[[], None]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rallies", type=positive, default=32, metavar="N", help="to paint (default: %(default)s)")
    parser.add_argument("--frames", type=positive, default=120, metavar="N", help="of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is painted (default: %(default)s)")


def run(args: argparse.Namespace, *, bar: Bar) -> int:
    return _paint(args, bar) if args.kind == "rallies" else _extract(args, bar)


def _paint(args: argparse.Namespace, bar: Bar) -> int:
    from sightline.synth.rallies import write_rallies

    if args.output_dir is None:
        raise ConfigError("nowhere to write: pass --output-dir")
    folder: Path = args.output_dir
    with bar(args.rallies, quiet=args.quiet) as done:
        learned, held_out = write_rallies(folder, rallies=args.rallies, frames=args.frames, seed=args.seed, done=done)
    if not args.quiet:
        print(f"{folder}: {learned} rallies to train on, {held_out} held out, {args.frames} frames each")
    return 0


def _extract(args: argparse.Namespace, bar: Bar) -> int:
    from sightline.training.ball.config import TrackNetData
    from sightline.training.ball.extract import extract_all, rallies_with_video

    if args.dataset_dir is None:
        raise ConfigError("where is the data set? pass --dataset-dir to prepare shuttlecock")
    rallies = rallies_with_video(args.dataset_dir)
    with bar(len(rallies), quiet=args.quiet) as done:
        extract_all(rallies, median_frames=TrackNetData().median_frames, done=done)
    if not args.quiet:
        print(f"{args.dataset_dir}: the frames of {len(rallies)} rallies")
    return 0
