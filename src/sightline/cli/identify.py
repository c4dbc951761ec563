"""`sightline identify --gallery-dir DIR --query IMAGE -m MODEL`."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightline.cli.identity_arguments import (
    add_embedder_arguments,
    add_limit_arguments,
    embedder_from,
    limit_figures,
    limit_lines,
    model_figures,
    percent,
    printable,
)
from sightline.cli.model_arguments import positive
from sightline.errors import ImageError
from sightline.reid.embedder import Embedder
from sightline.reid.identify import CACHE_NAME, MARGIN, Identification, IdentityFolder, identify
from sightline.reid.verify import Subject, subjects_of

SOME_UNREAD = 3  # exit code: the other queries are answered
METHODS = {"averaged": "average with average", "best": "the two closest crops"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gallery-dir", type=Path, required=True, metavar="DIR", help="a folder with a subfolder for each identity"
    )
    parser.add_argument(
        "--query",
        nargs="+",
        action="extend",
        required=True,
        metavar="Q",
        help="images, or folders: the crops of one person each",
    )
    parser.add_argument("--top-k", type=positive, default=5, metavar="K", help="identities to list (default: 5)")
    parser.add_argument(
        "--by",
        choices=tuple(METHODS),
        help="compare averages, or take the two closest crops (default: averages for folders, crops for images)",
    )
    parser.add_argument(
        "--margin", type=_margin, default=MARGIN, metavar="SCORE", help=f"wanted lead over the next (default: {MARGIN})"
    )
    add_limit_arguments(parser)
    parser.add_argument("--cache", type=Path, metavar="FILE", help=f"of vectors (default: DIR/{CACHE_NAME})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_embedder_arguments(parser)
    parser.epilog = (
        "Nobody is recognised below the threshold, or with too small a lead. Exit code 0: answered, also where the "
        "answer is `unknown`; 3: some queries could not be read."
    )


def _margin(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a difference of scores, which lies between 0 and 2")
    return value


def run(args: argparse.Namespace) -> int:
    queries = list(dict.fromkeys(args.query))
    with embedder_from(args) as embedder:
        gallery = IdentityFolder.open(args.gallery_dir, embedder, args.cache)
        for reason in gallery.skipped.values():
            print(f"sightline: left out of the gallery: {printable(reason)}", file=sys.stderr)
        found = {name: _answer(args, gallery, query) for name, query in subjects_of(embedder, queries).items()}
        if args.json:
            print(json.dumps(_figures(embedder, gallery, found), indent=2))
        else:
            _print_answers(found)
    unread = [answer for answer in found.values() if isinstance(answer, ImageError)]
    if unread and len(unread) == len(found):
        raise unread[0]
    return SOME_UNREAD if unread else 0


def _answer(
    args: argparse.Namespace, gallery: IdentityFolder, query: Subject | ImageError
) -> Identification | ImageError:
    if isinstance(query, ImageError):
        return query
    return identify(
        gallery,
        query,
        top_k=args.top_k,
        method=args.by,
        margin=args.margin,
        threshold=args.threshold,
        far=args.far,
    )


def _print_answers(found: dict[str, Identification | ImageError]) -> None:
    for name, answer in found.items():
        if isinstance(answer, Identification):
            print("\n".join(_lines(answer)) + "\n")
        elif len(found) > 1:
            print(f"sightline: not looked for: {printable(name)}: {printable(str(answer))}", file=sys.stderr)


def _lines(found: Identification) -> Iterator[str]:
    yield f"{printable(found.query)}: {_verdict(found)}"
    for rank, candidate in enumerate(found.candidates, start=1):
        crops = f"{candidate.crops} crop{'' if candidate.crops == 1 else 's'}"
        yield f"  {rank:>3}.  {candidate.score:+.4f}  {printable(candidate.identity)} ({crops})"
    yield f"compared      {METHODS[found.method]}"
    yield from limit_lines(found.limit)
    if found.expected_far is not None:
        yield f"of strangers  at most {percent(found.expected_far)} are taken for somebody in this gallery"


def _verdict(found: Identification) -> str:
    if found.match is None:
        return "undecided: calibrate the model, or give --threshold"
    if found.match.identity is None:
        return f"unknown: {printable(found.reason)}"
    return printable(found.match.identity)


def _figures(
    embedder: Embedder, gallery: IdentityFolder, found: dict[str, Identification | ImageError]
) -> dict[str, Any]:
    return {
        **model_figures(embedder),
        "gallery": str(gallery.path),
        "identities": len(gallery.identities),
        "skipped": {str(path): reason for path, reason in gallery.skipped.items()},
        "queries": [_query_figures(name, answer) for name, answer in found.items()],
    }


def _query_figures(name: str, found: Identification | ImageError) -> dict[str, Any]:
    if isinstance(found, ImageError):
        return {"query": name, "error": str(found)}
    match = found.match
    return {
        "query": name,
        "decision": "undecided" if match is None else "unknown" if match.identity is None else "known",
        "identity": None if match is None else match.identity,
        "reason": found.reason,
        "method": found.method,
        "aggregation": found.aggregation,
        "candidates": [
            {"identity": candidate.identity, "score": candidate.score, "crops": candidate.crops}
            for candidate in found.candidates
        ],
        "runner_up": None if match is None else match.runner_up,
        "runner_up_score": None if match is None else match.runner_up_score,
        **limit_figures(found.limit),
        "expected_far_of_gallery": found.expected_far,
    }
