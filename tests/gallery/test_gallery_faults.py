"""The gallery file when things go wrong: kills, full disks, damage, other people's files, several processes."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gallery_contract import DIM, SPACE, entries, facts, in_time, same, unit_vectors
from gallery_writers import SPACE as WRITTEN_SPACE
from gallery_writers import entry_of

from sightline.errors import GalleryError, GalleryFormatError, OutputError, SightlineError
from sightline.gallery.gallery import EVERYBODY, Entry, Gallery, Where
from sightline.gallery.open_gallery import open_gallery
from sightline.gallery.sqlite import open_store
from sightline.gallery.sqlite_salvage import salvaged_entries, salvaged_space
from sightline.types import Embeddings

WRITERS = Path(__file__).with_name("gallery_writers.py")
COUNT = 60
GONE = {"e009"}  # of the entries in `made`


def with_picture(entry: Entry) -> Entry:
    return replace(entry, thumbnail=entry.id.encode() * 100)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery file as a run leaves it, to be copied and spoilt."""
    path = tmp_path_factory.mktemp("made") / "gallery.db"
    with open_gallery(str(path)) as gallery:
        for entry in entries(COUNT):
            gallery.add([with_picture(entry)], space=SPACE)
        gallery.delete(GONE)
    return path


@pytest.fixture
def truth() -> dict[str, tuple[object, ...]]:
    return {entry.id: facts(with_picture(entry)) for entry in entries(COUNT) if entry.id not in GONE}


