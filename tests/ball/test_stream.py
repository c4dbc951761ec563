from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.ball.heatmap import FrameId, Row
from sightline.ball.stream import Forward, TrackNetStream, track
from sightline.ball.windows import TrackOptions
from sightline.errors import ConfigError, ImageError, ModelOutputError, SightlineError
from sightline.types import Array, FloatArray, Image

HW = (72, 128)  # a quarter of the heat map: every pixel of the source is 4 by 4 of those
MODES = ("", "subtract", "subtract_concat", "concat")
WEIGHTS = {
    "average": lambda length, place: 1 / length,
    "weight": lambda length, place: min(place + 1, length - place),
    "nonoverlap": lambda length, place: 1.0,
}


def frame(index: int, hw: tuple[int, int] = HW) -> Image:
    """A black picture with a bright square, whose place and colour tell which frame it is."""
    rng = np.random.default_rng(index)
    image = np.zeros((*hw, 3), np.uint8)
    x, y = int(rng.integers(8, hw[1] - 8)), int(rng.integers(8, hw[0] - 8))
    image[y : y + 4, x : x + 4] = rng.integers(120, 256, 3)
    return image


def fake_network(seq_len: int, bg_mode: str = "") -> Forward:
    """Heats of a frame are one of its planes, as strong as the frame after it in the window is bright."""
    per_frame = {"": 3, "subtract": 1, "subtract_concat": 4, "concat": 3}[bg_mode]

    def forward(windows: FloatArray) -> FloatArray:
        planes = windows[:, 3:] if bg_mode == "concat" else windows
        frames = planes.reshape(len(planes), seq_len, per_frame, 288, 512)[:, :, -1]
        strength = 0.6 + 0.4 * np.roll(frames, -1, axis=1).max(axis=(2, 3), keepdims=True)
        return (frames * strength).astype(np.float32)

    return forward


def stream_of(seq_len: int, bg_mode: str = "", **rest: Any) -> TrackNetStream:
    rest.setdefault("forward", fake_network(seq_len, bg_mode))
    return TrackNetStream(rest.pop("forward"), seq_len=seq_len, bg_mode=bg_mode, **rest)


def pushed(stream: TrackNetStream, images: Sequence[Image], ids: Sequence[FrameId | None] | None = None) -> list[Row]:
    rows = [stream.push(image, name) for image, name in zip(images, ids or [None] * len(images), strict=True)]
    return [row for row in rows if row is not None] + stream.flush()


def answers_by_hand(images: Sequence[Image], seq_len: int, mode: str, stride: int) -> list[tuple[int, int, float]]:
    """(X, Y, confidence) of every frame: all windows by slicing, all sums written out."""
    blue = [cv2.resize(image, (512, 288), interpolation=cv2.INTER_AREA)[:, :, 0] for image in images]
    step, starts = seq_len if mode == "nonoverlap" else min(stride, seq_len), [0]
    while starts[-1] + seq_len < len(images):
        starts.append(starts[-1] + step)
    answers = []
    for index in range(len(images)):
        total, weights = np.zeros((288, 512)), 0.0
        for start in starts:
            if not start <= index < start + seq_len:
                continue
            window = [blue[min(place, len(blue) - 1)] / 255 for place in range(start, start + seq_len)]
            following = window[(index - start + 1) % seq_len].max()
            weight = WEIGHTS[mode](seq_len, start + seq_len - 1 - index)
            total += weight * window[index - start] * (0.6 + 0.4 * following)
            weights += weight
        answers.append(decoded_by_hand(total / weights))
    return answers


def decoded_by_hand(heat: Array) -> tuple[int, int, float]:
    """The pictures have one square, so that all that is hot is one blob."""
    ys, xs = np.nonzero(heat > 0.5)
    if not len(xs):
        return 0, 0, 0.0
    x, y = int((xs.min() + xs.max() + 1) / 2), int((ys.min() + ys.max() + 1) / 2)
    return int(x * HW[1] / 512), int(y * HW[0] / 288), float(heat.max())


