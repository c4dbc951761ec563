"""Data sets of labelled clips: what is found in a folder, and in which order."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.errors import ConfigError
from sightline.training.ball.rallies import labelled, open_rallies, rallies_of

LABELS = "Frame,Visibility,X,Y\n0,1,10,20\n1,0,0,0\n"


def write_labels(match: Path, *names: str, folder: str = "csv", text: str = LABELS) -> None:
    (match / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (match / folder / f"{name}_ball.csv").write_text(text)


def write_frames(match: Path, name: str, *, size_hw: tuple[int, int] = (90, 160)) -> None:
    (match / "frame" / name).mkdir(parents=True)
    for index in range(2):
        cv2.imwrite(str(match / "frame" / name / f"{index}.png"), np.zeros((*size_hw, 3), np.uint8))


def test_matches_and_rallies_come_in_the_order_people_count(tmp_path: Path) -> None:
    write_labels(tmp_path / "train" / "match10", "1_01_00")
    write_labels(tmp_path / "train" / "match2", "1_10_00", "1_2_00")
    assert [str(rally) for rally in rallies_of(tmp_path / "train")] == [
        "match2/1_2_00",
        "match2/1_10_00",
        "match10/1_01_00",
    ]


def test_what_is_under_val_is_held_out(tmp_path: Path) -> None:
    write_labels(tmp_path / "train" / "match1", "1_01_00", "1_02_00")
    write_labels(tmp_path / "val" / "match1", "1_03_00")
    rallies = open_rallies(tmp_path)
    assert [rally.name for rally in rallies.train] == ["1_01_00", "1_02_00"]
    assert [rally.name for rally in rallies.held_out] == ["1_03_00"]


def test_without_val_the_last_rally_of_every_match_with_more_than_one_is_held_out(tmp_path: Path) -> None:
    write_labels(tmp_path / "train" / "match1", "1_01_00", "1_02_00")
    write_labels(tmp_path / "train" / "match2", "1_01_00")
    rallies = open_rallies(tmp_path)
    assert [str(rally) for rally in rallies.held_out] == ["match1/1_02_00"]
    assert [str(rally) for rally in rallies.train] == ["match1/1_01_00", "match2/1_01_00"]


def test_corrected_labels_are_preferred(tmp_path: Path) -> None:
    write_labels(tmp_path / "train" / "match1", "1_01_00")
    write_labels(tmp_path / "train" / "match1", "1_01_00", folder="corrected_csv")
    assert [rally.labels.parent.name for rally in rallies_of(tmp_path / "train")] == ["corrected_csv"]


def test_frames_are_preferred_to_the_video(tmp_path: Path) -> None:
    match = tmp_path / "train" / "match1"
    write_labels(match, "1_01_00")
    (rally,) = rallies_of(tmp_path / "train")
    assert rally.footage is None
    (match / "video").mkdir()
    (match / "video" / "1_01_00.avi").touch()
    assert rally.footage == match / "video" / "1_01_00.avi"
    write_frames(match, "1_01_00")
    assert rally.footage == match / "frame" / "1_01_00"


def test_the_background_of_the_match_is_preferred_to_that_of_the_rally(tmp_path: Path) -> None:
    match = tmp_path / "train" / "match1"
    write_labels(match, "1_01_00")
    write_frames(match, "1_01_00")
    (rally,) = rallies_of(tmp_path / "train")
    assert rally.median is None
    (match / "frame" / "1_01_00" / "median.npz").touch()
    assert rally.median == match / "frame" / "1_01_00" / "median.npz"
    (match / "median.npz").touch()
    assert rally.median == match / "median.npz"


def test_labels_as_shares_of_the_picture_and_with_other_names_become_pixels_of_the_footage(tmp_path: Path) -> None:
    match = tmp_path / "train" / "match1"
    write_labels(match, "1_01_00", text="file,seen,cx,cy\n0,1,0.5,0.25\n1,0,-1,-1\n")
    write_frames(match, "1_01_00", size_hw=(90, 160))
    (rally,) = rallies_of(tmp_path / "train")
    found = labelled(rally, columns="frame=file,visible=seen,x=cx,y=cy", source_hw=(720, 1280))
    assert found.size_hw == (90, 160)
    assert [(point.visible, point.x, point.y) for point in found.points] == [(True, 80.0, 22.5), (False, 0.0, 0.0)]


def test_labels_without_footage_are_of_the_size_that_is_said(tmp_path: Path) -> None:
    write_labels(tmp_path / "train" / "match1", "1_01_00")
    (rally,) = rallies_of(tmp_path / "train")
    assert labelled(rally, columns="", source_hw=(720, 1280)).size_hw == (720, 1280)


@pytest.mark.parametrize("inside", ["", "train", "train/match1", "train/match1/csv"])
def test_a_folder_without_a_labelled_rally_is_refused(tmp_path: Path, inside: str) -> None:
    (tmp_path / inside).mkdir(parents=True, exist_ok=True)
    with pytest.raises(ConfigError, match=r"expected (train/match1/)?(csv|corrected_csv)"):
        open_rallies(tmp_path)
