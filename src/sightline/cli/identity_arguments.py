"""What `verify`, `identify` and `calibrate` share: whose vectors they compare, and how a decision is told."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sightline._version import __version__
from sightline.cli.model_arguments import add_model_arguments, session_from
from sightline.reid.embedder import Embedder
from sightline.reid.faces import FaceEmbedder, FaceFinder
from sightline.reid.thresholds import Limit
from sightline.reid.verification import RELIABLE
from sightline.runtime.open import open_session
from sightline.zoo import find, pull


def add_embedder_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-m", "--model", "--weights", "--onnx", required=True, metavar="MODEL", help="an .onnx file, a checkpoint, …"
    )
    parser.add_argument(
        "--detector", metavar="YUNET", help="find and align the face in each image first: a YuNet .onnx, or `yunet`"
    )
    add_model_arguments(parser)


def add_limit_arguments(parser: argparse._ActionsContainer) -> None:
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--far", type=rate, metavar="RATE", help="decide by the threshold calibrated for this rate")
    limit.add_argument("--threshold", type=score, metavar="SCORE", help="decide by this score, calibrated or not")


@contextmanager
def embedder_from(args: argparse.Namespace) -> Iterator[Embedder]:
    with session_from(args) as session:
        if args.detector is None:
            yield Embedder(session)
            return
        with open_session(_detector_path(args.detector), threads=args.threads) as detector:
            yield FaceEmbedder(session, FaceFinder(detector))


def _detector_path(name: str) -> Path:
    """A file, or else a model of the zoo, which is fetched on first use."""
    path = Path(name).expanduser()
    return path if path.exists() or path.suffix else pull(find(name))


def rate(text: str) -> float:
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate between 0 and 1, e.g. 0.001")
    return value


def score(text: str) -> float:
    value = _number(text)
    if not -1 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a score, which lies between -1 and 1")
    return value


def _number(text: str) -> float:
    """NaN for what is none, which no comparison lets pass."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def model_figures(embedder: Embedder) -> dict[str, Any]:
    session = embedder.session
    return {
        "sightline": __version__,
        "model": str(session.path),
        "fingerprint": embedder.fingerprint,
        "weights": session.card.weights,
        "backend": session.backend,
        "device": session.device,
    }


def limit_figures(limit: Limit) -> dict[str, Any]:
    return {
        "threshold": limit.value,
        "threshold_source": limit.source,
        "expected_far": limit.far,
        "impostor_pairs": limit.pairs,
        "reliable": limit.reliable,
    }


def limit_lines(limit: Limit) -> Iterator[str]:
    """The threshold, what it lets through, and where it comes from."""
    if limit.value is None:
        yield f"threshold     none: {limit.source}"
        return
    yield f"threshold     {limit.value:.4f}"
    if limit.far is None:
        yield "false accepts unknown"
    else:
        few = "" if limit.reliable else f", too few to rely on: {math.ceil(RELIABLE / limit.far):,} are needed"
        yield f"false accepts at most {percent(limit.far)} of strangers ({limit.pairs:,} impostor pairs{few})"
    yield f"from          {limit.source}"


def percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def printable(name: str) -> str:
    """A name as one line that leaves the terminal alone, whatever is in it."""
    return name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
