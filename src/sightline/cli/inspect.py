"""`sightline inspect MODEL`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from sightline.card import ImageInput, ModelCard
from sightline.cli.model_arguments import add_model_arguments, session_from
from sightline.onnx_file import read_onnx
from sightline.runtime.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .onnx file, a checkpoint, …")
    parser.add_argument("--json", action="store_true", help="print it for a program to read")
    parser.add_argument(
        "--probe", action="store_true", help="run painted strangers through it: does it tell them apart?"
    )
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    with session_from(args) as session:
        facts = _facts(session)
        if args.probe:
            facts["probe"] = _probe(session)
    if args.json:
        print(json.dumps({**facts, "card": asdict(session.card)}, indent=2, ensure_ascii=False))
    else:
        _print_table(facts)
    return 0


def _facts(session: Session) -> dict[str, Any]:
    card = session.card
    facts: dict[str, Any] = {"file": str(session.path)}
    if session.path.exists():
        facts["size"] = f"{session.path.stat().st_size / 1e6:.2f} MB"
    if session.path.suffix.lower() == ".onnx" and session.path.exists():
        file = read_onnx(session.path)
        facts["format"] = (
            f"ONNX opset {file.opset}, IR {file.ir_version}, written by {file.producer or 'nobody it names'}"
        )
        facts["operators"] = f"{sum(file.op_counts.values())} nodes of {len(file.op_counts)} kinds"
    facts["runs on"] = f"{session.backend}, {session.device}, {session.precision}"
    facts["task"] = f"{card.task} ({card.arch})"
    facts["weights"] = " · ".join(part for part in (card.weights, card.trained_on, card.licence) if part)
    facts["inputs"] = [str(spec) for spec in session.inputs]
    facts["outputs"] = [str(spec) for spec in session.outputs]
    facts["fed with"] = _fed_with(card.image)
    facts["gives"] = _gives(card)
    facts["thresholds"] = [
        f"{t.value:.3f} at FAR {t.far:g} ({t.aggregation})" for t in card.thresholds
    ] or "not calibrated"
    facts["fingerprint"] = card.fingerprint or "none"
    facts["card"] = card.created_by if card.arch != "unknown" else "none: what follows from the graph alone"
    facts["not known"] = list(card.unknowns()) or "nothing"
    return facts


def _fed_with(image: ImageInput | None) -> str:
    if image is None:
        return "not an image model"
    size = "any size" if image.size_hw is None else f"{image.size_hw[0]}×{image.size_hw[1]} (height × width)"
    pixels = "pixels nobody has described" if image.feed is None else str(image.feed)
    batch = "any batch" if image.batch is None else f"batches of {image.batch}"
    folded = f"; the graph itself applies {image.pixels}" if image.folded else ""
    return f"{size}, {image.layout} {image.dtype}, {pixels}, resized with {image.resize}, {batch}{folded}"


def _gives(card: ModelCard) -> str:
    if card.output is None:
        return "no single vector"
    norm = {True: "L2-normalised", False: "not normalised", None: "norm not known"}[card.output.normalised]
    return f"{card.output.dim or 'any number of'} numbers an image, {norm}"


def _probe(session: Session) -> str:
    from sightline.reid.embedder import Embedder
    from sightline.reid.probe import probe_weights

    return str(probe_weights(Embedder(session)))


def _print_table(facts: dict[str, Any]) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        lines = value if isinstance(value, list) else [value]
        for index, line in enumerate(lines):
            print(f"{name if index == 0 else '':<{width}}  {line}")
