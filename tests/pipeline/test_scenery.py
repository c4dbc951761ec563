"""What everything before a camera has in common, and people as they look without it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_visits import DIM, at, entry, middles, random_units

from sightline.pipeline.people import scene
from sightline.pipeline.people.scene import FEWEST_PLACES, Scenery, empty_places, seen_from
from sightline.types import FloatArray

NOBODY = np.empty((0, 4), np.float32)


def numbered(size_hw: tuple[int, int]) -> np.ndarray:
    """A picture in which each pixel says where it is: row in the first channel, column in the others."""
    rows, columns = np.indices(size_hw)
    return np.stack([rows % 256, columns % 256, columns // 256], axis=2).astype(np.uint8)


def place_of(crop: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a crop of such a picture, up to 255 pixels high."""
    top, left = int(crop[0, 0, 0]), int(crop[0, 0, 1]) + 256 * int(crop[0, 0, 2])
    return left, top, left + crop.shape[1], top + crop.shape[0]


class TestEmptyPlaces:
    def test_they_have_the_shape_of_people_and_lie_within_the_picture(self) -> None:
        crops = empty_places(numbered((240, 640)), NOBODY)
        places = [place_of(crop) for crop in crops]
        assert len(places) == len(set(places)) == 54  # three heights, three rows, six columns
        assert {bottom - top for _, top, _, bottom in places} == {72, 120, 180}
        assert all(
            (right - left) / (bottom - top) == pytest.approx(0.4, abs=0.02) for left, top, right, bottom in places
        )
        sides = np.array(places)
        assert sides.min(axis=0)[:2].tolist() == [0, 0] and sides.max(axis=0)[2:].tolist() == [640, 240]

    def test_none_is_where_somebody_is(self) -> None:
        boxes = np.array([[100, 40, 160, 200], [500, 100, 520, 150]], np.float32)
        kept = {place_of(crop) for crop in empty_places(numbered((240, 640)), boxes)}
        for place in (place_of(crop) for crop in empty_places(numbered((240, 640)), NOBODY)):
            covered = np.zeros((240, 640), bool)
            for left, top, right, bottom in boxes.astype(int):
                covered[top:bottom, left:right] = True
            left, top, right, bottom = place
            assert (place in kept) == (not covered[top:bottom, left:right].any())
        assert 0 < len(kept) < 54

    def test_a_picture_full_of_people_has_none(self) -> None:
        assert empty_places(numbered((240, 640)), np.array([[0, 0, 640, 240]], np.float32)) == []

    @pytest.mark.parametrize("size_hw", [(1, 1), (5, 300), (240, 3), (8, 8), (20, 20)])
    def test_a_picture_of_any_size_has_whole_ones(self, size_hw: tuple[int, int]) -> None:
        crops = empty_places(numbered(size_hw), NOBODY)
        places = [place_of(crop) for crop in crops]
        assert crops and len(set(places)) == len(places)
        assert all(
            0 <= left < right <= size_hw[1] and 0 <= top < bottom <= size_hw[0] for left, top, right, bottom in places
        )

    def test_an_upright_picture_has_enough_of_them(self) -> None:
        assert len(empty_places(numbered((255, 60)), NOBODY)) >= FEWEST_PLACES


class TestSeenFrom:
    def test_directions_are_of_length_one(self) -> None:
        seen = seen_from(at(30), random_units(20, seed=1))
        assert np.linalg.norm(seen, axis=1) == pytest.approx(np.ones(20), abs=1e-6)

    def test_they_lead_from_the_centre_to_the_vectors(self) -> None:
        seen = seen_from(np.array([1, 2, 0, 0], np.float32), np.array([[4, 6, 0, 0], [1, 0, 0, 0]], np.float32))
        assert seen == pytest.approx(np.array([[0.6, 0.8, 0, 0], [0, -1, 0, 0]]), abs=1e-6)

    def test_without_a_centre_they_are_the_vectors(self) -> None:
        vectors = random_units(5, seed=2)
        assert seen_from(None, vectors) == pytest.approx(vectors, abs=1e-6)

    def test_what_lies_in_the_centre_has_no_direction_and_what_is_unknown_stays_so(self) -> None:
        seen = seen_from(at(30), np.stack([at(30), np.full(DIM, np.nan, np.float32)]))
        assert seen[0].tolist() == [0, 0, 0, 0] and np.isnan(seen[1]).all()
        assert seen.dtype == np.float32


