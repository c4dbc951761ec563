"""Samples in random order, a batch at a time, without anything known of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from sightline.errors import ConfigError


class Shuffled(Sampler[list[int]]):
    """Batches of the numbers below `count`, each once an epoch but for the few that fill no batch.

    An epoch is drawn from (seed, epoch) alone and dealt out to `world` ranks, which get equally many batches.
    """

    def __init__(self, count: int, *, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        if count < batch_size * world:
            raise ConfigError(
                f"batch_size is {batch_size}; expected at most {count // world}: there are no more windows"
            )
        self._count, self._size, self._seed, self._rank, self._world = count, batch_size, seed, rank, world
        self._epoch = self._skip = 0

    def set_epoch(self, epoch: int, *, skip: int = 0) -> None:
        """Draw another epoch, and leave out its first `skip` batches."""
        self._epoch, self._skip = epoch, skip

    def __len__(self) -> int:
        return max(0, self._count // (self._size * self._world) - self._skip)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._count)
        batches = self._count // (self._size * self._world)
        mine = order[: batches * self._size * self._world].reshape(batches, self._world, self._size)[:, self._rank]
        return iter(mine[self._skip :].tolist())
