"""`sightline eval --task mot GT RESULTS`: tracks held against the true ones."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sightline._version import __version__
from sightline.cli.metrics_file import write_metrics
from sightline.cli.model_arguments import positive
from sightline.errors import ConfigError
from sightline.tracking.evaluation import Evaluation, evaluate
from sightline.tracking.mot_files import read_mot
from sightline.tracking.mot_overlaps import ENOUGH
from sightline.tracking.returners import Identities, Visit, read_identities, score_returners, visits_of

_RATES = ("HOTA", "DetA", "AssA", "LocA", "IDF1", "IDP", "IDR", "MOTA", "MOTP")
_COUNTS = ("FP", "FN", "IDSW", "Frag", "MT", "PT", "ML", "frames", "tracks", "boxes")
_TRUTH_NAMES = ("gt/gt.txt", "gt.txt")  # within a folder a clip
_FOUND_NAMES = ("tracks.csv", "test.txt")
_OTHERS = ("exp", "weights", "onnx", "csv", "dataset", "pairs", "pred", "labels", "rally_frames")


def add_mot_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which box is which (--task mot)")
    group.add_argument(
        "tracks",
        nargs="*",
        type=Path,
        metavar="TRACKS",
        help="the true tracks and those found, GT RESULTS: two MOT files, or two folders of them",
    )
    group.add_argument("--iou", type=_overlap, metavar="SHARE", help="from which boxes are the same (default: 0.5)")
    group.add_argument(
        "--events", type=Path, metavar="JSONL", help="whom each track was taken for: says whether returners were known"
    )
    group.add_argument("--fps", type=positive, metavar="N", help="of the clips, to time absences (default: 25)")


def _overlap(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an overlap; expected more than 0, and at most 1")
    return value


def refuse_mot_arguments(args: argparse.Namespace) -> None:
    if args.tracks:
        raise ConfigError(f"{args.tracks[0]}: two files of tracks are of --task mot; name a model with its flag")
    for name in ("iou", "events", "fps"):
        if getattr(args, name) is not None:
            raise ConfigError(f"--{name} is of --task mot; add --task mot, or leave it out")


def run_mot(args: argparse.Namespace) -> int:
    clips = _clips(args)
    identities = None if args.events is None else read_identities(args.events)
    scores: dict[str, Evaluation] = {}
    visits: list[Visit] = []
    for clip in clips:
        truth, found = read_mot(clip.truth), read_mot(clip.found)
        scores[clip.name] = evaluate(truth, found, enough=args.iou or ENOUGH)
        if identities is not None:
            given = _given(identities, clip, alone=len(clips) == 1)
            visits += visits_of(truth, found, identities=given, fps=args.fps or 25, camera=clip.name)
    returners = None if identities is None else score_returners(visits).figures()
    text = _report(args, scores, returners)
    if args.out is not None:
        write_metrics(args.out, text)
    if args.json:
        print(text)
    elif not args.quiet:
        print("\n".join(_table(args, scores, returners)))
    return 0


# What is compared


@dataclass(frozen=True)
class _Clip:
    name: str
    truth: Path
    found: Path


def _clips(args: argparse.Namespace) -> list[_Clip]:
    """Raises `ConfigError` for what is missing, or belongs to another task."""
    for name in _OTHERS:
        if getattr(args, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} is not of --task mot; expected GT RESULTS alone")
    if len(args.tracks) != 2:
        raise ConfigError("--task mot needs two files or folders: the true tracks, then those found; give GT RESULTS")
    truth, found = args.tracks
    if not truth.is_dir():
        return [_Clip(truth.stem, truth, found)]
    return list(_clips_of_folders(truth, found))


def _clips_of_folders(truth: Path, found: Path) -> Iterator[_Clip]:
    named = {path.stem: path for path in sorted(truth.glob("*.txt"))}
    for folder in sorted(path for path in truth.iterdir() if path.is_dir()):
        there = next((folder / name for name in _TRUTH_NAMES if (folder / name).is_file()), None)
        if there is not None:
            named[folder.name] = there
    if not named:
        raise ConfigError(f"{truth} holds no true tracks; expected NAME/gt/gt.txt, NAME/gt.txt or NAME.txt in it")
    for name, path in named.items():
        candidates = [found / f"{name}.txt", *(found / name / file for file in _FOUND_NAMES)]
        answer = next((candidate for candidate in candidates if candidate.is_file()), None)
        if answer is None:
            raise ConfigError(f"{found} lacks the tracks of {name}; expected {name}.txt or {name}/tracks.csv in it")
        yield _Clip(name, path, answer)


def _given(identities: Identities, clip: _Clip, *, alone: bool) -> Mapping[int, str | None]:
    """The identities of one camera. Where one clip and one camera are all there is, they need not share a name."""
    if alone and len(identities) == 1:
        return next(iter(identities.values()))
    if clip.name not in identities:
        there = ", ".join(sorted(identities)) or "none"
        raise ConfigError(f"the events have no camera {clip.name}; those with events: {there}")
    return identities[clip.name]


# What is said


def _report(args: argparse.Namespace, scores: Mapping[str, Evaluation], returners: Mapping[str, float] | None) -> str:
    found = {
        "version": __version__,
        "truth": str(args.tracks[0]),
        "found": str(args.tracks[1]),
        "iou": args.iou or ENOUGH,
        "clips": {name: score.figures() for name, score in scores.items()},
        "combined": _sum(scores).figures(),
    }
    if returners is not None:
        found["returners"] = {name: None if math.isnan(value) else value for name, value in returners.items()}
    return json.dumps(found, indent=2)


def _sum(scores: Mapping[str, Evaluation]) -> Evaluation:
    return sum(scores.values(), Evaluation())


def _table(
    args: argparse.Namespace, scores: Mapping[str, Evaluation], returners: Mapping[str, float] | None
) -> Iterator[str]:
    yield f"{args.tracks[1]} against {args.tracks[0]}, boxes the same from IoU {args.iou or ENOUGH:g}"
    rows = {name: score.figures() for name, score in scores.items()}
    if len(rows) > 1:
        rows["combined"] = _sum(scores).figures()
    for columns, width, spell in ((_RATES, 8, _percent), (_COUNTS, 8, _count)):
        yield ""
        yield f"  {'':<18}" + "".join(f"{column:>{width}}" for column in columns)
        for name, figures in rows.items():
            yield f"  {name[-18:]:<18}" + "".join(f"{spell(figures[column]):>{width}}" for column in columns)
    if returners is not None:
        yield ""
        yield from _returner_rows(returners)


def _returner_rows(found: Mapping[str, float]) -> Iterator[str]:
    yield f"  {'Who came back':<34}{'rate':>8}"
    for name, rate, part, whole in (
        ("known again", "relink_rate", "relinked", "returns"),
        ("known again by another camera", "across_relink_rate", "across_relinked", "across"),
    ):
        yield f"  {name:<34}{_percent(found[rate]):>8}   {found[part]:,} of {found[whole]:,} returns"
    false = f"{found['false_firsts']:,} first visits, {found['false_returns']:,} returns, of {found['visits']:,} visits"
    yield f"  {'taken for somebody else':<34}{_percent(found['false_merge_rate']):>8}   {false}"
    people = f"{found['people']:,} people under {found['identities']:,} identities"
    yield f"  {'superfluous identities a person':<34}{found['splits_per_person']:>8.2f}   {people}"
    if found["returns"]:
        shortest, median, longest = (found[f"absence_{name}_s"] for name in ("shortest", "median", "longest"))
        yield f"  away for {shortest:.1f} to {longest:.1f} s, median {median:.1f} s"
    if found["nobody"]:
        yield f"  note: {found['nobody']:,} tracks are of no person; in no rate"


def _percent(value: float) -> str:
    return f"{value:.2%}"


def _count(value: float) -> str:
    return f"{value:,}"
