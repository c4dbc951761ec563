"""Backgrounds against numpy's own median, whatever the number of frames and however it is spread over the pushes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.ball.background import RollingMedian, StreamingMedian, median_of, sample_indices
from sightline.errors import ImageError
from sightline.types import Image

COUNTS = (1, 2, 3, 4, 5, 8, 49, 50, 254, 255, 256, 257, 511, 600)


def frames(count: int, size_hw: tuple[int, int] = (6, 7), *, seed: int = 0, levels: int = 256) -> list[Image]:
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, levels, (count, *size_hw, 3), np.uint8))


def by_numpy(stack: list[Image]) -> Image:
    return np.median(np.stack(stack), axis=0).astype(np.uint8)


class TestMedianOf:
    @pytest.mark.parametrize("count", COUNTS)
    @pytest.mark.parametrize("levels", [256, 3])
    def test_it_is_numpys_median_cut_to_whole_levels(self, count: int, levels: int) -> None:
        stack = frames(count, levels=levels, seed=count)
        assert np.array_equal(median_of(stack), by_numpy(stack))

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=12))
    def test_any_bytes_at_all(self, rows: list[bytes]) -> None:
        stack = [np.frombuffer(row, np.uint8) for row in rows]
        assert np.array_equal(median_of(stack), by_numpy(stack))

    def test_half_a_level_is_dropped_and_nothing_overflows(self) -> None:
        pair = [np.array([[[255, 254, 0]]], np.uint8), np.array([[[254, 255, 1]]], np.uint8)]
        assert median_of(pair).tolist() == [[[254, 254, 0]]]

    def test_a_picture_of_many_blocks_is_put_together_in_order(self) -> None:
        stack = frames(9, (260, 310))  # 241,800 values: several blocks, the last one short
        assert np.array_equal(median_of(stack), by_numpy(stack))

    def test_frames_may_come_from_an_iterator_and_be_views(self) -> None:
        stack = frames(7, (8, 10))
        mirrored: Iterator[Image] = (frame[::2, ::-1] for frame in stack)
        assert np.array_equal(median_of(mirrored), by_numpy([frame[::2, ::-1] for frame in stack]))

    def test_a_ball_that_passes_through_leaves_no_trace(self) -> None:
        court = np.full((9, 40, 3), 90, np.uint8)
        clip = [court.copy() for _ in range(20)]
        for column, frame in enumerate(clip):
            frame[4, 2 * column : 2 * column + 2] = 250
        assert np.array_equal(median_of(clip), court)

    def test_it_takes_under_fifty_megabytes_beside_its_frames(self) -> None:
        stack = [np.full((720, 1280, 3), level, np.uint8) for level in range(10)]
        tracemalloc.start()
        median_of(stack)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 50e6

    @pytest.mark.parametrize(
        ("stack", "told"),
        [
            ([], "at least one frame"),
            ([np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)], r"\(2, 3, 3\) after \(2, 2, 3\)"),
            ([np.zeros((2, 2, 3), np.float32)], "uint8 frames that are not empty, got float32"),
            ([np.zeros((0, 2, 3), np.uint8)], "not empty"),
        ],
    )
    def test_what_has_no_median_is_refused(self, stack: list[Image], told: str) -> None:
        with pytest.raises(ImageError, match=told):
            median_of(stack)


class TestStreamingMedian:
    @pytest.mark.parametrize("capacity", [1, 2, 3, 4, 7, 12])
    def test_it_is_exact_after_every_push(self, capacity: int) -> None:
        median, stack = StreamingMedian(capacity), frames(capacity, seed=capacity)
        for count, frame in enumerate(stack, start=1):
            median.push(frame)
            assert len(median) == count and median.full == (count == capacity)
            assert np.array_equal(median.median(), by_numpy(stack[:count]))

    def test_a_picture_of_many_chunks_is_put_together_in_order(self) -> None:
        median, stack = StreamingMedian(6), frames(6, (130, 200))
        for frame in stack:
            median.push(frame)
        assert np.array_equal(median.median(), by_numpy(stack))

    def test_the_caller_may_use_its_buffer_again(self) -> None:
        stack, median, buffer = frames(5), StreamingMedian(5), np.empty((6, 7, 3), np.uint8)
        for frame in stack:
            buffer[:] = frame
            median.push(buffer)
            assert np.array_equal(buffer, frame)
        assert np.array_equal(median.median(), by_numpy(stack))

    def test_a_median_taken_is_not_changed_by_later_pushes(self) -> None:
        low, high = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 200, np.uint8)
        median = StreamingMedian(4)
        median.push(low)
        before = median.median()
        median.push(high)
        assert before.max() == 0 and median.median().min() == 100

    def test_it_holds_half_of_its_frames(self) -> None:
        frame = np.zeros((200, 300, 3), np.uint8)
        tracemalloc.start()
        median = StreamingMedian(40)
        for _ in range(40):
            median.push(frame)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 22 * frame.nbytes

    def test_no_push_does_more_than_its_share(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Work counted, not timed: no step goes through more rows than half the capacity, and none more than once."""
        steps: list[int] = []
        real = np.maximum
        monkeypatch.setattr(
            "sightline.ball.background.np.maximum",
            lambda *arrays, out: steps.append(1) or real(*arrays, out=out),
        )
        median = StreamingMedian(20)
        for frame in frames(20):
            before = len(steps)
            median.push(frame)
            assert len(steps) - before <= 11

    def test_another_shape_is_refused_and_nothing_is_lost(self) -> None:
        median, stack = StreamingMedian(3), frames(2)
        median.push(stack[0])
        with pytest.raises(ImageError, match=r"one shape, got \(6, 8, 3\) after \(6, 7, 3\)"):
            median.push(np.zeros((6, 8, 3), np.uint8))
        median.push(stack[1])
        assert np.array_equal(median.median(), by_numpy(stack))

    def test_before_the_first_frame_and_after_the_last_it_says_so(self) -> None:
        median = StreamingMedian(1)
        with pytest.raises(ImageError, match="at least one frame"):
            median.median()
        median.push(frames(1)[0])
        with pytest.raises(ValueError, match="has its 1 frames"):
            median.push(frames(1)[0])
        with pytest.raises(ValueError, match="capacity is 0; expected 1 or more"):
            StreamingMedian(0)


