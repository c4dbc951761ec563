from __future__ import annotations

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline.errors import OutputError, SightlineError
from sightline.reid import features
from sightline.reid.embedder import Embedded
from sightline.reid.features import open_journal, read_features

DIM = 3
WHO = "model A"
META = {"fingerprint": "ab", "precision": "float32"}


class Killed(BaseException):
    """Stands for a process that ends here: nothing after it runs but what the system does by itself."""


def vector_of(path: Path, dim: int = DIM) -> NDArray[np.float32]:
    """A vector that tells which version of which file it was made from."""
    seed = [*os.fsencode(path.name), *path.read_bytes()]
    vector = np.random.default_rng(seed).normal(size=dim).astype(np.float32)
    return vector / np.linalg.norm(vector)


def outcome(path: Path, dim: int = DIM) -> Embedded:
    broken = path.read_bytes() == b"broken"
    return Embedded(path, None, f"{path} is broken") if broken else Embedded(path, vector_of(path, dim))


def images(folder: Path, count: int, *, broken: Sequence[int] = ()) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{index}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        path.write_bytes(b"broken" if index in broken else b"%d" % index)
    return paths


def run(
    paths: Sequence[Path], target: Path, *, kill_after: int | None = None, identity: str = WHO, **options: bool
) -> list[Path]:
    """One run of `sightline embed` without the model. Returns what it had to do; killed, it leaves its journal."""
    pending: list[Path] = []
    try:
        with open_journal(target, dim=DIM, identity=identity, **options) as journal:
            pending = journal.pending(paths)
            for path in pending[:kill_after]:
                journal.add(outcome(path))
            if kill_after is not None:
                raise Killed
            journal.finish(paths, target, meta=META)
    except Killed:
        pass
    return pending


def part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


class TestFinishedFile:
    def test_what_is_written_is_read_back(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 6, broken=[2])
        run(paths, tmp_path / "out.npz")
        got = read_features(tmp_path / "out.npz")
        kept = [path for path in paths if path.name != "2.jpg"]
        assert got.paths == tuple(map(str, kept))
        assert np.array_equal(got.vectors, [vector_of(path) for path in kept])
        assert got.meta == {**META, "skipped": {str(paths[2]): f"{paths[2]} is broken"}}

    def test_numpy_alone_can_read_it(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 3)
        run(paths, tmp_path / "out.npz")
        with np.load(tmp_path / "out.npz", allow_pickle=False) as archive:
            assert sorted(archive.files) == ["meta", "paths", "vectors"]
            assert archive["vectors"].dtype == np.float32 and archive["vectors"].shape == (3, DIM)
            assert archive["paths"].tolist() == list(map(str, paths))
            assert json.loads(str(archive["meta"]))["fingerprint"] == "ab"

    def test_nothing_but_the_file_is_left(self, tmp_path: Path) -> None:
        run(images(tmp_path / "crops", 3), tmp_path / "out.npz")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["crops", "out.npz"]

    def test_the_order_is_that_of_the_paths_and_not_of_the_work(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 5)
        run(paths[3:], tmp_path / "out.npz", kill_after=2)
        run(paths, tmp_path / "out.npz")
        assert np.array_equal(read_features(tmp_path / "out.npz").vectors, [vector_of(path) for path in paths])

    def test_any_number_of_vectors_is_assembled_piece_by_piece(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(features, "ROWS_AT_ONCE", 4)
        paths = images(tmp_path / "crops", 11)
        run(paths, tmp_path / "out.npz")
        assert np.array_equal(read_features(tmp_path / "out.npz").vectors, [vector_of(path) for path in paths])

    def test_nothing_but_broken_images_is_an_empty_file_of_the_right_width(self, tmp_path: Path) -> None:
        run(images(tmp_path / "crops", 2, broken=[0, 1]), tmp_path / "out.npz")
        got = read_features(tmp_path / "out.npz")
        assert got.vectors.shape == (0, DIM) and got.paths == () and len(got.meta["skipped"]) == 2

    def test_any_name_a_file_can_have_is_kept(self, tmp_path: Path) -> None:
        names = ["ein bild.jpg", "люди.jpg", "人🚶.jpg", "a\nb.jpg", 'q"uote\\.jpg', os.fsdecode(b"\xff\xfe.jpg")]
        for name in names:
            (tmp_path / name).write_bytes(b"x")
        paths = [tmp_path / name for name in names]
        run(paths, tmp_path / "out.npz", kill_after=4)
        assert run(paths, tmp_path / "out.npz") == paths[4:]
        assert read_features(tmp_path / "out.npz").paths == tuple(map(str, paths))

    def test_the_same_vectors_are_the_same_bytes(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 3)
        run(paths, tmp_path / "a.npz")
        run(paths, tmp_path / "b.npz")
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()

    def test_the_time_of_writing_is_not_in_the_file(self, tmp_path: Path) -> None:
        run(images(tmp_path / "crops", 1), tmp_path / "out.npz")
        with zipfile.ZipFile(tmp_path / "out.npz") as archive:
            assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}

    def test_a_second_run_replaces_the_file(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 3)
        run(paths, tmp_path / "out.npz")
        assert run(paths[:2], tmp_path / "out.npz") == paths[:2]
        assert read_features(tmp_path / "out.npz").paths == tuple(map(str, paths[:2]))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], dict[str, bytes], bytes]:
    """Four images of which one is broken, the journal a kill left after all of them, and the file of a whole run."""
    folder = tmp_path_factory.mktemp("interrupted")
    paths = images(folder / "crops", 4, broken=[1])
    run(paths, folder / "whole.npz")
    run(paths, folder / "out.npz", kill_after=4)
    left = {file.name: file.read_bytes() for file in part(folder / "out.npz").iterdir()}
    return paths, left, (folder / "whole.npz").read_bytes()


