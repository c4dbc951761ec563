"""The pictures wrapped around a figure's parts: cloth, skin, hair and face, each painted once for a person.

Columns run around the part: the middle column is its front, the middle of the right half its left side.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sightline.synth.clothing import Outfit, Top
from sightline.synth.dice import between, chance, dice
from sightline.synth.fabric import Fabric, paint
from sightline.types import Array, FloatArray

_TORSO_HW, _ARM_HW, _LEG_HW, _HEAD_HW, _BAG_HW = (80, 128), (64, 40), (96, 48), (48, 80), (32, 64)


@dataclass(frozen=True, eq=False)
class Skins:
    """(H, W, 3) BGR float32 in 0..1 each."""

    torso: FloatArray
    arm: FloatArray
    leg: FloatArray
    skirt: FloatArray  # also the tail of a coat or dress
    head: FloatArray
    hair: FloatArray
    bag: FloatArray


def skins(worn: Outfit, *, height: float) -> Skins:
    lower = worn.top.cloth if worn.bottom.kind == "bare" else worn.bottom.cloth
    long_top = worn.top.kind in ("dress", "coat")
    return Skins(
        torso=_torso(worn, lower, height),
        arm=_arm(worn, height),
        leg=_leg(worn, height),
        skirt=_tail(worn.top, height) if long_top else paint(lower, _LEG_HW, along_m=0.4, around_m=1.0),
        head=_head(worn),
        hair=_strands(worn.hair_colour, (32, 48)),
        bag=_bag(worn),
    )


def _around(columns: int) -> FloatArray:
    """The angle of each column, (1, columns): 0 in front, positive to the person's left."""
    return np.asarray(((np.arange(columns) + 0.5) / columns * 2 - 1) * np.pi, np.float32)[None, :]


def _down(rows: int) -> FloatArray:
    """How far down each row is, (rows, 1): 0 at the top, 1 at the bottom."""
    return np.asarray((np.arange(rows) + 0.5) / rows, np.float32)[:, None]


def _lay(picture: FloatArray, layer: Array, where: Array) -> None:
    """Put `layer`, a colour or a picture, over `picture` in place wherever `where` (broadcast) says, 0..1."""
    picture += (layer - picture) * np.asarray(where, np.float32)[..., None]


def _torso(worn: Outfit, lower: Fabric, height: float) -> FloatArray:
    """From the shoulders to the bottom of the hips: the upper garment, and below its hem the lower one."""
    rows, columns = _TORSO_HW
    length = 0.4 * height
    angle, down = _around(columns), _down(rows)
    picture = paint(worn.top.cloth, _TORSO_HW, along_m=length, around_m=0.95)
    if worn.top.opening:
        under = paint(worn.top.under, _TORSO_HW, along_m=length, around_m=0.95)
        _lay(picture, under, np.abs(angle) < worn.top.opening * (0.7 + 0.5 * down))
    elif worn.top.kind == "shirt":
        _lay(picture, worn.top.cloth.base * 0.6, (np.abs(angle) < 0.04) & (down < 0.9))
    _add_logo(picture, worn.top)
    _lay(picture, worn.skin, (np.abs(angle) < 0.62 - down * 3) & (down < worn.top.neckline))
    hem = 0.8 + worn.top.hem / length
    _lay(picture, paint(lower, _TORSO_HW, along_m=length, around_m=0.95), np.broadcast_to(down > hem, _TORSO_HW))
    _lay(picture, lower.base * 0.5, np.broadcast_to(np.abs(down - hem) < 0.012, _TORSO_HW))
    _add_straps(picture, worn)
    return picture


