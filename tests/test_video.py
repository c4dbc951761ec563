from __future__ import annotations

import logging
import os
import random
import struct
import subprocess
import sys
import wave
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.capture import packet_times_s
from sightline.errors import ImageError, OutputError, SourceError
from sightline.sources import open_source
from sightline.types import Frame
from sightline.video import CODECS, ImageFolder, VideoFile, VideoWriter
from written_videos import (
    change_box,
    jpeg,
    put_index_first,
    shade,
    shades_jpeg,
    turn,
    write_matroska,
    write_shades,
)

EVERY_40_MS = range(0, 4000, 40)


def read(path: Path) -> list[Frame]:
    with VideoFile(path) as source:
        return list(source)


def shades(frames: list[Frame]) -> list[int]:
    """The numbers that `write_shades` gave the pictures."""
    return [round(float(frame.image.mean()) / 10) for frame in frames]


def times_ms(frames: list[Frame]) -> list[int]:
    return [round(1000 * frame.time_s) for frame in frames]


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


# Times and rotation


def test_frames_have_the_times_the_file_gives_them_however_uneven(tmp_path: Path) -> None:
    uneven = [0, 40, 100, 110, 500, 520, 560, 1000, 1010, 2000]
    path = write_matroska(tmp_path / "uneven.mkv", shades_jpeg(10), uneven, fps=None)
    frames = read(path)
    assert times_ms(frames) == uneven
    assert shades(frames) == list(range(10))


def test_the_rate_of_a_file_that_claims_none_is_measured(tmp_path: Path) -> None:
    uneven = [0, 40, 100, 110, 500, 520, 560, 1000, 1010, 2000]
    path = write_matroska(tmp_path / "uneven.mkv", shades_jpeg(10), uneven, fps=None)
    with VideoFile(path) as source:
        assert source.info.fps == pytest.approx(9 / 2.0)  # nine steps in two seconds, for which OpenCV says 1000
        assert source.info.frame_count == round(4.5 * 2.04)


def test_a_file_of_one_frame_without_a_rate_has_the_usual_one(tmp_path: Path) -> None:
    with VideoFile(write_matroska(tmp_path / "one.mkv", shades_jpeg(1), [0], fps=None)) as source:
        assert source.info.fps == pytest.approx(30, abs=6)
        assert [(frame.index, frame.time_s) for frame in source] == [(0, 0.0)]


def test_the_first_frame_is_at_zero_where_the_file_begins_later(tmp_path: Path) -> None:
    late = [1400 + 40 * index for index in range(6)]
    frames = read(write_matroska(tmp_path / "late.mkv", shades_jpeg(6), late))
    assert times_ms(frames) == [0, 40, 80, 120, 160, 200]


