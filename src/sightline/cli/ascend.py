"""`sightline ascend ACTION …`: from our model to figures on an Ascend, step by step or all at once."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sightline.cli import export as export_verb
from sightline.cli.ascend_arguments import DATASETS, configure_actions
from sightline.deploy.ascend.atc import atc_missing, conversion
from sightline.deploy.ascend.batches import batch_file, fix_batch
from sightline.deploy.ascend.chain import Chain, Plan, no_device, parts_missing
from sightline.deploy.ascend.infer import run_list, run_list_on_device, run_noise, run_noise_on_device
from sightline.deploy.ascend.info import Input, list_bins, list_images, read_info, write_info
from sightline.deploy.ascend.metrics import details, measure, write_result
from sightline.deploy.ascend.preprocess import DOCUMENTED, input_of, prepare_folder
from sightline.deploy.ascend.report import Report, figures, gather, read_source, remarks, table, write_report
from sightline.deploy.ascend.tools import NO_TOOL, Job, batch_in_name, command, tool_here
from sightline.errors import BackendError, ConfigError
from sightline.files import output_error, require_model_file
from sightline.runtime.cards import Claims
from sightline.runtime.open import open_session

NOT_RUN = 3  # exit code: the command was printed, as what it needs is not on this machine
ACCURACY_LOST = 1


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)

    def action(name: str, told: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")

    configure_actions(action)
    parser.epilog = (
        "Without an Ascend, a stand-in runs the ONNX on ONNX Runtime and leaves the same files; they say so. Exit code "
        "3: a command was printed, and not run, because its program is not here. report and run: 1 where accuracy is lost."
    )


def run(args: argparse.Namespace) -> int:
    return _ACTIONS[args.action](args)


# Files for the device


def _export(args: argparse.Namespace) -> int:
    source = _onnx_of(args, args.output)
    for batch in sorted(args.batches):
        target = batch_file(args.output / source.name, batch)
        difference = fix_batch(source, target, batch=batch)
        _say(args, f"{target}: batch {batch}, differs from {source.name} by {difference:.1e} of the largest value")
    return 0


def _onnx_of(args: argparse.Namespace, folder: Path) -> Path:
    """The model as an ONNX of any batch: the one given, or what `sightline export --preset ascend` makes of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc
    if args.weights is not None and args.weights.suffix.lower() == ".onnx":
        return require_model_file(args.weights)
    arch = args.arch or _arch_told(args)
    target = folder / f"{arch}.onnx"
    parser = argparse.ArgumentParser(prog="sightline export")
    export_verb.configure(parser)
    export_verb.run(parser.parse_args([*_export_flags(args), "--output", str(target)]))
    return target


def _arch_told(args: argparse.Namespace) -> str:
    if args.untrained:
        raise ConfigError("--untrained needs --arch, the network to draw; e.g. --arch osnet_x0_25")
    from sightline.nets.checkpoint import guess_arch, read_checkpoint

    checkpoint = read_checkpoint(args.weights, allow_pickle=args.unsafe_pickle)
    told = checkpoint.card.arch if checkpoint.card is not None else guess_arch(checkpoint.state)
    if told is None:
        raise ConfigError(f"{args.weights}: the network cannot be told from its tensors; name it with --arch")
    return told


def _export_flags(args: argparse.Namespace) -> list[str]:
    size = None if args.size is None else f"{args.size[0]}x{args.size[1]}"
    valued = {"--weights": args.weights, "--arch": args.arch, "--pixels": args.pixels, "--size": size}
    plain = {"--untrained": args.untrained, "--partial": args.partial, "--unsafe-pickle": args.unsafe_pickle}
    given = [part for flag, value in valued.items() if value is not None for part in (flag, str(value))]
    return ["--preset", "ascend", "--task", "reid", *given, *(flag for flag, said in plain.items() if said)]


def _atc(args: argparse.Namespace) -> int:
    conversions = [conversion(path, soc=args.soc_version, log=args.log) for path in args.files]
    missing = "only printed, as asked" if args.only_print else atc_missing()
    for made in conversions:
        print(made.command)
        if not missing:
            made.run()
            _say(args, f"{made.target}: converted")
    if missing:
        print(f"sightline: nothing was converted: {missing}", file=sys.stderr)
    return NOT_RUN if missing and not args.only_print else 0


def _preprocess(args: argparse.Namespace) -> int:
    claims = Claims(args.pixels, args.size)
    spec = DOCUMENTED if args.model is None else input_of(args.model, claims)
    if args.model is None and args.size is not None:
        spec = replace(spec, size_hw=args.size)
    if args.model is None and args.pixels is not None:
        from sightline.card import pixels_named

        spec = replace(spec, pixels=pixels_named(args.pixels))
    with _progress(args) as told:
        written = prepare_folder(
            args.source, args.target, spec=spec, workers=args.workers, progress=_counted(told, "preparing", None)
        )
    height, width = spec.size_hw or (0, 0)
    _say(args, f"{args.target}: {len(written):,} .bin files of {height * width * 12:,} bytes; fed {spec.feed}")
    return 0