def assert_answers(rows: Sequence[Row], expected: Sequence[tuple[int, int, float]]) -> None:
    assert [(row["X"], row["Y"]) for row in rows] == [(x, y) for x, y, _ in expected]
    assert [row["Confidence"] for row in rows] == pytest.approx([confidence for _, _, confidence in expected], abs=1e-5)


ID_PATTERNS = st.sampled_from(
    [
        lambda n: [None] * n,
        lambda n: list(range(5, 5 + n)),
        lambda n: [3 * i + i % 2 for i in range(n)],  # gaps
        lambda n: [0.04 * i for i in range(n)],  # times
        lambda n: list(range(n, 0, -1)),  # backwards
        lambda n: [7] * n,
        lambda n: [None if i % 2 else i for i in range(n)],
    ]
)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 13),
    seq_len=st.integers(1, 5),
    mode=st.sampled_from(["weight", "average", "nonoverlap"]),
    stride=st.integers(1, 6),
    pattern=ID_PATTERNS,
    batch=st.integers(1, 4),
    before=st.integers(0, 7),
)
def test_every_frame_comes_out_once_in_order_and_batched_as_streamed_as_by_hand(  # noqa: PLR0917
    n: int, seq_len: int, mode: str, stride: int, pattern: Any, batch: int, before: int
) -> None:
    images, ids = [frame(index) for index in range(n)], pattern(n)
    stream = stream_of(seq_len, eval_mode=mode, options=TrackOptions(stride=stride))
    for index in range(before):  # another video, given up in the middle
        stream.push(frame(1000 + index), index)
    stream.reset()
    rows = pushed(stream, images, ids)
    assert [row["Frame"] for row in rows] == [index if name is None else name for index, name in enumerate(ids)]
    assert_answers(rows, answers_by_hand(images, seq_len, mode, stride))
    stream.reset()
    batched = [sighting.row() for sighting in track(stream, zip(ids, images, strict=True), batch=batch)]
    assert batched == rows


@pytest.mark.parametrize("warm_up", [1, 2, 5, 9, 30])
@pytest.mark.parametrize("mode", ["subtract", "subtract_concat", "concat"])
def test_a_warm_up_loses_no_frame_and_batched_is_as_streamed(mode: str, warm_up: int) -> None:
    images = [frame(index) for index in range(12)]
    stream = stream_of(3, mode, median_warmup=warm_up)
    rows = pushed(stream, images)
    assert [row["Frame"] for row in rows] == list(range(12))
    stream.reset()
    assert [sighting.row() for sighting in track(stream, [(None, image) for image in images], batch=4)] == rows