class TestRollingMedian:
    def rolled(self, stack: list[Image], **options: int) -> list[Image]:
        median = RollingMedian(**options)
        seen = []
        for frame in stack:
            median.push(frame)
            seen.append(median.median().copy())
        return seen

    @pytest.mark.parametrize(("window", "every"), [(1, 1), (3, 1), (4, 3), (5, 7), (2, 50)])
    def test_each_background_is_the_median_of_the_frames_it_names(self, window: int, every: int) -> None:
        stack = frames(70, (5, 6), seed=window)
        for index, background in enumerate(self.rolled(stack, window=window, every=every)):
            finished = (index + 1) // every  # sets whose every slice is done
            sampled = stack[0 : finished * every : every][-window:]
            assert np.array_equal(background, by_numpy(sampled or stack[:1])), index

    def test_it_follows_light_that_fades(self) -> None:
        stack = [np.full((4, 4, 3), 200 - index // 2, np.uint8) for index in range(200)]
        backgrounds = self.rolled(stack, window=5, every=4)
        # The middle of five samples four frames apart is 8 frames old when its set is complete, and at most 8 more
        # pass before the next is: 8 levels of the fading, half a level a frame.
        lag = [int(b[0, 0, 0]) - int(f[0, 0, 0]) for f, b in zip(stack[40:], backgrounds[40:], strict=True)]
        assert max(lag) <= 8 and min(lag) >= 0

    def test_a_start_stays_until_the_window_has_filled(self) -> None:
        start, stack = np.full((6, 7, 3), 77, np.uint8), frames(12)
        median = RollingMedian(3, every=2, start=start)
        assert median.median().min() == 77
        for index, frame in enumerate(stack):
            median.push(frame)
            waiting = index < 5
            assert np.array_equal(median.median(), start) == waiting
        assert np.array_equal(median.median(), by_numpy(stack[6:12:2]))

    def test_the_caller_may_use_its_buffer_again(self) -> None:
        stack, buffer, median = frames(9), np.empty((6, 7, 3), np.uint8), RollingMedian(3, every=3)
        for frame in stack:
            buffer[:] = frame
            median.push(buffer)
        assert np.array_equal(median.median(), by_numpy(stack[::3]))

    def test_another_shape_is_refused(self) -> None:
        median = RollingMedian(start=np.zeros((6, 7, 3), np.uint8))
        with pytest.raises(ImageError, match="one shape"):
            median.push(np.zeros((7, 7, 3), np.uint8))
        with pytest.raises(ImageError, match="at least one frame"):
            RollingMedian().median()
        with pytest.raises(ValueError, match="expected 1 or more of both"):
            RollingMedian(3, every=0)


class TestSampleIndices:
    @given(st.integers(0, 5000), st.integers(1, 300))
    def test_they_are_ascending_in_range_and_evenly_spread(self, frame_count: int, max_samples: int) -> None:
        chosen = sample_indices(frame_count, max_samples)
        assert len(chosen) == min(frame_count, max_samples)
        assert all(0 <= index < frame_count for index in chosen)
        gaps = np.diff(chosen)
        assert len(gaps) == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)

    def test_a_short_clip_is_taken_whole_and_nothing_gives_nothing(self) -> None:
        assert sample_indices(4, 10) == [0, 1, 2, 3]
        assert sample_indices(10, 4) == [0, 2, 5, 7]
        assert sample_indices(0, 4) == []
        with pytest.raises(ValueError, match="max_samples is 0"):
            sample_indices(9, 0)
