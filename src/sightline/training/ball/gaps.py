"""Trajectories with holes, on their way into InpaintNet.

The holes to learn from are made: visible points are taken away at random, and are known. Real gaps, where nobody knows
better than the network, only serve to judge it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sightline.training.ball.rallies import LabelledRally
from sightline.types import Array, BallPoint, FloatArray

LONGEST_HOLE = 8  # frames, of those made to judge by where no tracker's gaps are given
BETWEEN_HOLES = 24  # frames, on average


class Stretch(NamedTuple):
    """A window of a trajectory as the network wants it."""

    coords: Tensor  # (L, 2) float32, shares of the picture; 0 where nothing was seen, or it was taken away
    mask: Tensor  # (L, 1) float32, 1 where it was taken away
    wanted: Tensor  # (L, 2) float32, where the ball really was
    name: str


class StretchBatch(NamedTuple):
    """A named tuple, for DataLoader pins the memory of those and of no other class."""

    coords: Tensor  # (N, L, 2)
    mask: Tensor  # (N, L, 1)
    wanted: Tensor  # (N, L, 2)
    names: tuple[str, ...]


class Stretches(Dataset[Stretch]):
    """Every window of `seq_len` frames, `step` frames apart, with other points taken away in every epoch."""

    def __init__(
        self,
        rallies: Sequence[tuple[LabelledRally, Sequence[BallPoint]]],
        *,
        seq_len: int,
        step: int,
        mask_ratio: float,
        seed: int,
    ) -> None:
        """Each rally with what a tracker found of it, or with its labels where there is no tracker yet."""
        self._seq_len, self._mask_ratio, self._seed = seq_len, mask_ratio, seed
        self._names = [str(rally.rally) for rally, _ in rallies]
        self._wanted, self._found = [], []
        for rally, points in rallies:
            wanted, found = aligned(rally, points)
            self._wanted.append(wanted)
            self._found.append(found)
        self._starts = [
            (number, start)
            for number, wanted in enumerate(self._wanted)
            for start in range(0, len(wanted) - seq_len + 1, step)
        ]
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # torch does not annotate it

    def set_epoch(self, epoch: int) -> None:
        """Take other points away. To be called between epochs, not while a loader is being read."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Stretch:
        number, start = self._starts[index]
        part = slice(start, start + self._seq_len)
        wanted, found = self._wanted[number][part], self._found[number][part]
        rng = np.random.default_rng((self._seed, int(self._epoch), index))
        known = ~np.isnan(wanted[:, :1]) & ~np.isnan(found[:, :1])
        mask = (rng.random((self._seq_len, 1)) < self._mask_ratio) & known
        coords = np.where(mask, 0, np.nan_to_num(found))
        name = f"{self._names[number]} from frame {start}"
        return Stretch(_floats(coords), _floats(mask), _floats(np.nan_to_num(wanted)), name)


def _floats(array: Array) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))


def collated(stretches: list[Stretch]) -> StretchBatch:
    coords, mask, wanted, names = zip(*stretches, strict=True)
    return StretchBatch(torch.stack(coords), torch.stack(mask), torch.stack(wanted), names)


def aligned(rally: LabelledRally, found: Sequence[BallPoint]) -> tuple[FloatArray, FloatArray]:
    """Labels and what was found, (N, 2) each from frame 0, as shares of the picture; NaN without a visible ball."""
    count = 1 + max(point.frame for point in rally.points)
    return _shares(rally.points, count, rally.size_hw), _shares(found, count, rally.size_hw)


def _shares(points: Sequence[BallPoint], count: int, size_hw: tuple[int, int]) -> FloatArray:
    height, width = size_hw
    shares = np.full((count, 2), np.nan, np.float32)
    for point in points:
        if point.visible and point.frame < count:
            shares[point.frame] = point.x / width, point.y / height
    return shares.clip(0, 1)  # which leaves NaN alone


def with_holes(points: Sequence[BallPoint], *, seed: int) -> list[BallPoint]:
    """A trajectory as a tracker might have found it: runs of points are missing. The same seed, the same ones."""
    hidden = _holes(len(points), np.random.default_rng(seed))
    return [replace(point, visible=point.visible and not gone) for point, gone in zip(points, hidden, strict=True)]


def _holes(count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    hidden = np.zeros(count, bool)
    at = int(rng.integers(1, BETWEEN_HOLES))
    while at < count:
        length = int(rng.integers(1, LONGEST_HOLE + 1))
        hidden[at : at + length] = True
        at += length + int(rng.integers(2, 2 * BETWEEN_HOLES - 2))
    return hidden
