"""A real HTTP server that serves one file well or badly, and remembers what it was asked for."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class Served:
    """What the server does. `faults` are used up in order, one a request; after them it behaves."""

    body: bytes
    etag: str | None = '"v1"'
    last_modified: str | None = None
    ranges: bool = True  # False: answers 200 with everything
    if_range: bool = True  # False: continues any version
    announce_length: bool = True
    content_type: str = "application/octet-stream"
    faults: list[str] = field(default_factory=list)
    redirect_to: str = ""
    page: bytes = b"<!DOCTYPE html><html>please log in</html>"
    requests: list[dict[str, str]] = field(default_factory=list)  # path and headers of each
    sent: list[int] = field(default_factory=list)  # body bytes of each answer
    base: str = ""

    @property
    def url(self) -> str:
        return f"{self.base}/model.onnx"

    def asked_ranges(self) -> list[str]:
        return [request.get("range", "") for request in self.requests]


class _Handler(BaseHTTPRequestHandler):
    served: Served

    def log_message(self, *_args: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        served = self.served
        served.requests.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
        fault = served.faults.pop(0) if served.faults else ""
        if fault.isdigit():
            self._answer(int(fault), b"<html>error page</html>", {"Content-Type": "text/html"})
        elif fault == "redirect":
            self._answer(302, b"", {"Location": served.redirect_to})
        elif fault == "page":
            self._answer(200, served.page, {"Content-Type": "text/html; charset=utf-8"})
        else:
            self._file(fault)

    def _file(self, fault: str) -> None:
        served = self.served
        start = self._start()
        if start and start >= len(served.body):
            self._answer(416, b"<html>no such range</html>", {"Content-Type": "text/html"})
            return
        headers = {"Content-Type": served.content_type}
        if served.etag:
            headers["ETag"] = served.etag
        if served.last_modified:
            headers["Last-Modified"] = served.last_modified
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(served.body) - 1}/{len(served.body)}"
        self._answer(206 if start else 200, served.body[start:], headers, fault=fault)

    def _start(self) -> int:
        wanted = self.headers.get("Range", "")
        version = self.served.etag or self.served.last_modified
        stale = self.served.if_range and self.headers.get("If-Range") not in (None, version)
        return 0 if not wanted or not self.served.ranges or stale else int(wanted[len("bytes=") : -1])

    def _answer(self, status: int, body: bytes, headers: dict[str, str], *, fault: str = "") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.served.announce_length or status != 200:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = body[: len(body) // 2]
        self.wfile.write(half if fault in ("cut", "stall") else body)
        self.wfile.flush()
        self.served.sent.append(len(half) if fault in ("cut", "stall") else len(body))
        if fault == "stall":
            time.sleep(0.6)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("NO_PROXY", "*")
    served = Served(random.Random(7).randbytes(256_000))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"served": served}))
    served.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SIGHTLINE_CACHE", str(folder))
    monkeypatch.delenv("SIGHTLINE_OFFLINE", raising=False)
    return folder
