"""Players: where they run so as to be where the shuttle is hit, and how they look doing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sightline.synth.court_layers import Layer, layer_from
from sightline.synth.court_view import View
from sightline.synth.dice import between, chance
from sightline.synth.shuttle import Hit
from sightline.types import Image

SHRINK = 3  # drawn so many times too large, for smooth edges
_SWING_S = 0.22  # before and after a hit
_MOMENTS = (-1 / 3, 0.0, 1 / 3)  # of the exposure, drawn over one another: motion blur
_SKINS = ((150, 180, 225), (120, 160, 215), (90, 130, 190), (60, 90, 140), (40, 60, 95))

Color = tuple[int, ...]  # BGR
Points = dict[str, NDArray[np.float64]]  # joints by name, (3,) metres


@dataclass(frozen=True)
class Clothes:
    shirt: Color
    shorts: Color
    skin: Color
    hair: Color
    shoes: Color
    racket: Color | None  # of those who play


@dataclass(frozen=True, eq=False)
class Player:
    """One player of a clip: the way of the feet as places and their times, and the hits to swing at."""

    clothes: Clothes
    height_m: float
    times_s: NDArray[np.float64]  # (N,) ascending
    places_xy: NDArray[np.float64]  # (N, 2)
    hits: tuple[Hit, ...]

    def place_at(self, time_s: float) -> NDArray[np.float64]:
        """(3,) of the feet, on the floor. Runs start and end softly."""
        index = int(np.clip(np.searchsorted(self.times_s, time_s) - 1, 0, len(self.times_s) - 2))
        start, end = self.times_s[index : index + 2]
        share = float(np.clip((time_s - start) / (end - start), 0, 1))
        share = share * share * (3 - 2 * share)
        return np.array([*((1 - share) * self.places_xy[index] + share * self.places_xy[index + 1]), 0.0])


def players(rng: Generator, hits: Sequence[Hit]) -> list[Player]:
    """Two, or two pairs, dressed alike on either side."""
    doubles = chance(rng, 0.3)
    team = []
    for side in (-1, 1):
        clothes = _clothes(rng)
        own = [hit for hit in hits if hit.side == side]
        bases = [-1.3, 1.3] if doubles else [0.0]
        for base in bases:
            taken = [hit for hit in own if not doubles or (hit.place[0] >= 0) == (base > 0)]
            team.append(_player(rng, np.array([base, side * between(rng, 2.6, 3.8)]), taken, clothes))
    return team


def bystanders(rng: Generator) -> list[Player]:
    """Line judges, coaches, an umpire: they stand about the court and hardly move."""
    places = [(-4.6, -2), (4.6, -2), (-4.2, 0), (4.2, 0), (-4.5, 6.5), (4.5, 6.5), (-2, 8.2), (2, 8.2)]
    chosen = rng.permutation(len(places))[: int(rng.integers(0, 6))]
    dressed = (replace(_clothes(rng), racket=None) for _ in chosen)
    return [_player(rng, np.array(places[i], float), [], clothes) for i, clothes in zip(chosen, dressed, strict=True)]


def _player(rng: Generator, base: NDArray[np.float64], hits: Sequence[Hit], clothes: Clothes) -> Player:
    """Back to about `base` between hits, at an arm's length from the shuttle at each."""
    times, places = [-10.0], [base]
    for hit in hits:
        reach = np.array([between(rng, 0.3, 0.6) * (1 if base[0] > hit.place[0] else -1), hit.side * 0.25])
        if hit.time_s - times[-1] > 1.0:
            times.append((hit.time_s + times[-1]) / 2)
            places.append(base + rng.normal(0, 0.35, 2))
        times.append(max(hit.time_s, times[-1] + 0.05))
        places.append(hit.place[:2] + reach)
    times.append(times[-1] + 1.2)
    places.append(base)
    return Player(clothes, between(rng, 1.6, 1.95), np.array(times), np.array(places), tuple(hits))


def _clothes(rng: Generator) -> Clothes:
    white = (235, 235, 235)
    return Clothes(
        shirt=white if chance(rng, 0.25) else _any_color(rng),
        shorts=white if chance(rng, 0.25) else _any_color(rng),
        skin=_SKINS[int(rng.integers(len(_SKINS)))],
        hair=tuple(int(level) for level in rng.integers(5, 70, 3)),
        shoes=white if chance(rng, 0.5) else _any_color(rng),
        racket=_any_color(rng),
    )


def _any_color(rng: Generator) -> Color:
    return tuple(int(level) for level in rng.integers(5, 240, 3))


# One moment