def lay_down(target: Path, left: dict[str, bytes]) -> None:
    part(target).mkdir(exist_ok=True)
    for name, content in left.items():
        (part(target) / name).write_bytes(content)


def surviving(lines: bytes, vectors: int) -> int:
    """How many images a journal of so many bytes still speaks for: whole lines, in order, whose vectors are whole."""
    count = 0
    for line in lines.split(b"\n")[:-1]:
        index = json.loads(line)["index"]
        if index is not None and 4 * DIM * (index + 1) > vectors:
            break
        count += index is not None
    return count


Interrupted = tuple[list[Path], dict[str, bytes], bytes]


class TestGoingOn:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hundreds of journals are opened here, and none has to survive a power cut."""
        monkeypatch.setattr("os.fsync", lambda _: None)

    def cut(self, interrupted: Interrupted, target: Path, lines: int, vectors: int) -> None:
        """Go on from a journal cut to so many bytes, and compare with a run that never stopped."""
        paths, left, whole = interrupted
        kept = {**left, "rows.jsonl": left["rows.jsonl"][:lines], "vectors.f32": left["vectors.f32"][:vectors]}
        lay_down(target, kept)
        done_again = run(paths, target)
        assert len(paths) - len(done_again) == surviving(kept["rows.jsonl"], vectors)
        assert target.read_bytes() == whole

    def test_a_kill_at_any_byte_of_the_lines_is_survived(self, interrupted: Interrupted, tmp_path: Path) -> None:
        _, left, _ = interrupted
        for lines in range(len(left["rows.jsonl"]) + 1):
            self.cut(interrupted, tmp_path / "out.npz", lines, len(left["vectors.f32"]))

    def test_a_kill_at_any_byte_of_the_vectors_is_survived(self, interrupted: Interrupted, tmp_path: Path) -> None:
        _, left, _ = interrupted
        for vectors in range(len(left["vectors.f32"]) + 1):
            self.cut(interrupted, tmp_path / "out.npz", len(left["rows.jsonl"]), vectors)

    @settings(max_examples=80, deadline=None)
    @given(data=st.data())
    def test_files_cut_anywhere_are_survived(self, interrupted: Interrupted, data: st.DataObject) -> None:
        _, left, _ = interrupted
        lines = data.draw(st.integers(0, len(left["rows.jsonl"])))
        vectors = data.draw(st.integers(0, len(left["vectors.f32"])))
        with tempfile.TemporaryDirectory() as folder:
            self.cut(interrupted, Path(folder) / "out.npz", lines, vectors)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60), st.integers(0, 20)), max_size=6))
    def test_any_number_of_kills_are_survived(self, kills: list[tuple[int, int, int]]) -> None:
        """Each run does some images, and then loses the ends of both files."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            paths = images(folder / "crops", 9, broken=[4])
            run(paths, folder / "whole.npz")
            target = folder / "out.npz"
            for done, lost_line, lost_vector in kills:
                run(paths, target, kill_after=done)
                for file, lost in (("rows.jsonl", lost_line), ("vectors.f32", lost_vector)):
                    path = part(target) / file
                    os.truncate(path, max(0, path.stat().st_size - lost))
            run(paths, target)
            assert target.read_bytes() == (folder / "whole.npz").read_bytes()

    @pytest.mark.parametrize("garbage", [b"\0\0\0\0", b"\xff\xfe\x80\n", b"[]\n", b'{"path": "x"}\n', b"nonsense\n"])
    def test_garbage_after_the_last_row_is_dropped(
        self, interrupted: Interrupted, tmp_path: Path, garbage: bytes
    ) -> None:
        paths, left, whole = interrupted
        lay_down(tmp_path / "out.npz", {**left, "rows.jsonl": left["rows.jsonl"] + garbage})
        assert run(paths, tmp_path / "out.npz") == [paths[1]]  # the broken one is tried again
        assert (tmp_path / "out.npz").read_bytes() == whole

    @pytest.mark.parametrize("lost", ["identity", "rows.jsonl", "vectors.f32", "lock"])
    def test_a_journal_that_lost_a_file_is_begun_again(
        self, interrupted: Interrupted, tmp_path: Path, lost: str
    ) -> None:
        paths, left, whole = interrupted
        lay_down(tmp_path / "out.npz", {name: content for name, content in left.items() if name != lost})
        assert len(run(paths, tmp_path / "out.npz")) == (1 if lost == "lock" else 4)
        assert (tmp_path / "out.npz").read_bytes() == whole

    def test_every_image_added_is_kept_at_once(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 5)
        for done in range(5):
            assert run(paths, tmp_path / "out.npz", kill_after=1) == paths[done:]
        assert run(paths, tmp_path / "out.npz") == []