def _add_logo(picture: FloatArray, top: Top) -> None:
    """A print: a few blocks and discs in a patch, with the small one of a club shirt on the left breast."""
    if top.logo == "none" or top.opening:
        return
    rng = dice("logo", top.logo_seed)
    rows, columns = picture.shape[:2]
    large = top.logo != "breast"
    height, width = (int(between(rng, 10, 26)), int(between(rng, 14, 30))) if large else (5, 6)
    left = {"chest": columns // 2, "breast": int(columns * 0.58), "back": columns - width // 2 - 2}[
        top.logo
    ] - width // 2
    patch = picture[int(rows * 0.16) :][:height, left : left + width]
    for _ in range(int(rng.integers(2, 6)) if large else 1):
        colour = [float(part) for part in top.logo_colour * between(rng, 0.6, 1.2)]
        x, y = int(rng.integers(patch.shape[1])), int(rng.integers(patch.shape[0]))
        if chance(rng, 0.5):
            cv2.circle(patch, (x, y), int(between(rng, 2, 9)), colour, -1 if chance(rng, 0.6) else 2)
        else:
            cv2.rectangle(patch, (x // 2, y), (patch.shape[1] - x // 3, y + int(between(rng, 1, 7))), colour, -1)


def _add_straps(picture: FloatArray, worn: Outfit) -> None:
    """Of a backpack, over both shoulders in front; of a shoulder bag, slanting across front and back."""
    angle, down = _around(picture.shape[1]), _down(picture.shape[0])
    if worn.bag.kind == "backpack":
        _lay(picture, worn.bag.colour * 0.9, (np.abs(np.abs(angle) - 0.62 - 0.3 * down) < 0.1) & (down < 0.62))
    if worn.bag.kind == "shoulder":
        slant = (-0.6 + 1.9 * down / 0.8) * (1 if worn.bag.left else -1)
        behind = np.pi * np.sign(angle) - angle
        _lay(
            picture,
            worn.bag.trim * 0.7,
            (np.minimum(np.abs(angle - slant), np.abs(behind - slant)) < 0.075) & (down < 0.8),
        )


def _arm(worn: Outfit, height: float) -> FloatArray:
    picture = paint(worn.top.cloth, _ARM_HW, along_m=0.32 * height, around_m=0.3)
    bare = np.broadcast_to(_down(_ARM_HW[0]) > worn.top.sleeve, _ARM_HW)
    _lay(picture, worn.skin, bare)
    return picture


def _leg(worn: Outfit, height: float) -> FloatArray:
    angle, down = _around(_LEG_HW[1]), _down(_LEG_HW[0])
    picture = paint(worn.bottom.cloth, _LEG_HW, along_m=0.46 * height, around_m=0.45, start_m=0.15)
    worn_pale = np.exp(-(((down - 0.3) / 0.22) ** 2)) * np.exp(-((angle / 0.9) ** 2)) * worn.bottom.fade
    picture += (1 - picture) * worn_pale[..., None].astype(np.float32)
    if worn.bottom.side_stripe is not None:
        _lay(picture, worn.bottom.side_stripe, np.broadcast_to(np.abs(np.abs(angle) - np.pi / 2) < 0.16, _LEG_HW))
    _lay(picture, worn.skin, np.broadcast_to(down > worn.bottom.length, _LEG_HW))
    _lay(picture, worn.sock, np.broadcast_to(down > max(worn.bottom.length, 1 - worn.sock_height), _LEG_HW))
    return picture


def _tail(top: Top, height: float) -> FloatArray:
    picture = paint(top.cloth, _LEG_HW, along_m=max(top.hem, 0.05), around_m=1.0, start_m=0.32 * height)
    if top.opening:
        gap = np.broadcast_to(np.abs(_around(_LEG_HW[1])) < top.opening * 0.9, _LEG_HW)
        _lay(picture, top.cloth.base * 0.35, gap)
    return picture


def _strands(colour: FloatArray, size_hw: tuple[int, int]) -> FloatArray:
    ripple = dice("strands").normal(1.0, 0.16, (1, size_hw[1], 1))
    return np.asarray(np.broadcast_to(colour * ripple, (*size_hw, 3)), np.float32).copy()


def _head(worn: Outfit) -> FloatArray:
    """From the crown to the chin: hair, face, and what is worn over them."""
    angle, down = _around(_HEAD_HW[1]), _down(_HEAD_HW[0])
    away = np.abs(angle)
    picture = _strands(worn.hair_colour, _HEAD_HW)
    low = {"bald": 0.0, "short": 0.62, "ponytail": 0.66, "bun": 0.66}.get(worn.hair, 2.0)
    face = ((away < 1.05) & (down > 0.27)) | ((down > low) & (away > 1.05)) | (worn.hair == "bald")
    _lay(picture, worn.skin, face & np.ones_like(away, bool))
    _add_features(picture, worn)
    if worn.hat in ("cap", "beanie", "brimmed"):
        _lay(picture, worn.hat_colour, np.broadcast_to(down < (0.42 if worn.hat == "beanie" else 0.36), _HEAD_HW))
    if worn.hat in ("hood", "headscarf"):
        _lay(picture, worn.hat_colour, (away > 0.85) | (down < 0.24) | ((down > 0.93) & (worn.hat == "headscarf")))
    return picture


def _add_features(picture: FloatArray, worn: Outfit) -> None:
    angle, down = _around(picture.shape[1]), _down(picture.shape[0])
    away = np.abs(angle)
    if worn.beard:
        jaw = (down > 0.72) & (away < 1.1) & ~((np.abs(down - 0.81) < 0.03) & (away < 0.22))
        _lay(picture, worn.hair_colour, jaw * worn.beard)
    _lay(picture, worn.skin * 0.45, (np.abs(down - 0.47) < 0.02) & (np.abs(away - 0.38) < 0.17))
    _lay(picture, worn.skin * 0.25, (np.abs(down - 0.54) < 0.025) & (np.abs(away - 0.38) < 0.11))
    _lay(picture, worn.skin * 0.8, (np.abs(down - 0.66) < 0.05) & (away < 0.12))
    _lay(picture, worn.skin * [0.55, 0.5, 0.75], (np.abs(down - 0.81) < 0.02) & (away < 0.25))
    if worn.mask is not None:
        _lay(picture, worn.mask, (down > 0.6) & (away < 0.95))
    if worn.glasses != "none":
        rim = (np.abs(down - 0.54) < 0.07) & (away < 1.0)
        _lay(picture, np.full(3, 0.06), rim * (0.95 if worn.glasses == "dark" else 0.4))


def _bag(worn: Outfit) -> FloatArray:
    """Darker at the rims, with a pocket on the side away from the body (the back) and a band or two."""
    rng = dice("bag", worn.top.logo_seed)
    angle, down = _around(_BAG_HW[1]), _down(_BAG_HW[0])
    picture = np.broadcast_to(worn.bag.colour, (*_BAG_HW, 3)).astype(np.float32)
    behind = np.abs(angle) > np.pi - between(rng, 0.4, 0.9)
    top = between(rng, 0.35, 0.6)
    tint = worn.bag.trim if chance(rng, 0.35) else worn.bag.colour * between(rng, 0.55, 1.35)
    _lay(picture, tint, behind & (down > top) & (down < 0.92))
    _lay(picture, worn.bag.trim, np.broadcast_to(np.abs(down - between(rng, 0.1, 0.3)) < 0.025, _BAG_HW))
    _lay(picture, worn.bag.colour * 0.5, np.broadcast_to((down < 0.04) | (down > 0.95), _BAG_HW))
    return picture
