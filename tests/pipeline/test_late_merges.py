from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import cos, radians
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_visits import (
    DIM,
    RULES,
    SPACE,
    Scenes,
    at,
    dot,
    entry,
    gallery_at,
    less,
    mean_of,
    middles,
    random_units,
    unit,
)

from sightline.errors import GalleryError
from sightline.gallery.gallery import Entry, Gallery
from sightline.gallery.open_gallery import open_gallery
from sightline.pipeline.people import late_merges
from sightline.pipeline.people.late_merges import Proposal, merge_late, propose
from sightline.pipeline.people.memory import MemoryRules
from sightline.types import FloatArray


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with gallery_at(tmp_path) as opened:
        yield opened


def put(gallery: Gallery, *people: tuple[str, FloatArray]) -> None:
    """A visit of each, one after another, a minute apart."""
    held = gallery.stats().entries
    rows = enumerate(people, held)
    gallery.add(
        [entry(f"e{n:02}", name, vector, first_s=60 * n, last_s=60 * n + 9) for n, (name, vector) in rows], space=SPACE
    )


WALL = {"gate": np.array([0.85, 0, 0, 0], np.float32)}  # what everybody has in common there


def likenesses(people: dict[str, FloatArray]) -> dict[tuple[str, str], float]:
    """Of people who came one after another, a visit each."""
    known = [entry(name, name, vector, first_s=n, last_s=n) for n, (name, vector) in enumerate(people.items())]
    middle = middles(known, WALL, ["gate"])
    assert middle is not None
    seen = {name: unit(less(vector.tolist(), middle["gate"])) for name, vector in people.items()}
    return {(one, other): dot(seen[one], seen[other]) for one in seen for other in seen}


def pairs(proposals: list[Proposal]) -> list[tuple[str, str]]:
    return [(one.identity, one.into) for one in proposals]


def identities(gallery: Gallery) -> dict[str, str]:
    return {one.id: one.identity for one in gallery.iterate()}


