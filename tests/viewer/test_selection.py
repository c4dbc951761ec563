from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import SightlineError
from sightline.viewer.selection import ACTIONS, Choice, Step, persons_named, read_selection, write_selection
from sightline.viewer.tracks import NO_TRACK, PageTracks, Track, joined, read_tracks, write_tracks

IDS = ["a", "b", "c", "d"]
PEOPLE = PageTracks("0" * 64, "1.2.3", dict.fromkeys(IDS, NO_TRACK))


def choice(*steps: tuple[str, str] | tuple[str, str, str]) -> Choice:
    """Each step as its action and the letters of its people, with the name of a rename."""
    return Choice(IDS, [Step(action, tuple(persons), *name) for action, persons, *name in steps])


def outcome(done: Choice) -> tuple[str, dict[str, str], str]:
    content = done.to_json(page="", sightline="")
    names = {item["person"]: item["name"] for item in content["names"]}
    return "".join(content["selected"]), names, " ".join("".join(card) for card in content["merges"])


class TestSteps:
    def test_people_are_selected_in_the_order_they_were_chosen(self) -> None:
        assert outcome(choice(("select", "c"), ("select", "a"), ("select", "c"))) == ("ca", {}, "")

    def test_a_deselected_person_is_not_selected(self) -> None:
        assert outcome(choice(("select", "abc"), ("deselect", "b"))) == ("ac", {}, "")

    def test_merged_people_are_one_card_named_by_its_first(self) -> None:
        assert outcome(choice(("select", "d"), ("merge", "db"), ("merge", "da"))) == ("a", {}, "abd")

    def test_merging_selected_cards_keeps_the_place_of_the_first_chosen(self) -> None:
        assert outcome(choice(("select", "dcb"), ("merge", "bd"))) == ("bc", {}, "bd")

    def test_merging_selects_nobody(self) -> None:
        assert outcome(choice(("merge", "ab"))) == ("", {}, "ab")

    def test_a_split_card_is_as_many_cards_as_selected_as_it_was(self) -> None:
        assert outcome(choice(("select", "da"), ("merge", "ab"), ("split", "ab"))) == ("dab", {}, "")
        assert outcome(choice(("merge", "ab"), ("select", "d"), ("split", "ab"))) == ("d", {}, "")

    def test_a_name_outlives_merging_and_splitting(self) -> None:
        assert outcome(choice(("rename", "b", "Eve"), ("merge", "ab"), ("split", "ab"))) == ("", {"b": "Eve"}, "")

    def test_a_new_name_of_a_merged_card_replaces_all_its_names(self) -> None:
        assert outcome(choice(("rename", "b", "Eve"), ("merge", "ab"), ("rename", "a", "Al")))[1] == {"a": "Al"}

    def test_an_empty_name_takes_the_name_away(self) -> None:
        assert outcome(choice(("rename", "b", "Eve"), ("rename", "b", "")))[1] == {}

    def test_selecting_who_is_selected_is_no_step(self) -> None:
        done = choice(("select", "b"), ("merge", "ab"))
        done.select("b")
        assert [step.action for step in done.steps] == ["select", "merge"]
        done.select("d")
        assert done.steps[-1] == Step("select", ("d",))

    @pytest.mark.parametrize(("wrong", "nearest"), [("p33", "'p3'"), ("anna", "'Anna'"), ("p17", "'p7'")])
    def test_somebody_unknown_is_answered_with_the_nearest(self, wrong: str, nearest: str) -> None:
        with pytest.raises(SightlineError) as caught:
            Choice(["Anna", "p3", "p7"]).select(wrong)
        assert str(caught.value) == f"no person '{wrong}' on the page; the nearest of its 3 is {nearest}"

    def test_the_answer_is_one_short_line_whatever_was_asked(self) -> None:
        for known, wrong in ((["x\ny" * 9000], "\x1b[2J\n" * 9000), ([], "a")):
            with pytest.raises(SightlineError) as caught:
                Choice(known).select(wrong)
            assert str(caught.value).isprintable() and len(str(caught.value)) < 250

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.lists(st.sampled_from(IDS), min_size=1, max_size=3))))
    def test_whatever_is_done_everybody_is_on_one_card_and_selected_once(self, drawn: list[Any]) -> None:
        done = Choice(IDS, [Step(action, tuple(persons), "x") for action, persons in drawn])
        cards = {done.card_of(person) for person in IDS}
        assert sorted(person for card in cards for person in card) == IDS
        assert len(set(done.selected)) == len(done.selected) and set(done.selected) <= cards
        assert all(list(card) == sorted(card) for card in cards)