def spoilt(made: Path, folder: Path, *statements: str) -> Path:
    """A copy on which somebody ran SQL."""
    path = folder / "spoilt.db"
    shutil.copy(made, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path


def search(gallery: Gallery) -> list[str]:
    [hits] = gallery.search(Embeddings(unit_vectors(1), SPACE.fingerprint, True), top_k=COUNT)
    return [hit.id for hit in hits]


def every_use(gallery: Gallery) -> Iterator[Callable[[], object]]:
    yield lambda: list(gallery.iterate())
    yield lambda: search(gallery)
    yield lambda: gallery.ids(Where(identities=["Ann"]))
    yield lambda: gallery.fetch([f"e{number:03}" for number in range(COUNT)])
    yield gallery.stats
    yield lambda: gallery.merge(["p7"], into="Ann")
    yield lambda: gallery.delete(["e001"])
    yield lambda: gallery.add(entries(1, prefix="new"), space=SPACE)


class TestKills:
    def test_200_killed_writers_lose_nothing_they_acknowledged_and_leave_nothing_half(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, str(WRITERS), "kill", str(tmp_path), "200"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        rounds, acknowledged = map(int, done.stdout.split())
        assert rounds == 200 and acknowledged > 0


class TestSeveralWriters:
    def test_three_processes_at_once_and_every_entry_is_found_by_its_own_vector(self, tmp_path: Path) -> None:
        url = str(tmp_path / "gallery.db")
        names = [f"w{writer}-{index}" for writer in range(3) for index in range(200)]
        writers = [
            subprocess.Popen([sys.executable, str(WRITERS), "write", url, f"w{writer}", "200"], stderr=subprocess.PIPE)
            for writer in range(3)
        ]
        seen = 0
        with open_gallery(url) as gallery:  # a reader that keeps its matrix up to date meanwhile
            while any(writer.poll() is None for writer in writers):
                now = len(self.found(gallery, entry_of("w0-0"), top_k=1000))
                assert now >= seen
                seen = now
            assert [(writer.wait(), writer.communicate()[1]) for writer in writers] == [(0, b"")] * 3
            for name in names:
                assert self.found(gallery, entry_of(name), top_k=1) == [name]
            assert sorted(gallery.ids()) == sorted(names)

    def found(self, gallery: Gallery, entry: Entry, *, top_k: int) -> list[str]:
        query = Embeddings(entry.vector[None], WRITTEN_SPACE.fingerprint, True)
        return [hit.id for hits in gallery.search(query, top_k=top_k) for hit in hits]

    def test_what_another_connection_did_is_seen_by_the_next_search(self, tmp_path: Path) -> None:
        url, held = str(tmp_path / "gallery.db"), entries(30)
        with open_gallery(url) as mine, open_gallery(url) as other:
            mine.add(held[:10], space=SPACE)
            assert len(search(other)) == 10
            for step in range(10, 30):
                (mine if step % 2 else other).add([held[step]], space=SPACE)
                assert sorted(search(other)) == sorted(search(mine)) == [entry.id for entry in held[: step + 1]]
            mine.delete(["e000", "e015", "e029"])
            other.rename("Ann", "Anna")
            left = {entry.id for entry in held} - {"e000", "e015", "e029"}
            anns = {entry.id for entry in held if entry.identity == "Ann"} & left
            for gallery in (mine, other):
                assert set(search(gallery)) == left
                query = Embeddings(unit_vectors(1), SPACE.fingerprint, True)
                [hits] = gallery.search(query, top_k=30, where=Where(identities=["Anna"]))
                assert {hit.id for hit in hits} == anns and {hit.identity for hit in hits} == {"Anna"}

    def test_the_second_to_bind_a_new_gallery_learns_of_the_first(self, tmp_path: Path) -> None:
        url = str(tmp_path / "gallery.db")
        with open_gallery(url) as mine, open_gallery(url) as other:
            assert other.space is None
            mine.add(entries(1), space=SPACE)
            single = replace(SPACE, aggregation="single")
            with pytest.raises(GalleryError, match=r"holds averaged vectors .* refuses single vectors"):
                other.add(entries(1, prefix="x"), space=single)

    def test_threads_share_one_gallery(self, tmp_path: Path) -> None:
        failures: list[BaseException] = []

        def work(gallery: Gallery, name: str) -> None:
            try:
                for entry in entries(20, prefix=name):
                    gallery.add([entry], space=SPACE)
                    assert len(search(gallery)) > 0
            except BaseException as exc:  # noqa: BLE001  # told by the main thread
                failures.append(exc)

        with open_gallery(str(tmp_path / "gallery.db")) as gallery:
            threads = [threading.Thread(target=work, args=(gallery, f"t{number}-")) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert failures == [] and len(gallery.ids()) == 80


class TestFullDisk:
    @contextmanager
    def limit(self, size: int) -> Iterator[None]:
        resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    @pytest.mark.parametrize("room", [0, 3000, 20_000, 90_000, 150_000, 400_000])
    def test_what_was_added_before_is_there_and_more_fits_once_there_is_room(self, tmp_path: Path, room: int) -> None:
        url, added = str(tmp_path / "gallery.db"), list[Entry]()
        with self.limit(room), pytest.raises(OutputError, match=r"gallery\.db: .*disk") as caught:
            self.fill(url, added)
        assert "\n" not in str(caught.value)
        with open_gallery(url) as gallery:
            assert same(list(gallery.iterate()), in_time(added))
            gallery.add(entries(3, prefix="later"), space=SPACE)
            assert len(search(gallery)) == min(COUNT, len(added) + 3)

    def fill(self, url: str, added: list[Entry]) -> None:
        with open_gallery(url) as gallery:
            for number, entry in enumerate(entries(500)):
                whole = replace(entry, thumbnail=bytes([number % 256]) * 3000)
                gallery.add([whole], space=SPACE)
                added.append(whole)

    def test_a_gallery_goes_on_in_the_same_process_once_there_is_room(self, tmp_path: Path) -> None:
        added: list[Entry] = []
        with open_gallery(str(tmp_path / "gallery.db")) as gallery:
            with self.limit(250_000), pytest.raises(OutputError):
                for entry in entries(500):
                    gallery.add([replace(entry, thumbnail=bytes(3000))], space=SPACE)
                    added.append(entry)
            assert gallery.ids() == [entry.id for entry in in_time(added)]
            gallery.add(entries(3, prefix="later"), space=SPACE)
            assert len(gallery.ids()) == len(added) + 3

    def test_a_really_full_disk_says_so(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=600k", "none", folder], capture_output=True, check=False
            )
            if mounted.returncode != 0:
                pytest.skip("mounting a small disk needs rights that are not there")
            try:
                added: list[Entry] = []
                with pytest.raises(OutputError, match="the disk is full; free some space and run again"):
                    self.fill(f"{folder}/gallery.db", added)
                with open_gallery(f"{folder}/gallery.db", mode="read") as gallery:
                    assert added and same(list(gallery.iterate()), in_time(added))
            finally:
                subprocess.run(["umount", folder], check=True)


class TestDamage:
    @pytest.mark.parametrize("seed", range(3))
    def test_a_spoilt_page_is_told_in_one_line_and_never_answered_wrongly(
        self, made: Path, tmp_path: Path, truth: dict[str, tuple[object, ...]], seed: int
    ) -> None:
        whole, dice, told = made.read_bytes(), random.Random(seed), 0
        for start in range(0, len(whole), 8192):
            path = tmp_path / f"{start}.db"
            path.write_bytes(whole[:start] + dice.randbytes(8192) + whole[start + 8192 :])
            try:
                with open_gallery(str(path)) as gallery:
                    told += sum(self.is_told(use, truth) for use in every_use(gallery))
            except GalleryFormatError as exc:
                assert "\n" not in str(exc) and str(path) in str(exc)
                told += 1
        assert told >= len(whole) // 8192

    def is_told(self, use: Callable[[], object], truth: dict[str, tuple[object, ...]]) -> bool:
        """Any answer that is given is right; otherwise one line says where to go."""
        try:
            answer = use()
        except GalleryFormatError as exc:
            assert "is damaged" in str(exc) and "--salvage" in str(exc) and "\n" not in str(exc)
            return True
        except GalleryError:
            return False  # an identity that cannot be found any more, say
        for entry in answer if isinstance(answer, list) else ():
            if isinstance(entry, Entry):
                assert facts(entry)[2:] == truth[entry.id][2:]
        return False

    @pytest.mark.parametrize("kept", [100, 5000, 8192, 20_000, 70_000])
    def test_a_file_cut_short_is_told_in_one_line(self, made: Path, tmp_path: Path, kept: int) -> None:
        path = tmp_path / "gallery.db"
        path.write_bytes(made.read_bytes()[:kept])
        with pytest.raises(GalleryFormatError) as caught, open_gallery(str(path)) as gallery:
            for use in every_use(gallery):
                use()
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)

    def test_what_is_salvaged_is_right_and_nearly_everything(
        self, made: Path, tmp_path: Path, truth: dict[str, tuple[object, ...]]
    ) -> None:
        whole, dice, saved = made.read_bytes(), random.Random(1), []
        for start in range(8192, len(whole), 8192):
            path = tmp_path / f"{start}.db"
            path.write_bytes(whole[:start] + dice.randbytes(8192) + whole[start + 8192 :])
            try:
                found = list(salvaged_entries(path, salvaged_space(path)))
            except GalleryFormatError as exc:
                assert "\n" not in str(exc)
                continue
            for entry in found:
                assert facts(replace(entry, thumbnail=b"")) == facts_without_picture(truth[entry.id])
                assert entry.thumbnail in {b"", truth[entry.id][8]}
            saved.append(len(found))
        assert max(saved) == len(truth)  # one spoilt page of thumbnails or of an index costs no entry
        assert np.median(saved) >= len(truth) * 0.8

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE vectors SET vector = x'00' WHERE seq = 5",
            "UPDATE vectors SET vector = zeroblob(64) WHERE seq = 5",
            "UPDATE vectors SET vector = 'text' WHERE seq = 5",
            "DELETE FROM vectors WHERE seq = 5",
            "UPDATE entries SET identity = x'ff' WHERE seq = 5",
            "UPDATE entries SET identity = CAST(x'ff' AS TEXT) WHERE seq = 5",
            "UPDATE entries SET first_s = 'yesterday' WHERE seq = 5",
            "DROP TABLE vectors",
            "DROP TABLE rewrites",
            "UPDATE space SET dim = 'many'",
            "UPDATE space SET fingerprint = x'00'",
        ],
    )
    def test_rows_nobody_wrote_are_damage_too(self, made: Path, tmp_path: Path, statement: str) -> None:
        path = spoilt(made, tmp_path, statement)
        with pytest.raises(GalleryFormatError, match="is damaged") as caught, open_gallery(str(path)) as gallery:
            search(gallery)
        assert "\n" not in str(caught.value)

    def test_a_gallery_of_a_newer_format_is_left_alone(self, made: Path, tmp_path: Path) -> None:
        path = spoilt(made, tmp_path, "PRAGMA user_version = 2")
        before = path.read_bytes()
        for mode in ("read", "create"):
            with pytest.raises(GalleryFormatError, match=r"format 2, newer than this sightline reads \(1\); upgrade"):
                open_gallery(str(path), mode="read" if mode == "read" else "create")
        assert path.read_bytes() == before


