"""The files of the stages: what was made from what, whole or damaged, and what comes back out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import SightlineError, SourceError
from sightline.pipeline.stages.records import (
    Origin,
    read_arrays,
    read_object,
    read_record,
    recording_digest,
    write_arrays,
    write_object,
)
from sightline.pipeline.stages.tracklet_file import Tracked, read_tracked, write_tracked
from stage_films import FILM, tracked, tracklet

ORIGIN = Origin("stage2_track", {"tracker": "appearance", "settings": {"motion_s": 1.2}}, {"stage1_detect": "abc"})


def test_the_same_origin_has_the_same_fingerprint_whatever_the_order_of_its_keys() -> None:
    turned = Origin("stage2_track", {"settings": {"motion_s": 1.2}, "tracker": "appearance"}, {"stage1_detect": "abc"})
    assert turned.fingerprint == ORIGIN.fingerprint


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Origin("stage2_track", {"tracker": "sort", "settings": {"motion_s": 1.2}}, ORIGIN.inputs), "tracker changed"),
        (
            Origin("stage2_track", {"tracker": "appearance", "settings": {"motion_s": 2}}, ORIGIN.inputs),
            "settings.motion_s changed",
        ),
        (Origin("stage2_track", ORIGIN.settings, {"stage1_detect": "abd"}), "stage1_detect changed"),
        (Origin("stage2_track", ORIGIN.settings, {}), "stage1_detect changed"),
        (Origin("stage3a", ORIGIN.settings, ORIGIN.inputs), "the format of its file changed"),
    ],
)
def test_what_changed_is_named(other: Origin, told: str) -> None:
    record = ORIGIN.record("12 tracklets", {})
    assert ORIGIN.changed_since(record) == ""
    assert other.changed_since(record) == told


def test_a_record_is_kept_in_both_kinds_of_file(tmp_path: Path) -> None:
    record = ORIGIN.record("12 tracklets", {"film": "x"})
    write_arrays(tmp_path / "a.npz", record, {"rows": np.arange(3)})
    write_object(tmp_path / "a.json", record, {"rows": [0, 1, 2]})
    assert read_record(tmp_path / "a.npz") == read_record(tmp_path / "a.json") == record
    assert read_arrays(tmp_path / "a.npz")[1]["rows"].tolist() == read_object(tmp_path / "a.json")[1]["rows"]


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_tracked(tmp_path / name, tracked(tracklet(1, range(5))), ORIGIN.record("", {}))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_a_file_cut_short_is_damaged_and_said_so(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, ORIGIN.record("", {}), {"rows": np.arange(3000)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(SightlineError, match=r"a\.npz is damaged .*delete it, and it is made again"):
        read_record(path)


def test_a_file_with_a_flipped_bit_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, ORIGIN.record("", {}), {"rows": np.arange(3000)})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(SightlineError, match="is damaged"):
        read_record(path)


def test_a_pickle_in_the_place_of_an_array_is_not_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    np.savez(tmp_path / "a.npz", meta=np.array([Bomb()], dtype=object))
    with pytest.raises(SightlineError, match="is damaged"):
        read_record(tmp_path / "a.npz")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"meta": 3}', "{}", "[" * 100_000])
def test_a_json_that_is_none_of_ours_is_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(SightlineError, match="is damaged"):
        read_record(tmp_path / "a.json")


# Tracklets


def test_tracklets_come_back_as_they_were(tmp_path: Path) -> None:
    first, second = tracklet(3, range(4), velocity=(8, 0)), tracklet(9, [2, 5, 7], at=(1.5, 2.25))
    given = Tracked(FILM, (first, second), ((3, 4), (9,)))
    write_tracked(tmp_path / "a.npz", given, ORIGIN.record("", {}))
    found = read_tracked(tmp_path / "a.npz")
    assert (found.film, found.members) == (given.film, given.members)
    for one, other in zip(found.tracklets, given.tracklets, strict=True):
        assert one.track_id == other.track_id
        for name in ("frames", "times_s", "boxes_xyxy", "scores"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
            assert getattr(one, name).dtype == getattr(other, name).dtype


def test_no_tracklets_come_back_as_none(tmp_path: Path) -> None:
    write_tracked(tmp_path / "a.npz", tracked(), ORIGIN.record("", {}))
    assert len(read_tracked(tmp_path / "a.npz")) == 0


def test_arrays_that_are_no_tracklets_are_one_line(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"film": FILM.to_record()}, {"lengths": np.array([5])})
    with pytest.raises(SightlineError, match=r"a\.npz holds no tracklets"):
        read_tracked(tmp_path / "a.npz")


# Recordings


def test_a_recording_is_another_when_its_size_its_time_or_its_name_is(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"frames")
    os.utime(film, ns=(1, 10**18))
    digests = {recording_digest(film)}
    film.write_bytes(b"frames and more")
    os.utime(film, ns=(1, 10**18))
    digests.add(recording_digest(film))
    os.utime(film, ns=(1, 10**18 + 1))
    digests.add(recording_digest(film))
    digests.add(recording_digest(film.rename(tmp_path / "other.mp4")))
    assert len(digests) == 4


def test_a_folder_of_frames_is_another_with_one_frame_more(tmp_path: Path) -> None:
    (tmp_path / "1.png").touch()
    before = recording_digest(tmp_path)
    assert recording_digest(tmp_path) == before
    (tmp_path / "2.png").touch()
    assert recording_digest(tmp_path) != before


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"video not found: .*absent\.mp4"):
        recording_digest(tmp_path / "absent.mp4")