class TestFile:
    def written(self, folder: Path, done: Choice) -> Path:
        write_selection(folder / "selection.json", done, people=PEOPLE)
        return folder / "selection.json"

    def test_it_reads_back_as_it_was(self, tmp_path: Path) -> None:
        done = choice(("select", "dc"), ("merge", "ab"), ("rename", "a", "<b>Zoë 😀"), ("deselect", "c"))
        path = self.written(tmp_path, done)
        again = read_selection(path, people=PEOPLE)
        assert (again.steps, outcome(again)) == (done.steps, outcome(done))

    def test_it_holds_the_documented_keys(self, tmp_path: Path) -> None:
        path = self.written(tmp_path, choice(("select", "b"), ("rename", "a", "Al"), ("merge", "cd")))
        assert json.loads(path.read_text(encoding="utf-8")) == {
            "format": 1,
            "sightline": "1.2.3",
            "page": "0" * 64,
            "selected": ["b"],
            "names": [{"person": "a", "name": "Al"}],
            "merges": [["c", "d"]],
            "history": [
                {"action": "select", "persons": ["b"]},
                {"action": "rename", "persons": ["a"], "name": "Al"},
                {"action": "merge", "persons": ["c", "d"]},
            ],
        }

    def test_half_a_surrogate_pair_survives(self, tmp_path: Path) -> None:
        path = self.written(tmp_path, choice(("rename", "a", "x\udc80\u2028\x7f\n")))
        assert b'"x\\udc80\xe2\x80\xa8\x7f\\n"' in path.read_bytes()
        assert read_selection(path, people=PEOPLE).names == {"a": "x\udc80\u2028\x7f\n"}

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"format": 2}, "has format 2; this sightline reads 1"),
            ({"page": "1" * 64}, "was chosen on another page"),
            ({"selected": ["a"]}, "was changed: its history leads to another choice"),
            ({"extra": 1}, "was changed"),
            ({"history": [{"action": "fly", "persons": ["a"]}]}, "has a history that is none"),
            ({"history": [{"action": "select", "persons": []}]}, "has a history that is none"),
            ({"history": [{"action": "select", "persons": [3]}]}, "has a history that is none"),
            ({"history": ["select"]}, "has a history that is none"),
            ({"history": 7}, "has a history that is none"),
            ({"history": [{"action": "select", "persons": ["z"]}]}, "no person 'z' on the page"),
        ],
    )
    def test_what_was_not_chosen_on_this_page_is_refused(
        self, tmp_path: Path, change: dict[str, Any], told: str
    ) -> None:
        path = self.written(tmp_path, choice(("select", "b")))
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
        with pytest.raises(SightlineError, match=re.escape(told)) as caught:
            read_selection(path, people=PEOPLE)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"[]", b"nonsense", b"\xff\xfe", b"[" * 100_000, b"null"])
    def test_another_file_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "s.json").write_bytes(content)
        with pytest.raises(SightlineError, match=r"s\.json is no selection exported from a page"):
            read_selection(tmp_path / "s.json", people=PEOPLE)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SightlineError, match=r"none\.json cannot be read: No such file"):
            read_selection(tmp_path / "none.json", people=PEOPLE)


class TestPersonsNamed:
    def test_a_list_is_cut_at_its_commas(self) -> None:
        assert persons_named("p3, p7,,p9", ["p3", "p7"]) == ["p3", "p7", "p9"]

    def test_an_id_is_itself_whatever_it_holds(self) -> None:
        assert persons_named("Doe, Jane", ["Doe, Jane", "Doe"]) == ["Doe, Jane"]
        assert persons_named(" x,y", [" x", "y"]) == [" x", "y"]


Row = tuple[int, float, int]  # frame, confidence, camera


def track(rows: Sequence[tuple[int, float] | Row]) -> Track:
    """Each row a frame, its confidence and perhaps its camera; the box holds the confidence, to see whose it is."""
    frames = np.array([row[0] for row in rows], np.int64)
    confidences = np.array([row[1] for row in rows], np.float32)
    cameras = np.array([row[2] if len(row) > 2 else 0 for row in rows], np.int64)
    return Track(frames, np.repeat(confidences[:, None], 4, axis=1), confidences, cameras)


CONFIDENCES = st.sampled_from([0.1, 0.25, 0.5, 0.75, float("nan")])
ROWS = st.lists(st.tuples(st.integers(0, 9), CONFIDENCES, st.integers(0, 1)), max_size=12)


