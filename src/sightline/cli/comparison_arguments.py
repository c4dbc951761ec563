"""What `compare` and `quantize` share: which images, who is on them, and how well the two sides must agree."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from sightline.cli.model_arguments import positive
from sightline.deploy.compare.agreement import FLOOR
from sightline.deploy.compare.labels import Label, Labels, labels_in_names
from sightline.errors import ConfigError
from sightline.images import image_files
from sightline.training.records import read_csv


def add_verdict_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--floor", type=_cosine, default=FLOOR, metavar="COSINE", help=f"the smallest allowed (default: {FLOOR:g})"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="who is on the images: img_path, person_id, camera_id")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="where the images of --csv are")
    parser.add_argument("--page", type=Path, metavar="FILE.html", help="write a page with the worst images")
    parser.add_argument("--worst", type=positive, default=12, metavar="N", help="images on the page (default: 12)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _cosine(text: str) -> float:
    try:
        value = float(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as {FLOOR:g}") from exc
    if not -1 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a cosine, which lies between -1 and 1")
    return value


def images_of(sources: Sequence[str]) -> list[Path]:
    return sorted({path for source in sources for path in image_files(source)})


def labels_of(args: argparse.Namespace, names: Sequence[str], sources: Sequence[str] = ()) -> Labels:
    """Who is on the images of these names: the CSV says, else the names themselves, else the one folder they lie in."""
    if args.csv is None:
        folders = [Path(source).expanduser() for source in sources]
        root = folders[0] if len(folders) == 1 and folders[0].is_dir() else None
        return labels_in_names([Path(name) for name in names], root)
    listed = {os.path.realpath(record.path): record for record in read_csv(args.csv, root=args.data_root)}
    found = {name: listed[os.path.realpath(name)] for name in names if os.path.realpath(name) in listed}
    if not found:
        raise ConfigError(f"{args.csv} lists none of the {len(names)} images; are they those below its own folder?")
    return Labels({name: Label(record.person, record.camera) for name, record in found.items()}, str(args.csv))
