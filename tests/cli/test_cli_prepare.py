"""`sightline prepare`, through its own parser."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from sightline.cli.prepare import configure, run
from sightline.errors import ConfigError, OutputError
from sightline.training.records import read_csv


def prepared(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    configure(parser)
    parser.add_argument("--quiet", action="store_true")
    return run(parser.parse_args([*map(str, arguments)]))


def images(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        PillowImage.new("RGB", (12, 24), (len(name), 9, 200)).save(folder / name)
    return folder


@pytest.fixture
def market(tmp_path: Path) -> Path:
    home = tmp_path / "data" / "market1501"
    images(home / "bounding_box_train", "0002_c1s1_000451_03.jpg", "0002_c2s1_000451_03.jpg", "0007_c1s1_000001_00.jpg")
    images(home / "query", "0001_c1s1_001051_00.jpg")
    images(home / "bounding_box_test", "0001_c2s1_001051_00.jpg")
    return home


def test_a_data_set_becomes_a_folder_and_a_csv(
    market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert prepared("market1501", "--dataset-dir", market.parent, "--output-dir", out, "--check") == 0
    assert [(record.person, record.camera) for record in read_csv(out / "labels.csv")] == [
        ("0002", 0),
        ("0002", 1),
        ("0007", 0),
    ]
    assert capsys.readouterr().out == f"{out / 'labels.csv'}: 3 images of 2 people\n"


def test_without_an_output_folder_the_csv_joins_the_data_set(market: Path) -> None:
    assert prepared("market1501", "--data-root", market, "--csv-name", "train.csv", "--quiet") == 0
    assert (market / "train.csv").read_text().splitlines()[1] == "bounding_box_train/0002_c1s1_000451_03.jpg,0002,0"


def test_every_corrupt_image_is_named_and_left_out(
    market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = market / "bounding_box_train" / "0002_c2s1_000451_03.jpg"
    broken.write_bytes(broken.read_bytes()[:-60])
    out = tmp_path / "out"
    assert prepared("market1501", "--dataset-dir", market, "--output-dir", out, "--check") == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("sightline: refused: ") and broken.name in told[0]
    assert told[1:] == [f"sightline: 1 images are not in {out / 'labels.csv'}"]
    assert len(read_csv(out / "labels.csv")) == 2


def test_faces_are_chosen_by_how_many_images_they_have(tmp_path: Path) -> None:
    source = images(tmp_path / "faces", "a/1.png", "b/1.png", "b/2.png", "c/1.png", "c/2.png", "d/1.png", "d/2.png")
    assert prepared("kaggle-face", "--dataset-dir", source, "--min-images", 2, "--max-ids", 2, "--quiet") == 0
    assert [record.person for record in read_csv(source / "labels.csv")] == ["b", "b", "c", "c"]


def test_kaggle_s_two_sets_become_one(market: Path, tmp_path: Path) -> None:
    cuhk03 = images(tmp_path / "cuhk", "1_001_1_01.png", "2_001_1_01.png")
    arguments = ("--market1501-dir", market, "--cuhk03-dir", cuhk03, "--output-dir", tmp_path / "out", "--quiet")
    assert prepared("kaggle-reid", *arguments) == 0
    assert {record.person for record in read_csv(tmp_path / "out/labels.csv")} == {
        "101001",
        "102001",
        "200002",
        "200007",
    }
    assert prepared("kaggle-reid", *arguments, "--datasets", "cuhk03") == 0
    assert len(read_csv(tmp_path / "out/labels.csv")) == 2


def test_a_csv_is_checked_and_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path, "1.png", "2.png")
    table = tmp_path / "labels.csv"
    table.write_text("img_path,person_id,note\n1.png,01,x\n2.png,02,y\n")
    before = table.read_bytes()
    assert prepared("csv", "--dataset-dir", tmp_path, "--check") == 0
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:-30])
    assert prepared("csv", "--dataset-dir", tmp_path) == 0
    assert prepared("csv", "--dataset-dir", tmp_path, "--check") == 1
    assert str(tmp_path / "2.png") in capsys.readouterr().err
    assert table.read_bytes() == before
    with pytest.raises(OutputError, match="would be written over"):
        prepared("csv", "--dataset-dir", tmp_path, "--output-dir", tmp_path)


def test_a_csv_and_its_images_are_taken_elsewhere(tmp_path: Path) -> None:
    images(tmp_path / "in", "1.png", "2.png")
    (tmp_path / "in/labels.csv").write_text("img_path,person_id,camera_id\n1.png,01,3\n2.png,02,4\n")
    assert prepared("csv", "--dataset-dir", tmp_path / "in", "--output-dir", tmp_path / "out", "--quiet") == 0
    records = read_csv(tmp_path / "out/labels.csv")
    assert [(record.person, record.camera) for record in records] == [("01", 3), ("02", 4)]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("market1501",), "nowhere to write"),
        (("duke", "--output-dir", "out"), "where is the data set"),
        (("csv",), "where is the data set"),
        (("duke", "--dataset-dir", "absent"), "no duke in absent"),
        (("casia-webface", "--dataset-dir", "absent"), "absent is no folder"),
        (("duke", "--dataset-dir", "x", "--download"), "--download fetches market1501"),
        (("duke", "--dataset-dir", "x", "--csv-name", "../x.csv"), "expected a name without a folder"),
        (("duke", "--dataset-dir", "x", "--workers", "0"), "start at 1"),
    ],
)
def test_what_cannot_be_done_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=what):
        prepared(*arguments)


def test_cuhk03_is_taken_out_of_its_matlab_file(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="cuhk-03.mat is HDF5, which h5py writes")
    io = pytest.importorskip("scipy.io", reason="the protocol's file is MATLAB's, which scipy writes")
    np = pytest.importorskip("numpy")
    home = tmp_path / "cuhk03_release"
    home.mkdir()
    cells = np.empty((2, 1), object)
    cells[:, 0] = ["1_001_1_01.png", "1_002_1_01.png"]
    indices = {"train_idx": [[1, 2]], "query_idx": [[1]], "gallery_idx": [[1]]}
    protocol = {"filelist": cells, "labels": np.array([[5], [6]]), **indices}
    io.savemat(home / "cuhk03_new_protocol_config_detected.mat", protocol)
    with h5py.File(home / "cuhk-03.mat", "w") as file:
        image = file.create_dataset("image", data=np.full((3, 8, 16), 90, np.uint8)).ref
        pair = file.create_dataset("pair", data=np.array([[image], [image]], h5py.ref_dtype).T).ref
        file.create_dataset("detected", data=np.array([[pair]], h5py.ref_dtype))
    out = tmp_path / "out"
    assert prepared("cuhk03", "--dataset-dir", tmp_path, "--output-dir", out, "--check", "--quiet") == 0
    assert [record.path.name for record in read_csv(out / "labels.csv")] == ["1_001_1_01.png", "1_002_1_01.png"]
    assert [record.person for record in read_csv(out / "labels.csv")] == ["5", "6"]
