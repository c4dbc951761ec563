"""`sightline compare A B --images DIR`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sightline._version import __version__
from sightline.cli.comparison_arguments import add_verdict_arguments, images_of, labels_of
from sightline.cli.comparison_report import DIFFERENT, Names, agreement_figures, agreement_lines, write_page
from sightline.cli.model_arguments import add_model_arguments, session_from
from sightline.deploy.compare.agreement import agreement
from sightline.deploy.compare.side import Side, embedded, paired
from sightline.deploy.compare.stored import is_stored, is_told_by_dim, read_stored
from sightline.errors import ConfigError
from sightline.reid.embedder import Embedder
from sightline.runtime.open import BACKENDS

SIDES = "a model file, a feature file (.npz), or a folder of dumps of Ascend tools or DeepStream"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help=f"what is measured by: {SIDES}")
    parser.add_argument("b", metavar="B", help="what is measured: any of the same, or A again, run in another way")
    parser.add_argument("--images", nargs="+", metavar="DIR", help="images to show to models: files, folders or globs")
    add_verdict_arguments(parser)
    other = parser.add_argument_group("how B is run, where that is another way than A")
    other.add_argument("--b-backend", choices=("auto", *BACKENDS), help="what runs it")
    other.add_argument("--b-device", metavar="DEVICE", help="auto, cpu, cuda, …")
    other.add_argument("--b-precision", metavar="PRECISION", help="auto, float32, bfloat16, … where the backend can")
    add_model_arguments(parser)
    parser.epilog = (
        "Exit code 1: they differ. Dumps are matched to images by name; those of nvinfer, which have none, in order of "
        "the images' paths. Fitting floors: 0.9999 for another format of the same weights, 0.98 for INT8."
    )


def run(args: argparse.Namespace) -> int:
    images = None if args.images is None else images_of(args.images)
    a, b = _sides(args, images)
    pairs = paired(a, b, None if images is None else [str(path) for path in images])
    measured = agreement(pairs, labels_of(args, pairs.names, args.images or ()))
    notes = [*_differences(a, b), *(f"left out: {reason or image}" for image, reason in pairs.skipped.items())]
    if args.page is not None:
        names = Names(Path(a.origin).name, Path(b.origin).name, a.kind, b.kind)
        write_page(args.page, pairs, measured, names=names, floor=args.floor, worst=args.worst)
    if args.json:
        print(json.dumps({**_about(a, b), **agreement_figures(measured, floor=args.floor), "notes": notes}, indent=2))
    elif not args.quiet:
        told = [*(f"note: {note}" for note in notes), *agreement_lines(measured, floor=args.floor)]
        print("\n".join([f"A  {a.origin}  {a.kind}", f"B  {b.origin}  {b.kind}", *told]))
        if args.page is not None:
            print(args.page)
    return 0 if measured.reaches(args.floor) else DIFFERENT


# The two sides


def _sides(args: argparse.Namespace, images: Sequence[Path] | None) -> tuple[Side, Side]:
    """Models first: how many numbers they put out tells which part of a dump is the vector."""
    ways = [(args.a, args), (args.b, _way_of_b(args))]
    order = sorted(range(2), key=lambda place: _turn(Path(ways[place][0])))
    sides: dict[int, Side] = {}
    for place in order:
        dim = next((side.vectors.shape[1] for side in sides.values()), None)
        sides[place] = _side(*ways[place], images, dim)
    return sides[0], sides[1]


def _turn(path: Path) -> int:
    if not is_stored(path):
        return 0
    return 2 if is_told_by_dim(path) else 1


def _way_of_b(args: argparse.Namespace) -> argparse.Namespace:
    own = {name: getattr(args, f"b_{name}") for name in ("backend", "device", "precision")}
    return argparse.Namespace(**{**vars(args), **{name: value for name, value in own.items() if value is not None}})


def _side(source: str, way: argparse.Namespace, images: Sequence[Path] | None, dim: int | None) -> Side:
    if is_stored(Path(source)):
        return read_stored(Path(source), dim=dim)
    if images is None:
        raise ConfigError(f"{source} is taken for a model; pass --images with the images to show it")
    with session_from(argparse.Namespace(**{**vars(way), "model": source})) as session:
        return embedded(Embedder(session), images)


# What is told


def _differences(a: Side, b: Side) -> Iterator[str]:
    """What explains a difference before anybody looks for it."""
    if a.fed and b.fed and a.fed != b.fed:
        yield f"they are fed differently: A {a.fed}; B {b.fed}"
    if a.fingerprint and a.fingerprint == b.fingerprint:
        yield f"same fingerprint of the weights, {a.fingerprint[:12]}"


def _about(a: Side, b: Side) -> dict[str, Any]:
    told = {
        name: {"origin": side.origin, "kind": side.kind, "fingerprint": side.fingerprint, "fed": side.fed}
        for name, side in (("a", a), ("b", b))
    }
    return {"sightline": __version__, **told}
