from __future__ import annotations

import math
import multiprocessing
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import cos, radians
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_visits import (
    DIM,
    RULES,
    SPACE,
    START_S,
    STRANGERS,
    Scenes,
    a_day,
    at,
    dot,
    entry,
    gallery_at,
    keep_and_be_killed,
    keep_strangers,
    less,
    memory_of,
    middles,
    random_units,
    remember,
    strangers,
    unit,
    visit,
)

from painted_people import mean_colour, paint
from sightline.errors import ConfigError, GalleryError
from sightline.gallery.gallery import Entry, Gallery, Space, Where
from sightline.gallery.open_gallery import open_gallery
from sightline.images import read_image
from sightline.pipeline.people.memory import MemoryRules
from sightline.pipeline.people.memory_entries import number_of, thumbnail_of
from sightline.pipeline.people.visits import Decision, Visit
from sightline.types import FloatArray, Image


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with gallery_at(tmp_path) as opened:
        yield opened


def decide(gallery: Gallery, *visits: Visit, rules: MemoryRules = RULES) -> Decision:
    """About the last of them."""
    return remember(memory_of(gallery, rules=rules), *visits)[-1].decision


def held(gallery: Gallery) -> dict[str, str]:
    """Every entry, and whose it is."""
    return {one.id: one.identity for one in gallery.iterate()}


class TestVerdicts:
    def test_the_first_visit_to_an_empty_gallery_is_of_somebody_new(self, gallery: Gallery) -> None:
        [kept] = remember(memory_of(gallery), visit(1, at(0)))
        assert kept.decision == Decision("new", "person-1", "the gallery has nobody who could be it", 0.7)
        assert kept.entry_id == "person-1"
        assert held(gallery) == {"person-1": "person-1"}

    def test_who_comes_back_is_recognised(self, gallery: Gallery) -> None:
        first, second = remember(memory_of(gallery), visit(1, at(0)), visit(2, at(30)))
        decision = second.decision
        assert (decision.verdict, decision.identity, decision.nearest) == ("matched", "person-1", "person-1")
        assert decision.score == pytest.approx(math.sqrt(3) / 2) and decision.runner_up is None
        assert decision.reason == "person-1 scores 0.8660, over the threshold 0.7000, and nobody else could be it"
        assert held(gallery) == {first.entry_id: "person-1", second.visit_id: "person-1"}

    def test_the_reason_says_how_far_the_next_is_behind(self, gallery: Gallery) -> None:
        decision = decide(gallery, visit(1, at(0)), visit(2, at(60)), visit(3, at(10)))
        assert (decision.identity, decision.runner_up) == ("person-1", "person-2")
        assert decision.runner_up_score == pytest.approx(cos(radians(50)))
        assert decision.reason == "person-1 scores 0.9848, over the threshold 0.7000 and 0.3420 ahead of person-2"

    def test_who_is_like_nobody_is_new_under_the_next_number(self, gallery: Gallery) -> None:
        decision = decide(gallery, visit(1, at(0)), visit(2, at(60)))
        assert (decision.verdict, decision.identity) == ("new", "person-2")
        assert (decision.nearest, decision.score) == ("person-1", pytest.approx(0.5))
        assert decision.reason == "the nearest, person-1, scores 0.5000, below the threshold 0.7000"

    def test_somebody_between_two_is_unknown_and_kept_under_a_name_of_its_own(self, gallery: Gallery) -> None:
        decision = decide(gallery, visit(1, at(0)), visit(2, at(60)), visit(3, at(29.5)))
        assert (decision.verdict, decision.identity) == ("unknown", "person-3")
        ahead = cos(radians(29.5)) - cos(radians(30.5))
        told = f"but only {ahead:.4f} ahead of person-2; wanted 0.0200"
        assert decision.reason == f"person-1 scores 0.8704, over the threshold 0.7000, {told}"
        assert held(gallery)["person-3"] == "person-3"

    def test_a_runner_up_who_fails_the_threshold_by_a_hair_keeps_it_open_too(self, gallery: Gallery) -> None:
        at_threshold = math.degrees(math.acos(0.7))
        decision = decide(gallery, visit(1, at(at_threshold - 0.1)), visit(2, at(-at_threshold - 0.1)), visit(3, at(0)))
        assert decision.score is not None and decision.runner_up_score is not None
        assert decision.runner_up_score < 0.7 <= decision.score
        assert decision.verdict == "unknown"

    def test_a_margin_of_nothing_still_does_not_choose_between_equals(self, gallery: Gallery) -> None:
        rules = replace(RULES, margin=0.0)
        assert decide(gallery, visit(1, at(30)), visit(2, at(-30)), visit(3, at(0)), rules=rules).verdict == "unknown"

    def test_a_visit_without_a_vector_is_kept_nowhere(self, gallery: Gallery) -> None:
        [kept] = remember(memory_of(gallery), visit(1, None, count=0))
        assert (kept.entry_id, kept.decision.verdict, kept.decision.identity) == (None, "unknown", None)
        assert gallery.stats().entries == 0

    def test_too_few_crops_make_nobody_new(self, gallery: Gallery) -> None:
        [kept] = remember(memory_of(gallery), visit(1, at(0), count=1))
        assert (kept.entry_id, kept.decision.verdict, kept.decision.identity) == (None, "unknown", None)
        why = "the gallery has nobody who could be it, and 1 clear crop makes no new identity; wanted 2"
        assert kept.decision.reason == why
        assert gallery.stats().entries == 0

    def test_too_few_crops_between_two_people_are_not_kept_either(self, gallery: Gallery) -> None:
        decision = decide(gallery, visit(1, at(0)), visit(2, at(60)), visit(3, at(30), count=1))
        assert (decision.verdict, decision.identity, decision.nearest) == ("unknown", None, "person-1")
        assert gallery.stats().entries == 2

    def test_a_single_crop_is_recognised(self, gallery: Gallery) -> None:
        assert decide(gallery, visit(1, at(0)), visit(2, at(10), count=1)).identity == "person-1"
        assert gallery.stats().entries == 2

    def test_somebody_with_thousands_of_entries_does_not_hide_the_next(self, gallery: Gallery) -> None:
        crowd = [entry(f"e{n}", "Ann", at(0.001 * n), first_s=-9000 + n, last_s=-8999 + n) for n in range(3000)]
        gallery.add([*crowd, entry("b", "Bob", at(-4), first_s=-20, last_s=-10)], space=SPACE)
        decision = decide(gallery, visit(1, at(-1)))
        assert (decision.nearest, decision.runner_up, decision.verdict) == ("Ann", "Bob", "unknown")