class TestProposals:
    def test_two_who_are_alike_are_proposed_with_their_numbers(self, gallery: Gallery) -> None:
        put(gallery, ("person-1", at(0)), ("person-2", at(20)), ("person-3", at(90)))
        [proposal] = propose(gallery, rules=RULES)
        assert (proposal.identity, proposal.into, proposal.threshold) == ("person-2", "person-1", 0.7)
        assert (proposal.score, proposal.likeness) == (pytest.approx(cos(radians(20))), None)
        assert (proposal.runner_up, proposal.runner_up_score) == ("person-3", pytest.approx(cos(radians(70))))
        assert proposal.reason == (
            "person-2 and person-1 score 0.9397 on average, over the threshold 0.7000 and 0.5977 ahead of person-3"
        )

    def test_with_the_scene_taken_out_both_numbers_are_told(self, gallery: Gallery) -> None:
        put(gallery, ("person-1", at(20)), ("person-2", at(30)), ("person-3", at(-30)))
        [proposal] = propose(gallery, rules=MemoryRules(None), scenes=WALL)
        by_hand = likenesses({"person-1": at(20), "person-2": at(30), "person-3": at(-30)})
        alike, runner_up = by_hand["person-1", "person-2"], by_hand["person-1", "person-3"]
        assert proposal.likeness == pytest.approx(alike) and proposal.score == pytest.approx(cos(radians(10)))
        assert (proposal.threshold, proposal.runner_up) == (0.5, "person-3")
        assert proposal.runner_up_score == pytest.approx(cos(radians(50)))
        assert proposal.reason == (
            "person-2 and person-1 score 0.9848 on average, over the threshold 0.5000, and with the scene taken out "
            f"{alike:.4f}, over 0.5000 and {alike - runner_up:.4f} ahead of person-3"
        )

    def test_strangers_before_one_wall_stay_apart(self, gallery: Gallery) -> None:
        put(gallery, *((f"person-{axis}", at(25, axis=axis)) for axis in (1, 2, 3)))
        assert cos(radians(25)) ** 2 > 0.8
        assert pairs(propose(gallery, rules=replace(RULES, margin=0.0), scenes=WALL)) == []

    @pytest.mark.parametrize(
        ("rules", "together"),
        [
            (MemoryRules(None), True),
            (MemoryRules(0.98), True),
            (MemoryRules(0.99), False),
            (MemoryRules(None, distinct=0.95), True),
            (MemoryRules(None, distinct=0.96), False),
        ],
    )
    def test_the_cosine_and_the_likeness_must_both_be_reached(
        self, gallery: Gallery, rules: MemoryRules, together: bool
    ) -> None:
        people = {"person-1": at(20), "person-2": at(30)}
        put(gallery, *people.items())
        assert 0.98 < cos(radians(10)) < 0.99 and 0.95 < likenesses(people)["person-1", "person-2"] < 0.96
        assert len(propose(gallery, rules=rules, scenes=WALL)) == together

    def test_averages_count_and_not_single_visits(self, gallery: Gallery) -> None:
        assert cos(radians(60)) < 0.7 < cos(radians(30))
        put(gallery, ("person-1", at(0)), ("person-2", at(60)))
        assert propose(gallery, rules=RULES) == []
        put(gallery, ("person-1", at(40)))
        [proposal] = propose(gallery, rules=RULES)
        assert proposal.score == pytest.approx(cos(radians(40)))  # the mean of 0 and 40 degrees is at 20

    def test_with_nobody_else_there_is_no_runner_up(self, gallery: Gallery) -> None:
        put(gallery, ("person-1", at(0)), ("person-2", at(10)))
        [proposal] = propose(gallery, rules=RULES)
        assert (proposal.runner_up, proposal.runner_up_score) == (None, None)
        assert proposal.reason.endswith("over the threshold 0.7000, and nobody else could be either")

    def test_somebody_between_two_stays_apart_and_those_who_are_clear_do_not(self, gallery: Gallery) -> None:
        put(gallery, ("person-1", at(0)), ("person-2", at(60)), ("person-3", at(29.5)))
        put(gallery, ("person-4", at(90, axis=2)), ("person-5", at(80, axis=2)))
        assert pairs(propose(gallery, rules=RULES)) == [("person-5", "person-4")]

    def test_somebody_who_was_split_in_three_is_one_in_the_end(self, gallery: Gallery) -> None:
        put(gallery, ("person-1", at(0)), ("person-2", at(20)), ("person-3", at(10.2)))
        [first] = propose(gallery, rules=RULES)
        assert first.reason.endswith("and 0.0012 ahead of person-1, who looks like both")
        assert round(cos(radians(9.8)) - cos(radians(10.2)), 4) == 0.0012
        while merge_late(gallery, propose(gallery, rules=RULES)):
            pass
        assert set(identities(gallery).values()) == {"person-1"}

    def test_a_third_who_was_seen_beside_either_keeps_it_open(self, gallery: Gallery) -> None:
        for beside in ("person-1", "person-2"):
            others = ("person-1", at(0)), ("person-2", at(10))
            third = entry("e", "person-3", at(5.2), first_s=0, last_s=9)
            gallery.add([third], space=SPACE)
            for n, (name, vector) in enumerate(others):
                begin = 5 if name == beside else 100 * (n + 1)
                gallery.add([entry(f"e{n}", name, vector, first_s=begin, last_s=begin + 9)], space=SPACE)
            assert propose(gallery, rules=RULES) == []
            gallery.delete(["e", "e0", "e1"])

    def test_a_runner_up_of_either_is_enough_to_keep_it_open(self, gallery: Gallery) -> None:
        put(gallery, ("person-1", at(0)), ("person-2", at(20)), ("person-3", at(40.2)))
        near_only_one = MemoryRules(threshold=0.9)  # person-1's next is far away; person-2's is as near as its nearest
        assert cos(radians(40.2)) < 0.9 - 0.02
        assert propose(gallery, rules=near_only_one) == []

    def test_the_nearest_of_the_nearest_must_be_oneself(self, gallery: Gallery) -> None:
        put(gallery, ("person-1", at(0)), ("person-2", at(30)), ("person-3", at(45)))
        assert pairs(propose(gallery, rules=RULES)) == [("person-3", "person-2")]

    def test_an_empty_gallery_and_a_single_person_have_nothing_to_propose(self, gallery: Gallery) -> None:
        assert propose(gallery, rules=RULES) == []
        put(gallery, ("person-1", at(0)))
        assert propose(gallery, rules=RULES) == []

    def test_somebody_whose_visits_cancel_each_other_out_is_like_nobody(self, gallery: Gallery) -> None:
        put(gallery, ("person-1", at(0)), ("person-1", np.asarray(-at(0), np.float32)), ("person-2", at(0)))
        assert propose(gallery, rules=RULES) == []


