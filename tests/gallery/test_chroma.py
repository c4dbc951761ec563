from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

chromadb = pytest.importorskip("chromadb", reason="chromadb is not installed; it comes with sightline[gallery]")

import httpx  # noqa: E402  # comes with chromadb
from gallery_contract import DIM, SPACE, StoreContract, entries, in_time, same, unit_vectors  # noqa: E402

from sightline.errors import (  # noqa: E402
    BackendError,
    EntryExistsError,
    GalleryError,
    GalleryFormatError,
    SightlineError,
)
from sightline.gallery import batches, chroma  # noqa: E402
from sightline.gallery.database import DatabaseStore  # noqa: E402
from sightline.gallery.gallery import EVERYBODY, Store, Where  # noqa: E402

HERE = Path(__file__).parent


class Server:
    """A real `chroma run` on a free port, over one folder, as often as it is started."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.folder = folder
        self.url = f"chroma+http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        program = Path(sys.executable).with_name("chroma")
        told = ["run", "--path", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([program, *told], stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"the Chroma server did not start:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/api/v2/heartbeat").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("chroma"))
    yield server
    server.stop()


@pytest.fixture
def collection(server: Server, _numbers: Iterator[int] = count()) -> str:  # noqa: B008  # one count for all the tests
    """The URL of a collection of its own."""
    return f"{server.url}/gallery-{next(_numbers)}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "gallery"


def filled(url: str, number: int = 20) -> DatabaseStore:
    store = chroma.open_store(url)
    assert isinstance(store, DatabaseStore)
    store.bind(SPACE)
    store.insert(entries(number))
    return store


def in_parts_of(rows: int, store: DatabaseStore) -> DatabaseStore:
    """As if the library took so few rows in one call."""
    store._database.part_rows = rows
    return store


def refusal(error: type[SightlineError], attempt: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        attempt()
    message = str(caught.value)
    assert "\n" not in message
    return message


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process that has the contract's entries at hand."""
    head = "import sys; from gallery_contract import *; from sightline.gallery import chroma; from itertools import *\n"
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    told = [sys.executable, "-c", head + code, *map(str, arguments)]
    return subprocess.Popen(told, env=environment, stdin=-1, stdout=-1, stderr=-1, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


class Contract(StoreContract):
    many = 200

    def open(self, url: str, *, read_only: bool = False) -> Store:
        return chroma.open_store(url, read_only=read_only)


class TestEmbedded(Contract):
    @pytest.fixture
    def url(self, folder: Path) -> str:
        return f"chroma:{folder}"


class TestServed(Contract):
    @pytest.fixture
    def url(self, collection: str) -> str:
        return collection


class TestOneProcess:
    HOLD = "s = chroma.open_store(sys.argv[1]); s.bind(SPACE); s.insert(entries(8)); print('in', flush=True); input()"

    @contextmanager
    def held(self, folder: Path) -> Iterator[subprocess.Popen[str]]:
        with python(self.HOLD, f"chroma:{folder}") as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "in\n", ended(other)
            yield other
            other.kill()

    @pytest.mark.parametrize("read_only", [False, True])
    def test_a_second_process_is_told_to_use_the_server(self, folder: Path, read_only: bool) -> None:
        with self.held(folder):
            told = refusal(GalleryError, lambda: chroma.open_store(f"chroma:{folder}", read_only=read_only))
        assert f"chroma run --path {folder}" in told and "chroma+http://localhost:8000" in told

    def test_a_second_opening_in_the_same_process_is_too(self, folder: Path) -> None:
        with closing(filled(f"chroma:{folder}")):
            assert "only one process" in refusal(GalleryError, lambda: chroma.open_store(f"chroma:{folder}"))

    def test_the_lock_of_a_killed_process_is_gone_and_what_it_added_is_not(self, folder: Path) -> None:
        with self.held(folder) as other:
            other.kill()
            other.wait()
            with closing(chroma.open_store(f"chroma:{folder}")) as store:
                assert same(list(store.iterate(EVERYBODY)), in_time(entries(8)))

    def test_an_opening_that_fails_leaves_no_lock(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "chroma.sqlite3").write_bytes(b"nonsense" * 1000)
        assert "is damaged" in refusal(GalleryFormatError, lambda: chroma.open_store(f"chroma:{folder}"))
        (folder / "chroma.sqlite3").unlink()
        filled(f"chroma:{folder}").close()


class TestManyProcesses:
    WRITE = """
who, store = sys.argv[2], chroma.open_store(sys.argv[1])
store.bind(SPACE)
for index, entry in enumerate(entries(25, seed=int(who), prefix=f"w{who}-")):
    store.insert([entry])
"""

    def test_three_that_write_at_once_lose_nothing(self, collection: str) -> None:
        writers = [python(self.WRITE, collection, who) for who in range(3)]
        assert [ended(writer) for writer in writers] == [(0, "", "")] * 3
        written = [entry for who in range(3) for entry in entries(25, seed=who, prefix=f"w{who}-")]
        with closing(chroma.open_store(collection)) as store:
            assert same(list(store.iterate(EVERYBODY)), in_time(written))
            found = store.search(np.stack([entry.vector for entry in written]), top_k=1, where=EVERYBODY)
            assert [hits[0].id for hits in found] == [entry.id for entry in written]

    def test_of_two_that_add_the_same_id_at_once_the_second_is_told_and_adds_nothing(
        self, collection: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with closing(filled(collection, 3)) as store:
            monkeypatch.setattr(store, "_matching", lambda where: [])  # what it saw just before the other added
            batch = [*entries(2, seed=1, prefix="new"), replace(entries(1, seed=2)[0], id="e001")]
            assert "another process" in refusal(EntryExistsError, lambda: store.insert(batch))
            monkeypatch.undo()
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(3)))

    def test_of_two_spaces_the_first_is_the_one(self, collection: str) -> None:
        other = replace(SPACE, fingerprint="f" * 16)
        with closing(chroma.open_store(collection)) as first, closing(chroma.open_store(collection)) as second:
            assert second.space() is None
            assert first.bind(SPACE) == SPACE and second.bind(other) == SPACE

    def test_each_collection_is_a_gallery(self, server: Server, collection: str) -> None:
        with closing(filled(collection, 3)), closing(filled(f"{collection}-b", 5)) as other:
            assert other.stats().entries == 5


