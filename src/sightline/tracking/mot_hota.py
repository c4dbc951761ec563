"""HOTA: finding and following weighed alike, over all degrees of fit.

Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sightline.tracking.mot_files import Numbers
from sightline.tracking.mot_overlaps import EPS, Overlaps
from sightline.types import IntArray

ALPHAS = np.arange(1, 20) * 0.05  # the IoU from which boxes count as found


def _zeros() -> Numbers:
    return np.zeros(len(ALPHAS))


@dataclass(frozen=True, eq=False)
class Hota:
    """Sums for each of `ALPHAS`; those of several clips are added. Scores are means over all of them."""

    tp: Numbers = field(default_factory=_zeros)
    fp: Numbers = field(default_factory=_zeros)
    fn: Numbers = field(default_factory=_zeros)
    association: Numbers = field(default_factory=_zeros)  # over `tp`, how far the two tracks of each match agree
    overlap: Numbers = field(default_factory=_zeros)  # over `tp`, IoU

    def __add__(self, other: Hota) -> Hota:
        return Hota(
            self.tp + other.tp,
            self.fp + other.fp,
            self.fn + other.fn,
            self.association + other.association,
            self.overlap + other.overlap,
        )

    @property
    def hota(self) -> float:
        return float(np.sqrt(self._det_a * self._ass_a).mean())

    @property
    def det_a(self) -> float:
        return float(self._det_a.mean())

    @property
    def ass_a(self) -> float:
        return float(self._ass_a.mean())

    @property
    def loc_a(self) -> float:
        """Where nothing fits well enough there is nothing to be inexact about: 1."""
        return float(np.where(self.tp > 0, self.overlap / np.maximum(1, self.tp), 1.0).mean())

    @property
    def _det_a(self) -> Numbers:
        return np.asarray(self.tp / np.maximum(1, self.tp + self.fn + self.fp))

    @property
    def _ass_a(self) -> Numbers:
        return np.asarray(self.association / np.maximum(1, self.tp))


def hota(clip: Overlaps) -> Hota:
    """One assignment for each frame, that of the tracks which agree best over the clip, serves every alpha."""
    tracks, owner = _pairs_of_tracks(clip)
    lengths = clip.truth.lengths[tracks[:, 0]] + clip.found.lengths[tracks[:, 1]]
    together = np.bincount(owner, _shares(clip), minlength=len(tracks))
    alike = together / (lengths - together)
    chosen = clip.assigned(alike[owner] * clip.ious)
    matches = [chosen[clip.ious[chosen] >= alpha - EPS] for alpha in ALPHAS]
    tp = np.array([len(pairs) for pairs in matches], np.float64)
    return Hota(
        tp=tp,
        fp=len(clip.found) - tp,
        fn=len(clip.truth) - tp,
        association=np.array([_association(owner[pairs], lengths) for pairs in matches]),
        overlap=np.array([clip.ious[pairs].sum() for pairs in matches]),
    )


def _pairs_of_tracks(clip: Overlaps) -> tuple[IntArray, IntArray]:
    """The ids (K, 2) of tracks that ever meet, and (P,) which of them each pair of boxes is of."""
    ids = np.stack([clip.truth.ids[clip.truth_rows], clip.found.ids[clip.found_rows]], axis=1)
    tracks, owner = np.unique(ids, axis=0, return_inverse=True)
    return tracks, owner.reshape(-1)


def _shares(clip: Overlaps) -> Numbers:
    """(P,) each overlap against all that either of its boxes has: 1 where two boxes meet nothing but each other."""
    of_truth = np.bincount(clip.truth_rows, clip.ious, minlength=len(clip.truth))
    of_found = np.bincount(clip.found_rows, clip.ious, minlength=len(clip.found))
    return np.asarray(clip.ious / (of_truth[clip.truth_rows] + of_found[clip.found_rows] - clip.ious))


def _association(owner: IntArray, lengths: IntArray) -> float:
    """Sum over the matches: boxes their two tracks share, against those of either."""
    shared = np.bincount(owner, minlength=len(lengths))
    return float(np.sum(shared * (shared / (lengths - shared))))
