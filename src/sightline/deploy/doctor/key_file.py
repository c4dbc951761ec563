"""INI as GLib's GKeyFile reads it, which is what nvinfer uses. It is stricter than the INI readers people know.

A comment is a line of its own; there is none behind a value. A line that is neither a comment, a `[group]` nor
`key=value` fails the whole file. Numbers are not trimmed alike: behind an integer anything may follow after a blank,
behind a fraction nothing at all may follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from sightline.deploy.doctor.document import BOM, Document, Group, Setting, read_lines
from sightline.deploy.doctor.rules import Edit, Finding, Place, Rule

_SPACE = " \t\n\v\f\r"
_GROUP = re.compile(r"\[([^\[\]\x00-\x1f\x7f]+)\][ \t\n\v\f\r]*")
_COMMENTED_GROUP = re.compile(r"\[([^\[\]\x00-\x1f\x7f]+)\]\s*#.*")
_KEY = re.compile(r"(?! )[^=\[\]]*[^=\[\] ](?:\[[\w.@-]*\])?")  # with a locale in brackets
_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?\d+)", re.ASCII)
_DOUBLE = re.compile(
    r"[ \t\n\v\f\r]*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE
)
_HEXADECIMAL = re.compile(r"[ \t\n\v\f\r]*[+-]?0[xX][0-9a-fA-F]+", re.ASCII)
_MOST_DIGITS = 4000  # Python refuses to convert more; leading zeros may be many
_LONGEST_DOUBLE = 400
_INT_RANGE = range(-(1 << 31), 1 << 31)

CFG002 = Rule(
    "CFG002",
    "error",
    "the file begins with a byte order mark",
    "GLib takes the mark for text before the first group and refuses the whole file. Editors on Windows write it "
    "without showing it.",
    "Save the file as UTF-8 without BOM.",
    bad="<EF BB BF>[property]",
    good="[property]",
)
CFG003 = Rule(
    "CFG003",
    "error",
    "a line is neither a comment, a [group] nor key=value",
    "GLib refuses the whole file for one such line, and nvinfer then says only that it failed to create its context. "
    "`key: value` is the YAML form and belongs in a .yml file; `;` does not begin a comment, and a comment does not "
    "follow a [group].",
    "Write key=value below a [group], comments on lines of their own that begin with #.",
    bad="network-type: 100",
    good="network-type=100",
)
RULES = (CFG002, CFG003)


def read_key_file(path: Path) -> Document:
    """Raises `ConfigError` for what is not a text file; everything else is among the problems of the document."""
    return parse_key_file(path, read_lines(path))


def parse_key_file(path: Path, lines: tuple[str, ...]) -> Document:
    """Reads on after a line that GLib would stop at, so that one run names all that is wrong."""
    reading = _Reading(path)
    for number, text in enumerate(lines, start=1):
        if number == 1 and text.startswith(BOM):
            reading.problems.append(_bom(Place(path, 1), text))
        line = text.removeprefix(BOM if number == 1 else "").lstrip(_SPACE)
        if line and not line.startswith("#"):
            reading.take(line, Place(path, number))
    groups = tuple(Group(name, line, tuple(settings)) for name, line, settings in reading.groups)
    return Document(path, "ini", lines, groups, tuple(reading.problems))


@dataclass
class _Reading:
    """A file read as far as some line."""

    path: Path
    groups: list[tuple[str, int, list[Setting]]] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)

    def take(self, line: str, place: Place) -> None:
        """A line that is neither empty nor a comment."""
        heading = _GROUP.fullmatch(line) or _COMMENTED_GROUP.fullmatch(line)
        setting = None if heading else _setting(line, place.line)
        if heading:
            self.groups.append((heading[1], place.line, []))
        if setting and not self.groups:
            self.problems.append(CFG003.found(place, line, "a [group] before the first setting"))
        elif not setting and not _GROUP.fullmatch(line):
            self.problems.append(_unreadable(place, line))
        if self.groups and not heading:
            self.groups[-1][2].extend([setting] if setting else _meant(line, place.line))


def _setting(line: str, number: int) -> Setting | None:
    key, equals, value = line.partition("=")
    name = key.rstrip(_SPACE)
    return Setting(name, value.lstrip(_SPACE), number) if equals and _KEY.fullmatch(name) else None


def _bom(place: Place, text: str) -> Finding:
    return CFG002.found(
        place, "a byte order mark", "a line of text", edits=(Edit(place.line, (text.removeprefix(BOM),)),)
    )


def _unreadable(place: Place, line: str) -> Finding:
    repaired = _repaired(line)
    edits = () if repaired is None else (Edit(place.line, repaired),)
    return CFG003.found(place, line, "a line that begins with #, a [group], or key=value", edits=edits)


def _repaired(line: str) -> tuple[str, ...] | None:
    """What was surely meant, where that can be told."""
    if match := re.fullmatch(r"(\[[^\[\]]+\])\s*(#.*)", line):
        return match[2], match[1]
    if match := re.fullmatch(r"([a-zA-Z][\w-]*)\s*:\s*(\S.*)", line):
        return (f"{match[1]}={match[2]}",)
    return (f"#{line[1:]}",) if line.startswith(";") else None


def _meant(line: str, number: int) -> list[Setting]:
    """The setting in a `key: value` line, so that what it says is judged as well."""
    key, colon, value = line.partition(":")
    is_setting = colon and re.fullmatch(r"[a-zA-Z][\w-]*", key.rstrip())
    return [Setting(key.rstrip(), value.strip(), number)] if is_setting else []


def as_integer(text: str) -> int | None:
    """As `g_key_file_get_integer`: None is its error. What begins with a blank and no number is 0 to GLib."""
    match = _INTEGER.match(text)
    if match is None:
        return 0 if text and text[0] in _SPACE else None
    rest = text[match.end() :]
    if (rest and rest[0] not in _SPACE) or len(match[1]) > _MOST_DIGITS:
        return None
    number = int(match[1])
    return number if number in _INT_RANGE else None


def as_double(text: str) -> float | None:
    """As `g_key_file_get_double`: None is its error, and here also for more characters than any number needs."""
    if len(text) > _LONGEST_DOUBLE:
        return None
    if _HEXADECIMAL.fullmatch(text):
        return float.fromhex(text.strip(_SPACE))
    return float(text.strip(_SPACE)) if _DOUBLE.fullmatch(text) else None


def list_items(text: str) -> list[str]:
    """As GLib splits a list: at ';', one of which may end it."""
    items = text.split(";")
    return items[:-1] if items[-1] == "" else items


def as_integers(text: str) -> list[int] | None:
    numbers = [number for item in list_items(text) if (number := as_integer(item)) is not None]
    return numbers if len(numbers) == len(list_items(text)) else None


def as_doubles(text: str) -> list[float] | None:
    numbers = [number for item in list_items(text) if (number := as_double(item)) is not None]
    return numbers if len(numbers) == len(list_items(text)) else None