def _info(args: argparse.Namespace) -> int:
    if args.kind == "bin" and args.height is None:
        raise ConfigError("a list of .bin files needs WIDTH and HEIGHT after its name, e.g. 128 256")
    inputs = (
        list_images(args.folder) if args.kind == "jpg" else list_bins(args.folder, size_wh=(args.width, args.height))
    )
    write_info(inputs, args.target)
    _say(args, f"{args.target}: {len(inputs):,} inputs")
    return 0


# Running


def _infer(args: argparse.Namespace) -> int:
    inputs = [] if args.info is None else read_info(args.info)
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
            _say(args, "\n".join(run_noise(session, args.work, rounds=args.round, **chosen)))
            return 0
        with _progress(args) as told:
            outcome = run_list(
                session,
                inputs,
                args.work,
                binary=args.output_binary,
                restart=args.restart,
                progress=_counted(told, "running", len(inputs)),
                **chosen,
            )
    kept = f", {outcome.kept:,} were there" if outcome.kept else ""
    _say(
        args, f"{outcome.dumps}: {outcome.made:,} dumps made{kept}\n{outcome.speed}: measured by {outcome.measured_by}"
    )
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
        _say(args, f"{job.dumps}: {count:,} dumps by {tool}")
    else:
        _say(args, "\n".join(run_noise_on_device(job, tool=tool)))
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
        args.device_id,
        args.batch_size or batch_in_name(model),
        (inputs[0].width, inputs[0].height) if inputs else (0, 0),
        listing,
        folder,
        args.output_binary,
        args.round,
    )


# Figures


def _metrics(args: argparse.Namespace) -> int:
    stems = {side: _stems(getattr(args, f"{side}_info")) for side in ("query", "gallery")}
    accuracy = measure(
        args.query, args.gallery, query_stems=stems["query"], gallery_stems=stems["gallery"], dim=args.dim
    )
    target = args.folder / args.name
    write_result(accuracy, target)
    for note in accuracy.notes:
        print(f"sightline: note: {note}", file=sys.stderr)
    if args.json:
        print(json.dumps(details(accuracy), indent=2))
        return 0
    found = accuracy.euclidean
    _say(args, f"{found.queries:,} queries, {found.skipped:,} skipped, {len(accuracy.gallery.stems):,} gallery images")
    _say(args, f"R1 {found.rank_k(1):.2%}, mAP {found.map_mean_precision:.2%}, mINP {found.minp:.2%}\n{target}")
    return 0


def _stems(listing: Path | None) -> list[str] | None:
    return None if listing is None else [item.stem for item in read_info(listing)]


def _report(args: argparse.Namespace) -> int:
    source = None if args.source is None else read_source(args.source)
    report = gather(args.work, soc=args.soc_version, model=args.model, source=source, tolerance=args.tolerance)
    written = write_report(report, args.work)
    if args.json:
        print(json.dumps(figures(report), indent=2))
    else:
        _say(args, "\n".join([*_shown(report), "", *map(str, written)]))
    return ACCURACY_LOST if report.within is False else 0


def _shown(report: Report) -> list[str]:
    lines = table(report)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    aligned = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return [*aligned, "", *remarks(report)]


def _run(args: argparse.Namespace) -> int:
    lacking = no_device(args.work)
    if lacking and args.no_fallback:
        raise BackendError(f"no Ascend here: {'; '.join(lacking)}")
    data, source = _data(args), None if args.source is None else read_source(args.source)
    plan = Plan(
        _onnx_of(args, args.work),
        data,
        args.work,
        args.batches,
        args.ranked,
        args.soc_version,
        args.round,
        args.output_binary,
        source,
        args.tolerance,
        Claims(args.pixels, args.size),
        args.restart,
    )
    with _progress(args) as told:
        report = Chain(plan, say=lambda line: _say(args, line), progress=told).run()
    not_run = [f"not done on this machine: {reason}" for reason in lacking]
    _say(args, "\n".join(["", *_shown(report), *not_run]))
    return ACCURACY_LOST if report.within is False else 0


def _data(args: argparse.Namespace) -> Path:
    """The folder with query/ and bounding_box_test/; the training images are not needed."""
    from sightline.training.folders import DATASETS as LAYOUTS

    if args.dataset not in DATASETS:
        homes = [Path(args.dataset)]
    elif args.data_root is None:
        raise ConfigError(f"where is {args.dataset}? pass --data-root, the folder it lies in")
    else:
        homes = [args.data_root / home for home in LAYOUTS[args.dataset].homes]
    found = next((home for home in homes if not parts_missing(home)), None)
    if found is None:
        raise ConfigError(f"no {args.dataset} here: expected {' and '.join(map(str, parts_missing(homes[0])))}")
    return found


# What is told


def _say(args: argparse.Namespace, line: str) -> None:
    if not args.quiet:
        print(line)


@contextmanager
def _progress(args: argparse.Namespace) -> Iterator[Callable[[str, int, int | None], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    silent = args.quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=silent, transient=True) as progress:
        task = progress.add_task("")
        yield lambda step, done, total: progress.update(task, description=step, completed=done, total=total)


def _counted(told: Callable[[str, int, int | None], None], step: str, total: int | None) -> Callable[[int], None]:
    """A listener that is told counts, for one that is told totals."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        told(step, done, total)

    return count


_ACTIONS = {
    "export": _export,
    "atc": _atc,
    "preprocess": _preprocess,
    "info": _info,
    "infer": _infer,
    "metrics": _metrics,
    "report": _report,
    "run": _run,
}
