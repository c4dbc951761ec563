"""`sightline eval --exp runs/train/exp`, `sightline eval --task ball`, and `sightline eval --task mot`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sightline.cli.eval_ball import add_ball_arguments, refuse_ball_arguments, run_ball
from sightline.cli.eval_mot import add_mot_arguments, refuse_mot_arguments, run_mot
from sightline.cli.model_arguments import add_model_arguments, positive, session_from
from sightline.config import load_config
from sightline.errors import ModelNotFoundError, OutputError
from sightline.files import output_error
from sightline.reid.embedder import Embedder
from sightline.reid.metrics import Ranking
from sightline.runtime.session import Session
from sightline.training.config import TrainingConfig
from sightline.training.evaluate import FARS, Evaluation, Reading, evaluate
from sightline.training.exam import Exam, choose_exam
from sightline.training.pair_list import Pair, read_pairs
from sightline.training.report import RANKS, figures, model_figures, why_no_plots, write_report
from sightline.training.runs import run_named

RUNS = Path("runs/train")  # where a run is looked for by its name


def configure(parser: argparse.ArgumentParser) -> None:
    _add_subject(parser)
    _add_data(parser)
    _add_figures(parser)
    add_ball_arguments(parser)
    add_mot_arguments(parser)
    add_model_arguments(parser)
    parser.epilog = (
        "With --exp, or --config, the people that run held out are judged, and never those it was trained on; a "
        "dataset with a query and a gallery of its own is taken whole."
    )


def _add_subject(parser: argparse.ArgumentParser) -> None:
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--exp", metavar="DIR", help="a run of `sightline train`: its folder, or its name")
    model.add_argument("--weights", type=Path, metavar="FILE", help="a checkpoint, or any other model file")
    model.add_argument("--onnx", type=Path, metavar="FILE", help="an ONNX model")
    parser.add_argument("--config", type=Path, metavar="YAML", help="of the run that trained it (default: beside it)")
    parser.add_argument("--weights-name", default="best.pt", metavar="NAME", help="of --exp (default: best.pt)")
    tasks = ("reid", "ball", "mot")
    parser.add_argument("--task", choices=tasks, default="reid", action=_Task, model=model, help="(default: reid)")


class _Task(argparse.Action):
    """Which question is judged. For ball and tracks files are compared, and no flag that names a model is required."""

    def __init__(self, *args: Any, model: argparse._MutuallyExclusiveGroup, **options: Any) -> None:
        super().__init__(*args, **options)
        self._model = model

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        setattr(namespace, self.dest, values)
        self._model.required = values == "reid"


def _add_data(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--csv", metavar="FILE", help="images and people to judge by")
    source.add_argument("--dataset", metavar="NAME", help="a dataset folder or name, e.g. market1501")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="where datasets and the CSV's images are")
    parser.add_argument("--pairs", type=Path, metavar="FILE", help="LFW's pairs.txt, or a CSV a,b,same")
    parser.add_argument(
        "--max-samples", type=_whole, default=10_000, metavar="N", help="images of a CSV, 0 for all (default: 10000)"
    )
    parser.add_argument("--batch-size", type=positive, default=128, metavar="N", help="images read at once")
    parser.add_argument("--workers", type=positive, default=2, metavar="N", help="threads that read images")


def _add_figures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cmc", action="store_true", help="rank as well: CMC, mAP, mINP, the worst queries")
    parser.add_argument("--rerank", action="store_true", help="rank again by k-reciprocal neighbours")
    parser.add_argument(
        "--fars", type=_fars, default=FARS, metavar="RATES", help="false accept rates (default: 1e-1,1e-2,1e-3)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: DIR/eval, or runs/eval/NAME)")
    parser.add_argument("--json", action="store_true", help="print the content of metrics.json, not the table")


def _whole(text: str) -> int:
    return 0 if text == "0" else positive(text)


def _fars(text: str) -> tuple[float, ...]:
    try:
        rates = tuple(float(part) for part in text.split(","))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of rates, e.g. 1e-2,1e-3") from exc
    if not all(0 < rate < 1 for rate in rates):
        raise argparse.ArgumentTypeError(f"{text!r} has rates that are not between 0 and 1")
    return rates


def run(args: argparse.Namespace) -> int:
    if args.task == "mot":
        return run_mot(args)
    refuse_mot_arguments(args)
    if args.task == "ball":
        return run_ball(args)
    refuse_ball_arguments(args)
    args.model = str(_model(args))
    config = _config(args)
    exam, pairs = _material(args, config)
    with _session(args, config) as session, _folder(args) as folder:
        embedder = Embedder(session)
        evaluation = _evaluated(args, embedder, exam, pairs)
        task = session.card.task if config is None else config.model.task
        model = model_figures(embedder, task=task)
        where = f"{len(pairs):,} pairs" if exam is None else f"{exam.dataset}: {exam.people}"
        title = f"{session.path.name} on {where}"
        written = write_report(
            evaluation, folder, model=model, title=title, size_hw=embedder.image.size_hw or (256, 128)
        )
    if args.json:
        print(json.dumps(figures(evaluation, model=model), indent=2))
    elif not args.quiet:
        lines = [
            str(session.path),
            f"on {where}",
            *_about(session, task, exam),
            "",
            *_table(evaluation),
            *_notes(args, evaluation),
            "",
        ]
        print("\n".join([*lines, *map(str, written)]))
    return 0


# What is judged, and by what


def _model(args: argparse.Namespace) -> Path:
    if args.exp is None:
        return Path(args.weights or args.onnx)
    weights = run_named(args.exp, RUNS) / "weights" / str(args.weights_name)
    if not weights.is_file():
        there = sorted(path.name for path in weights.parent.glob("*.pt"))
        has = f"it has {', '.join(there)}" if there else "it has no weights"
        raise ModelNotFoundError(f"no {args.weights_name} in the run {args.exp}: {has}; expected a finished run")
    return weights


def _config(args: argparse.Namespace) -> TrainingConfig | None:
    """The configuration of the run that made the model: the one named, or the one the run left beside its weights."""
    folder = Path(args.model).parent
    beside = folder.parent / "config.yaml"
    if args.config is None and not (folder.name == "weights" and beside.is_file()):
        return None
    return load_config(TrainingConfig, args.config or beside)


def _material(args: argparse.Namespace, config: TrainingConfig | None) -> tuple[Exam | None, list[Pair]]:
    """The exam, unless there is a list of pairs and no other data, and the list."""
    source = args.csv or args.dataset
    pairs = [] if args.pairs is None else read_pairs(args.pairs, root=args.data_root)
    if pairs and not (source or (config is not None and config.data.dataset)):
        return None, pairs
    return choose_exam(source, root=args.data_root, config=config, max_images=args.max_samples), pairs


def _session(args: argparse.Namespace, config: TrainingConfig | None) -> Session:
    """What the file does not say about its input, the configuration it was trained with does."""
    session = session_from(args)
    if config is None or not any("--" in question for question in session.card.unknowns()):
        return session
    session.close()
    height, width = config.model.input_size
    args.pixels, args.size = args.pixels or config.model.pixels, args.size or (height, width)
    return session_from(args)


def _evaluated(args: argparse.Namespace, embedder: Embedder, exam: Exam | None, pairs: Sequence[Pair]) -> Evaluation:
    console = Console(stderr=True)
    columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    silent = args.quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=silent, transient=True) as progress:
        task = progress.add_task("", total=(len(exam.images) if exam else 0) + 2 * len(pairs))
        reading = Reading(args.batch_size, args.workers, lambda count: progress.update(task, advance=count))
        return evaluate(
            embedder,
            exam,
            pairs=pairs,
            ranked=args.cmc,
            reranked=args.rerank,
            fars=args.fars,
            reading=reading,
        )


@contextmanager
def _folder(args: argparse.Namespace) -> Iterator[Path]:
    """A folder that holds no evaluation yet, taken before hours of work; taken back if they come to nothing."""
    if args.out is not None:
        folder = _claim(args.out)
        if (folder / "metrics.json").exists():
            raise OutputError(f"{folder} already holds an evaluation; name another --out, or remove it")
    else:
        home = run_named(args.exp, RUNS) / "eval" if args.exp is not None else Path("runs/eval") / Path(args.model).stem
        folder = _claim(_numbered(home))
    try:
        yield folder
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def _claim(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc
    return folder


def _numbered(home: Path) -> Path:
    """`eval`, then `eval2`, `eval3`: the first that is not there."""
    candidates = (home if number == 1 else home.with_name(f"{home.name}{number}") for number in range(1, 1_000_000))
    return next(folder for folder in candidates if not folder.exists())


# What is printed


def _about(session: Session, task: str, exam: Exam | None) -> Iterator[str]:
    card = session.card
    yield f"  {task}, {card.arch}, fingerprint {card.fingerprint[:12]}, {session.backend} ({session.device})"
    if exam is not None:
        yield f"  {len(exam.images):,} images of {exam.identities:,} people by {exam.cameras:,} cameras"


def _table(evaluation: Evaluation) -> Iterator[str]:
    found = evaluation.verification
    yield f"{'Same person or not':<26}{'rate':>10}{'threshold':>12}{'genuine':>14}{'impostor':>16}"
    rows = [("EER", found.eer.rate, found.eer.threshold, "")]
    rows += [(f"TAR at FAR {tar.far:g}", tar.tar, tar.threshold, "" if tar.reliable else " *") for tar in found.tars]
    counts = f"{found.eer.genuine_pairs:>14,}{found.eer.impostor_pairs:>16,}"
    for name, rate, threshold, mark in rows:
        yield f"  {name:<24}{rate:>9.2%}{mark or ' ':<2}{threshold:>11.4f}{counts}".rstrip()
    if evaluation.ten_fold is not None:
        fold = evaluation.ten_fold
        yield f"  {'10-fold accuracy':<24}{fold.accuracy:>9.2%}  ± {fold.std:.2%}"
    yield f"  pairs: {found.protocol}"
    if not all(tar.reliable for tar in found.tars):
        yield "  * fewer than 10 false accepts are to be expected: not reliable"
    if evaluation.ranking is not None:
        yield ""
        yield from _ranking_rows(evaluation.ranking, evaluation.reranked)


def _ranking_rows(ranking: Ranking, reranked: Ranking | None) -> Iterator[str]:
    """One column, or two where it was done again."""
    columns = [ranking] if reranked is None else [ranking, reranked]
    heads = "".join(f"{head:>14}" for head in ("rate", "re-ranked")[: len(columns)])
    yield f"{'Who is it':<40}{heads}"
    rows = [(f"rank-{k}", [column.rank_k(k) for column in columns]) for k in RANKS]
    rows += [
        ("mAP, mean precision (torchreid)", [column.map_mean_precision for column in columns]),
        ("mAP, trapezoid (original Market-1501)", [column.map_trapezoid for column in columns]),
        ("mINP", [column.minp for column in columns]),
    ]
    for name, rates in rows:
        yield f"  {name:<38}" + "".join(f"{rate:>14.2%}" for rate in rates)
    yield f"  {ranking.queries:,} queries, {ranking.skipped:,} skipped as nothing in the gallery matches them"


def _notes(args: argparse.Namespace, evaluation: Evaluation) -> Iterator[str]:
    exam = evaluation.exam
    notes = [] if exam is None else list(exam.notes)
    if exam is not None and exam.can_rank and evaluation.ranking is None:
        notes.append("add --cmc for CMC, mAP and the worst queries")
    if why_no_plots():
        notes.append(f"no plots: {why_no_plots()}")
    yield from (f"  note: {note}" for note in notes)
