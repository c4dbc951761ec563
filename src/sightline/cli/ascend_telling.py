"""How the actions of `sightline ascend` tell what they do."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

NOT_RUN = 3  # exit code: the command was printed, as what it needs is not on this machine
Told = Callable[[str, int, int | None], None]  # a step, how much of it is done, and of how much where that is known


def say(args: argparse.Namespace, line: str) -> None:
    if not args.quiet:
        print(line)


@contextmanager
def progress(args: argparse.Namespace) -> Iterator[Told]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    silent = args.quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=silent, transient=True) as shown:
        task = shown.add_task("")
        yield lambda step, done, total: shown.update(task, description=step, completed=done, total=total)


def counted(told: Told, step: str, total: int | None) -> Callable[[int], None]:
    """A listener that is told counts, for one that is told totals."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        told(step, done, total)

    return count
