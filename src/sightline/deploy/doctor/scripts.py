"""Shell scripts, Dockerfiles, notebooks, requirements and READMEs: what they would install, build and run.

Nothing is executed and nothing is understood beyond the few commands that rules ask about.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from sightline.deploy.doctor.document import LARGEST, read_lines
from sightline.deploy.doctor.rules import Place

ScriptKind = Literal["shell", "docker", "python", "notebook", "requirements", "text"]

LARGEST_NOTEBOOK = 16 << 20  # bytes; a notebook keeps the pictures it drew
_OPTION = re.compile(r"--(\w+)(?:=(\S+))?")
_INSTALL = re.compile(r"\bpip3?\s+install\s+(.*)")
_DEEPSTREAM = re.compile(r"nvcr\.io/nvidia/deepstream[\w-]*:(\d+)\.(\d+)")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Trtexec:
    """One call of trtexec, by its options."""

    place: Place
    options: Mapping[str, str]

    def shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        """`input:16x3x256x128,other:16x4` as sizes by tensor; what is no shape is left out."""
        found: dict[str, tuple[int, ...]] = {}
        for part in self.options.get(name, "").strip("\"'").split(","):
            tensor, colon, sizes = part.strip("\"'").rpartition(":")
            if colon and re.fullmatch(r"\d{1,9}(x\d{1,9})*", sizes, re.ASCII):
                found[tensor] = tuple(map(int, sizes.split("x")))
        return found

    @property
    def model_name(self) -> str:
        return Path(self.options.get("onnx", "").strip("\"'")).name

    @property
    def engine_name(self) -> str:
        return Path(self.options.get("saveEngine", "").strip("\"'")).name


@dataclass(frozen=True)
class Script:
    """The lines of one file that a person wrote, each with its number in the file."""

    path: Path
    kind: ScriptKind
    lines: tuple[tuple[int, str], ...]

    @cached_property
    def text(self) -> str:
        return "\n".join(text for _, text in self.lines)

    @cached_property
    def commands(self) -> tuple[tuple[int, str], ...]:
        """Lines that end with a backslash, joined with those that go on."""
        joined: list[tuple[int, list[str]]] = []
        going_on = False
        for number, text in self.lines:
            body = text.rstrip().removesuffix("\\").strip()
            if going_on:
                joined[-1][1].append(body)
            else:
                joined.append((number, [body]))
            going_on = text.rstrip().endswith("\\")
        return tuple((number, " ".join(parts)) for number, parts in joined)

    @property
    def trtexec(self) -> Iterator[Trtexec]:
        for number, command in self.commands:
            if "trtexec" in command and "--onnx=" in command and not command.lstrip().startswith("#"):
                options = {name: value or "" for name, value in _OPTION.findall(command)}
                yield Trtexec(Place(self.path, number), options)

    @property
    def installs(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """What pip would install, command by command; a requirements file is one command a line."""
        for number, command in self.commands:
            if self.kind == "requirements":
                yield number, (command.partition("#")[0].strip(),)
            elif match := _INSTALL.search(command):
                words = re.split(r"\s+", re.split(r"&&|;|\|", match[1])[0])
                yield number, tuple(word.strip("\"'") for word in words if not word.startswith("-"))

    @property
    def deepstream(self) -> tuple[int, tuple[int, int]] | None:
        """The line of the base image, and its version."""
        for number, text in self.lines:
            if match := _DEEPSTREAM.search(text):
                return number, (int(match[1][:4]), int(match[2][:4]))
        return None

    @cached_property
    def tree(self) -> ast.Module | None:
        """Its Python, None where it has none or none that parses."""
        if self.kind not in {"python", "notebook"}:
            return None
        code = "\n".join("" if text.lstrip().startswith(("!", "%")) else text for _, text in self.lines)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of somebody else's spelling, which is not what was asked
                return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested beyond the parser
            return None

    def line_of(self, node: ast.AST) -> int:
        """Where a node of `tree` stands in the file."""
        index = getattr(node, "lineno", 1) - 1
        return self.lines[index][0] if index < len(self.lines) else 0

    def first_line_with(self, pattern: str) -> int:
        """0 where no line has it."""
        return next((number for number, text in self.lines if re.search(pattern, text)), 0)


def requirement_name(requirement: str) -> str:
    """ "numpy" for "NumPy>=2", in pip's spelling; empty for what is no name."""
    match = _REQUIREMENT.match(requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def read_script(path: Path, kind: ScriptKind) -> Script:
    """Raises `ConfigError` for what is not there or is no text."""
    largest = LARGEST_NOTEBOOK if kind == "notebook" else LARGEST
    lines = tuple(enumerate(read_lines(path, largest=largest), start=1))
    return Script(path, kind, _code_of_notebook(lines) if kind == "notebook" else lines)


def _code_of_notebook(lines: tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
    """The lines of its code cells, each at the line of the file where its text begins; none where it is no notebook."""
    try:
        notebook = json.loads("\n".join(text for _, text in lines))
        cells = notebook["cells"]
        sources = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        code = ["".join(source) if isinstance(source, list) else str(source) for source in sources]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    at = 0
    found: list[tuple[int, str]] = []
    for text in "\n".join(code).splitlines():
        at = _line_with(lines, text, start=at)
        found.append((lines[at][0], text))
    return tuple(found)


def _line_with(lines: tuple[tuple[int, str], ...], text: str, *, start: int) -> int:
    """The index of the next line that holds this text as JSON; the last one found where it is on no line of its own."""
    if not text.strip():
        return start
    wanted = json.dumps(text, ensure_ascii=False)[1:-1]
    ahead = range(start, min(len(lines), start + 400))
    return next((index for index in ahead if wanted in lines[index][1]), start)
