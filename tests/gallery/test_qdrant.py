from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

pytest.importorskip("qdrant_client", reason="qdrant-client is not installed; it comes with sightline[qdrant]")

from gallery_contract import DIM, SPACE, StoreContract, by_slow_loop, entries, in_time, same, unit_vectors
from qdrant_client import QdrantClient, models

from sightline.errors import (
    BackendError,
    EntryExistsError,
    GalleryError,
    GalleryFormatError,
    SightlineError,
)
from sightline.gallery import batches, qdrant
from sightline.gallery.database import DatabaseStore
from sightline.gallery.gallery import EVERYBODY, Store, Where
from sightline.gallery.places import place_of
from sightline.gallery.rows import Rows, facts_of, nearest

HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "gallery"


def filled(folder: Path, number: int = 12) -> DatabaseStore:
    store = qdrant.open_store(f"qdrant:{folder}")
    assert isinstance(store, DatabaseStore)
    store.bind(SPACE)
    store.insert(entries(number))
    return store


def refusal(error: type[SightlineError], attempt: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        attempt()
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestFolder(StoreContract):
    many = 120  # Qdrant commits each point by itself

    def open(self, url: str, *, read_only: bool = False) -> Store:
        return qdrant.open_store(url, read_only=read_only)

    @pytest.fixture
    def url(self, folder: Path) -> str:
        return f"qdrant:{folder}"


class TestRanking:
    def test_equal_scores_are_in_order_of_id_whatever_order_they_were_found_in(self) -> None:
        found = entries(24)
        vectors = np.stack([found[index % 2].vector for index in range(24)])
        rows = Rows([entry.id for entry in found[::-1]], [facts_of(entry, batch="") for entry in found[::-1]], vectors)
        hits = nearest(vectors[0], rows, top_k=15)
        evens, odds = range(0, 24, 2), range(1, 24, 2)  # reversed, the first vector is that of the odd ids
        assert [hit.id for hit in hits] == [f"e{index:03}" for index in [*odds, *evens][:15]]
        assert [hit.score for hit in hits[:12]] == pytest.approx([1] * 12)

    @pytest.mark.parametrize("top_k", [1, 5, 24, 100])
    def test_the_best_are_the_best_of_a_slow_loop(self, top_k: int) -> None:
        found = entries(24)
        rows = Rows([e.id for e in found], [facts_of(e, batch="") for e in found], np.stack([e.vector for e in found]))
        [query] = unit_vectors(1, seed=5)
        hits = nearest(query, rows, top_k=top_k)
        expected = by_slow_loop(found, query, top_k=top_k)
        assert [hit.id for hit in hits] == [name for name, _ in expected]
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected])


class TestParts:
    @pytest.mark.parametrize(
        ("heavy", "most_rows", "lengths"),
        [((), 3, [3, 3, 2]), ((), 8, [8]), ((), 100, [8]), ((2, 3), 100, [2, 1, 1, 4]), ((0,), 5, [1, 5, 2])],
    )
    def test_parts_are_in_order_and_neither_long_nor_heavy(
        self, heavy: tuple[int, ...], most_rows: int, lengths: list[int]
    ) -> None:
        picture = bytes(batches.PART_BYTES)  # with its vector, heavier than a part
        batch = [replace(e, thumbnail=picture if i in heavy else b"") for i, e in enumerate(entries(8))]
        parts = list(batches.parts_of(batch, most_rows=most_rows))
        assert [len(part) for part in parts] == lengths
        assert [entry for part in parts for entry in part] == batch

    def test_nothing_is_no_part(self) -> None:
        assert list(batches.parts_of([], most_rows=5)) == []


class TestOneProcess:
    @pytest.mark.parametrize("read_only", [False, True])
    def test_a_second_opening_is_told_to_use_a_server(self, folder: Path, read_only: bool) -> None:
        with closing(filled(folder)):
            told = refusal(GalleryError, lambda: qdrant.open_store(f"qdrant:{folder}", read_only=read_only))
        assert "only one process may have it open" in told and "qdrant+http://localhost:6333" in told

    def test_a_program_that_is_not_ours_keeps_us_out_too(self, folder: Path) -> None:
        filled(folder).close()
        with closing(QdrantClient(path=str(folder))):
            told = refusal(GalleryError, lambda: qdrant.open_store(f"qdrant:{folder}"))
        assert "is open in another program" in told
        qdrant.open_store(f"qdrant:{folder}").close()

    def test_a_kill_in_the_middle_of_a_batch_leaves_nothing_of_it(self, folder: Path) -> None:
        filled(folder).close()
        code = """
import os, signal, sys
from itertools import count
from gallery_contract import entries
from sightline.gallery import batches, qdrant
store = qdrant.open_store(sys.argv[1])
add, parts = qdrant.Qdrant.add, count()
qdrant.Qdrant.add = lambda *a: os.kill(os.getpid(), signal.SIGKILL) if next(parts) == 2 else add(*a)
store.insert(entries(5, seed=1, prefix="new"))
"""
        environment = os.environ | {"PYTHONPATH": str(HERE)}
        done = subprocess.run(
            [sys.executable, "-c", code, f"qdrant:{folder}"], check=False, env=environment, timeout=60
        )
        assert done.returncode == -signal.SIGKILL
        with closing(QdrantClient(path=str(folder))) as left:
            assert left.count("sightline").count == 14
        with closing(qdrant.open_store(f"qdrant:{folder}")) as store:
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(12)))
            store.insert(entries(5, seed=1, prefix="new"))


