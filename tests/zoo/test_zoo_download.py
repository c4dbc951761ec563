"""The downloader against a real server on this machine that cuts, stalls, lies and redirects."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request

import pytest

from sightline.errors import DownloadError, OutputError
from sightline.zoo.download import _Redirects, download

if TYPE_CHECKING:
    from tests.zoo.conftest import Served


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


def fetch(served: Served, target: Path, **options: Any) -> str:
    options.setdefault("sleep", lambda _seconds: None)
    return download(served.url, target, **options)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def part_of(target: Path) -> Path:
    return target.with_name("model.onnx.part")


def test_a_good_network_leaves_the_file_and_nothing_else(served: Served, target: Path) -> None:
    assert fetch(served, target, sha256=sha256(served.body)) == sha256(served.body)
    assert target.read_bytes() == served.body
    assert [path.name for path in target.parent.iterdir()] == ["model.onnx"]
    assert len(served.requests) == 1


def test_a_cut_body_is_resumed_by_asking_for_the_missing_bytes_only(served: Served, target: Path) -> None:
    served.faults = ["cut"]
    fetch(served, target, sha256=sha256(served.body))
    assert served.asked_ranges() == ["", "bytes=128000-"]
    assert served.requests[1]["if-range"] == '"v1"'
    assert served.sent == [128_000, 128_000]
    assert target.read_bytes() == served.body


def test_each_of_several_cuts_is_resumed_where_it_happened(served: Served, target: Path) -> None:
    served.faults = ["cut", "cut", "cut"]
    fetch(served, target)
    assert served.asked_ranges() == ["", "bytes=128000-", "bytes=192000-", "bytes=224000-"]
    assert target.read_bytes() == served.body


def test_a_later_run_continues_what_an_earlier_one_left(served: Served, target: Path) -> None:
    served.faults = ["cut"]
    with pytest.raises(DownloadError):
        fetch(served, target, retries=0)
    fetch(served, target)
    assert served.asked_ranges() == ["", "bytes=128000-"]
    assert target.read_bytes() == served.body


def test_a_truncated_file_is_never_seen_under_the_final_name(served: Served, target: Path) -> None:
    served.faults = ["cut"]
    with pytest.raises(DownloadError, match="after 128000 of 256000 bytes; what arrived is kept"):
        fetch(served, target, retries=0)
    assert not target.exists()
    assert part_of(target).read_bytes() == served.body[:128_000]


def test_last_modified_serves_where_there_is_no_etag(served: Served, target: Path) -> None:
    served.etag, served.last_modified = None, "Wed, 21 Oct 2015 07:28:00 GMT"
    served.faults = ["cut"]
    fetch(served, target)
    assert served.requests[1]["if-range"] == "Wed, 21 Oct 2015 07:28:00 GMT"
    assert served.sent == [128_000, 128_000]


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_without_a_strong_version_mark_nothing_is_continued(served: Served, target: Path, etag: str | None) -> None:
    served.etag = etag
    served.faults = ["cut"]
    fetch(served, target)
    assert served.asked_ranges() == ["", ""]
    assert target.read_bytes() == served.body


def test_a_server_that_ignores_ranges_is_read_from_the_start(served: Served, target: Path) -> None:
    served.ranges = False
    served.faults = ["cut"]
    fetch(served, target)
    assert served.asked_ranges() == ["", "bytes=128000-"]
    assert served.sent == [128_000, 256_000]
    assert target.read_bytes() == served.body


@pytest.mark.parametrize("if_range", [True, False], ids=["honours If-Range", "ignores If-Range"])
def test_a_file_that_changed_between_tries_is_not_spliced(served: Served, target: Path, if_range: bool) -> None:
    served.if_range = if_range
    served.faults = ["cut"]
    with pytest.raises(DownloadError):
        fetch(served, target, retries=0)
    served.body, served.etag = served.body[::-1], '"v2"'
    fetch(served, target)
    assert target.read_bytes() == served.body


@pytest.mark.parametrize("status", ["416", "412"])
def test_a_server_that_cannot_continue_is_asked_for_everything(served: Served, target: Path, status: str) -> None:
    served.faults = ["cut", status]
    fetch(served, target)
    assert served.asked_ranges() == ["", "bytes=128000-", ""]
    assert target.read_bytes() == served.body


def test_a_part_longer_than_the_file_is_thrown_away(served: Served, target: Path) -> None:
    part_of(target).write_bytes(b"x" * 300_000)
    target.with_name("model.onnx.part.json").write_text(json.dumps({"url": served.url, "validator": '"v1"'}))
    fetch(served, target)
    assert served.asked_ranges() == ["bytes=300000-", ""]
    assert target.read_bytes() == served.body


@pytest.mark.parametrize("note", ["not json", "[]", '{"url": "http://elsewhere/model.onnx", "validator": "\\"v1\\""}'])
def test_a_part_of_unknown_origin_is_not_continued(served: Served, target: Path, note: str) -> None:
    part_of(target).write_bytes(b"x" * 1000)
    target.with_name("model.onnx.part.json").write_text(note)
    fetch(served, target)
    assert served.asked_ranges() == [""]
    assert target.read_bytes() == served.body


def test_a_wrong_hash_leaves_nothing_and_names_both(served: Served, target: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(served, target, sha256="0" * 64)
    assert "0" * 64 in str(caught.value)
    assert sha256(served.body) in str(caught.value)
    assert list(target.parent.iterdir()) == []
    assert len(served.requests) == 1, "a wrong file is not worth a retry"


def test_a_file_of_another_size_than_promised_is_refused_before_it_is_read(served: Served, target: Path) -> None:
    with pytest.raises(DownloadError, match="offers 256000 bytes, expected 255999"):
        fetch(served, target, size_bytes=255_999)
    assert list(target.parent.iterdir()) == []


def test_the_promised_size_finds_the_cut_where_the_server_announces_no_length(served: Served, target: Path) -> None:
    served.announce_length = False
    served.faults = ["cut"]
    fetch(served, target, size_bytes=256_000)
    assert served.sent == [128_000, 128_000]
    assert target.read_bytes() == served.body


@pytest.mark.parametrize("announced", [True, False])
def test_an_empty_answer_is_not_a_file(served: Served, target: Path, announced: bool) -> None:
    served.announce_length = announced
    served.body = b""
    with pytest.raises(DownloadError, match="ended after 0 of"):
        fetch(served, target, retries=0)
    assert not target.exists()


def test_a_web_page_is_not_a_model(served: Served, target: Path) -> None:
    served.faults = ["page"] * 9
    with pytest.raises(DownloadError, match="web page, not a model"):
        fetch(served, target)
    assert list(target.parent.iterdir()) == []
    assert len(served.requests) == 1


def test_a_web_page_is_known_by_its_first_bytes_whatever_it_calls_itself(served: Served, target: Path) -> None:
    served.body = b"\n  <!DOCTYPE HTML><html>quota exceeded</html>"
    with pytest.raises(DownloadError, match="web page, not a model"):
        fetch(served, target)


def test_a_page_does_not_cost_what_had_arrived(served: Served, target: Path) -> None:
    served.faults = ["cut", "page"]
    with pytest.raises(DownloadError, match="web page"):
        fetch(served, target)
    assert part_of(target).stat().st_size == 128_000


def test_the_confirmation_form_of_google_drive_is_submitted(served: Served, target: Path) -> None:
    fields = {"id": "1a-B", "export": "download", "confirm": "t", "uuid": "4&amp;2"}
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    form = f'<form id="download-form" action="{served.base}/download" method="get">{inputs}</form>'
    served.page = f"<!DOCTYPE html><html>Can't scan this file for viruses. {form}</html>".encode()
    served.faults = ["page"]
    fetch(served, target, sha256=sha256(served.body))
    assert served.requests[1]["path"] == "/download?id=1a-B&export=download&confirm=t&uuid=4%262"


def test_a_form_that_leads_to_itself_is_given_up(served: Served, target: Path) -> None:
    served.page = b'<html><form id="download-form" action="/again"><input type="hidden" name="a" value="b"></form>'
    served.faults = ["page"] * 9
    with pytest.raises(DownloadError, match="web page"):
        fetch(served, target)
    assert len(served.requests) == 2


def test_a_redirect_is_followed_with_the_range(served: Served, target: Path) -> None:
    served.redirect_to = f"{served.base}/mirror.onnx"
    served.faults = ["redirect", "cut", "redirect"]
    fetch(served, target)
    assert [request["path"] for request in served.requests] == ["/model.onnx", "/mirror.onnx"] * 2
    assert served.asked_ranges() == ["", "", "bytes=128000-", "bytes=128000-"]
    assert target.read_bytes() == served.body


def test_a_redirect_to_a_local_file_is_refused(served: Served, target: Path) -> None:
    served.redirect_to = "file:///etc/hostname"
    served.faults = ["redirect"]
    with pytest.raises(DownloadError, match="file:///etc/hostname"):
        fetch(served, target)
    assert not target.exists()


def test_a_redirect_from_https_to_http_is_refused() -> None:
    def step(old: str, new: str) -> Request | None:
        return _Redirects().redirect_request(Request(old), None, 302, "Found", {}, new)

    with pytest.raises(DownloadError, match="not encrypted"):
        step("https://good.example/a", "http://good.example/a")
    upgraded = step("http://good.example/a", "https://good.example/b")
    assert upgraded is not None
    assert upgraded.full_url == "https://good.example/b"


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host.example/a", "model.onnx", "https:///a", ""])
def test_only_web_addresses_are_downloaded(target: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="starts with https"):
        download(url, target)


@pytest.mark.parametrize(
    ("status", "advice"),
    [("404", "no longer there"), ("403", "access is denied"), ("401", "log-in"), ("418", "by hand")],
)
def test_a_refusal_is_final_and_says_what_to_do(served: Served, target: Path, status: str, advice: str) -> None:
    served.faults = [status] * 9
    with pytest.raises(DownloadError) as caught:
        fetch(served, target)
    assert status in str(caught.value)
    assert advice in str(caught.value)
    assert served.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(served.requests) == 1


@pytest.mark.parametrize("status", ["500", "503", "429"])
def test_a_server_in_trouble_is_asked_again(served: Served, target: Path, status: str) -> None:
    served.faults = [status, status]
    fetch(served, target)
    assert len(served.requests) == 3
    assert target.read_bytes() == served.body


def test_a_server_that_stays_in_trouble_is_given_up_after_the_retries(served: Served, target: Path) -> None:
    served.faults = ["500"] * 9
    with pytest.raises(DownloadError, match="answered 500"):
        fetch(served, target, retries=2)
    assert len(served.requests) == 3


def test_pauses_grow_and_stay_short(served: Served, target: Path) -> None:
    served.faults = ["500"] * 6
    pauses: list[float] = []
    fetch(served, target, retries=6, sleep=pauses.append)
    middles = [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert all(0.5 * middle <= pause <= 1.5 * middle for pause, middle in zip(pauses, middles, strict=True))


def test_a_stalled_body_times_out_and_is_resumed(served: Served, target: Path) -> None:
    served.faults = ["stall"]
    fetch(served, target, timeout_s=0.2)
    assert served.asked_ranges() == ["", "bytes=128000-"]
    assert target.read_bytes() == served.body


def test_a_refused_connection_names_the_host(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 refused the connection"):
        download(f"http://127.0.0.1:{port}/model.onnx", target, retries=1, sleep=lambda _seconds: None)


def test_a_host_without_an_address_is_named(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match=r"no address found for nowhere\.example; check the network"):
        download("https://nowhere.example/model.onnx", target, retries=0)


def test_progress_counts_from_what_is_already_there(served: Served, target: Path) -> None:
    served.faults = ["cut"]
    with pytest.raises(DownloadError):
        fetch(served, target, retries=0)
    seen: list[tuple[int, int | None]] = []
    fetch(served, target, progress=lambda received, total: seen.append((received, total)))
    received = [count for count, _total in seen]
    assert received == sorted(received)
    assert received[0] > 128_000
    assert seen[-1] == (256_000, 256_000)


def test_an_interrupt_keeps_what_has_arrived(served: Served, target: Path) -> None:
    def interrupt(received: int, _total: int | None) -> None:
        if received > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(served, target, progress=interrupt)
    kept = part_of(target).read_bytes()
    assert len(kept) > 100_000
    assert kept == served.body[: len(kept)]
    assert not target.exists()
    fetch(served, target)
    assert served.asked_ranges() == ["", f"bytes={len(kept)}-"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full to play a full disk")
def test_a_full_disk_is_an_output_error_with_the_path(served: Served, target: Path) -> None:
    part_of(target).symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"model\.onnx\.part: No space left on device; free some space"):
        fetch(served, target)
    assert not target.exists()


def test_a_missing_folder_is_an_output_error(served: Served, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        fetch(served, tmp_path / "absent" / "model.onnx")
