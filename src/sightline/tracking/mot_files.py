"""Boxes with identities over time, as the MOTChallenge writes them: one line a box, commas between, no header.

The columns are frame (from 1), id, left, top, width, height and confidence. Ground truth since MOT16 adds the class
and the visible share, 9 columns in all; MOT15 and every result add a place in the world or -1s, and have no class.
In ground truth a confidence of 0 marks a box that is not scored. Coordinates are kept as the file has them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ConfigError
from sightline.files import is_regular_file, replacing
from sightline.types import Array, IntArray

Numbers = NDArray[np.float64]
NO_CLASS = -1
PEDESTRIAN = 1

_FARTHEST = 1e7  # pixels; a coordinate beyond it is a broken file
_LAST = 1e9  # frame, id


@dataclass(frozen=True, eq=False)
class MotRows:
    """Every box of one clip, by frame and then by id."""

    frames: IntArray  # (N,) from 1
    ids: IntArray  # (N,)
    boxes_xyxy: Numbers  # (N, 4)
    confidences: Numbers  # (N,) in ground truth 0 is a box that is not scored
    classes: IntArray  # (N,) of MOT16, `PEDESTRIAN` among them; all `NO_CLASS` where the file has none
    visible_shares: Numbers  # (N,) 0..1, NaN where it is not known

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def has_classes(self) -> bool:
        return bool(np.any(self.classes != NO_CLASS))

    def take(self, rows: NDArray[np.bool_] | IntArray) -> MotRows:
        """Those rows, in the order they are asked for."""
        return MotRows(
            self.frames[rows],
            self.ids[rows],
            self.boxes_xyxy[rows],
            self.confidences[rows],
            self.classes[rows],
            self.visible_shares[rows],
        )


def mot_rows(
    frames: IntArray,
    ids: IntArray,
    boxes_xyxy: Numbers,
    *,
    confidences: Numbers | None = None,
    classes: IntArray | None = None,
    visible_shares: Numbers | None = None,
) -> MotRows:
    """Rows in order, with what a file may leave out filled in: confidence 1, no class, visibility not known."""
    count = len(frames)
    rows = MotRows(
        np.asarray(frames, np.int64),
        np.asarray(ids, np.int64),
        np.asarray(boxes_xyxy, np.float64).reshape(count, 4),
        np.ones(count) if confidences is None else np.asarray(confidences, np.float64),
        np.full(count, NO_CLASS) if classes is None else np.asarray(classes, np.int64),
        np.full(count, np.nan) if visible_shares is None else np.asarray(visible_shares, np.float64),
    )
    return rows.take(np.lexsort((rows.ids, rows.frames)))


# Reading


def read_mot(path: Path) -> MotRows:
    """The boxes of a file, which may be empty. Raises `ConfigError` naming the line of whatever is no track's box."""
    lines, table = _table(path)
    if not len(table):
        return mot_rows(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4)))
    _check(path, lines, table)
    left_top, size = table[:, 2:4], table[:, 4:6]
    known = table.shape[1] == 9 and _are_classes(table[:, 7])
    return mot_rows(
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.int64),
        np.hstack([left_top, left_top + size]),
        confidences=table[:, 6] if table.shape[1] > 6 else None,
        classes=table[:, 7].astype(np.int64) if known else None,
        visible_shares=np.clip(table[:, 8], 0, 1) if known else None,
    )


def _are_classes(column: Numbers) -> bool:
    return bool(np.all((column >= 1) & (column < 1000) & (column == np.floor(column))))


def _table(path: Path) -> tuple[IntArray, Numbers]:
    """The number of each line that is not blank, and its values."""
    lines: list[int] = []
    values: list[list[float]] = []
    for line, row in _rows(path):
        if len(row) != (len(values[0]) if values else len(row)):
            raise ConfigError(f"{path}:{line}: {len(row)} values, but {len(values[0])} on line {lines[0]}")
        if not 6 <= len(row) <= 10:
            raise ConfigError(
                f"{path}:{line}: {len(row)} values; expected frame,id,left,top,width,height,confidence and up to 3 more"
            )
        try:
            values.append([float(cell) for cell in row])
        except ValueError as exc:
            raise ConfigError(f"{path}:{line}: {_wrong_cell(row)!r} is not a number; a MOT file has no header") from exc
        lines.append(line)
    return np.array(lines, np.int64), np.array(values, np.float64)


def _wrong_cell(row: list[str]) -> str:
    return next(cell for cell in row if not _is_number(cell))[:40]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    if not is_regular_file(path):
        raise ConfigError(f"{path} is no file; expected tracks as the MOTChallenge writes them")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            yield from ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not text: expected lines of numbers with commas between") from exc
    except csv.Error as exc:
        raise ConfigError(f"{path}:{reader.line_num}: {exc}; expected numbers with commas between") from exc


def _check(path: Path, lines: IntArray, table: Numbers) -> None:
    """The first line with a value that cannot be, whatever is wrong with it."""
    frames, ids, size = table[:, 0], table[:, 1], table[:, 4:6]
    whole = (frames == np.floor(frames)) & (ids == np.floor(ids))
    _refuse(path, lines, ~np.isfinite(np.abs(table).max(axis=1)), "a value is not finite")
    _refuse(path, lines, ~whole | (np.maximum(frames, ids) > _LAST), "frame and id must be whole numbers")
    _refuse(path, lines, frames < 1, "frames count from 1; add 1 to every frame if yours count from 0")
    _refuse(path, lines, ids < 0, "the id is below 0, as in a file of detections; expected tracks, which have ids")
    _refuse(path, lines, size.min(axis=1) < 0, "a box of negative size; expected left,top,width,height")
    _refuse(path, lines, np.abs(table[:, 2:6]).max(axis=1) > _FARTHEST, "no picture is that large")
    _, first = np.unique(table[:, :2], axis=0, return_index=True)
    again = np.ones(len(table), bool)
    again[first] = False
    _refuse(path, lines, again, "this id is in this frame already")


def _refuse(path: Path, lines: IntArray, wrong: Array, why: str) -> None:
    if wrong.any():
        raise ConfigError(f"{path}:{lines[np.argmax(wrong)]}: {why}")


# Writing


def write_mot(path: Path, rows: MotRows) -> Path:
    """Rows with classes as ground truth of 9 columns, others as results of 10. Returns the path.

    Coordinates are rounded to a hundredth of a pixel, shares and confidences to a ten-thousandth.
    """
    return write_mot_parts(path, [rows])


def write_mot_parts(path: Path, parts: Iterable[MotRows]) -> Path:
    """The same of rows that need not all be in memory at once."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for rows in parts for line in _lines(rows))
    return path


def _lines(rows: MotRows) -> Iterator[str]:
    with_classes = rows.has_classes
    for index in range(len(rows)):
        left, top, right, bottom = rows.boxes_xyxy[index].tolist()
        box = ",".join(_short(value, 2) for value in (left, top, right - left, bottom - top))
        last = f"{rows.classes[index]},{_short(_seen(rows, index), 4)}" if with_classes else "-1,-1,-1"
        yield f"{rows.frames[index]},{rows.ids[index]},{box},{_short(float(rows.confidences[index]), 4)},{last}"


def _seen(rows: MotRows, index: int) -> float:
    share = float(rows.visible_shares[index])
    return 1.0 if np.isnan(share) else share


def _short(value: float, places: int) -> str:
    return f"{value:.{places}f}".rstrip("0").rstrip(".")
