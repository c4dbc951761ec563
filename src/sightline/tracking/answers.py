"""What tells one family of detectors from another: the names, shapes and numbers it answers a blank picture with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sightline.tracking.decode_cells import BINS, STRIDES, STRIDES_TO_64, cell_count, cells
from sightline.types import Array


@dataclass(frozen=True)
class Answer:
    """What a detector takes, and what it said of one blank picture."""

    inputs: frozenset[str]  # beside the picture
    outputs: Mapping[str, Array]  # batch axis gone
    size_hw: tuple[int, int]

    @property
    def rows(self) -> Array | None:
        """The table of a detector whose only output is one."""
        tables = list(self.outputs.values())
        return tables[0] if len(tables) == 1 and tables[0].ndim == 2 and not self.inputs else None


def any_answer(answer: Answer) -> bool:
    return True


def has(answer: Answer, *, outputs: frozenset[str], inputs: frozenset[str] = frozenset()) -> bool:
    return answer.outputs.keys() == outputs and answer.inputs == inputs


def is_rfb(answer: Answer) -> bool:
    return has(answer, outputs=frozenset({"scores", "boxes"})) and (
        (answer.outputs["scores"].shape[-1], answer.outputs["boxes"].shape[-1]) == (2, 4)
    )


def _counts(answer: Answer) -> tuple[int, int, int]:
    """The cells of three strides, of four up to 64, and of four from 4."""
    size_hw = answer.size_hw
    return cell_count(size_hw, STRIDES), cell_count(size_hw, STRIDES_TO_64), cell_count(size_hw, (4, *STRIDES))


def _is_a_row_each(answer: Answer, count: int, *, least: int) -> bool:
    rows = answer.rows
    return rows is not None and rows.shape[0] == count and rows.shape[1] >= least


def is_yolox(answer: Answer) -> bool:
    return _is_a_row_each(answer, _counts(answer)[0], least=6)


def is_yolov5(answer: Answer) -> bool:
    """With three boxes a cell, or with one, as its successors without anchors have."""
    three, four, _ = _counts(answer)
    return any(_is_a_row_each(answer, count, least=6) for count in (three, 3 * three, 3 * four))


def is_yolov8(answer: Answer) -> bool:
    rows = answer.rows
    return rows is not None and rows.shape[1] in _counts(answer) and rows.shape[0] >= 5


def is_end_to_end(answer: Answer) -> bool:
    """Six numbers a row, and not a row a cell: that would be a detector of one class that needs decoding."""
    rows = answer.rows
    return rows is not None and rows.shape[1] == 6 and not (is_yolov5(answer) or is_nanodet_plus(answer))


def is_nanodet(answer: Answer) -> bool:
    return _is_a_row_each(answer, _counts(answer)[0], least=4 * BINS + 1)


def is_nanodet_plus(answer: Answer) -> bool:
    return _is_a_row_each(answer, _counts(answer)[1], least=4 * BINS + 1)


def columns(start: int, stop: int | None = None) -> Callable[[Answer], Array]:
    """Some of the numbers of each row, those that are numbers."""

    def chosen(answer: Answer) -> Array:
        rows = answer.rows
        return np.empty(0) if rows is None else rows[:, start:stop][np.isfinite(rows[:, start:stop])]

    return chosen


def are_scores(values: Array) -> bool:
    return bool(np.all((values >= -1e-3) & (values <= 1 + 1e-3)))


def has_scores_last(answer: Answer) -> bool:
    return are_scores(columns(4)(answer))


def has_scores_below(answer: Answer) -> bool:
    """As `has_scores_last`, of a table with a column for each box."""
    return answer.rows is not None and has_scores_last(Answer(answer.inputs, {"": answer.rows.T}, answer.size_hw))


def is_decoded(answer: Answer) -> bool:
    """Whether most boxes of a row a cell lie about their cell: offsets in strides all lie about the first one."""
    rows = answer.rows
    if rows is None or len(rows) != cell_count(answer.size_hw, STRIDES):
        return rows is not None
    grid, stride = cells(answer.size_hw, STRIDES)
    away = np.abs(rows[:, :2] - (grid + 0.5) * stride).max(axis=1)
    return bool(np.mean(away <= 4 * stride[:, 0]) > 0.5)


def classes_after(count: int) -> Callable[[Answer], int]:
    return lambda answer: 0 if answer.rows is None else answer.rows.shape[1] - count


def rows_after_4(answer: Answer) -> int:
    return 0 if answer.rows is None else answer.rows.shape[0] - 4
