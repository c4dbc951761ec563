from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from staged_people import NOTES, crops_of, data_of, person, similarity, stage

from sightline.errors import ImageError, OutputError
from sightline.viewer.page import PageNotes, PersonOnPage, file_names, seen_together, write_person_page
from sightline.viewer.tracks import read_tracks

EVIL = '</script><script>document.title = "owned"</script><img src=x onerror="alert(1)">'


class Tags(HTMLParser):
    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


class TestOneFile:
    def test_nothing_in_it_leads_to_a_network(self, tmp_path: Path) -> None:
        page = stage(tmp_path, [person("p1"), person("p2")])
        links = [
            value for _, attributes in Tags(page).found for key, value in attributes.items() if key in {"src", "href"}
        ]
        assert links and all(link is not None and link.startswith(("data:", "#")) for link in links)
        assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp|WebSocket", page.read_text(encoding="utf-8"))

    def test_its_policy_lets_its_own_script_and_style_run_and_nothing_else(self, tmp_path: Path) -> None:
        page = stage(tmp_path, [person("p1")])
        policy = next(tag["content"] for tag in Tags(page).all("meta") if "http-equiv" in tag) or ""
        assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
        text = page.read_text(encoding="utf-8")
        for pattern in (r"<style>(.*?)</style>", r'<script type="module">(.*?)</script>'):
            (content,) = re.findall(pattern, text, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy

    def test_names_and_notes_are_text_whatever_they_hold(self, tmp_path: Path) -> None:
        notes = PageNotes(EVIL, EVIL, "onnx", EVIL, 0.7, True, EVIL)
        page = stage(tmp_path, [person(EVIL, camera=EVIL), person("p2")], notes=notes)
        tags = Tags(page)
        assert len(tags.all("script")) == 2 and not tags.all("img")
        assert tags.text.count(EVIL) >= 3
        assert data_of(page)["people"][0]["id"] == EVIL and data_of(page)["people"][0]["cameras"] == [EVIL]

    def test_below_two_hundred_people_the_pictures_are_in_it(self, tmp_path: Path) -> None:
        page = stage(tmp_path, [person("p1"), person("p2", crops=1)])
        first, second = data_of(page)["people"]
        for key, name in (("clip", "person_p1.webp"), ("still", "person_p1.still.webp")):
            content = base64.b64decode(first[key].removeprefix("data:image/webp;base64,"))
            assert content == (tmp_path / "webp" / name).read_bytes() and content[:4] == b"RIFF"
        assert second["clip"].startswith("data:") and "still" not in second

    def test_from_two_hundred_people_on_they_are_beside_it(self, tmp_path: Path) -> None:
        page = stage(tmp_path, [person(f"p{number}", crops=1) for number in range(200)])
        sources = [one["clip"] for one in data_of(page)["people"]]
        assert len(set(sources)) == 200 and all((tmp_path / source).is_file() for source in sources)
        assert page.stat().st_size < 500_000

    def test_the_same_people_are_the_same_page(self, tmp_path: Path) -> None:
        one, two = (stage(tmp_path / name, [person("p1"), person("p2")]) for name in "ab")
        assert one.read_bytes() == two.read_bytes()

    @pytest.mark.parametrize(
        "other",
        [
            [person("p1"), person("p3")],
            [person("p2"), person("p1")],
            [person("p1"), person("p2", first=0.5)],
            [person("p1"), PersonOnPage("p2", crops_of(3), 0.0, 1.0)],
        ],
    )
    def test_other_people_are_another_page(self, tmp_path: Path, other: list[PersonOnPage]) -> None:
        one, two = stage(tmp_path / "a", [person("p1"), person("p2")]), stage(tmp_path / "b", other)
        assert data_of(one)["page"] != data_of(two)["page"]

    def test_the_tracks_beside_it_carry_its_hash(self, tmp_path: Path) -> None:
        page = stage(tmp_path, [person("p1", frames=[3, 4])])
        assert read_tracks(tmp_path).page == data_of(page)["page"]
        assert f'content="{data_of(page)["page"]}"' in page.read_text(encoding="utf-8")


class TestWhatItSays:
    @pytest.mark.parametrize(
        ("model_type", "calibrated", "said"),
        [("random", True, ["Random weights."]), ("onnx", False, ["Not calibrated."]), ("onnx", True, [])],
    )
    def test_scores_that_cannot_be_trusted_are_called_so(
        self, tmp_path: Path, model_type: str, calibrated: bool, said: list[str]
    ) -> None:
        notes = PageNotes("t", "m", model_type, "f", 0.7, calibrated)
        text = Tags(stage(tmp_path, [person("p1")], notes=notes)).text
        assert [word for word in ("Random weights.", "Not calibrated.") if word in text] == said

    def test_scores_come_to_it_to_four_places_and_unknown_ones_as_unknown(self, tmp_path: Path) -> None:
        scores = similarity(3, {(0, 1): 0.70005, (1, 2): np.nan, (0, 2): -0.5})
        people = [person(name) for name in ("a", "b", "c")]
        page = write_person_page(tmp_path, people, similarity=scores, notes=NOTES)
        steps = np.frombuffer(base64.b64decode(data_of(page)["similarity"]), "<i2").reshape(3, 3)
        assert steps[0, 1] in {7000, 7001} and steps[0, 2] == -5000 and steps[1, 2] == -32768 and steps[0, 0] == 10000

    def test_times_and_qualities_nobody_knows_are_null(self, tmp_path: Path) -> None:
        unknown = PersonOnPage("p1", crops_of(1), None, float("nan"), quality=float("inf"))
        (card,) = data_of(stage(tmp_path, [unknown]))["people"]
        assert (card["first"], card["last"], card["quality"], card["frames"]) == (None, None, None, None)

    def test_a_card_knows_all_cameras_and_how_often_and_how_long_somebody_was_there(self, tmp_path: Path) -> None:
        both = person("a", frames=[1, 2, 3], row_cameras=["hall", "gate", "gate"], visits=2, seconds=0.25)
        first, second = data_of(stage(tmp_path, [both, person("b")]))["people"]
        assert (first["cameras"], first["visits"], first["seconds"]) == (["hall", "gate"], 2, 0.25)
        assert (second["cameras"], second["visits"], second["seconds"]) == ([], None, None)

    def test_the_tracks_beside_it_know_the_camera_of_each_row(self, tmp_path: Path) -> None:
        both = person("a", frames=[7, 3], row_cameras=["hall", "gate"])
        stage(tmp_path, [both, person("b", frames=[5], camera="hall"), person("c", frames=[6])])
        kept = read_tracks(tmp_path)
        named = {who: [kept.cameras[place] for place in track.cameras] for who, track in kept.tracks.items()}
        assert named == {"a": ["hall", "gate"], "b": ["hall"], "c": [""]}

    def test_nobody_at_all_is_a_page_too(self, tmp_path: Path) -> None:
        data = data_of(stage(tmp_path, []))
        assert data["people"] == [] and data["similarity"] == "" and data["together"] == []


class TestTogether:
    def test_it_counts_the_frames_two_people_share(self) -> None:
        people = [person("a", frames=[1, 2, 3, 4]), person("b", frames=[4, 3, 9]), person("c", frames=[5]), person("d")]
        assert seen_together(people) == [(0, 1, 2)]

    def test_frames_of_two_cameras_are_not_the_same_frame(self) -> None:
        assert seen_together([person("a", frames=[1], camera="x"), person("b", frames=[1], camera="y")]) == []

    def test_somebody_seen_by_two_cameras_meets_only_whom_the_same_camera_sees(self) -> None:
        both = person("a", frames=[1, 2, 2, 3], row_cameras=["x", "x", "y", "y"])
        gate, hall = person("b", frames=[2, 3], camera="x"), person("c", frames=[2, 3, 4], camera="y")
        assert seen_together([both, gate, hall]) == [(0, 1, 1), (0, 2, 2)]

    def test_a_frame_counted_twice_for_one_person_counts_once(self) -> None:
        assert seen_together([person("a", frames=[1, 1, 1]), person("b", frames=[1, 1])]) == [(0, 1, 1)]

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.lists(st.tuples(st.integers(0, 12), st.sampled_from("xy")), max_size=8), max_size=6))
    def test_it_agrees_with_sets(self, drawn: list[list[tuple[int, str]]]) -> None:
        people = [
            person(str(n), frames=[frame for frame, _ in rows], row_cameras=[camera for _, camera in rows])
            for n, rows in enumerate(drawn)
        ]
        expected = [
            (i, j, len(set(drawn[i]) & set(drawn[j])))
            for i, j in combinations(range(len(drawn)), 2)
            if set(drawn[i]) & set(drawn[j])
        ]
        assert seen_together(people) == expected


