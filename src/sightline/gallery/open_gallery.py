"""From a URL to a `Gallery`: a path is an SQLite file, `chroma:` and `qdrant:` are theirs."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Literal, cast

from sightline.errors import BackendError, GalleryError
from sightline.gallery import sqlite
from sightline.gallery.gallery import Gallery, Store

Mode = Literal["read", "change", "create"]
KINDS = "a path (SQLite), chroma:FOLDER, chroma+http://HOST:PORT, qdrant:FOLDER or qdrant+http://HOST:PORT"
# The module of a store, the library it is of, and the extra that installs that.
LIBRARIES = {
    "chroma": ("sightline.gallery.chroma", "chromadb", "sightline[gallery]"),
    "qdrant": ("sightline.gallery.qdrant", "qdrant_client", "sightline[qdrant]"),
}


def open_gallery(url: str, *, mode: Mode = "create") -> Gallery:
    """The gallery at `url`. Only `create` makes one where there is none, so that a mistyped path stays an error."""
    return Gallery(open_store(url, mode=mode))


def open_store(url: str, *, mode: Mode = "create") -> Store:
    scheme, colon, place = url.partition(":")
    kind, _, server = scheme.partition("+")
    if not url or (colon and not place) or (kind not in LIBRARIES and re.match(r"[\w+.-]+://", url)):
        raise GalleryError(f"{url!r} is no gallery; expected {KINDS}")
    is_library = bool(colon) and kind in LIBRARIES
    if mode == "change" and not server and not Path(place if is_library else url).exists():
        raise GalleryError(f"there is no gallery {url}; check the name, or make one with `sightline gallery import`")
    if is_library:
        return _of_library(kind, url, read_only=mode == "read")
    return sqlite.open_store(url, read_only=mode == "read")


def _of_library(kind: str, url: str, *, read_only: bool) -> Store:
    module, library, extra = LIBRARIES[kind]
    try:
        return cast(Store, import_module(module).open_store(url, read_only=read_only))
    except ImportError as exc:
        if (exc.name or "").partition(".")[0] != library:
            raise
        raise BackendError(f"{url} needs {library}, which is not installed; pip install '{extra}'") from exc
