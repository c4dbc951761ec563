"""Names and boxes on frames."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kept_visits import FPS, visit
from sightline.pipeline.people.draw import (
    UNKNOWN_BGR,
    BoxRows,
    colour_of,
    draw_person,
    label,
    rows_by_frame,
    with_people,
)
from sightline.pipeline.people.visits import Visit
from sightline.synth.scene import Scene
from sightline.types import Frame, Image, Tracklet

GREY = 90


def blank(height: int = 120, width: int = 160, value: int = GREY) -> Image:
    return np.full((height, width, 3), value, np.uint8)


def frames(count: int, *, first: int = 0) -> Iterator[Frame]:
    for index in range(first, first + count):
        yield Frame(blank(), index, index / FPS)


def box(*corners: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(corners, np.float32)


class TestRows:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=8, unique=True), max_size=5))
    def test_they_are_those_of_a_slow_loop(self, drawn: list[list[int]]) -> None:
        visits = [visit(n, frames=sorted(own), crops=(), left=n) for n, own in enumerate(drawn, 1)]
        rows = rows_by_frame(iter(visits))
        for first, last in [*((frame, frame) for frame in range(14)), (3, 7), (7, 3)]:
            found = rows.between(first, last)
            expected = sorted(
                (frame, one.number, *corners)
                for one in visits
                for frame, corners in zip(one.tracklet.frames, one.tracklet.boxes_xyxy.tolist(), strict=True)
                if first <= frame <= last
            )
            corners = found.boxes_xyxy.tolist()
            assert sorted(zip(found.frames, found.numbers, *zip(*corners, strict=True), strict=True)) == expected

    def test_a_box_takes_28_bytes(self) -> None:
        rows = rows_by_frame([visit(1, frames=range(100), crops=())])
        assert sum(array.nbytes for array in (rows.frames, rows.numbers, rows.boxes_xyxy)) == 2800

    def test_pictures_are_not_held(self) -> None:
        alive = []

        def coming() -> Iterator[Visit]:
            import weakref

            for number in range(1, 4):
                one = visit(number)
                alive.append(weakref.ref(one.tracklet))
                yield one
                del one
                assert sum(reference() is not None for reference in alive) <= 1

        assert len(rows_by_frame(coming()).frames) == 12


class TestFrames:
    def test_every_frame_comes_back_and_only_those_with_somebody_are_changed(self) -> None:
        rows = rows_by_frame([visit(1, frames=[2, 3], crops=())])
        given_frames = list(frames(6))
        drawn = list(with_people(iter(given_frames), rows, names={1: "person-1"}))
        assert [bool((canvas != GREY).any()) for canvas in drawn] == [False, False, True, True, False, False]
        assert all((frame.image == GREY).all() for frame in given_frames)

    def test_frames_that_begin_later_find_their_boxes(self) -> None:
        rows = rows_by_frame([visit(1, frames=[2, 3], crops=())])
        drawn = list(with_people(frames(2, first=3), rows, names={}))
        assert [bool((canvas != GREY).any()) for canvas in drawn] == [True, False]

    def test_nobody_is_no_change(self) -> None:
        (canvas,) = with_people(frames(1), rows_by_frame([]), names={})
        assert (canvas == GREY).all()

    def test_a_name_is_in_its_colour_and_nobody_is_a_thin_grey_line(self) -> None:
        rows = rows_by_frame([visit(1, frames=[0], crops=()), visit(2, frames=[0], crops=(), left=70)])
        (canvas,) = with_people(frames(1), rows, names={1: "person-1", 2: None}, trail=0)
        left, right = canvas[:, :70], canvas[:, 70:]
        assert (left == colour_of("person-1")).all(axis=2).sum() > 200
        assert (right == UNKNOWN_BGR).all(
            axis=2
        ).sum() == 2 * 90 + 2 * 69  # columns 70 to the last, rows 20 to 90, one pixel wide
        assert not (right == colour_of("person-1")).all(axis=2).any()

    def test_feet_leave_a_trail_of_as_many_frames_as_asked_for(self) -> None:
        walk = Tracklet(
            1,
            "gate",
            np.arange(20),
            np.arange(20) / FPS,
            np.array([[4 * n, 20, 4 * n + 20, 80] for n in range(20)], np.float32),
            np.ones(20, np.float32),
        )
        rows = rows_by_frame([Visit(1, walk)])
        without, short, long = (list(with_people(frames(20), rows, names={}, trail=n))[-1] for n in (0, 5, 12))
        starts = [int(np.flatnonzero((canvas[80] != GREY).any(axis=1))[0]) for canvas in (without, short, long)]
        assert starts == pytest.approx(
            [76, 76 + 10 - 20, 76 + 10 - 48], abs=2
        )  # feet are in the middle, 4 pixels apart

    def test_frames_of_a_scene_show_its_people_where_they_are(self) -> None:
        scene = Scene(5, people=3, cameras=1, frames=30, size_hw=(240, 320))
        truth = scene.ground_truth(0)
        rows = BoxRows(truth.frames - 1, truth.ids.astype(np.int32), truth.boxes_xyxy.astype(np.float32))
        images = [image for image, _ in scene.camera(0)]
        names = {number: f"person-{number}" for number in (1, 2, 3)}
        given_frames = (Frame(image, index, index / 25) for index, image in enumerate(images))
        changed = False
        for index, canvas in enumerate(with_people(given_frames, rows, names=names, trail=0)):
            present = truth.ids[truth.frames == index + 1].tolist()
            for number, name in names.items():
                painted = (canvas == colour_of(name)).all(axis=2).sum()
                assert (painted > 40) == (number in present)
                changed |= number in present
        assert changed


class TestBoxes:
    SIDES = st.floats(-1e6, 1e6, allow_nan=False, width=32)

    @settings(max_examples=100, deadline=None)
    @given(SIDES, SIDES, SIDES, SIDES, st.integers(1, 60), st.integers(1, 60), st.text(max_size=60) | st.none())
    def test_any_box_and_any_name_on_any_picture(  # noqa: PLR0917 - drawn one by one
        self, left: float, top: float, right: float, bottom: float, height: int, width: int, name: str | None
    ) -> None:
        canvas = blank(height, width)
        draw_person(canvas, box(left, top, right, bottom), name=name)
        assert canvas.shape == (height, width, 3)

    @pytest.mark.parametrize("corners", [(0, 0, 40, 60), (150, 2, 300, 50), (130, 100, 159, 119), (-50, -50, 500, 500)])
    def test_a_label_is_whole_and_inside_wherever_the_box_is(self, corners: tuple[float, ...]) -> None:
        canvas, plate = blank(), label("person-3", letters=9)
        draw_person(canvas, box(*corners), name="person-3")
        height, width = plate.shape[:2]
        views = np.lib.stride_tricks.sliding_window_view(canvas, (height, width, 3))[:, :, 0]
        assert (views == plate).all(axis=(2, 3, 4)).any()

    def test_a_label_larger_than_the_picture_is_cut(self) -> None:
        canvas = blank(8, 20)
        draw_person(canvas, box(2, 2, 10, 6), name="somebody of a long name")
        assert (canvas[:, 0] != GREY).any() and canvas.shape == (8, 20, 3)


class TestColours:
    def test_a_name_has_one_colour_and_neighbours_in_number_do_not_share_it(self) -> None:
        colours = [np.array(colour_of(f"person-{number}")) for number in range(1, 9)]
        assert all(np.abs(one - other).sum() > 60 for one, other in combinations(colours, 2))
        assert all(np.abs(one - other).sum() > 150 for one, other in pairwise(colours))
        assert colour_of("Zoë") == colour_of("Zoë") != UNKNOWN_BGR

    @pytest.mark.parametrize("name", [*(f"person-{number}" for number in range(1, 40)), "Zoë", "", "\udc80", "x" * 999])
    def test_dark_letters_can_be_read_on_it(self, name: str) -> None:
        """A contrast of 4.5 to 1, as the accessibility guidelines ask for (WCAG 2.1, 1.4.3)."""
        ink, ground = (luminance(colour) for colour in ((20, 20, 20), colour_of(name)))
        assert (ground + 0.05) / (ink + 0.05) >= 4.5

    def test_letters_outside_of_ascii_are_drawn(self) -> None:
        plain, accented = label("Zoe", letters=20), label("Zoë", letters=20)
        assert plain.shape[0] == accented.shape[0] and (plain.shape != accented.shape or (plain != accented).any())

    def test_long_names_are_cut_and_odd_ones_are_one_line(self) -> None:
        assert label("x" * 5000, letters=12).shape[1] < 40 * 12
        assert label("a\nb\tc\udc80", letters=12).shape[0] == label("a", letters=12).shape[0]
        assert label("", letters=12).shape[1] > 4


def luminance(bgr: tuple[int, int, int]) -> float:
    """Relative luminance of WCAG 2.1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in bgr)]
    return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]
