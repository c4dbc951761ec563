"""What every store of a gallery promises: subclass `StoreContract`, give it a `url` and the way to open one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from sightline.errors import EntryExistsError, GalleryError
from sightline.gallery.gallery import EVERYBODY, Entry, Gallery, Space, Store, Where
from sightline.types import Embeddings, FloatArray

DIM = 16
SPACE = Space("0123456789abcdef", DIM)
OTHER_SPACE = Space("fedcba9876543210", DIM + 1, "single")
NAMES = ("Ann", "p7", "a/b\\c", "../../etc", "👩‍🚀 Zoë", "<script>alert('x')</script>", 'say "hi"; -- 100%_', "李小龍")
CAMERAS = ("door", "yard/2", "")

WHERES = {
    "everybody": EVERYBODY,
    "one identity": Where(identities={"Ann"}),
    "several identities": Where(identities=list(NAMES[2:6])),
    "an identity that is not there": Where(identities=["nobody"]),
    "no identity": Where(identities=()),
    "not an identity": Where(not_identities=("Ann", "nobody")),
    "one camera": Where(cameras=["yard/2"]),
    "the nameless camera": Where(cameras={""}),
    "not a camera": Where(not_cameras=["door"]),
    "since": Where(since_s=1_700_000_042.0),
    "until": Where(until_s=1_700_000_041.0),
    "a moment": Where(since_s=1_700_000_031.5, until_s=1_700_000_031.5),
    "by id": Where(ids=["e003", "e017", "e999"]),
    "no id": Where(ids=()),
    "all at once": Where(
        identities=NAMES[:6], not_identities=["p7"], cameras=["door", "yard/2"], not_cameras=["yard/2"], since_s=1.7e9
    ),
}


def unit_vectors(count: int, *, dim: int = DIM, seed: int = 0) -> FloatArray:
    vectors = np.random.default_rng(seed).standard_normal((count, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def entries(count: int, *, seed: int = 0, prefix: str = "e") -> list[Entry]:
    """Visits by everybody in `NAMES` in turn; times repeat, so that order has ties to break."""
    return [
        Entry(
            id=f"{prefix}{index:03}",
            identity=NAMES[index % len(NAMES)],
            vector=vector,
            camera=CAMERAS[index % len(CAMERAS)],
            first_s=1_700_000_000.25 + 10 * (index * 7 % 11),
            last_s=1_700_000_000.25 + 10 * (index * 7 % 11) + index % 4,
            count=1 + index,
            quality=index / (count or 1),
            thumbnail=bytes(range(index % 256)),
            created_by=f"sightline 0.{index}",
        )
        for index, vector in enumerate(unit_vectors(count, seed=seed))
    ]


def admits(where: Where, entry: Entry) -> bool:
    """What `Where` says, one condition at a time."""
    return not (
        (where.identities is not None and entry.identity not in where.identities)
        or entry.identity in where.not_identities
        or (where.cameras is not None and entry.camera not in where.cameras)
        or entry.camera in where.not_cameras
        or (where.since_s is not None and entry.last_s < where.since_s)
        or (where.until_s is not None and entry.first_s > where.until_s)
        or (where.ids is not None and entry.id not in where.ids)
    )


def by_slow_loop(
    held: Sequence[Entry], vector: FloatArray, *, top_k: int, where: Where = EVERYBODY
) -> list[tuple[str, float]]:
    scored = [
        (sum(float(a) * float(b) for a, b in zip(entry.vector, vector, strict=True)), entry.id)
        for entry in held
        if admits(where, entry)
    ]
    return [(name, score) for score, name in sorted(scored, key=lambda pair: (-pair[0], pair[1]))[:top_k]]


def facts(entry: Entry) -> tuple[object, ...]:
    """All of an entry, comparable: vectors bit for bit."""
    assert entry.vector.dtype == np.float32
    return (
        entry.id,
        entry.identity,
        entry.vector.tobytes(),
        entry.camera,
        entry.first_s,
        entry.last_s,
        entry.count,
        entry.quality,
        entry.thumbnail,
        entry.created_by,
    )


def same(actual: Sequence[Entry], expected: Sequence[Entry]) -> bool:
    return [facts(entry) for entry in actual] == [facts(entry) for entry in expected]


def in_time(held: Sequence[Entry]) -> list[Entry]:
    return sorted(held, key=lambda entry: (entry.first_s, entry.id))


class StoreContract:
    """A subclass says how a store is opened and gives the `url` of one nothing was ever put into."""

    many = 700  # entries where one page or batch of the store should not be enough

    def open(self, url: str, *, read_only: bool = False) -> Store:
        raise NotImplementedError

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        store = self.open(url)
        yield store
        store.close()

    @pytest.fixture
    def held(self, store: Store) -> list[Entry]:
        """Entries that are in the store."""
        held = entries(40)
        store.bind(SPACE)
        store.insert(held)
        return held

    def test_a_new_store_has_nothing_and_says_so(self, store: Store, url: str) -> None:
        stats = store.stats()
        assert store.space() is None and stats.space is None
        assert (stats.url, stats.entries, stats.identities, stats.cameras) == (url, 0, 0, ())
        assert (stats.first_s, stats.last_s) == (None, None)
        assert store.ids(EVERYBODY) == [] and list(store.iterate(EVERYBODY)) == []
        assert store.fetch(["e000"]) == []

    def test_a_bound_store_without_entries_finds_nobody(self, store: Store) -> None:
        store.bind(SPACE)
        assert store.search(unit_vectors(3), top_k=5, where=EVERYBODY) == [[], [], []]
        assert list(store.iterate(EVERYBODY)) == []

    def test_the_first_space_stays_the_space(self, url: str) -> None:
        store = self.open(url)
        assert store.bind(SPACE) == SPACE
        assert store.bind(OTHER_SPACE) == SPACE
        assert store.space() == SPACE
        store.close()
        again = self.open(url)
        assert again.space() == SPACE and again.bind(OTHER_SPACE) == SPACE
        again.close()

    def test_a_space_of_single_crops_is_kept_as_such(self, store: Store) -> None:
        single = replace(SPACE, aggregation="single")
        assert store.bind(single) == single and store.space() == single

    def test_an_entry_comes_back_as_it_was_given(self, store: Store, held: list[Entry]) -> None:
        assert same(store.fetch([entry.id for entry in held]), held)

    def test_entries_are_there_when_it_is_opened_again(self, url: str) -> None:
        held = entries(self.many)
        store = self.open(url)
        store.bind(SPACE)
        store.insert(held)
        store.close()
        again = self.open(url)
        assert same(again.fetch([entry.id for entry in held]), held)
        assert same(list(again.iterate(EVERYBODY)), in_time(held))
        found = again.search(np.stack([entry.vector for entry in held]), top_k=1, where=EVERYBODY)
        assert [[hit.id for hit in hits] for hits in found] == [[entry.id] for entry in held]
        again.close()

    def test_entries_are_fetched_in_the_order_asked_for_and_strangers_left_out(
        self, store: Store, held: list[Entry]
    ) -> None:
        fetched = store.fetch(["e031", "nobody", "e002", "e017"])
        assert same(fetched, [held[31], held[2], held[17]])

    def test_an_id_that_is_there_keeps_out_its_whole_batch(self, store: Store, held: list[Entry]) -> None:
        batch = [*entries(3, seed=1, prefix="new"), replace(entries(1, seed=2)[0], id="e005")]
        with pytest.raises(EntryExistsError, match="e005"):
            store.insert(batch)
        assert store.ids(EVERYBODY) == [entry.id for entry in in_time(held)]
        assert same(store.fetch(["e005", "new000"]), [held[5]])

    @pytest.mark.parametrize("name", WHERES)
    def test_a_filter_means_the_same_to_every_operation(self, store: Store, held: list[Entry], name: str) -> None:
        where = WHERES[name]
        admitted = in_time([entry for entry in held if admits(where, entry)])
        assert store.ids(where) == [entry.id for entry in admitted]
        assert same(list(store.iterate(where)), admitted)
        query = unit_vectors(1, seed=3)
        [hits] = store.search(query, top_k=len(held), where=where)
        expected = by_slow_loop(held, query[0], top_k=len(held), where=where)
        assert [hit.id for hit in hits] == [name for name, _ in expected]

    @pytest.mark.parametrize("top_k", [1, 3, 40, 1000])
    def test_the_nearest_are_those_a_slow_loop_finds(self, store: Store, held: list[Entry], top_k: int) -> None:
        queries = unit_vectors(5, seed=4)
        found = store.search(queries, top_k=top_k, where=EVERYBODY)
        for query, hits in zip(queries, found, strict=True):
            expected = by_slow_loop(held, query, top_k=top_k)
            assert [hit.id for hit in hits] == [name for name, _ in expected]
            assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected], abs=1e-6)

    def test_a_hit_says_whose_when_and_where(self, store: Store, held: list[Entry]) -> None:
        for entry in held[::7]:
            [[hit]] = store.search(entry.vector[None], top_k=1, where=EVERYBODY)
            assert hit.score == pytest.approx(1, abs=1e-6)
            assert (hit.id, hit.identity, hit.camera) == (entry.id, entry.identity, entry.camera)
            assert (hit.first_s, hit.last_s) == (entry.first_s, entry.last_s)

    def test_equal_scores_come_in_order_of_id(self, store: Store) -> None:
        [vector] = unit_vectors(1)
        twins = [replace(entry, vector=vector) for entry in entries(30)]
        store.bind(SPACE)
        store.insert(twins[::-1])
        for query in (vector, unit_vectors(1, seed=9)[0]):
            [hits] = store.search(query[None], top_k=7, where=EVERYBODY)
            assert [hit.id for hit in hits] == [f"e{index:03}" for index in range(7)]
            assert len({hit.score for hit in hits}) == 1

    def test_no_query_has_no_answer(self, store: Store, held: list[Entry]) -> None:
        assert len(held) == 40
        assert store.search(np.empty((0, DIM), np.float32), top_k=5, where=EVERYBODY) == []

    def test_what_was_just_added_is_found(self, store: Store, held: list[Entry]) -> None:
        for entry in entries(5, seed=8, prefix="late"):
            store.search(entry.vector[None], top_k=1, where=EVERYBODY)
            store.insert([entry])
            [[hit]] = store.search(entry.vector[None], top_k=1, where=EVERYBODY)
            assert hit.id == entry.id
        assert len(store.ids(EVERYBODY)) == len(held) + 5

    def test_assigning_moves_entries_to_an_identity(self, store: Store, held: list[Entry]) -> None:
        store.search(held[0].vector[None], top_k=1, where=EVERYBODY)
        assert store.assign({"e001", "e002", "nobody"}, "<b>new</b>") == 2
        expected = [
            replace(entry, identity="<b>new</b>") if entry.id in {"e001", "e002"} else entry for entry in in_time(held)
        ]
        assert same(list(store.iterate(EVERYBODY)), expected)
        [hits] = store.search(held[1].vector[None], top_k=40, where=Where(identities=["<b>new</b>"]))
        assert hits[0].id == "e001" and {hit.id for hit in hits} == {"e001", "e002"}
        assert {hit.identity for hit in hits} == {"<b>new</b>"}

    def test_what_was_removed_is_gone_and_the_rest_is_not(self, store: Store, held: list[Entry]) -> None:
        store.search(held[0].vector[None], top_k=1, where=EVERYBODY)
        assert store.remove(["e000", "e039", "nobody"]) == 2
        assert same(list(store.iterate(EVERYBODY)), in_time(held[1:39]))
        [hits] = store.search(held[0].vector[None], top_k=40, where=EVERYBODY)
        expected = by_slow_loop(held[1:39], held[0].vector, top_k=40)
        assert [hit.id for hit in hits] == [name for name, _ in expected]

    def test_an_id_can_be_given_again_after_its_entry_was_removed(self, store: Store, held: list[Entry]) -> None:
        store.remove([held[3].id])
        again = replace(entries(1, seed=5)[0], id=held[3].id, identity="somebody else")
        store.insert([again])
        assert same(store.fetch([again.id]), [again])
        [[hit]] = store.search(again.vector[None], top_k=1, where=EVERYBODY)
        assert (hit.id, hit.identity) == (again.id, "somebody else")

    def test_a_store_that_was_emptied_keeps_its_space(self, store: Store, held: list[Entry]) -> None:
        assert store.remove([entry.id for entry in held]) == len(held)
        assert store.space() == SPACE and store.stats().entries == 0
        assert store.search(held[0].vector[None], top_k=3, where=EVERYBODY) == [[]]

    def test_nothing_to_do_does_nothing(self, store: Store, held: list[Entry]) -> None:
        store.insert([])
        assert store.fetch([]) == []
        assert store.assign((), "Ann") == 0 and store.assign(["nobody"], "Ann") == 0
        assert store.remove(()) == 0 and store.remove(["nobody"]) == 0
        assert same(list(store.iterate(EVERYBODY)), in_time(held))

    def test_stats_count_what_is_there(self, store: Store, held: list[Entry]) -> None:
        stats = store.stats()
        assert (stats.space, stats.entries, stats.identities) == (SPACE, 40, len(NAMES))
        assert sorted(stats.cameras) == ["", "door", "yard/2"] and list(stats.cameras) == sorted(stats.cameras)
        assert stats.first_s == min(entry.first_s for entry in held)
        assert stats.last_s == max(entry.last_s for entry in held)
        assert stats.size_bytes is None or stats.size_bytes > 40 * DIM * 4
        assert stats.format >= 1

    def test_entries_may_be_changed_while_they_are_gone_through(self, store: Store, held: list[Entry]) -> None:
        seen = []
        for entry in store.iterate(EVERYBODY):
            seen.append(entry.id)
            store.assign([entry.id], "seen")
        assert seen == [entry.id for entry in in_time(held)]
        assert store.ids(Where(identities=["seen"])) == seen

    def test_a_store_opened_to_be_read_refuses_to_be_written(self, url: str) -> None:
        held = entries(5)
        store = self.open(url)
        store.bind(SPACE)
        store.insert(held)
        store.close()
        reader = self.open(url, read_only=True)
        assert same(reader.fetch(["e004"]), held[4:])
        [[hit]] = reader.search(held[2].vector[None], top_k=1, where=EVERYBODY)
        assert hit.id == "e002" and reader.stats().entries == 5
        for write in (
            lambda: reader.insert(entries(1, prefix="new")),
            lambda: reader.assign(["e000"], "Ann"),
            lambda: reader.remove(["e000"]),
        ):
            with pytest.raises(GalleryError, match=r"only be read|read-only|reading"):
                write()
        assert same(list(reader.iterate(EVERYBODY)), in_time(held))
        reader.close()

    def test_closing_twice_is_closing_once_and_nothing_works_after(self, store: Store, held: list[Entry]) -> None:
        store.close()
        store.close()
        with pytest.raises(GalleryError, match="closed"):
            store.fetch([held[0].id])
        with pytest.raises(GalleryError, match="closed"):
            store.insert(entries(1, prefix="new"))
        with pytest.raises(GalleryError, match="closed"):
            store.search(held[0].vector[None], top_k=1, where=EVERYBODY)

    def test_a_gallery_on_it_merges_and_undoes(self, store: Store) -> None:
        held = entries(24)
        gallery = Gallery(store)
        gallery.add(held, space=SPACE)
        change = gallery.merge(["Ann", "p7"], into="Ann")
        assert store.ids(Where(identities=["p7"])) == []
        [hits] = gallery.search(
            Embeddings(held[1].vector[None], SPACE.fingerprint, True), top_k=24, where=Where(identities=["Ann"])
        )
        assert {hit.id for hit in hits} == {entry.id for entry in held if entry.identity in {"Ann", "p7"}}
        gallery.undo(change)
        assert same(list(gallery.iterate()), in_time(held))
