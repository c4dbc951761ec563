"""One camera of a scene: who is where in its picture, how much of each is seen, and the picture itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.synth.court_film import Film, film, noise_tiles
from sightline.synth.dice import between, dice
from sightline.synth.figure import Identity
from sightline.synth.scene_furniture import Thing, furniture
from sightline.synth.scene_sprites import Sprite, Wardrobe
from sightline.synth.scene_street import Post, empty_street, post, sunlight
from sightline.synth.scene_walks import SPACING, Walk
from sightline.synth.tubes import Light
from sightline.types import Image

_AIM_M = 0.9  # the height of a person at which its scale is right
_SOLID = 128  # cover from which a pixel belongs to whoever covers it
_FURNITURE = 255


@dataclass(frozen=True)
class SceneBox:
    """One person in one picture."""

    person: int  # from 1, the same before every camera
    box_xyxy: tuple[float, float, float, float]  # of all of the person that is inside the picture, hidden or not
    visible_share: float  # of the whole person: what is neither hidden nor outside the picture


@dataclass(frozen=True, eq=False)
class _Cutout:
    """Something laid over the picture: its pixels, and where their top left corner goes."""

    mark: int  # the person, or `_FURNITURE`
    pixels: Image  # (H, W, 4) BGR times cover, and cover
    left: int
    top: int
    depth: float
    shadow: NDArray[np.float64]  # (2, 3) from the sprite's pixels to the picture
    sprite: Sprite


class StreetCamera:
    """What one camera records of the walks."""

    def __init__(
        self,
        seed: int,
        camera: int,
        *,
        people: Sequence[Identity],
        walks: Sequence[Walk],
        size_hw: tuple[int, int],
        fps: float,
    ) -> None:
        rng = dice("street camera", seed, camera)
        self._post = post(rng, camera, size_hw=size_hw, sun=sunlight(dice("street sun", seed)))
        self._walks, self._fps = walks, fps
        exposure, warmth = between(rng, 0.86, 1.14), between(rng, -0.09, 0.09)
        self._tint = np.array([1 - warmth, 1.0, 1 + warmth], np.float32) * np.float32(exposure)
        self._wardrobe = Wardrobe(
            list(people),
            eye_m=float(self._post.view.eye[2]),
            focal_px=self._post.view.focal_px,
            light=_light_before(self._post),
            tint=self._tint,
        )
        self._things = [self._standing(thing) for thing in furniture(rng, self._post, light=exposure)]
        self._seed = (seed, camera)

    def pictures(self) -> Iterator[tuple[Image, list[SceneBox]]]:
        for index in range(len(self._walks[0].xy)):
            cutouts = self._cutouts(index)
            yield self._film.record(self._painted(cutouts), self._noise, index, index / self._fps), self._boxes(cutouts)

    def boxes(self) -> Iterator[list[SceneBox]]:
        """The same boxes, with nothing painted."""
        return (self._boxes(self._cutouts(index)) for index in range(len(self._walks[0].xy)))

    # Who is where

    def _cutouts(self, index: int) -> list[_Cutout]:
        """Everything in the picture, the furthest first."""
        near = [
            who for who, walk in enumerate(self._walks) if abs(walk.xy[index, 0] - self._post.middle_x) < SPACING / 2
        ]
        people = [self._person(who, self._walks[who], index) for who in near]
        return sorted([*people, *self._things], key=lambda cutout: -cutout.depth)

    def _person(self, who: int, walk: Walk, index: int) -> _Cutout:
        place = np.array([*walk.xy[index], 0.0])
        away = self._post.view.eye[:2] - place[:2]
        toward = away / np.hypot(*away)
        ahead = np.array([np.cos(walk.facing[index]), np.sin(walk.facing[index])])
        heading = float(np.arctan2(ahead @ [-toward[1], toward[0]], ahead @ toward))
        sprite = self._wardrobe.sprite(
            who,
            heading=heading,
            phase=float(walk.phase[index]),
            walking=bool(walk.effort[index] > 0.5),
            distance_m=float(np.hypot(*away)),
        )
        return self._laid(who + 1, sprite, place)

    def _standing(self, thing: Thing) -> _Cutout:
        return self._laid(_FURNITURE, thing.sprite, np.array([thing.x, thing.y, 0.0]))

    def _laid(self, mark: int, sprite: Sprite, place: NDArray[np.float64]) -> _Cutout:
        """The sprite at its size there, to a fraction of a pixel."""
        view = self._post.view
        sun_x, sun_y, sun_z = self._post.sun
        foot, tip = view.project(np.array([place, place - [sun_x / sun_z, sun_y / sun_z, 0]]))
        scale = view.px_per_m(place + np.array([0, 0, _AIM_M])) / sprite.px_per_m
        corner = foot - np.array(sprite.foot_xy) * scale
        left, top = np.floor(corner).astype(int).tolist()
        rows, columns = sprite.picture.shape[:2]
        size = int(columns * scale) + 2, int(rows * scale) + 2
        move = np.array([[scale, 0, corner[0] - left], [0, scale, corner[1] - top]])
        pixels = np.asarray(cv2.warpAffine(sprite.picture, move, size, flags=cv2.INTER_LINEAR), np.uint8)
        fall = (tip - foot) / sprite.px_per_m  # of the shadow, for each pixel of the sprite upwards
        shadow = np.array([[scale, -fall[0]], [0, -fall[1]]])
        shadow = np.column_stack([shadow, foot - shadow @ sprite.foot_xy])
        return _Cutout(mark, pixels, left, top, view.depth(place), shadow, sprite)

    # How much of each is seen

    def _boxes(self, cutouts: Sequence[_Cutout]) -> list[SceneBox]:
        marks = np.zeros(self._post.view.size_hw, np.uint8)
        found = []
        for cutout in cutouts:
            solid = cutout.pixels[..., 3] > _SOLID
            inside, own = _window(marks.shape, cutout)
            marks[inside][solid[own]] = cutout.mark
            if cutout.mark != _FURNITURE and solid[own].any():
                found.append((cutout.mark, _extent(solid[own], inside), int(np.count_nonzero(solid))))
        seen = np.bincount(marks.ravel(), minlength=_FURNITURE + 1)
        return sorted(
            (SceneBox(who, box, float(seen[who]) / whole) for who, box, whole in found), key=lambda box: box.person
        )

    # The picture

    @cached_property
    def _empty(self) -> Image:
        street = empty_street(dice("street", *self._seed), self._post)
        picture = np.asarray(np.minimum(street * self._tint, 255), np.uint8)
        for thing in self._things:
            _shade(picture, thing)
        return picture

    @cached_property
    def _film(self) -> Film:
        """A camera that is screwed to a wall does not shake, and ours does not compress."""
        drawn = film(dice("street film", *self._seed), sum(self._seed), width=self._post.view.size_hw[1])
        still = replace(drawn, shake_px=0.0, sharpness=0.0, flicker=0.0, quality=0)
        return replace(still, blur=min(drawn.blur, 0.5), gamma=float(np.clip(drawn.gamma, 0.85, 1.2)))

    @cached_property
    def _noise(self) -> NDArray[np.int16]:
        return noise_tiles(dice("street noise", *self._seed), self._post.view.size_hw, self._film.noise)

    def _painted(self, cutouts: Sequence[_Cutout]) -> Image:
        picture = self._empty.copy()
        for cutout in cutouts:
            if cutout.mark != _FURNITURE:
                _shade(picture, cutout)
        for cutout in cutouts:
            inside, own = _window(picture.shape[:2], cutout)
            pixels = cutout.pixels[own]
            through = (255 - pixels[..., 3:]) * np.float32(1 / 255)
            picture[inside] = picture[inside] * through + pixels[..., :3]
        return picture


def _light_before(camera: Post) -> Light:
    """The sun as figures are lit: to the right, down, to the viewer."""
    right, _, ahead = camera.view.axes
    return Light((float(camera.sun @ right), -float(camera.sun[2]), -float(camera.sun @ ahead)), 0.82, 0.34)


Window = tuple[slice, slice]


def _window(size_hw: tuple[int, ...], cutout: _Cutout) -> tuple[Window, Window]:
    """The part of the picture it covers, and that part of it; empty where it is outside."""
    rows, columns = cutout.pixels.shape[:2]
    top, bottom = (min(max(value, 0), size_hw[0]) for value in (cutout.top, cutout.top + rows))
    left, right = (min(max(value, 0), size_hw[1]) for value in (cutout.left, cutout.left + columns))
    inside = slice(top, bottom), slice(left, right)
    own = slice(top - cutout.top, bottom - cutout.top), slice(left - cutout.left, right - cutout.left)
    return inside, own


def _extent(solid: NDArray[np.bool_], inside: Window) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    top, left = inside[0].start, inside[1].start
    return float(left + columns[0]), float(top + rows[0]), float(left + columns[-1] + 1), float(top + rows[-1] + 1)


def _shade(picture: Image, cutout: _Cutout) -> None:
    """The shadow on the ground, soft at its edge."""
    rows, columns = cutout.sprite.picture.shape[:2]
    corners = np.array([[0, 0, 1], [columns, 0, 1], [0, rows, 1], [columns, rows, 1]]) @ cutout.shadow.T
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 3, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 3, picture.shape[1::-1])
    if (high <= low).any():
        return
    move = cutout.shadow - np.column_stack([np.zeros((2, 2)), low])
    cover = cv2.warpAffine(cutout.sprite.picture[..., 3], move, (high - low).tolist(), flags=cv2.INTER_LINEAR)
    dark = cv2.blur(cover, (3, 3)) * np.float32(0.42 / 255)
    region = picture[low[1] : high[1], low[0] : high[0]]
    region[:] = region * (1 - dark[..., None])
