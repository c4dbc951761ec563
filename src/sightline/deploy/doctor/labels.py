"""Label files: the class id of a detector is the number of a line, so a lost line moves everybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline.deploy.doctor.document import BOM, read_lines
from sightline.deploy.doctor.rules import Edit, Finding, Place, Rule

PERSON = frozenset({"person", "people", "pedestrian", "human"})

LBL001 = Rule(
    "LBL001",
    "error",
    "the label file has no labels",
    "The class id of a detection is the number of a line in this file, counted from 0. Without lines nobody can say "
    "which id is a person.",
    "Write one class a line, in the order the detector was trained with.",
    bad="(an empty file)",
    good="car\nbicycle\nperson\nroadsign",
)
LBL002 = Rule(
    "LBL002",
    "warning",
    "a line of the label file is not a label",
    "Every line counts, an empty one too: all classes behind it get an id one higher than the detector gives them, and "
    "operate-on-class-ids then selects another class. A byte order mark becomes part of the first label.",
    "Remove the line, or the mark.",
    bad="car\n\nperson",
    good="car\nperson",
)
RULES = (LBL001, LBL002)


@dataclass(frozen=True)
class Labels:
    path: Path
    names: tuple[str, ...]  # by class id, as written
    lines: tuple[str, ...]

    def is_person(self, class_id: int) -> bool:
        return self.names[class_id].removeprefix(BOM).strip().lower() in PERSON

    @property
    def person_ids(self) -> list[int]:
        return [class_id for class_id in range(len(self.names)) if self.is_person(class_id)]

    def findings(self) -> Iterator[Finding]:
        if not any(name.strip() for name in self.names):
            yield LBL001.found(Place(self.path), "nothing", "one class a line")
            return
        if self.lines[0].startswith(BOM):
            edit = Edit(1, (self.lines[0].removeprefix(BOM),))
            yield LBL002.found(Place(self.path, 1), "a byte order mark", "a label", edits=(edit,))
        empty = [number for number, name in enumerate(self.names, start=1) if not name.removeprefix(BOM).strip()]
        if empty:
            more = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
            yield LBL002.found(Place(self.path, empty[0]), f"an empty line{more}", "a label")


def read_labels(path: Path) -> Labels:
    """Empty lines at the end are no classes. Raises `ConfigError` for what is not there or is no text file."""
    lines = read_lines(path)
    names = list(lines)
    while names and not names[-1].strip():
        names.pop()
    if len(names) == 1 and ";" in names[0]:  # the form classifiers use: all on one line
        names = names[0].rstrip(";").split(";")
    return Labels(path, tuple(names), lines)