def test_times_that_go_back_or_stand_still_are_reckoned_with_the_rate_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [0, 40, 80, 40, 40, 200, 0, 40, 320, 360]
    path = write_matroska(tmp_path / "broken.mkv", shades_jpeg(10), broken)
    with caplog.at_level(logging.WARNING):
        frames = read(path)
    assert times_ms(frames) == [0, 40, 80, 120, 160, 200, 240, 280, 320, 360]
    assert shades(frames) == list(range(10))
    assert len(caplog.records) == 1
    assert f"{path}: a frame at 0.040 s comes after one at 0.080 s" in caplog.text
    assert "25 frames/s" in caplog.text


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_picture_is_turned_upright_as_its_file_says(tmp_path: Path, degrees: int) -> None:
    picture = shade(0)
    picture[:24, :32], picture[24:, 32:] = 250, 120  # two corners tell all rotations apart
    with VideoWriter(tmp_path / "lying.mp4", fps=25) as writer:
        writer.write(picture)
    with VideoFile(turn(tmp_path / "lying.mp4", degrees)) as source:
        upright = np.rot90(picture, -degrees // 90)  # clockwise
        assert source.info.size_hw == upright.shape[:2]
        (frame,) = source
    assert frame.image.shape == upright.shape
    assert np.abs(frame.image.astype(int) - upright).mean() < 12


def test_what_an_edit_list_cuts_off_is_not_shown(tmp_path: Path) -> None:
    path = write_shades(tmp_path / "trimmed.mp4", 20)

    def from_frame_five(box: bytearray) -> None:
        box[16:24] = struct.pack(">Ii", 600, 5 * 512)  # 0.6 s of the film, from there in units of 1/12800 s

    frames = read(change_box(path, b"elst", from_frame_five))
    assert shades(frames) == list(range(5, 20))
    assert times_ms(frames) == [40 * index for index in range(15)]


def test_times_of_packets_ascend_though_they_are_sent_in_another_order(tmp_path: Path) -> None:
    sent = [40 * (start + place) for start in range(0, 80, 4) for place in (0, 3, 1, 2)]  # a later one is needed first
    path = write_matroska(tmp_path / "reordered.mkv", shades_jpeg(1) * 80, sent)
    assert [round(1000 * time_s) for time_s in packet_times_s(path)] == sorted(sent)


# Going on from a frame


@pytest.mark.parametrize("first", [0, 1, 7, 13, 20])
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".webm"])
def test_going_on_from_a_frame_gives_the_frames_there_would_have_been(tmp_path: Path, suffix: str, first: int) -> None:
    path = write_shades(tmp_path / f"clip{suffix}", 20)
    whole = read(path)
    with VideoFile(path) as source:
        source.start_at(first)
        rest = list(source)
    assert [(frame.index, frame.time_s) for frame in rest] == [(frame.index, frame.time_s) for frame in whole[first:]]
    assert all(np.array_equal(one.image, other.image) for one, other in zip(rest, whole[first:], strict=True))


def test_going_on_in_a_damaged_file_gives_the_same_numbers_and_times(tmp_path: Path) -> None:
    frames = shades_jpeg(10)
    frames[4] = b"no picture"
    broken = [0, 40, 80, 40, 160, 200, 0, 40, 320, 360]
    path = write_matroska(tmp_path / "broken.mkv", frames, broken)
    whole = read(path)
    for first in range(len(whole) + 1):
        with VideoFile(path) as source:
            source.start_at(first)
            rest = list(source)
        assert [(frame.index, frame.time_s) for frame in rest] == [
            (frame.index, frame.time_s) for frame in whole[first:]
        ]
        assert shades(rest) == shades(whole[first:])


def test_a_video_does_not_go_on_from_behind_its_end(tmp_path: Path) -> None:
    refused = pytest.raises(SourceError, match=r"clip\.avi has 5 frames; it cannot go on from frame 6")
    with VideoFile(write_shades(tmp_path / "clip.avi", 5)) as source, refused:
        source.start_at(6)


def test_a_video_does_not_go_back_to_a_frame(tmp_path: Path) -> None:
    with VideoFile(write_shades(tmp_path / "clip.avi", 5)) as source:
        frames = iter(source)
        assert [next(frames).index, next(frames).index] == [0, 1]
        with pytest.raises(SourceError, match="is at frame 2 already; open it again to start at 1"):
            source.start_at(1)
        source.start_at(4)
        assert [frame.index for frame in frames] == [4]


def test_a_folder_goes_on_from_a_frame_too(tmp_path: Path) -> None:
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), shade(10 * number))
    with ImageFolder(tmp_path, fps=10) as source:
        source.start_at(2)
        assert [(frame.index, frame.time_s) for frame in source] == [(2, 0.2), (3, 0.3)]
        source.start_at(4)
        assert list(source) == []
        with pytest.raises(SourceError, match="has 4 frames; it cannot go on from frame 5"):
            source.start_at(5)


def test_pictures_are_picked_by_the_numbers_of_their_frames(tmp_path: Path) -> None:
    frames = shades_jpeg(10)
    frames[4] = b"no picture"
    path = write_matroska(tmp_path / "damaged.mkv", frames, EVERY_40_MS[:10])
    whole = read(path)
    with VideoFile(path) as source:
        picked = list(source.picked({1, 3, 4, 8, 70}))
    assert [round(float(picture.mean()) / 10) for picture in picked] == [1, 3, 5, 9]
    assert all(np.array_equal(one, whole[index].image) for one, index in zip(picked, (1, 3, 4, 8), strict=True))


# Damage


