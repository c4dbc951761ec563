"""Tracklets that are one person: each check alone, at its very bound, and all of them against a slow loop."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.pipeline.stages.canonical import canonical_persons, ends_of, links_between
from sightline.pipeline.stages.config import CanonicalSection
from sightline.pipeline.stages.tracklet_file import Tracked
from sightline.types import Tracklet
from stage_films import FILM, RATE, tracked, tracklet

RULES = CanonicalSection()


def groups(*tracklets: Tracklet, rules: CanonicalSection = RULES) -> list[tuple[int, ...]]:
    return list(canonical_persons(tracked(*tracklets), rules).members)


# The checks. The walker goes 64 pixels a second to the right and is last seen in frame 8, at 100 + 64 = 164.

WALKER = tracklet(1, range(9), at=(100, 200), velocity=(64, 0))


def follower(*, first: int = 16, off: tuple[float, float] = (0, 0), **how: object) -> Tracklet:
    """Who comes out where the walker should: in frame 16 a second later, at 164 + 64 = 228, or `off` from there."""
    place = (164 + 64 * (first - 8) / RATE + off[0], 200 + off[1])
    return tracklet(2, range(first, first + 9), at=place, **{"velocity": (64, 0), **how})  # type: ignore[arg-type]


def test_who_comes_out_where_they_went_in_at_the_same_pace_is_one_person() -> None:
    persons = canonical_persons(tracked(WALKER, follower()), RULES)
    assert persons.members == ((1, 2),)
    (person,) = persons.tracklets
    assert person.track_id == 1
    assert person.frames.tolist() == [*range(9), *range(16, 25)]
    assert person.boxes_xyxy[:, 0].tolist() == [80 + 8 * n for n in [*range(9), *range(16, 25)]]


def test_a_perfect_fit_costs_only_its_gap() -> None:
    """Of the four checks the gap alone is used, one second of two: a mean of 1/8."""
    links = links_between([WALKER, follower()], RULES)
    assert (links.before.tolist(), links.after.tolist()) == ([0], [1])
    assert links.cost.tolist() == [pytest.approx(0.5 / 4)]


@pytest.mark.parametrize(("first", "one"), [(24, True), (25, False)])
def test_temporal_a_gap_of_two_seconds_is_the_longest(first: int, one: bool) -> None:
    assert groups(WALKER, follower(first=first)) == ([(1, 2)] if one else [(1,), (2,)])


@pytest.mark.parametrize(("off", "one"), [((0, 100), True), ((0, 101), False), ((60, 80), True), ((60, 81), False)])
def test_spatial_the_two_may_miss_each_other_by_one_height(off: tuple[float, float], one: bool) -> None:
    """Everybody is 100 pixels high, and 60, 80, 100 is a right triangle."""
    assert groups(WALKER, follower(off=off)) == ([(1, 2)] if one else [(1,), (2,)])


def test_spatial_it_is_the_place_that_motion_leads_to_and_not_the_last_one() -> None:
    """Two seconds on, a runner of 200 pixels a second is 400 from where they were last seen: four heights."""
    runner = tracklet(1, range(9), at=(0, 200), velocity=(200, 0))
    assert groups(runner, tracklet(2, range(24, 33), at=(200 + 400, 200), velocity=(200, 0))) == [(1, 2)]
    assert groups(runner, tracklet(2, range(24, 33), at=(200, 200), velocity=(200, 0))) == [(1,), (2,)]


@pytest.mark.parametrize(("speed", "one"), [(64 - 200, True), (64 - 208, False)])
def test_motion_velocity_may_change_by_two_heights_a_second(speed: float, one: bool) -> None:
    """They meet in the middle of the gap, half a second after 164, at 196, whatever the second's velocity is."""
    second = tracklet(2, range(16, 25), at=(196 + speed / 2, 200), velocity=(speed, 0))
    assert groups(WALKER, second) == ([(1, 2)] if one else [(1,), (2,)])


@pytest.mark.parametrize(("tall", "one"), [(150, True), (151, False), (67, True), (66, False)])
def test_motion_neither_is_more_than_half_as_high_again_as_the_other(tall: float, one: bool) -> None:
    rules = replace(RULES, max_size_ratio=1.5 + 1e-9)
    assert groups(WALKER, follower(tall=tall), rules=rules) == ([(1, 2)] if one else [(1,), (2,)])


@pytest.mark.parametrize("first", [8, 4, 0])
def test_who_is_there_in_the_same_frame_is_somebody_else(first: int) -> None:
    assert groups(WALKER, tracklet(2, range(first, 20), at=(164, 200), velocity=(64, 0))) == [(1,), (2,)]


def test_the_very_next_frame_is_soon_enough() -> None:
    assert groups(WALKER, follower(first=9)) == [(1, 2)]


def test_frames_between_those_of_another_are_no_gap() -> None:
    """The second begins before the first has ended, though no frame has both."""
    even, odd = tracklet(1, list(range(0, 20, 2))), tracklet(2, list(range(1, 21, 2)))
    assert groups(even, odd) == [(1,), (2,)]


# The ends


def test_velocity_is_that_of_the_last_half_second_and_not_of_the_whole_way() -> None:
    """Standing for frames 0 to 7, then 80 pixels a second: frames 8 to 12 are half a second, in steps of 10 pixels."""
    standing = tracklet(1, range(8), at=(100, 200))
    walking = tracklet(1, range(8, 13), at=(100, 200), velocity=(80, 40))
    whole = Tracklet(
        1,
        "film",
        *(np.concatenate([getattr(part, name) for part in (standing, walking)]) for name in ("frames", "times_s")),
        *(np.concatenate([getattr(part, name) for part in (standing, walking)]) for name in ("boxes_xyxy", "scores")),
    )
    last = ends_of([whole], window_s=0.5, last=True)
    assert last.velocities.tolist() == [pytest.approx([80, 40])]
    assert (last.frames.tolist(), last.times_s.tolist(), last.xy.tolist()) == ([12], [1.5], [[140, 220]])
    first = ends_of([whole], window_s=0.5, last=False)
    assert (first.velocities.tolist(), first.xy.tolist()) == ([[0, 0]], [[100, 200]])


