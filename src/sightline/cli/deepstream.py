"""`sightline deepstream init DIR --model M`: a folder in which DeepStream recognises people."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sightline.card import PIXELS
from sightline.cli import export
from sightline.cli.model_arguments import positive, size_hw
from sightline.deploy.deepstream.detectors import DETECTORS
from sightline.errors import BackendError, ConfigError
from sightline.files import model_kind, output_error, replacing, require_model_file
from sightline.onnx_file import read_onnx
from sightline.runtime.backend import missing_package
from sightline.runtime.cards import Claims, card_of_onnx

if TYPE_CHECKING:
    from sightline.deploy.deepstream.model import Prepared
    from sightline.deploy.deepstream.plan import Plan

BATCH = 16
MODELS = "models/osnet"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    told = "write the model, configurations, applications and a compose file into a folder"
    init = actions.add_parser("init", help=told, description=f"{told[0].upper()}{told[1:]}.")
    init.add_argument("folder", type=Path, metavar="DIR", help="the folder; made where it is missing")
    init.add_argument("-m", "--model", type=Path, required=True, help="an .onnx file, or a checkpoint")
    init.add_argument("--detector", choices=tuple(DETECTORS), default="trafficcamnet", help="what finds people")
    init.add_argument("--detector-onnx", type=Path, metavar="FILE", help="put this file in the detector's place")
    init.add_argument("--batch", type=positive, metavar="N", help=f"people at once (default: {BATCH}, or the model's)")
    init.add_argument("--streams", type=positive, default=1, metavar="N", help="cameras at once (default: 1)")
    init.add_argument("--precision", choices=("fp16", "fp32"), default="fp16", help="of the engines (default: fp16)")
    init.add_argument(
        "--scalar", action="store_true", help="leave the model as it is, and have nvinfer scale: not exact"
    )
    init.add_argument(
        "--canvas", type=size_hw, default=(1080, 1920), metavar="HEIGHTxWIDTH", help="of the muxer (default: 1080x1920)"
    )
    init.add_argument("--root", metavar="PATH", help="where the folder will lie when it runs (default: where it is)")
    init.add_argument("--force", action="store_true", help="write over files that were changed")
    _add_claims(init.add_argument_group("what a model without a card does not say"))


def _add_claims(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--pixels", choices=tuple(PIXELS), help="the pixels it was trained on")
    group.add_argument("--size", type=size_hw, metavar="HEIGHTxWIDTH", help="the image size it was trained on")
    group.add_argument("-a", "--arch", help="of a checkpoint (default: told from its tensors)")
    group.add_argument("--unsafe-pickle", action="store_true", help="load a checkpoint that may run code")
    group.add_argument("--allow-untrained", action="store_true", help="take weights that do not tell people apart")


def run(args: argparse.Namespace) -> int:
    _require_packages()
    require_model_file(args.model)
    _require_detector(args)
    with _as_onnx(args) as source:
        return _init(args, source)


def _require_packages() -> None:
    reason = missing_package("onnx", "'sightline[export]'")
    if reason:
        raise BackendError(f"writing a model needs more than running one: {reason}")


def _require_detector(args: argparse.Namespace) -> None:
    """Before anything is written."""
    if args.detector_onnx is None:
        return
    detector = DETECTORS[args.detector]
    if detector.comes_along:
        raise ConfigError(f"{detector.name} lies in DeepStream's own folder ({detector.onnx}); drop --detector-onnx")
    require_model_file(args.detector_onnx)


@contextmanager
def _as_onnx(args: argparse.Namespace) -> Iterator[Path]:
    """The model as an ONNX file; a checkpoint is exported as `sightline export` does it."""
    kind = model_kind(args.model)
    if kind == "onnx":
        yield args.model
        return
    if kind != "checkpoint":
        raise ConfigError(f"{args.model} is a {kind} model; expected an .onnx file or a checkpoint")
    with TemporaryDirectory(prefix="sightline-") as folder:
        target = Path(folder, f"{args.model.stem}.onnx")
        parser = argparse.ArgumentParser()
        export.configure(parser)
        export.run(parser.parse_args([*_export_arguments(args), f"--output={target}"]))
        yield target


def _export_arguments(args: argparse.Namespace) -> Iterator[str]:
    yield from (f"--weights={args.model}", "--preset=deepstream", f"--fold={'none' if args.scalar else 'float'}")
    if args.arch:
        yield f"--arch={args.arch}"
    if args.pixels:
        yield f"--pixels={args.pixels}"
    if args.size:
        yield f"--size={args.size[0]}x{args.size[1]}"
    if args.unsafe_pickle:
        yield "--unsafe-pickle"


def _init(args: argparse.Namespace, source: Path) -> int:
    from sightline.deploy.deepstream.folder import files_of, require_free, write_files
    from sightline.deploy.deepstream.model import prepare_model

    folder, name = args.folder.absolute(), f"{MODELS}/{_model_name(args, source)}"
    claims = Claims(args.pixels, args.size) if source == args.model else Claims()
    with TemporaryDirectory(prefix="sightline-") as scratch:
        fresh = Path(scratch, "model.onnx")
        prepared = prepare_model(source, fresh, claims=claims, scalar=args.scalar, allow_untrained=args.allow_untrained)
        plan = _plan(args, prepared, folder=folder, model=name)
        files = files_of(plan)
        if not args.force:
            require_free(folder, files)
        _copy(fresh, folder / name)
    if args.detector_onnx is not None:
        _copy(args.detector_onnx, folder / plan.detector.onnx)
    write_files(folder, files)
    _tell(args, plan, files)
    return 0


def _model_name(args: argparse.Namespace, source: Path) -> str:
    arch = card_of_onnx(read_onnx(source), Claims()).arch
    return f"{args.model.stem if arch == 'unknown' else arch}_final.onnx"


def _plan(args: argparse.Namespace, prepared: Prepared, *, folder: Path, model: str) -> Plan:
    from sightline.deploy.deepstream.plan import Plan

    height, width = args.canvas
    return Plan(
        prepared,
        model,
        PurePosixPath(args.root or folder.resolve().as_posix()),
        DETECTORS[args.detector],
        batch=args.batch or prepared.image.batch or BATCH,
        streams=args.streams,
        precision=args.precision,
        canvas_wh=(width, height),
    )


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(target, exc) from exc
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _tell(args: argparse.Namespace, plan: Plan, files: dict[str, str]) -> None:
    for remark in plan.prepared.remarks:
        print(f"sightline: {remark}", file=sys.stderr)
    if args.quiet:
        return
    image, detector = plan.prepared.image, plan.detector
    print(f"{args.folder}: {len(files)} files, and {plan.model}")
    print(f"  the model is fed {plan.fed}, {plan.size_hw[0]}x{plan.size_hw[1]}, batch {plan.batch}", end="")
    print("" if image.batch is None else " and no other")
    print(f"  a person is class {';'.join(map(str, detector.person_ids))} of {detector.title}")
    print(f"  it has to lie at {plan.root}; README.md says how to start it")
