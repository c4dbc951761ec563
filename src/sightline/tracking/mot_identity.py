"""Identity scores: how long everybody was followed by the one track that is counted as theirs.

Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sightline.tracking.mot_overlaps import ENOUGH, EPS, Overlaps


@dataclass(frozen=True)
class Identity:
    """Boxes rightly, wrongly and not named, under the one-to-one naming that is best for the whole clip."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: Identity) -> Identity:
        return Identity(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def f1(self) -> float:
        return 2 * self.tp / max(1, 2 * self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        return self.tp / max(1, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return self.tp / max(1, self.tp + self.fn)


def identity(clip: Overlaps, *, enough: float = ENOUGH) -> Identity:
    """Boxes can be of the same thing from `enough` IoU on.

    The paper pads the table of costs so that a track may stay without a partner. A partner that shares no box costs the
    same as none, so the table of shared boxes gives the same answer without padding.
    """
    close = clip.ious >= enough - EPS
    truth_ids, found_ids = clip.truth.ids[clip.truth_rows[close]], clip.found.ids[clip.found_rows[close]]
    (rows, ours), (columns, theirs) = (np.unique(ids, return_inverse=True) for ids in (truth_ids, found_ids))
    shared = np.zeros((max(1, len(rows)), max(1, len(columns))))
    np.add.at(shared, (ours.reshape(-1), theirs.reshape(-1)), 1)
    named = int(shared[clip.assignment.best_pairs(shared, at_least=EPS)].sum())
    return Identity(named, len(clip.found) - named, len(clip.truth) - named)
