"""`sightline quantize MODEL --calibrate CROPS -o OUT`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline._version import __version__
from sightline.card import PIXELS
from sightline.cli.comparison_arguments import add_verdict_arguments, images_of, labels_of
from sightline.cli.comparison_report import Names, agreement_figures, agreement_lines, write_page
from sightline.cli.model_arguments import positive, size_hw
from sightline.deploy.quantise.crops import CALIBRATION, Dealt, dealt
from sightline.deploy.quantise.sensitive import PARTS
from sightline.errors import BackendError, ConfigError
from sightline.runtime.backend import missing_package
from sightline.runtime.cards import Claims

if TYPE_CHECKING:
    from sightline.deploy.quantise.bench import Plan, Precision
    from sightline.deploy.quantise.quantise import Outcome

PRECISIONS: dict[str, Precision] = {"int8": "int8", "fp16": "float16"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="an .onnx file of float32 weights")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the .onnx, or .xml, to write")
    parser.add_argument(
        "--calibrate", nargs="+", required=True, metavar="CROPS", help="crops like those it will see: files, folders"
    )
    parser.add_argument(
        "--judge", nargs="+", metavar="CROPS", help="crops to judge by (default: those of --calibrate that are left)"
    )
    parser.add_argument("--precision", choices=(*PRECISIONS, "bf16"), default="int8", help="(default: int8)")
    parser.add_argument(
        "--keep", type=_parts, metavar="PARTS", help=f"what stays float32: none, or of {','.join(PARTS)} (default: try)"
    )
    parser.add_argument(
        "--images", type=positive, default=CALIBRATION, metavar="N", help="crops for the ranges (default: 96)"
    )
    parser.add_argument("--reduce-range", action="store_true", help="weights of 7 bits, for processors without VNNI")
    parser.add_argument("--force", action="store_true", help="write it even where it agrees less than the floor")
    parser.add_argument("--seed", type=int, default=0, help="of the crops that are drawn for the ranges (default: 0)")
    add_verdict_arguments(parser)
    claims = parser.add_argument_group("what a model without a card does not say")
    claims.add_argument("--pixels", choices=tuple(PIXELS), help="the pixels it was trained on")
    claims.add_argument("--size", type=size_hw, metavar="HEIGHTxWIDTH", help="the image size it was trained on")
    parser.epilog = (
        "The result has a fingerprint of its own, so galleries keep its vectors apart from the source's, and no "
        "threshold: calibrate it anew. Nothing is written where it disagrees with its source."
    )


def _parts(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(part.strip() for part in text.split(","))


def run(args: argparse.Namespace) -> int:
    _require_possible(args)
    from sightline.deploy.quantise.quantise import quantise

    crops = _crops(args)
    outcome = quantise(args.model, args.output, crops, plan=_plan(args, crops), claims=Claims(args.pixels, args.size))
    chosen = outcome.chosen
    if args.page is not None:
        about = f"{outcome.source.precision}, the source", f"{chosen.card.extra['quantised.by']}"
        names = Names(args.model.name, args.output.name, *about)
        write_page(args.page, chosen.pairs, chosen.agreement, names=names, floor=args.floor, worst=args.worst)
    if args.json:
        print(json.dumps(_figures(outcome, floor=args.floor), indent=2))
    elif not args.quiet:
        print("\n".join(_lines(outcome, floor=args.floor)))
        if args.page is not None:
            print(args.page)
    return 0


def _require_possible(args: argparse.Namespace) -> None:
    if args.precision == "bf16":
        raise ConfigError(
            "bfloat16 is a way to run a float32 file, not another file: `--backend openvino --precision bfloat16` with "
            f"any verb; what it costs: `sightline compare {args.model} {args.model} --images … --b-backend openvino "
            "--b-precision bfloat16`"
        )
    reason = missing_package("onnx", "'sightline[export]'")
    if reason:
        raise BackendError(f"quantising needs more than running: {reason}")


def _crops(args: argparse.Namespace) -> Dealt:
    judged = None if args.judge is None else images_of(args.judge)
    return dealt(images_of(args.calibrate), judged, count=args.images, seed=args.seed)


def _plan(args: argparse.Namespace, crops: Dealt) -> Plan:
    from sightline.deploy.quantise.bench import Plan

    return Plan(
        PRECISIONS[args.precision],
        keep=args.keep,
        floor=args.floor,
        force=args.force,
        reduce_range=args.reduce_range,
        labels=labels_of(args, [str(path) for path in crops.judged], args.judge or args.calibrate),
    )


# What is told


def _lines(outcome: Outcome, *, floor: float) -> Iterator[str]:
    card, megabytes = outcome.chosen.card, [size / 1e6 for size in outcome.size_bytes]
    yield f"{outcome.path}: {card.extra['quantised.by']}, fingerprint {card.fingerprint[:12]}"
    faster = f"{outcome.times_faster:.2f} times as fast here in ONNX Runtime"
    yield f"  {megabytes[1]:.2f} MB, of {megabytes[0]:.2f}; {faster}"
    yield from (f"  tried {trial}" for trial in outcome.tried)
    yield f"A is the source, B the result; judged by {len(outcome.chosen.agreement.names):,} crops not used for ranges"
    yield from agreement_lines(outcome.chosen.agreement, floor=floor)
    yield from (f"note: {note}" for note in _notes(outcome))


def _notes(outcome: Outcome) -> Iterator[str]:
    if outcome.times_faster < 1:
        yield "it is SLOWER than its source on this processor: small networks gain nothing from eight bits"
    if outcome.source.thresholds:
        count = len(outcome.source.thresholds)
        yield f"the source's {count} thresholds are not in it: they are for other scores; run `sightline calibrate`"


def _figures(outcome: Outcome, *, floor: float) -> dict[str, Any]:
    source, result = outcome.size_bytes
    return {
        "sightline": __version__,
        "written": str(outcome.path),
        "card": json.loads(outcome.chosen.card.to_json()),
        "kept_in_float32": list(outcome.chosen.keep),
        "tried": [{"keep": list(trial.keep), "smallest": trial.agreement.smallest} for trial in outcome.tried],
        "bytes": {"source": source, "result": result},
        "times_faster": outcome.times_faster,
        "calibration_crops": [str(path) for path in outcome.crops.calibration],
        **agreement_figures(outcome.chosen.agreement, floor=floor),
        "notes": list(_notes(outcome)),
    }
