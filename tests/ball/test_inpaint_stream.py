from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.ball.heatmap import COOR_TH, Row
from sightline.ball.inpaint import InpaintForward, InpaintOptions, InpaintStream, RepairedRow
from sightline.errors import ConfigError, ModelOutputError
from sightline.types import FloatArray

SCALE = (2.5, 2.5)  # 1280 by 720
TOP_EDGE_Y = 36  # 5 % of 720


def row(index: int, at: tuple[int, int] | None, confidence: float = 0.9) -> Row:
    x, y = at or (0, 0)
    return Row(Frame=index, X=x, Y=y, Visibility=int(at is not None), Confidence=confidence if at else 0.0)


def flight(seen: str, *, y: int = 300) -> list[Row]:
    """A ball from left to right: "o" where it is seen, "^" where it is near the upper edge, "." where it is not."""
    heights = {"o": y, "^": 10}
    return [row(i, (100 + 10 * i, heights[kind]) if kind in heights else None) for i, kind in enumerate(seen)]


def straight(coords: FloatArray, mask: FloatArray) -> FloatArray:
    """A network that draws straight lines between the points it sees, and invents a constant without any."""
    said = np.full_like(coords, 0.5)
    for window in range(len(coords)):
        known = np.flatnonzero(coords[window].any(axis=1))
        for axis in (0, 1):
            if len(known):
                said[window, :, axis] = np.interp(range(coords.shape[1]), known, coords[window, known, axis])
    return said


def stream_of(seq_len: int = 6, *, forward: InpaintForward = straight, **rest: Any) -> InpaintStream:
    return InpaintStream(forward, seq_len=seq_len, img_scaler=SCALE, **rest)


def pushed(stream: InpaintStream, rows: Sequence[Row]) -> list[RepairedRow]:
    out = [stream.push(each) for each in rows]
    return [each for each in out if each is not None] + stream.flush()


def filled(rows: Sequence[RepairedRow]) -> str:
    return "".join("f" if each["Inpaint"] else "o" if each["Visibility"] else "." for each in rows)


def filled_by_rule(seen: str, cap: int) -> str:
    """The paper's rule, but for gaps at the start, and no longer than the cap, character by character."""
    out = list(seen.replace("^", "o"))
    for start in range(1, len(seen)):
        if seen[start] != "." or seen[start - 1] == ".":
            continue
        stop = start
        while stop < len(seen) and seen[stop] == ".":
            stop += 1
        crossed = start != 1 and seen[start - 1] == "o" and stop < len(seen) and seen[stop] == "o"
        if crossed and stop - start <= cap:
            out[start:stop] = "f" * (stop - start)
    return "".join(out)


def test_a_gap_is_filled_from_both_its_sides() -> None:
    rows = pushed(stream_of(), flight("oooo...oooo"))
    assert filled(rows) == "oooofffoooo"
    assert [(each["X"], each["Y"]) for each in rows] == [(100 + 10 * i, 300) for i in range(11)]


def test_what_was_filled_is_marked_visible_and_without_confidence() -> None:
    rows = pushed(stream_of(), flight("ooo.ooo"))
    assert rows[3] == {"Frame": 3, "X": 130, "Y": 300, "Visibility": 1, "Confidence": 0.0, "Inpaint": 1}
    assert rows[2] == {"Frame": 2, "X": 120, "Y": 300, "Visibility": 1, "Confidence": 0.9, "Inpaint": 0}


@settings(max_examples=150, deadline=None)
@given(st.text("ooo..^", max_size=24), st.integers(1, 8), st.booleans())
def test_every_row_comes_out_once_in_order_and_gaps_are_filled_by_the_rule(
    seen: str, seq_len: int, again: bool
) -> None:
    stream = stream_of(seq_len)
    if again:
        for each in flight("oo..o"):
            stream.push(each)
        stream.reset()
    rows = pushed(stream, flight(seen))
    assert [each["Frame"] for each in rows] == list(range(len(seen)))
    assert filled(rows) == filled_by_rule(seen, max(0, seq_len - 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 1279), st.integers(0, 719))), max_size=20))
def test_what_is_not_filled_comes_out_to_the_pixel(points: list[tuple[int, int] | None]) -> None:
    before = [row(index, at) for index, at in enumerate(points)]
    for old, new in zip(before, pushed(stream_of(), before), strict=True):
        if old["Visibility"]:
            assert new == {**old, "Inpaint": 0}


