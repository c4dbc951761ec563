"""`sightline models`: list, pull and locate the known public models."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from sightline.errors import SightlineError
from sightline.zoo import catalog, store
from sightline.zoo.catalog import ZooModel
from sightline.zoo.download import Progress

if TYPE_CHECKING:
    from rich.table import Table

_UNLIMITED = 10_000  # columns, where nobody looks: one line a model, for grep and less
_WIDE = 100  # columns from which the table has room for `arch`, which every name begins with
_ON_TRUST = "not published: trust on first use"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="list")
    parser.add_argument("--json", action="store_true", help="the list as JSON")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action")
    listing = actions.add_parser("list", help="every known model, and whether it is here (default)")
    listing.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="the list as JSON")
    actions.add_parser("show", help="all that is known of one model").add_argument("name")
    pulling = actions.add_parser("pull", help="download models into the cache")
    pulling.add_argument("names", nargs="+", metavar="NAME")
    pulling.add_argument("--offline", action="store_true", help="never download; say where to put the file")
    actions.add_parser("path", help="print where a pulled model is").add_argument("name")
    checking = actions.add_parser("verify", help="hash pulled models again")
    checking.add_argument("names", nargs="*", metavar="NAME", help="default: every pulled model")
    actions.add_parser("remove", help="delete a pulled model").add_argument("name")


def run(args: argparse.Namespace) -> int:
    return _ACTIONS[args.action or "list"](args)


def _list(args: argparse.Namespace) -> int:
    from rich.console import Console

    if args.json:
        print(json.dumps([_facts(model) for model in catalog.CATALOG.values()], indent=2))
        return 0
    console = Console(width=None if sys.stdout.isatty() else _UNLIMITED, highlight=False)
    with console.capture() as drawn:  # rich itself would answer a reader that has gone away with exit code 1
        console.print(_table(catalog.CATALOG.values(), width=console.width))
    print(drawn.get(), end="")
    return 0


def _facts(model: ZooModel) -> dict[str, object]:
    path = store.cached(model)
    return {**asdict(model), "cached": None if path is None else str(path)}


def _table(models: Iterable[ZooModel], *, width: int) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    headings = ("name", "task", "arch", "trained on", "size", "licence", "cached")
    kept = [heading for heading in headings if heading != "arch" or width >= _WIDE]
    rows = [_cells(model) for model in models]
    for heading in kept:
        table.add_column(heading, overflow="fold", justify="right" if heading == "size" else "left")
    table.columns[0].min_width = max((len(row["name"]) for row in rows), default=0)  # names are for copying
    for row in rows:
        table.add_row(*(row[heading] for heading in kept))
    return table


def _cells(model: ZooModel) -> dict[str, str]:
    return {
        "name": model.name,
        "task": model.task,
        "arch": model.arch,
        "trained on": model.trained_on,
        "size": _megabytes(model.size_bytes),
        "licence": model.licence.split(" use ")[0],
        "cached": "yes" if store.cached(model) else "",
    }


def _megabytes(size_bytes: int | None) -> str:
    return "?" if size_bytes is None else f"{size_bytes / 1e6:.1f} MB"


def _show(args: argparse.Namespace) -> int:
    model = catalog.find(args.name)
    record = store.record_of(model) if store.cached(model) else None
    facts = {
        "name": model.name,
        "task": model.task,
        "arch": model.arch,
        "weights": model.weights,
        "trained on": model.trained_on,
        "note": model.note,
        "input": f"{model.size_hw[0]}x{model.size_hw[1]} (height x width), pixels {model.pixels}",
        "format": model.format,
        "size": _megabytes(model.size_bytes),
        "licence": model.licence,
        "url": model.url,
        "sha256": model.sha256 or _ON_TRUST,
        "path": str(store.path_of(model)),
        "cached": f"since {record.pulled_at}, sha256 {record.sha256}" if record else "no",
    }
    for label, fact in facts.items():
        print(f"{label + ':':<12}{fact}".rstrip())
    return 0


def _pull(args: argparse.Namespace) -> int:
    def pull(model: ZooModel) -> str:
        is_new = store.cached(model) is None
        with _progress_bar(model.name, hidden=args.quiet) as progress:
            path = store.pull(model, progress=progress, offline=args.offline)
        if is_new and model.sha256 is None and not args.quiet:
            print(f"sightline: {model.name}: sha256 {_ON_TRUST}; recorded", file=sys.stderr)
        return str(path)

    return _each([catalog.find(name) for name in args.names], pull)


@contextmanager
def _progress_bar(name: str, *, hidden: bool) -> Iterator[Progress]:
    """On stderr, so that the paths on stdout can be piped; nothing where stderr is not a terminal."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=None),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda received, total: bar.update(task, completed=received, total=total)


def _path(args: argparse.Namespace) -> int:
    model = catalog.find(args.name)
    path = store.cached(model)
    if path is None:
        print(f"sightline: {model.name} is not cached; run `sightline models pull {model.name}`", file=sys.stderr)
        return 1
    print(path)
    return 0


def _verify(args: argparse.Namespace) -> int:
    named = [catalog.find(name) for name in args.names]
    models = named or [model for model in catalog.CATALOG.values() if store.record_of(model) is not None]
    if not models:
        print(f"no models in {store.cache_dir()}")
    return _each(models, lambda model: f"{model.name}: ok, sha256 {store.verify(model)}")


def _remove(args: argparse.Namespace) -> int:
    model = catalog.find(args.name)
    print(f"{model.name}: {'removed' if store.remove(model) else 'was not cached'}")
    return 0


def _each(models: Iterable[ZooModel], action: Callable[[ZooModel], str]) -> int:
    """Print what the action says of each model. One that fails does not keep the others from their turn."""
    exit_code = 0
    for model in models:
        try:
            print(action(model))
        except SightlineError as exc:
            print(f"sightline: error: {exc}", file=sys.stderr)
            exit_code = 1
    return exit_code


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "pull": _pull,
    "path": _path,
    "verify": _verify,
    "remove": _remove,
}