class TestChanges:
    def test_a_file_that_changed_is_embedded_again(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 4)
        run(paths, tmp_path / "out.npz", kill_after=4)
        paths[1].write_bytes(b"another picture")
        assert run(paths, tmp_path / "out.npz") == [paths[1]]
        assert np.array_equal(read_features(tmp_path / "out.npz").vectors, [vector_of(path) for path in paths])

    def test_a_file_of_the_same_size_but_another_time_is_embedded_again(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 4)
        run(paths, tmp_path / "out.npz", kill_after=4)
        paths[2].write_bytes(b"7")
        os.utime(paths[2], ns=(1, 1))
        assert run(paths, tmp_path / "out.npz") == [paths[2]]
        assert np.array_equal(read_features(tmp_path / "out.npz").vectors, [vector_of(path) for path in paths])

    def test_a_changed_file_survives_another_kill(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 4)
        run(paths, tmp_path / "out.npz", kill_after=3)
        paths[0].write_bytes(b"another picture")
        run(paths, tmp_path / "out.npz", kill_after=1)
        assert run(paths, tmp_path / "out.npz") == [paths[3]]
        assert np.array_equal(read_features(tmp_path / "out.npz").vectors, [vector_of(path) for path in paths])

    def test_a_path_no_longer_asked_for_is_dropped(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 4)
        run(paths, tmp_path / "out.npz", kill_after=4)
        assert run(paths[2:], tmp_path / "out.npz") == []
        assert read_features(tmp_path / "out.npz").paths == tuple(map(str, paths[2:]))

    def test_a_file_deleted_meanwhile_is_asked_for_again(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 3)
        run(paths, tmp_path / "out.npz", kill_after=3)
        paths[1].unlink()
        with open_journal(tmp_path / "out.npz", dim=DIM, identity=WHO) as journal:
            assert journal.pending(paths) == [paths[1]]
            journal.add(Embedded(paths[1], None, "gone"))
            assert journal.finish(paths, tmp_path / "out.npz", meta=META) == (2, 1)
        assert read_features(tmp_path / "out.npz").meta["skipped"] == {str(paths[1]): "gone"}

    def test_what_could_not_be_read_is_tried_again(self, tmp_path: Path) -> None:
        """Neither size nor time changes when permissions are put right."""
        (path,) = images(tmp_path / "crops", 1)
        with open_journal(tmp_path / "out.npz", dim=DIM, identity=WHO) as journal:
            journal.add(Embedded(path, None, "may not be read"))
        assert run([path], tmp_path / "out.npz") == [path]
        assert read_features(tmp_path / "out.npz").meta["skipped"] == {}


