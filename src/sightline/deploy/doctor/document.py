"""A configuration file as its readers see it: groups of settings, each with the line it stands in."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from sightline.deploy.doctor.rules import Edit, Finding, Place
from sightline.errors import ConfigError

LARGEST = 256 << 10  # bytes; NVIDIA's longest configuration has 20 KiB
BOM = "\ufeff"

Syntax = Literal["ini", "yaml"]


@dataclass(frozen=True)
class Setting:
    """`key=value` as written. `is_list`: a YAML sequence, whose items are joined with ';' in `value`."""

    key: str
    value: str
    line: int
    is_list: bool = False


@dataclass(frozen=True)
class Group:
    """Settings under one heading, in file order, repeated ones included."""

    name: str
    line: int
    settings: tuple[Setting, ...] = ()

    @cached_property
    def _by_key(self) -> Mapping[str, Setting]:
        return {setting.key: setting for setting in self.settings}

    def last(self, key: str) -> Setting | None:
        """The one that counts: of duplicates, GLib takes the last."""
        return self._by_key.get(key)


@dataclass(frozen=True)
class Document:
    """One file, read as far as it can be. `problems` are what its real reader would stumble over."""

    path: Path
    syntax: Syntax
    lines: tuple[str, ...]
    groups: tuple[Group, ...] = ()
    problems: tuple[Finding, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Group]:
        """A group of the same name twice is one group, as in GLib."""
        merged: dict[str, Group] = {}
        for group in self.groups:
            seen = merged.get(group.name)
            settings = (*seen.settings, *group.settings) if seen else group.settings
            merged[group.name] = replace(seen or group, settings=settings)
        return merged

    def place(self, line: int) -> Place:
        return Place(self.path, line)

    def set_to(self, group: Group, key: str, value: str) -> Edit:
        """The line of this setting with another value, its comment kept; where there is none, a new line."""
        setting = group.last(key)
        if setting is None:
            anchor = group.settings[-1].line if group.settings else group.line
            return Edit(anchor, (self.lines[anchor - 1], self._new_line(anchor, group, key, value)))
        return Edit(setting.line, (self._with_value(self.lines[setting.line - 1], value),))

    def _with_value(self, text: str, value: str) -> str:
        # In YAML a comment begins after a blank; an INI file has none behind a value.
        pattern = r"(?s)([^:]*:\s*)(.*?)(\s+#.*)?" if self.syntax == "yaml" else r"(?s)([^=]*=\s*)(.*)()"
        match = re.fullmatch(pattern, text)
        if match is None:
            return text
        before, _, after = match.groups()
        space = "" if before[-1:].isspace() or self.syntax == "ini" else " "
        return f"{before}{space}{value}{after or ''}"

    def _new_line(self, anchor: int, group: Group, key: str, value: str) -> str:
        if self.syntax == "ini":
            return f"{key}={value}"
        line = self.lines[anchor - 1]
        indent = line[: len(line) - len(line.lstrip())] if group.settings else "  "
        return f"{indent}{key}: {value}"


def read_lines(path: Path, *, largest: int = LARGEST) -> tuple[str, ...]:
    """The lines of a text file, without their ends. Bytes that are not UTF-8 stay, as surrogates.

    Raises `ConfigError` for what is not there, no regular file, too large, or not text.
    """
    try:
        content = _content(path, largest)
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: no such file; check the name") from exc
    except (OSError, ValueError) as exc:  # a ValueError is a NUL in the name
        raise ConfigError(f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    if len(content) > largest:
        raise ConfigError(f"{path} has more than {largest >> 10} KiB; expected a shorter text file")
    if b"\0" in content:
        raise ConfigError(f"{path} has bytes that no text has; expected a text file")
    text = content.decode("utf-8", errors="surrogateescape")
    return tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))


def _content(path: Path, largest: int) -> bytes:
    """At most one byte more than may be: opening a pipe would wait for somebody to write into it."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ConfigError(f"{path} is no regular file; expected a text file")
    with path.open("rb") as file:
        return file.read(largest + 1)


def beside(path: Path, named: str) -> Path:
    """The file that a configuration names: against its own folder, links resolved, as DeepStream does."""
    return Path(os.path.normpath(Path(os.path.realpath(path)).parent / named))
