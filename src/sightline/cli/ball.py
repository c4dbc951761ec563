"""`sightline ball VIDEO -m MODEL -o trajectory.csv`."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import tee
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sightline.ball.ensemble import EVAL_MODES
from sightline.ball.heatmap import DECODES, THRESHOLD
from sightline.ball.inpaint import InpaintOptions
from sightline.ball.models import Repairer, Tracker, open_ball_model, repairer_of, tracker_of
from sightline.ball.planes import RESIZES
from sightline.ball.trajectory import Summary, read_trajectory, summarise, write_trajectory
from sightline.ball.windows import TrackOptions
from sightline.camera import Camera
from sightline.cli import INTERRUPTED
from sightline.cli.model_arguments import positive
from sightline.cli.stopping import stops_at_signals
from sightline.errors import SourceError
from sightline.pipeline.annotate import with_ball
from sightline.pipeline.ball import BallOptions, background_of, follow, follow_live
from sightline.runtime.open import BACKENDS
from sightline.sources import Source, open_recording, open_source
from sightline.types import BallPoint, Frame
from sightline.video import SourceInfo, VideoWriter
from sightline.viewer.trajectory import TrajectoryNotes, write_trajectory_page
from sightline.zoo import bundled


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="VIDEO", help="a video, a folder of frames, a camera's number, an rtsp:// address"
    )
    parser.add_argument(
        "-m",
        "--model",
        type=Path,
        default=bundled("ball"),
        help="a TrackNet: .onnx, .xml or a checkpoint (default: the small one bundled, trained on painted rallies)",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CSV", help="Frame,Visibility,X,Y,…")
    parser.add_argument("--inpaint", type=Path, metavar="MODEL", help="an InpaintNet that fills the gaps")
    parser.add_argument("--video", type=Path, metavar="FILE", help="the video with the ball drawn in (.mp4, .webm, …)")
    parser.add_argument("--page", type=Path, metavar="FILE", help="a report of the trajectory (.html)")
    parser.add_argument("--live", action="store_true", help="drop frames rather than fall behind")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    _add_search_arguments(parser.add_argument_group("how the ball is looked for"))
    runs = parser.add_argument_group("how the models are run")
    runs.add_argument("--backend", default="auto", choices=("auto", *BACKENDS[:-1]), help="what runs them")
    runs.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, … (default: auto)")
    runs.add_argument("--threads", type=positive, help="processor threads (default: every core)")
    parser.epilog = "Ctrl-C ends the run early; what was found until then is written all the same."


def _add_search_arguments(group: argparse._ArgumentGroup) -> None:
    defaults = BallOptions()
    group.add_argument("--eval-mode", default=defaults.eval_mode, choices=EVAL_MODES, help="how windows are combined")
    group.add_argument("--stride", type=positive, default=1, help="frames from window to window (default: 1)")
    group.add_argument("--batch", type=positive, default=defaults.batch, help="windows at once, for a GPU (default: 1)")
    group.add_argument("--threshold", type=float, default=THRESHOLD, help="heat that is a ball (default: 0.5)")
    group.add_argument(
        "--decode", default="blob", choices=DECODES, help="argmax: as some predecessors, any heat is a ball"
    )
    group.add_argument("--resize", default="area", choices=RESIZES, help="pil: the pixels the published weights know")
    group.add_argument(
        "--median-frames", type=positive, default=defaults.median_frames, help="frames of the background"
    )
    group.add_argument("--max-gap", type=int, metavar="FRAMES", help="longest gap to fill (default: all it sees whole)")


def run(args: argparse.Namespace) -> int:
    options = BallOptions(
        args.eval_mode,
        args.batch,
        args.median_frames,
        track=TrackOptions(args.threshold, args.decode, args.resize, args.stride),
        repair=InpaintOptions(args.max_gap),
    )
    with ExitStack() as stack:
        how = {"backend": args.backend, "device": args.device, "threads": args.threads}
        tracker = tracker_of(stack.enter_context(open_ball_model(args.model, **how)))
        repairer = None
        if args.inpaint is not None:
            repairer = repairer_of(stack.enter_context(open_ball_model(args.inpaint, **how)))
        source = stack.enter_context(open_source(args.source, live=args.live))
        search = _Search(args, source, tracker, repairer, options)
        with stops_at_signals(search.stop):
            write_trajectory(args.output, search.points())
    return _tell(args, search)


@dataclass
class _Search:
    """One run: the points it finds, and on the side the video and the progress."""

    args: argparse.Namespace
    source: Source
    tracker: Tracker
    repairer: Repairer | None
    options: BallOptions
    stopped: bool = False
    answered: int = 0

    def stop(self) -> None:
        self.stopped = True
        if isinstance(self.source, Camera):
            self.source.stop()

    def points(self) -> Iterator[BallPoint]:
        with _progress(self.source.info, quiet=self.args.quiet) as advance:
            for point in self._drawn() if self.args.video else self._found(self._frames()):
                self.answered += 1
                advance()
                yield point
        if not self.answered:
            raise SourceError(f"{self.source.info.name} ended before a frame of it could be answered")

    def _frames(self) -> Iterator[Frame]:
        for frame in self.source:
            if self.stopped:
                return
            yield frame

    def _found(self, frames: Iterable[Frame]) -> Iterator[BallPoint]:
        if self.source.info.live:
            return follow_live(frames, self.tracker, repairer=self.repairer, options=self.options)
        background = None
        if self.tracker.bg_mode:
            with open_recording(Path(self.args.source)) as recording:
                background = background_of(recording, samples=self.options.median_frames)
        return follow(frames, self.tracker, repairer=self.repairer, background=background, options=self.options)

    def _drawn(self) -> Iterator[BallPoint]:
        looked_at, shown = tee(self._frames())
        found, marked = tee(self._found(looked_at))
        with VideoWriter(self.args.video, fps=self.source.info.fps) as writer:
            for point, image in zip(found, with_ball(shown, marked), strict=False):
                writer.write(image)
                yield point


@contextmanager
def _progress(info: SourceInfo, *, quiet: bool) -> Iterator[Callable[[], None]]:
    columns = (
        TextColumn("looking for the ball"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("", total=info.frame_count, rate="")

        def advance() -> None:
            speed = progress.tasks[0].speed
            progress.update(task, advance=1, rate=f"{speed:,.1f} frames/s" if speed else "")

        yield advance


def _tell(args: argparse.Namespace, search: _Search) -> int:
    points, info = read_trajectory(args.output), search.source.info
    summary = summarise(points, fps=info.fps)
    if args.page is not None:
        write_trajectory_page(args.page, points, fps=info.fps, size_hw=info.size_hw, notes=_notes(args, search))
    if args.json:
        print(json.dumps({**_finite(asdict(summary)), **asdict(_notes(args, search))}))
    elif not args.quiet:
        _print_summary(args, search, summary)
    if search.stopped:
        print(f"sightline: interrupted: the frames until then are in {args.output}", file=sys.stderr)
    return INTERRUPTED if search.stopped else 0


def _finite(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def _notes(args: argparse.Namespace, search: _Search) -> TrajectoryNotes:
    session = search.tracker.session
    return TrajectoryNotes(
        source=search.source.info.name,
        model=session.path.name,
        weights=session.card.weights,
        inpaint="" if args.inpaint is None else args.inpaint.name,
        eval_mode=args.eval_mode,
        dropped=search.source.dropped,
    )


def _print_summary(args: argparse.Namespace, search: _Search, found: Summary) -> None:
    session = search.tracker.session
    share = found.visible / found.frames
    filled = f", {found.filled} of them filled in" if args.inpaint is not None else ""
    print(f"{args.output}: ball in {found.visible} of {found.frames} frames ({share:.0%}){filled}")
    if search.source.dropped:
        print(f"  {search.source.dropped} frames came too fast and were dropped")
    origin = f", trained on {session.card.trained_on}," if args.model == bundled("ball") else ""
    print(f"  {session.path.name}{origin} on {session.backend} ({session.device}, {session.precision})")
