"""Two sets of tracks of one clip laid over each other: which box meets which, and by how much.

Only boxes that meet are kept, as one long list of pairs; a crowded hour then needs memory for the crowd, not for its
square.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sightline.tracking.assignment import Assignment, iou_matrix
from sightline.tracking.mot_files import PEDESTRIAN, MotRows, Numbers
from sightline.types import IntArray

EPS = float(np.finfo(np.float64).eps)  # an overlap this much below a threshold still reaches it
ENOUGH = 0.5  # of IoU, for two boxes to be of the same thing

# Of MOT16, MOT17 and MOT20: people who ride, stand still or are reflected. Nobody is asked to track them, and nobody is
# punished for it.
_DISTRACTORS = (2, 7, 8, 12)


@dataclass(frozen=True, eq=False)
class Side:
    """One set of tracks, its boxes in the order of frames; frames and ids are numbered from 0 without gaps."""

    ids: IntArray  # (N,)
    starts: IntArray  # (frames + 1,) the boxes of frame f are starts[f] up to starts[f + 1]
    lengths: IntArray  # (ids,) how many boxes each id has
    names: IntArray  # (ids,) what each id is called in the file

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Overlaps:
    """What was there, what was found, and every pair of boxes of one frame that meet."""

    truth: Side
    found: Side
    truth_rows: IntArray  # (P,) by frame
    found_rows: IntArray  # (P,)
    ious: Numbers  # (P,) above 0
    starts: IntArray  # (frames + 1,) the pairs of frame f are starts[f] up to starts[f + 1]
    assignment: Assignment = field(default_factory=Assignment)

    @property
    def frames(self) -> int:
        """Those with a box on either side."""
        return len(self.starts) - 1

    @property
    def frame_of_pair(self) -> IntArray:  # (P,)
        return np.repeat(np.arange(self.frames), np.diff(self.starts))

    def assigned(self, scores: Numbers) -> IntArray:
        """The pairs of the one-to-one assignment of each frame with the largest sum of `scores` (P,), zeros left out.

        Solved frame by frame: no assignment reaches from one frame into the next.
        """
        chosen = [self.assigned_in(frame, scores[pairs]) for frame, pairs in self._pairs_by_frame()]
        return np.concatenate([np.empty(0, np.int64), *chosen])

    def assigned_in(self, frame: int, scores: Numbers) -> IntArray:
        """The same for the pairs of one frame."""
        first, last = self.starts[frame], self.starts[frame + 1]
        rows = self.truth_rows[first:last] - self.truth.starts[frame]
        columns = self.found_rows[first:last] - self.found.starts[frame]
        table = np.zeros((rows.max(initial=0) + 1, columns.max(initial=0) + 1))
        table[rows, columns] = scores
        best = np.zeros(table.shape, bool)
        best[self.assignment.best_pairs(table, at_least=EPS)] = True
        return np.asarray(np.flatnonzero(best[rows, columns]) + first, np.int64)

    def _pairs_by_frame(self) -> Iterator[tuple[int, slice]]:
        for frame in np.flatnonzero(np.diff(self.starts)).tolist():
            yield frame, slice(int(self.starts[frame]), int(self.starts[frame + 1]))


def overlaps(truth: MotRows, found: MotRows) -> Overlaps:
    """Everything in the order of `truth` and `found`, which are in order of frames as `mot_rows` and files have them.

    Scored is what the MOTChallenge scores: of the truth the pedestrians, without the boxes marked as not to be
    scored; of the found boxes all but those on a distractor. Without classes all of them are pedestrians. Raises
    `BackendError` where scipy is not installed.
    """
    if truth.has_classes:
        found = found.take(~_on_distractors(truth, found))
        truth = truth.take(truth.classes == PEDESTRIAN)
    return _laid_over(truth.take(truth.confidences != 0), found)


def _on_distractors(truth: MotRows, found: MotRows) -> NDArray[np.bool_]:  # (N,)
    """Found boxes that fit a distractor better than they fit anybody else."""
    everything = _laid_over(truth, found)
    chosen = everything.assigned(np.where(everything.ious >= ENOUGH - EPS, everything.ious, 0.0))
    on_one = np.isin(truth.classes[everything.truth_rows[chosen]], _DISTRACTORS)
    dropped = np.zeros(len(found), bool)
    dropped[everything.found_rows[chosen[on_one]]] = True
    return dropped


def _laid_over(truth: MotRows, found: MotRows) -> Overlaps:
    frames = np.union1d(truth.frames, found.frames)
    sides = _side(truth, frames), _side(found, frames)
    parts = [_meeting(truth, found, *sides, frame=frame) for frame in range(len(frames))]
    nothing = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    rows, columns, ious = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    return Overlaps(*sides, rows, columns, ious, starts.astype(np.int64))


def _side(rows: MotRows, frames: IntArray) -> Side:
    names, ids, lengths = np.unique(rows.ids, return_inverse=True, return_counts=True)
    starts = np.searchsorted(rows.frames, np.append(frames, np.iinfo(np.int64).max))
    return Side(ids.astype(np.int64).reshape(-1), starts.astype(np.int64), lengths.astype(np.int64), names)


def _meeting(
    truth: MotRows, found: MotRows, ours: Side, theirs: Side, *, frame: int
) -> tuple[IntArray, IntArray, Numbers]:
    """Row, row and IoU of the boxes of a frame that meet."""
    first, last = ours.starts[frame], ours.starts[frame + 1]
    start, stop = theirs.starts[frame], theirs.starts[frame + 1]
    table = iou_matrix(truth.boxes_xyxy[first:last], found.boxes_xyxy[start:stop])
    rows, columns = np.nonzero(table)
    return rows + first, columns + start, table[rows, columns]
