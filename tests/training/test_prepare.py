"""Data sets brought together: the right people, true suffixes, nothing that cannot be decoded, and again the same."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image as PillowImage

from sightline.errors import BackendError, ConfigError, DownloadError
from sightline.training import kaggle
from sightline.training.prepare import Picture, from_faces, prepare, selected, true_suffix, undecodable
from sightline.training.recordio import MAGIC, image_at, labelled_offsets
from sightline.training.records import Record, read_csv

FORMATS = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WEBP", ".tif": "TIFF", ".ppm": "PPM"}


def encoded(form: str = "JPEG", *, shade: int = 100) -> bytes:
    stream = BytesIO()
    PillowImage.new("RGB", (12, 24), (shade, 50, 200)).save(stream, form)
    return stream.getvalue()


def image_file(path: Path, form: str = "JPEG", *, shade: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(form, shade=shade))
    return path


def two(source: Path) -> list[Picture]:
    return [Picture(name, 1, name, image_file(source / f"{name}.jpg", shade=ord(name))) for name in "ab"]


@pytest.mark.parametrize(("suffix", "form"), FORMATS.items())
def test_a_suffix_says_what_the_bytes_are_whatever_the_file_was_called(tmp_path: Path, suffix: str, form: str) -> None:
    assert true_suffix(encoded(form)[:16]) == suffix
    lying = image_file(tmp_path / "in" / "x.jpg", form)
    prepared = prepare([Picture("0001", 2, "x", lying)], tmp_path / "out")
    assert prepared.records == (Record(tmp_path / f"out/images/0001/x{suffix}", "0001", 2),)
    assert prepared.records[0].path.read_bytes() == encoded(form)


def test_the_csv_names_what_is_there(tmp_path: Path) -> None:
    prepared = prepare(two(tmp_path / "in"), tmp_path / "out", csv_name="train.csv")
    assert prepared.csv == tmp_path / "out" / "train.csv"
    assert read_csv(prepared.csv) == prepared.records
    assert prepared.csv.read_text() == "img_path,person_id,camera_id\nimages/a/a.jpg,a,1\nimages/b/b.jpg,b,1\n"


def test_what_is_already_in_the_folder_is_named_where_it_is(tmp_path: Path) -> None:
    prepared = prepare(two(tmp_path), tmp_path)
    assert [record.path for record in prepared.records] == [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "b.jpg", "labels.csv"]


def test_a_second_run_writes_nothing_anew_and_the_first_one_s_half_is_kept(tmp_path: Path) -> None:
    pictures = two(tmp_path / "in")
    first = prepare(pictures, tmp_path / "out")
    before = {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*.jpg")}
    first.records[1].path.unlink()
    (tmp_path / "out/images/b/.b.jpg.part").write_bytes(b"half")
    assert prepare(pictures, tmp_path / "out") == first
    assert {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*.jpg")} == before
    assert not list((tmp_path / "out").rglob("*.part"))


def test_an_image_under_a_name_that_holds_another_replaces_it(tmp_path: Path) -> None:
    pictures = two(tmp_path / "in")
    target = prepare(pictures, tmp_path / "out").records[0].path
    target.unlink()
    target.write_bytes(encoded(shade=1))
    prepare(pictures, tmp_path / "out")
    assert target.read_bytes() == pictures[0].content()


def test_people_and_files_of_the_same_safe_name_stay_apart(tmp_path: Path) -> None:
    names = [("a/b", "x"), ("a_b", "x"), ("a_b", "X"), ("../up", "x")]
    pictures = [
        Picture(person, 0, stem, image_file(tmp_path / f"in{number}" / "x.jpg", shade=number))
        for number, (person, stem) in enumerate(names)
    ]
    prepared = prepare(pictures, tmp_path / "out")
    paths = [record.path.resolve() for record in prepared.records]
    assert len(set(paths)) == 4
    assert all(path.is_relative_to((tmp_path / "out").resolve()) for path in paths)
    assert [path.read_bytes() for path in paths] == [picture.content() for picture in pictures]
    assert [record.person for record in prepared.records] == [person for person, _ in names]


def test_what_is_no_image_is_refused_by_name_and_the_rest_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "note.jpg").write_text("no image")
    bad = [Picture("a", 0, "e", tmp_path / f"{name}.jpg") for name in ("empty", "note", "absent")]
    prepared = prepare([*two(tmp_path / "in"), *bad], tmp_path / "out")
    assert len(prepared.records) == 2
    assert [str(picture.source) in reason for picture, reason in zip(bad, prepared.refused, strict=True)] == [True] * 3
    with pytest.raises(ConfigError, match=r"none of 3 images can be used: .*empty\.jpg"):
        prepare(bad, tmp_path / "none")


def test_a_check_refuses_every_image_that_does_not_decode(tmp_path: Path) -> None:
    pictures = two(tmp_path / "in")
    broken = [Picture("c", 0, name, image_file(tmp_path / f"in/{name}.jpg")) for name in ("c", "d")]
    for picture in broken:
        picture.source.write_bytes(picture.content()[:-100])
    done: list[int] = []
    prepared = prepare([*broken, *pictures], tmp_path / "out", check=True, workers=2, done=lambda: done.append(1))
    assert [record.person for record in prepared.records] == ["a", "b"]
    assert [f"{name}.jpg" in reason for name, reason in zip("cd", prepared.refused, strict=True)] == [True, True]
    assert len(done) == 4
    records = [Record(picture.source, picture.person, 0) for picture in [*broken, *pictures]]
    assert len(list(undecodable(records, workers=2))) == 2


def test_people_with_few_images_are_left_out_before_the_first_so_many_are_taken() -> None:
    pictures = [Picture(person, 0, f"{n}", Path("x")) for n, person in enumerate("abbcccdd")]
    assert "".join(picture.person for picture in selected(pictures, min_images=2, max_ids=2)) == "bbccc"
    assert len(selected(pictures)) == 8
    with pytest.raises(ConfigError, match="1 of 4 people have 3 images or more"):
        selected(pictures, min_images=3)
    with pytest.raises(ConfigError, match="max_ids is 1; expected two people"):
        selected(pictures, max_ids=1)


# RecordIO


def part(content: bytes, kind: int = 0) -> bytes:
    head = struct.pack("<II", 0xCED7230A, kind << 29 | len(content))
    return head + content + b"\0" * (-len(content) % 4)


def record(label: float, image: bytes, *, more: tuple[float, ...] = ()) -> bytes:
    """The published layout: one label in the header, or `flag` labels behind it."""
    if more:
        return struct.pack("<IfQQ", 1 + len(more), 0.0, 1, 0) + struct.pack(f"<{1 + len(more)}f", label, *more) + image
    return struct.pack("<IfQQ", 0, label, 1, 0) + image


def face_set(folder: Path, *, index: bool) -> list[bytes]:
    """Two people; the first and last records are the set's own index, which holds no image."""
    images = [encoded(shade=shade) for shade in (1, 2, 3)]
    records = [
        record(4, b"", more=(6,)),
        record(7, images[0]),
        record(7, images[1], more=(0.5,)),
        record(8, images[2]),
        record(1, b"", more=(3,)),
    ]
    offsets, content = [], b""
    for packed in records:
        offsets.append(len(content))
        content += part(packed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.rec").write_bytes(content)
    if index:
        (folder / "train.idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in enumerate(offsets)))
    return images


@pytest.mark.parametrize("index", [True, False])
def test_faces_are_read_from_a_record_file_with_and_without_its_index(tmp_path: Path, index: bool) -> None:
    images = face_set(tmp_path / "faces", index=index)
    found = list(labelled_offsets(tmp_path / "faces/train.rec"))
    assert [identity for identity, _ in found] == [7, 7, 8]
    assert [image_at(tmp_path / "faces/train.rec", offset) for _, offset in found] == images
    prepared = prepare(from_faces(tmp_path), tmp_path / "out", check=True)
    assert [record.person for record in prepared.records] == ["000007", "000007", "000008"]
    assert [record.path.read_bytes() for record in prepared.records] == images


def test_a_record_that_was_cut_at_the_magic_number_is_put_together_again(tmp_path: Path) -> None:
    magic = MAGIC.to_bytes(4, "little")
    pieces = [record(3, b"first"), b"second.", b"third"]
    (tmp_path / "x.rec").write_bytes(
        part(pieces[0], 1) + part(pieces[1], 2) + part(pieces[2], 3) + part(record(4, b"z"))
    )
    (identity, offset), (other, last) = labelled_offsets(tmp_path / "x.rec")
    assert (identity, other) == (3, 4)
    assert image_at(tmp_path / "x.rec", offset) == b"first" + magic + b"second." + magic + b"third"
    assert image_at(tmp_path / "x.rec", last) == b"z"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (part(record(1, b"image"))[:-9], "ends within the record at byte 0"),
        (part(record(1, b"image")) + b"\x0a\x23", "ends within the record"),
        (b"not a record file at all", "holds no record at byte 0"),
        (part(b"short"), "a record of 5 bytes; expected a header of 24"),
        (part(record(1.5, b"image")), "the label is 1.5"),
        (part(record(float("nan"), b"image")), "the label is nan"),
    ],
)
def test_a_record_file_that_is_none_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x.rec").write_bytes(content)
    with pytest.raises(ConfigError, match=what.replace(".", r"\.")):
        list(labelled_offsets(tmp_path / "x.rec"))


