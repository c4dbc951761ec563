"""`sightline train --config configs/reid.yaml`, `configs/tracknet.yaml`, …"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.cli import INTERRUPTED
from sightline.errors import BackendError, ConfigError
from sightline.runtime.backend import missing_package
from sightline.training.ball.config import InpaintNetConfig, TrackNetConfig
from sightline.training.config import OutputSection, RunConfig, TrainingConfig
from sightline.training.runs import run_named
from sightline.training.schemas import all_keys, load_run_config

if TYPE_CHECKING:
    from sightline.training.course import Course
    from sightline.training.trainer import Outcome


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="a YAML file; flags win over it, it wins over the defaults")
    parser.add_argument("--resume", metavar="EXP", help="go on with a run: its name, or its folder")
    parser.add_argument(
        "--list-models", action="store_true", help="list the networks of re-identification, with their sizes, and stop"
    )
    group = parser.add_argument_group("every key of the configuration, with its default for each kind of network")
    for key, (section, defaults) in all_keys().items():
        _add_key(group, key, section=section, defaults=defaults)
    parser.epilog = (
        "--arch tracknet and --arch inpaintnet learn where the ball is; any other, who somebody is. "
        "Several GPUs: torchrun --nproc-per-node 8 -m sightline train … with the same flags."
    )


def _add_key(group: argparse._ArgumentGroup, key: str, *, section: str, defaults: Mapping[str, Any]) -> None:
    flag, default = "--" + key.replace("_", "-"), next(iter(defaults.values()))
    about = f"{section}.{key} (default: {_shown(defaults)})"
    if isinstance(default, bool):
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=about)
    elif isinstance(default, list):
        group.add_argument(flag, type=type(default[0]), nargs="+", metavar="N", help=about)
    else:
        group.add_argument(flag, metavar=type(default).__name__.upper(), help=about)


def _shown(defaults: Mapping[str, Any]) -> str:
    """One default where all networks that have the key share it, else each with its network."""
    shown = {name: "none" if default == "" else str(default) for name, default in defaults.items()}
    if len(set(shown.values())) == 1:
        return next(iter(shown.values())) + ("" if "reid" in shown else f"; {' and '.join(shown)} only")
    return ", ".join(f"{default} for {name}" for name, default in shown.items())


def run(args: argparse.Namespace) -> int:
    if args.list_models:
        return _list_models()
    reason = missing_package("torch", "'sightline[train]'")
    if reason:
        raise BackendError(f"training needs more than running: {reason}")
    from sightline.training.observers import Several, TensorBoard
    from sightline.training.trainer import train

    config, resumed = _settled(args)
    course, about = _course(config)
    progress = _Progress(config, about, quiet=args.quiet)
    watching = Several([progress, TensorBoard()]) if config.output.tensorboard else progress
    outcome = train(course, observer=watching, resume=resumed)
    return _tell(outcome)


def _settled(args: argparse.Namespace) -> tuple[RunConfig, Path | None]:
    """The configuration, and the folder of the run to go on with."""
    overrides = _explicit(args)
    if args.resume is None:
        return load_run_config(args.config, overrides=overrides), None
    folder = run_named(args.resume, Path(args.project or OutputSection().project))
    return load_run_config(args.config or folder / "config.yaml", overrides=overrides), folder


def _explicit(args: argparse.Namespace) -> list[str]:
    """The flags that were given, also those that were given their default, as overrides."""
    known = all_keys()
    given = {key: getattr(args, key) for key in known if getattr(args, key) is not None}
    return [f"{known[key][0]}.{key}={_as_yaml(value)}" for key, value in given.items()]


def _as_yaml(value: object) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value) or "''"


def _course(config: RunConfig) -> tuple[Course[Any, Any], str]:
    """What is to be learned, and from what, in words."""
    if isinstance(config, TrainingConfig):
        return _identities(config)
    assert isinstance(config, (TrackNetConfig, InpaintNetConfig))
    return _ball(config)


def _identities(config: TrainingConfig) -> tuple[Course[Any, Any], str]:
    from sightline.training.folders import open_dataset
    from sightline.training.identities import Identities, Material
    from sightline.training.split import split_by_identity

    if not config.data.dataset:
        raise ConfigError("nothing to train on: --dataset names a CSV, a dataset folder or a known dataset")
    root = Path(config.data.data_root) if config.data.data_root else None
    dataset = open_dataset(config.data.dataset, root=root)
    train, held_out = split_by_identity(dataset.train, share=config.val.val_split, seed=config.train.seed)
    people = len({record.person for record in train})
    about = f"{len(train)} images of {people} people, {len(held_out)} images of others held out"
    return Identities(config, Material(dataset.name, train, held_out)), about


def _ball(config: TrackNetConfig | InpaintNetConfig) -> tuple[Course[Any, Any], str]:
    from sightline.training.ball.inpaintnet import Repairing
    from sightline.training.ball.rallies import open_rallies
    from sightline.training.ball.tracknet import Tracking

    if not config.data.dataset:
        raise ConfigError(
            "nothing to train on: --dataset names a folder with train/match1/csv and its frames or videos"
        )
    rallies = open_rallies(Path(config.data.dataset))
    about = f"{len(rallies.train)} rallies, {len(rallies.held_out)} others held out"
    if isinstance(config, TrackNetConfig):
        return Tracking(config, rallies), about
    return Repairing(config, rallies), about


class _Progress:
    """A bar an epoch with rate and time left, then the epoch's figures on a line."""

    def __init__(self, config: RunConfig, about: str, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._about = about
        self._epochs = config.train.epochs
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )

    def run_begins(self, folder: Path) -> None:
        print(f"{folder}: {self._about}", flush=True)

    def epoch_begins(self, epoch: int, steps: int, first_step: int) -> None:
        self._bar.start()
        self._task = self._bar.add_task(f"epoch {epoch + 1}/{self._epochs}", total=steps, completed=first_step, note="")

    def step_done(self, figures: dict[str, float]) -> None:
        speed = self._bar.tasks[-1].speed
        rate = f"{speed:,.2g} batches/s" if speed else ""
        self._bar.update(self._task, advance=1, note=f"loss {figures['loss']:.3f}  {rate}")

    def epoch_done(self, epoch: int, figures: dict[str, float]) -> None:
        self._bar.remove_task(self._task)
        self._bar.stop()
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        print(f"epoch {epoch}/{self._epochs}  {shown}", flush=True)


def _tell(outcome: Outcome) -> int:
    if outcome.interrupted:
        print(f"sightline: interrupted; go on with: sightline train --resume {outcome.folder}", file=sys.stderr)
        return INTERRUPTED
    if outcome.stopped_early:
        print("stopped early: the validation has not got better for as long as patience allows")
    for name in _written(outcome.folder):
        print(name)
    return 0


def _written(folder: Path) -> Sequence[str]:
    names = ("weights/best.pt", "weights/final.pt", "history.csv", "curves.png")
    return [str(folder / name) for name in names if (folder / name).exists()]


def _list_models() -> int:
    from sightline.nets.osnet import ARCHS, build_osnet

    for name in ARCHS:
        millions = sum(parameter.numel() for parameter in build_osnet(name).parameters()) / 1e6
        print(f"{name:<18} {millions:.2f} M parameters")
    return 0
