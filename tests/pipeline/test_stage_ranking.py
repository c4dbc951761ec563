"""Who matters: every figure worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import hypot

import numpy as np
import pytest

from sightline.pipeline.stages.config import RankingSection, Weights
from sightline.pipeline.stages.ranking import centrality, covered_share, late_factor, rank, smoothness
from sightline.pipeline.stages.tracklet_file import Film
from sightline.types import Tracklet
from stage_films import tracked, tracklet

FILM = Film("film", 8.0, 100, 200, 40)  # 200 wide, 100 high: half its diagonal is hypot(100, 50)
RULES = RankingSection()

MIDDLE = tracklet(1, range(20), at=(100, 50), tall=40, wide=40)
CORNER = tracklet(2, range(30, 40), at=(10, 20), tall=40, wide=20)


def zigzag(person: Tracklet, off: float) -> Tracklet:
    """The same, every other box `off` pixels to the right."""
    boxes = person.boxes_xyxy.copy()
    boxes[1::2, [0, 2]] += off
    return replace(person, boxes_xyxy=boxes)


def test_whoever_is_longest_largest_in_the_middle_and_steady_has_all_there_is() -> None:
    best = rank(tracked(MIDDLE, CORNER, film=FILM), RULES)[0]
    assert (best.person, best.score) == (1, pytest.approx(1.0))
    assert (best.duration, best.coverage, best.centre, best.smoothness) == (1, 1, 1, 1)


def test_the_score_is_the_weighted_sum_and_being_late_halves_it() -> None:
    """10 of 20 frames; 20·40 of 40·40 pixels; 90 and 30 from the centre; from frame 30 of 40 on: 3/4, half way from
    1/2 to the end."""
    last = rank(tracked(MIDDLE, CORNER, film=FILM), RULES)[1]
    centre = 1 - hypot(90, 30) / hypot(100, 50)
    assert (last.person, last.duration, last.coverage, last.smoothness) == (2, 0.5, pytest.approx(0.5), 1)
    assert last.centre == pytest.approx(centre)
    assert (last.first_appearance, last.late_factor) == (0.75, 0.5)
    assert last.score == pytest.approx(0.5 * (0.4 * 0.5 + 0.3 * 0.5 + 0.2 * centre + 0.1 * 1))


def test_other_weights_put_others_first() -> None:
    """Somebody small who is there all the time, and somebody large who is there for a moment."""
    small, large = tracklet(1, range(40), tall=10, wide=5, at=(100, 50)), tracklet(2, range(4), tall=90, at=(100, 50))
    only_duration = RankingSection(weights=Weights(1, 0, 0, 0))
    only_coverage = RankingSection(weights=Weights(0, 1, 0, 0))
    people = tracked(small, large, film=FILM)
    assert [one.person for one in rank(people, only_duration)] == [1, 2]
    assert [one.person for one in rank(people, only_coverage)] == [2, 1]
    assert [one.score for one in rank(people, only_duration)] == [1, 0.1]


def test_coverage_is_a_share_of_the_picture_and_what_is_outside_covers_nothing() -> None:
    assert covered_share(MIDDLE, FILM) == pytest.approx(40 * 40 / (200 * 100))
    half_out = tracklet(1, range(5), at=(0, 50), tall=40, wide=40)
    assert covered_share(half_out, FILM) == pytest.approx(20 * 40 / (200 * 100))


@pytest.mark.parametrize(("at", "expected"), [((100, 50), 1), ((150, 75), 0.5), ((0, 0), 0), ((900, 900), 0)])
def test_centre_falls_evenly_from_the_middle_to_the_corner(at: tuple[float, float], expected: float) -> None:
    assert centrality(tracklet(1, range(3), at=at), FILM) == pytest.approx(expected)


@pytest.mark.parametrize(("off", "expected"), [(0, 1), (2, 1 / 2), (4, 1 / 3), (8, 1 / 5)])
def test_smoothness_halves_at_a_twentieth_of_the_height(off: float, expected: float) -> None:
    """Each box lies `off` from the line between its neighbours; a twentieth of 40 is 2. Widths mean nothing."""
    assert smoothness(zigzag(MIDDLE, off)) == pytest.approx(expected)
    assert smoothness(zigzag(tracklet(1, range(20), tall=40, wide=10), off)) == pytest.approx(expected)


def test_walking_evenly_is_smooth_even_where_frames_are_missing() -> None:
    walker = tracklet(1, [0, 1, 2, 7, 8, 30, 31], velocity=(30, -10))
    assert smoothness(walker) == pytest.approx(1, abs=1e-4)


def test_who_is_seen_twice_has_shown_no_smoothness() -> None:
    assert smoothness(tracklet(1, range(2))) == 0


def test_frames_at_one_and_the_same_time_are_no_division_by_zero() -> None:
    still = replace(MIDDLE, times_s=np.zeros(20))
    assert smoothness(still) == 1


@pytest.mark.parametrize(
    ("first", "penalty", "expected"),
    [(0, 1, 1), (0.5, 1, 1), (0.75, 1, 0.5), (1, 1, 0), (0.75, 0.4, 0.8), (1, 0.4, 0.6), (1, 0, 1)],
)
def test_the_penalty_grows_evenly_from_the_limit_to_the_end(first: float, penalty: float, expected: float) -> None:
    assert late_factor(first, RankingSection(late_penalty=penalty)) == pytest.approx(expected)


def test_with_the_limit_at_the_end_nobody_is_late() -> None:
    assert late_factor(1.0, RankingSection(max_first_appearance_ratio=1)) == 1


def test_of_equals_the_first_is_first() -> None:
    twins = [replace(MIDDLE, track_id=number) for number in (3, 1, 2)]
    assert [one.person for one in rank(tracked(*twins, film=FILM), RULES)] == [1, 2, 3]


def test_a_box_of_no_size_is_no_division_by_zero() -> None:
    nothing = tracklet(1, range(5), tall=0, wide=0)
    assert rank(tracked(nothing, film=FILM), RULES)[0].coverage == 0


def test_nobody_is_ranked_as_nobody() -> None:
    assert rank(tracked(film=FILM), RULES) == []
