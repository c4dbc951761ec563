from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import SourceError
from sightline.tracking.precomputed import read_detections

MOT = """\
2,-1,10,20,30,40,0.5,-1,-1,-1

1,-1,1.5,2,3,4,0.9,-1,-1,-1
2,-1,0,0,5,5,0.7,-1,-1,-1
"""


def mot(folder: Path, text: str = MOT) -> Path:
    path = folder / "det.txt"
    path.write_text(text, encoding="utf-8")
    return path


def as_json(folder: Path, rows: object) -> Path:
    path = folder / "boxes.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def as_npz(folder: Path, **arrays: object) -> Path:
    path = folder / "boxes.npz"
    np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})
    return path


class TestReading:
    def test_mot_counts_from_1_and_gives_sizes(self, tmp_path: Path) -> None:
        found = read_detections(mot(tmp_path))
        assert len(found) == 3
        assert found.frame_count == 2
        assert found.at(0).boxes_xyxy.tolist() == [[1.5, 2, 4.5, 6]]
        assert found.at(1).boxes_xyxy.tolist() == [[0, 0, 5, 5], [10, 20, 40, 60]]  # the surer one first
        assert found.at(1).scores.tolist() == pytest.approx([0.7, 0.5])
        assert found.classes == ("person",)

    def test_boxes_that_leave_the_picture_are_kept_as_the_file_has_them(self, tmp_path: Path) -> None:
        assert read_detections(mot(tmp_path, "1,-1,-20,-5,30,40,1\n")).at(0).boxes_xyxy.tolist() == [[-20, -5, 10, 35]]

    @pytest.mark.parametrize("frame", [-1, 2, 10**12])
    def test_a_frame_without_boxes_has_none(self, frame: int, tmp_path: Path) -> None:
        assert len(read_detections(mot(tmp_path)).at(frame)) == 0

    def test_json_and_npz_count_from_0_and_give_corners(self, tmp_path: Path) -> None:
        rows = [{"frame": 3, "box": [1, 2, 3, 4], "score": 0.25, "class": 2}, {"frame": 0, "box": [0, 0, 5.5, 5]}]
        arrays = {"frames": [3, 0], "boxes": [[1, 2, 3, 4], [0, 0, 5.5, 5]], "scores": [0.25, 1], "classes": [2, 0]}
        for path in (as_json(tmp_path, rows), as_npz(tmp_path, **arrays)):
            found = read_detections(path)
            assert found.at(3).boxes_xyxy.tolist() == [[1, 2, 3, 4]]
            assert found.at(3).classes.tolist() == [2]
            assert found.at(3).scores.tolist() == [0.25]
            assert found.at(0).boxes_xyxy.tolist() == [[0, 0, 5.5, 5]]
            assert found.at(0).scores.tolist() == [1]
            assert found.classes == ("0", "1", "2")

    def test_a_file_that_scores_nothing_is_sure_of_everything(self, tmp_path: Path) -> None:
        assert read_detections(mot(tmp_path, "1,3,1,1,5,5,-1,-1,-1,-1\n")).at(0).scores.tolist() == [1]
        assert read_detections(mot(tmp_path, "1,3,1,1,5,5\n")).at(0).scores.tolist() == [1]

    @pytest.mark.parametrize("text", ["", "\n\n"])
    def test_nobody_at_all_is_no_error(self, text: str, tmp_path: Path) -> None:
        assert read_detections(mot(tmp_path, text)).frame_count == 0
        assert len(read_detections(as_json(tmp_path, [])).at(0)) == 0
        assert len(read_detections(as_npz(tmp_path, frames=np.empty(0), boxes=np.empty((0, 4)))).at(0)) == 0

    def test_the_published_tracks_are_read_whole(self, shared: Path) -> None:
        path = shared / "real/mot/py-motmetrics/TUD-Campus/gt.txt"
        lines = [line.split(",") for line in path.read_text().splitlines() if line.strip()]
        found = read_detections(path)
        assert len(found) == len(lines) == 359
        for frame in (0, 35, 70):
            wanted = sorted(float(line[2]) for line in lines if int(line[0]) == frame + 1)
            assert sorted(found.at(frame).boxes_xyxy[:, 0].tolist()) == pytest.approx(wanted)


