"""People who never were, for training and testing re-identification.

>>> image = shoot(person(7), camera(3), seed=0)
>>> image.shape
(256, 128, 3)

A number names a person, a camera and a moment; the same numbers give the same pixels. Everything that stays with the
person (body, clothes, bag) is in `Identity`, everything that stays with the place (viewpoint, light, colours,
background) in `Camera`, and everything else (pose, direction, box, blur, what stands in the way) in the shot.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sightline.synth.cameras import Camera, camera, shoot
from sightline.synth.census import Census
from sightline.synth.figure import Identity, person
from sightline.synth.folders import Shot, require_counts, write_labelled

__all__ = ["Camera", "Identity", "Shot", "camera", "people_dataset", "person", "shoot", "write_people"]


def _census(cameras: int, shots: int, seed: int, size_hw: tuple[int, int]) -> Census[Identity]:
    return Census("people", person, partial(shoot, size_hw=size_hw), cameras, shots, seed)


def people_dataset(
    count_ids: int, cameras: int, shots_per_camera: int, *, seed: int, size_hw: tuple[int, int] = (256, 128)
) -> Iterator[Shot]:
    """Every person before every camera, person by person, drawn as it is asked for.

    Person 5 of seed 1 is the same whatever the number of persons or cameras. Raises `ConfigError` for a count below 1.
    """
    require_counts(count_ids=count_ids, cameras=cameras, shots_per_camera=shots_per_camera)
    return _census(cameras, shots_per_camera, seed, size_hw).everybody(count_ids)


def write_people(
    folder: Path,
    *,
    ids: int,
    cameras: int,
    shots: int,
    seed: int,
    size_hw: tuple[int, int] = (128, 64),
    workers: int = 1,
) -> Path:
    """`people_dataset` as files: `images/0001/0001_c1_00.jpg` and so on, and `labels.csv`, whose path is returned.

    More than one worker starts fresh processes, so a script that calls this needs the usual `__main__` guard. Raises
    `ConfigError` for a count below 1, `OutputError` where the folder cannot be written.
    """
    require_counts(ids=ids, cameras=cameras, shots=shots, workers=workers)
    return write_labelled(folder, _census(cameras, shots, seed, size_hw), ids=ids, workers=workers)
