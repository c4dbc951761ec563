from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from running import error_line, sightline

from sightline.cli import main
from sightline.viewer.page import PageNotes, PersonOnPage, write_person_page

Capture = pytest.CaptureFixture[str]


def person(person_id: str, frames: list[int] | None, confidence: float = 0.5) -> PersonOnPage:
    """Every box of a person holds the confidence, so that one can see whose it is."""
    if frames is None:
        return PersonOnPage(person_id, (), None, None)
    boxes = np.full((len(frames), 4), confidence, np.float32)
    return PersonOnPage(person_id, (), 0.0, 1.0, np.array(frames), boxes, boxes[:, 0])


@pytest.fixture
def page(tmp_path: Path) -> Path:
    people = [
        person("p1", [5, 6, 7], 0.25),
        person("p3", [1, 2, 3], 0.5),
        person("p7", [3, 4], 0.75),
        person("unseen", None),
        person("Doe, Jane", [9]),
    ]
    scores = np.eye(5, dtype=np.float32)
    notes = PageNotes("t", "m", "onnx", "f", 0.7, True)
    return write_person_page(tmp_path / "viewer", people, similarity=scores, notes=notes)


def chosen(folder: Path) -> dict[str, object]:
    content = json.loads((folder / "selection.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def rows(path: Path) -> list[tuple[int, float, float]]:
    """Frame, confidence and the last edge of the box, row by row; the arrays must be those that were promised."""
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive) == {"frame_numbers", "bboxes", "confidences"}
        assert archive["bboxes"].shape == (len(archive["frame_numbers"]), 4)
        columns = (archive["frame_numbers"], archive["confidences"], archive["bboxes"][:, 3])
        return list(zip(*(column.tolist() for column in columns), strict=True))


class TestWriting:
    @pytest.mark.parametrize("given", ["page", "folder"])
    def test_it_writes_the_choice_and_the_tracks_beside_the_page(self, page: Path, given: str, capsys: Capture) -> None:
        assert main(["select", str(page if given == "page" else page.parent), "--persons", "p3,p7"]) == 0
        assert chosen(page.parent)["selected"] == ["p3", "p7"]
        assert rows(page.parent / "selected_person.npz") == [(1, 0.5, 0.5), (2, 0.5, 0.5), (3, 0.5, 0.5)]
        assert rows(page.parent / "final_tracklet.npz") == [
            (1, 0.5, 0.5),
            (2, 0.5, 0.5),
            (3, 0.75, 0.75),  # both were seen there, p7 with more confidence
            (4, 0.75, 0.75),
        ]
        out = capsys.readouterr().out
        assert "selection.json: 2 selected of 5" in out and "final_tracklet.npz: 4 frames, 1 to 4" in out

    def test_it_writes_where_it_is_told_to(self, page: Path, tmp_path: Path) -> None:
        assert main(["select", str(page), "--persons", "p1", "-o", str(tmp_path / "a" / "b"), "-q"]) == 0
        written = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
        assert written == ["final_tracklet.npz", "selected_person.npz", "selection.json"]
        assert not (page.parent / "selection.json").exists()

    def test_a_choice_written_once_is_read_and_written_the_same_again(self, page: Path, tmp_path: Path) -> None:
        main(["select", str(page), "--persons", "p7,p1", "-q"])
        first = (page.parent / "selection.json").read_bytes()
        selection = str(page.parent / "selection.json")
        assert main(["select", str(page), "--selection", selection, "-o", str(tmp_path), "-q"]) == 0
        assert (tmp_path / "selection.json").read_bytes() == first
        for name in ("selected_person.npz", "final_tracklet.npz"):
            assert (tmp_path / name).read_bytes() == (page.parent / name).read_bytes()

    def test_merged_people_are_one_track(self, page: Path, tmp_path: Path) -> None:
        main(["select", str(page), "--persons", "p3", "-q"])
        content = chosen(page.parent)
        history = [{"action": "merge", "persons": ["p1", "p3"]}, {"action": "select", "persons": ["p1"]}]
        content.update(selected=["p1"], merges=[["p1", "p3"]], history=history)
        (tmp_path / "s.json").write_text(json.dumps(content), encoding="utf-8")
        assert main(["select", str(page), "--selection", str(tmp_path / "s.json"), "--persons", "p7,p3", "-q"]) == 0
        assert chosen(page.parent)["selected"] == ["p1", "p7"]
        assert [row[0] for row in rows(page.parent / "selected_person.npz")] == [1, 2, 3, 5, 6, 7]
        assert [row[0] for row in rows(page.parent / "final_tracklet.npz")] == [1, 2, 3, 4, 5, 6, 7]

    def test_an_id_with_a_comma_is_given_alone(self, page: Path) -> None:
        assert main(["select", str(page), "--persons", "Doe, Jane", "--persons", "p1", "-q"]) == 0
        assert chosen(page.parent)["selected"] == ["Doe, Jane", "p1"]

    def test_without_a_track_the_choice_is_written_and_older_tracks_are_gone(self, page: Path, capsys: Capture) -> None:
        main(["select", str(page), "--persons", "p1", "-q"])
        assert main(["select", str(page), "--persons", "unseen", "-q"]) == 3
        assert "selected_person.npz is not written: the page was made without frames" in capsys.readouterr().err
        assert chosen(page.parent)["selected"] == ["unseen"] and not list(page.parent.glob("*_*.npz"))

    def test_the_same_choice_is_the_same_bytes(self, page: Path, tmp_path: Path) -> None:
        for name in "ab":
            main(["select", str(page), "--persons", "p1,p3", "-o", str(tmp_path / name), "-q"])
        for path in (tmp_path / "a").iterdir():
            assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.fixture
def two_cameras(tmp_path: Path) -> Path:
    """p1 was seen by both in one frame number, p2 at the gate only."""
    confidences = np.array([0.25, 0.25, 0.75], np.float32)
    boxes = np.repeat(confidences[:, None], 4, axis=1)
    seen = PersonOnPage(
        "p1", (), 0.0, 1.0, np.array([5, 6, 5]), boxes, confidences, row_cameras=["gate", "gate", "Hall / 1"]
    )
    other = replace(person("p2", [6, 7]), camera="gate")
    notes = PageNotes("t", "m", "onnx", "f", 0.7, True)
    folder = tmp_path / "people"
    return write_person_page(folder, [seen, other], similarity=np.eye(2, dtype=np.float32), notes=notes)


def camera_named_in(path: Path) -> str:
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive) == {"frame_numbers", "bboxes", "confidences", "camera"}
        return str(archive["camera"])


