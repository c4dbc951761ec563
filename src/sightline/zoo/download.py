"""Fetching one file over a network that breaks, stalls, lies about sizes, or answers with a web page.

Bytes arrive in `<target>.part`, beside a note of which version of the file they are part of (the server's ETag or
Last-Modified), so that the next try, or the next run, asks only for the rest. Nothing appears under the final name
until its length and its sha256 are known to be right.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import BaseHandler, HTTPRedirectHandler, Request, build_opener

from sightline._version import __version__
from sightline.errors import DownloadError, OutputError, SightlineError

Progress = Callable[[int, int | None], None]  # bytes so far, and in all (None: the server does not say)


class _PassingError(DownloadError):
    """A failure that may be gone at the next try."""


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    size_bytes: int | None = None,
    progress: Progress | None = None,
    retries: int = 3,
    timeout_s: float = 30.0,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Fetch `url` into `target`, whose folder exists, and return the sha256 of what came.

    A passing failure is tried again `retries` times, each time for the missing bytes only. What has arrived when all
    tries fail, or at Ctrl-C, is kept for the next call. Raises `DownloadError`, or `OutputError` when the disk refuses.
    One caller per target at a time: see `store.pull`.
    """
    _require_web_address(url)
    part = _Part(target, url)
    for attempt in range(retries + 1):
        try:
            _receive(part, size_bytes=size_bytes, progress=progress, timeout_s=timeout_s)
            break
        except _PassingError:
            if attempt == retries:
                raise
            sleep(min(8.0, 0.5 * 2**attempt) * random.uniform(0.5, 1.5))
    return part.finish(sha256)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in lowercase hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


class _Part:
    """The bytes received so far, and the server's word for the version of the file they belong to."""

    def __init__(self, target: Path, url: str) -> None:
        self.target = target
        self.url = url
        self.path = target.with_name(f"{target.name}.part")
        self._origin = target.with_name(f"{target.name}.part.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self) -> str:
        """The ETag or Last-Modified of what is being continued; empty where there is none of this address."""
        try:
            origin = json.loads(self._origin.read_text("utf-8"))
            return str(origin["validator"]) if origin["url"] == self.url else ""
        except (OSError, ValueError, KeyError, TypeError):  # absent or damaged: the part cannot be trusted
            return ""

    def resume_headers(self) -> dict[str, str]:
        size, validator = self.size(), self.validator()
        return {"Range": f"bytes={size}-", "If-Range": validator} if size and validator else {}

    def start_over(self, validator: str) -> None:
        with _disk_errors(self.path):
            self.path.write_bytes(b"")  # before the note: old bytes must never stand beside a new validator
            self._origin.write_text(json.dumps({"url": self.url, "validator": validator}), "utf-8")

    def append(self, chunks: Iterator[bytes]) -> None:
        with _disk_errors(self.path), self.path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)

    def discard(self) -> None:
        with _disk_errors(self.path):
            self.path.unlink(missing_ok=True)
            self._origin.unlink(missing_ok=True)

    def finish(self, expected: str | None) -> str:
        with _disk_errors(self.path):
            digest = sha256_of(self.path)
            if expected is not None and digest != expected.lower():
                self.discard()
                advice = "it was replaced there or altered on its way, and has been removed"
                raise DownloadError(f"{self.url}: sha256 is {digest}, expected {expected}; {advice}")
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())
            self.path.replace(self.target)
            self._origin.unlink(missing_ok=True)
        return digest


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except SightlineError:  # a DownloadError is an OSError too
        raise
    except OSError as exc:
        advice = "free some space, or set SIGHTLINE_CACHE to another disk, and run again"
        raise OutputError(f"cannot write {path}: {exc.strerror or exc}; {advice}") from exc


def _receive(part: _Part, *, size_bytes: int | None, progress: Progress | None, timeout_s: float) -> None:
    with _answer(part, timeout_s) as response:
        if response.status == 200:
            part.start_over(_validator_of(response))
        start = part.size()
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else size_bytes
        if size_bytes is not None and total != size_bytes:
            part.discard()
            offer = f"the server offers {total} bytes, expected {size_bytes}"
            raise DownloadError(f"{part.url}: {offer}; the file has been replaced there, upgrade sightline")
        part.append(_chunks(response, part.url, start=start, total=total, progress=progress))
    if part.size() == 0 or part.size() != (total or part.size()):
        raise _broken(part.url, part.size(), total)


def _answer(part: _Part, timeout_s: float) -> HTTPResponse:
    """The response whose body is the missing bytes (206) or, where those cannot be had, the whole file (200)."""
    for headers in (part.resume_headers(), {}):
        response = _open_file(part.url, headers, timeout_s)
        if response.status == 200 or (response.status == 206 and _continues(response, part)):
            return response
        response.close()
        part.discard()
    raise DownloadError(f"{part.url}: the server answered {response.status} to a plain request; {_BY_HAND}")


def _continues(response: HTTPResponse, part: _Part) -> bool:
    """Whether a 206 starts where the part ends, in the same version. Servers that ignore If-Range exist."""
    starts_there = response.headers.get("Content-Range", "").startswith(f"bytes {part.size()}-")
    return starts_there and _validator_of(response) in ("", part.validator())


