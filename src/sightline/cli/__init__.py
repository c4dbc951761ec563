"""`sightline <verb>`: a thin shell over library calls, one module a verb.

A verb module has `configure(parser)` and `run(args) -> exit code`. It is imported only when its verb is typed, so
`sightline --help` starts as fast as Python does.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

from sightline._version import __version__
from sightline.errors import SightlineError

VERBS = {
    "embed": "turn a folder of crops into vectors",
    "export": "write a checkpoint as one self-describing ONNX file",
    "inspect": "show what a model file says about itself, and what it will be fed",
    "models": "list, pull and locate the known public models",
    "train": "train a network on a CSV or folder of labelled images",
    "eval": "measure a model: who it finds, and how often it is wrong",
    "prepare": "turn a public dataset into a folder and a CSV, and check every image",
    "verify": "say whether two images, or two tracks, are the same person",
    "identify": "say who it is, from a folder with a subfolder for everybody",
    "calibrate": "find the threshold for a wanted rate of false accepts, and keep it with the model",
    "gallery": "keep, search and tidy up everybody who was seen",
    "people": "follow the people of videos and cameras: everybody once, under one name, in a gallery and on a page",
    "cluster": "compare the people of a video, and write the page to choose from",
    "ball": "find the ball in a video or a camera: its trajectory, a report, the video with it drawn in",
    "select": "carry a choice made on the page into files",
    "quantize": "make a smaller, faster model of a model, and measure what that cost",
    "compare": "hold two forms of a model, or what they put out, against each other",
    "ascend": "take a model to an Ascend: files, commands, inputs, runs, figures",
    "deepstream": "write a folder in which DeepStream recognises people, from a model",
    "doctor": "show what this machine can run, and what is wrong with a model, a configuration or a deployment",
}

INTERRUPTED = 130  # the shell's convention for Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. An error of ours becomes one line on stderr and exit code 1."""
    _print_anything()
    _hush_decoders()
    try:
        exit_code = _run(list(sys.argv[1:] if argv is None else argv))
        if sys.stdout is not None:  # it is None where the caller closed it
            sys.stdout.flush()
    except BrokenPipeError:  # `sightline … | head`: the reader has seen enough
        _discard_output()
        return 0
    except OSError as exc:
        if exc.filename is not None:
            return _fail(str(exc))
        _discard_output()
        return _fail(f"cannot write to standard output: {exc.strerror}")
    return exit_code


def _run(argv: list[str]) -> int:
    try:
        args = _parse(argv)
        _configure_messages(args)
        return int(args.run(args))
    except SightlineError as exc:
        return _fail(str(exc))
    except KeyboardInterrupt:
        print("sightline: interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as exc:  # argparse, after --help or a wrong flag; the help is not flushed yet
        return exc.code if isinstance(exc.code, int) else 0


def _fail(message: str) -> int:
    print(f"sightline: error: {message}", file=sys.stderr)
    return 1


def _print_anything() -> None:
    """A terminal that lacks a character gets its escape; by default Python would stop with a traceback."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _hush_decoders() -> None:
    """OpenCV and the FFmpeg in it print past Python what we say better; both read these before they are loaded."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def _discard_output() -> None:
    """Python flushes stdout again as it exits; this time into nothing, so that it has nothing to complain of."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line too: the usage of a verb with all its flags would push it out of sight."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"sightline: error: {message}; see `{self.prog} --help`\n")


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = _Parser(prog="sightline", description="Who is that, and where is the ball.")
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


def _configure_messages(args: argparse.Namespace) -> None:
    """Ours at the level asked for; those of other libraries only where they are asked for, or are errors."""
    logging.basicConfig(format="sightline: %(message)s", level=logging.ERROR, stream=sys.stderr)
    chosen = logging.DEBUG if args.verbose else logging.ERROR if args.quiet else logging.INFO
    logging.getLogger("sightline").setLevel(chosen)
    if not (args.verbose or sys.warnoptions):
        warnings.simplefilter("ignore")
