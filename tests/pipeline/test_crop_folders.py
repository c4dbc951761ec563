"""Folders of people and the tracks beside their crops, well-meant and otherwise."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import SightlineError
from sightline.pipeline.crop_folders import people_in, read_sightings

TRACK = {"frame_numbers": [3, 5], "bboxes": [[1, 2, 3, 4], [5, 6, 7, 8]]}


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def with_track(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "track.json").write_text(json.dumps({**TRACK, **changes}))
    return folder


# People


def test_every_folder_is_a_person_and_both_are_in_counting_order(tmp_path: Path) -> None:
    touched(
        tmp_path, "p10/1.jpg", "p9/10.jpg", "p9/9.png", "p9/notes.txt", "p9/.hidden.jpg", "readme.txt", ".git/x.jpg"
    )
    found = people_in(tmp_path)
    assert [person.person_id for person in found] == ["p9", "p10"]
    assert [file.name for file in found[0].files] == ["9.png", "10.jpg"]


def test_a_folder_without_images_is_a_person_without_crops(tmp_path: Path) -> None:
    touched(tmp_path, "a/notes.txt")
    assert people_in(tmp_path)[0].files == ()


def test_the_output_may_lie_among_the_people(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.jpg", "webp_viewer/webp/person_0.webp")
    assert [person.person_id for person in people_in(tmp_path, leave_out=tmp_path / "webp_viewer")] == ["a"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any byte in a name")
def test_a_folder_may_be_called_anything_the_system_lets_it(tmp_path: Path) -> None:
    for name in (b"<b>&amp;", "🙂".encode(), b"\xff", b"[a]*", b"~nobody", b"-x"):
        folder = os.fsencode(tmp_path) + b"/" + name
        os.mkdir(folder)  # noqa: PTH102 - bytes
        touched(Path(os.fsdecode(folder)), "1.jpg")
    found = people_in(tmp_path)
    assert {person.person_id for person in found} == {"<b>&amp;", "🙂", "\\xff", "[a]*", "~nobody", "-x"}
    assert all(len(person.files) == 1 for person in found)


def test_a_folder_with_nobody_in_it_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match=r"no people in .*: it is empty; expected a folder of crops for each"):
        people_in(tmp_path)
    touched(tmp_path, "crop.jpg")
    with pytest.raises(SightlineError, match=r"only files, such as crop\.jpg"):
        people_in(tmp_path)
    with pytest.raises(SightlineError, match=r"nowhere does not exist"):
        people_in(tmp_path / "nowhere")
    with pytest.raises(SightlineError, match=r"crop\.jpg is a file"):
        people_in(tmp_path / "crop.jpg")


class Trap:
    """What a hostile pickle does when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (os.environ["SIGHTLINE_TRAP"],)


def test_no_pickle_is_ever_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_TRAP", str(tmp_path / "sprung"))
    trap = pickle.dumps(Trap())
    (tmp_path / "crops.pkl").write_bytes(trap)
    for target in (tmp_path / "crops.pkl", tmp_path):
        with pytest.raises(SightlineError, match=r"save every crop as PERSON/FRAME\.png"):
            people_in(target)
    touched(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "track.pkl").write_bytes(trap)
    with pytest.raises(SightlineError, match=r"track\.pkl is a pickle, which could run code"):
        people_in(tmp_path)
    (tmp_path / "a" / "track.pkl").unlink()
    objects = np.empty(1, object)
    objects[0] = Trap()
    np.savez(tmp_path / "a" / "track.npz", frame_numbers=objects, bboxes=np.zeros((1, 4)))
    with pytest.raises(SightlineError, match=r"track\.npz cannot be used: .*allow_pickle"):
        people_in(tmp_path)
    assert not (tmp_path / "sprung").exists()


# Tracks


def test_a_track_is_read_from_json(tmp_path: Path) -> None:
    folder = with_track(tmp_path / "a", confidences=[0.5, 0.25], fps=25, frame_size=[1920, 1080], camera="yard")
    found = read_sightings(folder)
    assert found is not None
    assert found.frames.tolist() == [3, 5] and found.boxes_xyxy.tolist() == TRACK["bboxes"]
    assert found.confidences.tolist() == [0.5, 0.25]
    assert (found.fps, found.size_hw, found.camera) == (25.0, (1080, 1920), "yard")


