from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from running import error_line, sightline, started, write_crops

from sightline.cli import main
from sightline.images import read_image
from sightline.reid.embedder import Embedder
from sightline.reid.features import read_features
from sightline.runtime.open import open_session

Capture = pytest.CaptureFixture[str]


def embed(model: Path, *arguments: str | Path) -> int:
    return main(["embed", "-m", str(model), *map(str, arguments)])


class TestVectors:
    def test_a_folder_becomes_a_feature_file(self, osnet: Path, tmp_path: Path, capsys: Capture) -> None:
        paths = write_crops(tmp_path / "crops", 5)
        assert embed(osnet, tmp_path / "crops", "-o", tmp_path / "out.npz") == 0
        got = read_features(tmp_path / "out.npz")
        assert got.paths == tuple(map(str, paths))
        with open_session(osnet) as session:
            expected = Embedder(session).embed([read_image(path) for path in paths]).vectors
        np.testing.assert_allclose(got.vectors, expected, atol=2e-6)
        captured = capsys.readouterr()
        assert captured.out == f"{tmp_path / 'out.npz'}: 5 vectors from osnet.onnx on onnxruntime (cpu, float32)\n"
        assert captured.err == ""

    def test_the_file_says_which_model_made_it(self, osnet: Path, tmp_path: Path) -> None:
        write_crops(tmp_path / "crops", 1)
        embed(osnet, tmp_path / "crops", "-o", tmp_path / "out.npz")
        meta = read_features(tmp_path / "out.npz").meta
        with open_session(osnet) as session:
            assert meta["fingerprint"] == session.card.fingerprint and meta["card"] == session.card.to_json()
        assert meta["model"] == str(osnet)
        assert (meta["backend"], meta["device"], meta["precision"]) == ("onnxruntime", "cpu", "float32")
        assert meta["fallbacks"] == [] and meta["skipped"] == {}

    def test_what_ran_instead_of_what_was_asked_for_is_on_record(
        self, osnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        onnxruntime = pytest.importorskip("onnxruntime")
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        write_crops(tmp_path / "crops", 1)
        assert embed(osnet, tmp_path / "crops", "-o", tmp_path / "out.npz", "--device", "cuda") == 0
        meta = read_features(tmp_path / "out.npz").meta
        assert meta["device"] == "cpu"
        assert len(meta["fallbacks"]) == 1 and "cuda not available" in meta["fallbacks"][0].lower()

    def test_several_sources_are_joined_and_nothing_is_embedded_twice(
        self, osnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = write_crops(tmp_path / "b", 3), write_crops(tmp_path / "a", 2)
        sources = [tmp_path / "b", f"{tmp_path}/a/*.png", second[0], f"{tmp_path}/b/0001.*"]
        assert embed(osnet, *sources, "-o", tmp_path / "out.npz") == 0
        assert read_features(tmp_path / "out.npz").paths == tuple(map(str, [*first, *second]))

    def test_another_backend_gives_nearly_the_same_vectors(self, osnet: Path, tmp_path: Path) -> None:
        pytest.importorskip("openvino")
        write_crops(tmp_path / "crops", 3)
        for backend in ("onnxruntime", "openvino"):
            output = tmp_path / f"{backend}.npz"
            assert embed(osnet, tmp_path / "crops", "-o", output, "--backend", backend, "--precision", "float32") == 0
            assert read_features(output).meta["backend"] == backend
        ours, theirs = (read_features(tmp_path / f"{name}.npz").vectors for name in ("onnxruntime", "openvino"))
        assert (ours * theirs).sum(axis=1).min() > 0.9999

    def test_the_real_crops_of_one_person_are_closer_than_those_of_two(self, shared: Path, tmp_path: Path) -> None:
        """A foreign model that was trained, the flags that say how, and people it was not trained on in this code."""
        model = shared / "real/models/osnet_x0_25_market1501_128x64.onnx"
        crops = f"{shared}/real/crops/market_train_50ids/00*.jpg"
        assert embed(model, crops, "-o", tmp_path / "out.npz", "--pixels", "torchreid") == 0
        got = read_features(tmp_path / "out.npz")
        people = np.array([Path(path).name[:4] for path in got.paths])
        scores, same = got.vectors @ got.vectors.T, people[:, None] == people[None, :]
        others = ~np.eye(len(people), dtype=bool)
        assert scores[same & others].mean() > scores[~same].mean() + 0.2
        nearest = np.where(others, scores, -1).argmax(axis=1)
        has_another = (same & others).any(axis=1)
        assert (people[nearest] == people)[has_another].mean() > 0.9


class TestBrokenImages:
    @pytest.fixture
    def crops(self, tmp_path: Path) -> list[Path]:
        paths = write_crops(tmp_path / "crops", 4)
        paths[1].write_bytes(b"")
        paths[2].write_bytes(paths[2].read_bytes()[:-500])
        return paths

    def test_they_are_skipped_and_named_and_the_exit_code_says_so(
        self, osnet: Path, tmp_path: Path, crops: list[Path], capsys: Capture
    ) -> None:
        assert embed(osnet, tmp_path / "crops", "-o", tmp_path / "out.npz") == 3
        got = read_features(tmp_path / "out.npz")
        assert got.paths == (str(crops[0]), str(crops[3]))
        assert list(got.meta["skipped"]) == [str(crops[1]), str(crops[2])]
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == f"sightline: skipped: {crops[1]} is empty (0 bytes)"
        assert lines[1].startswith(f"sightline: skipped: {crops[2]} cannot be decoded: ")
        assert lines[2] == f"sightline: 2 of 4 images could not be read and are not in {tmp_path / 'out.npz'}"
        assert len(lines) == 3

    def test_quiet_names_them_and_says_nothing_else(
        self, osnet: Path, tmp_path: Path, crops: list[Path], capsys: Capture
    ) -> None:
        assert embed(osnet, tmp_path / "crops", "-o", tmp_path / "out.npz", "-q") == 3
        captured = capsys.readouterr()
        assert captured.out == "" and len(captured.err.splitlines()) == 3
        assert embed(osnet, crops[0], "-o", tmp_path / "out.npz", "-q") == 0
        assert capsys.readouterr() == ("", "")

    def test_one_of_them_stops_the_run_where_that_is_asked_for(
        self, osnet: Path, tmp_path: Path, crops: list[Path], capsys: Capture
    ) -> None:
        arguments = (tmp_path / "crops", "-o", tmp_path / "out.npz", "--on-error", "stop")
        assert embed(osnet, *arguments) == 1
        assert error_line(capsys.readouterr().err) == f"{crops[1]} is empty (0 bytes)"
        assert not (tmp_path / "out.npz").exists()
        shutil.copy(crops[0], crops[1])
        shutil.copy(crops[0], crops[2])
        assert embed(osnet, *arguments) == 0
        assert capsys.readouterr().err == "sightline: continuing: 1 of 4 images are already done\n"

    def test_a_folder_of_nothing_else_is_an_empty_file(self, osnet: Path, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").touch()
        assert embed(osnet, tmp_path / "a.jpg", "-o", tmp_path / "out.npz") == 3
        assert read_features(tmp_path / "out.npz").vectors.shape == (0, 512)


class TestModelsWithoutACard:
    def test_what_is_not_known_is_asked_for_by_its_flag(
        self, bare_osnet: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        write_crops(tmp_path / "crops", 1)
        assert embed(bare_osnet, tmp_path / "crops", "-o", tmp_path / "out.npz") == 1
        message = error_line(capsys.readouterr().err)
        assert "--pixels PRESET" in message and "torchreid" in message
        assert not (tmp_path / "out.npz.part").exists()

    def test_saying_it_gives_the_vectors_the_card_would_have_given(
        self, bare_osnet: Path, osnet: Path, tmp_path: Path
    ) -> None:
        write_crops(tmp_path / "crops", 3)
        assert embed(bare_osnet, tmp_path / "crops", "-o", tmp_path / "said.npz", "--pixels", "torchreid") == 0
        assert embed(osnet, tmp_path / "crops", "-o", tmp_path / "card.npz") == 0
        said, card = (read_features(tmp_path / f"{name}.npz") for name in ("said", "card"))
        assert np.array_equal(said.vectors, card.vectors)

    def test_a_claim_against_the_card_is_refused(self, osnet: Path, tmp_path: Path, capsys: Capture) -> None:
        write_crops(tmp_path / "crops", 1)
        assert embed(osnet, tmp_path / "crops", "-o", tmp_path / "out.npz", "--pixels", "omz") == 1
        assert "Leave the flag out" in error_line(capsys.readouterr().err)


class TestWrongCommands:
    @pytest.fixture
    def workplace(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        write_crops(tmp_path / "crops", 1)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["nowhere", "-o", "out.npz"], "no images in nowhere"),
            (["crops/*.jpg", "-o", "out.npz"], "no images in crops/*.jpg"),
            (["crops", "-o", "missing/out.npz"], "cannot write missing/out.npz: the folder does not exist"),
            (["crops", "-o", "crops/0000.png/out.npz"], "its parent is not a folder"),
            (["crops", "-o", "crops"], "cannot write crops: it is a folder; name a file in it"),
            (["crops", "-o", "out.npz", "--device", "toaster"], "unknown device 'toaster'"),
            (["crops", "-o", "out.npz", "--precision", "int3"], "precision 'int3' cannot be had here"),
            (["crops", "-o", "out.npz", "--backend", "torch"], "torch does not read it"),
        ],
    )
    def test_what_cannot_be_done_is_one_line(
        self, osnet: Path, workplace: Path, capsys: Capture, arguments: list[str], told: str
    ) -> None:
        assert embed(osnet, *arguments) == 1
        assert told in error_line(capsys.readouterr().err)
        assert [path.name for path in workplace.iterdir()] == ["crops"]

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("missing.onnx", None, "model file not found: "),
            ("empty.onnx", b"", "is empty (0 bytes)"),
            ("text.onnx", b"this is no model", "text.onnx"),
            ("page.onnx", b"<!DOCTYPE html><html>", "is a web page, not a model"),
            ("pointer.onnx", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
            ("model.h5", b"\x89HDF", "no runtime reads '.h5'"),
        ],
    )
    def test_a_file_that_is_no_model_is_one_line(
        self, tmp_path: Path, capsys: Capture, name: str, content: bytes | None, told: str
    ) -> None:
        write_crops(tmp_path / "crops", 1)
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert embed(tmp_path / name, tmp_path / "crops", "-o", tmp_path / "out.npz") == 1
        assert told in error_line(capsys.readouterr().err)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ([], "the following arguments are required: CROPS, -m/--model, -o/--output"),
            (["crops", "-m", "x.onnx"], "the following arguments are required: -o/--output"),
            (["crops", "-m", "x.onnx", "-o", "x.npz", "--on-error", "shout"], "invalid choice: 'shout'"),
            (["crops", "-m", "x.onnx", "-o", "x.npz", "--pixels", "purple"], "invalid choice: 'purple'"),
            (["crops", "-m", "x.onnx", "-o", "x.npz", "--size", "256"], "'256' is not HEIGHTxWIDTH, e.g. 256x128"),
            (["crops", "-m", "x.onnx", "-o", "x.npz", "--threads", "0"], "'0' is not a whole number above 0"),
            (["crops", "-m", "x.onnx", "-o", "x.npz", "--backend", "abacus"], "invalid choice: 'abacus'"),
            (["crops", "-m", "x.onnx", "-o", "x.npz", "--frob"], "unrecognized arguments: --frob"),
            (["crops", "-m", "x.onnx", "-o", "x.npz", "-q", "-v"], "not allowed with argument"),
        ],
    )
    def test_wrong_flags_are_exit_code_two_and_one_line(self, capsys: Capture, arguments: list[str], told: str) -> None:
        assert main(["embed", *arguments]) == 2
        message = error_line(capsys.readouterr().err)
        assert told in message and "--help`" in message