@pytest.mark.parametrize("mode", ["subtract", "subtract_concat", "concat"])
def test_a_replayed_warm_up_answers_as_the_same_median_given(mode: str) -> None:
    images = [frame(index) for index in range(10)]
    median = np.median(np.stack(images[:5]), axis=0).astype(np.uint8)[:, :, ::-1]
    if mode == "concat":
        median = cv2.resize(median.copy(), (512, 288), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
    given_rows = pushed(stream_of(3, mode, median=median), images)
    assert pushed(stream_of(3, mode, median_warmup=5), images) == given_rows
    assert any(row["Visibility"] for row in given_rows)


def rows_per_push(stream: TrackNetStream, count: int) -> list[FrameId | None]:
    rows = [stream.push(frame(index)) for index in range(count)]
    return [None if row is None else row["Frame"] for row in rows]


@pytest.mark.parametrize("mode", ["weight", "nonoverlap"])
def test_a_row_comes_seq_len_less_one_pushes_later(mode: str) -> None:
    assert rows_per_push(stream_of(3, eval_mode=mode), 8) == [None, None, 0, 1, 2, 3, 4, 5]


def test_a_replayed_warm_up_is_the_latency_where_it_is_longer() -> None:
    assert rows_per_push(stream_of(3, "concat", median_warmup=5), 8) == [None] * 4 + [0, 1, 2, 3]
    assert rows_per_push(stream_of(3, "subtract", median_warmup=2), 5) == [None] * 2 + [0, 1, 2]


def test_a_given_median_makes_the_warm_up_needless() -> None:
    stream = stream_of(3, "subtract", median=np.zeros((*HW, 3)), median_warmup=50)
    assert rows_per_push(stream, 5) == [None, None, 0, 1, 2]


def test_a_dropped_warm_up_answers_from_its_last_frame_on_without_more_delay() -> None:
    stream = stream_of(3, "subtract", median_warmup=4, options=TrackOptions(warm_up="drop"))
    assert rows_per_push(stream, 8) == [None] * 5 + [3, 4, 5]
    assert [row["Frame"] for row in stream.flush()] == [6, 7]


def test_a_clip_that_ends_within_a_dropped_warm_up_has_no_rows() -> None:
    stream = stream_of(3, "subtract", median_warmup=4, options=TrackOptions(warm_up="drop"))
    assert rows_per_push(stream, 3) == [None] * 3 and stream.flush() == []


class Counting:
    """A network that remembers how many windows it was given in each call."""

    def __init__(self, seq_len: int) -> None:
        self.calls: list[int] = []
        self._forward = fake_network(seq_len)

    def __call__(self, windows: FloatArray) -> FloatArray:
        self.calls.append(len(windows))
        return self._forward(windows)


@pytest.mark.parametrize(
    ("mode", "stride", "forwards"), [("weight", 1, 9), ("nonoverlap", 1, 3), ("weight", 4, 3), ("average", 2, 5)]
)
def test_the_network_runs_once_a_stride(mode: str, stride: int, forwards: int) -> None:
    network = Counting(4)
    stream = stream_of(4, forward=network, eval_mode=mode, options=TrackOptions(stride=stride))
    assert len(pushed(stream, [frame(index) for index in range(12)])) == 12
    assert network.calls == [1] * forwards


def test_offline_the_network_runs_on_whole_batches() -> None:
    network = Counting(4)
    list(track(stream_of(4, forward=network), [(None, frame(index)) for index in range(12)], batch=4))
    assert network.calls == [4, 4, 1]


def test_frames_of_a_finished_clip_say_nothing_about_the_next() -> None:
    stream = stream_of(4)
    pushed(stream, [frame(index) for index in range(6)])
    later = [frame(index) for index in range(20, 27)]
    rows = pushed(stream, later)
    assert_answers(rows, answers_by_hand(later, 4, "weight", 1))
    assert [row["Frame"] for row in rows] == list(range(6, 13))  # the count goes on until reset


def test_flushing_twice_answers_nobody_twice() -> None:
    stream = stream_of(4)
    assert stream.flush() == []
    pushed(stream, [frame(0), frame(1)])
    assert stream.flush() == []


@pytest.mark.parametrize("mode", MODES)
def test_the_caller_may_reuse_its_buffer(mode: str) -> None:
    images = [frame(index) for index in range(9)]
    buffer, rows = np.empty_like(images[0]), []
    expected = pushed(stream_of(3, mode, median_warmup=5), images)
    stream = stream_of(3, mode, median_warmup=5)
    for image in images:
        buffer[:] = image
        rows.append(stream.push(buffer))
        buffer[:] = 255
    assert [row for row in rows if row is not None] + stream.flush() == expected


def test_a_mirrored_view_is_as_good_as_a_picture() -> None:
    images = [frame(index) for index in range(4)]
    views = [image[:, ::-1] for image in images]
    assert pushed(stream_of(2), views) == pushed(stream_of(2), [view.copy() for view in views])


def test_another_resolution_in_the_middle_is_an_error_that_says_so_and_takes_nothing_in() -> None:
    stream = stream_of(3)
    images = [frame(0), frame(1)]
    stream.push(images[0])
    with pytest.raises(ImageError, match=r"frame 1 is 64x48 after frames of 128x72; expected one size: flush\(\)"):
        stream.push(frame(9, (48, 64)))
    assert_answers(pushed(stream, images[1:])[-2:], answers_by_hand(images, 3, "weight", 1))


def test_after_reset_another_resolution_is_welcome() -> None:
    stream = stream_of(3)
    stream.push(frame(0))
    assert stream.img_shape == (128, 72) and stream.img_scaler == (0.25, 0.25)
    stream.reset()
    assert stream.img_shape is None and stream.img_scaler is None
    stream.push(frame(0, (144, 512)))
    assert stream.img_shape == (512, 144) and stream.img_scaler == (1.0, 0.5)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((72, 128), np.uint8),
        np.zeros((72, 128, 4), np.uint8),
        np.zeros((72, 128, 3)),
        np.zeros((0, 9, 3), "u1"),
    ],
)
def test_what_is_not_a_bgr_picture_is_refused(image: Any) -> None:
    with pytest.raises(ImageError, match=r"frame 0 is .*; expected BGR uint8 \(H, W, 3\)"):
        stream_of(2).push(image)


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_mode_that_needs_a_median_says_so_in_the_promised_words(mode: str) -> None:
    words = rf"^bg_mode='{mode}' needs median\. Pass median=\.\.\. or set median_warmup>0\.$"
    with pytest.raises(RuntimeError, match=words) as caught:
        stream_of(2, mode).push(frame(0))
    assert isinstance(caught.value, SightlineError)


