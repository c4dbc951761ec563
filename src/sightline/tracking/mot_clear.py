"""CLEAR MOT: how many boxes were missed or made up, and how often a track changed hands.

Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics", 2008; who is
mostly tracked after Wu and Nevatia, 2006.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sightline.tracking.mot_files import Numbers
from sightline.tracking.mot_overlaps import ENOUGH, EPS, Overlaps
from sightline.types import IntArray

_NOBODY = -1
_LOYALTY = 1000.0  # what having been together in the frame before is worth, against an overlap of at most 1


@dataclass(frozen=True)
class Clear:
    """Counts; those of several clips are added. Rates of nothing are 0."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    switches: int = 0  # a true track is followed by another id than the last one that followed it
    fragments: int = 0  # a true track is followed again after it was not
    mostly_tracked: int = 0  # true tracks followed for more than 80 % of their boxes
    partly_tracked: int = 0
    mostly_lost: int = 0  # for less than 20 %
    overlap: float = 0.0  # sum of IoU over `tp`

    def __add__(self, other: Clear) -> Clear:
        return Clear(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def mota(self) -> float:
        """At most 1, and below 0 where more is wrong than there was."""
        return (self.tp - self.fp - self.switches) / max(1, self.tp + self.fn)

    @property
    def motp(self) -> float:
        """Mean IoU of what was found: higher is closer, unlike the distance of the paper."""
        return self.overlap / max(1, self.tp)


def clear(clip: Overlaps, *, enough: float = ENOUGH) -> Clear:
    """Boxes match from `enough` IoU on; whoever were together in the frame before stay so while they can."""
    pairs = matched_pairs(clip, enough=enough)
    truth_ids, found_ids = clip.truth.ids[clip.truth_rows[pairs]], clip.found.ids[clip.found_rows[pairs]]
    share = np.bincount(truth_ids, minlength=len(clip.truth.lengths)) / clip.truth.lengths
    mostly, at_all = int(np.sum(share > 0.8)), int(np.sum(share >= 0.2))
    return Clear(
        tp=len(pairs),
        fp=len(clip.found) - len(pairs),
        fn=len(clip.truth) - len(pairs),
        switches=_switches(truth_ids, found_ids),
        fragments=_fragments(truth_ids, _counted_frames(clip)[clip.frame_of_pair[pairs]]),
        mostly_tracked=mostly,
        partly_tracked=at_all - mostly,
        mostly_lost=len(share) - at_all,
        overlap=float(clip.ious[pairs].sum()),
    )


def matched_pairs(clip: Overlaps, *, enough: float = ENOUGH) -> IntArray:
    """Which of the pairs match, by frame."""
    together = np.full(len(clip.truth.lengths), _NOBODY)
    truth_ids, found_ids = clip.truth.ids[clip.truth_rows], clip.found.ids[clip.found_rows]
    chosen = [np.empty(0, np.int64)]
    for frame in np.flatnonzero(_has_both(clip)).tolist():
        pairs = slice(int(clip.starts[frame]), int(clip.starts[frame + 1]))
        scores = _scores(clip.ious[pairs], together[truth_ids[pairs]] == found_ids[pairs], enough)
        matches = clip.assigned_in(frame, scores)
        together[:] = _NOBODY
        together[truth_ids[matches]] = found_ids[matches]
        chosen.append(matches)
    return np.concatenate(chosen)


def _scores(ious: Numbers, stayed: NDArray[np.bool_], enough: float) -> Numbers:
    return np.asarray(np.where(ious >= enough - EPS, ious + _LOYALTY * stayed, 0.0))


def _has_both(clip: Overlaps) -> NDArray[np.bool_]:
    return np.asarray((np.diff(clip.truth.starts) > 0) & (np.diff(clip.found.starts) > 0))


def _counted_frames(clip: Overlaps) -> IntArray:
    """Frames numbered without those that are empty on one side.

    The MOTChallenge's own evaluation passes over such a frame, so that it breaks neither a track nor a pair; we do as
    it does, to print its figures.
    """
    return np.asarray(np.cumsum(_has_both(clip)), np.int64)


def _switches(truth_ids: IntArray, found_ids: IntArray) -> int:
    order = np.argsort(truth_ids, kind="stable")
    same = np.diff(truth_ids[order]) == 0
    return int(np.sum(same & (np.diff(found_ids[order]) != 0)))


def _fragments(truth_ids: IntArray, frames: IntArray) -> int:
    order = np.argsort(truth_ids, kind="stable")
    same = np.diff(truth_ids[order]) == 0
    return int(np.sum(same & (np.diff(frames[order]) > 1)))
