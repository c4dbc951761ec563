"""`sightline inspect MODEL`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sightline._version import __version__
from sightline.card import CARD_KEY, ImageInput, ModelCard
from sightline.cli.model_arguments import add_model_arguments, session_from
from sightline.errors import CardError
from sightline.onnx_file import read_onnx, with_metadata
from sightline.runtime.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .onnx file, a checkpoint, …")
    parser.add_argument("--json", action="store_true", help="print it for a program to read")
    parser.add_argument(
        "--probe", action="store_true", help="run painted strangers through it: does it tell them apart?"
    )
    parser.add_argument("--write", type=Path, metavar="OUT", help="write a copy of an .onnx that carries this card")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    with session_from(args) as session:
        facts = _facts(session)
        if args.probe:
            facts["probe"] = _probe(session)
        if args.write is not None:
            facts["written to"] = _write_card(session, args.write)
    if args.json:
        print(json.dumps({**facts, "card": asdict(session.card)}, indent=2))
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
    if session.fallbacks:
        facts["instead of"] = [str(attempt) for attempt in session.fallbacks]
    facts["task"] = f"{card.task} ({card.arch})"
    facts["weights"] = " · ".join(part for part in (card.weights, card.trained_on, card.licence) if part)
    facts["inputs"] = [str(spec) for spec in session.inputs]
    facts["outputs"] = [str(spec) for spec in session.outputs]
    facts["fed with"] = _fed_with(card.image)
    if card.image is not None and card.image.folded:
        facts["normalises"] = f"itself, to {card.image.pixels}"
    facts["gives"] = _gives(card)
    facts["thresholds"] = [
        f"{t.value:.3f} at FAR {t.far:g} ({t.aggregation})" for t in card.thresholds
    ] or "not calibrated"
    facts["fingerprint"] = card.fingerprint or "none"
    facts["card"] = card.created_by
    facts["not known"] = list(card.unknowns()) or "nothing"
    return facts


def _fed_with(image: ImageInput | None) -> str:
    if image is None:
        return "not an image model"
    size = "any size" if image.size_hw is None else f"{image.size_hw[0]}×{image.size_hw[1]} (height × width)"
    pixels = "pixels nobody has described" if image.feed is None else str(image.feed)
    batch = "any batch" if image.batch is None else f"batches of {image.batch}"
    return f"{size}, {image.layout} {image.dtype}, {pixels}, resized with {image.resize}, {batch}"


def _gives(card: ModelCard) -> str:
    if card.output is None:
        return "no single vector"
    norm = {True: "L2-normalised", False: "not normalised", None: "norm not known"}[card.output.normalised]
    return f"{card.output.dim or 'any number of'} numbers an image, {norm}"


def _probe(session: Session) -> str:
    from sightline.reid.embedder import Embedder
    from sightline.reid.probe import probe_weights

    return str(probe_weights(Embedder(session)))


def _write_card(session: Session, target: Path) -> str:
    """Copy the model with its card, which the user's flags now vouch for, in its metadata."""
    if session.path.suffix.lower() != ".onnx":
        raise CardError(f"{session.path}: only an .onnx file has room for a card; export it first")
    card = replace(session.card, created_by=f"sightline {__version__}, from the graph and the user's word")
    with_metadata(session.path, target, entries={CARD_KEY: card.to_json()})
    return str(target)


def _print_table(facts: dict[str, Any]) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        lines = value if isinstance(value, list) else [value]
        for index, line in enumerate(lines):
            print(f"{name if index == 0 else '':<{width}}  {line}")
