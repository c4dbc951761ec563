"""Where everybody in a street is at every moment: along it from one blind spot to the next, with stops and turns.

Metres: x along the street, y across it, z up. Between two cameras, and beyond the last, there is a stretch that none of
them sees. Everybody comes from such a stretch and goes to one, stays there for a while, and comes back or goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sightline.synth.dice import between, chance, dice

SPACING = 15.0  # metres from one camera to the next
HALF_PATH = 2.1  # people walk within so much of the middle of the street
_STRIDE_M = 1.45  # two steps, at average gait
_SMOOTH_S = 0.5  # over which somebody turns

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Walk:
    """One person, frame by frame."""

    xy: Numbers  # (frames, 2)
    facing: Numbers  # (frames,) radians from the x axis, anticlockwise seen from above
    phase: Numbers  # (frames,) of the steps, radians, ever growing
    effort: Numbers  # (frames,) 0 standing, 1 walking


def blind_spots(cameras: int) -> Numbers:
    """x of the middle of each stretch that no camera sees."""
    return np.arange(cameras + 1, dtype=np.float64) * SPACING - SPACING / 2


def walk(seed: int, person: int, *, cameras: int, frames: int, fps: float) -> Walk:
    """The walk of that person: the same whatever the number of other people."""
    rng = dice("street walk", seed, person)
    times, places = _way(rng, blind_spots(cameras), until_s=frames / fps)
    moments = np.arange(frames) / fps
    xy = np.stack([np.interp(moments, times, places[:, axis]) for axis in (0, 1)], axis=1)
    steps = np.diff(xy, axis=0, append=xy[-1:] + xy[-1:] - xy[-2:][:1])  # the last as the one before
    speed = np.hypot(steps[:, 0], steps[:, 1]) * fps
    phase = np.cumsum(speed / fps) * (2 * np.pi / _STRIDE_M) + between(rng, 0, 2 * np.pi)
    return Walk(xy, _facing(steps, speed, fps), phase, np.clip(speed / 0.6, 0, 1))


def _facing(steps: Numbers, speed: Numbers, fps: float) -> Numbers:
    """The direction of the steps, that of the last step while standing, turned into gradually."""
    moves = speed > 0.05
    held = np.maximum.accumulate(np.where(moves, np.arange(len(steps)), np.argmax(moves)))
    angle = np.unwrap(np.arctan2(steps[held, 1], steps[held, 0]))
    width = max(1, round(_SMOOTH_S * fps)) | 1
    padded = np.pad(angle, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def _way(rng: Generator, spots: Numbers, *, until_s: float) -> tuple[Numbers, Numbers]:
    """Times, and the places (N, 2) at them; straight lines at even speed between."""
    spot, pace = int(rng.integers(len(spots))), between(rng, 1.15, 1.75)
    now = -between(rng, 0, SPACING / pace)
    times, places = [now], [(float(spots[spot]), _lane(rng))]
    while now < until_s:
        spot, stops = _trip(rng, spot, spots)
        for place, rest_s in stops:
            now += max(0.04, float(np.hypot(*np.subtract(place, places[-1])))) / (pace * between(rng, 0.92, 1.08))
            times.append(now)
            places.append(place)
            if rest_s:
                now += rest_s
                times.append(now)
                places.append(place)
    return np.array(times), np.array(places)


def _trip(rng: Generator, spot: int, spots: Numbers) -> tuple[int, list[tuple[tuple[float, float], float]]]:
    """The blind spot it leads to, and the places on the way, each with the seconds spent there."""
    step = 1 if spot == 0 or (spot < len(spots) - 1 and chance(rng, 0.5)) else -1
    target = spot if chance(rng, 0.2) else spot + step
    middle = float(spots[spot]) + step * between(rng, 0.4, 0.6) * SPACING
    pause_s = between(rng, 0.8, 3.0) if chance(rng, 0.25) else 0.0
    away_s = between(rng, 0.4, 4.0)
    return target, [((middle, _lane(rng)), pause_s), ((float(spots[target]), _lane(rng)), away_s)]


def _lane(rng: Generator) -> float:
    return between(rng, -HALF_PATH, HALF_PATH)