class TestTracks:
    def test_two_tracks_are_joined_in_frame_order(self) -> None:
        whole = joined([track([(7, 0.5), (8, 0.5)]), track([(3, 0.5), (9, 0.25)])])
        assert whole.frames.tolist() == [3, 7, 8, 9] and whole.boxes_xyxy[:, 0].tolist() == [0.5, 0.5, 0.5, 0.25]

    def test_of_two_rows_for_one_frame_the_more_confident_stays(self) -> None:
        whole = joined([track([(1, 0.25), (2, 0.75)]), track([(1, 0.5), (2, 0.5)])])
        assert whole.confidences.tolist() == [0.5, 0.75] == whole.boxes_xyxy[:, 3].tolist()

    def test_any_confidence_is_more_than_one_not_known(self) -> None:
        assert joined([track([(1, float("nan"))]), track([(1, 0.1)])]).confidences.tolist() == [np.float32(0.1)]

    @settings(max_examples=100, deadline=None)
    @given(st.lists(ROWS, max_size=4))
    def test_it_agrees_with_a_slow_loop(self, parts: list[list[Row]]) -> None:
        best: dict[tuple[int, int], float] = {}
        for frame, confidence, camera in (row for rows in parts for row in rows):
            known = best.get((camera, frame), float("nan"))
            best[camera, frame] = confidence if np.isnan(known) or confidence > known else known
        whole = joined(track(rows) for rows in parts)
        assert list(zip(whole.cameras.tolist(), whole.frames.tolist(), strict=True)) == sorted(best)
        np.testing.assert_array_equal(whole.confidences, np.array([best[key] for key in sorted(best)], np.float32))
        np.testing.assert_array_equal(whole.boxes_xyxy[:, 2], whole.confidences)

    def test_frames_of_two_cameras_are_both_kept_and_parted_again(self) -> None:
        whole = joined([track([(4, 0.5, 1), (5, 0.5, 1)]), track([(4, 0.25, 0)])])
        assert whole.frames.tolist() == [4, 4, 5]
        parts = whole.by_camera()
        assert {camera: part.frames.tolist() for camera, part in parts.items()} == {0: [4], 1: [4, 5]}
        assert NO_TRACK.by_camera() == {}

    def test_they_read_back_as_they_were(self, tmp_path: Path) -> None:
        people = {"a": track([(1, 0.5), (2, 0.25, 1)]), "b\0": NO_TRACK, "\udc80😀": track([(9, float("nan"), 2)])}
        write_tracks(tmp_path, PageTracks("ab", "1", people, ("", "gate\0", "\udc80")))
        again = read_tracks(tmp_path)
        assert (again.page, again.sightline, list(again.tracks)) == ("ab", "1", list(people))
        assert again.cameras == ("", "gate\0", "\udc80")
        for name, whole in people.items():
            np.testing.assert_array_equal(again.tracks[name].frames, whole.frames)
            np.testing.assert_array_equal(again.tracks[name].boxes_xyxy, whole.boxes_xyxy)
            np.testing.assert_array_equal(again.tracks[name].confidences, whole.confidences)
            np.testing.assert_array_equal(again.tracks[name].cameras, whole.cameras)

    def test_those_written_before_there_were_cameras_are_of_one_nobody_named(self, tmp_path: Path) -> None:
        meta = json.dumps({"page": "ab", "sightline": "0.1", "person_ids": ["a", "b"]})
        columns = {"frames": [1, 2, 9], "boxes": np.ones((3, 4), np.float32), "confidences": np.ones(3, np.float32)}
        np.savez(tmp_path / "tracks.npz", meta=np.array(meta), lengths=np.array([2, 1]), **columns)
        people = read_tracks(tmp_path)
        assert people.cameras == ("",)
        assert {who: track.frames.tolist() for who, track in people.tracks.items()} == {"a": [1, 2], "b": [9]}
        assert {who: track.cameras.tolist() for who, track in people.tracks.items()} == {"a": [0, 0], "b": [0]}

    def test_nobody_is_nobody_again(self, tmp_path: Path) -> None:
        write_tracks(tmp_path, PageTracks("ab", "1", {}))
        assert read_tracks(tmp_path).tracks == {}

    def test_a_file_cut_anywhere_is_refused(self, tmp_path: Path) -> None:
        path = write_tracks(tmp_path, PageTracks("ab", "1", {"a": track([(1, 0.5)])}))
        whole = path.read_bytes()
        for length in range(0, len(whole), 41):
            path.write_bytes(whole[:length])
            with pytest.raises(SightlineError, match=r"tracks\.npz cannot be used"):
                read_tracks(tmp_path)

    @pytest.mark.parametrize(
        "change",
        [
            {"lengths": [2]},
            {"lengths": [-1, 2]},
            {"frames": [1, 2]},
            {"boxes": [[1.0]]},
            {"cameras": [1]},
            {"cameras": [-1]},
            {"cameras": [0, 0]},
        ],
    )
    def test_arrays_that_do_not_belong_together_are_refused(self, tmp_path: Path, change: dict[str, Any]) -> None:
        path = write_tracks(tmp_path, PageTracks("ab", "1", {"a": track([(1, 0.5)])}))
        with np.load(path) as archive:
            content = dict(archive)
        np.savez(path, **{**content, **{name: np.array(value) for name, value in change.items()}})
        with pytest.raises(SightlineError, match=r"tracks\.npz cannot be used"):
            read_tracks(tmp_path)

    def test_pickles_are_not_unpickled(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "tracks.npz", meta=np.array([{}], object))
        with pytest.raises(SightlineError, match=r"tracks\.npz cannot be used"):
            read_tracks(tmp_path)
