"""What tracks look like, and when that may be believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.tracking.assignment import Matrix
from sightline.types import Array, FloatArray, IntArray

Floats = NDArray[np.float64]

MEMORY = 10  # crops: the mean of as many, then a moving one of that weight, so that clothes in new light are followed
CROWDED_IOU = 0.5  # of two people; from here on a crop shows as much of one as of the other
LIKENESS_SPAN = 0.2  # of cosine, on either side of "the same person": beyond it, certain for the purpose of pairing
BELIEVED_S = 2.0  # after as long without a new vector, appearance counts half: lights, poses and backs turn


@dataclass(frozen=True, eq=False)
class Appearance:
    """The mean vector of each of T tracks. A row of zeros has never been embedded."""

    vectors: FloatArray  # (T, D), L2-normalised or zero
    crops: IntArray  # (T,) how many are in the mean
    embedded_s: Floats  # (T,) when the last was

    @property
    def known(self) -> Array:
        """Mask (T,) of the tracks that have been embedded."""
        return self.crops > 0

    def take(self, tracks: Array) -> Appearance:
        """Those tracks alone, by index or mask."""
        return Appearance(self.vectors[tracks], self.crops[tracks], self.embedded_s[tracks])

    def widened(self, size: int) -> Appearance:
        """The same for vectors of `size` numbers, where none has been seen so far."""
        return Appearance(np.zeros((len(self.crops), size), np.float32), self.crops, self.embedded_s)

    def with_crops(self, vectors: FloatArray, usable: Array, time_s: float) -> Appearance:
        """After one more crop each, (T, D); rows outside the mask `usable` change nothing."""
        if not usable.any():
            return self
        share = np.where(usable, 1 / np.minimum(self.crops + 1, MEMORY), 0)[:, None]
        mixed = normalised((self.vectors + share * (vectors - self.vectors)).astype(np.float32))
        return Appearance(mixed, self.crops + usable, np.where(usable, time_s, self.embedded_s))


def unknown(count: int, size: int) -> Appearance:
    """Tracks nobody has embedded yet."""
    return Appearance(np.zeros((count, size), np.float32), np.zeros(count, np.int64), np.full(count, -np.inf))


def joined(first: Appearance, second: Appearance) -> Appearance:
    """The tracks of one, then those of the other."""
    return Appearance(
        np.concatenate([first.vectors, second.vectors]),
        np.concatenate([first.crops, second.crops]),
        np.concatenate([first.embedded_s, second.embedded_s]),
    )


def normalised(vectors: FloatArray) -> FloatArray:
    """L2-normalised rows (N, D). A row that is not finite, or zero, becomes zero: it says nothing about anybody."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        sound = np.isfinite(lengths) & (lengths > 0)
        unit: FloatArray = np.divide(vectors, lengths, out=np.zeros(vectors.shape, np.float32), where=sound)
    return unit


def crowding(ious: Matrix) -> Floats:
    """How much of each detection (N,) is somebody else's: its largest IoU with another of the same frame (N, N)."""
    if len(ious) < 2:
        return np.zeros(len(ious))
    others = ious.copy()
    np.fill_diagonal(others, 0)
    most: Floats = others.max(axis=1)
    return most


def likeness(cosines: Matrix, *, same_person: float) -> Matrix:
    """0 for certainly another, 1 for certainly the same, a half at `same_person`: on the scale of an IoU."""
    return np.clip((cosines - same_person) / (2 * LIKENESS_SPAN) + 0.5, 0, 1)


def reliability(appearance: Appearance, embedded: Array, crowded: Floats, *, time_s: float) -> Matrix:
    """How far to believe the cosine of each track with each detection, (T, N): 0 where either was never embedded.

    It falls with the time since the track was last embedded, and with how much of the detection is somebody else's.
    """
    age = time_s - np.where(appearance.known, appearance.embedded_s, time_s)
    of_track = appearance.known / (1 + age / BELIEVED_S)
    of_detection = embedded * np.clip(1 - crowded / CROWDED_IOU, 0, 1)
    believed: Matrix = of_track[:, None] * of_detection[None, :]
    return believed
