"""A figure: one person's parts as tubes, put where a pose wants them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sightline.synth.body import SIDES, Build, Joints, Pose, build, joints, moved
from sightline.synth.clothing import Outfit, outfit
from sightline.synth.dice import dice
from sightline.synth.skins import Skins, skins
from sightline.synth.tubes import Tube
from sightline.types import Array, FloatArray

_STATIONS = np.linspace(0, 1, 24)  # where along a tube its girth is given


@dataclass(frozen=True, eq=False)
class Identity:
    """Who somebody is: what does not change from one camera to the next."""

    seed: int
    build: Build
    outfit: Outfit
    skins: Skins


def person(seed: int) -> Identity:
    """The person of that number. The same number is the same person, everywhere and always."""
    shape = build(dice("build", seed))
    worn = outfit(dice("outfit", seed))
    return Identity(seed, shape, worn, skins(worn, height=shape.height))


def tubes_of(who: Identity, moment: Pose) -> list[Tube]:
    """All parts of the person in that pose, in the body's own axes, in no order."""
    at = joints(who.build, moment)
    parts = [*_torso(who, at), *_head(who, at, moment.look), *_bag(who, at)]
    for side, _ in SIDES:
        parts += _leg(who, at, side) + _arm(who, at, side)
    return parts


def _girth(*points: tuple[float, float]) -> FloatArray:
    """Half widths at the stations, through the given (share of the way down, metres)."""
    return np.interp(_STATIONS, [at for at, _ in points], [width for _, width in points]).astype(np.float32)


def _one_colour(colour: Array) -> FloatArray:
    return np.asarray(colour, np.float32)


def _torso(who: Identity, at: Joints) -> list[Tube]:
    shape, top = who.build, who.outfit.top
    bottom = at["pelvis"] - [0, 0.4 * shape.height - (shape.shoulder_y - shape.leg), 0]
    slack = top.slack
    girth = _girth(
        (0.0, shape.shoulder * 0.42),
        (0.05, shape.shoulder * 0.72),
        (0.11, shape.shoulder * 0.97),
        (0.2, shape.chest * 1.12 + slack),
        (0.55, shape.waist * 1.1 + slack),
        (0.8, shape.hip + max(slack, who.outfit.bottom.slack)),
        (1.0, shape.hip * 0.9 + who.outfit.bottom.slack),
    )
    body = Tube(at["collar"], bottom, girth, who.skins.torso, depth_ratio=shape.depth_ratio, roundness=0.2)
    neck = Tube(at["chin"], at["collar"], _girth((0, 0.05), (1, 0.062)), _one_colour(who.outfit.skin * 0.85), folds=0)
    return [body, neck, *_collar(who, at), *_skirt(who, at)]


def _collar(who: Identity, at: Joints) -> list[Tube]:
    """A scarf, or the hood that lies on the shoulders."""
    worn = who.outfit
    down = np.array([0, 0.05, 0])
    if worn.scarf is not None:
        wound = _girth((0, 0.07), (0.5, 0.095), (1, 0.085))
        return [Tube(at["collar"] + 0.8 * down, at["collar"] - 0.4 * down, wound, _one_colour(worn.scarf), nearer=0.12)]
    if worn.top.kind == "hoodie" and worn.hat != "hood":
        back = at["collar"] - [0, 0, 0.09]
        return [
            Tube(back + down, back - 1.4 * down, _girth((0, 0.08), (1, 0.11)), _one_colour(worn.top.cloth.base * 0.9))
        ]
    return []


def _skirt(who: Identity, at: Joints) -> list[Tube]:
    shape, worn = who.build, who.outfit
    hips = moved(at["pelvis"], 0, 0.04, 0)
    if worn.top.kind in ("dress", "coat"):
        length, flare, slack = worn.top.hem, 1.0 + 0.6 * (worn.bottom.flare - 0.9), worn.top.slack
    elif worn.bottom.kind == "skirt":
        length, flare, slack = 0.12 + 0.45 * (worn.bottom.flare - 0.95), worn.bottom.flare, 0.01
    else:
        return []
    girth = _girth((0, shape.hip * 1.0 + slack), (1, (shape.hip + slack) * flare))
    ratio = min(0.9, shape.depth_ratio + 0.12)
    hem = hips - [0, 0.04 + length, 0]
    return [Tube(hips, hem, girth, who.skins.skirt, depth_ratio=ratio, roundness=0.06, nearer=0.1, folds=1.3)]


