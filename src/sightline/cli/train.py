"""`sightline train --config configs/reid.yaml`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.cli import INTERRUPTED
from sightline.config import load_config
from sightline.errors import BackendError, ConfigError
from sightline.runtime.backend import missing_package
from sightline.training.config import TrainingConfig, keys
from sightline.training.runs import run_named

if TYPE_CHECKING:
    from sightline.training.trainer import Material, Outcome


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="a YAML file; flags win over it, it wins over the defaults")
    parser.add_argument("--resume", metavar="EXP", help="go on with a run: its name, or its folder")
    parser.add_argument("--list-models", action="store_true", help="list the networks, with their sizes, and stop")
    group = parser.add_argument_group("every key of the configuration")
    for key, (section, default) in keys().items():
        _add_key(group, key, section=section, default=default)
    parser.epilog = "Several GPUs: torchrun --nproc-per-node 8 -m sightline train … with the same flags."


def _add_key(group: argparse._ArgumentGroup, key: str, *, section: str, default: Any) -> None:
    flag, shown = "--" + key.replace("_", "-"), "none" if default == "" else default
    about = f"{section}.{key} (default: {shown})"
    if isinstance(default, bool):
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=about)
    elif isinstance(default, list):
        group.add_argument(flag, type=type(default[0]), nargs="+", metavar="N", help=about)
    else:
        group.add_argument(flag, metavar=type(default).__name__.upper(), help=about)


def run(args: argparse.Namespace) -> int:
    if args.list_models:
        return _list_models()
    reason = missing_package("torch", "'sightline[train]'")
    if reason:
        raise BackendError(f"training needs more than running: {reason}")
    from sightline.training.observers import Several, TensorBoard
    from sightline.training.trainer import train

    config, resumed = _settled(args)
    material = _material(config)
    progress = _Progress(config, material, quiet=args.quiet)
    watching = Several([progress, TensorBoard()]) if config.output.tensorboard else progress
    outcome = train(config, material, observer=watching, resume=resumed)
    return _tell(outcome)


def _settled(args: argparse.Namespace) -> tuple[TrainingConfig, Path | None]:
    """The configuration, and the folder of the run to go on with."""
    overrides = _explicit(args)
    if args.resume is None:
        return load_config(TrainingConfig, args.config, overrides=overrides), None
    folder = run_named(args.resume, Path(args.project or TrainingConfig().output.project))
    return load_config(TrainingConfig, args.config or folder / "config.yaml", overrides=overrides), folder


def _explicit(args: argparse.Namespace) -> list[str]:
    """The flags that were given, also those that were given their default, as overrides."""
    given = {key: getattr(args, key) for key in keys() if getattr(args, key) is not None}
    return [f"{keys()[key][0]}.{key}={_as_yaml(value)}" for key, value in given.items()]


def _as_yaml(value: object) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _material(config: TrainingConfig) -> Material:
    from sightline.training.folders import open_dataset
    from sightline.training.split import split_by_identity
    from sightline.training.trainer import Material

    if not config.data.dataset:
        raise ConfigError("nothing to train on: --dataset names a CSV, a dataset folder or a known dataset")
    root = Path(config.data.data_root) if config.data.data_root else None
    dataset = open_dataset(config.data.dataset, root=root)
    train, held_out = split_by_identity(dataset.train, share=config.val.val_split, seed=config.train.seed)
    return Material(dataset.name, train, held_out)


class _Progress:
    """A bar an epoch with rate and time left, then the epoch's figures on a line."""

    def __init__(self, config: TrainingConfig, material: Material, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._material = material
        self._epochs = config.train.epochs
        self._images = config.data.batch_size
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
        train, held_out = self._material.train, self._material.held_out
        people = len({record.person for record in train})
        print(
            f"{folder}: {len(train)} images of {people} people, {len(held_out)} images of others held out", flush=True
        )

    def epoch_begins(self, epoch: int, steps: int, first_step: int) -> None:
        self._bar.start()
        self._task = self._bar.add_task(f"epoch {epoch + 1}/{self._epochs}", total=steps, completed=first_step, note="")

    def step_done(self, figures: dict[str, float]) -> None:
        speed = self._bar.tasks[-1].speed
        rate = f"{speed * self._images:,.0f} images/s" if speed else ""
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
