"""Runs over a list and over noise: by the stand-in, and by programs that speak as the device's tools do."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ascend_programs import AIS_BENCH, BENCHMARK, DOES_NOTHING, MSAME, install, install_module

from painted_people import SIZE_HW, mean_colour_model
from sightline.deploy.ascend import tools
from sightline.deploy.ascend.batches import fix_batch
from sightline.deploy.ascend.dumps import read_dumps
from sightline.deploy.ascend.infer import run_list, run_list_on_device, run_noise, run_noise_on_device
from sightline.deploy.ascend.info import Input, read_info, write_info
from sightline.deploy.ascend.metrics import run_record
from sightline.deploy.ascend.performance import PureInfer, read_interface, read_pure
from sightline.deploy.ascend.stand_in import device_name
from sightline.deploy.ascend.tools import Job, batch_in_name, command, pure_of, tool_here
from sightline.errors import BackendError, ConfigError, ModelOutputError, OutputError
from sightline.runtime.open import open_session
from sightline.runtime.session import Session

BYTES = 3 * SIZE_HW[0] * SIZE_HW[1] * 4


def inputs_in(work: Path, count: int = 5, seed: int = 0) -> list[Input]:
    """Bins of noise around a level of their own, and their list."""
    folder = work / "bins"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        planes = rng.normal(rng.normal(0, 1, (3, 1, 1)), 0.3, (3, *SIZE_HW)).astype("<f4")
        planes.tofile(folder / f"{index:04}_c1s1_000151_01.bin")
    listing = [Input(Path("bins", path.name), SIZE_HW[1], SIZE_HW[0]) for path in sorted(folder.iterdir())]
    write_info(listing, work / "bins.info")
    return read_info(work / "bins.info", home=work)


def expected_rows(inputs: list[Input]) -> np.ndarray:
    return np.stack([np.fromfile(item.path, "<f4").reshape(3, -1).mean(axis=1) for item in inputs])


def opened(folder: Path, *, batch: int | None = None) -> Session:
    source = mean_colour_model(folder / "m.onnx")
    if batch is None:
        return open_session(source, "onnxruntime", "cpu")
    target = folder / f"m_bs{batch}_sim.onnx"
    fix_batch(source, target, batch=batch)
    return open_session(target, "onnxruntime", "cpu")


class TestStandIn:
    @pytest.mark.parametrize("batch", [None, 1, 2, 4, 8])
    @pytest.mark.parametrize("binary", [False, True])
    def test_every_input_has_a_dump_whatever_the_batch(self, tmp_path: Path, batch: int | None, binary: bool) -> None:
        inputs = inputs_in(tmp_path)
        with opened(tmp_path, batch=batch) as session:
            outcome = run_list(session, inputs, tmp_path, device_id=3, binary=binary)
        assert outcome.dumps == tmp_path / "result" / "dumpOutput_device3"
        assert (outcome.made, outcome.kept) == (5, 0)
        suffix = "_1.bin" if binary else "_1.txt"
        assert sorted(path.name for path in outcome.dumps.iterdir()) == [item.stem + suffix for item in inputs]
        dumps = read_dumps(outcome.dumps, expected=[item.stem for item in inputs])
        np.testing.assert_allclose(dumps.vectors, expected_rows(inputs), atol=1e-6)

    def test_its_files_say_who_it_was(self, tmp_path: Path) -> None:
        with opened(tmp_path) as session:
            outcome = run_list(session, inputs_in(tmp_path), tmp_path, batch=2)
        rate, by = read_interface(tmp_path / "result" / "perf_vision_batchsize_2_device_0.txt")
        assert rate > 0
        assert by == "sightline's stand-in: onnxruntime, not an Ascend device, but on cpu, float32"
        record = run_record(outcome.dumps)
        assert record is not None
        assert (record["runtime"], record["finished"], record["inputs"], record["batch"]) == (by, True, 5, 2)

    def test_without_the_provider_of_an_ascend_the_processor_is_asked_for(self) -> None:
        import onnxruntime

        there = "CANNExecutionProvider" in onnxruntime.get_available_providers()
        assert device_name(2) == ("ascend:2" if there else "cpu")

    def test_a_file_of_another_batch_is_refused(self, tmp_path: Path) -> None:
        with (
            opened(tmp_path, batch=4) as session,
            pytest.raises(ConfigError, match="fixed batch of 4; asked for 16: use the file of that batch"),
        ):
            run_list(session, inputs_in(tmp_path), tmp_path, batch=16)

    def test_a_list_of_another_size_is_refused_before_anything_runs(self, tmp_path: Path) -> None:
        inputs = [Input(item.path, 128, 256) for item in inputs_in(tmp_path)]
        with opened(tmp_path) as session, pytest.raises(ConfigError, match=r"is 128x256; m\.onnx takes 8x16"):
            run_list(session, inputs, tmp_path)
        assert not (tmp_path / "result").exists()

    def test_inputs_that_are_gone_or_cut_are_counted_before_anything_runs(self, tmp_path: Path) -> None:
        inputs = inputs_in(tmp_path)
        with opened(tmp_path) as session:
            inputs[1].path.write_bytes(bytes(BYTES - 4))
            with pytest.raises(ConfigError, match=rf"1 of 5 inputs are not of {BYTES} bytes: .*0001_c1"):
                run_list(session, inputs, tmp_path)
            inputs[2].path.unlink()
            with pytest.raises(ConfigError, match=r"1 of 5 inputs are not there: .*0002_c1"):
                run_list(session, inputs, tmp_path)

    def test_an_input_that_makes_the_model_overflow_is_named(self, tmp_path: Path) -> None:
        inputs = inputs_in(tmp_path)
        np.full(BYTES // 4, np.nan, "<f4").tofile(inputs[3].path)
        with opened(tmp_path) as session, pytest.raises(ModelOutputError, match=r"0003_c1.* gave NaN or infinity"):
            run_list(session, inputs, tmp_path, batch=1)
        assert len(list((tmp_path / "result" / "dumpOutput_device0").iterdir())) == 3


class TestGoingOn:
    def stopped(self, work: Path, inputs: list[Input], *, after: int) -> None:
        """A run that is interrupted after some batches of one."""

        def interrupt(_: int) -> None:
            nonlocal after
            after -= 1
            if after == 0:
                raise KeyboardInterrupt

        with opened(work) as session, pytest.raises(KeyboardInterrupt):
            run_list(session, inputs, work, batch=1, progress=interrupt)

    def test_a_run_that_was_stopped_makes_only_what_is_missing(self, tmp_path: Path) -> None:
        inputs = inputs_in(tmp_path)
        self.stopped(tmp_path, inputs, after=2)
        with opened(tmp_path) as session:
            outcome = run_list(session, inputs, tmp_path, batch=1)
        assert (outcome.made, outcome.kept) == (3, 2)
        np.testing.assert_allclose(read_dumps(outcome.dumps).vectors, expected_rows(inputs), atol=1e-6)

    def test_a_run_that_was_done_is_left_as_it_is(self, tmp_path: Path) -> None:
        inputs = inputs_in(tmp_path)
        with opened(tmp_path) as session:
            first = run_list(session, inputs, tmp_path)
            before = {path: path.stat().st_mtime_ns for path in [*first.dumps.iterdir(), first.speed]}
            again = run_list(session, inputs, tmp_path)
        assert (again.made, again.kept) == (0, 5)
        assert {path: path.stat().st_mtime_ns for path in before} == before

    @pytest.mark.parametrize("change", ["input", "model", "batch", "form", "list"])
    def test_whatever_a_dump_depends_on_makes_it_another_run(self, tmp_path: Path, change: str) -> None:
        inputs = inputs_in(tmp_path)
        self.stopped(tmp_path, inputs, after=2)
        if change == "input":
            os.utime(inputs[0].path, ns=(1, 1))
        if change == "list":
            inputs.pop()
        (tmp_path / "other").mkdir()
        home = tmp_path / "other" if change == "model" else tmp_path
        batch, binary = (2 if change == "batch" else 1), change == "form"
        with opened(home) as session:
            with pytest.raises(OutputError, match=r"holds 2 dumps of another run, e\.g\. 0000_c1.*pass --restart"):
                run_list(session, inputs, tmp_path, batch=batch, binary=binary)
            outcome = run_list(session, inputs, tmp_path, batch=batch, binary=binary, restart=True)
        assert (outcome.made, outcome.kept) == (len(inputs), 0)
        assert len(list(outcome.dumps.iterdir())) == len(inputs)

    def test_restarting_removes_dumps_and_nothing_else(self, tmp_path: Path) -> None:
        folder = tmp_path / "result" / "dumpOutput_device0"
        folder.mkdir(parents=True)
        (folder / "notes.md").write_text("mine")
        (folder / "9999_c1s1_000151_01_1.txt").write_text("1 2 3")
        with opened(tmp_path) as session:
            run_list(session, inputs_in(tmp_path), tmp_path, restart=True)
        assert (folder / "notes.md").read_text() == "mine"
        assert not (folder / "9999_c1s1_000151_01_1.txt").exists()

    def test_a_damaged_record_counts_as_none(self, tmp_path: Path) -> None:
        inputs = inputs_in(tmp_path)
        self.stopped(tmp_path, inputs, after=2)
        for content in ("", "[]", "{}"):
            (tmp_path / "result" / "run_device0.json").write_text(content)
            with opened(tmp_path) as session, pytest.raises(OutputError, match="of another run"):
                run_list(session, inputs, tmp_path, batch=1)

    def test_two_runs_do_not_write_into_one_folder_at_once(self, tmp_path: Path) -> None:
        inputs = inputs_in(tmp_path)

        def meddle(_: int) -> None:
            with opened(tmp_path) as other, pytest.raises(OutputError, match="being written by another"):
                run_list(other, inputs, tmp_path)

        with opened(tmp_path) as session:
            run_list(session, inputs, tmp_path, batch=5, progress=meddle)


class TestNoise:
    def test_the_lines_and_the_file_are_those_of_the_tool(self, tmp_path: Path) -> None:
        with opened(tmp_path, batch=4) as session:
            lines = run_noise(session, tmp_path, device_id=2, rounds=7)
        path = tmp_path / "result" / "PureInfer_perf_of_m_bs4_sim_in_device_2.txt"
        assert lines[0].startswith("[INFO] Dataset number: 6 finished cost ")
        assert lines[1] == f"[INFO] PureInfer result saved in {path}"
        found = read_pure(path)
        assert lines[3] == (
            f"[INFO] ave_throughputRate: {found.throughput:.6g}samples/s, ave_latency: {found.latency_ms:.6g}ms"
        )
        assert found.throughput * found.latency_ms >= 999.99, "a mean of rates is never below the rate of the mean"
        assert found.by_stand_in


# By a tool of the device


TOOLS: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {}


def tool(name: str) -> Callable[[Callable[[Path, pytest.MonkeyPatch], None]], None]:
    def kept(make: Callable[[Path, pytest.MonkeyPatch], None]) -> None:
        TOOLS[name] = make

    return kept


@tool("benchmark")
def _benchmark(work: Path, _: pytest.MonkeyPatch) -> None:
    install(work, f"benchmark.{platform.machine()}", BENCHMARK)


@tool("ais_bench")
def _ais_bench(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_module(work / "modules", "ais_bench", AIS_BENCH)
    monkeypatch.syspath_prepend(str(work / "modules"))
    monkeypatch.setenv("PYTHONPATH", str(work / "modules"))


@tool("msame")
def _msame(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(work / "programs", "msame", MSAME)
    monkeypatch.setenv("PATH", str(work / "programs"), prepend=":")


def job(work: Path, *, batch: int = 1, binary: bool = True, noise: bool = False) -> Job:
    om = work / f"m_bs{batch}.om"
    om.write_bytes(b"om")
    size_wh = (SIZE_HW[1], SIZE_HW[0])
    if noise:
        return Job(om.absolute(), work, device_id=1, batch=batch, size_wh=size_wh)
    listing, folder = (work / "bins.info").absolute(), (work / "bins").absolute()
    return Job(
        om.absolute(),
        work,
        device_id=1,
        batch=batch,
        size_wh=size_wh,
        listing=listing,
        inputs=folder,
        binary=binary,
    )


class TestTools:
    def test_where_there_is_none_none_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert tool_here(tmp_path) == ""

    @pytest.mark.parametrize("name", TOOLS)
    @pytest.mark.parametrize("binary", [True, False])
    def test_each_is_found_run_and_its_dumps_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, binary: bool
    ) -> None:
        inputs = inputs_in(tmp_path)
        TOOLS[name](tmp_path, monkeypatch)
        assert tool_here(tmp_path) == name
        done = job(tmp_path, binary=binary)
        assert run_list_on_device(done, inputs, tool=name) == 5
        assert done.dumps == tmp_path / "result" / "dumpOutput_device1"
        dumps = read_dumps(done.dumps, expected=[item.stem for item in inputs])
        np.testing.assert_allclose(dumps.vectors, expected_rows(inputs), atol=1e-5)
        assert run_record(done.dumps) is None, "what a device made is not noted as the stand-in's"

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("benchmark", PureInfer(240.622, 4.24716)),
            ("ais_bench", PureInfer(640.0, 1.5625, "ais_bench on Ascend device 1")),
            ("msame", PureInfer(1000 / 4.25, 4.25, "msame on Ascend device 1")),
        ],
    )
    def test_the_speed_each_tells_ends_in_the_same_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: PureInfer
    ) -> None:
        TOOLS[name](tmp_path, monkeypatch)
        lines = run_noise_on_device(job(tmp_path, noise=True), tool=name)
        assert any("ave_throughputRate" in line for line in lines)
        found = read_pure(tmp_path / "result" / "PureInfer_perf_of_m_bs1_in_device_1.txt")
        assert found.throughput == pytest.approx(expected.throughput, rel=1e-5)
        assert found.latency_ms == pytest.approx(expected.latency_ms, rel=1e-5)
        assert (found.measured_by, found.by_stand_in) == (expected.measured_by, False)

    def test_a_sample_of_a_batch_of_sixteen_takes_a_sixteenth_of_its_time(self, tmp_path: Path) -> None:
        done = job(tmp_path, batch=16, noise=True)
        ais = pure_of("throughput 1000*batchsize.mean(16)/NPU_compute_time.mean(25.0): 640.0", done, tool="ais_bench")
        plain = pure_of("Inference average time : 25.0 ms", done, tool="msame")
        for found in (ais, plain):
            assert (found.throughput, found.latency_ms) == (640.0, 1.5625)

    def test_the_guides_commands_are_the_guides(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        listing, inputs = Path("query_prep_bin.info"), Path("query_prep_dataset")
        om = Path("osnet_x1_0_bs1.om")
        over_data = Job(om, tmp_path, device_id=0, batch=1, size_wh=(128, 256), listing=listing, inputs=inputs)
        assert str(command(over_data)) == (
            "./benchmark.x86_64 -model_type=vision -device_id=0 -batch_size=1 -om_path=osnet_x1_0_bs1.om "
            "-input_text_path=query_prep_bin.info -input_width=128 -input_height=256 -output_binary=False "
            "-useDvpp=False"
        )
        noise = Job(Path("osnet_x1_0_bs16.om"), tmp_path, device_id=2, batch=16)
        assert str(command(noise)) == (
            "./benchmark.x86_64 -round=50 -om_path=osnet_x1_0_bs16.om -device_id=2 -batch_size=16"
        )

    def test_msame_is_not_asked_for_batches_it_does_not_know(self, tmp_path: Path) -> None:
        inputs_in(tmp_path)
        with pytest.raises(ConfigError, match="expected a model of batch 1, not 4"):
            command(job(tmp_path, batch=4), tool="msame")

    def test_dumps_of_a_run_are_not_mixed_with_those_of_another(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inputs = inputs_in(tmp_path)
        TOOLS["ais_bench"](tmp_path, monkeypatch)
        run_list_on_device(job(tmp_path), inputs, tool="ais_bench")
        with pytest.raises(OutputError, match="holds the dumps of another run"):
            run_list_on_device(job(tmp_path), inputs, tool="ais_bench")
        assert run_list_on_device(job(tmp_path), inputs, tool="ais_bench", restart=True) == 5

    def test_a_tool_that_leaves_some_out_is_found_out(self, tmp_path: Path) -> None:
        inputs = inputs_in(tmp_path)
        install(tmp_path, f"benchmark.{platform.machine()}", BENCHMARK)
        write_info(inputs[:3], tmp_path / "bins.info")
        with pytest.raises(BackendError, match="benchmark left no dump of 2 of 5 inputs: 0003_c1"):
            run_list_on_device(job(tmp_path), inputs, tool="benchmark")

    def test_a_tool_that_tells_no_speed_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(BackendError, match="ais_bench told no throughput"):
            pure_of("[INFO] all is well", job(tmp_path, noise=True), tool="ais_bench")

    def test_an_msame_that_leaves_nothing_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        inputs = inputs_in(tmp_path)
        install(tmp_path / "programs", "msame", DOES_NOTHING)
        monkeypatch.setenv("PATH", str(tmp_path / "programs"), prepend=":")
        with pytest.raises(BackendError, match="msame left no folder"):
            run_list_on_device(job(tmp_path), inputs, tool="msame")

    @pytest.mark.parametrize(
        "line",
        [
            "throughput 1000*batchsize(16)/NPU_compute_time.mean(21.94): 729.2599603105127",
            "throughput 1000*batchsize.mean(1)/NPU_compute_time.mean(12.25): 729.2599603105127",
            "throughput (1000*batchsize/NPU_compute_time): 729.2599603105127",
            "Throughput 1000*batchsize.mean(1.0)/NPU_compute_time.mean(2.5): 729.2599603105127",
        ],
    )
    def test_every_wording_of_ais_bench_is_read(self, tmp_path: Path, line: str) -> None:
        found = pure_of(f"x\n[INFO] {line}\n", job(tmp_path, noise=True), tool="ais_bench")
        assert found.throughput == 729.2599603105127

    @pytest.mark.parametrize(("name", "batch"), [("osnet_x1_0_bs16", 16), ("osnet_x1_0_bs1_sim", 1), ("osnet_x1_0", 1)])
    def test_the_batch_of_an_om_is_in_its_name(self, name: str, batch: int) -> None:
        assert batch_in_name(Path(f"{name}.om")) == batch


def test_no_tool_lists_what_was_looked_for() -> None:
    assert tools.benchmark_program() == f"benchmark.{platform.machine()}"
    for name in ("ais_bench", "msame", tools.benchmark_program()):
        assert name in tools.NO_TOOL


def test_a_record_is_json_that_says_which_model(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        run_list(session, inputs_in(tmp_path), tmp_path)
        record = json.loads((tmp_path / "result" / "run_device0.json").read_text())
        assert record["fingerprint"] == session.card.fingerprint and len(record["sha256"]) == 64