def _leg(who: Identity, at: Joints, side: str) -> list[Tube]:
    limb, tall, lower = who.build.limb, who.build.height / 1.7, who.outfit.bottom
    bare = _girth((0, 0.086), (0.42, 0.062), (0.5, 0.055), (0.65, 0.054), (0.9, 0.037), (1, 0.037)) * np.float32(
        limb * tall
    )
    hem = np.clip((lower.length - _STATIONS) * 30, 0, 1)
    dressed = bare + (lower.slack + 0.35 * lower.slack * _STATIONS) * hem
    girth = np.asarray(np.maximum(dressed, hem * 0.048 * (lower.kind != "leggings")), np.float32)
    knee, skin = at[f"{side} knee"], who.skins.leg
    thigh = Tube(at[f"{side} hip"], knee, _part(girth, 0, 0.5), skin, rows=(0, 0.5), nearer=-0.1)
    shin = Tube(knee, at[f"{side} ankle"], _part(girth, 0.5, 1), skin, rows=(0.5, 1), nearer=-0.1)
    return [thigh, shin, *_shoe(who, at, side, tall)]


def _part(girth: FloatArray, first: float, last: float) -> FloatArray:
    """The girth of a stretch of the limb, at as many stations."""
    return np.interp(first + _STATIONS * (last - first), _STATIONS, girth).astype(np.float32)


def _shoe(who: Identity, at: Joints, side: str, tall: float) -> list[Tube]:
    heel = at[f"{side} ankle"] - [0, 0.03, 0.025]
    toe = at[f"{side} toe"]
    girth = _girth((0, 0.043), (0.7, 0.043), (1, 0.034)) * np.float32(tall)
    sole = Tube(heel - [0, 0.014, 0], toe - [0, 0.014, 0], girth, _one_colour(who.outfit.sole), nearer=-0.13, folds=0)
    upper = Tube(
        moved(heel, 0, 0.012, 0),
        moved(toe, 0, 0.008, 0),
        girth * np.float32(0.94),
        _one_colour(who.outfit.shoe),
        nearer=-0.1,
    )
    return [sole, upper]


def _arm(who: Identity, at: Joints, side: str) -> list[Tube]:
    limb, tall, top = who.build.limb, who.build.height / 1.7, who.outfit.top
    bare = _girth((0, 0.046), (0.3, 0.047), (0.5, 0.04), (0.65, 0.04), (1, 0.028)) * np.float32(limb * tall)
    girth = np.asarray(bare + (0.003 + 0.4 * top.slack) * np.clip((top.sleeve - _STATIONS) * 30, 0, 1), np.float32)
    elbow, wrist, skin = at[f"{side} elbow"], at[f"{side} wrist"], who.skins.arm
    palm = _girth((0, 0.028), (0.4, 0.037), (1, 0.026)) * np.float32(tall)
    return [
        Tube(at[f"{side} shoulder"], elbow, _part(girth, 0, 0.5), skin, rows=(0, 0.5), nearer=0.06),
        Tube(elbow, wrist, _part(girth, 0.5, 1), skin, rows=(0.5, 1), nearer=0.08),
        Tube(wrist, at[f"{side} hand"], palm, _one_colour(who.outfit.skin), nearer=0.07, folds=0),
    ]


def _head(who: Identity, at: Joints, look: float) -> list[Tube]:
    half, chin, crown = who.build.head, at["chin"], at["crown"]
    big = 1.35 if who.outfit.hair == "afro" and who.outfit.hat == "none" else 1.0
    covered = half * (1.12 if who.outfit.hat in ("hood", "headscarf", "beanie") else 1.0)
    girth = _girth(
        (0, covered * 0.45 * big),
        (0.12, covered * 0.8 * big),
        (0.35, covered * big),
        (0.6, covered),
        (0.85, half * 0.8),
        (1, half * 0.5),
    )
    skull = Tube(
        crown - [0, 0.02, 0],
        moved(chin, 0, 0.02, 0),
        girth,
        who.skins.head,
        depth_ratio=1.18,
        roundness=0.5,
        nearer=0.05,
    )
    return [replace(skull, turn=look, folds=0.4), *_hair(who, at), *_brim(who, at, look)]