class TestTheMiddle:
    def test_it_is_the_empty_place_while_nobody_was_seen(self) -> None:
        scenery = Scenery({"gate": at(40)})
        assert scenery.centre("gate") == pytest.approx(at(40)) and scenery.is_known

    def test_people_draw_it_to_their_mean(self) -> None:
        scenery, empty = Scenery(), np.zeros(DIM, np.float32)
        scenery.tell_empty("gate", empty)
        scenery.tell_person("gate", "Ann", "a", at(0))
        assert scenery.centre("gate") == pytest.approx(at(0) / 4)  # the empty place counts as three people
        scenery.tell_person("gate", "Bob", "b", at(90))
        assert scenery.centre("gate") == pytest.approx((at(0) + at(90)) / 5)

    def test_only_the_first_visit_of_somebody_counts(self) -> None:
        scenery = Scenery({"gate": np.zeros(DIM, np.float32)})
        for number, vector in enumerate([at(0), at(90), at(90), at(90, axis=2)]):
            scenery.tell_person("gate", "Ann", f"e{number}", vector)
        assert scenery.centre("gate") == pytest.approx(at(0) / 4)

    def test_people_who_look_alike_count_as_one_together(self) -> None:
        scenery = Scenery({"gate": np.zeros(DIM, np.float32)})
        for number, vector in enumerate([at(0), at(10), at(20), at(90, axis=2)]):
            scenery.tell_person("gate", f"person-{number}", f"e{number}", vector)
        one = (at(0) + at(10) + at(20)) / 3
        assert scenery.centre("gate") == pytest.approx((one + at(90, axis=2)) / 5, abs=1e-6)

    def test_whether_they_look_alike_is_seen_from_the_empty_place(self) -> None:
        scenery = Scenery({"gate": np.array([0.9, 0, 0, 0], np.float32)})
        for axis in (1, 2, 3):
            scenery.tell_person("gate", f"person-{axis}", f"e{axis}", at(20, axis=axis))
        assert at(20) @ at(20, axis=2) > 0.88  # and yet they count as three
        people = sum(at(20, axis=axis) for axis in (1, 2, 3))
        assert scenery.centre("gate") == pytest.approx((3 * np.array([0.9, 0, 0, 0]) + people) / 6, abs=1e-6)

    def test_a_place_nobody_saw_empty_is_taken_to_look_as_others_do(self) -> None:
        scenery = Scenery({"gate": at(0), "yard": at(90)})
        assert scenery.centre("roof") == pytest.approx((at(0) + at(90)) / 2)

    def test_where_no_place_was_seen_empty_the_people_of_all_cameras_tell(self) -> None:
        scenery = Scenery()
        for camera, vector in (("gate", at(0)), ("yard", at(90)), ("gate", at(90, axis=2))):
            assert scenery.centre("gate") is None and not scenery.is_known
            scenery.tell_person(camera, f"{camera} {vector.argmax()}", f"{camera} {vector.argmax()}", vector)
        everybody = (at(0) + at(90) + at(90, axis=2)) / 3
        assert scenery.centre("roof") == pytest.approx(everybody, abs=1e-6)
        assert scenery.centre("yard") == pytest.approx((3 * everybody + at(90)) / 4, abs=1e-6)

    def test_one_person_seen_by_three_cameras_or_split_in_three_tells_nothing(self) -> None:
        scenery = Scenery()
        for camera, degrees in (("gate", 0), ("yard", 60), ("roof", 120)):
            scenery.tell_person(camera, "Ann", camera, at(degrees))
        for number in range(5):
            scenery.tell_person("gate", f"person-{number}", f"e{number}", at(90 + number, axis=2))
        assert scenery.centre("gate") is None
        scenery.tell_person("gate", "person-9", "e9", at(90, axis=3))
        assert scenery.centre("gate") is not None

    def test_the_last_people_count_where_there_are_very_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scene, "MOST_PEOPLE", 2)
        scenery = Scenery({"gate": np.zeros(DIM, np.float32)})
        for axis in (1, 2, 3):
            scenery.tell_person("gate", f"person-{axis}", f"e{axis}", at(90, axis=axis))
        assert scenery.centre("gate") == pytest.approx((at(90, axis=2) + at(90, axis=3)) / 5, abs=1e-6)

    def test_the_look_of_a_place_may_be_told_late_and_again(self) -> None:
        scenery = Scenery()
        scenery.tell_empty("gate", None)
        assert not scenery.is_known
        scenery.tell_empty("gate", at(0))
        assert scenery.centre("gate") == pytest.approx(at(0))
        scenery.tell_empty("gate", at(10))
        scenery.tell_empty("gate", None)
        assert scenery.centre("gate") == pytest.approx(at(10))

    def test_without_an_entry_it_is_as_if_that_had_never_been_told(self) -> None:
        told, untold = Scenery({"gate": at(0)}), Scenery({"gate": at(0)})
        for name, vector in (("a", at(30)), ("b", at(60)), ("c", at(90))):
            told.tell_person("gate", name, f"of {name}", vector)
            if name != "b":
                untold.tell_person("gate", name, f"of {name}", vector)
        before = told.centre("gate")
        without = told.without("gate", "of b").centre("gate")
        assert without is not None and without.tobytes() == untold.centre("gate").tobytes()
        assert np.array_equal(told.centre("gate"), before)
        assert np.array_equal(told.without("yard", "of b").centre("gate"), before)

    def test_it_is_the_same_to_the_last_bit_in_whatever_order_it_was_told(self) -> None:
        people = [
            ("gate", "a", at(20)),
            ("gate", "b", at(77)),
            ("gate", "c", at(71, axis=2)),
            ("yard", "c", at(67, axis=2)),
            ("yard", "d", at(65, axis=3)),
        ]
        found = set()
        for order in itertools.permutations(people):
            scenery = Scenery()
            for camera, name, vector in order:
                scenery.tell_person(camera, name, name, vector)
            found.add(b"".join(scenery.centre(camera).tobytes() for camera in ("gate", "yard", "roof")))
        assert len(found) == 1

    @settings(max_examples=150, deadline=None)
    @given(
        told=st.lists(
            st.tuples(st.sampled_from("abcdef"), st.sampled_from(["gate", "yard"]), st.integers(0, 9)), max_size=12
        ),
        seen_empty=st.sets(st.sampled_from(["gate", "yard", "roof"])),
    )
    def test_it_is_that_of_a_slow_loop(self, told: list[tuple[str, str, int]], seen_empty: set[str]) -> None:
        pool = random_units(10, seed=4)
        scenes = {camera: 0.7 * random_units(1, seed=ord(camera[0]))[0] for camera in seen_empty}
        known = [
            entry(f"e{n:02}", name, pool[looks], first_s=n, last_s=n, camera=camera)
            for n, (name, camera, looks) in enumerate(told)
        ]
        scenery = Scenery(scenes)
        for one in known:
            scenery.tell_person(one.camera, one.identity, one.id, one.vector)
        expected = middles(known, scenes, ["gate", "yard", "roof"])
        for camera in ("gate", "yard", "roof"):
            centre = scenery.centre(camera)
            assert (centre is None) == (expected is None)
            if centre is not None and expected is not None:
                assert centre.tolist() == pytest.approx(expected[camera], abs=1e-6)