class TestNamesThatStay:
    def test_the_older_name_is_the_one_with_the_lower_number(self, gallery: Gallery) -> None:
        put(gallery, ("person-12", at(0)), ("person-9", at(10)))
        assert pairs(propose(gallery, rules=RULES)) == [("person-12", "person-9")]

    def test_a_name_somebody_gave_is_kept_before_any_number(self, gallery: Gallery) -> None:
        put(gallery, ("person-1", at(0)), ("Ann", at(10)))
        assert pairs(propose(gallery, rules=RULES)) == [("person-1", "Ann")]

    def test_two_people_who_were_given_names_are_never_one(self, gallery: Gallery) -> None:
        put(gallery, ("Ann", at(0)), ("Bob", at(1)))
        assert propose(gallery, rules=RULES) == []


class TestWhoCannotBeOne:
    def apart(self, gallery: Gallery, *more: Entry, rules: MemoryRules = RULES) -> bool:
        first = entry("a", "person-1", at(0), first_s=100, last_s=110)
        gallery.add([first, *more], space=SPACE)
        return propose(gallery, rules=rules) == []

    def test_those_who_were_seen_at_once(self, gallery: Gallery) -> None:
        assert self.apart(gallery, entry("b", "person-2", at(5), first_s=105, last_s=120))

    def test_but_not_a_track_that_broke(self, gallery: Gallery) -> None:
        assert not self.apart(gallery, entry("b", "person-2", at(5), first_s=109.9, last_s=120))

    def test_those_of_whom_any_two_visits_were_at_once(self, gallery: Gallery) -> None:
        later = entry("b", "person-2", at(5), first_s=900, last_s=909)
        assert self.apart(gallery, later, entry("c", "person-2", at(5), first_s=104, last_s=105))

    def test_those_who_were_at_once_through_a_very_long_visit(self, gallery: Gallery) -> None:
        shorts = [entry(f"s{n}", "person-3", at(90), first_s=n, last_s=n + 0.5) for n in range(99)]
        assert self.apart(gallery, entry("b", "person-2", at(5), first_s=-9000, last_s=9000), *shorts)

    def test_two_cameras_may_see_them_at_once(self, gallery: Gallery) -> None:
        assert not self.apart(gallery, entry("b", "person-2", at(5), first_s=105, last_s=120, camera="yard"))

    @pytest.mark.parametrize(("first_s", "apart"), [(139.75, True), (140.0, False), (65.0, True), (60.0, False)])
    def test_those_who_could_not_have_come_so_fast(self, gallery: Gallery, first_s: float, apart: bool) -> None:
        other = entry("b", "person-2", at(5), first_s=first_s, last_s=first_s + 10, camera="yard")
        assert self.apart(gallery, other, rules=MemoryRules(0.7, travel_s=30)) == apart

    @pytest.mark.parametrize(("first_s", "apart"), [(170.0, False), (170.25, True), (30.0, False), (29.75, True)])
    def test_those_between_whom_everything_is_forgotten(self, gallery: Gallery, first_s: float, apart: bool) -> None:
        other = entry("b", "person-2", at(5), first_s=first_s, last_s=first_s + 10)
        assert self.apart(gallery, other, rules=MemoryRules(0.7, forget_s=60)) == apart

    def test_who_cannot_be_either_is_no_runner_up(self, gallery: Gallery) -> None:
        twin = [entry(f"t{n}", "person-2", at(1), first_s=n, last_s=n + 10) for n in (105, 205)]
        assert not self.apart(gallery, *twin, entry("c", "person-3", at(5), first_s=200, last_s=210))
        assert cos(radians(4)) - cos(radians(5)) < RULES.margin  # it would be a rival of theirs
        [proposal] = propose(gallery, rules=RULES)
        assert (proposal.identity, proposal.into, proposal.runner_up) == ("person-3", "person-1", None)