def test_every_pixel_of_a_full_hd_picture_survives() -> None:
    stream = InpaintStream(straight, seq_len=4, img_scaler=(1920 / 512, 1080 / 288))
    rows = pushed(stream, [row(x, (x, 500)) for x in range(1920)])
    assert [each["X"] for each in rows] == list(range(1920))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ("ooo.......ooo", "ooo.......ooo"),  # seven frames: no window of six sees both sides
        ("ooo....ooo", "oooffffooo"),  # four: one does
        ("..ooooo", "..ooooo"),  # nothing before it
        ("oooo..", "oooo.."),  # nothing after it
        ("......", "......"),
        ("o..oooo", "o..oooo"),  # begins with the second row
        ("oo^..oo", "ooo..oo"),  # it left through the top
        ("ooo..^o", "ooo..oo"),  # it came from there
    ],
)
def test_nothing_is_invented_without_evidence(seen: str, expected: str) -> None:
    assert filled(pushed(stream_of(), flight(seen))) == expected


def test_the_upper_edge_is_five_per_cent_of_the_height() -> None:
    for y, expected in ((TOP_EDGE_Y, "ooo.ooo"), (TOP_EDGE_Y + 1, "ooofooo")):
        low = np.array([0.5, 0.5], np.float32)
        stream = stream_of(forward=lambda coords, mask, low=low: np.broadcast_to(low, coords.shape))  # type: ignore[misc]
        assert filled(pushed(stream, flight("ooo.ooo", y=y))) == expected


def test_an_hour_of_nothing_stays_nothing_and_the_network_is_not_even_asked() -> None:
    def never(coords: FloatArray, mask: FloatArray) -> FloatArray:
        raise AssertionError("asked about nothing")

    rows = pushed(stream_of(forward=never), flight("oooo" + "." * 500 + "oooo"))
    assert filled(rows) == "oooo" + "." * 500 + "oooo"


def test_the_longest_gap_can_be_made_shorter() -> None:
    stream = stream_of(options=InpaintOptions(gap_cap=1))
    assert filled(pushed(stream, flight("ooo.ooo..ooo"))) == "ooofooo..ooo"


@pytest.mark.parametrize("cap", [-1, 5])
def test_a_gap_cap_that_no_window_can_keep_is_refused(cap: int) -> None:
    with pytest.raises(ConfigError, match=f"gap_cap is {cap}"):
        stream_of(options=InpaintOptions(gap_cap=cap))


def test_a_row_comes_seq_len_less_one_pushes_later() -> None:
    stream = stream_of(4)
    out = [stream.push(each) for each in flight("oooooo")]
    assert [None if each is None else each["Frame"] for each in out] == [None, None, None, 0, 1, 2]


def test_no_row_comes_out_of_flush_that_push_has_returned() -> None:
    stream = stream_of(4)
    returned = [each["Frame"] for each in map(stream.push, flight("ooo.ooo")) if each]
    assert returned + [each["Frame"] for each in stream.flush()] == list(range(7))
    assert stream.flush() == []


def test_a_trajectory_shorter_than_a_window_is_repaired_too() -> None:
    rows = pushed(stream_of(16), flight("oo.oo"))
    assert filled(rows) == "oofoo" and rows[2]["X"] == 120


def recording(windows: list[tuple[FloatArray, FloatArray]]) -> Callable[[FloatArray, FloatArray], FloatArray]:
    def forward(coords: FloatArray, mask: FloatArray) -> FloatArray:
        windows.append((coords[0].copy(), mask[0, :, 0].copy()))
        return straight(coords, mask)

    return forward


def test_the_network_is_shown_shares_of_the_picture_and_where_to_fill() -> None:
    windows: list[tuple[FloatArray, FloatArray]] = []
    pushed(stream_of(5, forward=recording(windows)), flight("oo.oo"))
    (coords, mask), *others = windows
    assert others == [] and mask.tolist() == [0, 0, 1, 0, 0]
    expected = [(0, 0) if i == 2 else ((100 + 10 * i) / 1280, 300 / 720) for i in range(5)]
    assert np.allclose(coords, expected, atol=1e-7)


