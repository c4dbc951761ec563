"""Stage 3a: tracklets that are one person, by when, where and how one ends and the next begins.

A tracker loses people behind others and finds somebody new where they come out. Two tracklets are one person where the
gap between them is short (temporal), where each, carried on at its own velocity up to the middle of the gap, gets to
the same place (spatial), and where neither velocity nor height jumps (motion). Of all that fit, the best is joined
first, and every tracklet goes on in at most one other: a person is a chain in time, so no two of it share a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.pipeline.stages.config import CanonicalSection
from sightline.pipeline.stages.step import Job, Step, counted
from sightline.pipeline.stages.tracking import STAGE2
from sightline.pipeline.stages.tracklet_file import Tracked, joined, read_tracked, write_tracked
from sightline.types import Array, IntArray, Tracklet

Floats = NDArray[np.float64]
BLOCK = 64  # tracklets compared with all that may follow, at once
SLACK_S = 1e-6  # of a search that is followed by the exact comparison


@dataclass(frozen=True, eq=False)
class Ends:
    """One end of each of T tracklets."""

    frames: IntArray  # (T,)
    times_s: Floats  # (T,)
    xy: Floats  # (T, 2) the centre of the outermost box
    velocities: Floats  # (T, 2) pixels a second
    heights: Floats  # (T,) pixels


def ends_of(tracklets: Sequence[Tracklet], *, window_s: float, last: bool) -> Ends:
    """How the tracklets begin, or how they end: velocity and height are those over `window_s` from there."""
    found = [_end(tracklet, window_s, -1 if last else 0) for tracklet in tracklets]
    table = np.array(found, np.float64).reshape(-1, 7)
    return Ends(table[:, 0].astype(np.int64), table[:, 1], table[:, 2:4], table[:, 4:6], table[:, 6])


def _end(tracklet: Tracklet, window_s: float, edge: int) -> tuple[float, ...]:
    times, boxes = tracklet.times_s, tracklet.boxes_xyxy.astype(np.float64)
    near = np.abs(times - times[edge]) <= window_s
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    velocity = _slope(times[near], centres[near])
    height = float(np.median(boxes[near, 3] - boxes[near, 1]))
    return tracklet.frames[edge], times[edge], *centres[edge], *velocity, max(height, 1.0)


def _slope(times: Floats, places: Floats) -> Floats:
    """Of the straight line nearest to the places (N, 2), by least squares; at rest where there is only one moment."""
    centred = times - times.mean()
    spread = float(centred @ centred)
    return np.zeros(2) if spread == 0 else np.asarray(centred @ places / spread)


@dataclass(frozen=True, eq=False)
class Links:
    """P pairs of tracklets that may be one person, as positions, and how far each is from being a perfect fit."""

    before: IntArray  # (P,)
    after: IntArray  # (P,)
    cost: Floats  # (P,) 0..1, the mean of what each check uses of what it allows


def links_between(tracklets: Sequence[Tracklet], rules: CanonicalSection) -> Links:
    """Every pair that passes all checks."""
    ends = ends_of(tracklets, window_s=rules.window_s, last=True)
    starts = ends_of(tracklets, window_s=rules.window_s, last=False)
    found = [_checked(ends, starts, *pairs, rules) for pairs in _pairs_in_time(ends, starts, rules.max_gap_s)]
    none = np.empty(0, np.int64)
    return Links(
        np.concatenate([none, *(links.before for links in found)]),
        np.concatenate([none, *(links.after for links in found)]),
        np.concatenate([np.empty(0), *(links.cost for links in found)]),
    )


def _pairs_in_time(ends: Ends, starts: Ends, max_gap_s: float) -> Iterator[tuple[IntArray, IntArray]]:
    """The pairs of which the second begins in a later frame than the first ends, and soon: a block at a time."""
    order = np.argsort(starts.frames, kind="stable")
    low = np.searchsorted(starts.frames[order], ends.frames, side="right")
    high = np.searchsorted(starts.times_s[order], ends.times_s + max_gap_s + SLACK_S, side="right")
    counts = np.maximum(high - low, 0)
    for first in range(0, len(order), BLOCK):
        block = np.arange(first, min(first + BLOCK, len(order)))
        before = np.repeat(block, counts[block])
        nth = np.arange(len(before)) - np.repeat(np.cumsum(counts[block]) - counts[block], counts[block])
        yield before, order[low[before] + nth]


def _checked(ends: Ends, starts: Ends, before: IntArray, after: IntArray, rules: CanonicalSection) -> Links:
    gap = starts.times_s[after] - ends.times_s[before]
    tall, other = ends.heights[before], starts.heights[after]
    height, half = (tall + other) / 2, gap[:, None] / 2
    forward = ends.xy[before] + half * ends.velocities[before]
    backward = starts.xy[after] - half * starts.velocities[after]
    shares = np.stack(
        [
            gap / rules.max_gap_s,
            _length(forward - backward) / height / rules.max_distance,
            _length(ends.velocities[before] - starts.velocities[after]) / height / rules.max_velocity_change,
            np.abs(np.log(tall / other)) / np.log(rules.max_size_ratio),
        ]
    )
    fits = (shares <= 1).all(axis=0)
    return Links(before[fits], after[fits], shares[:, fits].mean(axis=0))


def _length(vectors: Array) -> Floats:
    return np.asarray(np.hypot(vectors[:, 0], vectors[:, 1]))


def chains(count: int, links: Links) -> list[list[int]]:
    """Positions 0 to `count` - 1 in chains, the best links taken first, each position before and after one at most."""
    follower: dict[int, int] = {}
    led: set[int] = set()
    for index in np.lexsort((links.after, links.before, links.cost)).tolist():
        before, after = int(links.before[index]), int(links.after[index])
        if before not in follower and after not in led:
            follower[before] = after
            led.add(after)
    found = []
    for start in (position for position in range(count) if position not in led):
        chain = [start]
        while chain[-1] in follower:
            chain.append(follower[chain[-1]])
        found.append(chain)
    return found


def canonical_persons(tracked: Tracked, rules: CanonicalSection) -> Tracked:
    """The persons, numbered from 1 in the order they appear; their members are the ids of the tracklets."""
    tracklets = tracked.tracklets
    groups = [
        [tracklets[index] for index in chain] for chain in chains(len(tracklets), links_between(tracklets, rules))
    ]
    groups.sort(key=lambda group: (int(group[0].frames[0]), group[0].track_id))
    persons = tuple(joined(number, group) for number, group in enumerate(groups, 1))
    return Tracked(tracked.film, persons, tuple(tuple(part.track_id for part in group) for group in groups))


def _group(job: Job) -> None:
    tracked = read_tracked(job.files[STAGE2.name])
    persons = canonical_persons(tracked, job.settings)
    write_tracked(
        job.file, persons, job.record(f"{counted(len(persons), 'person')} of {counted(len(tracked), 'tracklet')}")
    )


STAGE3A = Step("stage3a_canonical_persons", "stage3a_canonical_persons.npz", (STAGE2.name,), _group)