def test_an_index_of_something_else_is_refused(tmp_path: Path) -> None:
    face_set(tmp_path, index=True)
    (tmp_path / "train.idx").write_text("0\t4\n")
    with pytest.raises(ConfigError, match=r"holds no record at byte 4; .* is its \.idx of this file"):
        list(labelled_offsets(tmp_path / "train.rec"))
    (tmp_path / "train.idx").write_text("what is this\n")
    with pytest.raises(ConfigError, match=r"train\.idx is no RecordIO index"):
        list(labelled_offsets(tmp_path / "train.rec"))


def test_faces_may_lie_in_a_folder_for_each_person(tmp_path: Path) -> None:
    for name in ("amy/1", "amy/2", "bob/1"):
        image_file(tmp_path / f"{name}.jpg")
    assert [picture.person for picture in from_faces(tmp_path)] == ["amy", "amy", "bob"]
    assert [picture.person for picture in from_faces(tmp_path, but=tmp_path / "bob")] == ["amy", "amy"]


# Kaggle


def cuhk03(folder: Path) -> None:
    for number, name in enumerate(("1_001_1_01", "1_001_2_06", "2_001_1_01")):
        image_file(folder / f"{name}.png", "PNG", shade=number)


def test_person_1_of_two_camera_pairs_is_two_people_with_cameras_of_their_own(tmp_path: Path) -> None:
    """Numbers: 100,000 + 1000 × pair + person. Cameras: pair 1 has 0 and 1, pair 2 has 2 and 3."""
    cuhk03(tmp_path / "archive/images_labeled")
    records = kaggle.cuhk03_records(tmp_path)
    assert [(record.person, record.camera) for record in records] == [("101001", 0), ("101001", 1), ("102001", 2)]


