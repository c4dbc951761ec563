"""Bodies and how they stand: proportions of one person, a moment of a walk, and where that puts the joints.

The body's own axes, in metres: x to the person's left, y up from the ground, z forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.random import Generator

from sightline.synth.dice import between, chance, near, weighted
from sightline.types import Array

Joints = Mapping[str, Array]  # name -> (3,)
SIDES = (("left", 1.0), ("right", -1.0))


@dataclass(frozen=True)
class Build:
    """Lengths in metres; the girths are half widths."""

    height: float
    leg: float  # hip joint to ground
    shoulder: float
    chest: float
    waist: float
    hip: float
    depth_ratio: float  # of the torso: depth over width
    limb: float  # thickness of arms and legs, 1 = average
    head: float  # half width
    stoop: float  # radians of lean that the person always has
    gait: float  # length of stride, 1 = average

    @property
    def shoulder_y(self) -> float:
        return self.height * 0.825

    @property
    def chin_y(self) -> float:
        return self.height * 0.868


def build(rng: Generator) -> Build:
    """Adults of both shapes, and a few children."""
    womanly = chance(rng, 0.5)
    height = near(rng, 1.63 if womanly else 1.74, 0.08, low=1.42, high=2.0)
    height = between(rng, 1.05, 1.4) if chance(rng, 0.04) else height
    bulk = near(rng, 1.0, 0.14, low=0.78, high=1.45)
    belly = near(rng, bulk, 0.09, low=0.75, high=1.6)
    return Build(
        height=height,
        leg=height * near(rng, 0.5, 0.016, low=0.46, high=0.54),
        shoulder=height * (0.106 if womanly else 0.121) * (0.55 + 0.45 * bulk) * between(rng, 0.94, 1.07),
        chest=height * 0.092 * bulk,
        waist=height * (0.073 if womanly else 0.081) * belly,
        hip=height * (0.1 if womanly else 0.09) * (0.3 + 0.7 * bulk) * between(rng, 0.94, 1.08),
        depth_ratio=between(rng, 0.6, 0.78),
        limb=0.5 + 0.5 * bulk * between(rng, 0.9, 1.1),
        head=between(rng, 0.072, 0.083) * (0.75 + 0.25 * height / 1.7),
        stoop=near(rng, 0.03, 0.04, low=-0.03, high=0.2),
        gait=near(rng, 1.0, 0.2, low=0.5, high=1.4),
    )


@dataclass(frozen=True)
class Pose:
    """One moment of somebody moving. Angles in radians."""

    heading: float  # 0 faces the camera, pi/2 walks to the right of the picture
    phase: float  # of the walk, a full turn is two steps
    stride: float  # swing of the thighs
    arms: tuple[str, str]  # left, right: a key of _ARM_SWING
    lean: float
    look: float  # turn of the head against the body
    spread: float  # of the arms from the body


_ARM_SWING = MappingProxyType(  # how much of the stride, upper arm, elbow
    {
        "swing": (0.8, 0.0, 0.25),
        "hanging": (0.1, 0.0, 0.12),
        "phone": (0.05, 0.45, 1.9),
        "pocket": (0.1, -0.25, 0.85),
        "carrying": (0.1, 0.1, 1.35),
    }
)
_ARM_SHARE = MappingProxyType({"swing": 62, "hanging": 14, "phone": 8, "pocket": 8, "carrying": 8})


def pose(rng: Generator, *, heading: float) -> Pose:
    standing = chance(rng, 0.2)
    both = weighted(rng, _ARM_SHARE)
    other = both if chance(rng, 0.6) else weighted(rng, _ARM_SHARE)
    return Pose(
        heading=heading,
        phase=between(rng, 0, 2 * np.pi),
        stride=between(rng, 0.02, 0.12) if standing else between(rng, 0.18, 0.5),
        arms=(both, other),
        lean=near(rng, 0.03, 0.05, low=-0.08, high=0.22),
        look=near(rng, 0.0, 0.3, low=-1.0, high=1.0),
        spread=between(rng, 0.06, 0.22),
    )


def joints(shape: Build, moment: Pose) -> Joints:
    """Every joint in the body's own axes, with the lower foot on the ground."""
    found: dict[str, Array] = {}
    pelvis = np.array([0.0, shape.leg, 0.0])
    lean = shape.stoop + moment.lean
    spine = np.array([0.0, np.cos(lean), np.sin(lean)])
    found["pelvis"] = pelvis
    found["collar"] = pelvis + spine * (shape.shoulder_y - shape.leg)
    found["chin"] = pelvis + spine * (shape.chin_y - shape.leg) + [0, 0, 0.02]
    found["crown"] = moved(found["chin"], 0, shape.height - shape.chin_y, 0.01)
    for index, (side, sign) in enumerate(SIDES):
        _add_leg(found, shape, moment, side=side, sign=sign)
        _add_arm(found, shape, moment, side=side, sign=sign, habit=moment.arms[index])
    ground = min(found["left ankle"][1], found["right ankle"][1]) - 0.05 * shape.height
    return {name: place - [0, ground, 0] for name, place in found.items()}


def moved(place: Array, left: float, up: float, ahead: float) -> Array:
    """A place some metres off, along the body's own axes."""
    return np.asarray(place + np.array([left, up, ahead]))


def _reach(start: Array, length: float, forward: float, outward: float = 0.0) -> Array:
    """From `start` down by `length`, swung forward and sideways."""
    return start + length * np.array([np.sin(outward), -np.cos(forward), np.sin(forward)])


def _add_leg(found: dict[str, Array], shape: Build, moment: Pose, *, side: str, sign: float) -> None:
    stride = moment.stride * shape.gait
    phase = moment.phase if sign > 0 else moment.phase + np.pi
    thigh = stride * np.sin(phase) + 0.05
    bend = 0.08 + 1.5 * stride * max(0.0, float(np.cos(phase)))
    length = shape.leg - 0.05 * shape.height
    hip = moved(found["pelvis"], sign * shape.hip * 0.5, 0, 0)
    knee = _reach(hip, length * 0.51, thigh)
    ankle = _reach(knee, length * 0.49, thigh - bend)
    tilt = 0.25 * (thigh - bend)
    toe = ankle + 0.095 * shape.height * np.array([sign * 0.15, tilt - 0.28, 1.0])
    found |= {f"{side} hip": hip, f"{side} knee": knee, f"{side} ankle": ankle, f"{side} toe": toe}


def _add_arm(found: dict[str, Array], shape: Build, moment: Pose, *, side: str, sign: float, habit: str) -> None:
    swing, lift, elbow_bend = _ARM_SWING[habit]
    phase = moment.phase + (np.pi if sign > 0 else 0.0)
    upper = moment.stride * shape.gait * swing * np.sin(phase) + lift
    shoulder = moved(found["collar"], sign * (shape.shoulder - 0.024 * shape.height), -0.042 * shape.height, 0)
    elbow = _reach(shoulder, 0.175 * shape.height, upper, sign * moment.spread)
    inward = -sign * (0.35 if elbow_bend > 1 else 0.02)
    wrist = _reach(elbow, 0.145 * shape.height, upper + elbow_bend, inward)
    hand = wrist + (wrist - elbow) * 0.42
    found |= {f"{side} shoulder": shoulder, f"{side} elbow": elbow, f"{side} wrist": wrist, f"{side} hand": hand}
