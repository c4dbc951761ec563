"""The shuttle in the picture: a few pixels, smeared along its way for as long as the shutter is open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sightline.synth.court_layers import Layer
from sightline.synth.court_view import View
from sightline.synth.dice import between, chance
from sightline.synth.shuttle import Flight
from sightline.types import FloatArray

_LENGTH_M, _SKIRT_M, _CORK_M = 0.085, 0.033, 0.014  # length, and the radii of its two ends
_SMALLEST_PX = 0.55  # what the lens makes of anything smaller


@dataclass(frozen=True)
class ShuttleLook:
    """How bright it comes out: `gain` above 1 keeps a smear visible, as a sensor that is nearly saturated does."""

    color: tuple[float, float, float]  # BGR, 0..255
    gain: float
    size: float  # 1 is true to life


def shuttle_look(rng: Generator) -> ShuttleLook:
    white = between(rng, 185, 255)
    yellow = between(rng, 0.35, 0.85) if chance(rng, 0.2) else between(rng, 0.88, 1.0)
    return ShuttleLook(
        (white * yellow, white, white * between(rng, 0.93, 1)), between(rng, 1, 1.9), between(rng, 0.9, 1.6)
    )


def shuttle_layer(
    flight: Flight, view: View, time_s: float, *, exposure_s: float, look: ShuttleLook
) -> tuple[Layer, NDArray[np.float64]] | None:
    """The smear, and (3,) metres where it is in the middle of the exposure. None while out of play or behind us."""
    place = flight.place_at(time_s)
    if place is None or view.depth(place) < 1:
        return None
    path = view.project(_places(flight, time_s, exposure_s, 3))
    count = int(np.clip(np.hypot(*(path[-1] - path[0])) * 1.5, 3, 60)) | 1
    path = view.project(_places(flight, time_s, exposure_s, count))
    scale = view.px_per_m(place) * look.size
    lengthwise = _direction(flight, view, time_s) * scale * (_LENGTH_M - _SKIRT_M)
    skirt, cork = max(_SMALLEST_PX, _SKIRT_M * scale), max(_SMALLEST_PX, _CORK_M * scale)
    reach = skirt + scale * _LENGTH_M + 2
    left, top = np.floor(path.min(axis=0) - reach).astype(int).tolist()
    right, bottom = np.ceil(path.max(axis=0) + reach).astype(int).tolist()
    rows, columns = np.mgrid[top : bottom + 1, left : right + 1].astype(np.float32)
    ends = ((-0.5, skirt), (0.0, (skirt + cork) / 2), (0.5, cork))
    covers = [_discs(rows, columns, path + share * lengthwise, radius) for share, radius in ends]
    alpha = np.minimum(np.max(covers, axis=0).mean(axis=0) * look.gain, 1)
    color = np.array([*look.color, 1], np.float32)
    return Layer(left, top, alpha[..., None] * color), place


def _places(flight: Flight, time_s: float, exposure_s: float, count: int) -> NDArray[np.float64]:
    """(N, 3) over the exposure, as far as it is in play. An odd `count` has the middle, where it always is."""
    moments = time_s + exposure_s * np.linspace(-0.5, 0.5, count)
    return np.array([place for moment in moments if (place := flight.place_at(moment)) is not None])


def _direction(flight: Flight, view: View, time_s: float) -> NDArray[np.float64]:
    """(2,) of flight in the picture, shorter where it flies towards or away from us; the cork is in front."""
    here, there = flight.place_at(time_s), flight.place_at(time_s + 1 / 240)
    if here is None or there is None:
        return np.zeros(2)
    way = there - here
    length = float(np.linalg.norm(way))
    return np.asarray(view.axes[:2] @ way / length) if length > 1e-4 else np.array([1.0, 0.0])


def _discs(rows: FloatArray, columns: FloatArray, centres_xy: NDArray[np.float64], radius: float) -> FloatArray:
    """(N, H, W) how much of each pixel a disc about each centre covers, nearly."""
    x, y = centres_xy.astype(np.float32).T[:, :, None, None]
    return np.asarray(np.clip(np.float32(radius + 0.5) - np.hypot(columns - x, rows - y), 0, 1), np.float32)
