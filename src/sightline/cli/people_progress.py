"""What `sightline people` shows while it works: a bar for recordings, a table for cameras, and why, if asked."""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from sightline.pipeline.people.plans import Watcher
from sightline.pipeline.people.run import PeopleRun
from sightline.pipeline.people.visits import Decision, Visit
from sightline.types import Frame, Tracks
from sightline.video import SourceInfo

RECENT = 10  # visits in the table
DRAWN_EVERY_S = 0.5


@contextmanager
def watching(job: PeopleRun, args: argparse.Namespace) -> Iterator[Watcher]:
    """What shows the work on stderr as the flags ask; nothing where that is no terminal."""
    console = Console(stderr=True)
    explained = Console(highlight=False, soft_wrap=True) if args.explain and not args.json else None
    shown = console.is_terminal and not args.quiet
    if job.is_live:
        table = _Table(explained)
        if not shown:
            yield table
            return
        with Live(get_renderable=table.rendered, console=console, refresh_per_second=1 / DRAWN_EVERY_S):
            yield table
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[present]} in view"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not shown) as progress:
        yield _Bars(explained, progress)


class _Explaining:
    """Says of every visit who it was taken for, and why."""

    def __init__(self, console: Console | None) -> None:
        self._console = console

    def visit_kept(self, visit: Visit, decision: Decision) -> None:
        if self._console is None:
            return
        who = decision.identity or "nobody in particular"
        self._console.print(escape(f"{visit.camera} {visit.number}: {who} ({decision.verdict}): {decision.reason}"))
        for one in decision.ruled_out:
            self._console.print(escape(f"  not {one.identity}, {one.score:.4f}: {one.reason}"))


class _Bars(_Explaining):
    """A bar for each recording."""

    def __init__(self, console: Console | None, progress: Progress) -> None:
        super().__init__(console)
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def camera_opened(self, camera: str, info: SourceInfo, first: int) -> None:
        self._tasks[camera] = self._progress.add_task(
            escape(camera), total=info.frame_count, completed=first, rate="", present=0
        )

    def frame_seen(self, camera: str, frame: Frame, present: Tracks) -> None:
        task = self._tasks[camera]
        speed = self._progress.tasks[task].speed
        rate = f"{speed:,.1f} frames/s" if speed else ""
        self._progress.update(task, completed=frame.index + 1, rate=rate, present=len(present))


@dataclass
class _Row:
    """One camera in the table."""

    frames: int = 0
    present: int = 0
    visits: int = 0
    opened_s: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        return self.frames / max(1e-3, time.monotonic() - self.opened_s)


class _Table(_Explaining):
    """Who is there now, and who was, of every camera."""

    def __init__(self, console: Console | None) -> None:
        super().__init__(console)
        self._rows: dict[str, _Row] = {}
        self._recent: deque[tuple[str, ...]] = deque(maxlen=RECENT)

    def camera_opened(self, camera: str, info: SourceInfo, first: int) -> None:
        self._rows.setdefault(camera, _Row())

    def frame_seen(self, camera: str, frame: Frame, present: Tracks) -> None:
        row = self._rows[camera]
        row.frames, row.present = row.frames + 1, len(present)

    def visit_kept(self, visit: Visit, decision: Decision) -> None:
        super().visit_kept(visit, decision)
        self._rows.setdefault(visit.camera, _Row()).visits += 1
        score = "" if decision.score is None else f"{decision.score:.3f}"
        stay = f"{visit.last_s - visit.first_s:.1f} s"
        who = decision.identity or "-"
        self._recent.appendleft((time.strftime("%H:%M:%S"), visit.camera, who, decision.verdict, score, stay))

    def rendered(self) -> Group:
        """Called by the thread that draws; it reads single values only."""
        cameras = _titled("", "camera", "frames/s", "in view", "visits")
        for name, row in list(self._rows.items()):
            cameras.add_row(escape(name), f"{row.rate:.1f}", str(row.present), str(row.visits))
        if not self._recent:
            return Group(cameras)
        recent = _titled("who has left", "time", "camera", "who", "decision", "score", "stayed")
        for cells in list(self._recent):
            recent.add_row(*map(escape, cells))
        return Group(cameras, recent)


def _titled(title: str, *headers: str) -> Table:
    table = Table(title=title or None, title_justify="left", expand=False)
    for header in headers:
        table.add_column(header)
    return table
