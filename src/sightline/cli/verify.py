"""`sightline verify A B -m MODEL`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sightline.cli.identity_arguments import (
    add_embedder_arguments,
    add_limit_arguments,
    embedder_from,
    limit_figures,
    limit_lines,
    model_figures,
    printable,
)
from sightline.errors import ConfigError, ImageError
from sightline.reid.embedder import Embedder
from sightline.reid.thresholds import Limit
from sightline.reid.verify import Decision, Verification, read_pairs, verify, verify_pairs

SOME_UNREAD = 3  # exit code: the other pairs are answered
EXIT_CODES: dict[Decision, int] = {"same": 0, "different": 10, "undecided": 11}  # apart from those of errors

KINDS = {"single": "one crop each", "averaged": "averages of several crops", None: "one crop and an average of several"}
ANSWERS: dict[Decision, str] = {
    "same": "the same person",
    "different": "different people",
    "undecided": "undecided: calibrate the model, or give --threshold",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sides", nargs="*", metavar="A B", help="two images, or two folders: the crops of a track each")
    parser.add_argument("--img1", metavar="A", help="the same as A")
    parser.add_argument("--img2", metavar="B", help="the same as B")
    parser.add_argument(
        "--pairs", type=Path, metavar="CSV", help="many pairs: the columns a and b, paths relative to the file"
    )
    add_limit_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--exit-code", action="store_true", help="exit with 10 for different people, 11 for undecided")
    add_embedder_arguments(parser)
    parser.epilog = (
        "The images of a folder are averaged, which has a threshold of its own. Exit code 0: answered; 1 and 2: an "
        "error; 3: some pairs could not be read. With --exit-code also 10: different (of several pairs, any), 11: "
        "undecided (of several, any)."
    )


def run(args: argparse.Namespace) -> int:
    sides = _sides(args)
    with embedder_from(args) as embedder:
        if args.pairs is not None:
            return _many(args, embedder)
        found = verify(embedder, *sides, threshold=args.threshold, far=args.far)
        if args.json:
            print(json.dumps({**model_figures(embedder), **_figures(found)}, indent=2))
        else:
            print("\n".join(_lines(found)))
    return EXIT_CODES[found.decision] if args.exit_code else 0


def _sides(args: argparse.Namespace) -> list[str]:
    sides = [*args.sides, *(side for side in (args.img1, args.img2) if side is not None)]
    if args.pairs is not None and sides:
        raise ConfigError(f"{', '.join(sides)} and --pairs {args.pairs}: expected one or the other")
    if args.pairs is None and len(sides) != 2:
        raise ConfigError(f"{len(sides)} sides to compare; expected two images or folders, or --pairs CSV")
    return sides


def _many(args: argparse.Namespace, embedder: Embedder) -> int:
    pairs = read_pairs(args.pairs)
    found = verify_pairs(embedder, pairs, threshold=args.threshold, far=args.far)
    if args.json:
        rows = [_row(*pair, answer) for pair, answer in zip(pairs, found, strict=True)]
        print(json.dumps({**model_figures(embedder), "pairs": rows}, indent=2))
    else:
        _print_table(pairs, found)
    return _exit_code_of(found, by_decision=args.exit_code)


def _exit_code_of(found: Iterable[Verification | ImageError], *, by_decision: bool) -> int:
    """That an answer is missing comes before what the others say."""
    codes = {SOME_UNREAD if isinstance(answer, ImageError) else EXIT_CODES[answer.decision] for answer in found}
    told = (SOME_UNREAD, EXIT_CODES["undecided"], EXIT_CODES["different"]) if by_decision else (SOME_UNREAD,)
    return next((code for code in told if code in codes), 0)


def _print_table(pairs: Sequence[tuple[str, str]], found: Sequence[Verification | ImageError]) -> None:
    limits: dict[Limit, None] = {}
    for (a, b), answer in zip(pairs, found, strict=True):
        if isinstance(answer, ImageError):
            print(
                f"sightline: not compared: {printable(a)} with {printable(b)}: {printable(str(answer))}",
                file=sys.stderr,
            )
        else:
            limits[answer.limit] = None
            print(f"{answer.decision:<9}  {answer.score:+.4f}  {printable(a)}  {printable(b)}")
    for limit in limits:
        print("\n" + "\n".join(limit_lines(limit)))


def _row(a: str, b: str, answer: Verification | ImageError) -> dict[str, Any]:
    return {"a": a, "b": b, "error": str(answer)} if isinstance(answer, ImageError) else _figures(answer)


def _figures(found: Verification) -> dict[str, Any]:
    return {
        "a": found.a,
        "b": found.b,
        "score": found.score,
        "aggregation": found.aggregation,
        "decision": found.decision,
        **limit_figures(found.limit),
    }


def _lines(found: Verification) -> Iterator[str]:
    yield f"score         {found.score:.4f} ({KINDS[found.aggregation]})"
    yield from limit_lines(found.limit)
    yield f"decision      {ANSWERS[found.decision]}"