class TestBatches:
    def test_a_part_that_fails_takes_back_those_before_it(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with closing(filled(folder)) as store:
            add, parts = qdrant.Qdrant.add, count()

            def failing(self: qdrant.Qdrant, part: list[object], batch: str) -> None:
                if next(parts) == 2:
                    raise qdrant.sqlite3.OperationalError("database or disk is full")
                add(self, part, batch)  # type: ignore[arg-type]

            monkeypatch.setattr(qdrant.Qdrant, "add", failing)
            told = refusal(SightlineError, lambda: store.insert(entries(4, seed=1, prefix="new")))
            assert "disk is full" in told
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(12)))
            assert store._database.announced() == {}

    def test_an_id_that_another_writer_added_meanwhile_is_not_replaced(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with closing(filled(folder, 3)) as store:
            monkeypatch.setattr(store, "_matching", lambda where: [])  # what it saw just before the other added
            batch = [*entries(2, seed=1, prefix="new"), replace(entries(1, seed=2)[0], id="e001")]
            refusal(EntryExistsError, lambda: store.insert(batch))
            monkeypatch.undo()
            assert same(list(store.iterate(EVERYBODY)), in_time(entries(3)))

    def test_a_batch_that_was_taken_for_abandoned_is_an_error(self, folder: Path) -> None:
        with closing(filled(folder, 3)) as store:
            database = store._database
            database.announce("b1", since_s=5.0)
            assert database.announced() == {"b1": 5.0}
            database.withdraw("b1")
            assert "over an hour" in refusal(GalleryError, lambda: database.withdraw("b1"))

    def test_more_entries_than_a_page_of_ids_are_all_found(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(qdrant, "PAGE", 5)
        with closing(filled(folder)) as store:
            assert store.ids(EVERYBODY) == [entry.id for entry in in_time(entries(12))]
            assert len(store._database.matching(EVERYBODY, limit=7)) == 7
            assert len(store._database.matching(Where(cameras=["door"]), limit=3)) == 3


class TestFolders:
    def told(self, folder: Path, error: type[SightlineError] = GalleryFormatError) -> str:
        return refusal(error, lambda: qdrant.open_store(f"qdrant:{folder}"))

    def test_a_collection_of_somebody_else_is_refused(self, folder: Path) -> None:
        with closing(QdrantClient(path=str(folder))) as client:
            size = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
            client.create_collection("sightline", vectors_config=size)
        assert "was not made by sightline" in self.told(folder)

    def test_a_newer_gallery_is_refused(self, folder: Path) -> None:
        filled(folder).close()
        with closing(QdrantClient(path=str(folder))) as client:
            client.update_collection("sightline", metadata={"sightline_format": 2})
        assert "upgrade sightline" in self.told(folder)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"collections": {"a": 3}, "aliases": {}}'])
    def test_a_damaged_folder_is_one_line(self, folder: Path, content: bytes) -> None:
        filled(folder).close()
        (folder / "meta.json").write_bytes(content)
        assert "is damaged" in self.told(folder)

    def test_a_damaged_database_is_one_line(self, folder: Path) -> None:
        filled(folder).close()
        for file in folder.rglob("storage.sqlite"):
            file.write_bytes(b"nonsense" * 512)
        assert "is damaged" in self.told(folder)

    def test_a_folder_deleted_while_it_is_open_is_noticed(self, folder: Path) -> None:
        with closing(filled(folder)) as store:
            folder.rename(folder.with_name("elsewhere"))
            assert "was deleted or replaced" in refusal(GalleryError, lambda: store.fetch(["e000"]))


class Answers(BaseHTTPRequestHandler):
    """What a server says when asked who it is; and it refuses everything else."""

    version = "1.20.0"

    def do_GET(self) -> None:
        known = self.path == "/"
        body = json.dumps(
            {"title": "qdrant", "version": self.version} if known else {"status": {"error": "broken\nin"}}
        )
        self.send_response(200 if known else 500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Not among the tests' output."""


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"qdrant+http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class TestServers:
    """No Qdrant server can be installed with the tests: only what is said where there is none, or a wrong one."""

    def test_one_that_is_not_running_is_named_with_what_to_start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"qdrant+http://127.0.0.1:{free.getsockname()[1]}"
        told = refusal(BackendError, lambda: qdrant.open_store(url))
        assert told.startswith(f"{url}: no Qdrant server answers") and "qdrant/qdrant" in told

    def test_one_that_accepts_and_says_nothing_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(qdrant, "TIMEOUT_S", 1)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"qdrant+http://127.0.0.1:{silent.getsockname()[1]}"
            assert "no Qdrant server answers" in refusal(BackendError, lambda: qdrant.open_store(url))

    @pytest.mark.parametrize("version", ["1.16.3", "1.9.0-dev", "0.11.0"])
    def test_one_too_old_to_insert_without_replacing_is_refused(self, version: str) -> None:
        class Old(Answers):
            pass

        Old.version = version
        with answering(Old) as url:
            told = refusal(BackendError, lambda: qdrant.open_store(url))
        assert f"is Qdrant {version}; expected 1.17 or newer" in told

    @pytest.mark.parametrize("version", ["", "latest"])
    def test_another_server_is_known_as_such(self, version: str) -> None:
        class Other(Answers):
            pass

        Other.version = version
        with answering(Other) as url:
            assert "no Qdrant server" in refusal(BackendError, lambda: qdrant.open_store(url))

    def test_one_that_fails_is_one_line(self) -> None:
        with answering(Answers) as url:
            assert "the Qdrant server refuses: " in refusal(BackendError, lambda: qdrant.open_store(url))

    def test_a_url_may_name_port_and_collection(self) -> None:
        place = place_of("qdrant+https://[::1]:7000/yard", scheme="qdrant", port=6333)
        assert (place.address, place.collection) == ("https://[::1]:7000", "yard")
        assert place_of("qdrant+http://host", scheme="qdrant", port=6333).address == "http://host:6333"
