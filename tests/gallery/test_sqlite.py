"""The SQLite store: the contract, and what it alone promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from gallery_contract import StoreContract

from sightline.gallery.sqlite import SqliteStore, open_store


class TestSqlite(StoreContract):
    def open(self, url: str, *, read_only: bool = False) -> SqliteStore:
        return open_store(url, read_only=read_only)

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return str(tmp_path / "gallery.db")
