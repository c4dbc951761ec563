"""Every frame is seen in several windows; what they say of it is averaged."""

from __future__ import annotations

from collections import deque
from typing import Literal, get_args

import numpy as np

from sightline.errors import ConfigError
from sightline.types import FloatArray

EvalMode = Literal["nonoverlap", "average", "weight"]
EVAL_MODES: tuple[str, ...] = get_args(EvalMode)


def get_ensemble_weight(seq_len: int, eval_mode: str) -> FloatArray:
    """The weight (seq_len,) of each place in a window, float32.

    "average" is flat and "weight" a tent, both adding up to 1. Of windows that do not overlap there is nothing to
    average, so that "nonoverlap" is ones: what the network says stays as it is to the last bit. Any other mode is a
    `ConfigError`, which is a `ValueError`.
    """
    if eval_mode not in EVAL_MODES:
        raise ConfigError("Invalid mode")  # the very text that callers of the predecessors look for
    if seq_len < 1:
        raise ConfigError(f"seq_len is {seq_len}; expected 1 frame or more")
    if eval_mode == "nonoverlap":
        return np.ones(seq_len, np.float32)
    if eval_mode == "average":
        return np.full(seq_len, 1 / seq_len, np.float32)
    places = np.arange(1, seq_len + 1)
    tent = np.minimum(places, places[::-1])
    return np.asarray(tent / tent.sum(), np.float32)


class Ensemble:
    """Weighted sums of the heat maps of the frames that windows still to come may cover, oldest frame first.

    A window begins where the one before did and `stride` frames later, so that after each the `stride` oldest frames
    are finished. A sum is divided by the weights that went into it: a frame near either end of a clip, which fewer
    windows cover, is as hot as any other.
    """

    def __init__(self, weights: FloatArray, *, stride: int) -> None:
        self._weights = weights[::-1]  # the newest frame of a window has the first weight
        self._stride = stride
        self._sums: deque[FloatArray] = deque()
        self._totals: deque[np.float32] = deque()

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, heats: FloatArray) -> list[FloatArray]:
        """Take in the heat maps (L, H, W) of the next window; the frames that are finished by it."""
        for place, (heat, weight) in enumerate(zip(heats, self._weights, strict=True)):
            if place < len(self._sums):
                self._sums[place] += heat * weight
                self._totals[place] += weight
            else:
                self._sums.append(heat * weight)
                self._totals.append(weight)
        return [self._finished() for _ in range(self._stride)]

    def skip(self, shape: tuple[int, int]) -> list[FloatArray]:
        """The next window got no answer: its frames are left to the others, and are cold where there are none."""
        while len(self._sums) < len(self._weights):
            self._sums.append(np.zeros(shape, np.float32))
            self._totals.append(np.float32(0))
        return [self._finished() for _ in range(self._stride)]

    def drain(self) -> list[FloatArray]:
        """The frames that were waiting for windows that will not come."""
        return [self._finished() for _ in range(len(self._sums))]

    def _finished(self) -> FloatArray:
        heat = self._sums.popleft()
        heat /= max(np.float32(1e-6), self._totals.popleft())
        return heat