def test_a_median_of_another_size_is_refused_and_the_frame_not_taken_in() -> None:
    stream = stream_of(2, "subtract", median=np.zeros((10, 10, 3)))
    with pytest.raises(ImageError, match=r"median is \(10, 10, 3\)"):
        stream.push(frame(0))
    assert stream.flush() == []


def test_reset_drops_a_median_of_the_warm_up_and_keeps_a_given_one() -> None:
    built, given_one = stream_of(2, "subtract", median_warmup=3), stream_of(2, "subtract", median=np.ones((*HW, 3)))
    for stream, kept in ((built, False), (given_one, True)):
        rows_per_push(stream, 4)
        assert stream._median is not None
        stream.reset()
        assert (stream._median is not None) is kept


def test_none_is_no_background() -> None:
    stream = TrackNetStream(fake_network(2), seq_len=2, bg_mode=None)
    assert stream.bg_mode == "" and stream.eval_mode == "weight" and stream.seq_len == 2


def test_the_stats_count_every_row_and_every_second_once() -> None:
    stream = stream_of(3, "subtract", median_warmup=4)
    assert stream.stats == dict.fromkeys(
        ["push_calls", "outputs", "t_preprocess", "t_forward", "t_post", "t_median"], 0
    )
    pushed(stream, [frame(index) for index in range(9)])
    assert (stream.stats["push_calls"], stream.stats["outputs"]) == (9, 9)
    assert all(stream.stats[key] > 0 for key in ("t_preprocess", "t_forward", "t_post", "t_median"))
    stream.reset()
    assert set(stream.stats.values()) == {0}


def test_offline_rows_are_counted_too() -> None:
    stream = stream_of(3)
    list(track(stream, [(None, frame(index)) for index in range(7)], batch=2))
    assert (stream.stats["push_calls"], stream.stats["outputs"]) == (7, 7)


class Failing:
    """A network that fails in one call."""

    def __init__(self, seq_len: int, at: int) -> None:
        self._left, self._forward = at, fake_network(seq_len)

    def __call__(self, windows: FloatArray) -> FloatArray:
        self._left -= 1
        if self._left == -1:
            raise MemoryError("out of memory")
        return self._forward(windows)