def test_what_is_damaged_in_the_middle_is_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = shades_jpeg(10)
    frames[4], frames[5] = b"no picture" * 10, b"nor here"
    path = write_matroska(tmp_path / "damaged.mkv", frames, EVERY_40_MS[:10])
    with caplog.at_level(logging.WARNING), VideoFile(path) as source:
        seen = list(source)
    assert shades(seen) == [0, 1, 2, 3, 6, 7, 8, 9]
    assert [frame.index for frame in seen] == list(range(8))
    assert times_ms(seen) == [0, 40, 80, 120, 240, 280, 320, 360]
    assert source.left_out == 2
    assert [record.getMessage() for record in caplog.records] == [f"{path} is damaged in the midst; frames left out: 2"]


def test_an_empty_frame_is_left_out_and_those_after_it_keep_their_times(tmp_path: Path) -> None:
    path = write_shades(tmp_path / "clip.mp4", 20)

    def without_the_seventh(box: bytearray) -> None:
        sizes = 20 + 4 * 7
        seventh, eighth = struct.unpack_from(">II", box, sizes)
        struct.pack_into(">II", box, sizes, 0, seventh + eighth)

    with VideoFile(change_box(path, b"stsz", without_the_seventh)) as source:
        frames = list(source)
    assert (len(frames), source.left_out) == (19, 1)
    assert times_ms(frames) == [40 * index for index in range(20) if index != 7]


