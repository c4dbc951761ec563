"""Which of the people are one person: alike enough, and never in two places at once.

Pairs are joined from the most alike downwards. Two groups never join when any of the one was visible in the same frame
as any of the other, so that the rule also holds through third parties, whatever the order of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from sightline.errors import SightlineError
from sightline.reid.sightings import Sightings, seen_together
from sightline.reid.similarity import PersonId, SimilarityResults
from sightline.reid.similarity_files import DIGITS, provenance, write_json
from sightline.types import Array

REPORTED_REFUSALS = 100  # the most alike; a crowd of lookalikes has hundreds of thousands
USELESS = {"untrained": "random weights", "imagenet": "ImageNet weights"}

TOGETHER = "visible in the same frame"
THROUGH_OTHERS = "would join people who are visible in the same frame"
APART = "seen too far apart in time"
UNKNOWN_TIME = "no common clock to tell how far apart they were seen"


@dataclass(frozen=True)
class Merge:
    """Some people who are taken for one."""

    persons: tuple[PersonId, ...]  # in the order of the matrix; the first gives the group its name
    scores: tuple[float, ...]  # of the pairs that joined them, best first
    frames: int | None  # in which the group is visible; None: not known of all of them


@dataclass(frozen=True)
class Refusal:
    """A pair alike enough to be one person, and why it is not."""

    pair: tuple[PersonId, PersonId]
    score: float
    reason: str


@dataclass(frozen=True)
class Merging:
    """Everything `merge_people` decided. `refused` is sorted best first."""

    merges: tuple[Merge, ...]
    refused: tuple[Refusal, ...]
    threshold: float
    max_gap_frames: int | None


def require_mergeable(*, weights: str, model: str) -> None:
    """Raises `SightlineError` for a model that takes everybody for the same person."""
    if weights in USELESS:
        raise SightlineError(
            f"{model} has {USELESS[weights]}, to which all people look alike: nobody is merged; "
            "use a trained model, or leave --merge out"
        )


def merge_people(
    results: SimilarityResults,
    *,
    sightings: Sequence[Sightings | None],
    threshold: float,
    max_gap_frames: int | None = None,
) -> Merging:
    """Groups of people whose similarities reach `threshold`, one sighting (or None) a person, in the matrix's order.

    `max_gap_frames` also asks that the time between the two, or the time both were around, is at most that long: right
    for tracks that break and go on, wrong for people who come back. Of somebody without sightings only the looks count.
    """
    require_mergeable(weights=results["weights"], model=results["model"])
    ids, matrix = results["person_ids"], results["similarity_matrix"]
    if len(sightings) != len(ids):
        raise ValueError(f"{len(sightings)} sightings for {len(ids)} people; expected one each, None where unknown")
    gaps = None if max_gap_frames is None else _gaps(sightings)
    groups = _Groups(seen_together(sightings))
    refused = []
    for one, other in _most_alike_first(matrix, threshold):
        reason = _too_far(gaps, one, other, max_gap_frames) or groups.join(one, other, float(matrix[one, other]))
        if reason:
            refused.append(Refusal((ids[one], ids[other]), float(matrix[one, other]), reason))
    return Merging(tuple(groups.merges(ids, sightings)), tuple(refused), threshold, max_gap_frames)


def _most_alike_first(matrix: Array, threshold: float) -> list[tuple[int, int]]:
    rows, columns = np.nonzero(np.triu(matrix >= np.float32(threshold), k=1))
    order = np.argsort(-matrix[rows, columns], kind="stable")
    return list(zip(rows[order].tolist(), columns[order].tolist(), strict=True))


def _gaps(sightings: Sequence[Sightings | None]) -> Array:
    """(P, P) frames between the end of one and the beginning of the other, negative where both were around.

    NaN where that cannot be said: for somebody never placed in time, and across cameras, each of which counts alone.
    """
    ends = [(np.nan, np.nan) if seen is None or not len(seen) else seen.frames[[0, -1]] for seen in sightings]
    first, last = np.array(ends, np.float64).reshape(-1, 2).T
    gaps = np.maximum(first[:, None], first) - np.minimum(last[:, None], last)
    cameras = np.array(["" if seen is None else seen.camera for seen in sightings], dtype=np.str_)
    return np.asarray(np.where(cameras[:, None] == cameras, gaps, np.nan))


def _too_far(gaps: Array | None, one: int, other: int, limit: int | None) -> str:
    if gaps is None or limit is None:
        return ""
    gap = abs(gaps[one, other])
    if np.isnan(gap):
        return UNKNOWN_TIME
    return APART if gap > limit else ""


@dataclass
class _Groups:
    """A union-find over people that knows which groups must not meet."""

    together: Array  # (P, P) bool, who was seen with whom
    parents: list[int] = field(init=False)
    scores: dict[int, list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self.parents = list(range(len(self.together)))
        self.scores = {index: [] for index in self.parents}
        self._apart = self.together.copy()  # by group: its row and column are those of the group's first member

    def root(self, person: int) -> int:
        while self.parents[person] != person:
            self.parents[person] = self.parents[self.parents[person]]
            person = self.parents[person]
        return person

    def join(self, one: int, other: int, score: float) -> str:
        """Make two groups one, or say why not."""
        first, second = sorted((self.root(one), self.root(other)))
        if first == second:
            return ""
        if self._apart[first, second]:
            return TOGETHER if self.together[one, other] else THROUGH_OTHERS
        self.parents[second] = first
        self.scores[first] += [*self.scores.pop(second), score]
        self._apart[first] |= self._apart[second]
        self._apart[:, first] = self._apart[first]
        return ""

    def merges(self, ids: Sequence[PersonId], sightings: Sequence[Sightings | None]) -> list[Merge]:
        members: dict[int, list[int]] = {}
        for person in range(len(ids)):
            members.setdefault(self.root(person), []).append(person)
        return [
            Merge(
                tuple(ids[person] for person in group),
                tuple(sorted(self.scores[root], reverse=True)),
                _frames([sightings[person] for person in group]),
            )
            for root, group in members.items()
            if len(group) > 1
        ]


def _frames(group: Sequence[Sightings | None]) -> int | None:
    """No frame shows two of a group, so the sum counts none twice."""
    known = [len(seen) for seen in group if seen is not None]
    return sum(known) if len(known) == len(group) else None


def save_merging_report(merging: Merging, results: SimilarityResults, output_dir: Path) -> Path:
    """Write `merging_report.json`: who was merged, who nearly was, by which rule and from which model's scores."""
    merges = [
        {
            "merged_persons": list(merge.persons),
            "result_person_id": merge.persons[0],
            "similarity_scores": [round(score, DIGITS) for score in merge.scores],
            "total_merged_frames": merge.frames,
        }
        for merge in merging.merges
    ]
    nearly = [
        {"persons": list(refusal.pair), "similarity": round(refusal.score, DIGITS), "reason": refusal.reason}
        for refusal in islice(merging.refused, REPORTED_REFUSALS)
    ]
    content = {
        "merges": merges,
        "refused": nearly,
        "refused_pairs": len(merging.refused),
        "merge_threshold": merging.threshold,
        "max_gap_frames": merging.max_gap_frames,
        "similarity_form": results["similarity_form"],
        **provenance(results),
    }
    return write_json(output_dir / "merging_report.json", content)
