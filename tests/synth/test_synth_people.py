from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from itertools import combinations

import cv2
import numpy as np
import pytest

from sightline.errors import ConfigError
from sightline.synth.people import Shot, camera, people_dataset, person, shoot
from sightline.types import Array, Image

SIZE = (128, 64)
IDS, CAMERAS, SHOTS = 100, 4, 2


@pytest.fixture(scope="module")
def crowd() -> list[Shot]:
    return list(people_dataset(IDS, CAMERAS, SHOTS, seed=0, size_hw=SIZE))


def stripes(image: Image) -> Array:
    """The classic colour signature: hue and saturation counted in eight horizontal stripes, ready for a dot product."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    counts = [cv2.calcHist([part], [0, 1], None, [8, 4], [0, 180, 0, 256]).ravel() for part in np.array_split(hsv, 8)]
    return np.sqrt(np.concatenate([count / count.sum() for count in counts]) / 8)


@pytest.fixture(scope="module")
def likeness(crowd: list[Shot]) -> Array:
    signatures = np.stack([stripes(shot.image) for shot in crowd])
    return signatures @ signatures.T


@pytest.fixture(scope="module")
def same_person(crowd: list[Shot]) -> Array:
    persons = np.array([shot.person_id for shot in crowd])
    return persons[:, None] == persons[None, :]


@pytest.fixture(scope="module")
def same_camera(crowd: list[Shot]) -> Array:
    cameras = np.array([shot.camera_id for shot in crowd])
    return cameras[:, None] == cameras[None, :]


def test_the_same_seeds_give_the_same_pixels() -> None:
    first = shoot(person(3), camera(5), seed=7, size_hw=SIZE)
    again = shoot(person(3), camera(5), seed=7, size_hw=SIZE)
    np.testing.assert_array_equal(first, again)


def test_another_process_draws_the_same_pixels() -> None:
    code = (
        "import hashlib; from sightline.synth.people import *;"
        "print(hashlib.sha256(shoot(person(3), camera(5), seed=7).tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == sha256(shoot(person(3), camera(5), seed=7).tobytes()).hexdigest()


@pytest.mark.parametrize(("who", "where", "moment"), [(4, 5, 7), (3, 6, 7), (3, 5, 8)])
def test_another_person_camera_or_moment_gives_another_picture(who: int, where: int, moment: int) -> None:
    image = shoot(person(3), camera(5), seed=7, size_hw=SIZE).astype(float)
    other = shoot(person(who), camera(where), seed=moment, size_hw=SIZE).astype(float)
    assert np.abs(image - other).mean() > 5


@pytest.mark.parametrize("size_hw", [(256, 128), (128, 64), (160, 64), (384, 128), (32, 16), (600, 300)])
def test_a_crop_has_the_size_asked_for(size_hw: tuple[int, int]) -> None:
    image = shoot(person(1), camera(1), seed=0, size_hw=size_hw)
    assert image.shape == (*size_hw, 3)
    assert image.dtype == np.uint8


def test_a_size_that_shows_nobody_is_refused_with_what_to_ask_for() -> None:
    with pytest.raises(ConfigError, match=r"at least 32x16"):
        shoot(person(1), camera(1), seed=0, size_hw=(31, 16))


def test_negative_seeds_are_seeds_too() -> None:
    assert not np.array_equal(
        shoot(person(-1), camera(2), seed=-3, size_hw=SIZE), shoot(person(1), camera(2), seed=3, size_hw=SIZE)
    )


def test_every_person_stands_before_every_camera_as_often_as_asked(crowd: list[Shot]) -> None:
    expected = [(p, c, n) for p in range(1, IDS + 1) for c in range(1, CAMERAS + 1) for n in range(SHOTS)]
    assert [(shot.person_id, shot.camera_id, shot.index) for shot in crowd] == expected


def test_a_person_does_not_depend_on_how_many_others_there_are(crowd: list[Shot]) -> None:
    few = list(people_dataset(2, 3, 1, seed=0, size_hw=SIZE))
    by_key = {(shot.person_id, shot.camera_id, shot.index): shot.image for shot in crowd}
    for shot in few:
        np.testing.assert_array_equal(shot.image, by_key[shot.person_id, shot.camera_id, shot.index])


def test_another_seed_is_another_crowd_before_other_cameras() -> None:
    here, there = (next(people_dataset(1, 1, 1, seed=seed, size_hw=SIZE)).image for seed in (0, 1))
    assert np.abs(here.astype(float) - there).mean() > 5


@pytest.mark.parametrize("counts", [(0, 1, 1), (1, 0, 1), (1, 1, -2)])
def test_a_count_below_one_is_refused_before_anything_is_drawn(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="expected at least 1"):
        people_dataset(*counts, seed=0)


def test_no_shot_is_nearly_uniform(crowd: list[Shot]) -> None:
    assert min(float(shot.image.std()) for shot in crowd) > 6


def test_no_two_shots_are_alike(crowd: list[Shot]) -> None:
    assert len({shot.image.tobytes() for shot in crowd}) == len(crowd)


def test_people_differ_from_one_another_in_build_and_dress() -> None:
    people = [person(seed) for seed in range(60)]
    assert np.ptp([who.build.height for who in people]) > 0.25
    assert len({(who.outfit.top.kind, who.outfit.bottom.kind, who.outfit.bag.kind) for who in people}) > 30
    closest = min(float(np.abs(a.skins.torso - b.skins.torso).mean()) for a, b in combinations(people, 2))
    assert closest > 0.001


def test_a_colour_histogram_neither_solves_the_task_nor_is_useless(
    likeness: Array, same_person: Array, same_camera: Array
) -> None:
    nearest = np.where(same_camera, -1, likeness).argmax(axis=1)
    rank_1 = same_person[np.arange(len(nearest)), nearest].mean()
    assert 0.05 < rank_1 < 0.45  # chance is 0.01


def test_the_same_person_elsewhere_looks_less_alike_than_some_stranger_here(
    likeness: Array, same_person: Array, same_camera: Array
) -> None:
    elsewhere = np.where(same_person & ~same_camera, likeness, np.nan)
    closest_stranger = np.where(~same_person & same_camera, likeness, -1).max(axis=1)
    assert (np.nanmean(elsewhere, axis=1) < closest_stranger).mean() > 0.8


def test_a_camera_keeps_its_look_from_shot_to_shot(likeness: Array, same_person: Array, same_camera: Array) -> None:
    assert likeness[~same_person & same_camera].mean() > likeness[~same_person & ~same_camera].mean() + 0.05


def test_the_same_person_is_more_alike_across_cameras_than_strangers_are(
    likeness: Array, same_person: Array, same_camera: Array
) -> None:
    assert likeness[same_person & ~same_camera].mean() > likeness[~same_person & ~same_camera].mean() + 0.02