class TestSeveralCameras:
    def test_each_camera_that_saw_the_selected_has_files_of_its_own(self, two_cameras: Path, capsys: Capture) -> None:
        assert main(["select", str(two_cameras), "--persons", "p1,p2"]) == 0
        out = two_cameras.parent
        (hall,) = (path for path in (out / "cameras").iterdir() if path.name != "gate")
        frames = {
            (path.parent.name, path.stem): np.load(path)["frame_numbers"].tolist()
            for path in out.glob("cameras/*/*.npz")
        }
        assert frames == {
            ("gate", "selected_person"): [5, 6],
            (hall.name, "selected_person"): [5],
            ("gate", "final_tracklet"): [5, 6, 7],
            (hall.name, "final_tracklet"): [5],
        }
        assert camera_named_in(hall / "final_tracklet.npz") == "Hall / 1"
        assert camera_named_in(out / "cameras" / "gate" / "final_tracklet.npz") == "gate"
        assert not (out / "selected_person.npz").exists() and not (out / "final_tracklet.npz").exists()
        assert "final_tracklet.npz: 3 frames of gate, 5 to 7" in capsys.readouterr().out

    def test_somebody_seen_by_one_of_them_is_one_file_that_names_it(self, two_cameras: Path) -> None:
        main(["select", str(two_cameras), "--persons", "p1", "-q"])
        assert main(["select", str(two_cameras), "--persons", "p2", "-q"]) == 0
        assert camera_named_in(two_cameras.parent / "selected_person.npz") == "gate"
        assert not list(two_cameras.parent.glob("cameras/*/*"))  # those of the choice before are gone

    def test_a_page_of_an_earlier_version_still_opens(self, page: Path) -> None:
        path = page.parent / "tracks.npz"
        with np.load(path) as archive:
            content = {name: archive[name] for name in archive if name != "cameras"}
        meta = json.loads(str(content.pop("meta")))
        del meta["cameras"]
        np.savez(path, meta=np.array(json.dumps(meta)), **content)
        assert main(["select", str(page), "--persons", "p3,p7", "-q"]) == 0
        assert [row[0] for row in rows(page.parent / "final_tracklet.npz")] == [1, 2, 3, 4]