class TestIdentity:
    def left_by_another(self, tmp_path: Path) -> tuple[list[Path], Path]:
        paths, target = images(tmp_path / "crops", 4), tmp_path / "out.npz"
        run(paths, target, kill_after=3, identity="model B")
        return paths, target

    def test_the_work_of_another_model_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        paths, target = self.left_by_another(tmp_path)
        before = {file.name: file.read_bytes() for file in part(target).iterdir()}
        with pytest.raises(OutputError, match="unfinished work of another model; finish it, or pass --restart"):
            run(paths, target)
        assert {file.name: file.read_bytes() for file in part(target).iterdir()} == before
        assert run(paths, target, identity="model B") == paths[3:]

    def test_the_work_of_a_model_with_shorter_vectors_is_refused_too(self, tmp_path: Path) -> None:
        _, target = self.left_by_another(tmp_path)
        with pytest.raises(OutputError, match="unfinished work of another model"):
            open_journal(target, dim=100 * DIM, identity=WHO).__enter__()

    def test_restart_drops_it(self, tmp_path: Path) -> None:
        paths, target = self.left_by_another(tmp_path)
        assert run(paths, target, restart=True) == paths
        assert np.array_equal(read_features(target).vectors, [vector_of(path) for path in paths])

    def test_restart_drops_ones_own_work_too(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 4)
        run(paths, tmp_path / "out.npz", kill_after=3)
        assert run(paths, tmp_path / "out.npz", restart=True) == paths

    def test_a_journal_without_a_row_is_in_nobodys_way(self, tmp_path: Path) -> None:
        paths = images(tmp_path / "crops", 2)
        run(paths, tmp_path / "out.npz", kill_after=0, identity="model B")
        assert run(paths, tmp_path / "out.npz") == paths

    @pytest.mark.parametrize("step", range(1, 5))
    def test_a_kill_while_restarting_never_passes_off_the_old_vectors(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
    ) -> None:
        paths, target = self.left_by_another(tmp_path)
        steps = 0

        def counted(name: str, original: Callable[..., object]) -> None:
            def wrapper(*args: object, **options: object) -> object:
                nonlocal steps
                steps += 1
                if steps == step:
                    raise Killed
                return original(*args, **options)

            monkeypatch.setattr(features, name, wrapper)

        counted("replacing", features.replacing)
        counted("FileIO", features.FileIO)
        with pytest.raises(Killed), open_journal(target, dim=DIM, identity=WHO, restart=True):
            pass
        monkeypatch.undo()
        try:
            run(paths, target)
        except OutputError:
            assert run(paths, target, identity="model B") == paths[3:]
        assert np.array_equal(read_features(target).vectors, [vector_of(path) for path in paths])