class TestWhoCannotBeIt:
    def test_nobody_is_in_two_places_of_one_view_at_once(self, gallery: Gallery) -> None:
        decision = decide(gallery, visit(1, at(0), seen=(0, 10)), visit(2, at(5), seen=(8, 20)))
        assert (decision.verdict, decision.identity, decision.nearest) == ("new", "person-2", None)
        [other] = decision.ruled_out
        assert (other.identity, other.score) == ("person-1", pytest.approx(cos(radians(5))))
        assert other.reason == "was before the same camera at the same time, for 2.00 s"

    @pytest.mark.parametrize(
        ("seen", "verdict"),
        [
            ((10.5, 20.0), "matched"),  # later
            ((9.9, 20.0), "matched"),  # a track broke, and both halves were followed for a tenth of a second
            ((9.75, 20.0), "new"),
            ((-5.0, 0.1), "matched"),  # the same, the other way round
            ((-5.0, 0.25), "new"),
            ((4.0, 4.1), "new"),  # wholly within the other's stay, however short
            ((4.0, 4.0), "new"),
            ((10.0, 10.0), "new"),  # one frame, which shows both
            ((-5.0, 15.0), "new"),  # around all of the other's stay
        ],
    )
    def test_how_much_of_a_moment_together_makes_two_people(
        self, gallery: Gallery, seen: tuple[float, float], verdict: str
    ) -> None:
        assert decide(gallery, visit(1, at(0), seen=(0, 10)), visit(2, at(5), seen=seen)).verdict == verdict

    def test_any_visit_of_somebody_rules_them_out_and_not_only_the_nearest(self, gallery: Gallery) -> None:
        past = [visit(1, at(0), seen=(0, 5)), visit(2, at(40), seen=(10, 20))]
        decision = decide(gallery, *past, visit(3, at(0), seen=(12, 14)))
        assert (decision.verdict, decision.identity) == ("new", "person-2")
        assert [(other.identity, round(other.score, 4)) for other in decision.ruled_out] == [("person-1", 1.0)]

    def test_who_is_ruled_out_is_no_runner_up(self, gallery: Gallery) -> None:
        past = [visit(1, at(0), seen=(0, 5)), visit(2, at(60), seen=(10, 20))]
        decision = decide(gallery, *past, visit(3, at(29.5), seen=(12, 14)))
        assert (decision.verdict, decision.identity, decision.runner_up) == ("matched", "person-1", None)
        assert decision.ruled_out == ()  # less alike than the one chosen

    def test_those_who_are_more_alike_than_the_one_chosen_are_told_best_first(self, gallery: Gallery) -> None:
        far_past = [visit(1, at(40), seen=(0, 5)), visit(2, at(-80), seen=(10, 15))]
        now = [visit(3, at(-10), seen=(20, 30)), visit(4, at(5), seen=(20, 30)), visit(5, at(50), seen=(20, 30))]
        memory = memory_of(gallery, rules=replace(RULES, threshold=0.99))
        remember(memory, *far_past, *now)
        decision = decide(gallery, visit(9, at(0), seen=(25, 26)))
        assert decision.identity == "person-1"
        assert [other.identity for other in decision.ruled_out] == ["person-4", "person-3"]

    def test_two_cameras_may_see_the_same_place(self, gallery: Gallery) -> None:
        yard = visit(1, at(5), seen=(2, 9), camera="yard")
        assert decide(gallery, visit(1, at(0), seen=(0, 10)), yard).identity == "person-1"

    @pytest.mark.parametrize(
        ("seen", "verdict"),
        [
            ((39.75, 50.0), "new"),
            ((40.0, 50.0), "matched"),
            ((5.0, 6.0), "new"),  # at the same time
            ((-40.0, -29.75), "new"),  # before
            ((-40.0, -30.0), "matched"),
        ],
    )
    def test_nobody_gets_to_another_camera_faster_than_they_can(
        self, gallery: Gallery, seen: tuple[float, float], verdict: str
    ) -> None:
        rules = replace(RULES, travel_s=30.0)
        yard = visit(1, at(5), seen=seen, camera="yard")
        decision = decide(gallery, visit(1, at(0), seen=(0, 10)), yard, rules=rules)
        assert decision.verdict == verdict

    def test_the_way_between_cameras_is_named_with_its_numbers(self, gallery: Gallery) -> None:
        yard = visit(1, at(5), seen=(11.5, 20), camera="yard")
        decision = decide(gallery, visit(1, at(0), seen=(0, 10)), yard, rules=replace(RULES, travel_s=30.0))
        assert [other.reason for other in decision.ruled_out] == [
            "was before gate 1.50 s apart, and the way takes 30 s"
        ]

    def test_the_way_is_no_matter_before_the_same_camera(self, gallery: Gallery) -> None:
        rules = replace(RULES, travel_s=30.0)
        assert decide(gallery, visit(1, at(0), seen=(0, 10)), visit(2, at(5), seen=(11, 12)), rules=rules).identity == (
            "person-1"
        )

    @pytest.mark.parametrize(("begins_s", "verdict"), [(70.0, "matched"), (70.25, "new")])
    def test_who_was_gone_for_long_is_forgotten(self, gallery: Gallery, begins_s: float, verdict: str) -> None:
        rules = replace(RULES, forget_s=60.0)
        later = visit(2, at(5), seen=(begins_s, 99.0))
        decision = decide(gallery, visit(1, at(0), seen=(0, 10)), later, rules=rules)
        assert (decision.verdict, decision.ruled_out) == (verdict, ())


