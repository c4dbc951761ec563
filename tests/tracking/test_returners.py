"""Whether people who came back were known again, counted by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mot_clips import rows

from sightline.errors import ConfigError
from sightline.tracking.returners import Visit, people_of_tracks, read_identities, score_returners, visits_of


def visits(*given: tuple[int | None, str | None] | tuple[int | None, str | None, str]) -> list[Visit]:
    """One after another, each a second long and a second after the one before."""
    return [Visit(who, name, 2.0 * at, 2.0 * at + 1, *camera) for at, (who, name, *camera) in enumerate(given)]


def visit(camera: str, track: int, identity: str | None, entry: str | None) -> dict[str, object]:
    """An event of one, as far as it matters here."""
    embedding = {"ref": entry} if identity else None
    return {"type": "visit", "sensorId": camera, "trackId": track, "identity": identity, "embedding": embedding}


class TestByHand:
    def test_everybody_known_again(self) -> None:
        score = score_returners(visits((1, "a"), (2, "b"), (1, "a"), (2, "b"), (1, "a")))
        assert (score.visits, score.people, score.identities) == (5, 2, 2)
        assert (score.returns, score.relinked, score.relink_rate) == (3, 3, 1.0)
        assert (score.false_merge_rate, score.splits_per_person) == (0, 0)

    def test_somebody_new_each_time_is_never_known_and_split_each_time(self) -> None:
        score = score_returners(visits((1, "a"), (1, "b"), (1, "c"), (2, "d")))
        assert (score.returns, score.relinked) == (2, 0)
        assert score.splits == {1: 2, 2: 0} and score.splits_per_person == 1.0
        assert score.false_merge_rate == 0

    def test_all_in_one_identity_is_one_false_first_and_returns_of_whoever_is_fewer(self) -> None:
        """`a` is of person 1 all along: 2 visits against 0, then 2 against 1, 3 against 1, 3 against 2."""
        score = score_returners(visits((1, "a"), (1, "a"), (2, "a"), (1, "a"), (2, "a")))
        assert (score.false_firsts, score.false_returns) == (1, 1)
        assert score.false_merge_rate == pytest.approx(2 / 5)
        assert (score.returns, score.relinked) == (3, 3)  # person 2 does come back to where person 2 is kept

    def test_right_is_the_identity_with_most_of_the_earlier_visits(self) -> None:
        score = score_returners(visits((1, "a"), (1, "b"), (1, "b"), (1, "a"), (1, "b")))
        assert score.relinked == 2  # not the new `b`; `b` while each has one; not `a` against two of `b`; `b` again
        assert score.returns == 4

    def test_where_two_identities_hold_as_much_either_is_right(self) -> None:
        assert score_returners(visits((1, "a"), (1, "b"), (1, "b"))).relinked == 1
        assert score_returners(visits((1, "a"), (1, "b"), (1, "a"))).relinked == 1

    def test_a_visit_left_open_is_neither_known_nor_merged_nor_split(self) -> None:
        score = score_returners(visits((1, "a"), (1, None), (2, None), (2, "b")))
        assert (score.returns, score.relinked, score.false_merge_rate) == (2, 0, 0)
        assert score.splits == {1: 0, 2: 0} and score.identities == 2

    def test_who_is_taken_for_a_thing_is_merged_wrongly_and_the_thing_is_in_no_rate(self) -> None:
        score = score_returners(visits((None, "post"), (1, "post"), (None, "post")))
        assert (score.nobody, score.visits, score.people, score.identities) == (2, 1, 1, 1)
        assert score.false_merge_rate == 1.0

    def test_returns_to_another_camera_are_counted_apart_too(self) -> None:
        score = score_returners(visits((1, "a", "east"), (1, "a", "west"), (1, "a", "west"), (1, "b", "east")))
        assert (score.returns, score.relinked) == (3, 2)
        assert (score.across, score.across_relinked, score.across_relink_rate) == (2, 1, 0.5)

    def test_absences_last_from_the_end_of_a_visit_to_the_start_of_the_next(self) -> None:
        given = [Visit(1, "a", 0, 4), Visit(1, "a", 10, 12), Visit(2, "b", 1, 2), Visit(1, "a", 13.5, 20)]
        score = score_returners(given)
        assert score.absences_s == (6, 1.5)
        figures = score.figures()
        assert [figures[f"absence_{name}_s"] for name in ("shortest", "median", "longest")] == [1.5, 3.75, 6]

    def test_nobody_at_all_is_zeros(self) -> None:
        figures = score_returners([]).figures()
        assert math.isnan(figures.pop("absence_median_s"))
        assert {value for name, value in figures.items() if not name.startswith("absence")} == {0}

    @given(st.permutations(visits((1, "a"), (2, "a"), (1, "b"), (None, "a"), (2, None), (1, "b"))))
    @settings(max_examples=30, deadline=None)
    def test_the_order_they_are_given_in_does_not_matter(self, shuffled: list[Visit]) -> None:
        expected = score_returners(sorted(shuffled, key=lambda visit: visit.end_s))
        assert score_returners(shuffled) == expected

    @given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abcd")), max_size=12), st.permutations("abcd"))
    @settings(max_examples=50, deadline=None)
    def test_other_names_for_the_same_identities_change_nothing(
        self, given: list[tuple[int, str]], names: list[str]
    ) -> None:
        other = dict(zip("abcd", names, strict=True))
        again = visits(*((who, other[name]) for who, name in given))
        assert score_returners(again) == score_returners(visits(*given))


class TestWhoATrackIs:
    TRUTH = rows(
        *((frame, 11, 0, 0, 10, 10) for frame in range(1, 7)), *((frame, 12, 50, 0, 60, 10) for frame in range(1, 7))
    )

    def test_the_person_with_most_of_its_boxes(self) -> None:
        boxes = [(1, 0), (2, 0), (3, 0), (4, 0), (5, 50)]
        found = rows(*((frame, 5, x, 0, x + 10, 10) for frame, x in boxes))
        assert people_of_tracks(self.TRUTH, found) == {5: 11}

    def test_nobody_where_that_is_less_than_half(self) -> None:
        found = rows(*((frame, 5, x, 0, x + 10, 10) for frame, x in ((1, 0), (2, 200), (3, 200))))
        assert people_of_tracks(self.TRUTH, found) == {5: None}

    def test_visits_have_the_times_and_the_identities_of_their_tracks(self) -> None:
        found = rows((2, 5, 0, 0, 10, 10), (6, 5, 0, 0, 10, 10), (3, 8, 50, 0, 60, 10))
        got = visits_of(self.TRUTH, found, identities={5: "anna"}, fps=2, camera="east")
        assert got == [Visit(11, "anna", 0.5, 2.5, "east"), Visit(12, None, 1.0, 1.0, "east")]


class TestIdentities:
    def test_each_track_of_each_camera(self, tmp_path: Path) -> None:
        events = [("east", 1, "p1"), ("east", 2, None), ("west", 1, "p1"), ("east", 2, "p2")]
        lines = [json.dumps({"sensorId": c, "trackId": t, "identity": i, "score": 0.5}) for c, t, i in events]
        (tmp_path / "events.jsonl").write_text("\n\n".join(lines))
        assert read_identities(tmp_path / "events.jsonl") == {"east": {1: "p1", 2: "p2"}, "west": {1: "p1"}}

    def test_a_merge_is_followed_to_the_identity_in_the_end(self, tmp_path: Path) -> None:
        """By entry, as the gallery does it: the visit after the merges was given its name knowing of them."""
        events = [
            visit("east", 1, "p1", "p1"),
            visit("east", 2, "p2", "p2"),
            visit("west", 1, "p2", "entry-3"),
            visit("west", 2, None, None),
            visit("west", 3, "p3", "p3"),
            {"type": "merge", "into": "p3", "former": {"p2": ["p2", "entry-3"]}},
            {"type": "merge", "into": "p1", "former": {"p3": ["p3", "p2", "entry-of-another-run"]}},
            visit("west", 4, "p3", "entry-9"),
            visit("west", 5, "p8", None),
        ]
        assert self.read(tmp_path, events) == {
            "east": {1: "p1", 2: "p1"},
            "west": {1: "p3", 2: None, 3: "p1", 4: "p3", 5: "p8"},
        }

    def test_events_of_other_types_say_nothing_of_it(self, tmp_path: Path) -> None:
        events = [{"type": "alarm", "sensorId": 7}, visit("east", 1, "p1", "p1"), {"type": "alarm"}]
        assert self.read(tmp_path, events) == {"east": {1: "p1"}}

    def test_a_line_break_of_other_alphabets_ends_no_line(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, [visit("a\u2028b\x85", 1, "p1", None)]) == {"a\u2028b\x85": {1: "p1"}}

    def read(self, folder: Path, events: list[dict[str, object]]) -> object:
        lines = [json.dumps(event, ensure_ascii=False) for event in events]
        (folder / "events.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return read_identities(folder / "events.jsonl")

    @pytest.mark.parametrize(
        "line",
        [
            '{"type": "merge"}',
            '{"type": "merge", "into": "p1", "former": ["p2"]}',
            '{"type": "merge", "into": 7, "former": {}}',
            '{"type": "merge", "into": "p1", "former": {"p2": [7]}}',
            '{"type": "merge", "into": "p1", "former": {"p2": 7}}',
            '{"sensorId": "a", "trackId": 1, "identity": "b", "embedding": {"ref": 7}}',
            '{"sensorId": "a", "trackId": 1, "identity": "b", "embedding": "c"}',
        ],
    )
    def test_the_line_of_an_event_that_is_wrong_is_named(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "events.jsonl").write_text(f"\n\n{line}\n")
        with pytest.raises(ConfigError, match=r"events\.jsonl:3: ") as caught:
            read_identities(tmp_path / "events.jsonl")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "line", ["{", "[]", "7", '{"sensorId": "a"}', '{"sensorId": 1, "trackId": 1, "identity": "a"}', "[" * 5000]
    )
    def test_the_line_of_anything_else_is_named(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "events.jsonl").write_text(f"\n{line}\n")
        with pytest.raises(ConfigError, match=r"events\.jsonl:2: ") as caught:
            read_identities(tmp_path / "events.jsonl")
        assert "\n" not in str(caught.value)

    def test_a_file_that_is_not_there_or_no_text(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            read_identities(tmp_path / "gone.jsonl")
        (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match="is not UTF-8"):
            read_identities(tmp_path / "a.jsonl")
