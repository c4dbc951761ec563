"""How good tracks are, by the measures the MOTChallenge prints: CLEAR, identity, HOTA.

>>> score = evaluate(read_mot(Path("gt.txt")), read_mot(Path("result.txt")))
>>> score.clear.mota, score.identity.f1, score.hota.hota

None of them sees whether somebody who left and came back was known again: that is in `returners`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sightline.tracking.mot_clear import Clear, clear
from sightline.tracking.mot_files import MotRows
from sightline.tracking.mot_hota import Hota, hota
from sightline.tracking.mot_identity import Identity, identity
from sightline.tracking.mot_overlaps import ENOUGH, overlaps


@dataclass(frozen=True)
class Evaluation:
    """The scores of a clip, or of several: `a + b` is what one clip with the tracks of both would have."""

    clear: Clear = field(default_factory=Clear)
    identity: Identity = field(default_factory=Identity)
    hota: Hota = field(default_factory=Hota)
    frames: int = 0  # those with a box
    tracks: int = 0  # true ones
    found_tracks: int = 0

    def __add__(self, other: Evaluation) -> Evaluation:
        return Evaluation(
            self.clear + other.clear,
            self.identity + other.identity,
            self.hota + other.hota,
            self.frames + other.frames,
            self.tracks + other.tracks,
            self.found_tracks + other.found_tracks,
        )

    def figures(self) -> dict[str, float]:
        """Every figure under the name it goes by in papers; rates are 0..1."""
        clear, identity, hota = self.clear, self.identity, self.hota
        return {
            "HOTA": hota.hota,
            "DetA": hota.det_a,
            "AssA": hota.ass_a,
            "LocA": hota.loc_a,
            "IDF1": identity.f1,
            "IDP": identity.precision,
            "IDR": identity.recall,
            "MOTA": clear.mota,
            "MOTP": clear.motp,
            "FP": clear.fp,
            "FN": clear.fn,
            "IDSW": clear.switches,
            "Frag": clear.fragments,
            "MT": clear.mostly_tracked,
            "PT": clear.partly_tracked,
            "ML": clear.mostly_lost,
            "frames": self.frames,
            "tracks": self.tracks,
            "found_tracks": self.found_tracks,
            "boxes": clear.tp + clear.fn,
            "found_boxes": clear.tp + clear.fp,
        }


def evaluate(truth: MotRows, found: MotRows, *, enough: float = ENOUGH) -> Evaluation:
    """Tracks of one clip against the true ones; CLEAR and identity take boxes for the same from `enough` IoU on.

    Raises `BackendError` where scipy is not installed.
    """
    clip = overlaps(truth, found)
    return Evaluation(
        clear(clip, enough=enough),
        identity(clip, enough=enough),
        hota(clip),
        clip.frames,
        len(clip.truth.lengths),
        len(clip.found.lengths),
    )