class TestWritingFails:
    def test_a_second_writer_is_refused_until_the_first_is_done(self, tmp_path: Path) -> None:
        paths, target = images(tmp_path / "crops", 2), tmp_path / "out.npz"
        with open_journal(target, dim=DIM, identity=WHO) as journal:
            journal.add(outcome(paths[0]))
            with pytest.raises(OutputError, match="is being written by another `sightline embed`"):
                run(paths, target)
        assert run(paths, target) == paths[1:]

    @pytest.mark.parametrize(
        ("output", "told"),
        [
            ("nowhere/out.npz", "the folder does not exist; create it first"),
            ("a file/out.npz", "its parent is not a folder"),
            ("crops", "it is a folder; name a file in it, e.g. "),
            (".", "it is a folder; name a file in it, e.g. "),
            ("n" * 251, "File name too long"),
            ("n" * 300, "File name too long"),
        ],
    )
    def test_a_place_that_cannot_be_written_is_found_out_before_the_work(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, told: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        paths = images(Path("crops"), 1)
        Path("a file").touch()
        with pytest.raises(OutputError, match=f"^cannot write {re.escape(output)}: {told}"):
            run(paths, Path(output))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "crops"]

    def test_a_file_in_the_place_of_the_journal_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "out.npz.part").touch()
        with pytest.raises(OutputError, match=r"out\.npz\.part: File exists"):
            run([], tmp_path / "out.npz")

    @pytest.mark.parametrize("room", range(0, 200, 7))
    def test_a_full_disk_is_one_error_and_the_work_goes_on_when_there_is_room(self, tmp_path: Path, room: int) -> None:
        """The limit on file size stands for the disk: a write is cut short first, then refused."""
        paths = images(tmp_path / "crops", 4)
        whole, target = tmp_path / "whole.npz", tmp_path / "out.npz"
        run(paths, whole)
        with files_no_larger_than(room), pytest.raises(OutputError, match=r"^cannot write .*out\.npz"):
            run(paths, target)
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == ["out.npz.part"]
        run(paths, target)
        assert target.read_bytes() == whole.read_bytes()

    def test_a_write_the_system_cuts_short_is_carried_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Grudging(FileIO):
            def write(self, data: memoryview) -> int:
                return super().write(data[:5])

        paths = images(tmp_path / "crops", 3)
        run(paths, tmp_path / "whole.npz")
        monkeypatch.setattr(features, "FileIO", Grudging)
        run(paths, tmp_path / "out.npz", kill_after=2)
        assert run(paths, tmp_path / "out.npz") == paths[2:]
        assert (tmp_path / "out.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()

    def test_a_disk_that_fills_up_at_the_very_end_costs_nothing_but_the_end(self, tmp_path: Path) -> None:
        paths, target = images(tmp_path / "crops", 4), tmp_path / "out.npz"
        with files_no_larger_than(700), pytest.raises(OutputError, match=r"^cannot write .*out\.npz: "):
            run(paths, target)  # the lines take less than 700 bytes, the finished file more
        assert sorted(path.name for path in tmp_path.iterdir()) == ["crops", "out.npz.part"]
        assert run(paths, target) == []


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestReadingOtherFiles:
    def refused(self, path: Path) -> None:
        with pytest.raises(SightlineError, match=r"is not a feature file written by `sightline embed`: ") as caught:
            read_features(path)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"text\n", b"\x80\x04K\x01.", b"PK\x03\x04", b"\x93NUMPY"])
    def test_another_file_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.npz").write_bytes(content)
        self.refused(tmp_path / "a.npz")

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "a.npz")

    def test_a_single_array_is_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((3, 4)))
        self.refused(tmp_path / "a.npy")

    def test_other_arrays_are_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", embeddings=np.zeros((3, 4)))
        self.refused(tmp_path / "a.npz")

    def test_pickled_paths_are_not_unpickled(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", vectors=np.zeros((1, 2)), paths=np.array(["a"], object), meta=np.array("{}"))
        self.refused(tmp_path / "a.npz")

    def test_a_truncated_file_is_refused(self, tmp_path: Path) -> None:
        run(images(tmp_path / "crops", 3), tmp_path / "a.npz")
        whole = (tmp_path / "a.npz").read_bytes()
        for length in range(0, len(whole), 37):
            (tmp_path / "a.npz").write_bytes(whole[:length])
            self.refused(tmp_path / "a.npz")
