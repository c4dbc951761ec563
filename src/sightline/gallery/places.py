"""Where a vector database keeps a gallery: a folder that this process alone has open, or a server for many."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sightline.errors import GalleryError, GalleryFormatError, OutputError
from sightline.files import locked, output_error

COLLECTION = "sightline"
LOCK = "sightline.lock"


@dataclass(frozen=True)
class Place:
    """`scheme:FOLDER`, or `scheme+http://host:port/collection`."""

    url: str
    folder: Path | None
    host: str = ""
    port: int = 0
    tls: bool = False
    collection: str = COLLECTION

    @property
    def address(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"


def place_of(url: str, *, scheme: str, port: int) -> Place:
    """`port` is the one the library's server listens on where the URL names none."""
    if url.startswith(f"{scheme}+"):
        return _server(url, scheme=scheme, port=port)
    folder = url.removeprefix(f"{scheme}:")
    if not folder or "\0" in folder:
        raise GalleryError(f"{url!r} names no folder; expected {scheme}:FOLDER")
    return Place(url, Path(folder))


def _server(url: str, *, scheme: str, port: int) -> Place:
    expected = f"expected {scheme}+http://host:{port}, or {scheme}+http://host:{port}/collection"
    try:
        parts = urlsplit(url.removeprefix(f"{scheme}+"))
        port = parts.port or port
    except ValueError as exc:
        raise GalleryError(f"{url!r} is no address of a server; {expected}") from exc
    odd = parts.username or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or odd:
        raise GalleryError(f"{url!r} is no address of a server; {expected}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Place(url, None, host, port, parts.scheme == "https", _collection(url, parts.path.strip("/")))


def _collection(url: str, name: str) -> str:
    """The strictest of the libraries' rules, so that a name that is good for one is good for all."""
    plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum() and name[0].isalnum()
    if name and not (plain and name[-1].isalnum() and 3 <= len(name) <= 200):
        raise GalleryError(f"{url!r}: a collection is named by 3 to 200 letters, digits, '-' and '_', got {name!r}")
    return name or COLLECTION


class OwnFolder:
    """A folder locked against every other process, ours and of this library, until `close`.

    The databases it is for answer wrongly, and without a word, when two processes write one folder, or when a folder
    is deleted under them. So opening takes a lock, readers too, and each use looks whether the folder is still the one.
    """

    def __init__(self, folder: Path, *, database: str, read_only: bool, instead: str) -> None:
        """`database`: the file by which a folder is known to hold one. `instead`: what many processes should do."""
        _require_folder(folder, database=database, read_only=read_only)
        self._folder = folder
        self._database = folder / database
        self._held = ExitStack()
        try:
            (folder / LOCK).touch()
        except OSError as exc:
            raise output_error(folder / LOCK, exc) from exc
        try:
            self._held.enter_context(locked(folder / LOCK, holder="another process"))
        except OutputError as exc:
            raise GalleryError(f"{folder} is open already, and only one process may have it open; {instead}") from exc
        self._inodes = self._find_inodes()

    def require_unchanged(self) -> None:
        if self._find_inodes() != self._inodes or not self._database.exists():
            raise GalleryError(f"{self._folder} was deleted or replaced while it was open; open the gallery again")

    def close(self) -> None:
        self._held.close()

    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())

    def _find_inodes(self) -> list[tuple[int, int]]:
        """Of the folder and its lock. The database's own would not do: some are replaced by each change."""
        found = [path.stat() for path in (self._folder, self._folder / LOCK) if path.exists()]
        return [(status.st_dev, status.st_ino) for status in found]


def _require_folder(folder: Path, *, database: str, read_only: bool) -> None:
    try:
        if not (folder / database).is_file():
            _require_free(folder, read_only=read_only)
            folder.mkdir(exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc


def _require_free(folder: Path, *, read_only: bool) -> None:
    if read_only:
        raise GalleryError(f"there is no gallery in {folder}, and it was to be read only; check the path")
    if folder.exists() and not folder.is_dir():
        raise GalleryFormatError(f"{folder} is a file; expected a folder")
    if folder.exists() and any(path.name != LOCK for path in folder.iterdir()):
        raise GalleryFormatError(f"{folder} holds other things and no gallery; name a new or empty folder")