class TestMerging:
    def test_what_is_merged_can_be_undone(self, gallery: Gallery) -> None:
        put(gallery, ("person-1", at(0)), ("person-2", at(10)), ("person-2", at(14)), ("person-3", at(90)))
        before = identities(gallery)
        [change] = merge_late(gallery, propose(gallery, rules=RULES))
        assert (change.operation, change.identity) == ("merge", "person-1")
        assert change.former == {"person-2": ("e01", "e02")}
        assert set(identities(gallery).values()) == {"person-1", "person-3"}
        gallery.undo(change)
        assert identities(gallery) == before

    def test_several_pairs_are_merged_the_most_alike_first(self, gallery: Gallery) -> None:
        put(gallery, ("person-1", at(0)), ("person-2", at(20)), ("person-3", at(90, axis=2)))
        put(gallery, ("person-4", at(85, axis=2)))
        changes = merge_late(gallery, propose(gallery, rules=RULES))
        assert [change.identity for change in changes] == ["person-3", "person-1"]
        assert propose(gallery, rules=RULES) == []

    def test_three_of_one_person_become_one_in_two_steps(self, gallery: Gallery) -> None:
        put(gallery, ("person-1", at(0)), ("person-2", at(10)), ("person-3", at(35)))
        steps = [len(merge_late(gallery, propose(gallery, rules=RULES))) for _ in range(3)]
        assert (steps, set(identities(gallery).values())) == ([1, 1, 0], {"person-1"})

    def test_another_process_that_was_faster_leaves_nothing_to_do(self, gallery: Gallery, tmp_path: Path) -> None:
        put(gallery, ("person-1", at(0)), ("person-2", at(10)))
        proposals = propose(gallery, rules=RULES)
        with gallery_at(tmp_path) as other:
            assert len(merge_late(other, proposals)) == 1
        assert merge_late(gallery, proposals) == []
        assert set(identities(gallery).values()) == {"person-1"}

    @pytest.mark.parametrize("renamed", ["person-1", "person-2"])
    def test_a_name_that_is_gone_is_not_brought_back(self, gallery: Gallery, renamed: str) -> None:
        put(gallery, ("person-1", at(0)), ("person-2", at(10)))
        proposals = propose(gallery, rules=RULES)
        gallery.rename(renamed, "Ann")
        before = identities(gallery)
        assert merge_late(gallery, proposals) == []
        assert identities(gallery) == before

    def test_a_gallery_that_fails_is_no_reason_to_go_on_as_if_it_had_not(
        self, gallery: Gallery, tmp_path: Path
    ) -> None:
        put(gallery, ("person-1", at(0)), ("person-2", at(10)))
        proposals = propose(gallery, rules=RULES)
        with open_gallery(gallery.url, mode="read") as read_only, pytest.raises(GalleryError, match="read-only"):
            merge_late(read_only, proposals)

    def test_it_is_the_same_in_a_chroma_gallery(self, gallery: Gallery, tmp_path: Path) -> None:
        pytest.importorskip("chromadb", reason="chromadb is not installed; it comes with sightline[gallery]")
        with open_gallery(f"chroma:{tmp_path / 'chroma'}") as chroma:
            for one in (gallery, chroma):
                put(one, ("person-1", at(0)), ("person-2", at(20)), ("person-3", at(90)))
            assert propose(chroma, rules=RULES) == propose(gallery, rules=RULES)
            assert merge_late(chroma, propose(chroma, rules=RULES)) == merge_late(
                gallery, propose(gallery, rules=RULES)
            )


# A slow loop


Grid = st.integers(0, 160).map(lambda step: step / 8)
Stay = st.tuples(Grid, st.integers(0, 12).map(lambda step: step / 16)).map(lambda stay: (stay[0], sum(stay)))
Row = st.tuples(st.integers(1, 6), Stay, st.sampled_from(["gate", "yard"]), st.integers(0, 11))
POOL = random_units(4, seed=5, dim=DIM)
NOISY = [POOL[n % 4] + 0.25 * noise for n, noise in enumerate(random_units(12, seed=6))]
TOUCHES = random_units(14, seed=7)
LOOKS = [np.asarray(vector / np.linalg.norm(vector), np.float32) for vector in NOISY]


def cannot_be_one(these: list[Entry], those: list[Entry], rules: MemoryRules) -> bool:
    for one in these:
        for other in those:
            shared = min(one.last_s, other.last_s) - max(one.first_s, other.first_s)
            shorter = min(one.last_s - one.first_s, other.last_s - other.first_s)
            if one.camera == other.camera and (shared >= 0.2 or shared == shorter):
                return True
            if one.camera != other.camera and rules.travel_s is not None and -shared < rules.travel_s:
                return True
    begins, ends = zip(*[(min(e.first_s for e in es), max(e.last_s for e in es)) for es in (these, those)], strict=True)
    return rules.forget_s is not None and max(begins) - min(ends) > rules.forget_s


@dataclass(frozen=True)
class Slow:
    """Somebody, looked at slowly: means of what was seen of them, with the scene and without."""

    name: str
    mean: list[float]
    direction: list[float]


