"""How a shuttlecock flies, and what two sides do to it: rallies in metres and seconds.

The court lies in x (across, right positive) and y (along, away from the camera positive), its centre under the net at
the origin; z is up. A shuttle has so little weight for its size that drag rules it: it leaves the racket at up to
100 m/s, falls at no more than 6.8, and comes down far steeper than it went up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sightline.synth.dice import between, chance, weighted

GRAVITY = 9.81
TERMINAL_SPEED = 6.8  # m/s, of a feather shuttle
STEP_S = 1 / 120
NET_HEIGHT = 1.55
FASTEST = 100.0
_DRAG = GRAVITY / TERMINAL_SPEED**2  # deceleration by speed squared
_LONGEST_S = 5.0

Place = NDArray[np.float64]  # (3,) metres


@dataclass(frozen=True, eq=False)
class Hit:
    """A racket meets the shuttle."""

    time_s: float
    place: Place
    side: int  # -1: of the player near the camera, 1: of the far one


@dataclass(frozen=True, eq=False)
class Leg:
    """The shuttle from one hit to the next, or lying on the floor: places `STEP_S` apart."""

    start_s: float
    places: NDArray[np.float64]  # (N, 3)

    @property
    def end_s(self) -> float:
        return self.start_s + (len(self.places) - 1) * STEP_S


@dataclass(frozen=True, eq=False)
class Flight:
    """Where the shuttle is at any time of a clip."""

    legs: tuple[Leg, ...]
    hits: tuple[Hit, ...]

    def place_at(self, time_s: float) -> Place | None:
        """None while nobody has it in play: it is in a hand, or a pocket."""
        leg = next((leg for leg in self.legs if leg.start_s <= time_s <= leg.end_s), None)
        if leg is None:
            return None
        position = (time_s - leg.start_s) / STEP_S
        before = min(int(position), len(leg.places) - 2)
        share = position - before
        return np.asarray((1 - share) * leg.places[before] + share * leg.places[before + 1])


@dataclass(frozen=True)
class Stroke:
    """A way to hit: launch angle, how deep it lands in the other half, and how high it is met there."""

    elevation_deg: tuple[float, float]
    depth_m: tuple[float, float]
    met_at_m: tuple[float, float]


STROKES = {
    "clear": Stroke((16, 36), (4.8, 6.4), (1.5, 2.7)),
    "drop": Stroke((-2, 12), (1.0, 2.6), (0.4, 1.0)),
    "smash": Stroke((-16, -6), (3.0, 5.5), (0.3, 1.0)),
    "drive": Stroke((0, 12), (3.0, 5.5), (0.9, 1.7)),
    "lift": Stroke((35, 58), (4.8, 6.4), (1.6, 2.7)),
    "net": Stroke((35, 65), (0.6, 1.8), (0.5, 1.3)),
    "serve": Stroke((14, 50), (2.2, 6.2), (1.0, 2.4)),
}
_FROM_ABOVE = {"clear": 3.0, "drop": 2.0, "smash": 3.0, "drive": 1.0}
_FROM_BELOW = {"lift": 3.0, "net": 2.0, "drive": 1.5}


def arc(speed: float, elevation: float, *, height: float, stop_height: float) -> NDArray[np.float64]:
    """(N, 2) distance and height each `STEP_S`, launched at `elevation` radians, until it has fallen to `stop_height`.

    Drag and gravity take turns, drag in closed form, so that even a smash stays stable at this step.
    """
    along, up = speed * math.cos(elevation), speed * math.sin(elevation)
    path = [(0.0, height)]
    while len(path) < _LONGEST_S / STEP_S and (up > 0 or path[-1][1] > stop_height):
        slowed = 1 + _DRAG * math.hypot(along, up) * STEP_S
        along, up = along / slowed, up / slowed - GRAVITY * STEP_S
        path.append((path[-1][0] + along * STEP_S, path[-1][1] + up * STEP_S))
    return np.array(path if len(path) > 1 else path * 2)


def aimed_arc(distance: float, elevation: float, *, height: float, stop_height: float) -> NDArray[np.float64]:
    """The arc that comes down `distance` metres away, or the fastest possible where none goes that far."""
    low, high = 1.0, FASTEST
    for _ in range(9):
        middle = math.sqrt(low * high)
        reached = arc(middle, elevation, height=height, stop_height=stop_height)[-1, 0]
        low, high = (middle, high) if reached < distance else (low, middle)
    return arc(high, elevation, height=height, stop_height=stop_height)


def rally_flight(rng: Generator, duration_s: float) -> Flight:
    """Rallies one after another until the time is over, the first of them perhaps under way at the start."""
    legs: list[Leg] = []
    hits: list[Hit] = []
    time_s = -between(rng, 0.0, 2.5) if chance(rng, 0.8) else between(rng, 0.0, 1.0)
    while time_s < duration_s:
        for leg, hit in _rally(rng, time_s):
            legs.append(leg)
            hits.append(hit)
        time_s = legs[-1].end_s
        if chance(rng, 0.6):
            legs.append(_lying(legs[-1], between(rng, 0.3, 1.5)))
            time_s = legs[-1].end_s
        time_s += between(rng, 0.2, 1.2)
    return Flight(tuple(legs), tuple(hits))


def _rally(rng: Generator, time_s: float) -> Iterator[tuple[Leg, Hit]]:
    side = int(rng.choice([-1, 1]))
    place = np.array([between(rng, -1.5, 1.5), side * between(rng, 2.0, 3.0), between(rng, 0.8, 1.1)])
    name = "serve"
    for number in range(30):
        last = number > 1 and chance(rng, 0.1)
        places = _stroke(rng, STROKES[name], place, side, falls=last)
        leg = Leg(time_s, places)
        yield leg, Hit(time_s, place, side)
        if last:
            return
        time_s, place, side = leg.end_s, places[-1], -side
        name = weighted(rng, _FROM_ABOVE if place[2] > 1.6 else _FROM_BELOW)


def _stroke(rng: Generator, stroke: Stroke, start: Place, side: int, *, falls: bool) -> NDArray[np.float64]:
    """(N, 3) from `start` over the net; steeper than the stroke asks for where it would not clear it."""
    end = np.array([between(rng, -2.9, 2.9), -side * between(rng, *stroke.depth_m)])
    way = end - start[:2]
    distance = float(np.hypot(*way))
    met_at = 0.03 if falls else min(between(rng, *stroke.met_at_m), start[2] + 1.0)
    elevation = math.radians(between(rng, *stroke.elevation_deg))
    to_net = distance * start[1] / (start[1] - end[1])
    for _ in range(30):
        path = aimed_arc(distance, elevation, height=start[2], stop_height=met_at)
        if np.interp(to_net, path[:, 0], path[:, 1]) > NET_HEIGHT + 0.04 and path[-1, 0] > to_net:
            break
        elevation += math.radians(3)
    return np.column_stack([start[:2] + path[:, :1] * way / distance, path[:, 1]])


def _lying(after: Leg, seconds: float) -> Leg:
    return Leg(after.end_s, np.repeat(after.places[-1:], 2 + int(seconds / STEP_S), axis=0))