def test_who_is_seen_once_stands() -> None:
    once = ends_of([tracklet(1, [5])], window_s=0.5, last=True)
    assert (once.velocities.tolist(), once.heights.tolist()) == ([[0, 0]], [100])


# The choice


def test_of_two_who_may_follow_the_better_fit_does() -> None:
    near, far = follower(off=(0, 10)), replace(follower(off=(0, 60)), track_id=3)
    assert groups(WALKER, far, near) == [(1, 2), (3,)]


def test_nobody_has_two_pasts() -> None:
    """Both walkers may have become the third; the one whose place is nearer did."""
    other = replace(WALKER, track_id=3, boxes_xyxy=WALKER.boxes_xyxy + np.float32(20))
    assert groups(WALKER, other, follower()) == [(1, 2), (3,)]


def test_a_chain_is_one_person_however_long_and_numbered_by_their_first_frame() -> None:
    parts = [tracklet(10 - n, range(10 * n, 10 * n + 6)) for n in range(5)]
    early = tracklet(20, range(2, 9), at=(50, 50))
    persons = canonical_persons(tracked(early, *reversed(parts)), RULES)
    assert persons.members == ((10, 9, 8, 7, 6), (20,))
    assert [person.track_id for person in persons.tracklets] == [1, 2]
    assert [int(person.frames[0]) for person in persons.tracklets] == [0, 2]


def test_nobody_is_nobody() -> None:
    assert groups() == []


# All of it, slowly


def slowly(tracklets: list[Tracklet], rules: CanonicalSection) -> list[tuple[int, ...]]:
    """The rules of the documentation, pair by pair."""
    costs = {}
    for one in range(len(tracklets)):
        for other in range(len(tracklets)):
            cost = cost_of(tracklets[one], tracklets[other], rules)
            if cost is not None:
                costs[one, other] = cost
    after: dict[int, int] = {}
    for one, other in sorted(costs, key=lambda pair: (costs[pair], pair)):
        if one not in after and other not in after.values():
            after[one] = other
    found = []
    for start in set(range(len(tracklets))) - set(after.values()):
        chain = [start]
        while chain[-1] in after:
            chain.append(after[chain[-1]])
        found.append(chain)
    found.sort(key=lambda chain: (tracklets[chain[0]].frames[0], tracklets[chain[0]].track_id))
    return [tuple(tracklets[index].track_id for index in chain) for chain in found]


def cost_of(one: Tracklet, other: Tracklet, rules: CanonicalSection) -> float | None:
    if other.frames[0] <= one.frames[-1]:
        return None
    gap = other.times_s[0] - one.times_s[-1]
    (x, y), (vx, vy), tall = state(one, one.times_s[-1], rules.window_s)
    (u, w), (vu, vw), high = state(other, other.times_s[0], rules.window_s)
    height = (tall + high) / 2
    apart = math.hypot(x + vx * gap / 2 - (u - vu * gap / 2), y + vy * gap / 2 - (w - vw * gap / 2))
    shares = [
        gap / rules.max_gap_s,
        apart / height / rules.max_distance,
        math.hypot(vx - vu, vy - vw) / height / rules.max_velocity_change,
        math.log(max(tall, high) / min(tall, high)) / math.log(rules.max_size_ratio),
    ]
    return sum(shares) / 4 if max(shares) <= 1 else None


def state(track: Tracklet, moment: float, window_s: float) -> tuple[list[float], list[float], float]:
    near = [row for row in range(len(track.frames)) if abs(track.times_s[row] - moment) <= window_s]
    (edge,) = (row for row in near if track.times_s[row] == moment)
    boxes = track.boxes_xyxy.astype(float)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    velocity = [0.0, 0.0]
    if len(near) > 1:
        velocity = [float(np.polyfit(track.times_s[near], axis[near], 1)[0]) for axis in (x, y)]
    return [x[edge], y[edge]], velocity, float(np.median(boxes[near, 3] - boxes[near, 1]))


@settings(max_examples=60, deadline=None, database=None)
@given(st.integers(0, 2**31), st.integers(1, 90), st.sampled_from([0.0, 0.5]))
def test_the_answer_is_that_of_the_slow_loop(seed: int, count: int, window_s: float) -> None:
    """More people than one block of comparisons, all in a small place, so that most have several who may follow."""
    rng = np.random.default_rng(seed)
    crowd = [
        tracklet(
            number,
            range(first, first + int(rng.integers(1, 12))),
            at=tuple(rng.uniform(0, 300, 2)),
            velocity=tuple(rng.normal(0, 60, 2)),
            tall=float(rng.uniform(80, 130)),
        )
        for number, first in enumerate(rng.integers(0, 60, count).tolist(), 1)
    ]
    rules = CanonicalSection(window_s=window_s)
    persons = canonical_persons(Tracked(FILM, tuple(crowd), ()), rules)
    assert list(persons.members) == slowly(crowd, rules)
    assert sorted(number for group in persons.members for number in group) == list(range(1, count + 1))
    for person in persons.tracklets:
        assert (np.diff(person.frames) > 0).all(), "somebody is twice in one frame"
