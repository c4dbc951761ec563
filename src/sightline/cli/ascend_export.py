"""The model of `sightline ascend` as an ONNX of any batch."""

from __future__ import annotations

import argparse
from pathlib import Path

from sightline.cli import export as export_verb
from sightline.errors import ConfigError
from sightline.files import output_error, require_model_file


def onnx_of(args: argparse.Namespace, folder: Path) -> Path:
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