def test_after_a_damaged_group_of_pictures_decoding_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = put_index_first(write_shades(tmp_path / "damaged.mp4", 25))
    content = bytearray(path.read_bytes())
    pictures = content.index(b"mdat") + 4
    middle = pictures + (len(content) - pictures) * 4 // 10
    content[middle : middle + 60] = random.Random(0).randbytes(60)
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING), VideoFile(path) as source:
        frames = list(source)
    assert (shades(frames)[-1], times_ms(frames)[-1]) == (24, 24 * 40)
    assert all(later.time_s > earlier.time_s for earlier, later in pairwise(frames))
    assert len(frames) + source.left_out == 25
    assert len(caplog.records) == (source.left_out > 0)


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_a_video_cut_short_gives_what_it_has_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    whole = write_shades(tmp_path / f"whole{suffix}", 20)
    content = (put_index_first(whole) if suffix == ".mp4" else whole).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(content[: len(content) * 8 // 10])
    with caplog.at_level(logging.WARNING), VideoFile(cut) as source:
        frames = list(source)
    assert 1 <= len(frames) < 20
    assert f"{cut} ends after {len(frames)} of the 20 frames it promises" in caplog.text


def test_a_whole_video_is_nothing_to_warn_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    uneven = write_matroska(tmp_path / "uneven.mkv", shades_jpeg(5), [0, 40, 900, 910, 2000], fps=None)
    with caplog.at_level(logging.WARNING):
        for path in (uneven, *(write_shades(tmp_path / f"clip{suffix}", 5) for suffix in CODECS)):
            read(path)
    assert caplog.text == ""


def silence(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))


def zeros_for_pictures(path: Path) -> None:
    content = bytearray(put_index_first(write_shades(path, 5)).read_bytes())
    pictures = content.index(b"mdat") + 4
    content[pictures:] = bytes(len(content) - pictures)
    path.write_bytes(content)


def half_of_an_mp4(path: Path) -> None:
    content = write_shades(path, 20).read_bytes()
    path.write_bytes(content[: len(content) // 2])  # its index is at the end


UNREADABLE = {
    "none.mp4": (lambda path: None, "video not found"),
    "text.mp4": (lambda path: path.write_text("this is no video " * 100), "is not a video"),
    "empty.mp4": (Path.touch, "is empty"),
    "sound.wav": (silence, "is not a video"),
    "half.mp4": (half_of_an_mp4, "is not a video"),
    "zeros.mp4": (zeros_for_pictures, "is not a video"),
    "frameless.mkv": (lambda path: write_matroska(path, [], []), "is not a video"),
    "pipe.mp4": (os.mkfifo, "is a pipe or a device"),
    "device.mp4": (lambda path: path.symlink_to("/dev/zero"), "is a pipe or a device"),
    "loop.mp4": (lambda path: path.symlink_to(path), "cannot be read: Too many levels"),
    "folder": (Path.mkdir, "no images in"),
    "file/clip.mp4": (lambda path: path.parent.touch(), "video not found"),
    "x" * 300: (lambda path: None, "cannot be read: File name too long"),
}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("name", UNREADABLE)
def test_what_gives_no_frames_is_refused_at_once_in_a_line_that_says_why(tmp_path: Path, name: str, live: bool) -> None:
    make, said = UNREADABLE[name]
    make(tmp_path / name)
    with pytest.raises(SourceError, match="is a folder" if live and name == "folder" else said) as caught:
        open_source(tmp_path / name, live=live)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_text_is_refused_before_opencv_crashes_on_it(tmp_path: Path) -> None:
    name = tmp_path / os.fsdecode(b"caf\xe9.mkv")
    write_matroska(name, shades_jpeg(2), [0, 40])
    with pytest.raises(SourceError, match=r"caf\\udce9\.mkv': the name is not UTF-8"):
        open_source(name)
    with pytest.raises(OutputError, match=r"caf\\udce9\.avi': the name is not UTF-8"):
        VideoWriter(name.with_suffix(".avi"), fps=25)


def test_a_name_with_a_colon_is_a_file_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_shades(Path("12:30.avi"), 3)
    assert len(read(Path("12:30.avi"))) == 3


@pytest.mark.parametrize("size_hw", [(47, 63), (48, 63), (4320, 7680)])
def test_any_size_is_read_as_it_is(tmp_path: Path, size_hw: tuple[int, int]) -> None:
    frames = [jpeg(shade(value, size_hw)) for value in (10, 200)]
    with VideoFile(write_matroska(tmp_path / "clip.mkv", frames, [0, 40], size_hw=size_hw)) as source:
        assert source.info.size_hw == size_hw
        seen = [(frame.image.shape, int(frame.image[0, 0, 0])) for frame in source]
    assert seen == [((*size_hw, 3), 10), ((*size_hw, 3), 200)]


def test_of_an_odd_size_the_last_row_and_column_are_not_written(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "odd.mp4", fps=25) as writer:
        writer.write(shade(70, (47, 63)))
    assert [frame.image.shape for frame in read(tmp_path / "odd.mp4")] == [(46, 62, 3)]


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from sightline.errors import OutputError
from sightline.video import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
for name in sys.argv[1:]:
    try:
        with VideoWriter(Path(name), fps=25) as writer:
            for shift in range(30):
                writer.write(np.roll(noise, 7 * shift, axis=1))
    except OutputError as exc:
        print(exc)
"""


def test_a_video_that_did_not_fit_on_the_disk_is_no_video(tmp_path: Path) -> None:
    targets = [tmp_path / f"clip{suffix}" for suffix in (".mp4", ".mkv", ".avi", ".webm")]
    targets[0].write_bytes(b"the old one")
    command = [sys.executable, "-c", FULL_DISK, *map(str, targets)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.partition(":")[0] for line in said] == [f"cannot write {target}" for target in targets]
    assert all("of 30 frames reached the disk; is it full?" in line for line in said)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("clip.mp4", b"the old one")]


AS_A_COMMAND = """
import sys
from pathlib import Path
from sightline.cli import main
main(["--version"])
from sightline.errors import SourceError
from sightline.video import VideoFile
for name in sys.argv[1:]:
    try:
        with VideoFile(Path(name)) as source:
            print(len(list(source)))
    except SourceError:
        print("refused")
"""


def test_in_a_command_the_decoders_say_nothing_past_us(tmp_path: Path) -> None:
    frames = shades_jpeg(4)
    frames[2] = b"no picture"
    damaged = write_matroska(tmp_path / "damaged.mkv", frames, EVERY_40_MS[:4])
    half_of_an_mp4(tmp_path / "half.mp4")
    command = [sys.executable, "-c", AS_A_COMMAND, str(damaged), str(tmp_path / "half.mp4")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[1:] == ["3", "refused"]
    assert ran.stderr == f"{damaged} is damaged in the midst; frames left out: 1\n"
