from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sightline.errors import DownloadError, ModelNotFoundError, OutputError
from sightline.zoo import ZooModel, cached, find, pull, remove, verify
from sightline.zoo.store import path_of, record_of

if TYPE_CHECKING:
    from tests.zoo.conftest import Served


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def model(served: Served, cache: Path) -> ZooModel:
    """A model of the local server, whose hash is published, with the cache in a temporary folder."""
    return replace(
        find("yunet"),
        name="local",
        file_name="local.onnx",
        url=served.url,
        sha256=sha256(served.body),
        size_bytes=256_000,
    )


@pytest.fixture
def unhashed(model: ZooModel) -> ZooModel:
    return replace(model, sha256=None, size_bytes=None)


def place(model: ZooModel, content: bytes) -> Path:
    path = path_of(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_pulled_model_is_cached_and_recorded(model: ZooModel, served: Served, cache: Path) -> None:
    assert cached(model) is None
    path = pull(model)
    assert path == cache / "local.onnx"
    assert path.read_bytes() == served.body
    assert cached(model) == path
    record = json.loads((cache / "local.onnx.json").read_text())
    assert record["name"] == "local"
    assert record["url"] == served.url
    assert record["sha256"] == sha256(served.body)
    assert record["size_bytes"] == 256_000
    assert record["pulled_at"].endswith("+00:00")


def test_a_second_pull_asks_the_network_nothing(model: ZooModel, served: Served) -> None:
    assert pull(model) == pull(model) == pull(model, offline=True)
    assert len(served.requests) == 1


def test_a_model_without_its_record_does_not_count_as_cached(model: ZooModel, cache: Path) -> None:
    pull(model)
    (cache / "local.onnx.json").unlink()
    assert cached(model) is None


@pytest.mark.parametrize("record", ["", "not json", "[1, 2]", '{"name": "local"}'])
def test_a_damaged_record_does_not_count(model: ZooModel, cache: Path, record: str) -> None:
    pull(model)
    (cache / "local.onnx.json").write_text(record)
    assert record_of(model) is None
    assert cached(model) is None
    assert pull(model) == cache / "local.onnx"
    assert cached(model) is not None


def test_a_truncated_model_is_not_cached_and_is_pulled_again(model: ZooModel, served: Served) -> None:
    path = pull(model)
    path.write_bytes(served.body[:1000])
    assert cached(model) is None
    assert pull(model).read_bytes() == served.body


def test_a_catalog_that_means_other_bytes_does_not_accept_the_old_ones(model: ZooModel, served: Served) -> None:
    pull(model)
    served.body = served.body[::-1]
    newer = replace(model, sha256=sha256(served.body))
    assert cached(newer) is None
    assert pull(newer).read_bytes() == served.body


def test_verify_returns_the_hash_or_names_both(model: ZooModel, served: Served) -> None:
    path = pull(model)
    assert verify(model) == sha256(served.body)
    path.write_bytes(served.body[::-1])
    with pytest.raises(DownloadError) as caught:
        verify(model)
    assert sha256(served.body) in str(caught.value)
    assert sha256(served.body[::-1]) in str(caught.value)


def test_verify_says_when_there_is_nothing_to_verify(model: ZooModel) -> None:
    with pytest.raises(ModelNotFoundError, match="sightline models pull local"):
        verify(model)


def test_an_unpublished_hash_is_trusted_once_and_held_to_after(unhashed: ZooModel, served: Served) -> None:
    path = pull(unhashed)
    first = sha256(served.body)
    assert verify(unhashed) == first
    path.unlink()
    served.body, served.etag = served.body[::-1], '"v2"'
    with pytest.raises(DownloadError, match=f"expected {first}"):
        pull(unhashed)
    assert cached(unhashed) is None
    assert remove(unhashed)
    assert pull(unhashed).read_bytes() == served.body


def test_offline_with_nothing_there_names_the_address_and_the_place(
    model: ZooModel, served: Served, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadError) as by_argument:
        pull(model, offline=True)
    monkeypatch.setenv("SIGHTLINE_OFFLINE", "1")
    with pytest.raises(DownloadError) as by_environment:
        pull(model)
    for caught in (by_argument, by_environment):
        assert served.url in str(caught.value)
        assert str(cache / "local.onnx") in str(caught.value)
    assert served.requests == []


def test_offline_zero_means_online(model: ZooModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_OFFLINE", "0")
    assert pull(model).is_file()


def test_a_file_put_there_by_hand_is_taken_in_when_its_hash_is_right(model: ZooModel, served: Served) -> None:
    path = place(model, served.body)
    assert cached(model) is None
    assert pull(model, offline=True) == path
    assert cached(model) == path
    assert served.requests == []


def test_a_file_put_there_by_hand_is_taken_in_when_no_hash_is_known(unhashed: ZooModel, served: Served) -> None:
    path = place(unhashed, b"\x08\x07 any model")
    assert pull(unhashed, offline=True) == path
    assert verify(unhashed) == sha256(b"\x08\x07 any model")
    assert served.requests == []


@pytest.mark.parametrize("content", [b"", b"another model", b"<html>log in</html>"])
def test_a_wrong_file_put_there_by_hand_is_not_used(
    model: ZooModel, served: Served, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    place(model, content)
    with caplog.at_level(logging.WARNING), pytest.raises(DownloadError, match="downloads are off"):
        pull(model, offline=True)
    assert "not used" in caplog.text
    assert pull(model).read_bytes() == served.body


def test_a_web_page_put_there_by_hand_is_not_used_even_when_no_hash_is_known(unhashed: ZooModel) -> None:
    place(unhashed, b"<!doctype html><html>log in</html>")
    with pytest.raises(DownloadError, match="downloads are off"):
        pull(unhashed, offline=True)


def test_a_failed_pull_leaves_no_model_and_the_next_one_resumes(model: ZooModel, served: Served, cache: Path) -> None:
    served.faults = ["cut", "404"]
    with pytest.raises(DownloadError, match="404"):
        pull(model)
    assert cached(model) is None
    assert not (cache / "local.onnx").exists()
    pull(model)
    assert served.asked_ranges()[-1] == "bytes=128000-"
    assert cached(model) is not None


def test_remove_leaves_nothing_of_the_model(model: ZooModel, served: Served, cache: Path) -> None:
    assert remove(model) is False
    pull(model)
    assert remove(model) is True
    served.faults = ["cut", "404"]
    with pytest.raises(DownloadError):
        pull(model)
    assert remove(model) is True
    assert [path.name for path in cache.iterdir()] == [".local.onnx.lock"]


def test_pulls_from_many_threads_download_once(
    model: ZooModel, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), ThreadPoolExecutor(8) as threads:
        paths = set(threads.map(lambda _turn: pull(model), range(8)))
    assert paths == {path_of(model)}
    assert len(served.requests) == 1
    assert "taking in" not in caplog.text, "those that waited found it cached"
    assert verify(model) == sha256(served.body)


PULL = """
import sys
from dataclasses import replace
from sightline.zoo import find, pull
print(pull(replace(find("yunet"), name="local", file_name="local.onnx", url=sys.argv[1], sha256=None, size_bytes=None)))
"""


def test_pulls_from_two_processes_download_once(unhashed: ZooModel, served: Served) -> None:
    served.faults = ["stall"]  # long enough for the other to arrive
    command = [sys.executable, "-c", PULL, served.url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert answers == {str(path_of(unhashed))}
    assert sum(served.sent) == 256_000
    assert verify(unhashed) == sha256(served.body)


def test_a_dead_holder_leaves_no_lock(model: ZooModel, cache: Path) -> None:
    cache.mkdir()
    held = f"import fcntl, os; fcntl.flock(open({str(cache / '.local.onnx.lock')!r}, 'ab'), fcntl.LOCK_EX); os._exit(9)"
    if sys.platform != "win32":
        subprocess.run([sys.executable, "-c", held], check=False, timeout=30)
        assert (cache / ".local.onnx.lock").exists()
    assert pull(model).is_file()


def test_a_cache_below_a_file_is_an_output_error(model: ZooModel, cache: Path) -> None:
    cache.write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot use the cache at .*SIGHTLINE_CACHE"):
        pull(model)
