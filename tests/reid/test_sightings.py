"""Who was there together, and whose boxes overlap: against loops over every frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.reid.sightings import Sightings, seen_together, settings_of
from sightline.reid.tracklets import Setting

Boxes = Sequence[Sequence[float]]


def seen(
    frames: Sequence[int], boxes: Boxes | None = None, *, camera: str = "", size_hw: tuple[int, int] | None = None
) -> Sightings:
    rows = [[10, 10, 20, 40]] * len(frames) if boxes is None else boxes
    return Sightings(
        np.array(frames, np.int64),
        np.array(rows, np.float32).reshape(-1, 4),
        np.ones(len(frames), np.float32),
        size_hw=size_hw,
        camera=camera,
    )


@st.composite
def crowds(draw: st.DrawFn) -> list[Sightings | None]:
    people: list[Sightings | None] = []
    for _ in range(draw(st.integers(0, 6))):
        frames = sorted(draw(st.sets(st.integers(0, 12), max_size=8)))
        corners = [[draw(st.integers(2, 20)), draw(st.integers(2, 20))] for _ in frames]
        sides = [[draw(st.integers(1, 15)), draw(st.integers(1, 15))] for _ in frames]
        boxes = [[x, y, x + w, y + h] for (x, y), (w, h) in zip(corners, sides, strict=True)]
        known = seen(frames, boxes, camera=draw(st.sampled_from(["", "yard"])))
        people.append(draw(st.sampled_from([known, known, None])))
    return people


@given(crowds())
@settings(max_examples=150, deadline=None)
def test_two_were_together_when_a_camera_shows_both_in_one_frame(people: list[Sightings | None]) -> None:
    moments = [set() if one is None else {(one.camera, frame) for frame in one.frames.tolist()} for one in people]
    expected = [[i != j and bool(a & b) for j, b in enumerate(moments)] for i, a in enumerate(moments)]
    assert seen_together(people).tolist() == expected


def covered(box: Sequence[float], other: Sequence[float]) -> float:
    """The share of a box of whole pixels that lies in another, counted pixel by pixel."""
    x1, y1, x2, y2 = map(int, box)
    pixels = [(x, y) for x in range(x1, x2) for y in range(y1, y2)]
    within = [other[0] <= x < other[2] and other[1] <= y < other[3] for x, y in pixels]
    return sum(within) / len(pixels)


@given(crowds())
@settings(max_examples=100, deadline=None)
def test_crowding_is_the_largest_share_that_lies_in_one_other_box(people: list[Sightings | None]) -> None:
    found = settings_of(people)
    for index, person in enumerate(people):
        assert len(found[index]) == (0 if person is None else len(person))
        for row, setting in enumerate(found[index]):
            assert person is not None
            others = [
                other.boxes_xyxy[other.frames.tolist().index(person.frames[row])]
                for number, other in enumerate(people)
                if other is not None and number != index
                if other.camera == person.camera and person.frames[row] in other.frames
            ]
            expected = max((covered(person.boxes_xyxy[row], other) for other in others), default=0.0)
            assert abs(setting.crowding - expected) < 1e-6


def test_a_box_at_the_border_is_cut_off_where_the_frame_is_known() -> None:
    boxes = [[30, 30, 50, 80], [0.5, 30, 50, 80], [30, 1, 50, 80], [30, 30, 99.5, 80], [30, 30, 50, 99]]
    (with_size,) = settings_of([seen(range(5), boxes, size_hw=(100, 100))])
    assert [setting.cut for setting in with_size] == [False, True, True, True, True]
    (without,) = settings_of([seen(range(5), boxes)])
    assert [setting.cut for setting in without] == [False, True, True, False, False]


def test_the_frame_is_as_high_and_wide_as_it_says_and_not_the_other_way_round() -> None:
    boxes = [[30, 30, 150, 80], [30, 30, 150, 99.5]]
    assert [item.cut for item in settings_of([seen([0, 1], boxes, size_hw=(100, 200))])[0]] == [False, True]


def test_a_box_of_no_area_is_not_a_division_by_zero() -> None:
    empty = seen([0], [[10, 10, 10, 40]])
    assert settings_of([empty, seen([0])])[0] == [Setting(0.0, False)]


def test_nobody_was_together_with_nobody() -> None:
    assert seen_together([]).shape == (0, 0)
    assert settings_of([None, None]) == [[], []]
