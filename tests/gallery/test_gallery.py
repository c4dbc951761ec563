"""The gallery: what it refuses, how identities are moved about and back, export and import."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery_contract import DIM, NAMES, OTHER_SPACE, SPACE, entries, in_time, same, unit_vectors

from sightline.card import ModelCard, VectorOutput
from sightline.errors import BackendError, EntryExistsError, GalleryError, GalleryFormatError
from sightline.gallery import open_gallery as opening
from sightline.gallery.gallery import Change, Entry, Gallery, Space, Where, space_of
from sightline.gallery.interchange import (
    BATCH,
    Imported,
    Reindexed,
    checked_export,
    export_gallery,
    import_into,
    reindex,
)
from sightline.gallery.matrix import Label, Matrix
from sightline.gallery.open_gallery import open_gallery
from sightline.types import Embeddings


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with open_gallery(str(tmp_path / "gallery.db")) as gallery:
        yield gallery


@pytest.fixture
def held(gallery: Gallery) -> list[Entry]:
    held = entries(40)
    gallery.add(held, space=SPACE)
    return held


def query(vectors: np.ndarray[Any, Any], fingerprint: str = SPACE.fingerprint) -> Embeddings:
    return Embeddings(vectors, fingerprint, True)


class TestSpace:
    def card(self, **facts: Any) -> ModelCard:
        output = VectorOutput("features", 512)
        return ModelCard(**{"task": "reid", "arch": "osnet_x0_25", "output": output, "fingerprint": "ab" * 32, **facts})

    def test_a_trained_model_says_its_space(self) -> None:
        assert space_of(self.card(weights="trained")) == Space("ab" * 32, 512, "averaged")
        assert space_of(self.card(), aggregation="single") == Space("ab" * 32, 512, "single")

    @pytest.mark.parametrize("weights", ["untrained", "imagenet"])
    def test_weights_that_do_not_tell_people_apart_have_none(self, weights: str) -> None:
        with pytest.raises(GalleryError, match=f"osnet_x0_25 has {weights} weights, which do not tell people apart"):
            space_of(self.card(weights=weights))

    def test_a_dimension_the_card_leaves_open_is_asked_for_and_a_known_one_not_overruled(self) -> None:
        open_card = self.card(output=VectorOutput("features", None))
        assert space_of(open_card, dim=256).dim == 256
        assert space_of(self.card(), dim=256).dim == 512
        with pytest.raises(GalleryError, match="does not say how long its vectors are"):
            space_of(open_card)

    def test_a_model_without_a_fingerprint_has_none(self) -> None:
        with pytest.raises(GalleryError, match="model fingerprint ''"):
            space_of(self.card(fingerprint=""))

    @pytest.mark.parametrize("wrong", [{"dim": 0}, {"dim": 10**12}, {"fingerprint": "x" * 16}, {"aggregation": "sum"}])
    def test_a_space_made_by_hand_is_held_to_the_same(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(GalleryError):
            replace(SPACE, **wrong)


class TestRefusals:
    @pytest.mark.parametrize(
        "other",
        [
            replace(SPACE, fingerprint="f" * 16),
            replace(SPACE, dim=DIM + 1),
            replace(SPACE, aggregation="single"),
        ],
    )
    def test_vectors_of_another_space_are_refused_with_both(
        self, gallery: Gallery, held: list[Entry], other: Space
    ) -> None:
        vectors = unit_vectors(1, dim=other.dim)
        with pytest.raises(GalleryError) as caught:
            gallery.add([replace(held[0], id="new", vector=vectors[0])], space=other)
        assert str(SPACE) in str(caught.value) and str(other) in str(caught.value)
        assert len(gallery.ids()) == 40

    @pytest.mark.parametrize(
        ("vector", "told"),
        [
            (np.zeros(DIM), "all zeros"),
            (np.full(DIM, np.nan), "NaN or infinite"),
            (np.full(DIM, np.inf), "NaN or infinite"),
            (np.ones(DIM), "length 4; expected L2-normalised"),
            (unit_vectors(1)[0] * 1.0011, "length 1.001"),
            (unit_vectors(1, dim=DIM - 1)[0], "15 numbers; expected 16"),
            (unit_vectors(2), r"shape \(2, 16\); expected 16"),
            (np.float32(1), r"shape \(\); expected 16"),
        ],
    )
    def test_a_vector_that_is_not_of_length_1_keeps_out_its_whole_batch(
        self, gallery: Gallery, vector: np.ndarray[Any, Any], told: str
    ) -> None:
        batch = entries(5)
        batch[3] = replace(batch[3], vector=vector)
        with pytest.raises(GalleryError, match=f"'e003'.*{told}"):
            gallery.add(batch, space=SPACE)
        assert gallery.space is None and gallery.ids() == []

    def test_a_vector_nearly_of_length_1_is_put_right_and_an_exact_one_left_alone(self, gallery: Gallery) -> None:
        exact, near = entries(2)
        gallery.add([exact, replace(near, vector=near.vector * np.float32(1.0009))], space=SPACE)
        kept = gallery.fetch([exact.id, near.id])
        assert kept[0].vector.tobytes() == exact.vector.tobytes()
        assert np.linalg.norm(kept[1].vector.astype(np.float64)) == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(kept[1].vector, near.vector, atol=1e-6)

    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            ({"identity": ""}, "identity of entry 'e000' is empty"),
            ({"identity": "   "}, "is empty"),
            ({"identity": "x" * 10_000}, r"10,000 characters \('x{40}'…\); expected at most 200"),
            ({"identity": "a\nb"}, r"U\+000A"),
            ({"identity": "a\0b"}, r"U\+0000"),
            ({"identity": "\x1b[31m"}, r"U\+001B"),
            ({"identity": "gpj\u202eexe"}, r"U\+202E"),
            ({"identity": "a\ud800"}, r"U\+D800"),
            ({"identity": " Ann"}, "begins or ends with a space"),
            ({"camera": "x" * 201}, "the camera of entry"),
            ({"id": ""}, "an entry id is empty"),
            ({"created_by": "\n"}, "the maker of entry"),
            ({"first_s": float("nan")}, "expected seconds since 1970"),
            ({"first_s": 5.0, "last_s": 4.0}, "first to last"),
            ({"last_s": float("inf")}, "expected seconds since 1970"),
            ({"count": 0}, "made of 0 crops"),
            ({"count": 10**30}, "made of 1000"),
            ({"quality": 1.5}, "quality 1.5; expected 0 to 1"),
            ({"quality": float("nan")}, "quality nan"),
            ({"thumbnail": bytes(2_000_000)}, "thumbnail of 2.0 MB"),
        ],
    )
    def test_an_entry_nobody_could_use_is_refused_in_one_line(
        self, gallery: Gallery, fields: dict[str, Any], told: str
    ) -> None:
        good, bad = entries(2)[1], replace(entries(1)[0], **fields)
        with pytest.raises(GalleryError, match=told) as caught:
            gallery.add([good, bad], space=SPACE)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
        assert gallery.ids() == []

    @pytest.mark.parametrize("name", [*NAMES, "x" * 200, "tab-less", "é", "e\u0301", "'; DROP TABLE entries; --"])
    def test_anything_printable_is_a_name(self, gallery: Gallery, name: str) -> None:
        [entry] = entries(1)
        gallery.add([replace(entry, id=name, identity=name, camera=name)], space=SPACE)
        assert gallery.ids(Where(identities=[name], cameras=[name], ids=[name])) == [name]

    def test_an_id_given_twice_in_a_batch_is_refused(self, gallery: Gallery) -> None:
        [entry] = entries(1)
        with pytest.raises(EntryExistsError, match="'e000' is given twice"):
            gallery.add([entry, entry], space=SPACE)

    def test_no_entries_bind_nothing(self, gallery: Gallery) -> None:
        gallery.add([], space=SPACE)
        assert gallery.space is None
        gallery.add(entries(1), space=SPACE)
        assert gallery.space == SPACE

    def test_a_query_of_another_model_or_size_is_refused(self, gallery: Gallery, held: list[Entry]) -> None:
        with pytest.raises(GalleryError, match="the query is by model 'ffff"):
            gallery.search(query(held[0].vector[None], "f" * 16))
        with pytest.raises(GalleryError, match="15 numbers; expected 16"):
            gallery.search(query(unit_vectors(1, dim=15)))
        with pytest.raises(GalleryError, match="query 1: its vector is all zeros"):
            gallery.search(query(np.stack([held[0].vector, np.zeros(DIM, np.float32)])))
        with pytest.raises(GalleryError, match="asked for the 0 nearest"):
            gallery.search(query(held[0].vector[None]), top_k=0)

    def test_a_gallery_nothing_was_added_to_finds_nobody_for_any_model(self, gallery: Gallery) -> None:
        assert gallery.search(query(unit_vectors(2, dim=3), "whatever")) == [[], []]


class TestIdentities:
    def of(self, gallery: Gallery, *names: str) -> set[str]:
        return set(gallery.ids(Where(identities=names)))

    def test_a_rename_answers_what_it_did_and_is_undone(self, gallery: Gallery, held: list[Entry]) -> None:
        before = gallery.ids(Where(identities=["Ann"]))
        change = gallery.rename("Ann", "Anna <b>")
        assert change == Change("rename", "Anna <b>", {"Ann": tuple(before)})
        assert gallery.ids(Where(identities=["Anna <b>"])) == before and not self.of(gallery, "Ann")
        assert gallery.undo(change).entries == len(before) == 5
        assert same(list(gallery.iterate()), in_time(held))

    def test_nobody_is_renamed_to_somebody_else(self, gallery: Gallery, held: list[Entry]) -> None:
        with pytest.raises(GalleryError, match=r"there is an identity 'p7' already; .* merge"):
            gallery.rename("Ann", "p7")
        with pytest.raises(GalleryError, match="no identity 'Ammie' in"):
            gallery.rename("Ammie", "Bob")
        with pytest.raises(GalleryError, match="10,000 characters"):
            gallery.rename("Ann", "x" * 10_000)
        assert same(list(gallery.iterate()), in_time(held))

    @pytest.mark.parametrize("into", ["Ann", "李小龍", "somebody new"])
    def test_a_merge_is_undone_entry_by_entry(self, gallery: Gallery, held: list[Entry], into: str) -> None:
        change = gallery.merge(["Ann", "p7", NAMES[2]], into=into)
        merged = {entry.id for entry in held if entry.identity in {"Ann", "p7", NAMES[2], into}}
        assert self.of(gallery, into) == merged
        assert change.former.keys() == {"Ann", "p7", NAMES[2]} - {into}
        gallery.undo(change)
        assert same(list(gallery.iterate()), in_time(held))

    def test_a_merge_with_a_name_that_is_not_there_merges_nothing(self, gallery: Gallery, held: list[Entry]) -> None:
        with pytest.raises(GalleryError, match="no identity 'nobody'"):
            gallery.merge(["p7", "nobody"], into="Ann")
        with pytest.raises(GalleryError, match="nobody to merge into 'Ann'"):
            gallery.merge(["Ann"], into="Ann")
        assert same(list(gallery.iterate()), in_time(held))

    def test_an_undo_leaves_alone_what_was_moved_again_or_deleted_since(
        self, gallery: Gallery, held: list[Entry]
    ) -> None:
        change = gallery.merge(["p7"], into="Ann")
        moved, gone, *rest = change.former["p7"]
        gallery.split("Ann", [moved], into="Zed")
        gallery.delete([gone])
        assert gallery.undo(change) == Change("undo", "", {"p7": tuple(rest)})
        assert self.of(gallery, "Zed") == {moved} and self.of(gallery, "p7") == set(rest)
        assert len(gallery.ids()) == len(held) - 1

    def test_a_split_takes_only_entries_of_that_identity(self, gallery: Gallery, held: list[Entry]) -> None:
        first, second = gallery.ids(Where(identities=["Ann"]))[:2]
        stranger = gallery.ids(Where(identities=["p7"]))[0]
        with pytest.raises(GalleryError, match=f"entry '{stranger}' is not of 'Ann'; nothing was split"):
            gallery.split("Ann", [first, stranger], into="twin")
        change = gallery.split("Ann", [second, first, second], into="twin")
        assert change.former == {"Ann": (second, first)} and self.of(gallery, "twin") == {first, second}
        gallery.undo(change)
        assert same(list(gallery.iterate()), in_time(held))

    def test_a_deletion_says_what_is_gone_and_cannot_be_undone(self, gallery: Gallery, held: list[Entry]) -> None:
        change = gallery.delete(["e000", "e001", "nobody", "e001"])
        assert change.former == {"Ann": ("e000",), "p7": ("e001",)}
        assert same(list(gallery.iterate()), in_time(held[2:]))
        with pytest.raises(GalleryError, match="cannot be undone"):
            gallery.undo(change)

    def test_an_entry_that_is_not_there_is_named(self, gallery: Gallery, held: list[Entry]) -> None:
        assert same([gallery.get("e007")], [held[7]])
        with pytest.raises(GalleryError, match="no entry 'e999' in"):
            gallery.get("e999")


class TestMatrix:
    """Long rows of equal and nearly equal vectors, where float32 alone would put them in the wrong order."""

    def matrix(self, vectors: np.ndarray[Any, Any]) -> Matrix:
        matrix = Matrix(vectors.shape[1])
        labels = [Label(row + 1, f"{row:05}", f"p{row % 100}", f"c{row % 3}", row, row) for row in range(len(vectors))]
        for start in range(0, len(vectors), 700):
            matrix.append(labels[start : start + 700], vectors[start : start + 700])
        return matrix

    def test_order_among_near_ties_is_that_of_exact_arithmetic(self) -> None:
        rng = np.random.default_rng(0)
        centre = unit_vectors(1, dim=512)[0]
        vectors = (centre + rng.standard_normal((5000, 512)) * 1e-7).astype(np.float32)
        exact = vectors.astype(np.float64) @ centre.astype(np.float64)
        expected = sorted(range(5000), key=lambda row: (-exact[row], row))[:20]
        [hits] = self.matrix(vectors).nearest(centre[None], top_k=20, where=Where())
        assert [exact[int(hit.id)] for hit in hits] == pytest.approx([exact[row] for row in expected], abs=1e-14)

    @pytest.mark.parametrize("count", [1, 7, 64, 1001, 4099])
    def test_copies_of_one_vector_score_the_same_wherever_they_stand(self, count: int) -> None:
        copies = np.repeat(unit_vectors(1, dim=512), count, axis=0)
        [hits] = self.matrix(copies).nearest(unit_vectors(1, dim=512, seed=1), top_k=count, where=Where())
        assert len({hit.score for hit in hits}) == 1 and [hit.id for hit in hits] == sorted(hit.id for hit in hits)

    @pytest.mark.parametrize("where", [Where(identities=["p3"]), Where(cameras=["c0", "c1"]), Where(since_s=2990)])
    def test_a_filter_that_leaves_few_or_many_finds_the_same_as_one_after_the_search(self, where: Where) -> None:
        vectors, queries = unit_vectors(3000, dim=64), unit_vectors(5, dim=64, seed=2)
        matrix = self.matrix(vectors)
        every = matrix.nearest(queries, top_k=3000, where=Where())
        for hits, found in zip(every, matrix.nearest(queries, top_k=9, where=where), strict=True):
            left = [
                hit
                for hit in hits
                if (where.identities is None or hit.identity in where.identities)
                and (where.cameras is None or hit.camera in where.cameras)
                and (where.since_s is None or hit.last_s >= where.since_s)
            ]
            assert found == left[:9]

    def test_more_queries_than_are_scored_at_once_are_all_answered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        vectors = unit_vectors(50, dim=8)
        monkeypatch.setattr("sightline.gallery.matrix.SCORES_AT_ONCE", 120)
        found = self.matrix(vectors).nearest(vectors, top_k=1, where=Where())
        assert [hits[0].id for hits in found] == [f"{row:05}" for row in range(50)]


class TestInterchange:
    def test_what_is_exported_comes_back_bit_for_bit(self, gallery: Gallery, held: list[Entry], tmp_path: Path) -> None:
        path = tmp_path / "out.jsonl"
        assert export_gallery(gallery, path) == 40
        with open_gallery(str(tmp_path / "second.db")) as second:
            assert import_into(second, checked_export(path)) == Imported(40, 0, ())
            assert same(list(second.iterate()), in_time(held)) and second.space == SPACE
            again = tmp_path / "again.jsonl"
            export_gallery(second, again)
            assert import_into(second, checked_export(path)) == Imported(0, 40, ())
        assert again.read_bytes() == path.read_bytes()

    def test_ids_with_other_content_are_reported_and_left_as_they_are(
        self, gallery: Gallery, held: list[Entry], tmp_path: Path
    ) -> None:
        export_gallery(gallery, tmp_path / "out.jsonl")
        gallery.delete(["e001"])
        gallery.rename("Ann", "Anna")
        expected = in_time([replace(entry, identity="Anna") if entry.identity == "Ann" else entry for entry in held])
        done = import_into(gallery, checked_export(tmp_path / "out.jsonl"))
        anns = {entry.id for entry in held if entry.identity == "Ann"}
        assert (done.added, done.same, set(done.conflicts)) == (1, 34, anns)
        assert same(list(gallery.iterate()), expected)

    def test_an_export_of_another_space_adds_nothing(self, gallery: Gallery, held: list[Entry], tmp_path: Path) -> None:
        assert len(held) == 40
        with open_gallery(str(tmp_path / "other.db")) as other:
            vectors = unit_vectors(1, dim=OTHER_SPACE.dim)
            other.add([replace(entries(1)[0], id="new", vector=vectors[0])], space=OTHER_SPACE)
            export_gallery(other, tmp_path / "other.jsonl")
        with pytest.raises(GalleryError, match="refuses single vectors"):
            import_into(gallery, checked_export(tmp_path / "other.jsonl"))
        assert len(gallery.ids()) == 40

    def test_nothing_is_not_exported(self, gallery: Gallery, tmp_path: Path) -> None:
        with pytest.raises(GalleryError, match="nothing was ever added"):
            export_gallery(gallery, tmp_path / "out.jsonl")
        assert not (tmp_path / "out.jsonl").exists()

    def lines(self, gallery: Gallery, tmp_path: Path) -> list[dict[str, Any]]:
        gallery.add(entries(40), space=SPACE)
        export_gallery(gallery, tmp_path / "out.jsonl")
        return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]

    @pytest.mark.parametrize(
        ("number", "change", "told"),
        [
            (1, {"sightline_gallery": 2}, "format 2, newer than this sightline"),
            (1, {"sightline_gallery": "1"}, "is not a gallery export"),
            (1, {"dim": "16"}, "does not say which vectors"),
            (1, {"aggregation": "sum"}, "aggregation 'sum'"),
            (3, {"vector": "AAAA"}, "line 3: "),
            (3, {"vector": "not base64!"}, "line 3: "),
            (3, {"vector": ""}, "line 3: .*0 numbers; expected 16"),
            (3, {"identity": 7}, "line 3: identity is '7', which is of the wrong type"),
            (3, {"count": True}, "line 3: count is 'True'"),
            (3, {"count": 1.5}, "line 3: count"),
            (3, {"first_s": None}, "line 3: first_s"),
            (3, {"first_s": 10**400}, "line 3: "),
            (3, {"last_s": float("nan")}, "line 3: .*expected seconds"),
            (3, {"identity": "a\nb"}, r"line 3: .*U\+000A"),
            (3, {"__class__": "x"}, "line 3: lacks or should not have '__class__'"),
            (4, {"id": "e000"}, "twice"),
            (42, {"end": 39}, "line 42: ends after 40 entries"),
        ],
    )
    def test_a_line_that_is_wrong_is_named_and_nothing_is_added(
        self, tmp_path: Path, number: int, change: dict[str, Any], told: str
    ) -> None:
        with open_gallery(str(tmp_path / "gallery.db")) as gallery:
            lines = self.lines(gallery, tmp_path)
        lines[number - 1] |= change
        path = tmp_path / "bad.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        with pytest.raises(GalleryError, match=told) as caught:
            checked_export(path)
        assert "\n" not in str(caught.value)

    def test_a_file_cut_short_anywhere_is_refused(self, gallery: Gallery, tmp_path: Path) -> None:
        gallery.add(entries(3), space=SPACE)
        export_gallery(gallery, tmp_path / "whole.jsonl")
        whole = (tmp_path / "whole.jsonl").read_bytes()
        for length in range(len(whole)):
            (tmp_path / "cut.jsonl").write_bytes(whole[:length])
            with pytest.raises(GalleryFormatError, match=r"cut short|not a gallery export"):
                checked_export(tmp_path / "cut.jsonl")

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\n",
            b"text\n",
            b"[]\n",
            b"\xff\xfe{}\n",
            b"[" * 100_000 + b"\n",
            b"1" * 10_000 + b"\n",
            b"\x80\x04K\n",
        ],
    )
    def test_another_file_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.jsonl").write_bytes(content)
        with pytest.raises(GalleryFormatError, match=r"a\.jsonl, line 1: "):
            checked_export(tmp_path / "a.jsonl")

    def test_more_than_one_batch_is_carried_over(self, tmp_path: Path) -> None:
        held = [replace(entry, id=f"{index:06}") for index, entry in enumerate(entries(BATCH + 5))]
        with open_gallery(str(tmp_path / "a.db")) as first, open_gallery(str(tmp_path / "b.db")) as second:
            first.add(held, space=SPACE)
            export_gallery(first, tmp_path / "out.jsonl")
            assert import_into(second, checked_export(tmp_path / "out.jsonl")).added == len(held)
            assert same(list(second.iterate()), in_time(held))


class TestReindex:
    def test_the_second_gallery_becomes_what_the_first_is(
        self, gallery: Gallery, held: list[Entry], tmp_path: Path
    ) -> None:
        with open_gallery(str(tmp_path / "index.db")) as index:
            assert reindex(gallery, index) == Reindexed(40, 0, 0)
            gallery.delete(["e000"])
            gallery.merge(["p7"], into="Ann")
            gallery.add(entries(2, seed=1, prefix="new"), space=SPACE)
            moved = sum(entry.identity == "p7" for entry in held)
            assert reindex(gallery, index) == Reindexed(2, moved, 1)
            assert same(list(index.iterate()), list(gallery.iterate()))
            assert reindex(gallery, index) == Reindexed(0, 0, 0)

    def test_a_gallery_is_not_rebuilt_from_itself_or_from_nothing(self, gallery: Gallery, tmp_path: Path) -> None:
        with open_gallery(str(tmp_path / "index.db")) as index:
            with pytest.raises(GalleryError, match="nothing was ever added"):
                reindex(gallery, index)
            gallery.add(entries(1), space=SPACE)
            with pytest.raises(GalleryError, match="cannot be rebuilt from itself"):
                reindex(gallery, gallery)


class TestOpening:
    @pytest.mark.parametrize("url", ["", "chroma:", "milvus+http://here:1", "https://here/gallery.db"])
    def test_what_is_no_gallery_is_refused_with_what_is(self, url: str) -> None:
        with pytest.raises(GalleryError, match=r"is no gallery; expected a path \(SQLite\), chroma:FOLDER"):
            open_gallery(url)

    @pytest.mark.parametrize("kind", ["", "chroma:", "qdrant:"])
    def test_only_create_makes_a_gallery(self, tmp_path: Path, kind: str) -> None:
        with pytest.raises(GalleryError, match="there is no gallery"):
            open_gallery(f"{kind}{tmp_path / 'nothing'}", mode="change")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("kind", "extra"), [("chroma", "gallery"), ("qdrant", "qdrant")])
    def test_an_absent_library_is_one_line_naming_the_extra(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, extra: str
    ) -> None:
        library = opening.LIBRARIES[kind][1]

        def absent(name: str) -> Any:
            raise ModuleNotFoundError(f"No module named {library!r}", name=f"{library}.api")

        monkeypatch.setattr(opening, "import_module", absent)
        with pytest.raises(
            BackendError, match=rf"needs {library}, which is not installed; pip install 'sightline\[{extra}"
        ):
            open_gallery(f"{kind}:{tmp_path}")

    def test_another_import_that_fails_is_not_taken_for_an_absent_library(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(name: str) -> Any:
            raise ModuleNotFoundError("No module named 'sightline.gone'", name="sightline.gone")

        monkeypatch.setattr(opening, "import_module", broken)
        with pytest.raises(ModuleNotFoundError):
            open_gallery(f"chroma:{tmp_path}")