def facts_without_picture(known: tuple[object, ...]) -> tuple[object, ...]:
    return (*known[:8], b"", *known[9:])


class TestOtherFiles:
    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"text that is no database\n" * 40, "is not a gallery; expected a gallery written by sightline"),
            (b"\x89PNG\r\n\x1a\n" + bytes(900), "is a PNG image; expected"),
            (b"PK\x03\x04" + bytes(900), r"is a PyTorch checkpoint \(zip\); expected"),
            (b"SQLite format 3\0" + b"\xff" * 900, "a gallery with a damaged beginning"),
        ],
    )
    def test_another_file_is_refused_and_left_alone(self, tmp_path: Path, content: bytes, told: str) -> None:
        path = tmp_path / "gallery.db"
        path.write_bytes(content)
        for mode in ("read", "create"):
            with pytest.raises(GalleryFormatError, match=told):
                open_gallery(str(path), mode="read" if mode == "read" else "create")
        assert path.read_bytes() == content and list(tmp_path.iterdir()) == [path]

    def test_another_database_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "contacts.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE contacts(name)")
        before = path.read_bytes()
        with pytest.raises(GalleryFormatError, match="is an SQLite database, but not a gallery; name another file"):
            open_gallery(str(path))
        assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]

    def test_an_empty_file_becomes_a_gallery_when_written_and_is_told_when_read(self, tmp_path: Path) -> None:
        path = tmp_path / "gallery.db"
        path.touch()
        with pytest.raises(GalleryError, match="is empty: nothing was ever added"):
            open_gallery(str(path), mode="read")
        with open_gallery(str(path)) as gallery:
            gallery.add(entries(1), space=SPACE)
        with open_gallery(str(path), mode="read") as gallery:
            assert gallery.ids() == ["e000"]

    @pytest.mark.parametrize(
        ("place", "mode", "told"),
        [
            (
                "nowhere/gallery.db",
                "create",
                "there is no folder .*nowhere for the gallery gallery.db; create it first",
            ),
            ("nowhere/gallery.db", "read", "there is no gallery .*nowhere/gallery.db"),
            ("a file/gallery.db", "create", "there is no folder .*a file for the gallery"),
            (".", "create", "is a folder; expected a gallery file"),
            (".", "read", "is a folder; expected a gallery file"),
        ],
    )
    def test_a_place_where_no_gallery_can_be_is_named(self, tmp_path: Path, place: str, mode: str, told: str) -> None:
        (tmp_path / "a file").touch()
        with pytest.raises(GalleryError, match=told):
            open_gallery(str(tmp_path / place), mode="read" if mode == "read" else "create")

    @pytest.mark.parametrize("name", ["a b%20c?mode=ro#x.db", "é 👩‍🚀.db", "-x.db"])
    def test_any_file_name_will_do(self, tmp_path: Path, name: str) -> None:
        with open_gallery(str(tmp_path / name)) as gallery:
            gallery.add(entries(2), space=SPACE)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        with open_gallery(str(tmp_path / name), mode="read") as gallery:
            assert len(gallery.ids()) == 2


