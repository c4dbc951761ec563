"""`sightline <verb>`: a thin shell over library calls, one module a verb.

A verb module has `configure(parser)` and `run(args) -> exit code`. It is imported only when its verb is typed, so
`sightline --help` starts as fast as Python does.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from sightline._version import __version__
from sightline.errors import SightlineError

VERBS = {
    "embed": "turn a folder of crops into vectors",
    "export": "write a checkpoint as one self-describing ONNX file",
    "inspect": "show what a model file says about itself, and what it will be fed",
    "models": "list, pull and locate the known public models",
    "doctor": "show which runtimes and devices work here, and what to install",
}

INTERRUPTED = 130  # the shell's convention for Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. An error of ours becomes one line on stderr and exit code 1."""
    args = _parse(list(sys.argv[1:] if argv is None else argv))
    logging.basicConfig(format="sightline: %(message)s", level=_log_level(args), stream=sys.stderr)
    try:
        return int(args.run(args))
    except SightlineError as exc:
        print(f"sightline: error: {exc}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `sightline … | head`: the reader has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("sightline: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sightline", description="Who is that, and where is the ball.")
    parser.add_argument("--version", action="version", version=f"sightline {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    wanted = argv[0] if argv else ""
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == wanted:
            _load_verb(name, verb)
    return parser.parse_args(argv)


def _load_verb(name: str, parser: argparse.ArgumentParser) -> None:
    module = import_module(f"sightline.cli.{name}")
    module.configure(parser)
    noise = parser.add_mutually_exclusive_group()
    noise.add_argument("-v", "--verbose", action="store_true", help="say more on stderr")
    noise.add_argument("-q", "--quiet", action="store_true", help="say only what is wrong")
    parser.set_defaults(run=module.run)


def _log_level(args: argparse.Namespace) -> int:
    if args.verbose:
        return logging.DEBUG
    return logging.ERROR if args.quiet else logging.INFO
