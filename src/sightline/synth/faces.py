"""Faces that never were: aligned 112x112 crops, the eyes where a face model expects them.

A head is a tube like every other part of a figure, with a portrait wrapped around it, so that it can turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from sightline.synth.backgrounds import cut_scene
from sightline.synth.cameras import Camera
from sightline.synth.census import Census
from sightline.synth.dice import between, dice, near
from sightline.synth.features import FaceIdentity, face_identity, mood
from sightline.synth.folders import Shot, require_counts, write_labelled
from sightline.synth.imaging import develop, varied
from sightline.synth.portrait import EYE_Y, TOP_Y, painted
from sightline.synth.tubes import FlatTube, Tube, draw_tubes
from sightline.types import Array, FloatArray, Image

__all__ = ["FaceIdentity", "face_identity", "faces_dataset", "shoot_face", "write_faces"]

_SIDE = 112


def shoot_face(
    identity: FaceIdentity, camera: Camera, *, seed: int, size_hw: tuple[int, int] = (_SIDE, _SIDE)
) -> Image:
    """One aligned picture of the face by the camera. The seed is the moment: turn of the head, expression, light."""
    rng = dice("face shot", identity.seed, camera.seed, seed)
    yaw, nod = near(rng, 0, 0.33, low=-0.75, high=0.75), near(rng, 0, 0.035, low=-0.08, high=0.08)
    canvas = _backdrop(rng, camera)
    tubes = _head(identity, painted(identity, mood(rng)), yaw, nod)
    draw_tubes(canvas, tubes, light=camera.light, fold_xy=(int(rng.integers(256)), int(rng.integers(256))))
    settings = varied(rng, camera.look)
    settings = replace(settings, rows=max(28, int(settings.rows * 0.6)))
    return develop(_misaligned(rng, canvas), settings, size_hw=size_hw, rng=rng)


def _backdrop(rng: Generator, camera: Camera) -> FloatArray:
    """A piece of the camera's place, out of focus."""
    piece = cut_scene(rng, camera.background, camera.horizon, size_hw=(_SIDE, _SIDE))
    return np.asarray(cv2.GaussianBlur(piece, (0, 0), between(rng, 0.8, 4)), np.float32)


def _misaligned(rng: Generator, canvas: FloatArray) -> FloatArray:
    """As landmarks are never quite right: a little turned, shifted and scaled."""
    middle = (_SIDE / 2, _SIDE / 2)
    matrix: Array = np.asarray(cv2.getRotationMatrix2D(middle, float(rng.normal(0, 2.5)), between(rng, 0.95, 1.06)))
    matrix[:, 2] += rng.normal(0, 1.2, 2)
    return np.asarray(cv2.warpAffine(canvas, matrix, (_SIDE, _SIDE), borderMode=cv2.BORDER_REFLECT), np.float32)


def _head(who: FaceIdentity, portrait: FloatArray, yaw: float, nod: float) -> list[FlatTube]:
    """Head, nose, neck, shoulders and hair, so shifted that the point between the eyes stays in its place."""
    cheek, turn = float(who.widths[2]), float(np.sin(yaw))
    middle = _SIDE / 2 - 0.86 * cheek * turn
    front = middle + 1.02 * cheek * turn
    girth = np.interp(np.linspace(0, 1, 32), [0, 0.25, 0.55, 0.82, 1], who.widths)
    skull = replace(_part(portrait, *girth), rows=(nod, 1 + nod), depth_ratio=1.15, roundness=0.45, folds=0.15)
    nose_y = EYE_Y + who.nose[1] + nod * 160
    parts = [
        _at(_part(who.shirt, cheek, 92, 100), (middle, 122), (middle, 190), depth=4),
        _at(_part(who.skin * np.float32(0.75), cheek * 0.72), (middle, 90), (middle, 130), depth=3),
        _at(skull, (middle, TOP_Y), (middle, who.chin_y), depth=2, heading=yaw),
        _at(_part(who.skin, 2.6, 4.0, who.nose[0] * 0.8), (front, EYE_Y + 2), (front + 5 * turn, nose_y), depth=1),
    ]
    if who.long_hair:
        mane = _part(who.hair, cheek * 0.9, cheek * 1.2, cheek * 1.22)
        parts.append(_at(mane, (middle - 8 * turn, 0), (middle - 16 * turn, 125), depth=5))
    return parts


def _part(skin: FloatArray, *half_widths: float) -> Tube:
    """A tube that is placed later: heads are put together on the canvas, not in space."""
    return Tube(np.zeros(3), np.zeros(3), np.array(half_widths, np.float32), skin, roundness=0.6, folds=0.1)


def _at(
    tube: Tube, top: tuple[float, float], bottom: tuple[float, float], *, depth: float, heading: float = 0.0
) -> FlatTube:
    return FlatTube(tube, np.array(top), np.array(bottom), 1.0, heading, depth)


def _album(cameras: int, shots: int, seed: int) -> Census[FaceIdentity]:
    return Census("faces", face_identity, shoot_face, cameras, shots, seed)


def faces_dataset(count_ids: int, cameras: int, shots_per_camera: int, *, seed: int) -> Iterator[Shot]:
    """Every face before every camera, face by face. Raises `ConfigError` for a count below 1."""
    require_counts(count_ids=count_ids, cameras=cameras, shots_per_camera=shots_per_camera)
    return _album(cameras, shots_per_camera, seed).everybody(count_ids)


def write_faces(folder: Path, *, ids: int, cameras: int, shots: int, seed: int, workers: int = 1) -> Path:
    """`faces_dataset` as files, laid out and labelled as `write_people` does; the path of `labels.csv` is returned."""
    require_counts(ids=ids, cameras=cameras, shots=shots, workers=workers)
    return write_labelled(folder, _album(cameras, shots, seed), ids=ids, workers=workers)
