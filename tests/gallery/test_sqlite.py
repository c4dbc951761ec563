"""The SQLite store: the contract, and what it alone promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gallery_contract import StoreContract

from sightline.gallery.gallery import Entry, Gallery, Space, Where
from sightline.gallery.open_gallery import open_gallery
from sightline.gallery.sqlite import SqliteStore, open_store
from sightline.types import Embeddings


class TestSqlite(StoreContract):
    def open(self, url: str, *, read_only: bool = False) -> SqliteStore:
        return open_store(url, read_only=read_only)

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return str(tmp_path / "gallery.db")


def test_the_same_filter_twice_answers_from_what_is_there_now(tmp_path: Path) -> None:
    """What a filter left may be kept for the next question, but not past a change."""
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    space = Space("ab" * 16, 8)
    rare = Where(cameras=["rare"])

    def entry(row: int) -> Entry:
        return Entry(f"{row:03}", "anna", vectors[row], camera="rare" if row % 10 == 0 else "usual")

    def found(gallery: Gallery) -> list[str]:
        [hits] = gallery.search(Embeddings(vectors[:1], space.fingerprint, True), top_k=60, where=rare)
        return sorted(hit.id for hit in hits)

    with open_gallery(str(tmp_path / "g.db"), mode="create") as gallery:
        gallery.add([entry(row) for row in range(50)], space=space)
        assert found(gallery) == found(gallery) == ["000", "010", "020", "030", "040"]
        gallery.add([entry(row) for row in range(50, 60)], space=space)
        gallery.delete([f"{row:03}" for row in range(10)])  # now others are where those were
        assert found(gallery) == found(gallery) == ["010", "020", "030", "040", "050"]
        [hits] = gallery.search(Embeddings(vectors[50:51], space.fingerprint, True), top_k=1, where=rare)
        assert (hits[0].id, hits[0].score) == ("050", pytest.approx(1))
        gallery.delete([f"{row:03}" for row in range(0, 60, 10)])
        assert found(gallery) == []