class TestDirections:
    def test_each_is_seen_from_the_middle_of_its_own_camera(self) -> None:
        scenery = Scenery({"gate": at(0), "yard": at(90)})
        seen = scenery.directions(["gate", "yard"], np.stack([at(90), at(0)]))
        diagonal = (at(90) - at(0)) / np.sqrt(2)
        assert seen == pytest.approx(np.stack([diagonal, -diagonal]), abs=1e-6)

    def test_where_nothing_is_known_they_are_the_vectors(self) -> None:
        vectors: FloatArray = random_units(3, seed=8)
        assert Scenery().directions(["gate", "yard", "gate"], vectors) == pytest.approx(vectors, abs=1e-6)

    def test_strangers_before_one_wall_have_nothing_in_common_but_the_wall(self) -> None:
        wall = np.array([0.9, 0, 0, 0], np.float32)
        strangers = np.stack([at(25, axis=axis) for axis in (1, 2, 3)])
        assert np.min(strangers @ strangers.T) > 0.82
        seen = Scenery({"gate": wall}).directions(["gate"] * 3, strangers)
        apart = seen @ seen.T - np.eye(3)
        # (cos 25° - 0.9)² over the squared length of what is left of each
        left = np.cos(np.radians(25)) - 0.9
        assert apart[0, 1] == pytest.approx(left**2 / (left**2 + np.sin(np.radians(25)) ** 2), abs=1e-5)
        assert apart.max() < 0.01
