"""The folder of visits: what goes in comes out, whatever happens in between."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import kept_visits
from kept_visits import picture, visit
from painted_people import mean_colour_model
from sightline.cli import main
from sightline.errors import OutputError
from sightline.pipeline.crop_folders import people_in
from sightline.pipeline.people.visits import Visit
from sightline.pipeline.people.visits_folder import camera_folder, keep_visit, read_visit, read_visits

Log = pytest.LogCaptureFixture


def same(left: Visit, right: Visit) -> bool:
    """Equal but for the pictures, which JPEG changes."""
    one, other = left.tracklet, right.tracklet
    arrays = ("frames", "times_s", "boxes_xyxy", "scores")
    facts = ("number", "camera", "crop_frames", "count", "quality", "continues")
    vectors = [None if track.embedding is None else track.embedding.vectors.tolist() for track in (one, other)]
    names = [None if track.embedding is None else track.embedding.fingerprint for track in (one, other)]
    return (
        all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
        and all(getattr(one, name).dtype == getattr(other, name).dtype for name in arrays)
        and all(getattr(left, name) == getattr(right, name) for name in facts)
        and vectors[0] == vectors[1]
        and names[0] == names[1]
        and one.track_id == other.track_id
    )


def content_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


class TestKeeping:
    def test_a_visit_reads_back_as_it_was(self, tmp_path: Path) -> None:
        kept = [visit(1), visit(2, vector=None, crops=(), continues=1), visit(1, "hall", frames=[0], crops=[0])]
        for one in kept:
            keep_visit(tmp_path, one)
        found = list(read_visits(tmp_path))
        assert len(found) == 3 and all(same(one, other) for one, other in zip(kept, found, strict=True))

    def test_crops_are_pictures_named_by_their_frame(self, tmp_path: Path) -> None:
        folder = keep_visit(tmp_path, visit(12, crops=(11, 13)))
        assert folder == tmp_path / "visits" / "gate" / "000012"
        assert sorted(path.name for path in folder.iterdir()) == ["000011.jpg", "000013.jpg", "track.npz"]
        found = read_visit(tmp_path, "gate", 12)
        assert found is not None
        for frame, crop in zip(found.crop_frames, found.tracklet.crops, strict=True):
            assert np.abs(crop.astype(int) - picture(frame)).mean() < 4

    def test_pictures_may_stay_on_the_disk(self, tmp_path: Path) -> None:
        keep_visit(tmp_path, visit())
        (found,) = read_visits(tmp_path, crops=False)
        assert found.tracklet.crops == () and found.crop_frames == (11, 13)

    def test_they_come_by_camera_and_number(self, tmp_path: Path) -> None:
        for camera, number in (("b", 2), ("a", 1_000_000), ("b", 1), ("a", 999_999), ("a", 10)):
            keep_visit(tmp_path, visit(number, camera))
        order = [(one.camera, one.number) for one in read_visits(tmp_path)]
        assert order == [("a", 10), ("a", 999_999), ("a", 1_000_000), ("b", 1), ("b", 2)]

    def test_where_nothing_was_kept_there_is_nothing(self, tmp_path: Path) -> None:
        assert list(read_visits(tmp_path / "nowhere")) == []
        (tmp_path / "visits").mkdir()
        (tmp_path / "visits" / "a file").touch()
        assert list(read_visits(tmp_path)) == []

    def test_the_same_visit_again_changes_nothing(self, tmp_path: Path) -> None:
        before = content_of(keep_visit(tmp_path, visit()))
        assert content_of(keep_visit(tmp_path, visit())) == before

    def test_another_visit_of_the_number_takes_its_place(self, tmp_path: Path) -> None:
        keep_visit(tmp_path, visit(crops=(10, 11, 12)))
        other = visit(quality=0.75, crops=(13,))
        folder = keep_visit(tmp_path, other)
        assert sorted(path.name for path in folder.iterdir()) == ["000013.jpg", "track.npz"]
        (found,) = read_visits(tmp_path)
        assert same(found, other) and [path.name for path in folder.parent.iterdir()] == ["000001"]

    def test_a_damaged_one_is_mended_by_a_replay(self, tmp_path: Path) -> None:
        folder = keep_visit(tmp_path, visit())
        (folder / "000011.jpg").write_bytes(b"")
        keep_visit(tmp_path, visit())
        assert len(next(read_visits(tmp_path)).tracklet.crops) == 2

    def test_nothing_in_it_is_a_pickle(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(keep_visit(tmp_path, visit()) / "track.npz") as archive:
            heads = {name: archive.read(name)[:200] for name in archive.namelist()}
        assert heads and not any(b"'|O'" in head for head in heads.values())


class TestClustering:
    def test_it_is_the_track_that_cluster_reads(self, tmp_path: Path) -> None:
        keep_visit(tmp_path, visit(7), size_hw=(100, 200))
        (person,) = people_in(tmp_path / "visits" / "gate")
        seen = person.sightings
        assert person.person_id == "000007" and seen is not None
        assert [file.name for file in person.files] == ["000011.jpg", "000013.jpg"] and person.rows() == [1, 3]
        assert (seen.frames.tolist(), seen.camera, seen.size_hw) == ([10, 11, 12, 13], "gate", (100, 200))
        assert seen.fps == kept_visits.FPS
        np.testing.assert_array_equal(seen.boxes_xyxy, visit().tracklet.boxes_xyxy)

    def test_a_visit_of_the_first_frame_alone_has_no_rate(self, tmp_path: Path) -> None:
        keep_visit(tmp_path, visit(frames=[0], crops=[0]))
        sightings = people_in(tmp_path / "visits" / "gate")[0].sightings
        assert sightings is not None and sightings.fps is None and sightings.size_hw is None

    def test_cluster_takes_the_folder_of_a_camera_as_it_is(self, tmp_path: Path) -> None:
        model = mean_colour_model(tmp_path / "colour.onnx")
        for number, frames in ((1, range(10, 14)), (2, range(12, 19)), (3, range(30, 35))):
            keep_visit(tmp_path / "out", visit(number, frames=frames, crops=list(frames)[:3]))
        keep_visit(tmp_path / "out", visit(4, crops=()))
        folder = tmp_path / "out" / "visits" / "gate"
        assert main(["cluster", str(folder), "-m", str(model), "-o", str(tmp_path / "page"), "-q"]) in (0, 3)
        assert (tmp_path / "page" / "person_selection.html").is_file()


class TestNames:
    @pytest.mark.parametrize("camera", ["gate", "MOT17-04", "cam.1", "Front door", "Straße", "大门", "x" * 120])
    def test_a_name_that_every_system_takes_is_kept(self, camera: str) -> None:
        assert camera_folder(camera) == camera

    ODD = (
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a:b",
        "nul",
        "COM1.mp4",
        "x" * 121,
        "é" * 61,
        "e\u0301",
        " a",
        "a ",
        "a.",
        "-a",
    )

    @pytest.mark.parametrize("camera", [*ODD, ".hidden", "a\nb", "a\0b", "\udc80", "rtsp://u:p@h/1?x=*", "😀"])
    def test_any_other_is_its_plain_letters_and_a_digest(self, tmp_path: Path, camera: str) -> None:
        name = camera_folder(camera)
        assert len(name) <= 60 and all(letter.isascii() and (letter.isalnum() or letter in "_-~") for letter in name)
        assert camera_folder(name) != name  # nobody can be called like somebody's digest
        if "\0" not in camera:
            keep_visit(tmp_path, visit(camera=camera))
            assert [one.camera for one in read_visits(tmp_path)] == [camera]

    def test_no_two_names_share_a_folder(self) -> None:
        names = [*self.ODD, "a", "A", "b", "é", "a-b", "a b"]
        assert len({camera_folder(name) for name in names}) == len(names)


class TestStops:
    def test_killed_at_any_step_there_is_the_old_one_or_the_new_one_and_never_half(self, tmp_path: Path) -> None:
        if not hasattr(os, "fork"):
            pytest.skip("this system has other ways to stop a process")
        script = Path(kept_visits.__file__)
        ran = subprocess.run([sys.executable, script, "kill", tmp_path], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr[-2000:]
        steps = int(ran.stdout.split()[0])
        assert steps > 2 * len(("mkdir", "crop", "crop", "track", "folder", "rename", "folder"))

    def test_what_is_half_is_removed_and_what_is_not_ours_stays(self, tmp_path: Path) -> None:
        home = keep_visit(tmp_path, visit()).parent
        half = home / ".000002.0123456789abcdef.tmp"
        half.mkdir()
        (half / "000001.jpg").write_bytes(b"half")
        (home / ".DS_Store").touch()
        (home / "notes").mkdir()
        assert len(list(read_visits(tmp_path))) == 1
        assert sorted(path.name for path in home.iterdir()) == [".DS_Store", "000001", "notes"]

    def test_one_that_stepped_aside_comes_back(self, tmp_path: Path) -> None:
        folder = keep_visit(tmp_path, visit())
        folder.rename(folder.with_name(".000001.old"))
        assert [one.number for one in read_visits(tmp_path)] == [1] and folder.is_dir()

    def test_one_that_stepped_aside_for_good_is_removed(self, tmp_path: Path) -> None:
        folder = keep_visit(tmp_path, visit())
        shutil.copytree(folder, folder.with_name(".000001.old"))
        assert [one.number for one in read_visits(tmp_path)] == [1]
        assert [path.name for path in folder.parent.iterdir()] == ["000001"]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no track": lambda folder: (folder / "track.npz").unlink(),
    "an empty track": lambda folder: (folder / "track.npz").write_bytes(b""),
    "a cut track": lambda folder: (folder / "track.npz").write_bytes((folder / "track.npz").read_bytes()[:900]),
    "no crop": lambda folder: (folder / "000011.jpg").unlink(),
    "a cut crop": lambda folder: (folder / "000011.jpg").write_bytes((folder / "000011.jpg").read_bytes()[:200]),
    "a crop that is text": lambda folder: (folder / "000011.jpg").write_text("crop"),
    "a pickle": lambda folder: np.savez(folder / "track.npz", frame_numbers=np.array([{}], object)),
    "fewer boxes": lambda folder: changed(folder, bboxes=np.zeros((2, 4), np.float32)),
    "no boxes": lambda folder: changed(folder, bboxes=None),
}


def changed(folder: Path, **arrays: object) -> None:
    with np.load(folder / "track.npz") as archive:
        content = {**archive, **arrays}
    np.savez(folder / "track.npz", **{name: array for name, array in content.items() if array is not None})


class TestDamage:
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_one_is_named_and_left_out(self, tmp_path: Path, caplog: Log, damage: str) -> None:
        for number in (1, 2, 3):
            folder = keep_visit(tmp_path, visit(number))
            if number == 2:
                DAMAGES[damage](folder)
        with caplog.at_level(logging.WARNING, logger="sightline"):
            assert [one.number for one in read_visits(tmp_path)] == [1, 3]
        (line,) = caplog.messages
        assert "000002 is damaged and left out: " in line and "\n" not in line and not line.endswith(": ")

    def test_any_byte_of_a_track_may_be_wrong(self, tmp_path: Path) -> None:
        path = keep_visit(tmp_path, visit(crops=())) / "track.npz"
        whole = path.read_bytes()
        for place in range(0, len(whole), 97):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
            for found in read_visits(tmp_path):
                assert same(replace(found, crop_frames=()), visit(crops=()))


class TestDisks:
    def test_a_full_disk_is_one_line_and_what_was_kept_stays(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            small = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", folder]
            if shutil.which("mount") is None or subprocess.run(small, capture_output=True, check=False).returncode:
                pytest.skip("mounting a small disk needs rights that are not there")
            try:
                kept = 0
                with pytest.raises(OutputError, match=r"/gate/\d{6}: the disk is full; free some space") as caught:
                    for number in range(1, 100):
                        keep_visit(Path(folder), visit(number))
                        kept = number
                assert "\n" not in str(caught.value)
                assert not list(Path(folder).rglob(".*"))  # what is half takes no room
                found = list(read_visits(Path(folder)))
                assert kept > 3 and [one.number for one in found] == list(range(1, kept + 1))
                with pytest.raises(OutputError):
                    keep_visit(Path(folder), visit(1, crops=range(10, 14), frames=range(20_000)))
                assert same(next(read_visits(Path(folder))), visit(1))
            finally:
                subprocess.run(["umount", folder], check=True)

    def test_a_place_that_is_no_folder_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "visits").touch()
        with pytest.raises(OutputError, match=r"^cannot write .*visits/gate/000001: [^\n]+$"):
            keep_visit(tmp_path, visit())

    def test_a_disk_that_only_reads_is_one_line(self, tmp_path: Path) -> None:
        shelf = tmp_path / "shelf"
        shelf.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", shelf], capture_output=True, check=False)
        if mounted.returncode:
            pytest.skip("mounting a disk needs rights that are not there")
        try:
            with pytest.raises(OutputError, match="the file system is read-only"):
                keep_visit(shelf, visit())
        finally:
            subprocess.run(["umount", shelf], check=True)
