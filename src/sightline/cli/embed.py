"""`sightline embed CROPS -o features.npz`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sightline._version import __version__
from sightline.cli import INTERRUPTED
from sightline.cli.model_arguments import add_model_arguments, session_from
from sightline.errors import ImageError
from sightline.images import image_files
from sightline.reid.embedder import Embedded, Embedder
from sightline.reid.features import FeatureJournal, open_journal
from sightline.runtime.session import Session

SOME_SKIPPED = 3  # exit code: the file is written, but not every image is in it


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("crops", nargs="+", metavar="CROPS", help="image files, folders or globs")
    parser.add_argument("-m", "--model", required=True, help="an .onnx file, a checkpoint, …")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the feature file to write (.npz)")
    parser.add_argument("--on-error", choices=("skip", "stop"), default="skip", help="what an unreadable image does")
    parser.add_argument("--restart", action="store_true", help="drop what an interrupted run left, and begin again")
    add_model_arguments(parser)
    parser.epilog = (
        "An interrupted run is continued by the same command. Exit code 3: written, but some images were skipped. "
        "The file holds vectors (N, D), paths (N,) and meta (JSON)."
    )


def run(args: argparse.Namespace) -> int:
    paths = list(dict.fromkeys(path for source in args.crops for path in image_files(source)))
    with session_from(args) as session:
        embedder = Embedder(session)
        identity = f"{session.card.to_json()} {session.precision}"
        with open_journal(args.output, dim=embedder.dim, identity=identity, restart=args.restart) as journal:
            try:
                _embed_pending(embedder, journal, paths, args)
            except KeyboardInterrupt:
                return _tell_interrupted(args.output, journal, paths)
            embedded, skipped = journal.finish(paths, args.output, meta=_meta(embedder))
        return _tell_finished(args, session, embedded, skipped)


def _embed_pending(
    embedder: Embedder, journal: FeatureJournal, paths: Sequence[Path], args: argparse.Namespace
) -> None:
    pending = journal.pending(paths)
    if len(pending) < len(paths) and not args.quiet:
        print(
            f"sightline: continuing: {len(paths) - len(pending)} of {len(paths)} images are already done",
            file=sys.stderr,
        )
    for item in _with_progress(embedder.embed_files(pending), len(pending), quiet=args.quiet):
        if item.reason and args.on_error == "stop":
            raise ImageError(item.reason)
        if item.reason:
            print(f"sightline: skipped: {item.reason}", file=sys.stderr)
        journal.add(item)


def _with_progress(items: Iterator[Embedded], total: int, *, quiet: bool) -> Iterator[Embedded]:
    columns = (
        TextColumn("embedding"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("", total=total, rate="")
        for item in items:
            yield item
            speed = progress.tasks[0].speed
            progress.update(task, advance=1, rate=f"{speed:,.0f} images/s" if speed else "")


def _meta(embedder: Embedder) -> dict[str, Any]:
    session = embedder.session
    return {
        "sightline": __version__,
        "model": str(session.path),
        "fingerprint": embedder.fingerprint,
        "card": session.card.to_json(),
        "backend": session.backend,
        "device": session.device,
        "precision": session.precision,
        "fallbacks": [str(attempt) for attempt in session.fallbacks],
    }


def _tell_interrupted(output: Path, journal: FeatureJournal, paths: Sequence[Path]) -> int:
    done = len(paths) - len(journal.pending(paths))
    print(
        f"\nsightline: interrupted: {done} of {len(paths)} images are kept in {output}.part; "
        "the same command goes on from there",
        file=sys.stderr,
    )
    return INTERRUPTED


def _tell_finished(args: argparse.Namespace, session: Session, embedded: int, skipped: int) -> int:
    where = f"{session.backend} ({session.device}, {session.precision})"
    if not args.quiet:
        print(f"{args.output}: {embedded} vectors from {session.path.name} on {where}")
    if skipped:
        total = embedded + skipped
        print(f"sightline: {skipped} of {total} images could not be read and are not in {args.output}", file=sys.stderr)
    return SOME_SKIPPED if skipped else 0
