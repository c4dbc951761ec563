from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import tee
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from sightline.ball.inpaint import InpaintOptions
from sightline.ball.models import Repairer, Tracker
from sightline.ball.planes import median_of_source
from sightline.ball.stream import TrackNetStream
from sightline.ball.windows import TrackOptions
from sightline.errors import SourceError
from sightline.pipeline.annotate import with_ball
from sightline.pipeline.ball import BallOptions, background_of, follow, follow_live
from sightline.runtime.session import Session
from sightline.sources import open_recording
from sightline.types import BallPoint, FloatArray, Frame, Image
from sightline.video import VideoWriter

SEQ_LEN = 4
SIZE_HW = (144, 256)  # half of what the network sees, so that a heat-map pixel is half a source pixel
HIDDEN = range(9, 12)
NO_SESSION = cast(Session, None)  # these networks are functions; only the command line asks what runs one


def place(index: int) -> tuple[int, int]:
    """Where the ball is in frame `index`: x, y."""
    return 40 + 7 * index, 60 + 3 * index


def picture(index: int, *, hidden: Iterable[int] = HIDDEN) -> Image:
    image = np.full((*SIZE_HW, 3), 30, np.uint8)
    if index not in hidden:
        x, y = place(index)
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    return image


def frames(count: int) -> Iterator[Frame]:
    return (Frame(picture(index), index, index / 25) for index in range(count))


def bright_red(windows: FloatArray) -> FloatArray:
    """A network that finds what is bright: each frame's heat is its red plane, where that is over 0.8."""
    red = windows[:, -3 * SEQ_LEN :: 3]
    return np.where(red > 0.8, red, 0).astype(np.float32)


def tracker(bg_mode: str = "") -> Tracker:
    return Tracker(NO_SESSION, bright_red, SEQ_LEN, bg_mode)  # type: ignore[arg-type]


def straight(coords: FloatArray, mask: FloatArray) -> FloatArray:
    """A repair network that draws a straight line through what it is shown."""
    answer = coords.copy()
    for row, hidden in zip(answer, mask[:, :, 0] > 0, strict=True):
        seen = np.flatnonzero(~hidden & (row > 0).any(axis=1))
        for axis in range(2):
            row[:, axis] = np.interp(np.arange(len(row)), seen, row[seen, axis])
    return answer


def streamed(
    count: int, options: BallOptions, *, bg_mode: str = "", background: Image | None = None
) -> list[BallPoint]:
    """The answers of the streaming module, asked one frame at a time."""
    median = None if background is None else median_of_source(background, bg_mode, resize="area")  # type: ignore[arg-type]
    stream = TrackNetStream(bright_red, seq_len=SEQ_LEN, bg_mode=bg_mode, eval_mode=options.eval_mode, median=median)
    stream.options = options.track
    rows = [stream.push(frame.image, frame.index) for frame in frames(count)] + [*stream.flush()]
    return [
        BallPoint(int(row["Frame"]), bool(row["Visibility"]), float(row["X"]), float(row["Y"]), row["Confidence"])
        for row in rows
        if row is not None
    ]


def test_the_ball_is_found_where_it_was_painted() -> None:
    points = list(follow(frames(20), tracker()))
    assert [point.frame for point in points] == list(range(20))
    assert [point.visible for point in points] == [index not in HIDDEN for index in range(20)]
    for point in points:
        if point.visible:
            assert (point.x, point.y) == pytest.approx(place(point.frame), abs=1.5)


@pytest.mark.parametrize("eval_mode", ["weight", "average", "nonoverlap"])
@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 21])
def test_a_recording_gets_the_answers_of_the_stream_to_the_last_digit(eval_mode: str, batch: int, count: int) -> None:
    options = BallOptions(eval_mode, batch)  # type: ignore[arg-type]
    assert list(follow(frames(count), tracker(), options=options)) == streamed(count, options)


@pytest.mark.parametrize("bg_mode", ["concat"])
def test_so_it_does_with_a_background(bg_mode: str) -> None:
    options = BallOptions("weight", 4, track=TrackOptions(stride=2))
    background = picture(0, hidden=[0])
    found = list(follow(frames(17), tracker(bg_mode), background=background, options=options))
    assert found == streamed(17, options, bg_mode=bg_mode, background=background)
    assert sum(point.visible for point in found) == 17 - len(HIDDEN)


def test_a_live_source_gets_the_same_answers_as_a_recording() -> None:
    assert list(follow_live(frames(20), tracker())) == list(follow(frames(20), tracker()))