KILLED_IN_THE_THIRD_PART = """
import os, signal
store = chroma.open_store(sys.argv[1])
store._database.part_rows = 5
add, parts = chroma.Chroma.add, count()
chroma.Chroma.add = lambda *a: os.kill(os.getpid(), signal.SIGKILL) if next(parts) == 2 else add(*a)
store.insert(entries(20, seed=1, prefix="new"))
"""


class TestBatches:
    @pytest.fixture(params=["embedded", "served"])
    def url(self, request: pytest.FixtureRequest, folder: Path) -> str:
        served = request.param == "served"
        return str(request.getfixturevalue("collection")) if served else f"chroma:{folder}"

    def test_a_batch_of_many_parts_is_there_and_leaves_nothing_behind(self, url: str) -> None:
        more = entries(33, seed=1, prefix="new")
        with closing(in_parts_of(5, filled(url))) as store:
            store.insert(more)
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(20) + more))
            assert store._database.announced() == {}
            assert store.assign([entry.id for entry in more], "all") == 33
            assert store.remove([entry.id for entry in more]) == 33
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(20)))

    def test_a_part_that_is_refused_takes_back_those_before_it(self, url: str) -> None:
        more = entries(20, seed=1, prefix="new")
        more[12] = replace(more[12], vector=unit_vectors(1, dim=DIM + 1)[0])
        with closing(in_parts_of(1, filled(url))) as store:
            assert "dimension" in refusal(GalleryError, lambda: store.insert(more))
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(20)))
            assert store._database.announced() == {}

    def test_names_that_were_given_are_taken_back_when_the_rest_fails(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with closing(in_parts_of(5, filled(url))) as store:
            rename, calls = chroma.Chroma.rename, count()

            def refused_once(self: chroma.Chroma, identities: dict[str, str]) -> None:
                if next(calls) == 2:
                    raise chromadb.errors.InternalError("no")
                rename(self, identities)

            monkeypatch.setattr(chroma.Chroma, "rename", refused_once)
            refusal(GalleryError, lambda: store.assign([entry.id for entry in entries(20)], "x"))
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(20)))

    def test_a_kill_in_the_middle_leaves_nothing_once_the_folder_is_opened(self, folder: Path) -> None:
        filled(f"chroma:{folder}").close()
        assert ended(python(KILLED_IN_THE_THIRD_PART, f"chroma:{folder}"))[0] == -signal.SIGKILL
        with closing(chroma.open_store(f"chroma:{folder}")) as store:
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(20)))
            store.insert(entries(20, seed=1, prefix="new"))

    def test_on_a_server_what_a_kill_left_is_removed_after_an_hour(
        self, collection: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before, the writer may be alive."""
        filled(collection).close()
        assert ended(python(KILLED_IN_THE_THIRD_PART, collection))[0] == -signal.SIGKILL
        with closing(chroma.open_store(collection)) as store:
            assert store.stats().entries == 30
        now = time.time()
        monkeypatch.setattr(batches.time, "time", lambda: now + 3700)
        with closing(chroma.open_store(collection, read_only=True)) as store:
            assert store.stats().entries == 30
        with closing(chroma.open_store(collection)) as store:
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(20)))

    def test_a_batch_that_was_taken_for_abandoned_is_an_error_and_leaves_nothing(
        self, collection: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with closing(in_parts_of(5, filled(collection))) as store:
            add = chroma.Chroma.add

            def slow(self: chroma.Chroma, part: list[object], batch: str) -> None:
                add(self, part, batch)  # type: ignore[arg-type]
                if batch in self.announced():
                    self.withdraw(batch)

            monkeypatch.setattr(chroma.Chroma, "add", slow)
            told = refusal(GalleryError, lambda: store.insert(entries(9, seed=1, prefix="new")))
            assert "over an hour" in told
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(20)))

    def test_pictures_heavier_than_a_request_may_be_go_in_parts(self, collection: str) -> None:
        """The server refuses bodies of 40 MB."""
        heavy = [replace(entry, thumbnail=os.urandom(1 << 20)) for entry in entries(36)]
        with closing(chroma.open_store(collection)) as store:
            store.bind(SPACE)
            store.insert(heavy)
            assert same(store.fetch(["e035", "e000"]), [heavy[35], heavy[0]])

    def test_a_picture_heavier_than_that_is_refused_in_one_line(self, collection: str) -> None:
        with closing(filled(collection, 2)) as store:
            giant = replace(entries(1, prefix="new")[0], thumbnail=bytes(50 << 20))
            assert "too large" in refusal(BackendError, lambda: store.insert([giant]))
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(2)))


class TestSearching:
    COUNT, WIDTH = 2400, 48

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
        store = chroma.open_store(f"chroma:{tmp_path_factory.mktemp('big') / 'gallery'}")
        store.bind(replace(SPACE, dim=cls.WIDTH))
        alternating = entries(2) * (cls.COUNT // 2)
        rows = enumerate(zip(alternating, unit_vectors(cls.COUNT, dim=cls.WIDTH), strict=True))
        store.insert([replace(entry, id=f"{index:05}", vector=vector) for index, (entry, vector) in rows])
        yield store
        store.close()

    @pytest.mark.parametrize("filtered", [False, True])
    @pytest.mark.parametrize("top_k", [1, 10, 60])
    def test_the_index_finds_what_an_exact_search_does(self, store: Store, filtered: bool, top_k: int) -> None:
        queries = unit_vectors(20, dim=self.WIDTH, seed=7)
        scores = queries.astype(float) @ unit_vectors(self.COUNT, dim=self.WIDTH).astype(float).T
        if filtered:
            scores[:, 1::2] = -2
        where = Where(cameras=["door"]) if filtered else EVERYBODY
        found = store.search(queries, top_k=top_k, where=where)
        expected = np.argsort(-scores, axis=1)[:, :top_k]
        pairs = list(zip(found, expected, strict=True))
        right = sum(len({hit.id for hit in hits} & {f"{i:05}" for i in best}) for hits, best in pairs)
        assert right >= 0.99 * expected.size
        assert all([-hit.score for hit in hits] == sorted(-hit.score for hit in hits) for hits in found)

    def test_asking_for_more_than_the_index_should_give_is_answered_exactly(self, store: Store) -> None:
        [query] = unit_vectors(1, dim=self.WIDTH, seed=8)
        [hits] = store.search(query[None], top_k=5000, where=EVERYBODY)
        scores = unit_vectors(self.COUNT, dim=self.WIDTH).astype(float) @ query.astype(float)
        assert [hit.id for hit in hits] == [f"{i:05}" for i in np.argsort(-scores)]

    def test_an_answer_that_the_index_cuts_short_is_given_again_exactly(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        [query] = unit_vectors(1, dim=self.WIDTH, seed=9)
        [expected] = store.search(query[None], top_k=5, where=EVERYBODY)
        candidates = chroma.Chroma.candidates

        def forgetful(self: chroma.Chroma, vectors: object, *, where: Where, depth: int) -> object:
            return candidates(self, vectors, where=where, depth=3)  # type: ignore[arg-type]

        monkeypatch.setattr(chroma.Chroma, "candidates", forgetful)
        assert store.search(query[None], top_k=5, where=EVERYBODY) == [expected]

    def test_a_list_of_ids_may_be_longer_than_the_database_takes_variables(self, store: Store) -> None:
        asked = [f"{i:05}" for i in range(40_000)]
        assert len(store.ids(Where(ids=asked))) == self.COUNT

    def test_a_filter_of_more_names_than_the_database_takes_is_refused(self, store: Store) -> None:
        names = [f"nobody {i}" for i in range(10_001)]
        assert "10,001 names" in refusal(GalleryError, lambda: store.ids(Where(not_identities=names)))
        assert store.ids(Where(identities=names[1:])) == []


class TestFolders:
    def told(self, url: object, error: type[SightlineError] = GalleryError, *, read_only: bool = False) -> str:
        return refusal(error, lambda: chroma.open_store(f"chroma:{url}", read_only=read_only))

    def test_a_folder_that_is_deleted_or_replaced_is_noticed(self, folder: Path) -> None:
        store = filled(f"chroma:{folder}")
        shutil.move(folder, folder.with_name("elsewhere"))
        assert "was deleted or replaced" in refusal(GalleryError, lambda: store.insert(entries(1, prefix="n")))
        assert "was deleted or replaced" in refusal(GalleryError, lambda: store.fetch(["e000"]))
        with closing(filled(f"chroma:{folder}", 2)):
            assert "was deleted or replaced" in refusal(GalleryError, lambda: store.fetch(["e000"]))
        store.close()

    def test_a_folder_of_other_things_is_left_alone(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "holiday.jpg").touch()
        assert "holds other things" in self.told(folder, GalleryFormatError)
        assert [path.name for path in folder.iterdir()] == ["holiday.jpg"]

    def test_a_file_is_no_folder(self, folder: Path) -> None:
        folder.touch()
        assert "is a file; expected a folder" in self.told(folder, GalleryFormatError)

    def test_a_folder_in_no_folder_is_refused(self, folder: Path) -> None:
        assert "the folder does not exist; create it first" in self.told(folder / "a" / "b", SightlineError)

    @pytest.mark.parametrize("there", [False, True])
    def test_nothing_is_made_where_something_was_to_be_read(self, folder: Path, there: bool) -> None:
        if there:
            folder.mkdir()
        assert "there is no gallery" in self.told(folder, read_only=True)
        assert folder.exists() == there and not any(folder.glob("*"))

    def test_no_folder_is_no_name(self) -> None:
        assert "names no folder" in self.told("")

    def test_a_collection_of_somebody_else_is_refused(self, folder: Path) -> None:
        client = chromadb.PersistentClient(folder)
        client.create_collection("sightline", metadata={"owner": "somebody"}).add(ids=["a"], embeddings=[[1.0, 2.0]])
        client.close()
        assert "was not made by sightline" in self.told(folder, GalleryFormatError)

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"sightline_format": 2}, "upgrade sightline"),
            ({"dim": "many"}, "was not made by sightline"),
            ({"aggregation": "median"}, "was not made by sightline"),
        ],
    )
    def test_a_newer_or_a_broken_gallery_is_refused(self, folder: Path, changed: dict[str, object], told: str) -> None:
        filled(f"chroma:{folder}").close()
        client = chromadb.PersistentClient(folder)
        collection = client.get_collection("sightline")
        collection.modify(metadata=collection.metadata | changed)
        client.close()
        assert told in self.told(folder, GalleryFormatError)

    def test_a_damaged_entry_is_named(self, folder: Path) -> None:
        filled(f"chroma:{folder}", 3).close()
        client = chromadb.PersistentClient(folder)
        client.get_collection("sightline").update(ids=["e001"], metadatas=[{"quality": None}])
        client.close()
        with closing(chroma.open_store(f"chroma:{folder}")) as store:
            assert "'e001' is damaged" in refusal(GalleryFormatError, lambda: store.fetch(["e000", "e001"]))
            assert same(store.fetch(["e000", "e002"]), [entries(3)[0], entries(3)[2]])

    def test_other_collections_are_nobodys_concern(self, folder: Path) -> None:
        client = chromadb.PersistentClient(folder)
        client.create_collection("another")
        client.close()
        with closing(filled(f"chroma:{folder}", 2)) as store:
            assert store.stats().entries == 2


class Elsewhere(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Not among the tests' output."""


class TestServers:
    def told(self, url: str, error: type[SightlineError] = BackendError) -> str:
        return refusal(error, lambda: chroma.open_store(url))

    def test_one_that_is_not_running_is_named_with_what_to_start(self, server: Server) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        told = self.told(f"chroma+http://127.0.0.1:{port}")
        assert told.startswith(f"chroma+http://127.0.0.1:{port}: the Chroma server does not answer")
        assert f"chroma run --path FOLDER --port {port}" in told

    def test_one_that_accepts_and_says_nothing_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chroma, "CONNECT_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            assert "does not answer" in self.told(f"chroma+http://127.0.0.1:{silent.getsockname()[1]}")

    def test_another_server_is_known_as_such(self) -> None:
        with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as other:
            thread = Thread(target=other.serve_forever)
            thread.start()
            told = self.told(f"chroma+http://127.0.0.1:{other.server_address[1]}")
            other.shutdown()
            thread.join()
        assert "no Chroma server" in told

    def test_one_that_dies_is_one_line_and_what_it_confirmed_is_there_when_it_is_back(self, tmp_path: Path) -> None:
        server = Server(tmp_path)
        try:
            store = filled(server.url)
            server.stop()
            for ask in (
                lambda: store.insert(entries(1, prefix="n")),
                lambda: store.search(unit_vectors(1), top_k=1, where=EVERYBODY),
                lambda: store.assign(["e000"], "x"),
                store.stats,
            ):
                told = refusal(BackendError, ask)
                assert told.startswith(f"{server.url}: the Chroma server does not answer")
            server.start()
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(20)))
            store.close()
        finally:
            server.stop()

    def test_a_gallery_that_another_process_deletes_is_missed(self, server: Server, collection: str) -> None:
        with closing(filled(collection)) as store:
            client = chromadb.HttpClient("127.0.0.1", server.port)
            client.delete_collection(collection.rpartition("/")[2])
            client.close()
            assert "removed the gallery" in refusal(GalleryError, lambda: store.fetch(["e000"]))

    @pytest.mark.parametrize(
        "url",
        [
            "chroma+http://",
            "chroma+ftp://localhost",
            "chroma+http://localhost:port",
            "chroma+http://localhost:99999",
            "chroma+http://me:secret@localhost",
            "chroma+http://localhost/?a=b",
        ],
    )
    def test_an_address_that_is_none_is_refused(self, url: str) -> None:
        assert "is no address of a server; expected chroma+http://host:8000" in self.told(url, GalleryError)

    @pytest.mark.parametrize("name", ["ab", "a b", "-ab", "ab-", "a/b/c", "straße", "x" * 201])
    def test_a_collection_name_that_databases_refuse_is_refused_first(self, name: str) -> None:
        told = self.told(f"chroma+http://localhost/{name}", GalleryError)
        assert re.search(r"3 to 200 letters, digits, '-' and '_'", told)


class TestOrderedIntegers:
    numbers = st.floats(allow_nan=False)

    @given(numbers)
    def test_a_number_comes_back_as_it_was(self, number: float) -> None:
        assert chroma.from_ordered_int(chroma.ordered_int(number)) == number

    @given(numbers, numbers)
    def test_they_are_ordered_as_the_numbers_are(self, one: float, other: float) -> None:
        assert (chroma.ordered_int(one) < chroma.ordered_int(other)) == (one < other)
        assert -(2**63) <= chroma.ordered_int(one) < 2**63
