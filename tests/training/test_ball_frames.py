"""The cache of frames: what is in it is what inference feeds, and it never outlives the footage it was made from."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline.ball.planes import as_floats, bg_mode_named, median_of_source
from sightline.ball.windows import FrameWindows
from sightline.errors import ConfigError, OutputError, SourceError
from sightline.sources import open_recording
from sightline.synth.court import Rally as PaintedRally
from sightline.synth.rallies import write_rally
from sightline.training.ball.frames import FrameCache, read_median
from sightline.training.ball.rallies import Rally, rallies_of
from sightline.training.ball.windows import window_planes
from sightline.video import VideoWriter


@pytest.fixture
def rally(tmp_path: Path) -> Rally:
    """Twelve frames at a size that has to be shrunk."""
    write_rally(tmp_path / "data" / "train" / "match1", PaintedRally(4, frames=12, size_hw=(300, 640)))
    return rallies_of(tmp_path / "data" / "train")[0]


def cache_in(tmp_path: Path, bg_mode: str = "concat") -> FrameCache:
    return FrameCache(tmp_path / "cache", bg_mode_named(bg_mode), median_frames=5)


@pytest.mark.parametrize("bg_mode", ["", "subtract", "subtract_concat", "concat"])
def test_a_window_is_to_the_bit_what_inference_feeds(rally: Rally, tmp_path: Path, bg_mode: str) -> None:
    cache = cache_in(tmp_path, bg_mode)
    cache.fill([rally])
    window = as_floats(window_planes(cache.open(cache.path_of(rally)), range(3, 7)))
    assert rally.median is not None
    median = median_of_source(read_median(rally.median), bg_mode_named(bg_mode), resize="area")
    stream = FrameWindows(seq_len=4, bg_mode=bg_mode, eval_mode="weight", median=median, median_warmup=0, options=None)
    with open_recording(rally.frames) as recording:
        fed = [stream.feed(frame.image) for frame in recording if frame.index in range(3, 7)]
    assert fed[-1] is not None
    np.testing.assert_array_equal(window, fed[-1])


def test_behind_the_last_frame_a_window_holds_copies_of_it(rally: Rally, tmp_path: Path) -> None:
    cache = cache_in(tmp_path, "")
    cache.fill([rally])
    footage = cache.open(cache.path_of(rally))
    window = window_planes(footage, range(10, 14)).reshape(4, 3, 288, 512)
    np.testing.assert_array_equal(window[0], footage.planes[10])
    for late in window[1:]:
        np.testing.assert_array_equal(late, footage.planes[11])


def test_a_rally_is_read_once_and_again_when_a_frame_has_changed(rally: Rally, tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    cache.fill([rally])
    path = cache.path_of(rally)
    written = path.stat().st_mtime_ns
    cache.fill([rally])
    assert path.stat().st_mtime_ns == written
    frame = rally.frames / "3.jpg"
    os.utime(frame, ns=(5, 5))
    assert cache.path_of(rally) != path  # of the same size, and written at another time
    frame.write_bytes((rally.frames / "4.jpg").read_bytes())
    os.utime(frame, ns=(1, 1))
    assert cache.path_of(rally) != path
    cache.fill([rally])
    planes = cache.open(cache.path_of(rally)).planes
    np.testing.assert_array_equal(planes[3], planes[4])


def test_another_background_is_another_file(rally: Rally, tmp_path: Path) -> None:
    with_its_own = cache_in(tmp_path).path_of(rally)
    np.savez(rally.match / "median.npz", median=np.zeros((300, 640, 3), np.uint8))
    assert cache_in(tmp_path).path_of(rally) != with_its_own
    assert cache_in(tmp_path, "").path_of(rally) != cache_in(tmp_path, "subtract").path_of(rally)


def test_the_background_of_the_data_set_goes_in_front_red_first(rally: Rally, tmp_path: Path) -> None:
    colours = np.broadcast_to(np.array([10, 20, 30], np.uint8), (300, 640, 3))
    np.savez(rally.match / "median.npz", median=colours)
    cache = cache_in(tmp_path)
    cache.fill([rally])
    front = cache.open(cache.path_of(rally)).front
    assert [np.unique(plane).tolist() for plane in front] == [[10], [20], [30]]


def test_without_a_background_the_median_of_the_rally_is_taken(rally: Rally, tmp_path: Path) -> None:
    (rally.frames / "median.npz").unlink()
    cache = replace(cache_in(tmp_path), median_frames=12)
    cache.fill([rally])
    with open_recording(rally.frames) as recording:
        stack = np.stack([frame.image for frame in recording])
    expected = median_of_source(np.median(stack, axis=0).astype(np.uint8), "concat", resize="area")
    np.testing.assert_array_equal(cache.open(cache.path_of(rally)).front, expected)


def test_a_video_will_do_and_its_median_takes_no_frame_from_it(rally: Rally, tmp_path: Path) -> None:
    (rally.match / "video").mkdir()
    target = rally.match / "video" / f"{rally.name}.avi"
    with VideoWriter(target, fps=30) as video, open_recording(rally.frames) as recording:
        for frame in recording:
            video.write(frame.image)
    for file in rally.frames.iterdir():
        file.unlink()
    rally.frames.rmdir()
    cache = cache_in(tmp_path)
    cache.fill([rally])
    path = cache.path_of(rally)
    assert cache.frames_in(path) == len(cache.open(path).planes) == 12


def test_frames_that_are_not_numbered_one_by_one_are_refused(rally: Rally, tmp_path: Path) -> None:
    (rally.frames / "5.jpg").unlink()
    with pytest.raises(SourceError, match="its images are not 0, 1, 2"):
        cache_in(tmp_path).fill([rally])


def test_a_rally_without_footage_says_where_it_was_looked_for(rally: Rally, tmp_path: Path) -> None:
    rally.frames.rename(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match=r"has no footage: expected .*frame/1_01_00/ or video/1_01_00\.mp4"):
        cache_in(tmp_path).fill([rally])


def test_a_rally_that_cannot_be_read_to_its_end_leaves_no_file(rally: Rally, tmp_path: Path) -> None:
    (rally.frames / "7.jpg").write_bytes(b"no picture")
    cache = cache_in(tmp_path, "")
    with pytest.raises(ValueError, match=r"7\.jpg"):
        cache.fill([rally])
    assert list(cache.folder.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(rally: Rally, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError, match="cache"):
        cache_in(tmp_path).fill([rally])


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_median_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "median.npz"
    if content is None:
        np.savez(path, background=np.zeros((2, 2, 3), np.uint8))
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"median\.npz is no background"):
        read_median(path)