def test_a_live_answer_is_not_held_back_longer_than_a_window() -> None:
    asked: list[int] = []

    def counted() -> Iterator[Frame]:
        for frame in frames(20):
            asked.append(frame.index)
            yield frame

    for point in follow_live(counted(), tracker()):
        assert asked[-1] - point.frame <= SEQ_LEN - 1
    assert len(asked) == 20


def test_a_live_source_with_a_background_answers_from_the_frame_it_is_known_at() -> None:
    options = BallOptions(warm_up_frames=6)
    found = list(follow_live(frames(20), tracker("concat"), options=options))
    assert [point.frame for point in found] == list(range(5, 20))


def test_a_gap_is_filled_marked_and_nothing_else_touched() -> None:
    repairer = Repairer(NO_SESSION, straight, 8)
    seen = list(follow(frames(20), tracker()))
    filled = list(follow(frames(20), tracker(), repairer=repairer))
    assert [point.filled for point in filled] == [index in HIDDEN for index in range(20)]
    assert [point for point in filled if not point.filled] == [point for point in seen if point.visible]
    for point in filled:
        assert (point.x, point.y) == pytest.approx(place(point.frame), abs=2)


def test_a_gap_longer_than_allowed_stays_a_gap() -> None:
    options = BallOptions(repair=InpaintOptions(gap_cap=2))
    found = list(follow(frames(20), tracker(), repairer=Repairer(NO_SESSION, straight, 8), options=options))
    assert not any(point.filled for point in found)


def test_the_background_is_the_median_of_frames_spread_over_the_recording(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.avi", fps=25) as writer:
        for index in range(20):
            writer.write(picture(index))
    with open_recording(tmp_path / "clip.avi") as recording:
        decoded = [frame.image for frame in recording]
    with open_recording(tmp_path / "clip.avi") as recording:
        found = background_of(recording, samples=7)
    expected = np.median([decoded[index * 20 // 7] for index in range(7)], axis=0).astype(np.uint8)
    np.testing.assert_array_equal(found, expected)


def test_a_recording_without_frames_has_no_background() -> None:
    class Empty:
        class info:  # noqa: N801 - stands for the attribute of that name
            frame_count, name = 5, "nothing.mp4"

        def picked(self, indices: object) -> Iterator[Image]:
            return iter(())

    with pytest.raises(SourceError, match=r"nothing\.mp4: no frame of it can be decoded"):
        background_of(Empty(), samples=3)  # type: ignore[arg-type]


def test_the_ball_is_drawn_where_it_is_on_a_copy_of_each_frame() -> None:
    looked_at, shown = tee(frames(20))
    found, marked = tee(follow(looked_at, tracker()))
    originals = [picture(index) for index in range(20)]
    drawn = list(with_ball(shown, marked))
    assert len(drawn) == 20
    for point, image, original in zip(found, drawn, originals, strict=True):
        changed = np.argwhere((image != original).any(axis=2))
        if point.visible:
            assert len(changed)
            assert np.abs(changed - (point.y, point.x)).max(axis=1).min() <= 12  # the ring
    assert np.array_equal(picture(0), originals[0])


def test_filled_points_are_drawn_in_another_colour() -> None:
    seen = BallPoint(0, True, 100, 70, 1.0)
    image = next(with_ball([Frame(np.zeros((144, 256, 3), np.uint8), 0, 0.0)], [seen]))
    filled = BallPoint(0, True, 100, 70, 0.0, filled=True)
    other = next(with_ball([Frame(np.zeros((144, 256, 3), np.uint8), 0, 0.0)], [filled]))
    for mostly, hardly, canvas in ((2, 0, image), (0, 2, other)):  # yellow has much red and little blue
        assert canvas[:, :, mostly].max() > 200
        assert canvas[:, :, hardly].max() < 120


def test_frames_that_wait_to_be_drawn_are_no_more_than_a_window_and_a_batch() -> None:
    """`tee` keeps what one side has taken and the other not: the distance between the two."""
    asked = 0

    def counted() -> Iterator[Frame]:
        nonlocal asked
        for frame in frames(60):
            asked += 1
            yield frame

    looked_at, shown = tee(counted())
    drawn = 0
    for _ in with_ball(shown, follow(looked_at, tracker(), options=BallOptions(batch=4))):
        drawn += 1
        assert asked - drawn <= SEQ_LEN + 4
    assert drawn == 60