def _hair(who: Identity, at: Joints) -> list[Tube]:
    """What hangs or sits behind the head; nothing under a hood."""
    half, chin, crown, style = who.build.head, at["chin"], at["crown"], who.outfit.hair
    if who.outfit.hat in ("hood", "headscarf"):
        return []
    middle = (chin + crown) / 2
    if style in ("long", "bob"):
        end = chin - [0, 0.2 if style == "long" else 0.02, 0.085]
        girth = _girth((0, half * 0.8), (0.4, half * 1.12), (1, half * 0.85))
        return [Tube(crown - [0, 0.06, 0.06], end, girth, who.skins.hair, depth_ratio=0.55, roundness=0.4, folds=0.5)]
    if style == "ponytail":
        tail = _girth((0, 0.03), (0.4, 0.042), (1, 0.02))
        return [Tube(middle - [0, -0.05, half * 1.15], chin - [0, 0.12, half + 0.05], tail, who.skins.hair, folds=0.5)]
    if style == "bun":
        return [
            Tube(
                moved(middle, 0, 0.1, -half * 1.1),
                moved(middle, 0, 0.06, -half * 1.2),
                _girth((0, 0.045), (1, 0.045)),
                who.skins.hair,
            )
        ]
    return []


def _brim(who: Identity, at: Joints, look: float) -> list[Tube]:
    worn, half = who.outfit, who.build.head
    brow = at["crown"] - [0, 0.3 * (at["crown"] - at["chin"])[1], 0]
    ahead = np.array([np.sin(look), 0, np.cos(look)])
    skin = _one_colour(worn.hat_colour * 0.85)
    if worn.hat == "cap":
        return [
            Tube(
                brow + ahead * half * 0.9,
                brow + ahead * half * 1.9 - [0, 0.02, 0],
                _girth((0, half * 0.35), (1, half * 0.2)),
                skin,
                nearer=0.06,
            )
        ]
    if worn.hat == "brimmed":
        return [
            Tube(
                moved(brow, 0, 0.012, 0),
                brow - [0, 0.012, 0],
                _girth((0, half * 1.8), (1, half * 1.9)),
                skin,
                roundness=0.1,
                nearer=0.12,
            )
        ]
    return []


def _bag(who: Identity, at: Joints) -> list[Tube]:
    bag, shape = who.outfit.bag, who.build
    side, sign = SIDES[0] if bag.left else SIDES[1]
    if bag.kind == "none":
        return []
    if bag.kind == "backpack":
        back = at["collar"] - [0, 0.06, shape.chest * shape.depth_ratio + who.outfit.top.slack + 0.1]
        girth = _girth((0, 0.11), (0.15, 0.155), (1, 0.165)) * np.float32(bag.size)
        return [
            Tube(
                back,
                back - [0, 0.43 * bag.size, 0.02],
                girth,
                who.skins.bag,
                depth_ratio=0.62,
                roundness=0.25,
                folds=0.7,
            )
        ]
    if bag.kind == "shoulder":
        top = moved(at["pelvis"], sign * (shape.hip + 0.07), 0.1, -0.02)
        return [_box(top, 0.26 * bag.size, 0.14 * bag.size, who.skins.bag, turn=np.pi / 2)]
    if bag.kind == "handbag":
        return [
            _box(at[f"{side} hand"] - [0, 0.06, 0], 0.25 * bag.size, 0.15 * bag.size, who.skins.bag, turn=np.pi / 2)
        ]
    return _suitcase(who, sign)


def _box(top: Array, height: float, half_width: float, skin: FloatArray, *, turn: float) -> Tube:
    girth = _girth((0, half_width * 0.85), (0.3, half_width), (1, half_width))
    return Tube(
        top, top - [0, height, 0], girth, skin, depth_ratio=0.42, roundness=0.08, nearer=0.1, turn=turn, folds=0.5
    )


def _suitcase(who: Identity, sign: float) -> list[Tube]:
    """Pulled behind, upright on its wheels, with the bar that holds it."""
    bag = who.outfit.bag
    top = np.array([sign * 0.3, 0.55 * bag.size + 0.06, -0.38])
    bar = Tube(moved(top, 0, 0.3, 0.12), top, _girth((0, 0.012), (1, 0.012)), _one_colour(np.full(3, 0.25)), folds=0)
    case = _box(top, 0.52 * bag.size, 0.2 * bag.size, who.skins.bag, turn=0.0)
    return [bar, case]
