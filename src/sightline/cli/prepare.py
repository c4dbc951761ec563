"""`sightline prepare KIND --dataset-dir FOLDER --output-dir FOLDER`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sightline.cli import prepare_ball
from sightline.errors import ConfigError, OutputError
from sightline.runtime.backend import available_cores

if TYPE_CHECKING:
    from sightline.training.prepare import Picture

FROM_KAGGLE = ("market1501", "casia-webface", "kaggle-reid", "kaggle-face")
SOME_REFUSED = 1  # exit code: written, but without the images that were named

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "market1501": "the training people of Market-1501",
        "duke": "those of DukeMTMC-reID",
        "msmt17": "those of MSMT17",
        "cuhk03": "those of CUHK03's new protocol; takes the images out of cuhk-03.mat",
        "casia-webface": "a face set as RecordIO, or as a folder for each person",
        "kaggle-reid": "Market-1501 and CUHK03 from Kaggle as one set of people",
        "kaggle-face": "CASIA-WebFace from Kaggle",
        "csv": "a CSV and the images it names; without --output-dir it is only checked",
        **prepare_ball.KINDS,
    }
)


def configure(parser: argparse.ArgumentParser) -> None:
    kinds = "; ".join(f"{name}: {summary}" for name, summary in KINDS.items())
    parser.add_argument("kind", choices=tuple(KINDS), metavar="KIND", help=kinds)
    parser.add_argument("--dataset-dir", "--data-root", type=Path, metavar="DIR", help="where the data set is")
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="what to write (default: into the data set)")
    parser.add_argument("--csv-name", default="labels.csv", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--download", action="store_true", help="fetch it from Kaggle, with kagglehub")
    parser.add_argument("--market1501-dir", type=Path, metavar="DIR", help="where kaggle-reid finds Market-1501")
    parser.add_argument("--cuhk03-dir", type=Path, metavar="DIR", help="where kaggle-reid finds CUHK03's images")
    parser.add_argument(
        "--datasets",
        nargs="+",
        choices=("market1501", "cuhk03"),
        help="what kaggle-reid takes (default: what is there)",
    )
    parser.add_argument(
        "--boxes",
        choices=("detected", "labeled"),
        default="detected",
        help="of cuhk03: found by a detector, or by hand",
    )
    parser.add_argument("--min-images", type=int, default=1, metavar="N", help="leave out people with fewer")
    parser.add_argument("--max-ids", type=int, metavar="N", help="take the first N people only")
    parser.add_argument("--check", action="store_true", help="decode every image; name and leave out the corrupt ones")
    parser.add_argument("--workers", type=int, default=available_cores(), metavar="N", help="default: %(default)s")
    prepare_ball.add_arguments(parser)
    parser.epilog = (
        "Writes images/ and a CSV with img_path, person_id and camera_id; what is already under the output folder is "
        "named where it is. An interrupted run is continued by the same command. Exit code 1: some images were refused."
    )


def run(args: argparse.Namespace) -> int:
    if args.workers < 1 or args.min_images < 1:
        raise ConfigError("--workers and --min-images start at 1")
    if args.download and args.kind not in FROM_KAGGLE:
        raise ConfigError(f"--download fetches {', '.join(FROM_KAGGLE)}; get {args.kind} from its authors")
    if args.kind in prepare_ball.KINDS:
        return prepare_ball.run(args, bar=_bar)
    if args.kind == "csv" and args.output_dir is None:
        return _check_csv(args)
    from sightline.training.prepare import prepare, selected

    folder = _output(args)
    pictures = selected(_pictures(args, folder), min_images=args.min_images, max_ids=args.max_ids)
    with _bar(len(pictures), quiet=args.quiet) as done:
        prepared = prepare(pictures, folder, csv_name=args.csv_name, check=args.check, workers=args.workers, done=done)
    people = len({record.person for record in prepared.records})
    if not args.quiet:
        print(f"{prepared.csv}: {len(prepared.records)} images of {people} people")
    return _tell_refused(prepared.refused, f"are not in {prepared.csv}")


def _check_csv(args: argparse.Namespace) -> int:
    from sightline.training.prepare import undecodable
    from sightline.training.records import read_csv

    source = _csv(args)
    records = read_csv(source)
    refused: list[str] = []
    if args.check:
        with _bar(len(records), quiet=args.quiet) as done:
            refused = list(undecodable(records, workers=args.workers, done=done))
    if not args.quiet:
        print(f"{source}: {len(records)} images of {len({record.person for record in records})} people")
    return _tell_refused(refused, "cannot be used")


def _tell_refused(refused: Sequence[str], what: str) -> int:
    for reason in refused:
        print(f"sightline: refused: {reason}", file=sys.stderr)
    if refused:
        print(f"sightline: {len(refused)} images {what}", file=sys.stderr)
    return SOME_REFUSED if refused else 0


# What to prepare


def _output(args: argparse.Namespace) -> Path:
    folder = args.output_dir or args.dataset_dir
    if folder is None:
        raise ConfigError("nowhere to write: pass --output-dir, or --dataset-dir to write into the data set")
    if Path(args.csv_name).name != args.csv_name:
        raise ConfigError(f"--csv-name is {args.csv_name!r}; expected a name without a folder")
    return Path(folder)


def _pictures(args: argparse.Namespace, folder: Path) -> list[Picture]:
    makers: dict[str, Callable[[argparse.Namespace, Path], list[Picture]]] = {
        "cuhk03": _of_cuhk03,
        "casia-webface": _of_faces,
        "kaggle-face": _of_faces,
        "kaggle-reid": _of_kaggle_reid,
        "csv": _of_csv,
    }
    return makers.get(args.kind, _of_dataset)(args, folder)


def _of_dataset(args: argparse.Namespace, folder: Path) -> list[Picture]:
    from sightline.training.folders import DATASETS
    from sightline.training.prepare import from_records

    source = _downloaded(args, args.kind) or _dataset_dir(args)
    return from_records(DATASETS[args.kind](source).train)


def _of_cuhk03(args: argparse.Namespace, folder: Path) -> list[Picture]:
    """From where the images lie as files, else from `cuhk-03.mat`, whose images are written beside the CSV."""
    from sightline.training.folders import DATASETS, cuhk03_protocol, extract_cuhk03
    from sightline.training.prepare import from_records

    layout = DATASETS[f"cuhk03-{args.boxes}"]
    source: Path = args.cuhk03_dir or _dataset_dir(args)
    home = layout.find(source)
    mat = next(iter(sorted(source.rglob("cuhk-03.mat"))), None)
    if home is None or mat is None or (home / f"images_{args.boxes}").is_dir() or (home / args.boxes).is_dir():
        return from_records(layout(source).train)
    extract_cuhk03(mat, folder / f"images_{args.boxes}", boxes=args.boxes)
    listing = cuhk03_protocol(args.boxes)
    if folder.resolve() != home.resolve():
        shutil.copyfile(home / listing, folder / listing)
    return from_records(layout(folder).train)


def _of_faces(args: argparse.Namespace, folder: Path) -> list[Picture]:
    from sightline.training.prepare import from_faces

    source = _downloaded(args, "casia-webface") or _dataset_dir(args)
    return from_faces(source, but=None if folder.resolve() == source.resolve() else folder)


def _of_kaggle_reid(args: argparse.Namespace, folder: Path) -> list[Picture]:
    from sightline.training.kaggle import reid_pictures

    market: Path | None = args.market1501_dir
    if market is None and "market1501" in (args.datasets or ["market1501"]):
        market = _downloaded(args, "market1501")
    wanted = {"market1501": market or args.dataset_dir, "cuhk03": args.cuhk03_dir or args.dataset_dir}
    return reid_pictures({name: path for name, path in wanted.items() if path is not None}, required=args.datasets)


def _of_csv(args: argparse.Namespace, folder: Path) -> list[Picture]:
    from sightline.training.prepare import from_records
    from sightline.training.records import read_csv

    source = _csv(args)
    if (folder / args.csv_name).resolve() == source.resolve():
        raise OutputError(f"{source} would be written over; choose another --output-dir")
    return from_records(read_csv(source))


def _csv(args: argparse.Namespace) -> Path:
    return _dataset_dir(args) / str(args.csv_name)


def _dataset_dir(args: argparse.Namespace) -> Path:
    if args.dataset_dir is None:
        raise ConfigError(f"where is the data set? pass --dataset-dir to prepare {args.kind}")
    return Path(args.dataset_dir)


def _downloaded(args: argparse.Namespace, name: str) -> Path | None:
    from sightline.training.kaggle import download

    return download(name) if args.download else None


@contextmanager
def _bar(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A progress bar; what it gives is called once an image."""
    console = Console(stderr=True)
    columns = (TextColumn("preparing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)
