"""The crops that ranges are measured on, and those the result is judged by: never the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline.errors import ConfigError

CALIBRATION = 96  # crops; with a third of these the extremes of a tensor are often not seen
FEWEST = 8  # of each kind


@dataclass(frozen=True)
class Dealt:
    calibration: tuple[Path, ...]
    judged: tuple[Path, ...]


def dealt(
    crops: Sequence[Path], judged_by: Sequence[Path] | None = None, *, count: int = CALIBRATION, seed: int = 0
) -> Dealt:
    """`count` of the crops, drawn by the seed, for the ranges; `judged_by`, by default all others, for the verdict.

    Of fewer than twice as many crops half are for the ranges. Raises `ConfigError` where either kind is too few to
    mean anything.
    """
    others = [] if judged_by is None else list(judged_by)
    available = [path for path in crops if path not in set(others)]
    wanted = min(count, len(available) if others else len(available) // 2)
    drawn = {int(place) for place in np.random.default_rng(seed).permutation(len(available))[:wanted]}
    calibration = tuple(path for place, path in enumerate(available) if place in drawn)
    judged = tuple(others or (path for place, path in enumerate(available) if place not in drawn))
    if min(len(calibration), len(judged)) < FEWEST:
        raise ConfigError(
            f"{len(calibration)} crops to measure ranges on and {len(judged)} others to judge by; expected {FEWEST} of "
            f"each at least, and a few hundred are better: give more crops"
        )
    return Dealt(calibration, judged)
