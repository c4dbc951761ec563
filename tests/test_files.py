from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.errors import ModelFormatError, ModelNotFoundError, OutputError
from sightline.files import (
    is_outside,
    is_regular_file,
    locked,
    model_kind,
    replacing,
    require_model_file,
    sha256_of,
    sniff,
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("osnet.onnx", "onnx"),
        ("OSNET.ONNX", "onnx"),
        ("model.pth.tar-60.pth", "checkpoint"),
        ("model.pth.tar", "checkpoint"),
        ("last.ckpt", "checkpoint"),
        ("best.pt", "checkpoint"),
        ("person.xml", "openvino"),
        ("b1.engine", "tensorrt"),
        ("b1.plan", "tensorrt"),
    ],
)
def test_a_file_name_promises_a_kind(name: str, kind: str) -> None:
    assert model_kind(Path(name)) == kind


@pytest.mark.parametrize(("name", "named"), [("model.h5", "'.h5'"), ("model", "'a name without suffix'")])
def test_an_unknown_suffix_is_named_with_the_known_ones(name: str, named: str) -> None:
    with pytest.raises(ModelFormatError) as caught:
        model_kind(Path(name))
    assert named in str(caught.value) and ".onnx, .pth" in str(caught.value)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"PK\x03\x04....", "a PyTorch checkpoint (zip)"),
        (b"\x80\x02}q\x00", "a PyTorch checkpoint (pickle)"),
        (b"\x89PNG\r\n", "a PNG image"),
        (b"\xff\xd8\xff\xe0", "a JPEG image"),
        (b"\x08\x08\x12\x05maker", ""),
        (b"", ""),
    ],
)
def test_first_bytes_say_what_a_file_is(head: bytes, kind: str) -> None:
    assert sniff(head) == kind


def test_what_this_machine_writes_is_recognised(tmp_path: Path) -> None:
    cv2, np, torch = (pytest.importorskip(name) for name in ("cv2", "numpy", "torch"))
    torch.save({"a": torch.zeros(2)}, tmp_path / "new.pth")
    torch.save({"a": torch.zeros(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    np.save(tmp_path / "a.npy", np.zeros(3))
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((8, 8, 3), np.uint8))
    found = {path.name: sniff(path.read_bytes()) for path in tmp_path.iterdir()}
    assert found == {
        "new.pth": "a PyTorch checkpoint (zip)",
        "old.pth": "a PyTorch checkpoint (pickle)",
        "a.npy": "a NumPy array",
        "a.jpg": "a JPEG image",
    }


def test_a_model_file_is_handed_back(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x08")
    assert require_model_file(path) == path


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "m.onnx", tmp_path / "no folder" / "m.onnx"):
        with pytest.raises(ModelNotFoundError, match=r"model file not found: .*m\.onnx"):
            require_model_file(path)


def test_a_file_used_as_a_folder_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelNotFoundError):
        require_model_file(tmp_path / "file" / "m.onnx")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"\n  <HTML lang=en>", "is a web page"),
    ],
)
def test_a_file_that_only_stands_for_a_model_is_named(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError, match=what):
        require_model_file(path)


def test_a_folder_is_named_as_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="is a folder"):
        require_model_file(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    with pytest.raises(ModelFormatError, match="is not a regular file"):
        require_model_file(tmp_path / "m.onnx")


def test_a_name_too_long_to_look_up_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="cannot be read: "):
        require_model_file(tmp_path / ("n" * 5000))
    assert not is_regular_file(tmp_path / ("n" * 5000))


def test_a_name_no_file_can_have_is_not_found() -> None:
    with pytest.raises(ModelNotFoundError, match=r"'a\\x00b'"):
        require_model_file(Path("a\0b"))


def test_a_checksum_is_that_of_hashlib_over_all_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # 2.56 MB, three reads
    (tmp_path / "m").write_bytes(content)
    assert sha256_of(tmp_path / "m") == hashlib.sha256(content).hexdigest()


def test_a_checksum_of_nothing_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="cannot be read"):
        sha256_of(tmp_path / "m")


@pytest.mark.parametrize(
    ("location", "outside"),
    [
        ("m.data", False),
        ("below/m.data", False),
        ("..m.data", False),
        ("../m.data", True),
        ("below/../m.data", True),
        ("/m.data", True),
        ("D:m.data", True),
        ("..\\m.data", True),
        ("", True),
    ],
)
def test_a_location_is_outside_by_its_spelling(location: str, outside: bool, tmp_path: Path) -> None:
    assert is_outside(tmp_path / "m.onnx", location) is outside


def test_a_folder_that_is_a_link_takes_its_files_outside(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "home" / "below").symlink_to(tmp_path / "elsewhere")
    assert is_outside(tmp_path / "home" / "m.onnx", "below/m.data")
    (tmp_path / "door").symlink_to(tmp_path / "home")
    assert not is_outside(tmp_path / "door" / "m.onnx", "m.data")


# --- replacing -----------------------------------------------------------------------------------------------------


def test_the_target_appears_only_when_the_block_has_ended(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert (temporary.parent, target.read_text()) == (tmp_path, "old")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_the_target_as_it_was(error: BaseException, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(type(error)), replacing(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_said_in_words_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*out\.json: the disk is full"),
        replacing(tmp_path / "out.json"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_and_a_folder_of_that_name_are_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the folder does not exist"), replacing(tmp_path / "no" / "out.json"):
        pass
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="a folder has that name"), replacing(tmp_path / "taken"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="its parent is not a folder"), replacing(tmp_path / "file" / "out.json"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]


def test_an_output_error_from_within_is_passed_on_as_it_is(tmp_path: Path) -> None:
    inner = OutputError("cannot write other.json: the disk is full")
    with pytest.raises(OutputError) as caught, replacing(tmp_path / "out.json"):
        raise inner
    assert caught.value is inner


def test_a_block_that_moves_its_file_away_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError), replacing(tmp_path / "out.json") as temporary:
        temporary.unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        with replacing(tmp_path / "out.json"):
            pass
        (tmp_path / "plain").touch()
    finally:
        os.umask(previous)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("out.json", "plain")}
    assert modes == {0o640}


def test_the_longest_name_a_folder_takes_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    with replacing(target) as temporary:
        temporary.write_text("x")
    assert target.read_text() == "x"


# --- locked --------------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from sightline.files import locked
with locked(Path(sys.argv[1]), holder="first"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_refuses_the_second_and_names_the_holder_until_it_is_let_go(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", holder="another run"),
        pytest.raises(OutputError, match="is being written by another run"),
        locked(tmp_path / "lock", holder="another run"),
    ):
        pytest.fail("both hold the lock")
    with locked(tmp_path / "lock", holder="another run"):
        pass


def test_a_killed_process_lets_its_lock_go(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(OutputError), locked(tmp_path / "lock", holder="another run"):
            pytest.fail("both hold the lock")
        process.kill()
    with locked(tmp_path / "lock", holder="another run"):
        pass


def test_a_lock_in_a_missing_folder_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the folder does not exist"), locked(tmp_path / "no" / "lock", holder="x"):
        pass