def looked_at(people: dict[str, list[Entry]], middle: dict[str, list[float]] | None) -> list[Slow]:
    def seen(one: Entry) -> list[float]:
        return unit(less(one.vector.tolist(), [0.0] * DIM if middle is None else middle[one.camera]))

    def mean(rows: list[list[float]]) -> list[float]:
        return unit(mean_of(rows, [1.0] * len(rows)))

    return [
        Slow(name, mean([one.vector.tolist() for one in entries]), mean([seen(one) for one in entries]))
        for name, entries in sorted(people.items())
    ]


def by_slow_loop(people: dict[str, list[Entry]], rules: MemoryRules, scenes: Scenes) -> set[tuple[str, str]]:
    everything = [one for entries in people.values() for one in entries]
    middle = middles(everything, scenes, ["gate", "yard"])
    cosine, least = (0.6, rules.distinct) if middle is not None else (0.6, -1.0)
    known = looked_at(people, middle)

    def can_be(one: Slow, other: Slow) -> bool:
        return one is not other and not cannot_be_one(people[one.name], people[other.name], rules)

    def alike(one: Slow, other: Slow) -> bool:
        return dot(one.mean, other.mean) >= cosine and dot(one.direction, other.direction) >= least

    def nearest(one: Slow) -> Slow | None:
        others = [other for other in known if can_be(one, other)]
        best = max(others, key=lambda other: dot(one.direction, other.direction), default=None)
        return best if best is not None and alike(one, best) else None

    def rivals(one: Slow, best: Slow) -> list[Slow]:
        bar = dot(one.direction, best.direction) - max(rules.margin, 1e-6)
        return [
            other
            for other in known
            if other is not best and can_be(one, other) and dot(one.direction, other.direction) > bar
        ]

    found = set()
    for one in known:
        best = nearest(one)
        if best is None or nearest(best) is not one:
            continue
        others = rivals(one, best) + rivals(best, one)
        if all(can_be(pair, other) and alike(pair, other) for pair in (one, best) for other in others):
            # Names of one digit are in the order of their numbers.
            found.add((max(one.name, best.name), min(one.name, best.name)))
    return found


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(Row, max_size=14),
    rules=st.builds(
        MemoryRules,
        st.just(0.6),
        margin=st.sampled_from([0.05, 0.3]),
        distinct=st.sampled_from([0.0, 0.5]),
        travel_s=st.sampled_from([None, 0.0, 1.0]),
        forget_s=st.sampled_from([None, 4.0]),
    ),
    seen_empty=st.sets(st.sampled_from(["gate", "yard"])),
    at_once=st.sampled_from([1, 3 * DIM, late_merges.SCORES_AT_ONCE]),
)
def test_the_pairs_are_those_of_a_slow_loop(
    rows: list[tuple[int, tuple[float, float], str, int]],
    rules: MemoryRules,
    seen_empty: set[str],
    at_once: int,
) -> None:
    scenes = {camera: 0.8 * random_units(1, seed=ord(camera[0]))[0] for camera in seen_empty}
    people: dict[str, list[Entry]] = {}
    for n, (who, stay, camera, looks) in enumerate(rows):
        vector = np.asarray(unit((LOOKS[looks] + 0.02 * TOUCHES[n]).tolist()), np.float32)  # no two are equal
        one = entry(f"e{n:02}", f"person-{who}", vector, first_s=stay[0], last_s=stay[1], camera=camera)
        people.setdefault(one.identity, []).append(one)
    with TemporaryDirectory() as folder, gallery_at(Path(folder)) as gallery, pytest.MonkeyPatch.context() as patch:
        patch.setattr(late_merges, "SCORES_AT_ONCE", at_once)
        gallery.add([one for entries in people.values() for one in entries], space=SPACE)
        found = propose(gallery, rules=rules, scenes=scenes)
    assert set(pairs(found)) == by_slow_loop(people, rules, scenes)


def test_a_thousand_identities_of_five_hundred_people_find_each_other(gallery: Gallery) -> None:
    twice = np.repeat(random_units(500, seed=1), 2, axis=0)
    gallery.add(
        [entry(f"e{n}", f"person-{n}", vector, first_s=n, last_s=n) for n, vector in enumerate(twice, 1)], space=SPACE
    )
    found = propose(gallery, rules=MemoryRules(0.99, margin=0.0))
    assert sorted(pairs(found)) == sorted((f"person-{n + 1}", f"person-{n}") for n in range(1, 1000, 2))
