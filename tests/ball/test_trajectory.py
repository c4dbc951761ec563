"""Trajectories as files of every kind in circulation, their gaps by the published rule, and their figures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.ball.trajectory import (
    columns_from,
    gaps,
    inpaint_mask,
    interpolate,
    read_trajectory,
    speeds_px_s,
    summarise,
    write_trajectory,
)
from sightline.errors import ConfigError, OutputError
from sightline.types import BallPoint

REAL = Path(__file__).resolve().parents[3] / "shared/real/ball"
POINTS = [
    BallPoint(0, True, 612.0, 300.0, 0.9375),
    BallPoint(1, False),
    BallPoint(2, True, 0.0, 0.0, 0.5),
    BallPoint(7, True, 1279.0, 719.0, 0.25, filled=True),
]


def seen(frame: int, x: float, y: float) -> BallPoint:
    return BallPoint(frame, True, x, y)


def clip(heights: list[float | None]) -> list[BallPoint]:
    """One point a frame; None where no ball is visible."""
    return [BallPoint(i, y is not None, 10.0 * i, y or 0.0) for i, y in enumerate(heights)]


class TestWriting:
    def test_a_file_reads_back_as_it_was(self, tmp_path: Path) -> None:
        assert read_trajectory(write_trajectory(tmp_path / "out.csv", POINTS)) == POINTS

    def test_its_lines_are_those_of_the_published_tools_and_two_columns_more(self, tmp_path: Path) -> None:
        write_trajectory(tmp_path / "out.csv", POINTS)
        assert (tmp_path / "out.csv").read_bytes().split(b"\n") == [
            b"Frame,Visibility,X,Y,Confidence,Inpaint",
            b"0,1,612,300,0.9375,0",
            b"1,0,0,0,0.0000,0",
            b"2,1,0,0,0.5000,0",
            b"7,1,1279,719,0.2500,1",
            b"",
        ]

    def test_a_coordinate_a_hair_below_a_pixel_is_that_pixel(self, tmp_path: Path) -> None:
        """Cutting instead of rounding moved 889 of 1919 columns of a 1080p video by one."""
        points = [seen(x, float(np.float32(x / 1920)) * 1920, 5.0) for x in range(1920)]
        assert [point.x for point in read_trajectory(write_trajectory(tmp_path / "a.csv", points))] == list(range(1920))

    def test_a_folder_that_is_not_there_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="create it first"):
            write_trajectory(tmp_path / "gone/out.csv", POINTS)

    def test_an_error_halfway_leaves_the_old_file(self, tmp_path: Path) -> None:
        def failing() -> object:
            yield POINTS[0]
            raise RuntimeError("the camera was unplugged")

        write_trajectory(tmp_path / "out.csv", POINTS)
        before = (tmp_path / "out.csv").read_bytes()
        with pytest.raises(RuntimeError):
            write_trajectory(tmp_path / "out.csv", failing())  # type: ignore[arg-type]
        assert (tmp_path / "out.csv").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def read(tmp_path: Path, text: str | bytes, **options: object) -> list[BallPoint]:
    data = text.encode() if isinstance(text, str) else text
    (tmp_path / "in.csv").write_bytes(data)
    return read_trajectory(tmp_path / "in.csv", **options)  # type: ignore[arg-type]


class TestFormats:
    def test_the_shuttlecock_dataset(self, tmp_path: Path) -> None:
        assert read(tmp_path, "Frame,Visibility,X,Y\n0,1,492,446\n1,0,0,0\n") == [
            seen(0, 492, 446),
            BallPoint(1, False),
        ]

    def test_shares_of_the_picture_with_minus_one_for_nowhere(self, tmp_path: Path) -> None:
        text = "Frame,Ball,x,y\n0,0,-1.000,-1.000\n1,1,0.500,0.250\n2,1,-1.000,-1.000\n"
        got = read(tmp_path, text, size_hw=(720, 1280))
        assert got == [BallPoint(0, False), seen(1, 640, 180), BallPoint(2, False)]

    def test_tennis_with_file_names_degrees_of_visibility_and_empty_places(self, tmp_path: Path) -> None:
        head = "file name,visibility,x-coordinate,y-coordinate,status\n"
        rows = "0000.jpg,1,599,423,0\n0001.jpg,0,,,\n0002.JPG,3,601,406,0\n"
        assert read(tmp_path, head + rows) == [seen(0, 599, 423), BallPoint(1, False), seen(2, 601, 406)]

    def test_columns_of_any_name(self, tmp_path: Path) -> None:
        names = columns_from("frame=n, visible=in sight,x=cx,y=cy")
        got = read(tmp_path, "cy,cx,n,X,in sight\n7,5,0,99,1.0\n0,0,1,99,0.0\n", columns=names)
        assert got == [seen(0, 5, 7), BallPoint(1, False)]

    def test_a_byte_order_mark_blank_lines_spaces_and_windows_line_ends(self, tmp_path: Path) -> None:
        got = read(tmp_path, "\ufeffFrame,Visibility, X ,Y\r\n\r\n0, 1 ,3,4\r\n")
        assert got == [seen(0, 3, 4)]

    def test_pixels_that_happen_to_lie_in_the_first_corner_stay_pixels(self, tmp_path: Path) -> None:
        assert read(tmp_path, "Frame,Visibility,X,Y\n0,1,1,0\n1,1,0,1\n") == [seen(0, 1, 0), seen(1, 0, 1)]

    def test_shares_can_be_said_to_be_pixels_and_the_other_way_round(self, tmp_path: Path) -> None:
        text = "Frame,Visibility,X,Y\n0,1,0.5,0.5\n"
        assert read(tmp_path, text, coordinates="pixels") == [seen(0, 0.5, 0.5)]
        whole = "Frame,Visibility,X,Y\n0,1,1,1\n"
        assert read(tmp_path, whole, coordinates="normalised", size_hw=(10, 20)) == [seen(0, 20, 10)]

    def test_shares_without_a_size_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="say its size"):
            read(tmp_path, "Frame,Ball,x,y\n0,1,0.5,0.5\n")

    @pytest.mark.skipif(not REAL.is_dir(), reason="the real clips are not here")
    def test_labels_of_real_clips(self) -> None:
        points = read_trajectory(REAL / "00039.csv", size_hw=(720, 1280))
        assert (len(points), sum(point.visible for point in points)) == (91, 83)
        assert points[0] == seen(0, 0.517 * 1280, 0.374 * 720)


class TestHostileFiles:
    HEAD = "Frame,Visibility,X,Y\n"

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "in.csv:1: no column for frame"),
            (HEAD, "has a header but no rows"),
            ("Frame;Visibility;X;Y\n0;1;2;3\n", "its columns are: Frame;Visibility;X;Y"),
            ("Frame,Visibility,X\n0,1,2\n", "no column for y"),
            ("Frame,Visibility,Ball,X,Y\n0,1,1,2,3\n", "2 columns could be visible"),
            (HEAD + "0,1,2\n", "in.csv:2: 3 values; expected 4"),
            (HEAD + "0,1,2,3,4\n", "in.csv:2: 5 values; expected 4"),
            (HEAD + "0,1,2,3\n1,1,here,3\n", "in.csv:3: x is 'here'; expected a number"),
            (HEAD + "0,1,nan,3\n", "x is 'nan'"),
            (HEAD + "0,1,2,1e400\n", "y is '1e400'"),
            (HEAD + "0,2.5e9,2,3\n", "visible is '2.5e9'; expected a number from 0 to 3"),
            (HEAD + "0,,2,3\n", "visible is ''"),
            (HEAD + "-1,1,2,3\n", "frame is '-1'"),
            (HEAD + "1.5,1,2,3\n", "frame is '1.5'"),
            (HEAD + "9" * 5000 + ",1,2,3\n", "frame is '999"),
            (HEAD + "٣,1,2,3\n", "frame is '٣'"),
            (HEAD + "4,1,2,3\n4,1,2,3\n", "in.csv:3: frame 4 after frame 4; expected each once, ascending"),
            (HEAD + "4,1,2,3\n3,1,2,3\n", "frame 3 after frame 4"),
            (HEAD + '0,"1,2,3\n', "in.csv:2"),
            (HEAD + "0,1,2," + "3" * 200_000 + "\n", "expected comma-separated values"),
            (HEAD + "0,1,2,\0\n", "in.csv:2"),
            ("Frame,Visibility,X,Y,Confidence\n0,1,2,3,7\n", "confidence is '7'; expected a number from 0 to 1"),
            (b"\xff\xfeF\0r\0", "not UTF-8"),
            (b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8"),
        ],
    )
    def test_each_is_one_line_that_says_where_and_what(self, tmp_path: Path, text: str | bytes, told: str) -> None:
        with pytest.raises(ConfigError) as caught:
            read(tmp_path, text)
        message = str(caught.value)
        assert told in message and message.startswith(str(tmp_path / "in.csv")), message
        assert "\n" not in message and len(message) < len(str(tmp_path)) + 400

    def test_what_is_no_file_is_not_waited_for(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "gone.csv", tmp_path / ("n" * 300)):
            with pytest.raises(ConfigError, match="is no file; expected a CSV of a trajectory"):
                read_trajectory(path)

    def test_a_column_the_user_names_must_be_there_to_the_letter(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"no column for x \(cx\)"):
            read(tmp_path, "Frame,Visibility,X,Y\n0,1,2,3\n", columns={"x": "cx"})

    @pytest.mark.parametrize("text", ["", "x", "x=", "z=a", "x=a,,y=b"])
    def test_a_map_of_columns_that_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="is not a list like x=cx,y=cy"):
            columns_from(text)


def mask_frame_by_frame(points: list[BallPoint], edge_y: float) -> list[bool]:
    """The published rule once more, asked of each frame for itself by walking outwards from it."""
    answers = []
    for index, point in enumerate(points):
        left = index
        while left >= 0 and not points[left].visible:
            left -= 1
        right = index
        while right < len(points) and not points[right].visible:
            right += 1
        if point.visible or right == len(points) or left == 0:
            answers.append(False)  # seen; lost for good; lost after the very first frame
        else:
            answers.append(points[right].y > edge_y and (left < 0 or points[left].y > edge_y))
    return answers


HEIGHTS = st.lists(st.one_of(st.none(), st.sampled_from([0.0, 35.0, 36.0, 36.1, 200.0])), max_size=30)


class TestGaps:
    def test_they_are_found_at_both_ends_and_in_between(self) -> None:
        points = clip([None, None, 5, None, 6, 7, None])
        got = [(gap.start, gap.stop, gap.before, gap.after) for gap in gaps(points)]
        assert got == [(0, 2, None, points[2]), (3, 4, points[2], points[4]), (6, 7, points[5], None)]
        assert gaps([]) == [] and gaps(clip([1, 2])) == []
        assert [len(gap) for gap in gaps(clip([None, None]))] == [2]

    @pytest.mark.parametrize(
        ("heights", "filled"),
        [
            ([99, 99, None, None, 99], [0, 0, 1, 1, 0]),
            ([99, 36, None, 99, 99], [0, 0, 0, 0, 0]),  # left through the top
            ([99, 99, None, 36, 99], [0, 0, 0, 0, 0]),  # came back through it
            ([None, None, 99], [1, 1, 0]),
            ([None, None, 20], [0, 0, 0]),
            ([99, None, 99], [0, 0, 0]),  # a gap that starts at frame 1 never is
            ([99, 99, None], [0, 0, 0]),
            ([None, None], [0, 0]),
        ],
    )
    def test_the_published_rule_case_by_case(self, heights: list[float | None], filled: list[int]) -> None:
        assert inpaint_mask(clip(heights), edge_y=36.0).astype(int).tolist() == filled

    @given(HEIGHTS)
    def test_the_published_rule_against_a_slow_loop(self, heights: list[float | None]) -> None:
        points = clip(heights)
        assert inpaint_mask(points, edge_y=36.0).tolist() == mask_frame_by_frame(points, 36.0)

    def test_a_gap_longer_than_the_cap_is_left_open(self) -> None:
        points = clip([99, 99, None, None, 99, None, None, None, 99])
        assert np.flatnonzero(inpaint_mask(points, edge_y=36, max_gap=2)).tolist() == [2, 3]
        assert np.flatnonzero(inpaint_mask(points, edge_y=36, max_gap=3)).tolist() == [2, 3, 5, 6, 7]


class TestInterpolation:
    def test_a_masked_gap_becomes_a_straight_line_in_time(self) -> None:
        points = [seen(0, 0, 50), seen(1, 10, 50), BallPoint(2, False), BallPoint(5, False), seen(9, 90, 90)]
        got = interpolate(points, np.array([False, False, True, True, False]))
        assert got[2] == BallPoint(2, True, 20.0, 55.0, filled=True)
        assert got[3] == BallPoint(5, True, 50.0, 70.0, filled=True)
        assert [got[0], got[1], got[4]] == [points[0], points[1], points[4]]

    def test_what_is_not_masked_stays_and_the_start_is_constant(self) -> None:
        points = [BallPoint(0, False), BallPoint(1, False), seen(2, 7, 8), BallPoint(3, False), seen(4, 9, 8)]
        got = interpolate(points, np.array([True, True, False, False, False]))
        assert [(p.x, p.y, p.filled) for p in got[:2]] == [(7, 8, True), (7, 8, True)]
        assert got[2:] == points[2:]

    def test_nothing_is_made_of_nothing(self) -> None:
        points = clip([None, None, None])
        assert interpolate(points, np.array([True] * 3)) == points
        assert interpolate([], np.zeros(0, bool)) == []


class TestFigures:
    def test_speed_is_distance_over_the_time_between_frames(self) -> None:
        points = [seen(0, 0, 0), seen(1, 3, 4), BallPoint(2, False), seen(3, 9, 9), seen(7, 9, 29)]
        speeds = speeds_px_s(points, fps=30)
        assert np.isnan(speeds[[0, 2, 3]]).all()
        assert speeds[1] == 150 and speeds[4] == 20 / 4 * 30

    def test_a_summary_counts_what_a_report_says(self) -> None:
        points = [seen(0, 0, 0), seen(1, 3, 4), *clip([None] * 6)[2:5], BallPoint(5, True, 3, 4, filled=True)]
        got = summarise(points, fps=10)
        assert (got.frames, got.visible, got.filled, got.gaps, got.longest_gap) == (6, 3, 1, 1, 3)
        assert got.median_speed == got.top_speed == 50

    @pytest.mark.parametrize("points", [[], clip([None, None]), clip([4.0])])
    def test_a_trajectory_without_two_neighbours_has_no_speed(self, points: list[BallPoint]) -> None:
        got = summarise(points, fps=30)
        assert math.isnan(got.median_speed) and math.isnan(got.top_speed) and got.frames == len(points)
