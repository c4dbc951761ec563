"""`labels.csv`: what is read from it, and how what cannot be meant is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.errors import ConfigError
from sightline.training.records import Record, labels, read_csv, write_csv


def folder_of(root: Path, *names: str, content: bytes = b"pixels") -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def csv_of(root: Path, text: str, *, encoding: str = "utf-8") -> Path:
    path = root / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


def refusal(path: Path, **options: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_csv(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_become_records_in_their_order_and_leading_zeros_stay(tmp_path: Path) -> None:
    folder_of(tmp_path, "b/1.jpg", "a/2.jpg")
    path = csv_of(tmp_path, "img_path,person_id,camera_id\nb/1.jpg,0007,3\na/2.jpg,7,0\n")
    assert read_csv(path) == (Record(tmp_path / "b/1.jpg", "0007", 3), Record(tmp_path / "a/2.jpg", "7", 0))


def test_a_csv_without_cameras_has_camera_zero(tmp_path: Path) -> None:
    folder_of(tmp_path, "1.jpg", "2.jpg")
    records = read_csv(csv_of(tmp_path, "img_path,person_id\n1.jpg,a\n2.jpg,b\n"))
    assert [record.camera for record in records] == [0, 0]


def test_excel_s_spelling_is_read_as_well(tmp_path: Path) -> None:
    """A byte order mark, CRLF, columns in another order and more of them, spaces, backslashes, a blank line."""
    folder_of(tmp_path, "in/1.jpg", "in/2.jpg")
    text = "note,person_id, img_path\r\nx,01,in\\1.jpg\r\n\r\n,02 ,in/2.jpg\r\n"
    records = read_csv(csv_of(tmp_path, text, encoding="utf-8-sig"))
    assert records == (Record(tmp_path / "in/1.jpg", "01", 0), Record(tmp_path / "in/2.jpg", "02", 0))


def test_images_are_looked_for_below_the_root_that_is_given(tmp_path: Path) -> None:
    folder_of(tmp_path / "data", "1.jpg", "2.jpg")
    path = csv_of(tmp_path, "img_path,person_id\n1.jpg,a\n2.jpg,b\n")
    assert read_csv(path, root=tmp_path / "data")[0].path == tmp_path / "data" / "1.jpg"
    assert "2 of 2 images are missing or empty: 1.jpg, 2.jpg" in refusal(path)


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "no column img_path and no person_id"),
        ("person_id,camera_id\n", 1, "no column img_path"),
        ("img_path,person,camera_id\n1.jpg,a,0\n", 1, "no column person_id"),
        ("img_path,img_path,person_id\n", 1, "two columns are called img_path"),
        ("img_path,person_id\n1.jpg,a\n1.jpg,b\n", 3, "'1.jpg' is listed twice"),
        ("img_path,person_id\n1.jpg,a\n./1.jpg,a\n", 3, "'./1.jpg' is listed twice"),
        ("img_path,person_id\n1.jpg,\n", 2, "person_id is empty"),
        ("img_path,person_id\n1.jpg\n", 2, "person_id is empty"),
        ("img_path,person_id\n  ,a\n", 2, "img_path is empty"),
        ("img_path,person_id,camera_id\n1.jpg,a,\n", 2, "camera_id is empty"),
        ("img_path,person_id,camera_id\n1.jpg,a,c1\n", 2, "camera_id is 'c1'"),
        ("img_path,person_id,camera_id\n1.jpg,a,-1\n", 2, "camera_id is '-1'"),
        ("img_path,person_id,camera_id\n1.jpg,a,1.0\n", 2, "camera_id is '1.0'"),
        ("img_path,person_id\n1.jpg,a\n/etc/hosts,b\n", 3, "'/etc/hosts' leads out of"),
        ("img_path,person_id\nC:\\x.jpg,b\n", 2, "leads out of"),
        ("img_path,person_id\nin/../../x.jpg,b\n", 2, "'in/../../x.jpg' leads out of"),
        ("img_path,person_id\n..\\x.jpg,b\n", 2, "leads out of"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_file_and_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    folder_of(tmp_path, "1.jpg")
    message = refusal(csv_of(tmp_path, text))
    assert message.startswith(f"{tmp_path / 'labels.csv'}:{line}: ")
    assert what in message


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert "no rows" in refusal(csv_of(tmp_path, "img_path,person_id\n"))


def test_one_person_cannot_be_told_from_anybody(tmp_path: Path) -> None:
    folder_of(tmp_path, "1.jpg", "2.jpg")
    assert "only one person, 01" in refusal(csv_of(tmp_path, "img_path,person_id\n1.jpg,01\n2.jpg,01\n"))


def test_the_first_missing_images_are_named_and_all_are_counted(tmp_path: Path) -> None:
    folder_of(tmp_path, "0.jpg")
    folder_of(tmp_path, "1.jpg", content=b"")
    text = "img_path,person_id\n" + "".join(f"{number}.jpg,{number}\n" for number in range(6))
    message = refusal(csv_of(tmp_path, text))
    assert message.endswith("5 of 6 images are missing or empty: 1.jpg, 2.jpg, 3.jpg, …")


@pytest.mark.parametrize("link", ["x.jpg", "in"])
def test_a_link_out_of_the_folder_is_refused_and_one_within_is_not(tmp_path: Path, link: str) -> None:
    outside, root = folder_of(tmp_path / "outside", "x.jpg"), folder_of(tmp_path / "root", "1.jpg", "kept/x.jpg")
    location = "x.jpg" if link == "x.jpg" else "in/x.jpg"
    path = csv_of(root, f"img_path,person_id\n1.jpg,a\n{location},b\n")
    (root / link).symlink_to(outside / "x.jpg" if link == "x.jpg" else outside)
    assert f"{path}:3: " in refusal(path)
    (root / link).unlink()
    (root / link).symlink_to(root / "kept/x.jpg" if link == "x.jpg" else root / "kept")
    assert len(read_csv(path)) == 2


def test_what_is_no_csv_is_named(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "absent.csv")
    (tmp_path / "latin.csv").write_bytes("img_path,person_id\n1.jpg,Jürgen\n".encode("latin-1"))
    assert "not UTF-8" in refusal(tmp_path / "latin.csv")
    (tmp_path / "long.csv").write_text("img_path,person_id\n" + "x" * (csv.field_size_limit() + 1) + ",a\n")
    assert f"{tmp_path / 'long.csv'}:" in refusal(tmp_path / "long.csv")


def test_people_are_numbered_in_the_order_of_their_names() -> None:
    records = [Record(Path("x"), person, 0) for person in ("b", "10", "9", "b", "09")]
    assert labels(records) == {"09": 0, "10": 1, "9": 2, "b": 3}


plain = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/\\:"), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.dictionaries(plain, st.tuples(plain, st.integers(0, 99)), min_size=2, max_size=6))
def test_what_is_written_is_what_is_read(tmp_path: Path, rows: dict[str, tuple[str, int]]) -> None:
    people = {person for person, _ in rows.values()}
    if len(people) < 2:
        return
    images = {name: f"images/{number}-{name.strip('.')}.jpg" for number, name in enumerate(rows)}
    folder_of(tmp_path, *images.values())
    written = tuple(Record(tmp_path / images[name], person, camera) for name, (person, camera) in rows.items())
    write_csv(tmp_path / "written.csv", written, root=tmp_path)
    assert read_csv(tmp_path / "written.csv") == written


def test_the_csv_is_in_the_published_format(tmp_path: Path) -> None:
    write_csv(tmp_path / "labels.csv", [Record(tmp_path / "train/0001/img_001.jpg", "0001", 1)], root=tmp_path)
    assert (tmp_path / "labels.csv").read_bytes() == (b"img_path,person_id,camera_id\ntrain/0001/img_001.jpg,0001,1\n")
