from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.errors import ImageError, OutputError, SourceError
from sightline.sources import open_source
from sightline.types import Image
from sightline.video import CODECS, ImageFolder, VideoFile, VideoWriter


def shade(value: int, size_hw: tuple[int, int] = (48, 64)) -> Image:
    return np.full((*size_hw, 3), value, np.uint8)


def write_shades(target: Path, count: int, *, fps: float = 25.0) -> Path:
    """Frame k has the grey value 10 k, which survives any codec well enough to be told from its neighbours."""
    with VideoWriter(target, fps=fps) as writer:
        for index in range(count):
            writer.write(shade(10 * index))
    return target


@pytest.mark.parametrize("suffix", [suffix for suffix in CODECS if suffix != ".m4v"])
def test_what_is_written_is_read_back_frame_by_frame_with_its_time(tmp_path: Path, suffix: str) -> None:
    path = write_shades(tmp_path / f"clip{suffix}", 12, fps=25)
    with open_source(path) as source:
        frames = list(source)
    assert source.info.size_hw == (48, 64)
    assert source.info.fps == pytest.approx(25)
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == pytest.approx([index / 25 for index in range(12)], abs=0.002)
    assert [round(float(frame.image.mean()) / 10) for frame in frames] == list(range(12))


def test_a_frame_stays_what_it_was_while_the_next_is_read(tmp_path: Path) -> None:
    with VideoFile(write_shades(tmp_path / "clip.avi", 3)) as source:
        frames = [(frame, frame.image.copy()) for frame in source]
    assert all(np.array_equal(frame.image, copy) for frame, copy in frames)


def test_an_unfinished_video_is_not_under_its_name(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    with VideoWriter(target, fps=25) as writer:
        writer.write(shade(7))
        assert not target.exists()
    assert target.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = write_shades(tmp_path / "clip.mp4", 2)
    before = target.read_bytes()
    with pytest.raises(ZeroDivisionError), VideoWriter(target, fps=25) as writer:
        writer.write(shade(7))
        raise ZeroDivisionError
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("clip.mp4", before)]


def test_without_a_frame_there_is_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mp4", fps=25):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(ValueError, match=r"a frame of \(24, 64\) after frames of \(48, 64\)")
    with refused, VideoWriter(tmp_path / "clip.mp4", fps=25) as writer:
        writer.write(shade(1))
        writer.write(shade(1, (24, 64)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [("clip.gif", "expected a name that ends in .mp4"), ("none/clip.mp4", "the folder does not exist")],
)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(OutputError, match=said) as caught, VideoWriter(tmp_path / name, fps=25) as writer:
        writer.write(shade(1))
    assert str(tmp_path / name) in str(caught.value)


def test_images_of_a_folder_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 2, 1):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), shade(number))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    with open_source(tmp_path) as source:
        frames = list(source)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 9, 10]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 1 / 30, 2 / 30, 3 / 30])
    assert source.info.frame_count == 4


def test_a_damaged_image_of_a_folder_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), shade(1))
    (tmp_path / "2.png").write_bytes(b"not a png")
    with pytest.raises(ImageError, match=r"2\.png"), ImageFolder(tmp_path) as source:
        list(source)


def test_what_gives_no_frames_is_refused_in_a_line_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no video " * 100)
    (tmp_path / "folder").mkdir()
    for name, said in {
        "none.mp4": "video not found",
        "empty.mp4": "is empty",
        "text.mp4": "is not a video",
        "folder": "no images in",
    }.items():
        with pytest.raises(SourceError, match=said) as caught:
            open_source(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_video_cut_short_gives_what_it_has_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = write_shades(tmp_path / "whole.avi", 20)
    cut = tmp_path / "cut.avi"
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) * 6 // 10])
    with caplog.at_level(logging.WARNING), VideoFile(cut) as source:
        frames = list(source)
    assert 1 <= len(frames) < 20
    assert f"{cut} ends after {len(frames)} of the 20 frames it promises" in caplog.text