def test_two_folders_of_cuhk03_are_a_question(tmp_path: Path) -> None:
    cuhk03(tmp_path / "images_labeled")
    cuhk03(tmp_path / "images_detected")
    with pytest.raises(ConfigError, match=r"expected one folder of CUHK03 images .* found .*detected, .*labeled"):
        kaggle.cuhk03_records(tmp_path)


def test_both_sets_become_one_in_which_nobody_is_somebody_else(tmp_path: Path) -> None:
    cuhk03(tmp_path / "cuhk03")
    for part_of in ("bounding_box_train", "query", "bounding_box_test"):
        image_file(tmp_path / "market1501" / part_of / "0002_c1s1_000451_03.jpg")
    folders = {"market1501": tmp_path, "cuhk03": tmp_path}
    for _ in range(2):  # the second run looks where the first one wrote
        pictures = kaggle.reid_pictures(folders)
        prepared = prepare(pictures, tmp_path / "out")
        assert sorted({record.person for record in prepared.records}) == ["101001", "102001", "200002"]
        assert [record.path.suffix for record in prepared.records] == [".png"] * 3 + [".jpg"]


def test_a_set_that_is_not_there_is_named_and_only_refused_when_it_was_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cuhk03(tmp_path)
    assert len(kaggle.reid_pictures({"cuhk03": tmp_path, "market1501": tmp_path})) == 3
    assert "left out market1501: no market1501 in" in caplog.text
    with pytest.raises(ConfigError, match="no market1501 in"):
        kaggle.reid_pictures({"market1501": tmp_path}, required=["market1501"])
    with pytest.raises(ConfigError, match="found neither of cuhk03, market1501"):
        kaggle.reid_pictures({})


def test_a_download_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kaggle, "missing_package", lambda module, install: f"{module} is absent: pip {install}")
    with pytest.raises(BackendError, match="needs kagglehub and a Kaggle account: kagglehub is absent"):
        kaggle.download("market1501")
    monkeypatch.setattr(kaggle, "missing_package", lambda module, install: "")
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    with pytest.raises(BackendError, match=r"no key in .*kaggle\.json; create one"):
        kaggle.download("casia-webface")


def test_a_download_that_fails_is_one_line_and_one_that_does_not_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In kagglehub's place; its errors have no base of their own, so each is told by its name."""
    names = ("BackendError", "CredentialError", "DataCorruptionError", "NotFoundError", "UnauthenticatedError")
    failures = SimpleNamespace(**{name: type(name, (Exception,), {}) for name in names})
    answers = iter([tmp_path, failures.NotFoundError("gone\nfor good"), ConnectionError("no network")])

    def dataset_download(handle: str) -> str:
        assert handle == "rayiooo/reid_market-1501"
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    libraries = {"kagglehub": SimpleNamespace(dataset_download=dataset_download), "kagglehub.exceptions": failures}
    monkeypatch.setattr(kaggle, "import_module", libraries.__getitem__)
    monkeypatch.setattr(kaggle, "missing_package", lambda module, install: "")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "of nobody")
    assert kaggle.download("market1501") == tmp_path
    for reason in ("gone", "no network"):
        with pytest.raises(DownloadError, match=f"Kaggle did not give rayiooo/reid_market-1501: {reason}$"):
            kaggle.download("market1501")
