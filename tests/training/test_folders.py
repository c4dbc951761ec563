"""Published data sets, from small folders laid out as theirs are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightline.errors import BackendError, ConfigError
from sightline.images import read_image
from sightline.training import folders
from sightline.training.folders import DATASETS, extract_cuhk03, open_dataset
from sightline.training.records import Record


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"pixels")
    return folder


def market(folder: Path) -> Path:
    touch(folder / "bounding_box_train", "0002_c1s1_000451_03.jpg", "0002_c6s1_000801_01.jpg", "Thumbs.db")
    touch(folder / "query", "0001_c1s1_001051_00.jpg")
    junk = [f"-1_c{camera}s1_00000{camera}_00.jpg" for camera in (1, 2, 3)]
    touch(folder / "bounding_box_test", "0000_c3s2_000001_02.jpg", "0001_c2s1_000001_00.jpg", *junk)
    return folder


def duke(folder: Path) -> Path:
    touch(folder / "bounding_box_train", "0001_c8_f0046182.jpg")
    touch(folder / "query", "0005_c2_f0046985.jpg")
    touch(folder / "bounding_box_test", "0005_c5_f0051341.jpg")
    return folder


def msmt17(folder: Path, train: str, test: str) -> Path:
    lists = {
        "train": ["0000/0000_000_01_0303morning_0008_0.jpg 0", "0001/0001_001_15_0303noon_0010_1.jpg 1"],
        "val": ["0001/0001_002_03_0303noon_0011_0.jpg 1"],
        "query": ["0000/0000_000_02_0114noon_0001_0.jpg 0"],
        "gallery": ["0000/0000_001_14_0114noon_0002_0.jpg 0", "0001/0001_000_07_0114noon_0003_0.jpg 1"],
    }
    for part, lines in lists.items():
        images = folder / (train if part in ("train", "val") else test)
        touch(images, *(line.split()[0] for line in lines))
        (folder / f"list_{part}.txt").write_text("\n".join(lines) + "\n")
    return folder


def of(records: tuple[Record, ...]) -> list[tuple[str, int]]:
    return [(record.person, record.camera) for record in records]


def test_market_leaves_out_junk_and_keeps_distractors_and_counts_cameras_from_zero(tmp_path: Path) -> None:
    """Of five files three are junk: as 19,732 - 3,819 = 15,913 in the whole."""
    dataset = DATASETS["market1501"](market(tmp_path))
    assert of(dataset.train) == [("0002", 0), ("0002", 5)]
    assert of(dataset.query) == [("0001", 0)]
    assert of(dataset.gallery) == [("0000", 2), ("0001", 1)]
    assert dataset.name == "market1501"


@pytest.mark.parametrize("home", ["", "Market-1501-v15.09.15", "market1501", "market1501/Market-1501-v15.09.15"])
def test_market_is_found_with_and_without_its_version(tmp_path: Path, home: str) -> None:
    market(tmp_path / home)
    assert len(open_dataset("market1501", root=tmp_path).train) == 2
    assert open_dataset(str(tmp_path)).name == "market1501"


def test_the_distractors_of_market_are_nobody_whatever_they_are_called(tmp_path: Path) -> None:
    market(tmp_path)
    touch(tmp_path / "images", "0001_c1s1_000001_00.jpg", "12345.jpg")
    assert of(open_dataset("market1501-500k", root=tmp_path).gallery)[2:] == [("0", 0), ("0", 0)]
    assert len(open_dataset("market1501", root=tmp_path).gallery) == 2


def test_a_camera_that_market_does_not_have_is_refused(tmp_path: Path) -> None:
    market(tmp_path)
    touch(tmp_path / "query", "0003_c7s1_000001_00.jpg")
    with pytest.raises(ConfigError, match=r"0003_c7s1_000001_00\.jpg names no person and camera: .* cameras 1 to 6"):
        open_dataset(str(tmp_path))


def test_a_name_without_a_person_and_an_empty_part_are_refused(tmp_path: Path) -> None:
    market(tmp_path)
    stray = touch(tmp_path / "query", "holiday.jpg") / "holiday.jpg"
    with pytest.raises(ConfigError, match="holiday"):
        open_dataset(str(tmp_path))
    stray.unlink()
    (tmp_path / "query" / "0001_c1s1_001051_00.jpg").unlink()
    with pytest.raises(ConfigError, match=r"query holds no \.jpg images"):
        open_dataset(str(tmp_path))


def test_duke_is_told_from_market_by_its_names(tmp_path: Path) -> None:
    duke(tmp_path / "dukemtmc-reid/DukeMTMC-reID")
    dataset = open_dataset(str(tmp_path))
    assert dataset.name == "duke"
    assert (of(dataset.train), of(dataset.query), of(dataset.gallery)) == ([("0001", 7)], [("0005", 1)], [("0005", 4)])
    with pytest.raises(ConfigError, match="no market1501 in"):
        open_dataset("market1501", root=tmp_path / "dukemtmc-reid/DukeMTMC-reID")


@pytest.mark.parametrize(
    ("version", "train", "test"), [("MSMT17_V1", "train", "test"), ("MSMT17_V2", "mask_train_v2", "mask_test_v2")]
)
def test_msmt17_trains_on_both_of_its_training_lists(tmp_path: Path, version: str, train: str, test: str) -> None:
    home = msmt17(tmp_path / version, train, test)
    dataset = open_dataset("msmt17", root=tmp_path)
    assert of(dataset.train) == [("0", 0), ("1", 14), ("1", 2)]
    assert of(dataset.query) == [("0", 1)]
    assert of(dataset.gallery) == [("0", 13), ("1", 6)]
    assert dataset.query[0].path == home / test / "0000/0000_000_02_0114noon_0001_0.jpg"


def test_a_list_of_msmt17_that_cannot_be_meant_is_refused_with_its_line(tmp_path: Path) -> None:
    home = msmt17(tmp_path, "train", "test")
    (home / "list_query.txt").write_text("0000/0000_000_02_x.jpg 0\nnonsense\n")
    with pytest.raises(ConfigError, match=r"list_query\.txt:2: 'nonsense'"):
        open_dataset("msmt17", root=home)
    (home / "list_query.txt").write_text("../0000_000_02_x.jpg 0\n")
    with pytest.raises(ConfigError, match=r"list_query\.txt:1: .* leads out of"):
        open_dataset("msmt17", root=home)
    (home / "list_query.txt").write_text("0000/0000_000_02_x.jpg 0\n")
    with pytest.raises(ConfigError, match=r"1 of 1 images are missing or empty: 0000/0000_000_02_x\.jpg"):
        open_dataset("msmt17", root=home)


def test_cuhk03_in_folders_is_read_as_such(tmp_path: Path) -> None:
    home = tmp_path / "cuhk03-np/labeled"
    touch(home / "bounding_box_train", "0003_c1_21.png")
    touch(home / "query", "0001_c2_1.png")
    touch(home / "bounding_box_test", "0001_c1_2.png")
    dataset = open_dataset("cuhk03-labeled", root=tmp_path)
    assert (of(dataset.train), of(dataset.query), of(dataset.gallery)) == ([("0003", 0)], [("0001", 1)], [("0001", 0)])
    with pytest.raises(ConfigError, match="no cuhk03-detected in"):
        open_dataset("cuhk03-detected", root=tmp_path)


NAMES = ["1_001_1_01.png", "1_001_2_06.png", "2_001_1_01.png", "2_001_2_06.png"]


def new_protocol(folder: Path) -> None:
    io = pytest.importorskip("scipy.io", reason="the protocol's file is MATLAB's, which scipy writes")
    cells = np.empty((4, 1), object)
    cells[:, 0] = NAMES
    indices = {"train_idx": [[1, 2]], "query_idx": [[3]], "gallery_idx": [[4]]}
    people = np.array([[7], [7], [9], [9]])
    io.savemat(folder / "cuhk03_new_protocol_config_detected.mat", {"filelist": cells, "labels": people, **indices})


def test_cuhk03_s_new_protocol_says_who_and_its_names_say_which_camera(tmp_path: Path) -> None:
    new_protocol(tmp_path)
    with pytest.raises(ConfigError, match="sightline prepare cuhk03 takes the images out"):
        open_dataset("cuhk03", root=tmp_path)
    touch(tmp_path / "images_detected", *NAMES)
    dataset = open_dataset("cuhk03", root=tmp_path)
    assert of(dataset.train) == [("7", 0), ("7", 1)]
    assert (of(dataset.query), of(dataset.gallery)) == ([("9", 2)], [("9", 3)])
    (tmp_path / "images_detected" / NAMES[3]).unlink()
    with pytest.raises(ConfigError, match=r"1 of 4 images are missing or empty: 2_001_2_06\.png"):
        open_dataset("cuhk03", root=tmp_path)


def test_the_images_in_cuhk03_s_matlab_file_are_taken_out_with_their_camera_pair(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="cuhk-03.mat is HDF5, which h5py writes")
    rgb = np.random.default_rng(0).integers(0, 256, (9, 5, 3), np.uint8)
    with h5py.File(tmp_path / "cuhk-03.mat", "w") as file:
        image, empty = file.create_dataset("image", data=rgb.T), file.create_dataset("empty", data=np.zeros(2))
        shots = [image.ref] + [empty.ref] * 4 + [image.ref] + [empty.ref] * 4
        pairs = [file.create_dataset(f"pair{n}", data=np.array([shots], h5py.ref_dtype).T).ref for n in range(2)]
        file.create_dataset("detected", data=np.array([pairs], h5py.ref_dtype))
    extract_cuhk03(tmp_path / "cuhk-03.mat", tmp_path / "out", boxes="detected")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == NAMES
    assert np.array_equal(read_image(tmp_path / "out" / NAMES[0])[:, :, ::-1], rgb)
    with pytest.raises(ConfigError, match="holds no 'labeled' images"):
        extract_cuhk03(tmp_path / "cuhk-03.mat", tmp_path / "out", boxes="labeled")


def test_what_to_install_for_matlab_s_files_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "cuhk03_new_protocol_config_detected.mat", "images_detected/1_001_1_01.png")
    monkeypatch.setattr(folders, "missing_package", lambda module, install: f"{module} is absent: pip {install}")
    with pytest.raises(BackendError, match=r"config_detected\.mat needs another library: scipy is absent: pip"):
        open_dataset("cuhk03", root=tmp_path)


def test_a_csv_or_a_folder_with_one_has_nothing_but_training_images(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "labels.csv").write_text("img_path,person_id,camera_id\n1.jpg,a,1\n2.jpg,b,2\n")
    for named in (tmp_path, tmp_path / "labels.csv"):
        dataset = open_dataset(str(named))
        assert of(dataset.train) == [("a", 1), ("b", 2)]
        assert (dataset.query, dataset.gallery, dataset.name) == ((), (), tmp_path.name)


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no data set 'imagenet': expected a CSV, a folder or one of market1501"):
        open_dataset("imagenet", root=tmp_path)
    with pytest.raises(ConfigError, match="where is market1501"):
        open_dataset("market1501", root=None)
    with pytest.raises(ConfigError, match=r"is none of market1501.* and has no labels\.csv"):
        open_dataset(str(tmp_path))
