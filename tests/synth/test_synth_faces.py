from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.errors import ConfigError
from sightline.synth.cameras import camera
from sightline.synth.faces import face_identity, faces_dataset, shoot_face, write_faces


def test_the_same_seeds_give_the_same_face() -> None:
    first, again = (shoot_face(face_identity(2), camera(1), seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_face_is_an_aligned_112_crop() -> None:
    image = shoot_face(face_identity(2), camera(1), seed=3)
    assert (image.shape, image.dtype) == ((112, 112, 3), np.uint8)


@pytest.mark.parametrize(("who", "where", "moment"), [(5, 1, 3), (2, 4, 3), (2, 1, 4)])
def test_another_face_camera_or_moment_gives_another_picture(who: int, where: int, moment: int) -> None:
    image = shoot_face(face_identity(2), camera(1), seed=3).astype(float)
    assert np.abs(image - shoot_face(face_identity(who), camera(where), seed=moment)).mean() > 3


def test_the_average_face_has_its_eyes_darker_than_cheeks_and_brow_between() -> None:
    shots = [shot.image.mean(axis=2) for shot in faces_dataset(30, 2, 2, seed=0)]
    average = np.mean(shots, axis=0)
    cheek = average[66:72, 34:44].mean()
    for column in (38, 74):  # where a face model expects the eyes
        assert average[49:55, column - 4 : column + 4].mean() < cheek - 10
    assert average[90:96, 50:62].mean() < cheek - 5


def test_no_face_is_nearly_uniform() -> None:
    assert min(float(shot.image.std()) for shot in faces_dataset(10, 2, 2, seed=1)) > 6


def test_faces_are_written_as_people_are(tmp_path: Path) -> None:
    labels = write_faces(tmp_path, ids=2, cameras=2, shots=1, seed=4)
    assert labels.read_text(encoding="utf-8").splitlines() == [
        "img_path,person_id,camera_id",
        "images/0001/0001_c1_00.jpg,0001,1",
        "images/0001/0001_c2_00.jpg,0001,2",
        "images/0002/0002_c1_00.jpg,0002,1",
        "images/0002/0002_c2_00.jpg,0002,2",
    ]
    assert cv2.imread(str(tmp_path / "images/0002/0002_c2_00.jpg")).shape == (112, 112, 3)


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="cameras is 0"):
        faces_dataset(1, 0, 1, seed=0)
