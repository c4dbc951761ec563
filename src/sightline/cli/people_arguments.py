"""The flags of `sightline people`."""

from __future__ import annotations

import argparse
import re
from datetime import datetime
from pathlib import Path

from sightline.cli.identity_arguments import add_limit_arguments
from sightline.cli.model_arguments import add_model_arguments
from sightline.errors import ConfigError
from sightline.pipeline.people.memory_rules import DISTINCT
from sightline.pipeline.people.plans import CameraPlan
from sightline.reid.identify import MARGIN
from sightline.sources import expand_sources
from sightline.sources import is_live as live_source
from sightline.tracking.detector import BACKGROUND
from sightline.tracking.families import FAMILIES
from sightline.tracking.recognise import AUTO
from sightline.tracking.trackers_library import LIBRARY_TRACKERS

OURS = "sightline"
OUT = Path("runs/people")
CAMERA_NAME = re.compile(r"[\w.-]{1,80}")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources", nargs="*", metavar="SOURCE", help="videos, folders of videos or of frames, one after another"
    )
    parser.add_argument(
        "--camera",
        action="append",
        default=[],
        type=_camera,
        metavar="NAME=SOURCE",
        help="a camera beside others: a file, a device number, rtsp://, http://; may be repeated",
    )
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="default: runs/people")
    parser.add_argument("-m", "--model", help="the re-identification model: an .onnx file, a checkpoint, …")
    parser.add_argument("--live", action="store_true", help="take files as cameras too; show a table of who is there")
    parser.add_argument("--video", type=Path, metavar="FILE", help="the video with everybody named (.mp4, .webm, …)")
    parser.add_argument("--explain", action="store_true", help="say of every visit why it was taken for whom")
    parser.add_argument("--restart", action="store_true", help="throw away what an earlier run left in --out")
    parser.add_argument("--config", type=Path, metavar="YAML", help="run the stages of a pipeline file instead")
    parser.add_argument("--from", dest="from_stage", metavar="STAGE", help="with --config: begin anew at this stage")
    parser.add_argument("--until", dest="until_stage", metavar="STAGE", help="with --config: stop after this stage")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    _add_finding(parser.add_argument_group("how people are found"))
    _add_remembering(parser.add_argument_group("how people are remembered"))
    add_model_arguments(parser)
    parser.epilog = (
        "Stopped by Ctrl-C or killed, the same command goes on where it was. Exit code 3: some sources could not be "
        "used, the others were."
    )


def _add_finding(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--detector",
        default=BACKGROUND,
        metavar="MODEL",
        help=f"a detector's .onnx file; a file of boxes, such as boxes/{{camera}}.txt; or {BACKGROUND!r}, the default: "
        "whatever moves before a fixed camera",
    )
    group.add_argument("--detector-format", default=AUTO, choices=(AUTO, *FAMILIES), help="where the graph cannot tell")
    group.add_argument("--min-score", type=float, metavar="SCORE", help="of a detection (default: the detector's own)")
    group.add_argument("--classes", nargs="+", metavar="NAME", help="what to follow (default: person, face)")
    group.add_argument(
        "--tracker", default=OURS, choices=(OURS, *LIBRARY_TRACKERS), help="default: ours, which knows looks too"
    )
    group.add_argument("--moving-camera", action="store_true", help="take the camera's own motion out (our tracker)")
    group.add_argument("--max-age", type=float, default=5.0, metavar="SECONDS", help="until a track ends (default: 5)")
    group.add_argument(
        "--embed-every", type=float, default=0.5, metavar="SECONDS", help="of each person (default: 0.5)"
    )


def _add_remembering(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--gallery", metavar="URL", help="where everybody is kept (default: gallery.sqlite in --out)")
    add_limit_arguments(group)
    group.add_argument("--margin", type=float, default=MARGIN, help=f"over the runner-up (default: {MARGIN})")
    group.add_argument(
        "--distinct",
        type=float,
        default=DISTINCT,
        metavar="SCORE",
        help=f"that two must reach with the scene taken out, besides the threshold (default: {DISTINCT})",
    )
    group.add_argument(
        "--travel",
        type=float,
        metavar="SECONDS",
        help="nobody gets from one camera to another faster (default: anybody)",
    )
    group.add_argument(
        "--merge-late", action="store_true", help="at the end, merge identities that turned out to be one"
    )
    group.add_argument(
        "--start", type=_moment, metavar="TIME", help="of the first frame, e.g. 2026-05-01T08:00 (default: now)"
    )
    group.add_argument(
        "--sink", action="append", default=[], metavar="URL", help="send events to mqtt:// or redis:// too"
    )


def _camera(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not equals or not source or not CAMERA_NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SOURCE; a name is letters, digits, '.', '_' and '-'")
    return name, source


def _moment(text: str) -> float:
    """Seconds since 1970; without an offset it is local time."""
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-05-01T08:00") from exc


# What was meant


def require_plausible(args: argparse.Namespace) -> None:
    """Raises `ConfigError` for flags that do not go together, before anything is opened."""
    _require(args.model is not None, "no model to tell people apart by; pass -m MODEL")
    _require(
        bool(args.sources) != bool(args.camera), "expected either SOURCE… or --camera NAME=SOURCE, and one of them"
    )
    _require(not (args.from_stage or args.until_stage), "--from and --until are about stages; pass --config too")
    _require(args.max_age > 0 and args.embed_every > 0, "--max-age and --embed-every are seconds above 0")
    _require(args.min_score is None or 0 <= args.min_score <= 1, "--min-score is a share from 0 to 1")
    names = [name.casefold() for name, _ in args.camera]  # files are named after them
    _require(len(set(names)) == len(names), "two --camera have the same name; give each its own")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ConfigError(what)


def groups_of(args: argparse.Namespace, *, start_s: float) -> list[list[CameraPlan]]:
    """Which sources are watched side by side, and which after one another: cameras do not wait for each other."""
    named = args.camera or [(plain_name(name), source) for name, source in expand_sources(args.sources)]
    plans = [CameraPlan(name, source, start_s) for name, source in named]
    return [plans] if args.camera or is_live(args) else [[plan] for plan in plans]


def is_live(args: argparse.Namespace) -> bool:
    return args.live or any(map(live_source, [*args.sources, *(source for _, source in args.camera)]))


def plain_name(name: str) -> str:
    """The name of a source as that of a camera, which files are named after too."""
    return re.sub(r"[^\w.-]+", "-", name)[:80].strip("-.") or "camera"