def joints(player: Player, time_s: float) -> Points:
    """A stick figure in metres: feet that step as far as it moves, an arm that ready or swinging holds the racket."""
    feet, step = player.place_at(time_s), 0.04
    velocity = (player.place_at(time_s + step) - player.place_at(time_s - step)) / (2 * step)
    speed = float(np.hypot(*velocity[:2]))
    stride = velocity / max(speed, 1e-6) * min(0.4, 0.16 * speed) * np.sin(8.0 * time_s)
    crouch = 1 - 0.03 * min(speed, 4)
    up, across = np.array([0, 0, player.height_m / 1.8]), np.array([1.0, 0, 0])
    net_ward = np.array([0, -np.sign(feet[1]), 0])
    hip, neck = feet + 0.92 * crouch * up, feet + 1.5 * crouch * up + 0.08 * net_ward
    body = {
        "left foot": feet - 0.17 * across + stride,
        "right foot": feet + 0.17 * across - stride,
        "left knee": feet - 0.15 * across + 0.48 * crouch * up + 0.7 * stride + 0.08 * net_ward,
        "right knee": feet + 0.15 * across + 0.48 * crouch * up - 0.7 * stride + 0.08 * net_ward,
        "hip": hip,
        "neck": neck,
        "head": neck + 0.2 * up,
        "left shoulder": neck - 0.19 * across - 0.05 * up,
        "right shoulder": neck + 0.19 * across - 0.05 * up,
        "left hand": neck - 0.35 * across - 0.4 * up + 0.3 * net_ward,
    }
    return {**body, **_racket_arm(player, time_s, body, net_ward)}


def _racket_arm(player: Player, time_s: float, body: Points, net_ward: NDArray[np.float64]) -> Points:
    """The racket's head is on the shuttle at the moment of the hit, and on its way there and back around it."""
    shoulder = body["right shoulder"]
    head = shoulder + np.array([0.3, 0, 0.05]) + 0.6 * net_ward
    hit = min(player.hits, key=lambda hit: abs(hit.time_s - time_s), default=None)
    if hit is not None and abs(hit.time_s - time_s) < _SWING_S:
        away = (time_s - hit.time_s) / _SWING_S
        swing = np.array([0.25 * away, 0, -0.9 * max(away, 0) + 0.2 * min(away, 0)]) + 0.7 * away * net_ward
        head = head + (1 - abs(away)) * (hit.place + swing - head)
    hand = shoulder + 0.45 * (head - shoulder)
    return {"right hand": hand, "racket": head}


def player_layer(player: Player, view: View, time_s: float, *, exposure_s: float) -> Layer:
    """The player as the camera sees it over the whole exposure."""
    scale = view.px_per_m(player.place_at(time_s)) * SHRINK
    drawn = [joints(player, time_s + moment * exposure_s) for moment in _MOMENTS]
    flat = [dict(zip(body, view.project(np.array([*body.values()])), strict=True)) for body in drawn]
    every = np.array([point for body in flat for point in body.values()])
    x, y = np.floor(every.min(axis=0) - 0.3 * scale / SHRINK).astype(int).tolist()
    columns, rows = (np.ceil(every.max(axis=0) + 0.3 * scale / SHRINK).astype(int) - (x, y)).tolist()
    canvases = []
    for body in flat:
        canvas = np.zeros((rows * SHRINK, columns * SHRINK, 4), np.uint8)
        _draw(canvas, {name: (point - (x, y)) * SHRINK for name, point in body.items()}, scale, player.clothes)
        canvases.append(canvas)
    blurred = np.asarray(np.mean(canvases, axis=0), np.float32)
    return layer_from(blurred, x, y, shrink=SHRINK)


def shadow_layer(player: Player, view: View, time_s: float, *, darkness: float) -> Layer:
    """A soft dark spot on the floor about the feet."""
    place = player.place_at(time_s)
    reach = np.array([[-0.55, 0, 0], [0.55, 0, 0], [0, -0.4, 0], [0, 0.4, 0]])
    left, right, near, far = view.project(place + reach)
    half_width, half_height = max(2, int(right[0] - left[0]) // 2), max(2, int(near[1] - far[1]) // 2)
    rows, columns = np.mgrid[-half_height : half_height + 1, -half_width : half_width + 1]
    away = (rows / half_height) ** 2 + (columns / half_width) ** 2
    x, y = view.project(place[None])[0]
    bgra = np.zeros((*away.shape, 4), np.float32)
    bgra[..., 3] = darkness * np.clip(1 - away, 0, 1)
    return Layer(round(x) - half_width, round(y) - half_height, bgra)


def _draw(canvas: Image, at: Points, scale: float, clothes: Clothes) -> None:
    """Back to front as seen from behind or before: legs, trunk, head, arms, racket. `scale` is pixels a metre."""
    for start, end, width_m, color in _limbs(clothes):
        cv2.line(canvas, _pixel(at[start]), _pixel(at[end]), (*color, 255), max(1, round(width_m * scale)))
    cv2.circle(canvas, _pixel(at["head"]), max(1, round(0.12 * scale)), (*clothes.hair, 255), -1)
    if clothes.racket is not None:
        head, thin = _pixel(at["racket"]), max(1, round(0.025 * scale))
        cv2.line(canvas, _pixel(at["right hand"]), head, (*clothes.racket, 255), thin)
        cv2.circle(canvas, head, max(2, round(0.12 * scale)), (*clothes.racket, 255), thin)


def _limbs(clothes: Clothes) -> Iterator[tuple[str, str, float, Color]]:
    for side in ("left", "right"):
        yield f"{side} foot", f"{side} knee", 0.1, clothes.skin
        yield f"{side} foot", f"{side} foot", 0.14, clothes.shoes
        yield f"{side} knee", "hip", 0.17, clothes.shorts
    yield "hip", "neck", 0.34, clothes.shirt
    yield "hip", "hip", 0.34, clothes.shorts
    for side in ("left", "right"):
        yield "neck", f"{side} shoulder", 0.14, clothes.shirt
        yield f"{side} shoulder", f"{side} hand", 0.08, clothes.skin


def _pixel(point: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
