"""Nobody is learnt from and judged on; and who is judged on can be searched for across cameras."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import ConfigError
from sightline.training.records import Record
from sightline.training.split import query_and_gallery, split_by_identity


def records_of(cameras: dict[str, list[int]]) -> list[Record]:
    return [
        Record(Path(f"{person}-{shot}.jpg"), person, camera)
        for person, taken in cameras.items()
        for shot, camera in enumerate(taken)
    ]


people = st.dictionaries(st.text("abc01", min_size=1, max_size=4), st.lists(st.integers(0, 3), min_size=1, max_size=7))


def people_of(records: tuple[Record, ...]) -> set[str]:
    return {record.person for record in records}


@settings(max_examples=100, deadline=None)
@given(cameras=people, share=st.floats(0.05, 0.6), seed=st.integers(0, 5))
def test_nobody_is_on_both_sides_and_no_image_is_lost(cameras: dict[str, list[int]], share: float, seed: int) -> None:
    records = records_of(cameras)
    try:
        train, held_out = split_by_identity(records, share=share, seed=seed)
    except ConfigError:
        assert len(cameras) < 4 + share * len(cameras) or max(map(len, cameras.values())) == 1
        return
    assert not people_of(train) & people_of(held_out)
    assert sorted((*train, *held_out), key=lambda record: record.path) == sorted(records, key=lambda r: r.path)
    assert len(people_of(held_out)) == max(2, round(share * len(cameras)))


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    records = records_of({f"{number:02}": [0, 1] for number in range(40)})
    one, again = (people_of(split_by_identity(side, share=0.25, seed=1)[1]) for side in (records, records[::-1]))
    assert one == again
    assert len(one) == 10
    assert one != people_of(split_by_identity(records, share=0.25, seed=2)[1])


def test_people_of_several_cameras_are_held_out_before_those_of_one() -> None:
    several = {f"s{number}": [0, 1] for number in range(3)}
    one = {f"o{number}": [0, 0, 0] for number in range(5)}
    lone = {f"l{number}": [0] for number in range(12)}
    records = records_of({**lone, **one, **several})
    for seed in range(5):
        assert people_of(split_by_identity(records, share=0.15, seed=seed)[1]) == set(several)
        assert people_of(split_by_identity(records, share=0.4, seed=seed)[1]) == {*several, *one}


def test_a_share_of_nothing_holds_out_nobody() -> None:
    records = records_of({"a": [0]})
    assert split_by_identity(records, share=0, seed=0) == (tuple(records), ())


@pytest.mark.parametrize(
    ("cameras", "share", "what"),
    [
        ({"a": [0, 1], "b": [0, 1], "c": [0, 1]}, 0.2, "3 people cannot be split"),
        ({name: [0] for name in "abcdefgh"}, 0.2, "nobody has two images"),
        ({"a": [0]}, 1.0, "is 1.0; expected"),
    ],
)
def test_what_cannot_be_split_is_refused(cameras: dict[str, list[int]], share: float, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        split_by_identity(records_of(cameras), share=share, seed=0)


def test_each_person_and_camera_is_searched_for_once() -> None:
    records = records_of({"a": [0, 0, 1, 1, 2, 2], "b": [3, 3], "c": [0]})
    query, gallery = query_and_gallery(records, seed=0)
    assert sorted((record.person, record.camera) for record in query) == [("a", 0), ("a", 1), ("a", 2), ("b", 3)]
    assert sorted((*query, *gallery), key=lambda r: r.path) == sorted(records, key=lambda r: r.path)
    assert any(query_and_gallery(records, seed=seed)[0] != query for seed in range(1, 9))
    assert query_and_gallery(records, seed=0) == (query, gallery)


@settings(max_examples=200, deadline=None)
@given(cameras=people, seed=st.integers(0, 5))
def test_every_query_of_a_person_of_several_cameras_has_a_match_from_another(
    cameras: dict[str, list[int]], seed: int
) -> None:
    query, gallery = query_and_gallery(records_of(cameras), seed=seed)
    for wanted in query:
        theirs = [record for record in gallery if record.person == wanted.person]
        assert theirs
        if len(set(cameras[wanted.person])) > 1:
            assert any(record.camera != wanted.camera for record in theirs)
    several = {person for person, taken in cameras.items() if len(taken) > 1}
    assert {record.person for record in query} == several
