"""How boxes move: a Kalman filter of constant velocity for all tracks at once.

Centre, width and height are filtered each by itself: the usual noise is independent between them, so the usual 8×8
covariance is four blocks of 2×2, and a whole frame of tracks is a handful of array operations. Width and height rather
than an aspect ratio, which jumps when a box is cut by the border. Noise grows with time, not with the number of
frames: a dropped frame or a slower camera widens it as much as it should.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.types import Array

Floats = NDArray[np.float64]

# All in units of the longer side of the box (of its square, for spectral densities), and in seconds.
MEASURED_STD = 0.04  # of what a detector says
JERK = 4.0  # variance of velocity that a second adds: half a second turns a walk around
FIRST_SPEED_STD = 1.5  # per second, of what has been seen once


@dataclass(frozen=True, eq=False)
class Motion:
    """What is known of where T boxes are and how they move.

    `state` is (5, T, 4): place, velocity per second, variance of place, covariance, variance of velocity, each for
    centre x, centre y, width, height in pixels.
    """

    state: Floats

    def __len__(self) -> int:
        return int(self.state.shape[1])

    @property
    def boxes_xyxy(self) -> Floats:
        """Corners (T, 4). A shrinking box is never smaller than a pixel."""
        centre, half = self.state[0, :, :2], np.maximum(self.state[0, :, 2:], 1) / 2
        return np.concatenate([centre - half, centre + half], axis=1)

    def take(self, tracks: Array) -> Motion:
        """Those tracks alone, by index or mask."""
        return Motion(self.state[:, tracks])

    def after(self, gap_s: float, *, unseen: Array) -> Motion:
        """The prediction `gap_s` seconds on. Boxes in the mask `unseen` keep their size.

        A size that goes on changing while nobody looks ends at nothing, or covers the picture.
        """
        place, velocity, variance, shared, speed = self.state
        velocity = np.where(unseen[:, None] & (np.arange(4) >= 2), 0, velocity)
        scale = _scale(place) ** 2
        return Motion(
            np.stack(
                [
                    place + gap_s * velocity,
                    velocity,
                    variance + gap_s * (2 * shared + gap_s * (speed + JERK * scale * gap_s / 3)),
                    shared + gap_s * (speed + JERK * scale * gap_s / 2),
                    speed + JERK * scale * gap_s,
                ]
            )
        )

    def corrected(self, boxes_xyxy: Array, scores: Array) -> Motion:
        """What is known after the detectors' boxes (T, 4) with their scores (T,): the surer, the more they count."""
        place, velocity, variance, shared, speed = self.state
        measured = _centred(boxes_xyxy)
        noise = (MEASURED_STD * _scale(measured)) ** 2 * (2 - np.clip(scores, 0, 1))[:, None]
        total = variance + noise
        error = (measured - place) / total
        kept = noise / total
        return Motion(
            np.stack(
                [
                    place + variance * error,
                    velocity + shared * error,
                    variance * kept,
                    shared * kept,
                    speed - shared * shared / total,
                ]
            )
        )

    def seen_from(self, affine: Floats) -> Motion:
        """The same boxes after the camera moved: `affine` (2, 3) takes the points of the last picture to this one.

        The axes stay apart: a camera that rolls between two frames does so by too little to mix their variances.
        """
        turn, shift = affine[:, :2], affine[:, 2]
        zoom = float(np.sqrt(abs(np.linalg.det(turn))))
        place, velocity, *variances = self.state
        moved = np.concatenate([place[:, :2] @ turn.T + shift, place[:, 2:] * zoom], axis=1)
        turned = np.concatenate([velocity[:, :2] @ turn.T, velocity[:, 2:] * zoom], axis=1)
        return Motion(np.stack([moved, turned, *(zoom**2 * one for one in variances)]))


def started(boxes_xyxy: Array) -> Motion:
    """Boxes seen for the first time: at rest, as far as anybody knows."""
    place = _centred(boxes_xyxy)
    scale = np.broadcast_to(_scale(place) ** 2, place.shape)
    nothing = np.zeros_like(place)
    return Motion(np.stack([place, nothing, MEASURED_STD**2 * scale, nothing, FIRST_SPEED_STD**2 * scale]))


def joined(first: Motion, second: Motion) -> Motion:
    """The tracks of one, then those of the other."""
    return Motion(np.concatenate([first.state, second.state], axis=1))


def _centred(boxes_xyxy: Array) -> Floats:
    low, high = boxes_xyxy[:, :2].astype(np.float64), boxes_xyxy[:, 2:].astype(np.float64)
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def _scale(place: Floats) -> Floats:
    """The longer side (T, 1), at least a pixel."""
    longer: Floats = np.maximum(place[:, 2:].max(axis=1, keepdims=True), 1)
    return longer


def distances_in_sizes(motion: Motion, boxes_xyxy: Array) -> Floats:
    """From where each track should be to the centre of each box, (T, N), in longer sides of the smaller of the two."""
    place, measured = motion.state[0], _centred(boxes_xyxy)
    far = np.linalg.norm(place[:, None, :2] - measured[None, :, :2], axis=2)
    return np.asarray(far / np.minimum(_scale(place), _scale(measured).T))
