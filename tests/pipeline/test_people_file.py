"""What is made of the visits: the tracks that others score, and the file of who was seen when."""

from __future__ import annotations

import json
import logging
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kept_visits import FPS, visit
from sightline.cli import main
from sightline.errors import OutputError
from sightline.pipeline.people import people_file
from sightline.pipeline.people.people_file import VisitFacts, best_crops, write_people, write_tracks
from sightline.pipeline.people.visits import Decision, Visit
from sightline.pipeline.people.visits_folder import keep_visit
from sightline.tracking.mot_files import read_mot

START_S = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
STARTS_S = {"gate": START_S, "hall": START_S + 3600}


def kept(out: Path, *visits: Visit) -> Path:
    for one in visits:
        keep_visit(out, one)
    return out


def known(identity: str | None, score: float | None = 0.81234) -> Decision:
    return Decision("unknown" if identity is None else "matched", identity, f"it is {identity}", score=score)


def people(out: Path, decisions: dict[tuple[str, int], Decision], **starts_s: float) -> dict[str, Any]:
    content = json.loads(write_people(out, decisions, starts_s=starts_s or STARTS_S).read_text(encoding="utf-8"))
    assert isinstance(content, dict) and content["format"] == 1
    return content


class TestPeople:
    def test_somebody_is_there_once_with_all_visits_in_order_of_time(self, tmp_path: Path) -> None:
        kept(tmp_path, visit(2, frames=range(5, 9)), visit(3, frames=[50, 51]), visit(1, "hall", frames=[0, 20]))
        everybody = {("gate", 2): known("person-1"), ("gate", 3): known("person-1"), ("hall", 1): known("person-1")}
        (person,) = people(tmp_path, everybody)["people"]
        assert [(one["camera"], one["number"]) for one in person["visits"]] == [("gate", 2), ("gate", 3), ("hall", 1)]
        assert person["cameras"] == ["gate", "hall"] and person["identity"] == "person-1"
        assert person["seconds"] == pytest.approx(3 / FPS + 1 / FPS + 20 / FPS)
        assert (person["firstSeen"], person["lastSeen"]) == ("2023-11-14T22:13:20.500Z", "2023-11-14T23:13:22.000Z")

    def test_a_visit_says_when_how_well_and_why(self, tmp_path: Path) -> None:
        kept(tmp_path, visit(7, frames=range(12, 16), crops=(12, 15), quality=0.51239))
        (one,) = people(tmp_path, {("gate", 7): known("person-4")})["people"][0]["visits"]
        assert one == {
            "camera": "gate",
            "number": 7,
            "firstSeen": "2023-11-14T22:13:21.200Z",
            "lastSeen": "2023-11-14T22:13:21.500Z",
            "firstSeenSeconds": 1.2,
            "lastSeenSeconds": 1.5,
            "frames": 4,
            "quality": 0.5124,
            "crop": "visits/gate/000007/000015.jpg",  # its box is the largest
            "verdict": "matched",
            "score": 0.8123,
            "reason": "it is person-4",
        }
        assert (tmp_path / one["crop"]).is_file()

    def test_whoever_was_seen_longest_comes_first(self, tmp_path: Path) -> None:
        kept(tmp_path, visit(1, frames=[1, 5]), visit(2, frames=[1, 9]), visit(3, frames=[20, 25]))
        decisions = {("gate", 1): known("a"), ("gate", 2): known("b"), ("gate", 3): known("a")}
        assert [one["identity"] for one in people(tmp_path, decisions)["people"]] == ["a", "b"]  # 0.9 s and 0.8 s

    def test_the_best_crop_is_of_the_visit_of_the_best_quality_that_has_one(self, tmp_path: Path) -> None:
        kept(tmp_path, visit(1, quality=0.4), visit(2, quality=0.6), visit(3, quality=0.9, crops=()))
        decisions = {("gate", number): known("a") for number in (1, 2, 3)}
        assert people(tmp_path, decisions)["people"][0]["bestCrop"] == "visits/gate/000002/000013.jpg"

    def test_visits_of_nobody_are_apart_and_so_are_those_nobody_decided(self, tmp_path: Path) -> None:
        kept(tmp_path, visit(1), visit(2, vector=None, crops=()), visit(3))
        content = people(tmp_path, {("gate", 1): known("a"), ("gate", 2): known(None, None)})
        assert [one["identity"] for one in content["people"]] == ["a"]
        assert [(one["number"], one["verdict"], one["score"], one["crop"]) for one in content["unknown"]] == [
            (2, "unknown", None, None),
            (3, None, None, "visits/gate/000003/000013.jpg"),
        ]

    def test_cameras_are_counted_also_those_nobody_came_to(self, tmp_path: Path) -> None:
        kept(tmp_path, visit(1), visit(2, frames=[30]), visit(3, crops=(), vector=None))
        content = people(tmp_path, {("gate", 1): known("a"), ("gate", 2): known("a"), ("gate", 3): known(None)})
        assert content["cameras"] == [
            {"camera": "gate", "visits": 3, "people": 1, "unknown": 1, "frames": 9},
            {"camera": "hall", "visits": 0, "people": 0, "unknown": 0, "frames": 0},
        ]

    def test_nobody_at_all_is_a_file_too(self, tmp_path: Path) -> None:
        content = people(tmp_path, {})
        assert content["people"] == content["unknown"] == []

    def test_names_are_any_text(self, tmp_path: Path) -> None:
        odd = 'Zoë "</script>" 王\udc80'
        kept(tmp_path, visit(1))
        assert people(tmp_path, {("gate", 1): known(odd)})["people"][0]["identity"].startswith('Zoë "</script>" 王')

    def test_the_same_visits_are_the_same_bytes(self, tmp_path: Path) -> None:
        for name, order in (("a", (1, 2)), ("b", (2, 1))):
            (tmp_path / name).mkdir()
            kept(tmp_path / name, *(visit(number) for number in order))
            people(tmp_path / name, {("gate", 1): known("x"), ("gate", 2): known("y")})
        assert (tmp_path / "a" / "people.json").read_bytes() == (tmp_path / "b" / "people.json").read_bytes()

    def test_a_place_that_is_not_there_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"people\.json: the folder does not exist"):
            write_people(tmp_path / "none", {}, starts_s={})

    def test_pictures_are_chosen_from_each_visit_before_a_second_of_any(self) -> None:
        def facts(number: int, quality: float, *frames: int) -> VisitFacts:
            return VisitFacts("gate", number, 0, 1, 0, 9, quality, frames, None)

        chosen = [crop.as_posix()[-17:-4] for crop in best_crops([facts(1, 0.2, 8, 7), facts(2, 0.9, 3, 2, 1)])]
        assert chosen == ["000002/000003", "000001/000008", "000002/000002", "000001/000007", "000002/000001"]


