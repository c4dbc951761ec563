"""`sightline ascend ACTION …`: from our model to figures on an Ascend, step by step or all at once."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from sightline.card import ImageInput, pixels_named
from sightline.cli.ascend_arguments import DATASETS, configure_actions
from sightline.cli.ascend_export import onnx_of
from sightline.cli.ascend_infer import infer
from sightline.cli.ascend_telling import NOT_RUN, counted, progress, say
from sightline.deploy.ascend.atc import atc_missing, conversion
from sightline.deploy.ascend.batches import batch_file, fix_batch
from sightline.deploy.ascend.chain import Chain, Plan, no_device, parts_missing
from sightline.deploy.ascend.info import list_bins, list_images, read_info, write_info
from sightline.deploy.ascend.metrics import details, measure, write_result
from sightline.deploy.ascend.preprocess import DOCUMENTED, input_of, prepare_folder
from sightline.deploy.ascend.report import Report, figures, gather, read_source, remarks, table, write_report
from sightline.errors import BackendError, ConfigError
from sightline.runtime.cards import Claims

ACCURACY_LOST = 1


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)

    def action(name: str, told: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")

    configure_actions(action)
    parser.epilog = (
        "Without an Ascend, a stand-in runs the ONNX on ONNX Runtime and leaves the same files; they say so. Exit code "
        "3: a command was printed, and not run, as its program is not here. report and run: 1 where accuracy is lost."
    )


def run(args: argparse.Namespace) -> int:
    return _ACTIONS[args.action](args)


# Files for the device


def _export(args: argparse.Namespace) -> int:
    source = onnx_of(args, args.output)
    for batch in sorted(args.batches):
        target = batch_file(args.output / source.name, batch)
        difference = fix_batch(source, target, batch=batch)
        say(args, f"{target}: batch {batch}, differs from {source.name} by {difference:.1e} of the largest value")
    return 0


def _atc(args: argparse.Namespace) -> int:
    conversions = [conversion(path, soc=args.soc_version, log=args.log) for path in args.files]
    missing = "only printed, as asked" if args.only_print else atc_missing()
    for made in conversions:
        print(made.command)
        if not missing:
            made.run()
            say(args, f"{made.target}: converted")
    if missing:
        print(f"sightline: nothing was converted: {missing}", file=sys.stderr)
    return NOT_RUN if missing and not args.only_print else 0


def _preprocess(args: argparse.Namespace) -> int:
    spec = _spec(args)
    with progress(args) as told:
        written = prepare_folder(
            args.source, args.target, spec=spec, workers=args.workers, progress=counted(told, "preparing", None)
        )
    height, width = spec.size_hw or (0, 0)
    say(args, f"{args.target}: {len(written):,} .bin files of {height * width * 12:,} bytes; fed {spec.feed}")
    return 0


def _spec(args: argparse.Namespace) -> ImageInput:
    """What the model's card says; without a model what the guide says, but for what the flags do."""
    if args.model is not None:
        return input_of(args.model, Claims(args.pixels, args.size))
    pixels = DOCUMENTED.pixels if args.pixels is None else pixels_named(args.pixels)
    return replace(DOCUMENTED, pixels=pixels, size_hw=args.size or DOCUMENTED.size_hw)


def _info(args: argparse.Namespace) -> int:
    if args.kind == "bin" and args.height is None:
        raise ConfigError("a list of .bin files needs WIDTH and HEIGHT after its name, e.g. 128 256")
    inputs = (
        list_images(args.folder) if args.kind == "jpg" else list_bins(args.folder, size_wh=(args.width, args.height))
    )
    write_info(inputs, args.target)
    say(args, f"{args.target}: {len(inputs):,} inputs")
    return 0


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
    say(args, f"{found.queries:,} queries, {found.skipped:,} skipped, {len(accuracy.gallery.stems):,} gallery images")
    say(args, f"R1 {found.rank_k(1):.2%}, mAP {found.map_mean_precision:.2%}, mINP {found.minp:.2%}\n{target}")
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
        say(args, "\n".join([*_shown(report), "", *map(str, written)]))
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
        onnx_of(args, args.work),
        data=data,
        work=args.work,
        batches=args.batches,
        ranked=args.ranked,
        soc=args.soc_version,
        rounds=args.round,
        binary=args.output_binary,
        source=source,
        tolerance=args.tolerance,
        claims=Claims(args.pixels, args.size),
        restart=args.restart,
    )
    with progress(args) as told:
        report = Chain(plan, say=lambda line: say(args, line), progress=told).run()
    not_run = [f"not done on this machine: {reason}" for reason in lacking]
    say(args, "\n".join(["", *_shown(report), *not_run]))
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


_ACTIONS = {
    "export": _export,
    "atc": _atc,
    "preprocess": _preprocess,
    "info": _info,
    "infer": infer,
    "metrics": _metrics,
    "report": _report,
    "run": _run,
}