class TestRefusing:
    def refused(self, capsys: Capture, *arguments: str | Path) -> str:
        assert main(["select", *map(str, arguments)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        return error_line(captured.err)

    def test_somebody_unknown_is_named_with_the_nearest_and_nothing_is_written(
        self, page: Path, capsys: Capture
    ) -> None:
        told = self.refused(capsys, page, "--persons", "p3,p77")
        assert told == "no person 'p77' on the page; the nearest of its 5 is 'p7'"
        assert not (page.parent / "selection.json").exists()

    def test_nobody_named_is_refused(self, page: Path, capsys: Capture) -> None:
        assert "name people with --persons" in self.refused(capsys, page)
        assert "nobody is selected" in self.refused(capsys, page, "--persons", ",")

    def test_a_folder_without_a_page_is_refused(self, tmp_path: Path, capsys: Capture) -> None:
        assert "person_selection.html cannot be read: No such file" in self.refused(capsys, tmp_path, "--persons", "a")
        assert "none.html cannot be read" in self.refused(capsys, tmp_path / "none.html", "--persons", "a")

    def test_another_page_is_refused(self, page: Path, capsys: Capture) -> None:
        page.write_text("<html></html>", encoding="utf-8")
        assert "is no page of `sightline cluster`" in self.refused(capsys, page, "--persons", "p1")

    def test_a_page_without_its_tracks_is_refused(self, page: Path, capsys: Capture) -> None:
        (page.parent / "tracks.npz").unlink()
        assert "has no tracks.npz" in self.refused(capsys, page, "--persons", "p1")

    def test_tracks_of_another_run_are_refused(self, page: Path, tmp_path: Path, capsys: Capture) -> None:
        notes = PageNotes("another", "m", "onnx", "f", 0.7, True)
        other = write_person_page(
            tmp_path / "o", [person("p1", [1])], similarity=np.eye(1, dtype=np.float32), notes=notes
        )
        (page.parent / "tracks.npz").write_bytes((other.parent / "tracks.npz").read_bytes())
        assert "belongs to another page" in self.refused(capsys, page, "--persons", "p1")

    def test_a_choice_of_another_page_is_refused(self, page: Path, tmp_path: Path, capsys: Capture) -> None:
        main(["select", str(page), "--persons", "p1", "-q"])
        content = {**chosen(page.parent), "page": "0" * 64}
        (tmp_path / "s.json").write_text(json.dumps(content), encoding="utf-8")
        assert "was chosen on another page" in self.refused(capsys, page, "--selection", tmp_path / "s.json")

    def test_a_place_that_cannot_be_written_is_named(self, page: Path, tmp_path: Path, capsys: Capture) -> None:
        (tmp_path / "taken").touch()
        assert "cannot write" in self.refused(capsys, page, "--persons", "p1", "-o", tmp_path / "taken")

    def test_a_stranger_gets_one_line_and_a_help(self, page: Path) -> None:
        ran = sightline("select", page.parent, "--persons", "nobody")
        assert ran.returncode == 1 and "no person 'nobody'" in error_line(ran.stderr)
        assert "--selection FILE" in sightline("select", "--help").stdout