class TestNotes:
    def test_the_number_of_cameras_is_told_where_there_are_several(self, tmp_path: Path) -> None:
        people = [person("a", frames=[1, 1], row_cameras=["x", "y"]), person("b", camera="x")]
        assert "<dt>cameras</dt><dd>2</dd>" in stage(tmp_path, people).read_text(encoding="utf-8")
        assert "<dt>cameras</dt>" not in stage(tmp_path, people[1:]).read_text(encoding="utf-8")

    def test_a_remark_is_text(self, tmp_path: Path) -> None:
        notes = PageNotes("t", "m", "onnx", "f", 0.7, True, remark=EVIL)
        assert EVIL in Tags(stage(tmp_path, [person("p1")], notes=notes)).text


class TestFileNames:
    def test_plain_ids_keep_their_names(self) -> None:
        assert file_names(["0", "p3", "anna-maria_2"]) == ["person_0", "person_p3", "person_anna-maria_2"]

    def test_no_id_leaves_the_folder_or_needs_an_odd_letter(self) -> None:
        ids = [
            "../../etc/passwd",
            "a/b",
            "a\\b",
            "C:x",
            "😀",
            "",
            ".",
            "..",
            "nul\0",
            "x" * 10_000,
            "\udc80",
            "a b",
            EVIL,
        ]
        names = file_names(ids)
        assert all(re.fullmatch(r"person_[a-z0-9_~-]{1,60}", name) for name in names)
        assert len(set(names)) == len(ids)

    def test_ids_that_differ_in_capitals_only_are_two_files_everywhere(self) -> None:
        assert len({name.lower() for name in file_names(["p3", "P3", "É", "é"])}) == 4

    def test_an_id_cannot_pass_itself_off_as_the_name_of_another(self) -> None:
        (name,) = file_names(["P3"])
        assert file_names([name.removeprefix("person_")]) != [name]