COUNT = 512


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interruptions") / "crops"
    write_crops(folder, COUNT)
    return folder


@pytest.fixture(scope="module")
def whole(osnet: Path, crops: Path) -> bytes:
    """What a run that nobody interrupts writes."""
    output = crops.with_name("whole.npz")
    assert sightline("embed", crops, "-m", osnet, "-o", output).returncode == 0
    return output.read_bytes()


class TestInterruptions:
    """Real processes, really killed. The tests of the journal cut its files at every byte."""

    def interrupted(self, osnet: Path, crops: Path, output: Path, *, rows: int, how: signal.Signals) -> tuple[int, str]:
        """Run until so many rows are on disk, then send the signal. Returns the exit code and stderr."""
        process = started("embed", crops, "-m", osnet, "-o", output, "--threads", "1")
        lines = output.with_name(output.name + ".part") / "rows.jsonl"
        while process.poll() is None and not (lines.exists() and lines.read_bytes().count(b"\n") >= rows):
            time.sleep(0.001)
        process.send_signal(how)
        _, stderr = process.communicate(timeout=60)
        return process.returncode, stderr

    def test_a_run_killed_again_and_again_ends_with_the_same_bytes(
        self, osnet: Path, crops: Path, whole: bytes, tmp_path: Path
    ) -> None:
        chance, output = random.Random(11), tmp_path / "out.npz"
        for rows in sorted(chance.randrange(1, 250) for _ in range(4)):
            code, _ = self.interrupted(osnet, crops, output, rows=rows, how=signal.SIGKILL)
            assert code == -signal.SIGKILL and not output.exists()
        finished = sightline("embed", crops, "-m", osnet, "-o", output)
        assert finished.returncode == 0 and "continuing: " in finished.stderr
        assert output.read_bytes() == whole
        assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]

    def test_ctrl_c_tells_what_is_kept_and_how_to_go_on(
        self, osnet: Path, crops: Path, whole: bytes, tmp_path: Path
    ) -> None:
        output = tmp_path / "out.npz"
        code, stderr = self.interrupted(osnet, crops, output, rows=70, how=signal.SIGINT)
        assert code == 130 and "Traceback" not in stderr
        kept = (tmp_path / "out.npz.part/rows.jsonl").read_bytes().count(b"\n")
        after = f" of {COUNT} images are kept in {output}.part; the same command goes on from there"
        # The signal may come between the moment a row is on disk and the moment it is counted.
        assert stderr.strip() in {f"sightline: interrupted: {count}{after}" for count in (kept, kept - 1)}
        finished = sightline("embed", crops, "-m", osnet, "-o", output)
        assert finished.stderr == f"sightline: continuing: {kept} of {COUNT} images are already done\n"
        assert output.read_bytes() == whole

    def test_two_at_once_do_not_write_the_same_file(self, osnet: Path, crops: Path, tmp_path: Path) -> None:
        output = tmp_path / "out.npz"
        first = started("embed", crops, "-m", osnet, "-o", output)
        lines = output.with_name("out.npz.part") / "rows.jsonl"
        while first.poll() is None and not (lines.exists() and lines.stat().st_size):
            time.sleep(0.001)
        first.send_signal(signal.SIGSTOP)
        try:
            second = sightline("embed", crops, "-m", osnet, "-o", output)
        finally:
            first.send_signal(signal.SIGCONT)
        assert second.returncode == 1
        assert "is being written by another `sightline embed`" in error_line(second.stderr)
        first.communicate(timeout=60)
        assert first.returncode == 0 and len(read_features(output).paths) == COUNT

    def test_the_work_of_another_model_is_kept_until_restart_is_said(
        self, osnet: Path, bare_osnet: Path, crops: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        output = tmp_path / "out.npz"
        self.interrupted(osnet, crops, output, rows=10, how=signal.SIGKILL)
        other = (bare_osnet, crops, "-o", output, "--pixels", "omz")
        assert embed(*other) == 1
        assert "--restart to drop it" in error_line(capsys.readouterr().err)
        assert embed(*other, "--restart") == 0
        assert capsys.readouterr().err == ""
        assert read_features(output).vectors.shape == (COUNT, 512)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 KiB, where the system lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


class TestFullDisks:
    def test_a_full_disk_is_one_line_and_leaves_no_half_file(
        self, osnet: Path, tmp_path: Path, small_disk: Path
    ) -> None:
        """A vector of 512 numbers takes 2 KiB: 40 of them fit, their second copy in the finished file does not."""
        write_crops(tmp_path / "crops", 40)
        run = sightline("embed", tmp_path / "crops", "-m", osnet, "-o", small_disk / "out.npz")
        assert run.returncode == 1
        assert error_line(run.stderr).startswith(f"cannot write {small_disk / 'out.npz'}")
        assert "the disk is full; free some space and run again" in run.stderr
        assert [path.name for path in small_disk.iterdir()] == ["out.npz.part"]

    def test_a_limit_on_files_is_met_while_embedding_and_the_run_goes_on_without_it(
        self, osnet: Path, tmp_path: Path
    ) -> None:
        resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
        write_crops(tmp_path / "crops", 20)
        arguments = ("embed", tmp_path / "crops", "-m", osnet, "-o", tmp_path / "out.npz")
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        run = sightline(
            *arguments,
            before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (25_000, hard)),
            PYTHONDONTWRITEBYTECODE="1",  # the limit is on those files too, and Python leaves them half written
        )
        assert run.returncode == 1
        assert error_line(run.stderr) == f"cannot write {tmp_path / 'out.npz.part'}: File too large"
        assert not (tmp_path / "out.npz").exists()
        finished = sightline(*arguments)
        assert finished.returncode == 0
        assert "continuing: 12 of 20 images" in finished.stderr  # 12 × 512 × 4 bytes < 25 000 < 13 × 512 × 4
        assert len(read_features(tmp_path / "out.npz").paths) == 20