# A slow loop


Grid = st.integers(0, 64).map(lambda step: step / 8)
Stay = st.tuples(Grid, st.integers(0, 16).map(lambda step: step / 16)).map(lambda stay: (stay[0], sum(stay)))
Sight = st.tuples(Stay, st.sampled_from(["gate", "yard", "roof"]), st.integers(0, 9))
POOL = random_units(10, seed=3, dim=DIM)


def together(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Every sixteenth of a second looked at by itself: how many of them show both."""
    ticks = [n for n in range(-1, 16 * 12) if all(stay[0] <= n / 16 <= stay[1] for stay in (one, other))]
    if not ticks:
        return False
    shared_s = (ticks[-1] - ticks[0]) / 16
    return shared_s >= 0.2 or shared_s == min(one[1] - one[0], other[1] - other[0])


def gap_s(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(one[0], other[0]) - min(one[1], other[1])


def impossible_together(one: Entry, other: Entry, rules: MemoryRules) -> bool:
    these, those = ((seen.first_s - START_S, seen.last_s - START_S) for seen in (one, other))
    if one.camera == other.camera:
        return together(these, those)
    return rules.travel_s is not None and gap_s(these, those) < rules.travel_s


def cannot_be_one(known: Sequence[Entry], one: str, other: str, rules: MemoryRules) -> bool:
    these, those = ([entry for entry in known if entry.identity == name] for name in (one, other))
    begins, ends = zip(*[(min(e.first_s for e in es), max(e.last_s for e in es)) for es in (these, those)], strict=True)
    is_too_long_ago = rules.forget_s is not None and max(begins) - min(ends) > rules.forget_s
    both_were_given_names = not (one.startswith("person-") or other.startswith("person-"))
    return (
        is_too_long_ago or both_were_given_names or any(impossible_together(a, b, rules) for a in these for b in those)
    )


@dataclass(frozen=True)
class Slow:
    """An entry, looked at slowly."""

    entry: Entry
    score: float
    likeness: float
    direction: list[float]


def age(name: str) -> int:
    return int(name.removeprefix("person-")) if name.startswith("person-") else 0


def by_slow_loop(known: Sequence[Entry], asked: Entry, rules: MemoryRules, scenes: Scenes) -> dict[str, object]:
    """Of a decision the fields that are no words; `identity` is None where that is to be a new one."""
    middle = middles(known, scenes, ["gate", "yard", "roof"])
    cosine, least = (0.7 if rules.threshold is None else rules.threshold), -1.0
    if middle is not None:
        cosine, least = (0.5 if rules.threshold is None else rules.threshold), rules.distinct

    def direction(one: Entry) -> list[float]:
        return unit(less(one.vector, [0.0] * DIM if middle is None else middle[one.camera]))

    best: dict[str, Slow] = {}
    for one in sorted(known, key=lambda one: one.id):
        if rules.forget_s is None or asked.first_s - one.last_s <= rules.forget_s:
            score, seen = dot(asked.vector, one.vector), direction(one)
            slow = Slow(one, score, score if middle is None else dot(direction(asked), seen), seen)
            if one.identity not in best or best[one.identity].likeness < slow.likeness - 1e-12:
                best[one.identity] = slow
    out = {one.identity for one in known if impossible_together(one, asked, rules)}
    ranked = sorted(best.values(), key=lambda one: (-round(one.likeness, 10), one.entry.id))
    ranked = [one for one in ranked if one.entry.identity not in out]

    def is_enough(score: float, likeness: float) -> bool:
        return score >= cosine and likeness >= least

    def is_somebody_else(one: Slow, other: Slow) -> bool:
        alike = is_enough(dot(one.entry.vector, other.entry.vector), dot(one.direction, other.direction))
        return not alike or cannot_be_one(known, one.entry.identity, other.entry.identity, rules)

    verdict, identity, bar = "new", None, max(least, cosine if middle is None else least)
    if ranked and is_enough(ranked[0].score, ranked[0].likeness):
        rivals = [one for one in ranked[1:] if ranked[0].likeness - one.likeness < max(rules.margin, 1e-6)]
        if any(is_somebody_else(ranked[0], one) for one in rivals):
            verdict = "unknown"
        else:
            same = [one for one in (ranked[0], *rivals) if is_enough(one.score, one.likeness)]
            verdict, oldest = "matched", min(same, key=lambda one: age(one.entry.identity))
            identity, bar = oldest.entry.identity, oldest.likeness
    return {
        "verdict": verdict,
        "identity": identity,
        "scores": [one.score for one in ranked[:2]],
        "likeness": ranked[0].likeness if ranked and middle is not None else None,
        "ruled out": {
            name for name in out & best.keys() if best[name].likeness > bar + 1e-6 and best[name].score >= cosine
        },
    }


NAMES = ["Ann", "Bob", *(f"person-{number}" for number in range(1, 5))]


@settings(max_examples=300, deadline=None)
@given(
    known=st.lists(st.tuples(Sight, st.sampled_from(NAMES)), max_size=12),
    asked=Sight,
    rules=st.builds(
        MemoryRules,
        st.sampled_from([None, -0.3, 0.2, 0.6]),
        margin=st.sampled_from([0.05, 0.4]),
        distinct=st.sampled_from([-0.2, 0.3, 0.5]),
        travel_s=st.sampled_from([None, 0.0, 0.5, 2.0]),
        forget_s=st.sampled_from([None, 1.0, 3.0]),
    ),
    seen_empty=st.sets(st.sampled_from(["gate", "yard", "roof"])),
)
def test_the_choice_is_that_of_a_slow_loop(
    known: list[tuple[tuple[tuple[float, float], str, int], str]],
    asked: tuple[tuple[float, float], str, int],
    rules: MemoryRules,
    seen_empty: set[str],
) -> None:
    scenes = {camera: 0.8 * random_units(1, seed=ord(camera[0]))[0] for camera in seen_empty}
    entries = [
        entry(f"e{n:02}", name, POOL[looks], first_s=stay[0], last_s=stay[1], camera=camera)
        for n, ((stay, camera, looks), name) in enumerate(known)
    ]
    stay, camera, looks = asked
    vector = random_units(1, seed=100 + looks)[0]  # nobody in the pool, so that nothing is taken for a replay
    with TemporaryDirectory() as folder, gallery_at(Path(folder)) as gallery:
        gallery.add(entries, space=SPACE)
        memory = memory_of(gallery, rules=rules, scenes=scenes)
        [kept] = remember(memory, visit(1, vector, seen=stay, camera=camera), scenes=scenes)
        one = entry("asked", "", vector, first_s=stay[0], last_s=stay[1], camera=camera)
        expected = by_slow_loop(entries, one, rules, scenes)
    decision = kept.decision
    assert decision.verdict == expected["verdict"]
    free = next(name for name in (f"person-{number}" for number in range(1, 9)) if name not in {n for _, n in known})
    assert decision.identity == (expected["identity"] or free)
    scores = [score for score in (decision.score, decision.runner_up_score) if score is not None]
    assert scores == pytest.approx(expected["scores"], abs=1e-6)
    assert decision.likeness == pytest.approx(expected["likeness"], abs=1e-6)
    assert {other.identity for other in decision.ruled_out} == expected["ruled out"]


# Long visits


class TestTheRestOfAVisit:
    def test_it_is_of_the_same_person_without_a_look(self, gallery: Gallery) -> None:
        begun, rest = remember(memory_of(gallery), visit(1, at(0)), visit(2, at(90), continues=1))
        assert rest.decision == Decision("continued", "person-1", "it is the rest of visit 1, which is of person-1")
        assert held(gallery) == {begun.entry_id: "person-1", rest.visit_id: "person-1"}

    def test_a_rest_goes_on_in_its_turn_and_in_another_process(self, gallery: Gallery) -> None:
        remember(memory_of(gallery), visit(1, at(0)))
        remember(memory_of(gallery), visit(2, at(60), continues=1))
        [last] = remember(memory_of(gallery), visit(3, at(90), continues=2))
        assert (last.decision.verdict, last.decision.identity) == ("continued", "person-1")

    def test_the_name_is_the_one_its_beginning_has_by_now(self, gallery: Gallery) -> None:
        memory = memory_of(gallery)
        remember(memory, visit(1, at(0)))
        gallery.rename("person-1", "Ann")
        assert remember(memory, visit(2, at(90), continues=1))[0].decision.identity == "Ann"

    def test_the_rest_of_a_visit_of_nobody_is_looked_up(self, gallery: Gallery) -> None:
        memory = memory_of(gallery)
        remember(memory, visit(1, at(0)), visit(2, None), visit(3, at(60), count=1))
        assert remember(memory, visit(4, at(5), continues=2))[0].decision.verdict == "matched"
        assert remember(memory, visit(5, at(60), continues=3))[0].decision.verdict == "new"

    def test_the_number_is_that_of_the_same_camera_and_run(self, gallery: Gallery) -> None:
        remember(memory_of(gallery), visit(1, at(0)))
        other_camera = visit(2, at(90), camera="yard", continues=1)
        other_run = visit(2, at(90, axis=2), continues=1)
        assert decide(gallery, other_camera).verdict == "new"
        assert remember(memory_of(gallery, run_id="other"), other_run)[0].decision.verdict == "new"

    def test_its_own_beginning_is_found_among_others_that_began_then(self, gallery: Gallery) -> None:
        people = [visit(number, vector, seen=(0, 5)) for number, vector in enumerate(np.eye(DIM, dtype=np.float32), 1)]
        remember(memory_of(gallery), *people)
        assert decide(gallery, visit(9, at(0), continues=3, seen=(5, 9))).identity == "person-3"


# Again


class TestReplay:
    def test_every_visit_answers_the_same_again_and_adds_nothing(self, gallery: Gallery) -> None:
        first = remember(memory_of(gallery), *a_day())
        before = held(gallery)
        again = remember(memory_of(gallery), *a_day())
        assert held(gallery) == before
        assert [one.entry_id for one in again] == [one.entry_id for one in first]
        assert [one.visit_id for one in again] == [one.visit_id for one in first]
        told = [(one.decision.verdict, one.decision.identity) for one in again]
        assert told == [(one.decision.verdict, one.decision.identity) for one in first]
        assert {verdict for verdict, _ in told} == {"new", "matched", "continued", "unknown"}

    def test_at_once_the_numbers_are_the_same_too(self, gallery: Gallery) -> None:
        memory = memory_of(gallery)
        for one in a_day():
            [first] = remember(memory, one)
            assert remember(memory_of(gallery), one) == [first]

    def test_its_own_entry_neither_matches_it_nor_rules_it_out(self, gallery: Gallery) -> None:
        remember(memory_of(gallery), visit(1, at(0)), visit(2, at(30)))
        again = decide(gallery, visit(2, at(30)))
        assert again.score == pytest.approx(math.sqrt(3) / 2)
        assert again.ruled_out == ()
        assert decide(gallery, visit(1, at(0))).verdict == "new"

    def test_another_run_over_the_same_footage_adds_nothing(self, gallery: Gallery) -> None:
        whole = a_day()
        remember(memory_of(gallery), *whole)
        before = held(gallery)
        remember(memory_of(gallery, run_id="another"), *whole)
        assert held(gallery) == before

    def test_two_who_look_alike_at_one_time_are_not_one_visit(self, gallery: Gallery) -> None:
        decisions = remember(memory_of(gallery), visit(1, at(0), seen=(0, 9)), visit(2, at(1), seen=(0, 9)))
        assert [one.decision.identity for one in decisions] == ["person-1", "person-2"]

    def test_a_merge_or_a_name_given_since_is_followed(self, gallery: Gallery) -> None:
        remember(memory_of(gallery), *a_day())
        gallery.merge(["person-2"], into="person-1")
        gallery.rename("person-3", "Ann")
        count = gallery.stats().entries
        again = [one.decision.identity for one in remember(memory_of(gallery), *a_day())]
        assert again[:8] == ["person-1", "person-1", "Ann", "person-4"] * 2
        assert (again[8:], gallery.stats().entries) == (["person-5", "Ann", None], count)

    def test_what_was_decided_stands_where_the_answer_would_be_another_now(self, gallery: Gallery) -> None:
        remember(memory_of(gallery), visit(1, at(0)), visit(2, at(30)))
        gallery.add([entry("later", "Bob", at(29), first_s=1000, last_s=1001)], space=SPACE)
        again = decide(gallery, visit(2, at(30)))
        assert (again.verdict, again.identity, again.nearest) == ("matched", "person-1", "Bob")
        assert again.reason.startswith(
            "it was taken for person-1 before; by now, Bob scores 0.9998, over the threshold"
        )
        first = decide(gallery, visit(1, at(0)))
        assert (first.verdict, first.identity, first.nearest) == ("new", "person-1", "Bob")

    def test_it_is_the_same_visit_also_where_its_vector_came_out_a_little_different(self, gallery: Gallery) -> None:
        remember(memory_of(gallery), visit(1, at(0)), visit(2, at(20)))
        decisions = remember(memory_of(gallery), visit(1, at(3)), visit(2, at(23)))
        assert [one.decision.verdict for one in decisions] == ["new", "matched"]
        assert gallery.stats().entries == 2

    def test_a_visit_id_is_a_uuid_of_run_camera_and_number(self, gallery: Gallery) -> None:
        whole = [visit(number, None, camera=camera) for camera in ("a", "a1", "") for number in (1, 11)]
        ids = [one.visit_id for run in ("r", "r1") for one in remember(memory_of(gallery, run_id=run), *whole)]
        assert len(set(ids)) == 12
        assert {uuid.UUID(name).version for name in ids} == {5}


# Names


class TestNames:
    def test_numbers_go_on_above_all_that_there_are(self, gallery: Gallery) -> None:
        gallery.add([entry("person-41", "Ann", at(90), first_s=0, last_s=1)], space=SPACE)
        gallery.add([entry("person-0042", "Bob", at(90, axis=2), first_s=0, last_s=1)], space=SPACE)
        assert decide(gallery, visit(1, at(0))).identity == "person-42"

    def test_nobody_gets_the_name_of_somebody_who_was_deleted_among_others(self, gallery: Gallery) -> None:
        remember(memory_of(gallery), *a_day()[:4])
        gallery.delete(["person-2"])
        assert decide(gallery, visit(20, at(90))).identity == "person-5"

    def test_nobody_gets_a_name_that_somebody_was_renamed_to(self, gallery: Gallery) -> None:
        remember(memory_of(gallery), *a_day()[:4])
        gallery.rename("person-1", "person-5")
        gallery.rename("person-2", "person-6")
        new = np.asarray(-at(0), np.float32)
        assert decide(gallery, visit(20, new)).identity == "person-7"
        assert len(gallery.ids(Where(identities=["person-5"]))) == 1

    def test_a_name_that_was_merged_away_is_not_given_again(self, gallery: Gallery) -> None:
        remember(memory_of(gallery), *a_day()[:4])
        gallery.merge(["person-4"], into="person-1")
        assert decide(gallery, visit(20, np.asarray(-at(0), np.float32))).identity == "person-5"

    def test_more_names_than_are_asked_for_at_once_are_no_matter(
        self, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sightline.pipeline.people.memory.NAMES_AT_ONCE", 3)
        vectors = np.eye(DIM, dtype=np.float32)
        many = [entry(f"person-{n}", f"person-{n}", vectors[1], first_s=-n, last_s=-n) for n in range(1, 12)]
        gallery.add(many, space=SPACE)
        assert decide(gallery, visit(1, vectors[0])).identity == "person-12"

    @pytest.mark.parametrize(
        ("name", "number"),
        [
            *[("person-1", 1), ("person-120", 120)],
            *[(name, None) for name in ("person-", "person-01", "person-0", "person--1", "person-1 ", "7", "Ann")],
            *[(name, None) for name in ("person-²", "person-٣", "Person-1", "person-1.0")],
        ],
    )
    def test_the_number_of_a_name(self, name: str, number: int | None) -> None:
        assert number_of(name) == number


# Others at the same gallery


class TestOthers:
    def test_a_name_given_between_two_visits_is_used_for_the_second(self, gallery: Gallery, tmp_path: Path) -> None:
        memory = memory_of(gallery)
        remember(memory, visit(1, at(0)))
        with gallery_at(tmp_path) as other:
            other.rename("person-1", "Ann")
        decision = remember(memory, visit(2, at(5)))[0].decision
        assert decision.identity == "Ann" and decision.reason.startswith("Ann scores")

    def test_a_merge_between_the_look_and_the_entry_is_followed(self, gallery: Gallery, tmp_path: Path) -> None:
        class Overtaken(Gallery):
            def add(self, entries: Sequence[Entry], *, space: Space) -> None:
                if entries:
                    with gallery_at(tmp_path) as other:
                        other.merge(["person-2"], into="person-1")
                super().add(entries, space=space)

        remember(memory_of(gallery), visit(1, at(0)), visit(2, at(90)))
        [kept] = remember(memory_of(Overtaken(gallery._store)), visit(3, at(85)))
        assert kept.decision.identity == "person-1"
        assert set(held(gallery).values()) == {"person-1"}

    def test_processes_that_meet_new_people_at_once_give_each_a_name_of_their_own(self, tmp_path: Path) -> None:
        url, runs, each = str(tmp_path / "gallery.sqlite"), 4, 12
        spawn = multiprocessing.get_context("spawn")
        barrier = spawn.Barrier(runs)
        processes = [spawn.Process(target=keep_strangers, args=(url, str(run), each, barrier)) for run in range(runs)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * runs
        with open_gallery(url, mode="read") as gallery:
            entries = list(gallery.iterate())
        assert {one.identity for one in entries} == {f"person-{n}" for n in range(1, runs * each + 1)}
        assert all(one.id == one.identity for one in entries)
        assert len({int(one.vector.argmax()) for one in entries}) == len(entries) == runs * each
        with open_gallery(url) as gallery:  # and each knows its own again
            for run in range(runs):
                remember(memory_of(gallery, run_id=str(run), space=STRANGERS), *strangers(str(run), each))
            assert gallery.stats().entries == runs * each

    def test_a_process_killed_right_after_an_entry_has_kept_it_once(self, tmp_path: Path) -> None:
        whole, kept = a_day(), 10  # all but the visit without a vector
        killer = multiprocessing.get_context("spawn").Process(
            target=keep_and_be_killed, args=(str(tmp_path / "gallery.sqlite"), kept)
        )
        killer.start()
        killer.join(60)
        assert killer.exitcode == 0
        with gallery_at(tmp_path) as gallery, open_gallery(str(tmp_path / "calm.sqlite")) as calm:
            assert gallery.stats().entries == kept
            after = remember(memory_of(gallery), *whole)
            assert gallery.stats().entries == kept
            undisturbed = remember(memory_of(calm), *whole)
            assert held(gallery) == held(calm)
        decisions = [(one.entry_id, one.decision.verdict, one.decision.identity) for one in after]
        assert decisions == [(one.entry_id, one.decision.verdict, one.decision.identity) for one in undisturbed]

    def test_it_is_the_same_in_a_chroma_gallery(self, tmp_path: Path) -> None:
        pytest.importorskip("chromadb", reason="chromadb is not installed; it comes with sightline[gallery]")
        with open_gallery(f"chroma:{tmp_path / 'chroma'}") as chroma, gallery_at(tmp_path) as sqlite:
            for _ in range(2):
                ours, theirs = (remember(memory_of(one), *a_day()) for one in (sqlite, chroma))
                assert [(o.entry_id, o.decision.verdict) for o in ours] == [
                    (t.entry_id, t.decision.verdict) for t in theirs
                ]
                assert held(chroma) == held(sqlite)
            late = visit(12, at(90, axis=2), seen=(100, 106))
            ruled_out = [decide(one, late).ruled_out for one in (sqlite, chroma)]
            assert [one.identity for one in ruled_out[0]] == [one.identity for one in ruled_out[1]] == ["person-3"]


# What is kept


def average_colour(paths: Sequence[Path]) -> FloatArray:
    mean = np.mean([mean_colour(path) for path in paths], axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def harsh_noise(size_hw: tuple[int, int]) -> Image:
    """Points of the strongest colours: nothing makes a longer JPEG."""
    return np.random.default_rng(0).integers(0, 2, (*size_hw, 3), dtype=np.uint8) * np.uint8(255)


class TestEntries:
    def test_an_entry_says_where_when_and_of_how_much(self, gallery: Gallery) -> None:
        crop = np.full((60, 30, 3), (0, 0, 200), np.uint8)
        [kept] = remember(memory_of(gallery), visit(3, at(20), seen=(1.5, 4.25), camera="yard", count=7, crops=[crop]))
        [one] = gallery.fetch([kept.entry_id or ""])
        assert (one.camera, one.first_s, one.last_s) == ("yard", 1_700_000_001.5, 1_700_000_004.25)
        assert (one.count, one.quality) == (7, 0.5)
        assert one.created_by.startswith("sightline ") and one.created_by.endswith(kept.visit_id)
        assert np.array_equal(one.vector, at(20))
        shown = cv2.imdecode(np.frombuffer(one.thumbnail, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None and shown.shape == (60, 30, 3)
        assert np.abs(shown.astype(int) - crop).max() < 8

    def test_the_picture_is_of_the_largest_crop(self, gallery: Gallery) -> None:
        crops = [np.full((size, size, 3), size, np.uint8) for size in (20, 40, 30)]
        remember(memory_of(gallery), visit(1, at(0), crops=crops))
        shown = cv2.imdecode(np.frombuffer(gallery.get("person-1").thumbnail, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None and shown.shape == (40, 40, 3)

    def test_painted_people_who_come_back_are_recognised_by_their_colour(
        self, gallery: Gallery, tmp_path: Path
    ) -> None:
        painted = paint(tmp_path / "crops", cameras=1, shots=8, seed=1)
        halves = [[item.path for item in painted if item.person == name] for name in "abcdef"]
        looks = [paths[:4] for paths in halves] + [paths[4:] for paths in halves]
        space = Space(SPACE.fingerprint, 3)
        memory = memory_of(gallery, space=space, rules=MemoryRules(threshold=0.9))
        day = [visit(n, average_colour(paths), crops=list(map(read_image, paths))) for n, paths in enumerate(looks, 1)]
        decisions = [one.decision for one in remember(memory, *day)]
        assert [one.verdict for one in decisions] == ["new"] * 6 + ["matched"] * 6
        assert [one.identity for one in decisions] == [f"person-{n}" for n in range(1, 7)] * 2

    @pytest.mark.parametrize(
        ("size_hw", "shown_hw"),
        [((400, 200), (128, 64)), ((3, 5000), (1, 128)), ((5000, 3), (128, 1)), ((128, 128), (128, 128))],
    )
    def test_no_picture_is_large(self, size_hw: tuple[int, int], shown_hw: tuple[int, int]) -> None:
        data = thumbnail_of(harsh_noise(size_hw))
        shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None and shown.shape[:2] == shown_hw
        assert len(data) <= 16384


# What is refused


class TestRefusals:
    @pytest.mark.parametrize(
        ("rules", "told"),
        [
            ({"threshold": math.nan}, "threshold is nan"),
            ({"threshold": 70.0}, "threshold is 70.0; expected a cosine"),
            ({"margin": -0.1}, "margin is -0.1"),
            ({"least_crops": 0}, "least_crops is 0; expected 1 or more"),
            ({"travel_s": -1.0}, "travel_s is -1.0; expected seconds"),
            ({"forget_s": math.inf}, "forget_s is inf"),
        ],
    )
    def test_rules_that_mean_nothing(self, rules: dict[str, float], told: str) -> None:
        with pytest.raises(ConfigError, match=told):
            MemoryRules(**{"threshold": 0.7, **rules})  # type: ignore[arg-type]  # integers and floats by name

    def test_a_gallery_of_another_model_is_refused_before_the_first_visit(self, gallery: Gallery) -> None:
        gallery.add([entry("e", "Ann", at(0), first_s=0, last_s=1)], space=SPACE)
        with pytest.raises(GalleryError, match="refuses"):
            memory_of(gallery, space=Space("fedcba9876543210", DIM))

    def test_single_crops_are_not_compared_with_averages(self, gallery: Gallery) -> None:
        with pytest.raises(GalleryError, match="averages"):
            memory_of(gallery, space=Space(SPACE.fingerprint, DIM, "single"))

    def test_a_vector_of_another_model_is_refused_even_by_an_empty_gallery(self, gallery: Gallery) -> None:
        with pytest.raises(GalleryError, match="by model fedc"):
            decide(gallery, visit(1, at(0), fingerprint="fedcba9876543210"))
        assert gallery.stats().entries == 0

    @pytest.mark.parametrize("vector", [np.zeros(DIM, np.float32), np.full(DIM, np.nan, np.float32)])
    def test_a_vector_that_is_nobody_is_an_error_and_not_somebody_new(
        self, gallery: Gallery, vector: FloatArray
    ) -> None:
        for _ in range(2):  # into an empty gallery, and into one with somebody in it
            with pytest.raises(GalleryError, match="its vector"):
                decide(gallery, visit(2, vector))
            remember(memory_of(gallery), visit(1, at(0)))
        assert gallery.stats().entries == 1
