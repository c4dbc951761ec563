"""Cameras: each with a place, a light and a character that it keeps, and the shots it takes of people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.random import Generator

from sightline.errors import ConfigError
from sightline.synth.backgrounds import cut_scene, draw_bicycle, scene
from sightline.synth.body import pose
from sightline.synth.dice import between, chance, dice, fresh_seed, near, weighted
from sightline.synth.figure import Identity, person, tubes_of
from sightline.synth.imaging import Look, develop, look, varied
from sightline.synth.tubes import FlatTube, Light, draw_tubes
from sightline.synth.viewpoint import Viewpoint, detector_box, look_at, place
from sightline.types import FloatArray, Image

_SPRITE_HW = (160, 80)
_PASSERS_BY = 3
SMALLEST_HW = (32, 16)


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera that stays where it is."""

    seed: int
    height: float  # metres above the ground
    distance: float  # metres to the people it sees
    heading: float  # which way most people walk past it, radians; others walk the other way
    freedom: float  # how far from that way they turn, radians
    light: Light
    look: Look
    background: FloatArray  # (H, W, 3) BGR in 0..1
    horizon: int  # row of the background
    passers_by: tuple[FloatArray, ...]  # (H, W, 4) BGR and cover, for crowds
    crowd: float  # chance that something stands in the way


def camera(seed: int) -> Camera:
    """The camera of that number: the same number is the same camera, everywhere and always."""
    rng = dice("camera", seed)
    light = _light(rng)
    background, horizon = scene(rng)
    return Camera(
        seed=seed,
        height=between(rng, 1.3, 5.5),
        distance=between(rng, 5.0, 18.0),
        heading=between(rng, 0, 2 * np.pi),
        freedom=between(rng, 0.3, 0.9),
        light=light,
        look=look(rng),
        background=background,
        horizon=horizon,
        passers_by=tuple(_sprite(fresh_seed(rng), light) for _ in range(_PASSERS_BY)),
        crowd=between(rng, 0.04, 0.3),
    )


def _light(rng: Generator) -> Light:
    azimuth, height = between(rng, 0, 2 * np.pi), between(rng, 0.15, 0.9)
    flat = np.sqrt(1 - height**2)
    direct = between(rng, 0.05, 0.75) ** 1.3
    return Light(
        direction=(float(flat * np.sin(azimuth)), -height, float(flat * np.cos(azimuth))),
        ambient=between(rng, 1.0, 1.15) - 0.55 * direct,
        direct=direct,
    )


def _sprite(seed: int, light: Light) -> FloatArray:
    """A stranger with cover, found by drawing once on black and once on white."""
    rng = dice("passer-by", seed)
    heading = between(rng, 0, 2 * np.pi)
    seen = look_at(tubes_of(person(seed), pose(rng, heading=heading)), Viewpoint(2.5, 10, 0), heading=heading)
    left, top, right, bottom = seen.bounds()
    middle, half = (left + right) / 2, (bottom - top) / 4
    flat = place(seen, (middle - half, top, middle + half, bottom), size_hw=_SPRITE_HW)
    on_black, on_white = np.zeros((*_SPRITE_HW, 3), np.float32), np.ones((*_SPRITE_HW, 3), np.float32)
    for canvas in (on_black, on_white):
        draw_tubes(canvas, flat, light=light, fold_xy=(0, 0))
    cover = 1 - np.clip(on_white - on_black, 0, 1).mean(axis=2, keepdims=True)
    return np.concatenate([on_black, cover], axis=2)


def shoot(identity: Identity, camera: Camera, *, seed: int, size_hw: tuple[int, int] = (256, 128)) -> Image:
    """One crop of the person by the camera. The seed is the moment: pose, place, weather and what is in the way.

    Raises `ConfigError` for a size too small to show anything.
    """
    if size_hw[0] < SMALLEST_HW[0] or size_hw[1] < SMALLEST_HW[1]:
        raise ConfigError(f"a crop of {size_hw[0]}x{size_hw[1]} shows nobody; ask for at least 32x16 (height x width)")
    rng = dice("shot", identity.seed, camera.seed, seed)
    # Small crops are drawn larger: the drawing itself smooths only edges, not what is painted on the cloth.
    scale = max(1.0, 192 / size_hw[0])
    canvas_hw = (round(size_hw[0] * scale), round(size_hw[1] * scale))
    flat = _framed(rng, identity, camera, canvas_hw)
    canvas = cut_scene(rng, camera.background, camera.horizon, size_hw=canvas_hw)
    if chance(rng, camera.crowd):
        _paste(rng, canvas, camera, behind=True)
    _ground_shadow(canvas, flat, strength=0.15 + 0.35 * camera.light.direct)
    draw_tubes(canvas, flat, light=camera.light, fold_xy=(int(rng.integers(256)), int(rng.integers(256))))
    if chance(rng, camera.crowd):
        _OCCLUDERS[weighted(rng, _OCCLUDER_SHARE)](rng, canvas, camera)
    if chance(rng, 0.22):
        _part_shade(rng, canvas)
    return develop(canvas, varied(rng, camera.look), size_hw=size_hw, rng=rng)


