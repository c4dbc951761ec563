"""Stage 3b: who matters in a recording, by how long, how large, how central and how steadily they are in it.

Each part is 0..1, and the score is their weighted sum:

    duration    frames the person is seen in, over those of whoever is seen longest
    coverage    mean share of the picture inside the person's box, over that of whoever covers most
    centre      1 less the mean distance of the box's centre from the picture's, in half diagonals of the picture
    smoothness  1 / (1 + d / 0.05): d is the mean distance of each centre from the straight line between those before
                and after it, at its own time, in heights of the box; 0 for who is seen in fewer than three frames

Who first appears after `max_first_appearance_ratio` of the recording loses of the score: nothing just then, the share
`late_penalty` of it at the very end, and in proportion between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from sightline.pipeline.stages.canonical import STAGE3A
from sightline.pipeline.stages.config import RankingSection
from sightline.pipeline.stages.records import write_object
from sightline.pipeline.stages.step import Job, Step, counted
from sightline.pipeline.stages.tracklet_file import Film, Tracked, read_tracked
from sightline.types import Array, Tracklet

HALF_SMOOTH = 0.05  # heights off the straight line at which smoothness is a half; a detector's own noise is about that


@dataclass(frozen=True)
class Ranked:
    """One person's place, and the figures it comes from."""

    person: int
    score: float  # 0..1
    duration: float
    coverage: float
    centre: float
    smoothness: float
    first_appearance: float  # of the recording, 0..1
    late_factor: float  # 1 for who is not late


def rank(persons: Tracked, rules: RankingSection) -> list[Ranked]:
    """Everybody, best first; of equals who appears first."""
    people, film = persons.tracklets, persons.film
    duration = _of_the_most([float(len(person.frames)) for person in people])
    coverage = _of_the_most([covered_share(person, film) for person in people])
    parts = [
        {
            "duration": duration[index],
            "coverage": coverage[index],
            "centre": centrality(person, film),
            "smoothness": smoothness(person),
        }
        for index, person in enumerate(people)
    ]
    ranked = [_ranked(person, own, film, rules) for person, own in zip(people, parts, strict=True)]
    return sorted(ranked, key=lambda one: (-one.score, one.person))


def _ranked(person: Tracklet, parts: dict[str, float], film: Film, rules: RankingSection) -> Ranked:
    first = int(person.frames[0]) / film.frames
    late = late_factor(first, rules)
    score = late * sum(weight * parts[name] for name, weight in asdict(rules.weights).items())
    return Ranked(person.track_id, score, **parts, first_appearance=first, late_factor=late)


def _of_the_most(values: Sequence[float]) -> list[float]:
    most = max(values, default=0.0)
    return [value / most if most > 0 else 0.0 for value in values]


def covered_share(person: Tracklet, film: Film) -> float:
    """Of the picture, on average over the frames the person is seen in."""
    within = person.boxes_xyxy.astype(np.float64).clip(0, [film.width, film.height, film.width, film.height])
    sides = within[:, 2:] - within[:, :2]
    return float((sides[:, 0] * sides[:, 1]).mean() / (film.width * film.height))


def centrality(person: Tracklet, film: Film) -> float:
    size = np.array([film.width, film.height], np.float64)
    away = np.linalg.norm(_centres(person) - size / 2, axis=1).mean() / np.linalg.norm(size / 2)
    return float(max(0.0, 1 - away))


def smoothness(person: Tracklet) -> float:
    if len(person.frames) < 3:
        return 0.0
    centres, times, boxes = _centres(person), person.times_s, person.boxes_xyxy.astype(np.float64)
    spans = times[2:] - times[:-2]
    shares = np.divide(times[1:-1] - times[:-2], spans, out=np.full(len(spans), 0.5), where=spans > 0)
    straight = centres[:-2] + shares[:, None] * (centres[2:] - centres[:-2])
    heights = np.maximum(boxes[1:-1, 3] - boxes[1:-1, 1], 1)
    off = float((np.linalg.norm(centres[1:-1] - straight, axis=1) / heights).mean())
    return 1 / (1 + off / HALF_SMOOTH)


def _centres(person: Tracklet) -> Array:
    boxes = person.boxes_xyxy.astype(np.float64)
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2)


def late_factor(first: float, rules: RankingSection) -> float:
    limit = rules.max_first_appearance_ratio
    return 1.0 if first <= limit else 1 - rules.late_penalty * (first - limit) / (1 - limit)


def _rank(job: Job) -> None:
    ranked = rank(read_tracked(job.files[STAGE3A.name]), job.settings)
    kept = [one.person for one in ranked[: job.settings.top_n]]
    told = f"{len(kept)} of {counted(len(ranked), 'person')} kept"
    write_object(job.file, job.record(told), {"kept": kept, "ranking": [_rounded(one) for one in ranked]})


def _rounded(one: Ranked) -> dict[str, float]:
    return {name: round(value, 6) for name, value in asdict(one).items()}


STAGE3B = Step("stage3b_ranking", "stage3b_ranking.json", (STAGE3A.name,), _rank)
