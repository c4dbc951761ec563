"""Batches of P people × K images of each, which is what a loss on pairs can learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from sightline.errors import ConfigError

Groups = Iterator[NDArray[np.int64]]  # of K images of one person


class IdentitySampler(Sampler[list[int]]):
    """A batch sampler: lists of positions in `labels`, P people of `num_instances` images each.

    In one epoch everybody appears at least once, and otherwise in proportion to their images; nobody twice in a batch.
    Who has fewer than K images repeats them. The epoch is drawn from (seed, epoch) alone and dealt out to `world`
    ranks, which get equally many batches, none of them twice.
    """

    def __init__(
        self, labels: Sequence[int], *, batch_size: int, num_instances: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        people, positions = np.unique(np.asarray(labels, np.int64), return_inverse=True)
        _require_fit(len(people), batch_size, num_instances)
        order = np.argsort(positions, kind="stable")
        self._images = np.split(order, np.cumsum(np.bincount(positions))[:-1])
        self._instances, self._seed, self._rank, self._world = num_instances, seed, rank, world
        self._people_in_batch = batch_size // num_instances
        wanted = np.array([max(1, len(images) // num_instances) for images in self._images])
        self._batches = _batches_needed(wanted, self._people_in_batch, world)
        self._wanted = np.minimum(wanted, self._batches)
        self._epoch = self._skip = 0

    def set_epoch(self, epoch: int, *, skip: int = 0) -> None:
        """Draw another epoch, and leave out its first `skip` batches: those a run had before it was interrupted."""
        self._epoch, self._skip = epoch, skip

    def __len__(self) -> int:
        return max(0, self._batches // self._world - self._skip)

    def __iter__(self) -> Iterator[list[int]]:
        mine = list(self._drawn())[self._rank :: self._world]
        return iter(mine[self._skip :])

    def _drawn(self) -> Iterator[list[int]]:
        """The epoch of all ranks together."""
        rng = np.random.default_rng((self._seed, self._epoch))
        groups = [_groups(images, self._instances, rng) for images in self._images]
        left = self._topped_up(rng)
        for batches_left in range(self._batches, 0, -1):
            chosen = _drawn_people(left, self._people_in_batch, batches_left, rng)
            left[chosen] -= 1
            yield [int(index) for person in chosen for index in next(groups[person])]

    def _topped_up(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """How often each person appears, raised at random until the last batch is full."""
        counts: NDArray[np.int64] = self._wanted.copy()
        while missing := self._people_in_batch * self._batches - int(counts.sum()):
            with_room = rng.permutation(np.flatnonzero(counts < self._batches))
            counts[with_room[:missing]] += 1
        return counts


def _require_fit(people: int, batch_size: int, num_instances: int) -> None:
    if num_instances < 1 or batch_size < 1 or batch_size % num_instances:
        raise ConfigError(f"batch_size {batch_size} is not a multiple of num_instances {num_instances}")
    if batch_size // num_instances > people:
        largest = people * num_instances
        raise ConfigError(
            f"batch_size {batch_size} needs {batch_size // num_instances} people with {num_instances} images each, "
            f"and there are {people}; the largest possible is {largest}"
        )


def _batches_needed(wanted: NDArray[np.int64], people_in_batch: int, world: int) -> int:
    """The fewest batches that hold everybody as often as wanted, or once a batch where that is less often."""
    batches = fewer = world * int(wanted.sum())
    while fewer > 0 and np.minimum(wanted, fewer).sum() <= people_in_batch * fewer:
        batches = fewer
        full = world * ceil(int(np.minimum(wanted, batches).sum()) / (people_in_batch * world))
        fewer = min(full, batches - world)
    return batches


def _groups(images: NDArray[np.int64], size: int, rng: np.random.Generator) -> Groups:
    """Without end: the images shuffled and cut into groups, what is left over dropped, and over again."""
    while True:
        shuffled = rng.permutation(images)
        enough = shuffled if len(shuffled) >= size else np.resize(shuffled, size)
        yield from (enough[start : start + size] for start in range(0, len(enough) - size + 1, size))


def _drawn_people(left: NDArray[np.int64], count: int, batches: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`count` people at random in proportion to how often they are still to appear.

    Whoever has to be in every batch that is left comes first, so that the last batches do not run out of people.
    Proportion: the smallest of exponential times at these rates (Efraimidis and Spirakis, 2006).
    """
    times = rng.exponential(size=len(left)) / np.maximum(left, 1)
    times[left == 0] = np.inf
    times[left == batches] -= np.inf
    return rng.permutation(np.argpartition(times, count - 1)[:count])