class TestReplaying:
    def test_each_picture_gets_the_boxes_of_the_next_frame_cut_at_its_edge(self, tmp_path: Path) -> None:
        image = np.zeros((30, 20, 3), np.uint8)
        with read_detections(mot(tmp_path)) as detector:
            first, second = detector.detect([image, image])
            assert first.boxes_xyxy.tolist() == [[1.5, 2, 4.5, 6]]
            assert second.boxes_xyxy.tolist() == [[0, 0, 5, 5], [10, 20, 20, 30]]
            assert len(detector.detect([image])[0]) == 0

    def test_a_video_may_be_gone_on_with(self, tmp_path: Path) -> None:
        image = np.zeros((30, 20, 3), np.uint8)
        detector = read_detections(mot(tmp_path))
        detector.seek(1)
        assert len(detector.detect([image])[0]) == 2


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_detections(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("frame,id\n", "expected lines of frame,id,left,top,width,height,score"),
            ("1,-1,1,1,5\n", "5 values a line"),
            ("1,-1,1,1,5,5,1\n1,-1,1,1,5,5\n", "number of columns changed"),
            ("0,-1,1,1,5,5,1\n", "comes before the first"),
            ("1.5,-1,1,1,5,5,1\n", "no whole number"),
            ("1,-1,1,1,5,5,1\n1,-1,nan,1,5,5,1\n", "box 2 of 2: its box is not four numbers"),
            ("1,-1,1,1,-5,5,1\n", "negative size"),
            ("1,-1,1,1,5,5,inf\n", "score is no number"),
            ("1e300,-1,1,1,5,5,1\n", "no whole number"),
        ],
    )
    def test_a_line_that_is_no_box_is_told(self, text: str, why: str, tmp_path: Path) -> None:
        assert why in refusal(mot(tmp_path, text))

    @pytest.mark.parametrize(
        "row",
        [
            7,
            {"frame": 0},
            {"frame": 0, "box": [1, 2, 3]},
            {"frame": "0", "box": [1, 2, 3, 4]},
            {"frame": True, "box": [1, 2, 3, 4]},
            {"frame": 0, "box": 5},
            {"frame": 0, "box": [1, 2, 3, None]},
            {"frame": 10**400, "box": [1, 2, 3, 4]},
        ],
    )
    def test_an_item_that_is_no_box_is_told(self, row: object, tmp_path: Path) -> None:
        assert "item 1 is " in refusal(as_json(tmp_path, [{"frame": 0, "box": [1, 2, 3, 4]}, row]))

    @pytest.mark.parametrize("text", ["", "{", "{}", "[" * 100_000, "[1,]"])
    def test_what_is_no_list_is_told(self, text: str, tmp_path: Path) -> None:
        path = tmp_path / "boxes.json"
        path.write_text(text)
        assert "JSON" in refusal(path) or "expected a list" in refusal(path)

    def test_arrays_that_do_not_go_together_are_told(self, tmp_path: Path) -> None:
        assert "no array boxes" in refusal(as_npz(tmp_path, frames=[1]))
        assert "expected numbers (2,)" in refusal(as_npz(tmp_path, frames=[1, 2], boxes=np.ones((2, 4)), scores=[1.0]))
        assert "expected numbers (1, 4)" in refusal(as_npz(tmp_path, frames=[1], boxes=np.ones(4)))
        assert "frames is <U1" in refusal(as_npz(tmp_path, frames=["a"], boxes=np.ones((1, 4))))

    def test_an_archive_that_would_run_code_is_not_opened(self, tmp_path: Path) -> None:
        path = as_npz(tmp_path, frames=np.array([print], dtype=object), boxes=np.ones((1, 4)))
        assert "plain numbers" in refusal(path)

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x93NUMPY"])
    def test_a_damaged_archive_is_told(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "boxes.npz"
        path.write_bytes(content)
        assert "damaged" in refusal(path)

    def test_a_cut_off_archive_is_told(self, tmp_path: Path) -> None:
        path = as_npz(tmp_path, frames=np.arange(500), boxes=np.ones((500, 4)))
        path.write_bytes(path.read_bytes()[:-300])
        assert "damaged" in refusal(path)

    def test_what_is_no_text_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "det.txt").write_bytes(b"\xff\xfe1,2")
        assert "not text" in refusal(tmp_path / "det.txt")

    def test_other_names_and_nothing_at_all_are_told(self, tmp_path: Path) -> None:
        assert "read from .txt, .csv, .json, .npz" in refusal(tmp_path / "boxes.xml")
        assert "is no file" in refusal(tmp_path / "none.txt")
        (tmp_path / "folder.json").mkdir()
        assert "is no file" in refusal(tmp_path / "folder.json")
