from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.errors import ConfigError, OutputError
from sightline.synth.people import people_dataset, write_people


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    write_people(folder, ids=3, cameras=2, shots=2, seed=9, workers=1)
    return folder


def test_every_picture_has_a_row_and_every_row_a_picture(written: Path) -> None:
    with (written / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["img_path", "person_id", "camera_id"]
    assert sorted(row["img_path"] for row in rows) == sorted(contents(written).keys() - {"labels.csv"})
    assert len(rows) == 3 * 2 * 2
    assert rows[-1] == {"img_path": "images/0003/0003_c2_01.jpg", "person_id": "0003", "camera_id": "2"}


def test_a_file_called_jpg_holds_jpeg(written: Path) -> None:
    pictures = {name: data for name, data in contents(written).items() if name.endswith(".jpg")}
    assert all(data.startswith(b"\xff\xd8\xff") and data.endswith(b"\xff\xd9") for data in pictures.values())
    assert {cv2.imread(str(written / name)).shape for name in pictures} == {(128, 64, 3)}


def test_the_pictures_are_those_of_the_data_set(written: Path) -> None:
    for shot in people_dataset(3, 2, 2, seed=9, size_hw=(128, 64)):
        read = cv2.imread(str(written / shot.path)).astype(float)
        assert np.abs(read - shot.image).mean() < 6  # what JPEG at quality 95 may cost a noisy picture


def test_the_number_of_workers_does_not_change_a_byte(written: Path, tmp_path: Path) -> None:
    write_people(tmp_path, ids=3, cameras=2, shots=2, seed=9, workers=2)
    assert contents(tmp_path) == contents(written)


def test_writing_again_gives_the_same_bytes_and_leaves_nothing_else(written: Path, tmp_path: Path) -> None:
    for _ in range(2):
        write_people(tmp_path, ids=3, cameras=2, shots=2, seed=9)
    assert contents(tmp_path) == contents(written)


def test_the_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    labels = write_people(tmp_path / "a" / "b", ids=1, cameras=1, shots=1, seed=0)
    assert labels == tmp_path / "a" / "b" / "labels.csv"
    assert labels.is_file()


def test_a_folder_that_cannot_be_made_is_an_output_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        write_people(tmp_path / "file", ids=1, cameras=1, shots=1, seed=0)


def test_a_run_that_fails_leaves_no_table_behind(tmp_path: Path) -> None:
    write_people(tmp_path, ids=2, cameras=1, shots=1, seed=0)
    (tmp_path / "images/0002/0002_c1_00.jpg").unlink()
    (tmp_path / "images/0002/0002_c1_00.jpg").mkdir()
    with pytest.raises(OutputError):
        write_people(tmp_path, ids=2, cameras=1, shots=1, seed=0)
    assert not (tmp_path / "labels.csv").exists()


@pytest.mark.parametrize("wrong", ["ids", "cameras", "shots", "workers"])
def test_a_count_below_one_is_named_and_nothing_is_written(tmp_path: Path, wrong: str) -> None:
    counts = {"ids": 1, "cameras": 1, "shots": 1, "workers": 1} | {wrong: 0}
    with pytest.raises(ConfigError, match=f"{wrong} is 0"):
        write_people(tmp_path, seed=0, **counts)
    assert not list(tmp_path.iterdir())
