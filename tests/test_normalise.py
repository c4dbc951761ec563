from __future__ import annotations

import weakref
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import ConfigError, OutputError, SourceError
from sightline.normalise import at_rate, normalised
from sightline.types import Frame, Image
from sightline.video import VideoFile
from written_videos import jpeg, shade, shades_jpeg, write_matroska, write_shades


def shades_and_rate(path: Path) -> tuple[list[int], float]:
    with VideoFile(path) as video:
        return [round(float(frame.image.mean()) / 10) for frame in video], video.info.fps


def numbered(times_ms: list[int]) -> Iterator[Frame]:
    for index, time_ms in enumerate(times_ms):
        yield Frame(shade(index, (1, 1)), index, time_ms / 1000)


def number_of(image: Image) -> int:
    return int(image[0, 0, 0])


def test_what_is_as_wanted_is_the_source_itself(tmp_path: Path) -> None:
    source, target = write_shades(tmp_path / "clip.avi", 10, fps=25), tmp_path / "target.mp4"
    for fps, size_hw in ((None, None), (25, None), (25, (48, 64)), (None, (1080, 1920)), (25.001, None)):
        assert normalised(source, target, fps=fps, size_hw=size_hw) == source
    assert not target.exists()


def test_every_fifth_of_two_frames_is_taken_from_25_to_10_a_second(tmp_path: Path) -> None:
    source = write_shades(tmp_path / "clip.avi", 25, fps=25)
    target = normalised(source, tmp_path / "slow.avi", fps=10, size_hw=None)
    # At 0, 0.1, 0.2, … s; 0.1 s lies between the frames at 0.08 and 0.12 s, and the later one is taken.
    assert target == tmp_path / "slow.avi"
    assert shades_and_rate(target) == ([0, 3, 5, 8, 10, 13, 15, 18, 20, 23], 10)


def test_an_uneven_rate_becomes_even_without_changing_how_long_anything_is_shown(tmp_path: Path) -> None:
    frames = shades_jpeg(5)
    source = write_matroska(tmp_path / "uneven.mkv", frames, [0, 40, 200, 240, 280], fps=25)
    target = normalised(source, tmp_path / "even.avi", fps=25, size_hw=None)
    # The frame at 40 ms stands until 120 ms, half-way to the next.
    assert shades_and_rate(target) == ([0, 1, 1, 2, 2, 2, 3, 4], 25)


def test_the_claimed_rate_is_made_true_where_only_the_size_is_given(tmp_path: Path) -> None:
    frames = [jpeg(shade(10 * index, (96, 128))) for index in range(4)]
    source = write_matroska(tmp_path / "uneven.mkv", frames, [0, 40, 120, 160], size_hw=(96, 128))
    target = normalised(source, tmp_path / "small.avi", fps=None, size_hw=(48, 64))
    assert shades_and_rate(target) == ([0, 1, 2, 2, 3], 25)


@pytest.mark.parametrize(
    ("size_hw", "within_hw", "becomes_hw"),
    [
        ((96, 128), (48, 64), (48, 64)),
        ((96, 128), (48, 1000), (48, 64)),
        ((96, 128), (1000, 64), (48, 64)),
        ((128, 96), (64, 64), (64, 48)),
        ((100, 120), (50, 50), (40, 50)),  # 41.67 high; sides are even
        ((4, 400), (100, 100), (2, 100)),
    ],
)
def test_a_larger_picture_is_fitted_within_the_size(
    tmp_path: Path, size_hw: tuple[int, int], within_hw: tuple[int, int], becomes_hw: tuple[int, int]
) -> None:
    picture = shade(0, size_hw)
    picture[:, size_hw[1] // 2 :] = 200
    source = write_matroska(tmp_path / "clip.mkv", [jpeg(picture)] * 2, [0, 40], size_hw=size_hw)
    with VideoFile(normalised(source, tmp_path / "small.avi", fps=None, size_hw=within_hw)) as small:
        assert small.info.size_hw == becomes_hw
        first, _ = small
    assert first.image[:, : becomes_hw[1] // 2 - 4].mean() < 20
    assert first.image[:, becomes_hw[1] // 2 + 4 :].mean() > 180


def test_a_folder_of_images_becomes_a_video_where_it_has_to_change(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), shade(10 * number))
    assert normalised(folder, tmp_path / "clip.avi", fps=30, size_hw=None) == folder
    assert shades_and_rate(normalised(folder, tmp_path / "clip.avi", fps=15, size_hw=None)) == ([0, 2, 4], 15)


def test_a_failure_leaves_what_was_under_the_name(tmp_path: Path) -> None:
    source = write_matroska(tmp_path / "broken.mkv", shades_jpeg(3), [0, 40, 3_600_000])
    target = tmp_path / "even.avi"
    target.write_bytes(b"before")
    with pytest.raises(SourceError, match="frame 2 comes 3,600 s after the one before; more than 600 s cannot"):
        normalised(source, target, fps=10, size_hw=None)
    assert target.read_bytes() == b"before"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["broken.mkv", "even.avi"]


def test_the_source_is_never_overwritten(tmp_path: Path) -> None:
    source = write_shades(tmp_path / "clip.avi", 5)
    content = source.read_bytes()
    (tmp_path / "link.avi").symlink_to(source)
    for target in (source, tmp_path / "link.avi"):
        with pytest.raises(OutputError, match="is the video to be normalised"):
            normalised(source, target, fps=10, size_hw=None)
    assert source.read_bytes() == content


@pytest.mark.parametrize(
    ("fps", "size_hw", "said"),
    [
        (0, None, "fps is 0"),
        (-25, None, "fps is -25"),
        (float("nan"), None, "fps is nan"),
        (5000, None, "fps is 5000"),
        (None, (0, 640), "size is 0x640"),
    ],
)
def test_nonsense_is_refused_before_anything_is_read(
    tmp_path: Path, fps: float | None, size_hw: tuple[int, int] | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        normalised(tmp_path / "none.mp4", tmp_path / "target.mp4", fps=fps, size_hw=size_hw)


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=30), st.sampled_from([1, 5, 10, 24, 29.97, 50]))
def test_every_picture_is_the_nearest_in_time(steps_ms: list[int], fps: float) -> None:
    times_ms = [int(time_ms) for time_ms in 500 + np.cumsum(steps_ms)]
    chosen = [number_of(image) for image in at_rate(numbered(times_ms), fps, last_for_s=0.04)]
    for place, number in enumerate(chosen):
        misses_ms = [abs(time_ms - times_ms[0] - 1000 * place / fps) for time_ms in times_ms]
        assert misses_ms[number] == pytest.approx(min(misses_ms), abs=1e-6)
    length_s = (times_ms[-1] - times_ms[0]) / 1000 + 0.04
    assert abs(len(chosen) / fps - length_s) <= 1 / fps
    assert all(later >= earlier for earlier, later in pairwise(chosen))


def test_of_no_frames_nothing_is_made() -> None:
    assert list(at_rate(iter(()), 25, last_for_s=0.04)) == []


def test_two_frames_are_held_at_a_time() -> None:
    alive: weakref.WeakSet[Frame] = weakref.WeakSet()
    most = 0

    def frames() -> Iterator[Frame]:
        for frame in numbered([40 * index for index in range(50)]):
            alive.add(frame)
            yield frame

    for _ in at_rate(frames(), 25, last_for_s=0.04):
        most = max(most, len(alive))
    assert most <= 4  # the first, for its time; the two; and the loop's own in `frames`