class TestMovedOrGone:
    def test_a_file_deleted_while_it_is_open_takes_no_more_entries(self, tmp_path: Path) -> None:
        path = tmp_path / "gallery.db"
        with open_gallery(str(path)) as gallery:
            gallery.add(entries(2), space=SPACE)
            path.unlink()
            with pytest.raises(GalleryError, match="was deleted or replaced while it was open; open it again"):
                gallery.add(entries(1, prefix="lost"), space=SPACE)

    def test_a_file_replaced_while_it_is_open_takes_no_more_entries(self, made: Path, tmp_path: Path) -> None:
        path = tmp_path / "gallery.db"
        with open_gallery(str(path)) as gallery:
            gallery.add(entries(2), space=SPACE)
            shutil.copy(made, tmp_path / "other.db")
            (tmp_path / "other.db").replace(path)
            with pytest.raises(GalleryError, match="was deleted or replaced"):
                gallery.rename("Ann", "Anna")


class TestReadOnly:
    """In a process without the rights of the administrator, to whom nothing is read-only."""

    @pytest.fixture
    def shelf(self, made: Path) -> Iterator[Path]:
        """A gallery in a folder where only its owner may write."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "gallery.db"
            shutil.copy(made, path)
            path.chmod(0o444)
            Path(folder).chmod(0o555)
            yield path
            Path(folder).chmod(0o755)

    def answer(self, work: Callable[[], object]) -> str:
        """What the work answers, or is refused with, in a forked process of an ordinary user."""
        if not hasattr(os, "fork"):
            pytest.skip("this system has other rights")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:
                    os.setgid(65534)
                    os.setuid(65534)
                os.write(writing, repr(work()).encode())
            except SightlineError as exc:
                os.write(writing, f"refused: {exc}".encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            told = file.read().decode()
        os.waitpid(child, 0)
        return told

    def test_a_gallery_nobody_may_write_can_be_looked_at(self, shelf: Path) -> None:
        def look() -> tuple[int, int]:
            with open_gallery(str(shelf), mode="read") as gallery:
                return gallery.stats().entries, len(search(gallery))

        assert self.answer(look) == repr((COUNT - len(GONE), COUNT - len(GONE)))

    def test_and_is_not_changed(self, shelf: Path) -> None:
        def change() -> object:
            with open_gallery(str(shelf), mode="change") as gallery:
                return gallery.rename("Ann", "Anna")

        before = shelf.read_bytes()
        told = self.answer(change)
        assert told.startswith((f"refused: {shelf} may only be read", f"refused: cannot open {shelf}"))
        assert "\n" not in told and shelf.read_bytes() == before

    def test_a_gallery_nobody_may_read_is_told(self, shelf: Path) -> None:
        shelf.chmod(0)
        told = self.answer(lambda: open_gallery(str(shelf), mode="read"))
        assert told.startswith(f"refused: cannot open {shelf}: no permission to read it")


class TestLargeAndSmall:
    def test_a_vector_of_one_number_and_one_of_many(self, tmp_path: Path) -> None:
        for dim in (1, 4096):
            with open_gallery(str(tmp_path / f"{dim}.db")) as gallery:
                held = [replace(e, vector=v) for e, v in zip(entries(5), unit_vectors(5, dim=dim), strict=True)]
                gallery.add(held, space=replace(SPACE, dim=dim))
                assert same(list(gallery.iterate()), in_time(held))

    def test_stats_of_a_gallery_in_use_count_its_log(self, tmp_path: Path) -> None:
        path = tmp_path / "gallery.db"
        store = open_store(str(path))
        store.bind(SPACE)
        store.insert(entries(100))
        size = store.stats().size_bytes
        store.close()
        assert size is not None and size >= path.stat().st_size > 100 * DIM * 4

    def test_the_file_alone_is_the_gallery_once_it_is_closed(self, tmp_path: Path) -> None:
        with open_gallery(str(tmp_path / "gallery.db")) as gallery:
            gallery.add(entries(100), space=SPACE)
        assert [path.name for path in tmp_path.iterdir()] == ["gallery.db"]

    def test_closing_in_the_middle_of_a_walk_is_told(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path / "gallery.db"))
        store.bind(SPACE)
        store.insert([replace(entry, id=f"{n:05}") for n, entry in enumerate(entries(300))])
        walk = store.iterate(EVERYBODY)
        next(walk)
        store.close()
        with pytest.raises(SightlineError, match="was closed"):
            list(walk)
