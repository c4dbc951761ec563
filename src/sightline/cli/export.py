"""`sightline export --weights W -o model.onnx`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.card import PIXELS, ImageInput, ModelCard, pixels_named
from sightline.cli.model_arguments import positive, size_hw
from sightline.errors import BackendError, ConfigError
from sightline.runtime.backend import missing_package
from sightline.runtime.cards import Claims, with_claims

if TYPE_CHECKING:
    from sightline.deploy.export import ExportPlan
    from sightline.nets.checkpoint import Checkpoint
    from sightline.nets.osnet import OSNet

PERSON_SIZE_HW = (256, 128)
PRESETS = ("sightline", "ascend", "deepstream")
UPSAMPLING = ("none", "phases", "transposed")

# What only one kind of network has; said of the other, it is a mistake rather than nothing.
REID_ONLY = (
    *("untrained", "arch", "reid_dim", "preset", "fold", "l2"),
    *("pixels", "size", "img_height", "img_width", "partial"),
)
BALL_ONLY = ("rewrite_upsample",)


def configure(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-w", "--weights", "--checkpoint", type=Path, help="the checkpoint to export")
    source.add_argument("--untrained", action="store_true", help="export random weights of --arch, to try things")
    source.add_argument("--embed-weights", type=Path, metavar="ONNX", help="make an ONNX with a .data file one file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .onnx file to write; ball: or a folder")
    parser.add_argument("--task", choices=("auto", "reid", "ball"), default="auto", help="default: told from the file")
    parser.add_argument("-a", "--arch", help="the network (default: told from the checkpoint)")
    parser.add_argument("--reid-dim", type=positive, help="numbers in a vector (default: the checkpoint's, or 512)")
    parser.add_argument("--num-classes", type=positive, help="accepted for older scripts: no classifier is exported")
    form = parser.add_argument_group("what is written")
    form.add_argument("--preset", choices=PRESETS, help="names and habits of the destination (default: sightline)")
    form.add_argument("--fold", choices=("none", "float", "uint8"), help="put the normalisation into the graph")
    form.add_argument("--batch", "--batch-size", "--bs", type=positive, help="fix the batch (default: any; ball: 1)")
    form.add_argument("--dynamic-batch", action="store_true", help="leave the batch open, whatever --batch says")
    form.add_argument("--opset", type=positive, help="ONNX opset (default: the preset's; ball: 18)")
    form.add_argument("--l2", action=argparse.BooleanOptionalAction, help="L2-normalise the vectors in the graph")
    form.add_argument("--rewrite-upsample", choices=UPSAMPLING, help="TrackNet: double and convolve in one step")
    facts = parser.add_argument_group("what a checkpoint without a card does not say")
    facts.add_argument("--pixels", choices=tuple(PIXELS), help="the pixels it was trained on (default: torchreid)")
    facts.add_argument("--size", type=size_hw, metavar="HEIGHTxWIDTH", help="its image size (default: 256x128)")
    facts.add_argument("--img-height", type=positive, help="the height of --size alone")
    facts.add_argument("--img-width", type=positive, help="the width of --size alone")
    facts.add_argument("--trained-on", default="", help="noted in the card")
    facts.add_argument("--licence", default="", help="noted in the card")
    parser.add_argument("--partial", action="store_true", help="accept weights that do not fill the network")
    parser.add_argument("--unsafe-pickle", action="store_true", help="load a checkpoint that may run code")
    parser.add_argument("--seed", type=int, default=0, help="of --untrained, and of what --partial leaves unfilled")
    parser.add_argument("--verify", action="store_true", help="accepted for older scripts: a file is always verified")
    parser.epilog = "The file is run against PyTorch before it gets its name; one that disagrees is not left behind."


def run(args: argparse.Namespace) -> int:
    if args.embed_weights is not None:
        return _embed_weights(args)
    _require("torch", "onnx", "onnxslim")
    checkpoint = _read(args)
    return _export_ball(args) if _is_ball(args, checkpoint) else _export_reid(args, checkpoint)


def _read(args: argparse.Namespace) -> Checkpoint | None:
    from sightline.nets.checkpoint import read_checkpoint

    if args.weights is None or args.task == "ball":
        return None
    return read_checkpoint(args.weights, allow_pickle=args.unsafe_pickle)


def _is_ball(args: argparse.Namespace, checkpoint: Checkpoint | None) -> bool:
    from sightline.nets.ball_checkpoint import ball_arch_in

    told = args.task == "auto" and checkpoint is not None and ball_arch_in(checkpoint.state) is not None
    return told or args.task == "ball"


def _export_ball(args: argparse.Namespace) -> int:
    from sightline.deploy.ball_export import BallExportPlan, export_ball, target_file
    from sightline.nets.ball_checkpoint import load_ball

    _refuse(args, REID_ONLY, kind="a ball network")
    batch = None if args.dynamic_batch else args.batch or 1
    plan = BallExportPlan(args.opset or 18, batch, args.rewrite_upsample or "none")
    ball = load_ball(args.weights, allow_pickle=args.unsafe_pickle)
    said = {"trained_on": args.trained_on, "licence": args.licence}
    ball = replace(ball, card=replace(ball.card, **{name: text for name, text in said.items() if text}))
    target = target_file(args.output, ball.card, plan)
    verification = export_ball(ball, target, plan=plan)
    told = ", ".join(f"{name} {value!r}" for name, value in ball.card.extra.items())
    print(f"{target}: {ball.card.arch} ({told}), {_size(target)} MB, opset {plan.opset}, one file")
    print(f"verified against PyTorch on {verification}")
    return 0


def _refuse(args: argparse.Namespace, names: Iterable[str], *, kind: str) -> None:
    said = [name for name in names if getattr(args, name) not in {None, False}]
    if said:
        raise ConfigError(f"--{said[0].replace('_', '-')} says nothing about {kind}; leave it out")


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f}"


def _export_reid(args: argparse.Namespace, checkpoint: Checkpoint | None) -> int:
    from sightline.deploy.export import export_osnet

    _refuse(args, BALL_ONLY, kind="an OSNet")
    plan = _plan(args)
    net, card = _source(args, checkpoint)
    card = _probed(net, card)
    verification = export_osnet(net, args.output, card=card, plan=plan)
    image = plan.card_for(card, net).image
    print(f"{args.output}: {card.arch}, {_size(args.output)} MB, opset {plan.preset.opset}, one file")
    print(f"verified against PyTorch on {verification}")
    if image is not None:
        print(f"feed it {image.layout} {image.dtype}, {image.feed}")
    return 0


def _embed_weights(args: argparse.Namespace) -> int:
    _require("onnx")
    from sightline.deploy.onnx_weights import embed_weights

    embed_weights(args.embed_weights, args.output)
    print(f"{args.output}: one file of {_size(args.output)} MB")
    return 0


def _require(*modules: str) -> None:
    for module in modules:
        reason = missing_package(module, "'sightline[export]'")
        if reason:
            raise BackendError(f"exporting needs more than running: {reason}")


def _source(args: argparse.Namespace, checkpoint: Checkpoint | None) -> tuple[OSNet, ModelCard]:
    """The network to export, filled, and the card that describes it."""
    from sightline.nets.checkpoint import weights_fingerprint
    from sightline.nets.osnet import build_osnet

    if checkpoint is not None:
        net, card = _filled(args, checkpoint)
    elif args.arch is not None:
        net = build_osnet(args.arch, feature_dim=args.reid_dim or 512, seed=args.seed)
        card = replace(_said(args, args.arch), weights="untrained")
    else:
        raise ConfigError("--untrained needs --arch, the network to draw; e.g. --arch osnet_x0_25")
    return net, replace(card, fingerprint=weights_fingerprint(net.state_dict()))


def _filled(args: argparse.Namespace, checkpoint: Checkpoint) -> tuple[OSNet, ModelCard]:
    from sightline.nets.checkpoint import guess_arch, load_into

    arch = args.arch or guess_arch(checkpoint.state)
    if arch is None:
        raise ConfigError(f"{args.weights}: the network cannot be told from its tensors; name it with --arch")
    net = _network_for(args, checkpoint, arch)
    coverage = load_into(net, checkpoint, partial=args.partial)
    print(f"{args.weights}: {arch}, {coverage}")
    card = _said(args, arch) if checkpoint.card is None else _confirmed(args, checkpoint.card)
    if not coverage.complete and card.weights == "trained":  # what was said of the whole is not true of a part
        card = replace(card, weights="unknown", thresholds=())
    return net, replace(card, arch=arch)


def _network_for(args: argparse.Namespace, checkpoint: Checkpoint, arch: str) -> OSNet:
    """The network a trained checkpoint says it is of; for bare weights the published layout, of the arch asked for."""
    from sightline.nets.osnet import build_osnet, feature_dim_in
    from sightline.nets.reid import rebuild

    if checkpoint.card is not None and "head" in checkpoint.card.extra and args.arch in {None, checkpoint.card.arch}:
        return rebuild(checkpoint.state, checkpoint.card.extra)
    return build_osnet(arch, feature_dim=args.reid_dim or feature_dim_in(checkpoint.state), seed=args.seed)


def _confirmed(args: argparse.Namespace, card: ModelCard) -> ModelCard:
    """The checkpoint's own card, and what the flags add to it. A flag that contradicts it is a `CardError`."""
    size = _size_said(args, known=None if card.image is None else card.image.size_hw)
    said = with_claims(card, Claims(args.pixels, size), origin=str(args.weights))
    return replace(said, trained_on=args.trained_on or card.trained_on, licence=args.licence or card.licence)