def _framed(rng: Generator, identity: Identity, camera: Camera, canvas_hw: tuple[int, int]) -> list[FlatTube]:
    """The person at some moment, on the canvas."""
    heading = camera.heading + float(rng.normal(0, camera.freedom)) + (np.pi if chance(rng, 0.4) else 0.0)
    heading = between(rng, 0, 2 * np.pi) if chance(rng, 0.15) else heading
    view = Viewpoint(
        camera.height, camera.distance * between(rng, 0.75, 1.35), near(rng, 0, 0.025, low=-0.07, high=0.07)
    )
    seen = look_at(tubes_of(identity, pose(rng, heading=heading)), view, heading=heading)
    return place(seen, detector_box(rng, seen.bounds()), size_hw=canvas_hw)


def _ground_shadow(canvas: FloatArray, flat: list[FlatTube], *, strength: float) -> None:
    """Dark ground under the feet: a soft spot, cheap and enough."""
    feet = np.array(sorted((tube.bottom_xy for tube in flat), key=lambda xy: -xy[1])[:4])
    x, y = feet.mean(axis=0)
    rows, columns = canvas.shape[:2]
    top = int(max(0, y - 0.08 * rows))
    if top >= rows:
        return
    down = ((np.arange(top, rows, dtype=np.float32) - y) / (0.035 * rows))[:, None]
    across = ((np.arange(columns, dtype=np.float32) - x) / (0.26 * columns))[None, :]
    canvas[top:] *= (1 - np.float32(strength) * np.exp(-down * down) * np.exp(-across * across))[..., None].astype(
        np.float32
    )


def _paste(rng: Generator, canvas: FloatArray, camera: Camera, *, behind: bool) -> None:
    """A stranger beside the person: further and smaller behind, or nearer and in the way."""
    sprite = camera.passers_by[int(rng.integers(_PASSERS_BY))]
    rows, columns = canvas.shape[:2]
    height = rows * (between(rng, 0.5, 0.95) if behind else between(rng, 0.85, 1.3))
    aside = between(rng, 0.25, 0.6) * (1 if chance(rng, 0.5) else -1)
    foot = rows * (between(rng, 0.7, 0.98) if behind else between(rng, 0.98, 1.25))
    factor = height / sprite.shape[0]
    x = columns * (0.5 + aside) - sprite.shape[1] * factor / 2
    move = np.array([[factor, 0, x], [0, factor, foot - height]], np.float32)
    laid = cv2.warpAffine(sprite, move, (columns, rows), flags=cv2.INTER_LINEAR)
    canvas *= 1 - laid[..., 3:]
    canvas += laid[..., :3]


def _stranger(rng: Generator, canvas: FloatArray, camera: Camera) -> None:
    _paste(rng, canvas, camera, behind=False)


def _post(rng: Generator, canvas: FloatArray, camera: Camera) -> None:
    """A post, a trunk or a door frame: upright, anywhere across."""
    columns = canvas.shape[1]
    x, width = int(between(rng, 0, columns)), int(columns * between(rng, 0.04, 0.22))
    colour = camera.background[int(rng.integers(60)), int(rng.integers(400))] * np.float32(between(rng, 0.5, 1.3))
    round_it = 0.65 + 0.35 * np.sin(np.linspace(0.3, 2.8, max(width, 1), dtype=np.float32))
    strip = canvas[:, x : x + width]
    strip[:] = colour * round_it[None, : strip.shape[1], None]


def _barrier(rng: Generator, canvas: FloatArray, camera: Camera) -> None:
    """A wall, a car or a counter that hides the legs."""
    rows, columns = canvas.shape[:2]
    y = int(rows * between(rng, 0.55, 0.9))
    x = int(columns * between(rng, 0.1, 0.6)) if chance(rng, 0.5) else 0
    canvas[y:, x:] = cut_scene(rng, camera.background, camera.horizon, size_hw=(rows - y, columns - x))


def _bicycle(rng: Generator, canvas: FloatArray, camera: Camera) -> None:
    rows, columns = canvas.shape[:2]
    centre = (columns * between(rng, 0.1, 0.9), rows * between(rng, 0.72, 0.95))
    draw_bicycle(rng, canvas, centre, size=rows * between(rng, 0.09, 0.18))


_OCCLUDERS: MappingProxyType[str, Callable[[Generator, FloatArray, Camera], None]] = MappingProxyType(
    {"stranger": _stranger, "post": _post, "barrier": _barrier, "bicycle": _bicycle}
)
_OCCLUDER_SHARE = MappingProxyType({"stranger": 38, "post": 18, "barrier": 18, "bicycle": 26})


def _part_shade(rng: Generator, canvas: FloatArray) -> None:
    """The edge of a shadow that falls across the person."""
    rows, columns = canvas.shape[:2]
    angle, strength = between(rng, 0, 2 * np.pi), between(rng, 0.25, 0.55)
    across = (np.arange(columns, dtype=np.float32)[None, :] / columns - 0.5) * np.float32(np.cos(angle) * 0.5)
    down = (np.arange(rows, dtype=np.float32)[:, None] / rows - between(rng, 0.3, 0.7)) * np.float32(np.sin(angle))
    edge = np.clip((across + down) * np.float32(between(rng, 6, 40)) + 0.5, 0, 1)
    canvas *= (1 - np.float32(strength) * edge)[..., None]
