"""MOT files: what each column means, what is written, and how a broken file is named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mot_clips import rows

from sightline.errors import ConfigError, OutputError
from sightline.tracking.mot_files import NO_CLASS, mot_rows, read_mot, write_mot

MOT15 = "1,2,282,201,92,184,1,-1,-1,-1\n"
MOT15_3D = "1,1,88,99,61.08,218.56,1,4.4852,5.5016,0\n"
MOT17 = "1,3,10,20,30,40,1,1,0.25\n2,3,11,20,30,40,0,7,1\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gt.txt"


class TestReading:
    def test_a_line_of_mot15_has_no_class(self, path: Path) -> None:
        path.write_text(MOT15)
        got = read_mot(path)
        assert (got.frames.tolist(), got.ids.tolist(), got.confidences.tolist()) == ([1], [2], [1])
        assert got.boxes_xyxy.tolist() == [[282, 201, 282 + 92, 201 + 184]]
        assert not got.has_classes and got.classes.tolist() == [NO_CLASS] and np.isnan(got.visible_shares).all()

    @pytest.mark.parametrize("line", [MOT15_3D, "1,1,88,99,61,218,1,4,5,0\n"])
    def test_a_place_in_the_world_is_not_taken_for_a_class(self, path: Path, line: str) -> None:
        path.write_text(line)
        assert not read_mot(path).has_classes

    def test_nine_columns_have_class_and_visibility(self, path: Path) -> None:
        path.write_text(MOT17)
        got = read_mot(path)
        assert got.classes.tolist() == [1, 7] and got.visible_shares.tolist() == [0.25, 1]
        assert got.confidences.tolist() == [1, 0]

    @pytest.mark.parametrize("line", ["1,1,0,0,5,5", "1,1,0,0,5,5,0.9", "1,1,0,0,5,5,0.9,-1", "1,1,0,0,5,5,-1,-1,-1"])
    def test_fewer_columns_are_taken_too(self, path: Path, line: str) -> None:
        path.write_text(line)
        got = read_mot(path)
        assert len(got) == 1 and not got.has_classes

    @pytest.mark.parametrize(
        "text", ["\ufeff" + MOT15, MOT15.replace("\n", "\r\n"), f"\n\n{MOT15}\n", " 1, 2,282,201,92,184,1,-1,-1,-1"]
    )
    def test_what_editors_do_to_a_file_does_no_harm(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8", newline="")
        assert read_mot(path).ids.tolist() == [2]

    def test_rows_come_by_frame_then_by_id(self, path: Path) -> None:
        path.write_text("2,1,0,0,1,1,1\n1,9,0,0,1,1,1\n1,2,0,0,1,1,1\n")
        got = read_mot(path)
        assert [*zip(got.frames.tolist(), got.ids.tolist(), strict=True)] == [(1, 2), (1, 9), (2, 1)]

    def test_an_empty_file_is_a_clip_with_nothing_in_it(self, path: Path) -> None:
        path.write_text("")
        assert len(read_mot(path)) == 0


class TestRefused:
    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("frame,id,left,top,width,height,conf", "'frame' is not a number; a MOT file has no header"),
            ("1,1,0,0,5", "5 values, but 7 on line 1"),
            ("1,1,0,0,5,5,1,1,1,1,1", "11 values, but 7 on line 1"),
            ("1,1,0,0,,5,1", "'' is not a number"),
            ("1,1,0,0,nan,5,1", "a value is not finite"),
            ("1,1,inf,0,5,5,1", "a value is not finite"),
            ("1.5,1,0,0,5,5,1", "frame and id must be whole numbers"),
            ("1,1e300,0,0,5,5,1", "frame and id must be whole numbers"),
            ("0,1,0,0,5,5,1", "frames count from 1; add 1 to every frame"),
            ("-3,1,0,0,5,5,1", "frames count from 1"),
            ("1,-1,0,0,5,5,1", "the id is below 0, as in a file of detections"),
            ("1,1,0,0,-5,5,1", "a box of negative size; expected left,top,width,height"),
            ("1,1,0,0,1e200,5,1", "no picture is that large"),
            ("3,8,1,1,5,5,1", "this id is in this frame already"),
            ('1,"1,0,0,5,5,1', "expected numbers with commas between"),
        ],
    )
    def test_the_line_is_named(self, path: Path, line: str, told: str) -> None:
        path.write_text(f"3,8,0,0,5,5,1\n\n{line}\n")
        with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}:3: .*{re.escape(told)}") as caught:
            read_mot(path)
        assert "\n" not in str(caught.value)

    def test_too_few_values_are_told_what_they_should_be(self, path: Path) -> None:
        path.write_text("1 2 3 4 5 6\n")
        with pytest.raises(
            ConfigError, match=r"gt.txt:1: 1 values; expected frame,id,left,top,width,height,confidence"
        ):
            read_mot(path)

    def test_bytes_that_are_no_text(self, path: Path) -> None:
        path.write_bytes(b"\x89PNG\r\n\xff\xfe")
        with pytest.raises(ConfigError, match="is not text"):
            read_mot(path)

    def test_a_file_that_is_not_there_and_a_folder(self, path: Path) -> None:
        for wrong in (path, path.parent):
            with pytest.raises(ConfigError, match="is no file; expected tracks as the MOTChallenge writes them"):
                read_mot(wrong)

    @given(st.binary(max_size=200))
    @settings(max_examples=100, deadline=None)
    def test_any_bytes_are_read_or_refused(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        path = tmp_path_factory.mktemp("bytes") / "gt.txt"
        path.write_bytes(content)
        try:
            read_mot(path)
        except ConfigError as exc:
            assert str(exc).startswith(str(path)) and "\n" not in str(exc)


class TestWriting:
    def test_results_have_ten_columns(self, path: Path) -> None:
        assert write_mot(path, rows((3, 7, 1.25, 2, 11.25, 22.004))) == path
        assert path.read_text() == "3,7,1.25,2,10,20,1,-1,-1,-1\n"

    def test_ground_truth_has_nine(self, path: Path) -> None:
        write_mot(path, rows((1, 2, 0, 0, 5, 5), confidences=[0], classes=[1], visible_shares=[0.12345]))
        assert path.read_text() == "1,2,0,0,5,5,0,1,0.1235\n"

    @pytest.mark.parametrize("text", [MOT15, MOT17])
    def test_what_is_written_reads_back_the_same(self, path: Path, text: str) -> None:
        path.write_text(text)
        before = read_mot(path)
        after = read_mot(write_mot(path, before))
        for name in ("frames", "ids", "boxes_xyxy", "confidences", "classes", "visible_shares"):
            assert np.array_equal(getattr(before, name), getattr(after, name), equal_nan=True), name
        assert path.read_text() == text

    def test_nothing_is_an_empty_file(self, path: Path) -> None:
        write_mot(path, rows())
        assert path.read_bytes() == b"" and len(read_mot(path)) == 0

    def test_a_place_that_cannot_be_written_is_one_error(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="the folder does not exist"):
            write_mot(tmp_path / "nowhere" / "a.txt", rows())


def test_what_is_left_out_is_filled_in() -> None:
    got = mot_rows(np.array([1]), np.array([4]), np.zeros((1, 4)))
    assert got.confidences.tolist() == [1] and got.classes.tolist() == [NO_CLASS] and np.isnan(got.visible_shares[0])