def test_and_the_same_from_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "track.npz", **TRACK, fps=25, frame_size=(1920, 1080), camera="yard")
    found = read_sightings(tmp_path)
    assert found is not None
    assert found.frames.tolist() == [3, 5] and found.confidences.tolist() == [1, 1]
    assert (found.fps, found.size_hw, found.camera) == (25.0, (1080, 1920), "yard")


def test_no_track_is_no_track(tmp_path: Path) -> None:
    assert read_sightings(tmp_path) is None


def test_two_tracks_are_one_too_many(tmp_path: Path) -> None:
    with_track(tmp_path)
    np.savez(tmp_path / "track.npz", **TRACK)
    with pytest.raises(SightlineError, match=r"both track\.json and track\.npz; remove one"):
        read_sightings(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frame_numbers": [5, 3]}, "whole numbers from 0 that ascend"),
        ({"frame_numbers": [3, 3]}, "ascend, each once"),
        ({"frame_numbers": [-1, 3]}, "whole numbers from 0"),
        ({"frame_numbers": [0.5, 3]}, "whole numbers"),
        ({"frame_numbers": [3, 10**30]}, "whole numbers"),
        ({"frame_numbers": [3, 2**40]}, "whole numbers"),
        ({"frame_numbers": [], "bboxes": []}, "at least one"),
        ({"frame_numbers": "many"}, "could not convert"),
        ({"frame_numbers": None}, "whole numbers"),
        ({"bboxes": [[1, 2, 3, 4]]}, r"bboxes are \(1, 4\); expected \(2, 4\)"),
        ({"bboxes": [[1, 2, 3, 4], [1, 2, 3, None]]}, r"expected \(2, 4\) finite numbers"),
        ({"bboxes": [[1, 2, 3, 4], [1]]}, "cannot be used"),
        ({"confidences": [1]}, r"confidences are \(1,\); expected \(2,\)"),
        ({"fps": 0}, "fps is 0; expected frames per second, above 0"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"fps": [25]}, "cannot be used"),
        ({"frame_size": [0, 9]}, r"expected \(width, height\)"),
        ({"frame_size": [1, 2, 3]}, "cannot be used"),
    ],
)
def test_a_track_that_makes_no_sense_is_one_line_with_its_name(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with_track(tmp_path, **changes)
    with pytest.raises(SightlineError, match=words) as caught:
        read_sightings(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'track.json'} cannot be used: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be used"),
        (b"[]", "it is no JSON object"),
        (b"{}", "it has no frame_numbers; expected frame_numbers and bboxes"),
        (b"\xff\xfe", "cannot be used"),
        (b"[" * 100_000, "cannot be used"),
        (b'{"frame_numbers": [1' + b"0" * 5000 + b"]}", "cannot be used"),
    ],
)
def test_a_file_that_is_no_track_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "track.json").write_bytes(content)
    with pytest.raises(SightlineError, match=words):
        read_sightings(tmp_path)


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_torn_npz_is_one_line(tmp_path: Path, keep: int) -> None:
    np.savez(tmp_path / "track.npz", **TRACK)
    whole = (tmp_path / "track.npz").read_bytes()
    (tmp_path / "track.npz").write_bytes(whole[:keep])
    with pytest.raises(SightlineError, match=r"track\.npz cannot be used"):
        read_sightings(tmp_path)


# Which crop is which frame


def test_as_many_crops_as_frames_are_in_the_order_of_the_frames(tmp_path: Path) -> None:
    touched(with_track(tmp_path / "a"), "x9.jpg", "x10.jpg")
    assert people_in(tmp_path)[0].rows() == [0, 1]


def test_fewer_crops_are_matched_by_the_number_in_their_names(tmp_path: Path) -> None:
    touched(with_track(tmp_path / "a"), "c1_000005.jpg")
    touched(with_track(tmp_path / "b"), "c1_000003.jpg", "c1_000004.jpg", "portrait.jpg")
    assert [person.rows() for person in people_in(tmp_path)] == [[1], [0, None, None]]


def test_without_a_track_no_crop_has_a_frame(tmp_path: Path) -> None:
    touched(tmp_path, "a/3.jpg")
    assert people_in(tmp_path)[0].rows() == [None]