@pytest.mark.parametrize("mode", ["weight", "nonoverlap"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_failure_of_the_network_moves_no_answer_to_another_frame(mode: str, at: int) -> None:
    images = [frame(index) for index in range(9)]
    stream, rows, raised = stream_of(3, forward=Failing(3, at), eval_mode=mode), [], 0
    for image in images:
        try:
            rows.append(stream.push(image))
        except MemoryError:
            raised += 1
    got = [row for row in rows if row is not None] + stream.flush()
    expected = pushed(stream_of(3, eval_mode=mode), images)
    assert raised == 1 and [row["Frame"] for row in got] == list(range(9))
    for row, right in zip(got, expected, strict=True):
        assert (row["X"], row["Y"]) in {(right["X"], right["Y"]), (0, 0)}
    assert sum(row["Visibility"] for row in got) >= sum(row["Visibility"] for row in expected) - 3 > 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.full((1, 2, 288, 512), np.nan, np.float32), "NaN or infinity"),
        (np.full((1, 2, 288, 512), np.inf, np.float32), "NaN or infinity"),
        (
            np.zeros((1, 3, 288, 512), np.float32),
            r"put out \(1, 3, 288, 512\) for 1 windows; expected \(1, 2, 288, 512\)",
        ),
    ],
)
def test_what_is_no_heat_map_is_refused(answer: FloatArray, words: str) -> None:
    stream = stream_of(2, forward=lambda windows: answer)
    stream.push(frame(0))
    with pytest.raises(ModelOutputError, match=words):
        stream.push(frame(1))


def test_memory_does_not_grow_with_the_clip() -> None:
    stream = stream_of(3, "concat", median_warmup=6)
    for index in range(40):
        stream.push(frame(index))
    held = (stream._delayed, stream._proc, stream._fidq, stream._answered, stream._ensemble, stream._warmup_bgr)
    assert [len(part) for part in held] == [3, 3, 5, 0, 2, 0]


def test_predecessors_decode_is_an_option() -> None:
    cold = np.zeros((1, 1, 288, 512), np.float32)
    cold[0, 0, 40, 80] = 0.02
    stream = stream_of(1, forward=lambda windows: cold)
    assert stream._heatmap_to_xy(cold[0, 0]) == (0, 0, 0)  # no size is known before the first frame
    assert pushed(stream, [frame(0)])[0]["Visibility"] == 0
    stream.reset()
    stream.options = TrackOptions(decode="argmax")
    row = pushed(stream, [frame(0)])[0]
    assert (row["X"], row["Y"], row["Visibility"]) == (20, 10, 1)
    assert stream._heatmap_to_xy(cold[0, 0]) == (20, 10, 1)
    assert stream._heatmap_to_xy(None) == (0, 0, 0)
    cold[:] = 0
    cold[0, 0, 3, 3] = 0.9
    assert stream._heatmap_to_xy(cold[0, 0]) == (0, 0, 0)  # pixel (0, 0) of the source


def test_options_cannot_change_in_the_middle_of_a_video() -> None:
    stream = stream_of(2)
    stream.push(frame(0))
    with pytest.raises(ConfigError, match=r"call reset\(\) first"):
        stream.options = TrackOptions(stride=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 1.0},
        {"threshold": float("nan")},
        {"decode": "peak"},
        {"resize": "cubic"},
        {"stride": 0},
        {"warm_up": "lose"},
        {"rolling_window": -1},
        {"rolling_every": 0},
    ],
)
def test_an_option_out_of_range_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is .*; expected"):
        TrackOptions(**wrong)


def test_a_rolling_background_keeps_every_frame_in_order() -> None:
    options = TrackOptions(rolling_window=3, rolling_every=2)
    stream = stream_of(3, "subtract", median_warmup=4, options=options)
    rows = pushed(stream, [frame(index) for index in range(11)])
    assert [row["Frame"] for row in rows] == list(range(11))


@pytest.mark.parametrize(("parameter", "value"), [("eval_mode", "gauss"), ("bg_mode", "blur"), ("seq_len", 0)])
def test_a_wrong_parameter_is_refused_at_once(parameter: str, value: object) -> None:
    arguments: dict[str, Any] = {"seq_len": 3, "bg_mode": "", parameter: value}
    with pytest.raises(ValueError, match=r"Invalid mode|no bg_mode|seq_len is 0"):
        TrackNetStream(fake_network(3), **arguments)
