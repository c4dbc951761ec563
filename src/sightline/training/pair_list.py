"""Lists of pairs to be told same or different: LFW's pairs.txt, or a CSV `a,b,same`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ImageError

YES, NO = frozenset({"1", "true", "yes", "same"}), frozenset({"0", "false", "no", "different"})


@dataclass(frozen=True)
class Pair:
    """Two image files, and whether they show the same person."""

    first: Path
    second: Path
    same: bool


def read_pairs(path: Path, *, root: Path | None = None) -> list[Pair]:
    """The pairs of a list, in its order, which is what its folds go by. Names are relative to `root`, or the list.

    LFW's lines are "name 1 2" for the first and second image of one person and "name 1 other 2" for two people; the
    images are name/name_0001.jpg. Raises `ImageError` with the line that cannot be read.
    """
    home = path.parent if root is None else root
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ImageError(f"list of pairs {path} cannot be read: {exc}") from exc
    if lines and lines[0].replace(" ", "").lower() == "a,b,same":
        pairs = [_csv_pair(row, home) for row in csv.reader(lines[1:])]
    else:
        pairs = [_lfw_pair(line.split(), home) for line in lines if not _is_heading(line)]
    unread = next((index for index, pair in enumerate(pairs, start=1) if pair is None), None)
    if unread is not None:
        raise ImageError(f"{path}: pair {unread} cannot be read; expected LFW's pairs.txt, or a CSV with a,b,same")
    if not pairs:
        raise ImageError(f"{path} lists no pairs; expected LFW's pairs.txt, or a CSV with a,b,same")
    return [pair for pair in pairs if pair is not None]


def images_of(pairs: Sequence[Pair]) -> list[Path]:
    """Each image once."""
    return list(dict.fromkeys(image for pair in pairs for image in (pair.first, pair.second)))


def are_same(pairs: Sequence[Pair]) -> NDArray[np.bool_]:
    return np.array([pair.same for pair in pairs], bool)


def _is_heading(line: str) -> bool:
    """The number of folds and of pairs in each, or nothing at all."""
    return all(word.isdecimal() for word in line.split())


def _csv_pair(row: Sequence[str], home: Path) -> Pair | None:
    if len(row) != 3 or row[2].strip().lower() not in YES | NO:
        return None
    return Pair(home / row[0].strip(), home / row[1].strip(), row[2].strip().lower() in YES)


def _lfw_pair(words: Sequence[str], home: Path) -> Pair | None:
    if len(words) == 3 and words[1].isdecimal() and words[2].isdecimal():
        return Pair(_lfw_image(home, words[0], words[1]), _lfw_image(home, words[0], words[2]), same=True)
    if len(words) == 4 and words[1].isdecimal() and words[3].isdecimal():
        return Pair(_lfw_image(home, words[0], words[1]), _lfw_image(home, words[2], words[3]), same=False)
    return None


def _lfw_image(home: Path, name: str, number: str) -> Path:
    return home / name / f"{name}_{int(number):04}.jpg"
