from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sightline.deploy.compare.stored import is_stored, is_told_by_dim, read_stored
from sightline.errors import ModelOutputError, SightlineError
from sightline.reid.embedder import Embedded
from sightline.reid.features import open_journal
from sightline.types import FloatArray

ROWS = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)


def nvinfer(
    folder: Path, rows: FloatArray = ROWS, *, layer: str = "embedding", kind: str = "<f4", uid: int = 3
) -> Path:
    """As nvinfer writes them with raw-output-file-write=1: batches of three, the last one shorter."""
    folder.mkdir(exist_ok=True)
    for batch, start in enumerate(range(0, len(rows), 3)):
        part = rows[start : start + 3]
        name = f"gstnvdsinfer_uid-{uid:02}_layer-{layer}_batch-{batch:010}_batchsize-{len(part):02}.bin"
        (folder / name).write_bytes(part.astype(kind).tobytes())
    return folder


def test_raw_output_of_nvinfer_is_read_batch_after_batch(tmp_path: Path) -> None:
    found = read_stored(nvinfer(tmp_path / "dump"))
    np.testing.assert_array_equal(found.vectors, ROWS)
    assert found.names is None
    assert found.kind == "DeepStream dumps, embedding of uid 3"


def test_batches_are_put_in_order_of_their_number_beyond_ten_digits(tmp_path: Path) -> None:
    many = np.arange(40, dtype=np.float32).reshape(-1, 1)
    np.testing.assert_array_equal(read_stored(nvinfer(tmp_path / "dump", many)).vectors, many)


def test_the_layer_of_the_right_length_is_taken_of_several(tmp_path: Path) -> None:
    folder = nvinfer(tmp_path / "dump")
    nvinfer(folder, np.ones((7, 24), np.float32), layer="input_0")  # nvinfer writes what went in as well
    assert is_told_by_dim(folder)
    np.testing.assert_array_equal(read_stored(folder, dim=4).vectors, ROWS)
    with pytest.raises(ModelOutputError, match=r"embedding of uid 3 \(4 numbers\), input_0 of uid 3 \(24 numbers\)"):
        read_stored(folder)


def test_halves_are_known_by_the_length_a_vector_should_have(tmp_path: Path) -> None:
    found = read_stored(nvinfer(tmp_path / "dump", kind="<f2"), dim=4)
    np.testing.assert_array_equal(found.vectors, ROWS.astype(np.float16).astype(np.float32))


def second_batch(folder: Path) -> Path:
    return sorted(folder.iterdir())[1]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: second_batch(folder).unlink(), "is batch 2 where batch 1 was expected"),
        (lambda folder: second_batch(folder).write_bytes(b"x" * 13), "13 bytes"),
        (lambda folder: second_batch(folder).write_bytes(b""), "0 bytes"),
        (lambda folder: second_batch(folder).write_bytes(b"\0" * 24), r"rows of one layer hold \[2, 4\] numbers"),
        (
            lambda folder: (
                second_batch(folder)
                .with_name(second_batch(folder).name.replace("-03.", "-02."))
                .write_bytes(b"\0" * 32)
            ),
            "files of two runs",
        ),
    ],
)
def test_a_dump_of_nvinfer_that_is_not_whole_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    folder = nvinfer(tmp_path / "dump")
    damage(folder)
    with pytest.raises(ModelOutputError, match=said):
        read_stored(folder)


def test_vectors_of_the_tracker_are_told_apart_by_frame_and_track(tmp_path: Path) -> None:
    (tmp_path / "00_000_000007.txt").write_text("12 1.5 0.25\n18446744073709551614 -1 2\n")
    (tmp_path / "00_000_000008.txt").write_text("")
    (tmp_path / "00_001_000007.txt").write_text("12 0 1\n")
    found = read_stored(tmp_path)
    assert found.names == ("00_000_000007#12", "00_000_000007#18446744073709551614", "00_001_000007#12")
    np.testing.assert_array_equal(found.vectors, [[1.5, 0.25], [-1, 2], [0, 1]])


@pytest.mark.parametrize(
    ("text", "said"), [("12 1 2\n13 1\n", "one length"), ("a b c\n", "not a track number"), ("", "no numbers")]
)
def test_a_tracker_dump_of_anything_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "00_000_000007.txt").write_text(text)
    with pytest.raises(ModelOutputError, match=said):
        read_stored(tmp_path)


def test_dumps_of_ascend_tools_are_read_by_their_own_reader(tmp_path: Path) -> None:
    for row, stem in enumerate(("0002_c1s1_000551_01", "0001_c1s1_001051_00")):
        (tmp_path / f"{stem}_1.txt").write_text(" ".join(map(str, ROWS[row])))
    found = read_stored(tmp_path)
    assert found.names == ("0001_c1s1_001051_00", "0002_c1s1_000551_01")
    np.testing.assert_allclose(found.vectors, ROWS[[1, 0]], rtol=1e-6)


def test_a_feature_file_brings_its_names_and_what_it_skipped(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path in paths:
        path.write_bytes(b"-")
    target = tmp_path / "features.npz"
    with open_journal(target, dim=4, identity="x") as journal:
        journal.add(Embedded(paths[0], ROWS[0]))
        journal.add(Embedded(paths[1], None, "b.png is no image"))
        journal.add(Embedded(paths[2], ROWS[2]))
        journal.finish(paths, target, meta={"fingerprint": "ab" * 8})
    found = read_stored(target)
    assert found.names == (str(paths[0]), str(paths[2]))
    assert found.skipped == {str(paths[1]): "b.png is no image"}
    assert found.fingerprint == "ab" * 8
    np.testing.assert_array_equal(found.vectors, ROWS[[0, 2]])


def test_a_folder_of_anything_else_is_told_what_would_do(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing")
    with pytest.raises(ModelOutputError, match="gstnvdsinfer_uid"):
        read_stored(tmp_path)


def test_a_damaged_feature_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "f.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(SightlineError, match=r"f\.npz is not a feature file"):
        read_stored(tmp_path / "f.npz")


def test_models_and_vectors_are_told_apart_by_name(tmp_path: Path) -> None:
    assert is_stored(tmp_path)
    assert is_stored(Path("features.NPZ"))
    assert not is_stored(Path("model.onnx"))
