"""Seeded randomness: every draw belongs to a named stream, so that a new draw in one place moves no other."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.random import Generator


def dice(purpose: str, *seeds: int) -> Generator:
    """A generator of its own for `purpose`: the same words and numbers always give the same draws."""
    return np.random.default_rng([zlib.crc32(purpose.encode()), *(seed & 0xFFFFFFFFFFFFFFFF for seed in seeds)])


def fresh_seed(rng: Generator) -> int:
    return int(rng.integers(1 << 62))


def weighted(rng: Generator, weights: Mapping[str, float]) -> str:
    """One of the names, each as likely as its weight says; the weights need not add up to one."""
    names = list(weights)
    shares = np.cumsum([weights[name] for name in names])
    return names[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))]


def chance(rng: Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def between(rng: Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def near(rng: Generator, centre: float, spread: float, *, low: float, high: float) -> float:
    """A normal draw about `centre`, held within the bounds."""
    return float(np.clip(rng.normal(centre, spread), low, high))
