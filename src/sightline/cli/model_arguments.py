"""The flags by which every verb opens a model, and the session they ask for."""

from __future__ import annotations

import argparse

from sightline.card import PIXELS
from sightline.runtime.cards import Claims
from sightline.runtime.open import BACKENDS, open_session
from sightline.runtime.session import Session


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how the model is run")
    group.add_argument("--backend", default="auto", choices=("auto", *BACKENDS), help="what runs it (default: auto)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, tensorrt, ascend, … (default: auto)")
    group.add_argument("--precision", default="auto", help="auto, float32, bfloat16, … where the backend can")
    group.add_argument("--threads", type=positive, help="processor threads (default: every core)")
    group.add_argument("--no-fallback", action="store_true", help="fail where another device or file would be used")
    group.add_argument("--allow-untrained", action="store_true", help="use random weights when there is no model")
    group.add_argument("--unsafe-pickle", action="store_true", help="load a checkpoint that may run code")
    claims = parser.add_argument_group("what a model without a card does not say")
    claims.add_argument("--pixels", choices=tuple(PIXELS), help="the pixels it was trained on")
    claims.add_argument("--size", type=size_hw, metavar="HEIGHTxWIDTH", help="the image size it was trained on")


def session_from(args: argparse.Namespace) -> Session:
    return open_session(
        args.model,
        args.backend,
        args.device,
        args.precision,
        args.threads,
        claims=Claims(args.pixels, args.size),
        fallback=not args.no_fallback,
        allow_untrained=args.allow_untrained or args.backend == "untrained",
        allow_pickle=args.unsafe_pickle,
    )


def positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def size_hw(text: str) -> tuple[int, int]:
    """(256, 128) for "256x128"."""
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, e.g. 256x128")
    return int(height), int(width)
