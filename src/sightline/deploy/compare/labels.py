"""Who is on an image and which camera took it, where the names of files and folders say so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from sightline.reid.labelled import JUNK, Labelled
from sightline.types import FloatArray

_NAMED = re.compile(r"(-1|\d+)_c(\d+)")  # as in Market-1501: 0001_c1s1_001051_00


@dataclass(frozen=True)
class Label:
    """One image. A person is a name as written; one without a name is nobody, and no evidence of anything."""

    person: str
    camera: int | None = None


@dataclass(frozen=True)
class Labels:
    """What is known of some images, and where that is from, in words."""

    of: Mapping[str, Label]  # by the path of the image
    source: str


UNKNOWN = Labels(MappingProxyType({}), "nobody said who is on which image")


def labels_in_names(paths: Sequence[Path], root: Path | None = None) -> Labels:
    """Labels from names such as `0001_c1s1_….jpg`, else from a folder for each person below `root`, else none.

    It is all or nothing: where one image says nothing, the others are not believed either.
    """
    said = [(path, _NAMED.match(path.name)) for path in paths]
    if paths and all(match for _, match in said):
        named = {str(path): _label(match[1], int(match[2])) for path, match in said if match}
        return Labels(named, "the names of the images")
    if root is not None and _has_folder_for_each(paths, root):
        return Labels({str(path): Label(path.parent.name) for path in paths}, "a folder for each person")
    return UNKNOWN


def _label(number: str, camera: int) -> Label:
    """-1 is no person at all, and 0 is everybody whose name is not known."""
    return Label("" if number == "-1" or not number.strip("0") else number, camera)


def _has_folder_for_each(paths: Sequence[Path], root: Path) -> bool:
    images = Counter(path.parent for path in paths)
    return len(images) > 1 and max(images.values()) > 1 and all(folder.parent == root for folder in images)


def labelled(vectors: FloatArray, names: Sequence[str], labels: Labels) -> Labelled:
    """The vectors of these images with what is known of each; what is not known is left out of every figure."""
    found = [labels.of.get(name, Label("")) for name in names]
    numbers = {person: number for number, person in enumerate(sorted({label.person for label in found} - {""}))}
    ids = np.array([numbers.get(label.person, JUNK) for label in found], np.int64)
    if any(label.camera is None for label in found if label.person):
        return Labelled(vectors, ids)
    return Labelled(vectors, ids, np.array([label.camera or 0 for label in found], np.int64))