def _said(args: argparse.Namespace, arch: str) -> ModelCard:
    """The card of weights that carry none, from the flags; a default that is used is said."""
    if args.pixels is None and args.weights is not None:
        print(
            "no card: taken as trained on torchreid pixels (ImageNet mean and std, RGB); else pass --pixels",
            file=sys.stderr,
        )
    size = _size_said(args, known=PERSON_SIZE_HW)
    image = ImageInput("input", size, pixels_named(args.pixels or "torchreid"))
    imagenet = args.weights is not None and "imagenet" in args.weights.name.lower()
    return ModelCard(
        task="reid",
        arch=arch,
        image=image,
        weights="imagenet" if imagenet else "unknown",
        trained_on=args.trained_on,
        licence=args.licence,
    )


def _size_said(args: argparse.Namespace, *, known: tuple[int, int] | None) -> tuple[int, int] | None:
    """The image size by the flags; where they leave a side open, the known one's."""
    if not (args.size or args.img_height or args.img_width):
        return known
    height, width = args.size or known or PERSON_SIZE_HW
    return args.img_height or height, args.img_width or width


def _plan(args: argparse.Namespace) -> ExportPlan:
    from sightline.deploy import export

    preset = export.PRESETS[args.preset or PRESETS[0]]
    asked = {"fold": args.fold, "opset": args.opset, "l2": args.l2}
    preset = replace(preset, **{name: value for name, value in asked.items() if value is not None})
    return export.ExportPlan(preset, batch=None if args.dynamic_batch else args.batch)


def _probed(net: OSNet, card: ModelCard) -> ModelCard:
    """The card, saying `trained` only of weights that tell painted strangers apart."""
    from sightline.deploy.export import probe_network

    if card.weights != "unknown":
        return card
    probe = probe_network(net, card)
    print(f"probe: {probe}", file=sys.stdout if probe.tells_apart else sys.stderr)
    return replace(card, weights="trained") if probe.tells_apart else card
