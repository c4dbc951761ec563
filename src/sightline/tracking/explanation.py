"""Why a detection was given to a track, in the numbers that decided it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sightline.tracking.assignment import Matrix
from sightline.types import Array, IntArray

Stage = Literal["near", "faint", "tentative", "returned"]


@dataclass(frozen=True)
class Link:
    """One detection and the track it was given to."""

    row: int  # of the detections passed in
    track_id: int  # 0: not confirmed before this frame
    stage: Stage
    similarity: float  # what the stage compared: an IoU, one mixed with likeness, or ("returned") a cosine
    iou: float
    cosine: float | None  # None: one of the two was never embedded, or may not be believed
    weight: float  # of appearance in the similarity, 0..1
    runner_up: float | None  # the next best similarity of this track or this detection; None: there was none


@dataclass(frozen=True, eq=False)
class Pairing:
    """What one stage compared and chose. `left` and `right` say which tracks and sightings its matrix is about."""

    stage: Stage
    similarity: Matrix  # (L, R)
    left: IntArray  # (L,)
    right: IntArray  # (R,)
    rows: IntArray  # (P,) of the matrix
    columns: IntArray  # (P,)

    @property
    def tracks(self) -> IntArray:
        """Of each pair, (P,)."""
        return self.left[self.rows]

    @property
    def sightings(self) -> IntArray:
        """Of each pair, (P,)."""
        return self.right[self.columns]

    def runners_up(self) -> Matrix:
        """For each pair, the best similarity that either of the two has with a third; -inf where there is none."""
        best = np.full(len(self.rows), -np.inf)
        for number, (row, column) in enumerate(zip(self.rows, self.columns, strict=True)):
            of_row, of_column = self.similarity[row].copy(), self.similarity[:, column].copy()
            of_row[column] = of_column[row] = -np.inf
            best[number] = max(of_row.max(), of_column.max())
        return best

    def only(self, kept: Array) -> Pairing:
        """The pairs in the mask `kept` (P,)."""
        return Pairing(self.stage, self.similarity, self.left, self.right, self.rows[kept], self.columns[kept])
