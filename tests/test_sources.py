from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import SourceError
from sightline.sources import expand_sources
from written_videos import shade


def place(folder: Path, *names: str) -> None:
    """Files that look like videos by their names, which is all that is looked at, and images that are images."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".png"):
            cv2.imwrite(str(folder / name), shade(1))
        else:
            (folder / name).write_bytes(b"content")


def test_a_folder_with_videos_means_all_of_them_in_natural_order(tmp_path: Path) -> None:
    place(
        tmp_path, "door10.mp4", "door9.MKV", "door2.avi", "notes.txt", "poster.png", ".hidden.mp4", "deeper/other.mp4"
    )
    assert expand_sources([str(tmp_path)]) == [
        ("door2", str(tmp_path / "door2.avi")),
        ("door9", str(tmp_path / "door9.MKV")),
        ("door10", str(tmp_path / "door10.mp4")),
    ]


def test_a_folder_with_images_only_is_one_source_with_its_whole_name(tmp_path: Path) -> None:
    place(tmp_path, "2024.11.door/1.png", "2024.11.door/2.png")
    folder = str(tmp_path / "2024.11.door")
    assert expand_sources([folder]) == [("2024.11.door", folder)]


def test_a_glob_means_the_videos_that_match_and_those_in_folders_that_match(tmp_path: Path) -> None:
    place(tmp_path, "a/x10.mp4", "a/x9.mp4", "a/x9.json", "b/1.png", "c/readme.txt")
    assert expand_sources([str(tmp_path / "a" / "x*")]) == [
        ("x9", str(tmp_path / "a/x9.mp4")),
        ("x10", str(tmp_path / "a/x10.mp4")),
    ]
    assert [name for name, _ in expand_sources([str(tmp_path / "*")])] == ["x9", "x10", "b"]
    assert [name for name, _ in expand_sources([str(tmp_path / "**/*.mp4")])] == ["x9", "x10"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    place(tmp_path, "door[1].mp4", "door1.mp4")
    assert expand_sources([str(tmp_path / "door[1].mp4")]) == [("door[1]", str(tmp_path / "door[1].mp4"))]


def test_a_file_named_outright_may_have_any_suffix(tmp_path: Path) -> None:
    place(tmp_path, "recording.dat")
    assert expand_sources([str(tmp_path / "recording.dat")]) == [("recording", str(tmp_path / "recording.dat"))]


def test_the_same_source_named_twice_comes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(tmp_path, "door.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "door.mp4")
    monkeypatch.chdir(tmp_path)
    camera = "rtsp://me:{}@host/1"
    texts = [
        "door.mp4",
        str(tmp_path / "door.mp4"),
        "*.mp4",
        "link.mp4",
        "0",
        "0",
        camera.format("a"),
        camera.format("b"),
    ]
    assert expand_sources(texts) == [("door", "door.mp4"), ("camera-0", "0"), ("host", "rtsp://me:a@host/1")]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/door.mp4", "b/door.mp4"], ["a-door", "b-door"]),
        (["a/door.mp4", "a/door.avi"], ["door.mp4", "door.avi"]),
        (["a/door.mp4", "a/door.avi", "b/door.mp4"], ["door.mp4", "door.avi", "b-door"]),
        (["x/a/door.mp4", "y/a/door.mp4"], ["x-a-door.mp4", "y-a-door.mp4"]),
        (["a/door.mp4", "b/door.mp4", "c/a-door.mp4"], ["door.mp4", "b-door", "c-a-door"]),
        (["a/door.mp4", "b/hall.mp4"], ["door", "hall"]),
    ],
)
def test_names_are_as_short_as_they_may_be_and_differ(tmp_path: Path, files: list[str], names: list[str]) -> None:
    place(tmp_path, *files)
    found = expand_sources([str(tmp_path / file) for file in files])
    assert found == [(name, str(tmp_path / file)) for name, file in zip(names, files, strict=True)]


def test_cameras_are_named_by_their_host_and_never_by_their_password() -> None:
    addresses = [
        "rtsp://me:p@ss@10.0.0.1:554/front",
        "rtsp://me:p@ss@10.0.0.1:554/back",
        "http://10.0.0.2/video.mjpg?user=me&pwd=secret",
        "3",
    ]
    found = expand_sources(addresses)
    assert [source for _, source in found] == addresses
    assert [name for name, _ in found] == ["10.0.0.1-front", "10.0.0.1-back", "10.0.0.2", "camera-3"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.lists(st.sampled_from(["x", "y"]), max_size=2), st.integers(0, 2)),
        max_size=6,
        min_size=1,
        unique_by=str,
    )
)
def test_every_address_gets_a_name_of_its_own(parts: list[tuple[str, list[str], int]]) -> None:
    texts = [f"rtsp://{host}/{'/'.join(path)}?channel={channel}" for host, path, channel in parts]
    found = expand_sources(texts)
    assert [source for _, source in found] == texts
    assert len({name for name, _ in found}) == len(texts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("none.mp4", "video not found"),
        ("*.mkv", "no video matches"),
        ("*.png", "no video matches .*images are named by their folder"),
        ("texts", "no videos and no images in"),
        ("pipe", "is a pipe or a device"),
        ("empty.mp4", "is empty"),
        ("~nobody-of-that-name/x.mp4", "video not found"),
        ("x" * 300, "File name too long"),
        ("nul\0.mp4", "video not found"),
        ("rtsp://me:secret@[::1/x", r"rtsp://me:…@\[::1/x is not an address"),
    ],
)
def test_words_that_mean_nothing_are_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    place(tmp_path, "1.png", "texts/notes.txt")
    os.mkfifo("pipe")
    Path("empty.mp4").touch()
    with pytest.raises(SourceError, match=said) as caught:
        expand_sources([text])
    assert "\n" not in str(caught.value)


def test_no_words_at_all_are_refused() -> None:
    with pytest.raises(SourceError, match="no source is named"):
        expand_sources([])
