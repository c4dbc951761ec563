"""P×K batches: full, fair, reproducible and shared out among the ranks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import ConfigError
from sightline.training.sampler import IdentitySampler


def labels_of(counts: list[int]) -> list[int]:
    return [person * 3 for person, count in enumerate(counts) for _ in range(count)]


@settings(max_examples=80, deadline=None)
@given(
    counts=st.lists(st.integers(1, 20), min_size=3, max_size=12),
    people=st.integers(1, 3),
    instances=st.integers(1, 5),
    epoch=st.integers(0, 3),
    world=st.integers(1, 3),
)
def test_every_batch_is_p_different_people_with_k_images_and_everybody_appears(
    counts: list[int], people: int, instances: int, epoch: int, world: int
) -> None:
    labels = labels_of(counts)
    seen: Counter[int] = Counter()
    lengths = set()
    for rank in range(world):
        sampler = IdentitySampler(
            labels, batch_size=people * instances, num_instances=instances, seed=1, rank=rank, world=world
        )
        sampler.set_epoch(epoch)
        batches = list(sampler)
        lengths.add(len(batches))
        assert len(sampler) == len(batches)
        for batch in batches:
            groups = [batch[start : start + instances] for start in range(0, len(batch), instances)]
            shown = [{labels[index] for index in group} for group in groups]
            assert all(len(names) == 1 for names in shown)
            assert len(set.union(*shown)) == len(groups) == people
            for group in groups:
                owned = counts[labels[group[0]] // 3]
                assert len(set(group)) == min(owned, instances)
            seen.update(labels[batch[start]] for start in range(0, len(batch), instances))
    assert len(lengths) == 1
    assert set(seen) == set(labels)


def test_people_appear_in_proportion_to_their_images() -> None:
    """48, 16 and 8 images, five times each, make 12, 4 and 2 groups of four: 90 groups, 45 batches of two."""
    counts = [48, 16, 8] * 5
    labels = labels_of(counts)
    sampler = IdentitySampler(labels, batch_size=8, num_instances=4, seed=0)
    assert len(sampler) == 45
    shown = Counter(labels[batch[start]] // 3 for batch in sampler for start in (0, 4))
    assert shown == {person: count // 4 for person, count in enumerate(counts)}


def test_a_person_with_most_of_the_images_appears_once_a_batch_and_no_more() -> None:
    """1000 images beside three people of four: each batch of two needs somebody else, so 3 batches hold everybody."""
    labels = labels_of([1000, 4, 4, 4])
    sampler = IdentitySampler(labels, batch_size=8, num_instances=4, seed=0)
    shown = Counter(labels[batch[start]] for batch in sampler for start in (0, 4))
    assert shown == {0: 3, 3: 1, 6: 1, 9: 1}


def test_within_an_epoch_no_image_comes_twice_before_all_others_of_the_person_came() -> None:
    labels = labels_of([12] * 6)
    for epoch in range(3):
        sampler = IdentitySampler(labels, batch_size=8, num_instances=4, seed=0)
        sampler.set_epoch(epoch)
        assert sorted(index for batch in sampler for index in batch) == list(range(72))


def test_an_epoch_is_drawn_from_the_seed_and_its_number_alone() -> None:
    labels = labels_of([5, 9, 3, 8, 7])

    def epoch(number: int, *, seed: int = 0) -> list[list[int]]:
        sampler = IdentitySampler(labels, batch_size=6, num_instances=2, seed=seed)
        sampler.set_epoch(number)
        return list(sampler)

    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4)
    assert epoch(3) != epoch(3, seed=1)


def test_a_resumed_epoch_goes_on_where_it_stopped() -> None:
    sampler = IdentitySampler(labels_of([9] * 5), batch_size=6, num_instances=2, seed=0)
    sampler.set_epoch(2)
    whole = list(sampler)
    sampler.set_epoch(2, skip=3)
    assert list(sampler) == whole[3:]
    assert len(sampler) == len(whole) - 3
    sampler.set_epoch(2)
    assert list(sampler) == whole


def test_the_ranks_share_one_epoch() -> None:
    labels = labels_of([8] * 12)
    parts = [
        list(IdentitySampler(labels, batch_size=8, num_instances=4, seed=0, rank=rank, world=3)) for rank in range(3)
    ]
    assert [len(part) for part in parts] == [4, 4, 4]
    assert sorted(index for part in parts for batch in part for index in batch) == list(range(96))


def test_who_shares_a_batch_changes_from_epoch_to_epoch() -> None:
    labels = labels_of([4] * 10)
    met: set[frozenset[int]] = set()
    sampler = IdentitySampler(labels, batch_size=8, num_instances=4, seed=0)
    for epoch in range(60):
        sampler.set_epoch(epoch)
        met |= {frozenset((labels[batch[0]], labels[batch[4]])) for batch in sampler}
    assert len(met) == 45  # 10·9/2 pairs; a pair misses 60 draws of 1 in 9 with a chance of 0.0009


def test_more_people_than_there_are_is_refused_with_the_largest_possible() -> None:
    with pytest.raises(ConfigError, match=r"needs 16 people .* there are 5; the largest possible is 20"):
        IdentitySampler(labels_of([9] * 5), batch_size=64, num_instances=4, seed=0)


@pytest.mark.parametrize(("batch_size", "instances"), [(10, 4), (4, 0), (0, 4), (3, 4)])
def test_a_batch_that_k_does_not_divide_is_refused(batch_size: int, instances: int) -> None:
    with pytest.raises(ConfigError, match=f"batch_size {batch_size} is not a multiple of num_instances {instances}"):
        IdentitySampler(labels_of([9] * 5), batch_size=batch_size, num_instances=instances, seed=0)


def test_half_a_million_images_are_dealt_out() -> None:
    """10,000 people of 49 images: 12 groups each, 7,500 batches of 16 people."""
    labels = np.repeat(np.arange(10_000), 49)
    sampler = IdentitySampler(labels.tolist(), batch_size=64, num_instances=4, seed=0)
    assert len(sampler) == 7500
