"""Faces: what one keeps, and what its expression changes from moment to moment.

Lengths are pixels of the aligned 112x112 crop, whose template puts the eyes 35 apart at row 52 and the mouth at row 92.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sightline.synth.dice import between, chance, dice, near
from sightline.synth.palette import TOPS, cloth_colour, hair_colour, skin_colour
from sightline.types import FloatArray

_IRIS_BGR = np.array([[0.1, 0.16, 0.27], [0.06, 0.09, 0.14], [0.5, 0.42, 0.3], [0.25, 0.4, 0.35], [0.42, 0.42, 0.4]])


@dataclass(frozen=True, eq=False)
class FaceIdentity:
    """What one face keeps. Widths and heights in pixels of the aligned crop, angles in radians."""

    seed: int
    skin: FloatArray
    hair: FloatArray
    shirt: FloatArray
    iris: FloatArray
    lips: FloatArray
    widths: FloatArray  # (5,) half widths: crown, forehead, cheeks, jaw, chin
    chin_y: float
    hairline: float  # row; a high number is a low hairline, far below 0 is bald
    fringe: float  # how much the hairline falls to one side
    side_hair: float  # row to which hair covers the temples
    long_hair: bool
    eye_apart: float  # half the distance between the eyes
    eye_size: tuple[float, float]  # half width, half height
    eye_slant: float
    brow: tuple[float, float, float]  # height over the eye, thickness, tilt
    nose: tuple[float, float]  # half width, length
    mouth: tuple[float, float]  # half width, thickness of the lips
    mouth_y: float
    beard: float
    moustache: float
    glasses: tuple[float, float, float] | None  # half width, half height, darkness of the lenses
    spots: int  # freckles and moles


def face_identity(seed: int) -> FaceIdentity:
    """The face of that number. The same number is the same face, everywhere and always."""
    rng = dice("face", seed)
    skin, bearded, bald = skin_colour(rng), chance(rng, 0.2), chance(rng, 0.08)
    cheeks = between(rng, 43, 52)
    shape = np.array([0.62, between(rng, 0.9, 1.0), 1.0, between(rng, 0.78, 0.96), between(rng, 0.42, 0.62)])
    return FaceIdentity(
        seed=seed,
        skin=skin,
        hair=hair_colour(rng),
        shirt=cloth_colour(rng, TOPS),
        iris=np.asarray(_IRIS_BGR[rng.integers(len(_IRIS_BGR))], np.float32),
        lips=np.asarray(skin * rng.uniform([0.55, 0.5, 0.8], [0.8, 0.75, 1.05]), np.float32),
        widths=(shape * cheeks).astype(np.float32),
        chin_y=between(rng, 108, 120),
        hairline=-60.0 if bald else near(rng, 16, 8, low=0, high=36),
        fringe=between(rng, -10, 10),
        side_hair=between(rng, 35, 75),
        long_hair=not bald and chance(rng, 0.4),
        eye_apart=near(rng, 17.6, 0.9, low=15.5, high=20),
        eye_size=(between(rng, 5.2, 7.6), between(rng, 1.9, 3.9)),
        eye_slant=near(rng, 0, 0.09, low=-0.2, high=0.2),
        brow=(between(rng, 8, 13.5), between(rng, 1.0, 3.6), near(rng, 0, 0.16, low=-0.35, high=0.35)),
        nose=(between(rng, 5.5, 10.5), between(rng, 17, 26)),
        mouth=(between(rng, 11.5, 18), between(rng, 1.5, 4.6)),
        mouth_y=near(rng, 92, 1.6, low=87, high=97),
        beard=between(rng, 0.3, 0.95) if bearded else 0.0,
        moustache=between(rng, 0.3, 0.95) if bearded or chance(rng, 0.05) else 0.0,
        glasses=(between(rng, 11, 15), between(rng, 6, 11), 0.85 if chance(rng, 0.15) else 0.12)
        if chance(rng, 0.25)
        else None,
        spots=int(rng.integers(0, 30)) if chance(rng, 0.35) else int(rng.integers(0, 3)),
    )


@dataclass(frozen=True)
class Mood:
    open_eyes: float
    open_mouth: float
    smile: float
    brows_up: float


def mood(rng: Generator) -> Mood:
    return Mood(
        open_eyes=0.12 if chance(rng, 0.05) else between(rng, 0.7, 1.15),
        open_mouth=between(rng, 2, 7) if chance(rng, 0.25) else 0.0,
        smile=between(rng, -1.5, 4.5),
        brows_up=between(rng, -1.2, 2.0),
    )