def _validator_of(response: HTTPResponse) -> str:
    etag = response.headers.get("ETag", "")
    is_strong = etag.startswith('"')  # a weak one may not be used in If-Range (RFC 9110, 13.1.5)
    return etag if is_strong else response.headers.get("Last-Modified", "")


def _chunks(
    response: HTTPResponse, url: str, *, start: int, total: int | None, progress: Progress | None
) -> Iterator[bytes]:
    received = start
    try:
        while chunk := response.read1(1 << 16):
            yield chunk
            received += len(chunk)
            if progress is not None:
                progress(received, total)
    except (OSError, HTTPException) as exc:
        raise _broken(url, received, total) from exc


def _broken(url: str, received: int, total: int | None) -> _PassingError:
    got = f"{received} of {'unknown' if total is None else total} bytes"
    return _PassingError(f"{url}: the connection ended after {got}; what arrived is kept, run again to resume")


def _open_file(url: str, headers: dict[str, str], timeout_s: float) -> HTTPResponse:
    """The answer to a request for a model: 200, 206, or 412 and 416 where the server cannot continue."""
    address = url
    with _network_errors(url):
        while address:
            request = Request(address, headers={"User-Agent": f"sightline/{__version__}", **headers})
            response = cast(HTTPResponse, build_opener(_Redirects, _Ranges).open(request, timeout=timeout_s))
            if not _is_page(response):
                return response
            with response:
                page = response.read(1 << 20).decode("utf-8", "replace")
            address = _form_address(page, response.url) if address == url else ""
    raise DownloadError(f"{url}: the answer is a web page, not a model (a log-in, or a download limit); {_BY_HAND}")


def _is_page(response: HTTPResponse) -> bool:
    if response.status != 200:  # a 416 may come as a page, and a 206 is the middle of something
        return False
    is_markup = response.peek(64).lstrip().lower().startswith((b"<!doctype html", b"<html"))
    return is_markup or response.headers.get_content_type() == "text/html"


def _require_web_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DownloadError(f"{url}: cannot be downloaded; expected an address that starts with https:// or http://")


def _require_safe_step(old: str, new: str) -> None:
    _require_web_address(new)
    if urlsplit(old).scheme == "https" and urlsplit(new).scheme != "https":
        raise DownloadError(f"{old}: redirected to {new}, which is not encrypted; refused, {_BY_HAND}")


class _Redirects(HTTPRedirectHandler):
    def redirect_request(self, req: Request, *answer: Any) -> Request | None:
        _require_safe_step(req.full_url, answer[-1])
        return super().redirect_request(req, *answer)


class _Ranges(BaseHandler):
    """Hands 412 and 416 to the caller as answers: they say "not from there", not "no"."""

    def http_error_416(self, _request: Request, answer: HTTPResponse, *_details: Any) -> HTTPResponse:
        return answer

    http_error_412 = http_error_416


def _form_address(page: str, page_url: str) -> str:
    """Where the form leads that Google Drive shows before a file it has not scanned; empty where there is none."""
    form = re.search(r'<form[^>]*\bid="download-form"[^>]*\baction="([^"]+)"', page)
    if form is None:
        return ""
    fields = re.findall(r'<input[^>]*\btype="hidden"[^>]*\bname="([^"]*)"[^>]*\bvalue="([^"]*)"', page)
    address = f"{urljoin(page_url, unescape(form[1]))}?{urlencode([(n, unescape(v)) for n, v in fields])}"
    _require_safe_step(page_url, address)
    return address


_BY_HAND = "download it in a browser and place it by hand"
_STATUS_ADVICE = {
    401: f"it asks for a log-in: {_BY_HAND}",
    403: f"access is denied, or a download limit is reached: try later, or {_BY_HAND}",
    404: "the file is no longer there: upgrade sightline, or look for where it moved",
}
# The first that fits, since all are OSErrors.
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLError, "no trusted encryption with {host} ({reason}); check the clock and the proxy"),
    (socket.gaierror, "no address found for {host}; check the network connection, the proxy and the DNS"),
    (ConnectionRefusedError, "{host} refused the connection; check the proxy and the firewall, or try later"),
    (TimeoutError, "{host} did not answer in time; check the network connection, or try later"),
)


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    try:
        yield
    except DownloadError:  # an OSError too
        raise
    except HTTPError as exc:
        exc.close()
        raise _refusal(exc, url) from exc
    except (OSError, HTTPException) as exc:
        raise _no_answer(exc, url) from exc


def _refusal(exc: HTTPError, url: str) -> DownloadError:
    is_passing = exc.code >= 500 or exc.code in (408, 425, 429)
    advice = _STATUS_ADVICE.get(exc.code, "try again later" if is_passing else _BY_HAND)
    error = _PassingError if is_passing else DownloadError
    return error(f"{url}: the server answered {exc.code} {' '.join(str(exc.reason).split())}; {advice}")


def _no_answer(exc: Exception, url: str) -> _PassingError:
    reason = exc.reason if isinstance(exc, URLError) else exc
    default = "the connection to {host} failed ({reason}); try again"
    what = next((what for kind, what in _CAUSES if isinstance(reason, kind)), default)
    return _PassingError(f"{url}: {what.format(host=urlsplit(url).hostname, reason=reason)}")