def test_a_ball_out_of_the_picture_is_not_masked() -> None:
    windows: list[tuple[FloatArray, FloatArray]] = []
    pushed(stream_of(8, forward=recording(windows)), flight("o^.ooo.o"))
    assert windows[0][1].tolist() == [0, 0, 0, 0, 0, 0, 1, 0]


def test_only_windows_that_see_the_gap_whole_are_asked_and_averaged_with_the_tent() -> None:
    answers = iter([0.2, 0.4, 0.6])

    def numbered(coords: FloatArray, mask: FloatArray) -> FloatArray:
        return np.full_like(coords, next(answers))

    rows = pushed(stream_of(5, forward=numbered), flight("ooooo.ooooo"))
    # Row 5 with its neighbours lies in the windows that begin at 2, 3 and 4, in their places 3, 2 and 1.
    tent = {3: 2, 2: 3, 1: 2}
    share = (tent[3] * 0.2 + tent[2] * 0.4 + tent[1] * 0.6) / sum(tent.values())
    assert (rows[5]["X"], rows[5]["Y"]) == (round(share * 1280), round(share * 720))
    assert next(answers, None) is None


def test_the_upper_left_corner_means_no_ball() -> None:
    def corner(coords: FloatArray, mask: FloatArray) -> FloatArray:
        return np.full_like(coords, COOR_TH - 0.001)

    rows = pushed(stream_of(forward=corner), flight("ooo.ooo"))
    assert rows[3] == {"Frame": 3, "X": 0, "Y": 0, "Visibility": 0, "Confidence": 0.0, "Inpaint": 0}


def test_the_edge_of_the_picture_is_not_the_corner_and_stays_in_the_picture() -> None:
    def edge(coords: FloatArray, mask: FloatArray) -> FloatArray:
        return np.broadcast_to(np.array([0.0, 1.0], np.float32), coords.shape)

    rows = pushed(stream_of(forward=edge), flight("ooo.ooo"))
    assert (rows[3]["X"], rows[3]["Y"], rows[3]["Visibility"]) == (0, 719, 1)


def test_rows_without_a_confidence_are_taken_too() -> None:
    bare = {"Frame": 0.04, "X": 10, "Y": 20, "Visibility": 1}
    assert pushed(stream_of(), [bare]) == [{**bare, "Confidence": 1.0, "Inpaint": 0}]  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"Frame": 1, "X": 2}, "lacks Y, Visibility"),
        ({"Frame": 1, "X": 2, "Y": 3, "Visibility": 2}, "row 1 has X 2, Y 3, Visibility 2"),
        ({"Frame": 1, "X": float("nan"), "Y": 3, "Visibility": 1}, "row 1 has X nan"),
    ],
)
def test_a_row_that_is_none_is_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        stream_of().push(wrong)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (1.0, float("nan")), (1.0, 1.0, 1.0)])
def test_a_scale_that_is_none_is_refused(scale: Any) -> None:
    with pytest.raises(ConfigError, match="img_scaler is"):
        InpaintStream(straight, seq_len=4, img_scaler=scale)


@pytest.mark.parametrize(
    ("answer", "words"),
    [(np.full((1, 4, 2), np.nan), "NaN or infinity"), (np.zeros((1, 3, 2)), r"\(1, 3, 2\); expected .*\(1, 4, 2\)")],
)
def test_an_answer_that_is_none_is_refused_and_no_row_lost(answer: FloatArray, words: str) -> None:
    stream, rows, raised = stream_of(4, forward=lambda coords, mask: answer), [], 0
    for each in flight("oo.ooo"):
        try:
            rows.append(stream.push(each))
        except ModelOutputError as exc:
            raised += 1
            assert re.search(words, str(exc))
    got = [each for each in rows if each is not None] + stream.flush()
    assert raised and [each["Frame"] for each in got] == list(range(6))


def test_the_stats_count_every_row_once() -> None:
    stream = stream_of()
    assert stream.stats == {"push_calls": 0, "outputs": 0, "t_forward": 0.0, "t_post": 0.0}
    pushed(stream, flight("ooo..oooo"))
    assert (stream.stats["push_calls"], stream.stats["outputs"]) == (9, 9)
    assert stream.stats["t_forward"] > 0 and stream.stats["t_post"] > 0
    stream.reset()
    assert set(stream.stats.values()) == {0}
