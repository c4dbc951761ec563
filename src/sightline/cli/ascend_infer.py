"""`sightline ascend infer`: a list of inputs, or rounds of noise, on the device or by the stand-in."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sightline.cli.ascend_telling import NOT_RUN, counted, progress, say
from sightline.deploy.ascend.infer import run_list, run_list_on_device, run_noise, run_noise_on_device
from sightline.deploy.ascend.info import Input, read_info
from sightline.deploy.ascend.tools import NO_TOOL, Job, batch_in_name, command, tool_here
from sightline.errors import BackendError, ConfigError
from sightline.files import require_model_file
from sightline.runtime.open import open_session


def infer(args: argparse.Namespace) -> int:
    inputs = [] if args.info is None else read_info(args.info, home=args.work)
    _require_sizes(args, inputs)
    if args.useDvpp:
        raise ConfigError("-useDvpp=True decodes images on the device; inputs here are .bin files: expected False")
    return _infer_om(args, inputs) if args.model.suffix.lower() == ".om" else _infer_onnx(args, inputs)


def _require_sizes(args: argparse.Namespace, inputs: Sequence[Input]) -> None:
    for item in inputs[:1]:
        for name, said, listed in (("width", args.input_width, item.width), ("height", args.input_height, item.height)):
            if said not in {None, listed}:
                raise ConfigError(f"-input_{name} is {said}, but {args.info} says {listed}; leave it out")


def _infer_onnx(args: argparse.Namespace, inputs: list[Input]) -> int:
    device = f"ascend:{args.device_id}"
    with open_session(args.model, "onnxruntime", device, fallback=not args.no_fallback) as session:
        chosen = {"device_id": args.device_id, "batch": args.batch_size}
        if not inputs:
            say(args, "\n".join(run_noise(session, args.work, rounds=args.round, **chosen)))
            return 0
        with progress(args) as told:
            outcome = run_list(
                session,
                inputs,
                args.work,
                binary=args.output_binary,
                restart=args.restart,
                progress=counted(told, "running", len(inputs)),
                **chosen,
            )
    kept = f", {outcome.kept:,} were there" if outcome.kept else ""
    say(args, f"{outcome.dumps}: {outcome.made:,} dumps made{kept}\n{outcome.speed}: measured by {outcome.measured_by}")
    return 0


def _infer_om(args: argparse.Namespace, inputs: list[Input]) -> int:
    tool = tool_here(args.work)
    job = _job(args, inputs)
    print(command(job, tool=tool))
    if not tool and args.no_fallback:
        raise BackendError(f"{args.model} needs an Ascend: {NO_TOOL}")
    if not tool:
        print(f"sightline: nothing was run: {NO_TOOL}; the .onnx it was made of runs here", file=sys.stderr)
        return NOT_RUN
    require_model_file(args.model)
    if inputs:
        count = run_list_on_device(job, inputs, tool=tool, restart=args.restart)
        say(args, f"{job.dumps}: {count:,} dumps by {tool}")
    else:
        say(args, "\n".join(run_noise_on_device(job, tool=tool)))
    return 0


def _job(args: argparse.Namespace, inputs: Sequence[Input]) -> Job:
    """In the current folder the paths stay as they were given; elsewhere they are made absolute."""
    here = args.work.resolve() == Path.cwd()
    listing, model = args.info, args.model
    folder = inputs[0].path.parent if inputs else None
    if not here:
        model, listing, folder = model.absolute(), listing and listing.absolute(), folder and folder.absolute()
    return Job(
        model,
        args.work,
        device_id=args.device_id,
        batch=args.batch_size or batch_in_name(model),
        size_wh=(inputs[0].width, inputs[0].height) if inputs else (0, 0),
        listing=listing,
        inputs=folder,
        binary=args.output_binary,
        rounds=args.round,
    )
