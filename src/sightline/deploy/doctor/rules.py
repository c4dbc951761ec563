"""What a rule is, and what it says where it is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MOST_ALIKE = 50  # findings of one rule in one file: whoever has more needs no list
LONGEST = 300  # characters of a value that is quoted

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Place:
    """Where something is said."""

    path: Path
    line: int = 0  # from 1; 0 is the file as a whole

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else str(self.path)


@dataclass(frozen=True)
class Edit:
    """Other lines in the place of one."""

    line: int  # from 1
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """One mistake: how bad it is, why, and what to do instead. Its page in the documentation is made of this."""

    id: str
    severity: Severity  # a finding may be more severe, where the model's own card proves it
    title: str
    why: str
    fix: str
    bad: str = ""  # lines that are caught
    good: str = ""  # the same lines as they should be

    def found(
        self,
        place: Place,
        value: object,
        expected: str,
        *,
        severity: Severity | None = None,
        fix: str = "",
        edits: tuple[Edit, ...] = (),
    ) -> Finding:
        """`value` and `expected` may quote a file nobody vouches for, and are made fit for a terminal."""
        return Finding(self, place, _line(value), _line(expected), severity or self.severity, fix or self.fix, edits)


@dataclass(frozen=True)
class Finding:
    """A rule broken somewhere. `edits` repair it where nobody has to be asked how."""

    rule: Rule
    place: Place
    value: str
    expected: str
    severity: Severity
    fix: str
    edits: tuple[Edit, ...] = ()

    def as_json(self) -> dict[str, object]:
        return {
            "rule": self.rule.id,
            "severity": self.severity,
            "file": str(self.place.path),
            "line": self.place.line,
            "title": self.rule.title,
            "value": self.value,
            "expected": self.expected,
            "why": self.rule.why,
            "fix": self.fix,
            "fixable": bool(self.edits),
        }


def _line(value: object) -> str:
    """One line without control characters, which a terminal would obey, and not longer than anybody reads."""
    text = str(value)[:LONGEST]
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def at_most_alike(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Each finding once, and of one rule in one file no more than anybody reads."""
    seen: Counter[tuple[str, Path]] = Counter()
    for finding in dict.fromkeys(findings):
        key = finding.rule.id, finding.place.path
        seen[key] += 1
        if seen[key] <= MOST_ALIKE:
            yield finding


_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


def by_weight(finding: Finding) -> tuple[int, str, int, str]:
    """The order of a report: the worst first, then by place."""
    return _ORDER[finding.severity], str(finding.place.path), finding.place.line, finding.rule.id
