"""`sightline calibrate -m MODEL --csv labels.csv --far 0.001`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from sightline.card import Aggregation
from sightline.cli.identity_arguments import add_embedder_arguments, embedder_from, model_figures, percent, rate
from sightline.cli.model_arguments import positive
from sightline.errors import CardError, SightlineError
from sightline.files import output_error
from sightline.reid.calibrate import (
    CROPS_PER_ENTRY,
    Calibrated,
    PairScores,
    averaged_entries,
    calibrate,
    labelled_files,
    labelled_subjects,
    scores_between,
    scores_of_pairs,
)
from sightline.reid.embedder import Embedder
from sightline.reid.identify import IdentityFolder
from sightline.reid.labelled import Labelled
from sightline.reid.score_plots import draw_scores
from sightline.reid.thresholds import keep_thresholds
from sightline.training.exam import choose_exam
from sightline.training.pair_list import read_pairs
from sightline.training.records import Record

KINDS: dict[Aggregation, str] = {"single": "single crops", "averaged": "averages of several"}


def configure(parser: argparse.ArgumentParser) -> None:
    _add_source(parser)
    _add_measure(parser)
    _add_output(parser)
    add_embedder_arguments(parser)
    parser.epilog = (
        "Use people the model was not trained on: those it knows score too well. By default the threshold goes into an "
        "ONNX file's card, and beside any other model. `verify`, `identify` and `cluster` then use it."
    )


def _add_source(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--csv", metavar="FILE", help="labelled images: img_path, person_id and camera_id")
    source.add_argument("--dataset", metavar="NAME", help="a data set's folder or name, e.g. market1501")
    source.add_argument("--gallery-dir", type=Path, metavar="DIR", help="a folder with a subfolder for each identity")
    source.add_argument(
        "--pairs", type=Path, metavar="FILE", help="a CSV a,b,same, or LFW's pairs.txt: single crops only"
    )
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="where the images of --csv, --dataset, --pairs are"
    )


def _add_measure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--far", type=_rates, default=(0.001,), metavar="RATES", help="false-accept rates (default: 0.001)"
    )
    parser.add_argument(
        "--aggregation",
        choices=("both", *get_args(Aggregation)),
        default="both",
        help="kinds of vectors (default: both)",
    )
    parser.add_argument(
        "--crops", type=_several, default=CROPS_PER_ENTRY, metavar="K", help="crops of an average (default: 8)"
    )
    parser.add_argument("--seed", type=_whole, default=0, help="of the crops that are averaged together (default: 0)")
    parser.add_argument("--accept-few", action="store_true", help="also of fewer than 10 / RATE impostor pairs, marked")


def _add_output(parser: argparse.ArgumentParser) -> None:
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--beside", action="store_true", default=None, help="keep it in MODEL.thresholds.json")
    kept.add_argument("--in-card", action="store_false", dest="beside", help="keep it in the ONNX file itself")
    kept.add_argument("--dry-run", action="store_true", help="keep nothing")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw both distributions of scores (SVG)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _rates(text: str) -> tuple[float, ...]:
    return tuple(sorted({rate(part) for part in text.split(",")}, reverse=True))


def _whole(text: str) -> int:
    return 0 if text == "0" else positive(text)


def _several(text: str) -> int:
    if positive(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 1: one crop is no average")
    return positive(text)


def run(args: argparse.Namespace) -> int:
    with embedder_from(args) as embedder:
        if embedder.session.card.weights == "untrained":
            raise CardError(f"{embedder.session.path.name} has random weights: no threshold makes them know anybody")
        measured, notes = _measured(args, _scores(args, embedder))
        thresholds = [item.threshold for _, found in measured for item in found]
        written = [] if args.dry_run else [keep_thresholds(embedder, thresholds, beside=args.beside)]
        if args.plots is not None:
            written += _plots(args.plots, measured)
        if args.json:
            print(json.dumps({**model_figures(embedder), **_figures(measured, notes, written)}, indent=2))
        elif not args.quiet:
            print("\n".join([*_lines(measured), *(f"note: {note}" for note in notes), *map(str, written)]))
    return 0


Measured = list[tuple[PairScores, tuple[Calibrated, ...]]]


def _measured(args: argparse.Namespace, scores: Sequence[PairScores]) -> tuple[Measured, list[str]]:
    """Where both kinds are asked for and only one can be had, that one, and a note about the other."""
    measured: Measured = []
    refusals: list[SightlineError] = []
    for kind in scores:
        try:
            measured.append((kind, calibrate(kind, args.far, accept_few=args.accept_few)))
        except SightlineError as exc:
            refusals.append(exc)
    if not measured:
        raise refusals[0]
    return measured, [f"{_missing(measured)} are not calibrated: {exc}" for exc in refusals]


def _missing(measured: Measured) -> str:
    return next(name for kind, name in KINDS.items() if kind != measured[0][0].aggregation)


# What is compared


def _scores(args: argparse.Namespace, embedder: Embedder) -> list[PairScores]:
    if args.pairs is not None:
        return [_scores_of_list(args, embedder)]
    vectors, source = _labelled(args, embedder)
    kinds: Sequence[Aggregation] = get_args(Aggregation) if args.aggregation == "both" else [args.aggregation]
    return [_scores_of_kind(kind, vectors, source, args) for kind in kinds]


def _scores_of_kind(kind: Aggregation, vectors: Labelled, source: str, args: argparse.Namespace) -> PairScores:
    if kind == "single":
        return scores_between(vectors, aggregation=kind, source=source, seed=args.seed)
    entries = averaged_entries(vectors, crops=args.crops, seed=args.seed)
    return scores_between(entries.vectors, aggregation=kind, source=f"{source}, {entries}", seed=args.seed)


def _labelled(args: argparse.Namespace, embedder: Embedder) -> tuple[Labelled, str]:
    if args.gallery_dir is not None:
        subjects = IdentityFolder.open(args.gallery_dir, embedder).identities
        vectors = labelled_subjects(subjects)
        return vectors, f"{args.gallery_dir.name}: {len(subjects):,} people, {len(vectors):,} images"
    exam = choose_exam(args.csv or args.dataset, root=args.data_root, max_images=0)
    records = _named(exam.images) if exam.is_official else exam.images
    people = [record.person for record in records]
    cameras = [record.camera for record in records]
    vectors = labelled_files(embedder, [record.path for record in records], people, cameras=cameras)
    return vectors, f"{Path(exam.dataset).name}: {len(set(people)):,} people, {len(vectors):,} images"


def _named(records: Sequence[Record]) -> list[Record]:
    """Without 0, or 0000: the name that published data sets give to all whose name nobody knows."""
    return [record for record in records if record.person.strip("0")]


def _scores_of_list(args: argparse.Namespace, embedder: Embedder) -> PairScores:
    if args.aggregation == "averaged":
        raise SightlineError(
            "a list of pairs has single crops only; for averages give --csv, --dataset or --gallery-dir"
        )
    pairs = [(pair.first, pair.second, pair.same) for pair in read_pairs(args.pairs, root=args.data_root)]
    return scores_of_pairs(embedder, pairs, source=f"{args.pairs.name}: {len(pairs):,} pairs")


# What is told


def _plots(folder: Path, measured: Measured) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc
    written = []
    for scores, found in measured:
        written.append(folder / f"scores-{scores.aggregation}.svg")
        draw_scores(scores, written[-1], thresholds=[item.threshold for item in found])
    return written


def _lines(measured: Measured) -> Iterator[str]:
    for scores, found in measured:
        yield f"{KINDS[scores.aggregation]}, from {scores.source}"
        yield f"  {'false accepts':>13}  {'threshold':>9}  {'genuine found':>13}  pairs of strangers"
        for item in found:
            threshold = item.threshold
            few = "" if item.reliable else ", too few to rely on"
            rates = f"{percent(threshold.far):>13}  {threshold.value:>9.4f}  {percent(item.tar):>13}"
            yield f"  {rates}  {threshold.pairs:,}{few}"


def _figures(measured: Measured, notes: Sequence[str], written: Sequence[Path]) -> dict[str, Any]:
    rows = [
        {**asdict(item.threshold), "tar": item.tar, "genuine_pairs": item.genuine_pairs, "reliable": item.reliable}
        for _, found in measured
        for item in found
    ]
    return {"thresholds": rows, "notes": list(notes), "written": [str(path) for path in written]}