class TestTracks:
    def test_every_box_is_there_with_the_number_of_its_visit_and_frames_from_1(self, tmp_path: Path) -> None:
        kept(tmp_path, visit(1, frames=[0, 1]), visit(2, frames=[1, 2], left=9))
        path, _ = write_tracks(tmp_path, {}, cameras=["gate"])
        assert path == tmp_path / "tracks.csv"
        assert path.read_text(encoding="ascii").splitlines() == [
            "1,1,5,20,35,70,0.5,-1,-1,-1",
            "2,1,6,20,36,70,0.9,-1,-1,-1",
            "2,2,9,20,39,70,0.5,-1,-1,-1",
            "3,2,10,20,40,70,0.9,-1,-1,-1",
        ]

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=9, unique=True), max_size=5), st.integers(1, 50))
    def test_however_they_are_cut_into_windows_they_are_all_there(
        self, tmp_path_factory: pytest.TempPathFactory, drawn: list[list[int]], window: int
    ) -> None:
        out = tmp_path_factory.mktemp("windows")
        kept(out, *(visit(n, frames=sorted(frames), crops=()) for n, frames in enumerate(drawn, 1)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(people_file, "WINDOW", window)
            path, _ = write_tracks(out, {}, cameras=["gate"])
        rows = read_mot(path)
        expected = sorted((frame + 1, n) for n, frames in enumerate(drawn, 1) for frame in frames)
        assert list(zip(rows.frames.tolist(), rows.ids.tolist(), strict=True)) == expected
        lines = path.read_text(encoding="ascii").splitlines()
        assert [tuple(map(int, line.split(",")[:2])) for line in lines] == expected
        assert not list(out.glob(".*"))

    def test_in_identities_csv_everybody_has_one_id_over_all_visits_and_cameras(self, tmp_path: Path) -> None:
        kept(tmp_path, visit(1, frames=[0]), visit(2, frames=[5]), visit(3, frames=[6]), visit(1, "hall", frames=[9]))
        decisions = {("gate", 1): known("person-7"), ("gate", 2): known(None), ("gate", 3): known("Anna")}
        decisions["hall", 1] = known("person-7")
        write_tracks(tmp_path, decisions, cameras=["gate", "hall"])
        rows = {name: read_mot(tmp_path / "cameras" / name / "identities.csv") for name in ("gate", "hall")}
        # person-7 keeps her number, Anna comes above it, and the visit of nobody is somebody of its own.
        assert list(zip(rows["gate"].frames.tolist(), rows["gate"].ids.tolist(), strict=True)) == [
            (1, 7),
            (6, 9),
            (7, 8),
        ]
        assert rows["hall"].ids.tolist() == [7]

    def test_where_two_visits_of_one_person_touch_the_surer_box_stands(self, tmp_path: Path) -> None:
        kept(tmp_path, visit(1, frames=[0, 1]), visit(2, frames=[1, 2], left=50))
        _, path = write_tracks(tmp_path, {("gate", 1): known("a"), ("gate", 2): known("a")}, cameras=["gate"])
        rows = read_mot(path)
        assert rows.frames.tolist() == [1, 2, 3]
        assert rows.boxes_xyxy[1, 0] == 6  # of the first visit, whose second box scores 0.9 and not 0.5

    def test_several_cameras_have_a_folder_each_which_the_scoring_takes(self, tmp_path: Path, capsys: Any) -> None:
        kept(tmp_path, visit(1, "gate"), visit(1, "Hall 2", frames=[3, 4]))
        paths = write_tracks(tmp_path, {}, cameras=["gate", "Hall 2", "nobody came"])[::2]
        assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
            "cameras/gate/tracks.csv",
            "cameras/Hall 2/tracks.csv",
            "cameras/nobody came/tracks.csv",
        ]
        for path in paths:
            truth = tmp_path / "truth" / path.parent.name / "gt"
            truth.mkdir(parents=True)
            (truth / "gt.txt").write_bytes(path.read_bytes())
        scoring = ["eval", "--task", "mot", str(tmp_path / "truth"), str(tmp_path / "cameras"), "--json"]
        assert main(scoring) == 0
        clips = json.loads(capsys.readouterr().out)["clips"]
        assert set(clips) == {"gate", "Hall 2", "nobody came"} and clips["Hall 2"]["IDF1"] == 1.0

    def test_no_visit_is_an_empty_file(self, tmp_path: Path) -> None:
        path, _ = write_tracks(tmp_path, {}, cameras=["gate"])
        assert path.read_bytes() == b"" and len(read_mot(path)) == 0

    def test_a_damaged_visit_is_left_out(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        kept(tmp_path, visit(1), visit(2))
        (tmp_path / "visits" / "gate" / "000001" / "track.npz").write_bytes(b"")
        with caplog.at_level(logging.WARNING, logger="sightline"):
            path, _ = write_tracks(tmp_path, {}, cameras=["gate"])
        assert set(read_mot(path).ids.tolist()) == {2} and "000001 is damaged" in caplog.text

    def test_memory_does_not_grow_with_the_length_of_the_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(people_file, "WINDOW", 500)
        peaks = []
        for count in (8, 64):
            out = tmp_path / str(count)
            for number in range(1, count + 1):
                keep_visit(out, visit(number, frames=np.arange(400) + 400 * number, crops=(), vector=None))
            tracemalloc.start()
            write_tracks(out, {}, cameras=["gate"])
            write_people(out, {}, starts_s=STARTS_S)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.5 * peaks[0]
