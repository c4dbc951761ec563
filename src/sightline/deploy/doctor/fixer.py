"""Repairs that nobody has to be asked about: one value in its line. Comments, order and line ends stay as they are."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.deploy.doctor.rules import Edit, Finding
from sightline.errors import ConfigError
from sightline.files import replacing

ROUNDS = 20  # a repair may bring another mistake to light: a file with a byte order mark has no settings before


@dataclass(frozen=True)
class Repair:
    """One file before and after."""

    path: Path
    before: str
    after: str

    def diff(self) -> str:
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            str(self.path),
            f"{self.path} (fixed)",
        )
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def fix(examine: Callable[[], list[Finding]]) -> tuple[list[Repair], list[Finding]]:
    """Repair and look again, until nothing is left that can be repaired. The repairs, and the findings that remain.

    Each round writes every file at most once, whole. Raises `OutputError` where a file may not be written.
    """
    original: dict[Path, str] = {}
    findings = examine()
    for _ in range(ROUNDS):
        changed = False
        for path, edits in _by_file(findings):
            before = _read(path)
            after = apply(before, edits)
            if after != before:
                original.setdefault(path, before)
                _write(path, after)
                changed = True
        if not changed:
            break
        findings = examine()
    return [Repair(path, before, _read(path)) for path, before in original.items()], findings


def _by_file(findings: Iterable[Finding]) -> Iterator[tuple[Path, list[Edit]]]:
    """The edits of each file, one a line; a second one waits for the next round.

    How a file is written comes before what it says: a key whose name is put right may say what would else be added.
    """
    chosen: dict[Path, list[Finding]] = {}
    for finding in findings:
        if finding.edits:
            chosen.setdefault(finding.place.path, []).append(finding)
    for path, of_file in chosen.items():
        first = [finding for finding in of_file if finding.rule.id.startswith("CFG")] or of_file
        yield path, list({edit.line: edit for finding in reversed(first) for edit in finding.edits}.values())


def apply(text: str, edits: Sequence[Edit]) -> str:
    """The text with other lines, each with the line end of the one it replaces."""
    lines = text.split("\n")
    for edit in sorted(edits, key=lambda edit: edit.line, reverse=True):
        if edit.line > len(lines):
            continue
        end = "\r" if lines[edit.line - 1].endswith("\r") else ""
        lines[edit.line - 1 : edit.line] = [line + end for line in edit.lines]
    return "\n".join(lines)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", errors="surrogateescape")
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc


def _write(path: Path, text: str) -> None:
    """Through a link the file it leads to is written, so that the link stays one."""
    target = path.resolve()
    with replacing(target) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="surrogateescape"))
        temporary.chmod(target.stat().st_mode & 0o7777)