class TestBadInput:
    def test_two_people_of_one_id_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="same person_id"):
            stage(tmp_path, [person("p1"), person("p1")])

    def test_a_similarity_of_other_people_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"2 people with a similarity of shape \(3, 3\)"):
            write_person_page(tmp_path, [person("p1"), person("p2")], similarity=similarity(3), notes=NOTES)

    def test_boxes_of_another_length_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"person 'p1': 2 frames with an array of shape \(3, 4\)"):
            person("p1", frames=[1, 2], boxes_xyxy=np.zeros((3, 4), np.float32))

    def test_a_threshold_that_is_no_number_is_refused(self) -> None:
        with pytest.raises(ValueError, match="threshold of a page is nan"):
            PageNotes("t", "m", "onnx", "f", float("nan"), True)

    def test_a_broken_crop_is_named_by_its_person(self, tmp_path: Path) -> None:
        broken = PersonOnPage("p7", (np.zeros((0, 3, 3), np.uint8),), None, None)
        with pytest.raises(ImageError, match=r"^person 'p7': a crop for the page is"):
            stage(tmp_path, [broken])
        assert not (tmp_path / "person_selection.html").exists()

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "taken").touch()
        with pytest.raises(OutputError, match=r"^cannot write .*taken/webp: "):
            stage(tmp_path / "taken", [person("p1")])

    def test_somebody_without_a_crop_has_a_card_without_a_picture(self, tmp_path: Path) -> None:
        (card,) = data_of(stage(tmp_path, [PersonOnPage("p1", (), 0.0, 1.0)]))["people"]
        assert "clip" not in card and list((tmp_path / "webp").iterdir()) == []
