"""`sightline ascend`: the whole chain, and each of its actions, as somebody at a terminal meets them."""

from __future__ import annotations

import json
import logging
import platform
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image as PillowImage
from running import error_line

from market_folders import paint_market, slow_rank_1_and_map
from painted_people import mean_colour_model
from sightline.cli import main
from sightline.deploy.ascend.dumps import read_dumps
from sightline.deploy.ascend.info import read_info
from sightline.nets.checkpoint import save_checkpoint
from sightline.nets.osnet import build_osnet

Capture = pytest.CaptureFixture[str]
SIZE_HW = (64, 32)
ARCH = "osnet_x0_25"
CHAIN = ("--batches", "1,4", "--ranked", "1,4", "--round", "3")


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    level = logging.getLogger("sightline").level
    yield
    logging.getLogger("sightline").setLevel(level)


def ascend(*arguments: str | Path) -> int:
    return main(["ascend", *map(str, arguments)])


def refused(capsys: Capture, *arguments: str | Path) -> str:
    capsys.readouterr()
    assert ascend("-q", *arguments) == 1
    return error_line(capsys.readouterr().err)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which the data set lies under its published name."""
    root = tmp_path_factory.mktemp("data")
    paint_market(root / "market1501" / "Market-1501-v15.09.15", people=10, size_hw=SIZE_HW)
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "osnet_x0_25_market_softmax.pth"
    save_checkpoint(path, build_osnet(ARCH, seed=3).eval())
    return path


@pytest.fixture(scope="module")
def work(market: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chain, walked once from a checkpoint to the report."""
    work = tmp_path_factory.mktemp("chain") / "ascend"
    data = ("--dataset", "market1501", "--data-root", market)
    assert ascend("run", "--weights", checkpoint, "--size", "64x32", *data, *CHAIN, "--work", work) == 0
    return work


class TestTheChain:
    def test_every_file_of_the_guide_is_there(self, work: Path) -> None:
        expected = {
            "osnet_x0_25.onnx",
            "osnet_x0_25_bs1_sim.onnx",
            "osnet_x0_25_bs4_sim.onnx",
            "query_prep_bin.info",
            "gallery_prep_bin.info",
            "result_bs1.json",
            "result_bs1.details.json",
            "result_bs4.json",
            "report.md",
            "report.json",
            "report.png",
            "result/PureInfer_perf_of_osnet_x0_25_bs1_sim_in_device_0.txt",
            "result/PureInfer_perf_of_osnet_x0_25_bs4_sim_in_device_0.txt",
            "result/perf_vision_batchsize_1_device_0.txt",
            "result/perf_vision_batchsize_1_device_1.txt",
            "result/perf_vision_batchsize_4_device_2.txt",
            "result/perf_vision_batchsize_4_device_3.txt",
        }
        there = {path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file()}
        assert expected <= there
        for device, count in ((0, 20), (1, 72), (2, 20), (3, 72)):
            assert len(list((work / "result" / f"dumpOutput_device{device}").glob("*_1.txt"))) == count

    def test_its_figures_are_those_of_pytorch_one_comparison_after_another(self, work: Path, market: Path) -> None:
        home = market / "market1501" / "Market-1501-v15.09.15"
        query, gallery = (features_by_torch(home / part) for part in ("query", "bounding_box_test"))
        rank_1, mean_ap = slow_rank_1_and_map(query, gallery)
        assert rank_1 < 1 and 0.15 < mean_ap < 0.95, "the material should be neither hopeless nor trivial"
        for batch in (1, 4):
            values = json.loads((work / f"result_bs{batch}.json").read_text())["value"]
            assert [item["key"] for item in values] == ["R1", "mAP"]
            assert all(isinstance(item["value"], str) for item in values)
            assert [float(item["value"]) for item in values] == pytest.approx([rank_1, mean_ap], abs=1e-6)

    def test_by_cosine_they_are_those_of_sightline_eval(self, work: Path, market: Path, tmp_path: Path) -> None:
        data = ("--dataset", "market1501", "--data-root", str(market), "--cmc")
        onnx = str(work / "osnet_x0_25.onnx")
        assert main(["eval", "-q", "--onnx", onnx, *data, "--out", str(tmp_path / "eval")]) == 0
        told = json.loads((tmp_path / "eval" / "metrics.json").read_text())["ranking"]
        ours = json.loads((work / "result_bs1.details.json").read_text())["cosine"]
        for figure in ("rank_1", "rank_5", "rank_10", "map_mean_precision", "map_trapezoid", "minp"):
            assert ours[figure] == pytest.approx(told[figure], abs=1e-6), figure
        assert (ours["queries"], ours["queries_skipped"]) == (told["queries"], told["queries_skipped"]) == (20, 0)

    def test_the_bins_are_those_of_the_guides_script(self, work: Path, market: Path) -> None:
        home = market / "market1501" / "Market-1501-v15.09.15" / "query"
        for path in sorted(home.iterdir()):
            assert (work / "query_prep_dataset" / f"{path.stem}.bin").read_bytes() == as_torchvision(path).tobytes()

    def test_the_lists_are_of_paths_as_seen_from_its_folder(self, work: Path) -> None:
        first = (work / "query_prep_bin.info").read_text().splitlines()[0]
        assert first == "0 query_prep_dataset/0001_c1s1_000100_00.bin 32 64"
        assert all(item.path.is_file() for item in read_info(work / "query_prep_bin.info", home=work))

    def test_the_report_says_that_nothing_was_lost_and_that_no_ascend_was_there(self, work: Path) -> None:
        report = json.loads((work / "report.json").read_text())
        assert report["within_tolerance"] is True and report["smallest_cosine"] > 0.99999
        assert report["source"]["name"] == "osnet_x0_25.onnx on the CPU"
        assert [row["card"] for row in report["rows"]] == [None, None]
        assert "these are not speeds of an Ascend310" in (work / "report.md").read_text()

    def test_walked_again_it_runs_nothing_that_is_done(self, work: Path, market: Path, capsys: Capture) -> None:
        data = ("--dataset", market / "market1501" / "Market-1501-v15.09.15")
        assert ascend("run", "--weights", work / "osnet_x0_25.onnx", *data, *CHAIN, "--work", work) == 0
        said = capsys.readouterr().out
        assert len(re.findall(r"dumpOutput_device\d: 0 dumps, (?:20|72) there before", said)) == 4
        assert "not run: atc --framework=5 --model=./osnet_x0_25_bs1_sim.onnx" in said
        assert "not done on this machine: atc is not on the PATH" in said

    def test_where_the_programs_of_an_ascend_are_they_do_the_work(
        self, market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        """Programs that speak as atc and benchmark do, computing what the model computes."""
        monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "deploy"))
        import ascend_programs

        shrunk = paint_market(tmp_path / "market", people=6, size_hw=(16, 8))
        ascend_programs.install(tmp_path / "bin", "atc", ascend_programs.ATC)
        ascend_programs.install(tmp_path / "bin", f"benchmark.{platform.machine()}", ascend_programs.BENCHMARK)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
        model, home = mean_colour_model(tmp_path / "colour.onnx"), tmp_path / "ascend"
        assert ascend("run", "-w", model, "--dataset", shrunk, *CHAIN, "--work", home, "--no-fallback") == 0
        report = json.loads((home / "report.json").read_text())
        assert report["within_tolerance"] is True and report["smallest_cosine"] == pytest.approx(1)
        assert [row["card"] for row in report["rows"]] == pytest.approx([962.488, 962.488])
        assert (home / "colour_bs4.om").is_file()
        said = capsys.readouterr().out
        assert "dumpOutput_device3: 48 dumps by benchmark" in said
        assert "not done on this machine" not in said and "stand-in" not in said

    def test_an_accuracy_that_is_lost_is_an_exit_code(self, work: Path, capsys: Capture) -> None:
        assert ascend("report", work, "--source", "99.9,99.9") == 1
        assert "accuracy LOST: source R1 99.90%, mAP 99.90%" in capsys.readouterr().out


def as_torchvision(path: Path) -> np.ndarray:
    """Resize, ToTensor and Normalize of one image, (3, H, W)."""
    rgb = PillowImage.open(path).convert("RGB").resize(SIZE_HW[::-1], PillowImage.Resampling.BILINEAR)
    tensor = torch.from_numpy(np.array(rgb)).permute(2, 0, 1).to(torch.float32).div(255)
    mean, std = (torch.tensor(row).view(-1, 1, 1) for row in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    return tensor.sub_(mean).div_(std).contiguous().numpy()


def features_by_torch(folder: Path) -> dict[str, list[float]]:
    net = build_osnet(ARCH, seed=3).eval()
    paths = sorted(folder.iterdir())
    with torch.inference_mode():
        rows = net(torch.from_numpy(np.stack([as_torchvision(path) for path in paths])))
    return {path.stem: row.tolist() for path, row in zip(paths, rows, strict=True)}


class TestExport:
    def test_an_onnx_of_any_batch_becomes_files_of_one_each(self, tmp_path: Path, capsys: Capture) -> None:
        model = mean_colour_model(tmp_path / "colour.onnx")
        assert ascend("export", "-w", model, "--batches", "1,16", "-o", tmp_path / "out") == 0
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "colour_bs16_sim.onnx",
            "colour_bs1_sim.onnx",
        ]
        assert "colour_bs16_sim.onnx: batch 16, differs from colour.onnx by" in capsys.readouterr().out

    def test_the_names_of_a_checkpoints_file_are_those_of_the_guide(self, work: Path) -> None:
        session = onnxruntime.InferenceSession(str(work / "osnet_x0_25_bs4_sim.onnx"))
        [taken], [given] = session.get_inputs(), session.get_outputs()
        assert (taken.name, taken.shape) == ("image", [4, 3, 64, 32])
        assert (given.name, given.shape) == ("feature", [4, 512])

    def test_random_weights_need_a_network(self, tmp_path: Path, capsys: Capture) -> None:
        assert "--untrained needs --arch" in refused(capsys, "export", "--untrained", "-o", tmp_path)

    def test_a_model_that_is_not_there_is_named(self, tmp_path: Path, capsys: Capture) -> None:
        for name in ("gone.onnx", "gone.pth"):
            assert f"not found: {tmp_path / name}" in refused(capsys, "export", "-w", tmp_path / name, "-o", tmp_path)

    def test_a_folder_that_cannot_be_made_is_one_error(self, tmp_path: Path, capsys: Capture) -> None:
        (tmp_path / "file").touch()
        model = mean_colour_model(tmp_path / "colour.onnx")
        assert "cannot write" in refused(capsys, "export", "-w", model, "-o", tmp_path / "file" / "x")

    @pytest.mark.parametrize("batches", ["", "0", "1,,2", "a"])
    def test_batches_that_are_none_are_wrong_usage(self, tmp_path: Path, capsys: Capture, batches: str) -> None:
        assert ascend("export", "-w", tmp_path, "--batches", batches) == 2
        assert "is not a whole number above 0" in capsys.readouterr().err


class TestCommands:
    def test_atc_is_printed_where_it_is_not_and_the_exit_code_says_so(self, work: Path, capsys: Capture) -> None:
        files = [work / f"osnet_x0_25_bs{batch}_sim.onnx" for batch in (1, 4)]
        assert ascend("atc", *files, "--soc-version", "310P3", "--log", "error") == 3
        told = capsys.readouterr()
        lines = [shlex.split(line) for line in told.out.splitlines()]
        assert [line[0] for line in lines] == ["atc", "atc"]
        assert {"--input_shape=image:4,3,64,32", "--soc_version=Ascend310P3", "--log=error"} <= set(lines[1])
        assert told.err.startswith("sightline: nothing was converted: atc is not on the PATH")

    def test_asked_to_print_it_prints_and_all_is_well(self, work: Path) -> None:
        assert ascend("atc", work / "osnet_x0_25_bs1_sim.onnx", "--print") == 0

    def test_an_om_without_its_device_is_a_command_and_an_exit_code(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        guide = "./benchmark.x86_64 -round=50 -om_path=osnet_x1_0_bs16.om -device_id=2 -batch_size=16"
        assert ascend("infer", *shlex.split(guide)[1:]) == 3
        told = capsys.readouterr()
        assert told.out == guide + "\n"
        assert "nothing was run: no tool for .om files here" in told.err
        error = refused_after_a_command(capsys, "infer", "-m", "osnet_x1_0_bs16.om", "--no-fallback")
        assert "needs an Ascend" in error

    def test_a_chain_that_must_not_stand_in_does_not_begin(self, market: Path, tmp_path: Path, capsys: Capture) -> None:
        model = mean_colour_model(tmp_path / "colour.onnx")
        data = ("--dataset", "market1501", "--data-root", market, "--work", tmp_path / "w")
        assert "no Ascend here: atc is not" in refused(capsys, "run", "-w", model, *data, "--no-fallback")
        assert not (tmp_path / "w").exists()


def refused_after_a_command(capsys: Capture, *arguments: str) -> str:
    assert ascend(*arguments) == 1
    return error_line(capsys.readouterr().err)


class TestStepByStep:
    """The guide's own order, each with the guide's own words."""

    def test_the_steps_of_the_guide_lead_to_the_figures_of_the_chain(
        self, work: Path, market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        monkeypatch.chdir(tmp_path)
        home, model = market / "market1501" / "Market-1501-v15.09.15", work / "osnet_x0_25_bs4_sim.onnx"
        sides = (("query", "query", 0), ("gallery", "bounding_box_test", 1))
        for side, folder, device in sides:
            assert ascend("preprocess", home / folder, f"./{side}_prep_dataset/", "-m", model) == 0
            assert ascend("info", "bin", f"./{side}_prep_dataset", f"./{side}_prep_bin.info", "32", "64") == 0
            words = f"-model_type=vision -device_id={device} -batch_size=4 -om_path={model} "
            words += f"-input_text_path=./{side}_prep_bin.info -input_width=32 -input_height=64 -output_binary=False"
            assert ascend("infer", *words.split(), "-useDvpp=False") == 0
        capsys.readouterr()
        dumps = ("result/dumpOutput_device0/", "result/dumpOutput_device1/")
        assert ascend("metrics", *dumps, "./", "result_bs4.json") == 0
        assert (tmp_path / "result_bs4.json").read_bytes() == (work / "result_bs4.json").read_bytes()
        assert "20 queries, 0 skipped, 72 gallery images" in capsys.readouterr().out

    def test_rounds_of_noise_are_told_in_the_words_of_the_tool(
        self,
        work: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: Capture,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        model = work / "osnet_x0_25_bs1_sim.onnx"
        assert ascend("infer", "-round=4", f"-om_path={model}", "-device_id=0", "-batch_size=1") == 0
        told = capsys.readouterr()
        assert re.search(r"^\[INFO\] Dataset number: 3 finished cost [\d.]+ms$", told.out, re.MULTILINE)
        assert re.search(
            r"^\[INFO\] ave_throughputRate: [\d.]+samples/s, ave_latency: [\d.]+ms$", told.out, re.MULTILINE
        )
        assert "ASCEND:0 not available, falling back to CPU" in caplog.text

    def test_falling_back_can_be_refused(self, work: Path, tmp_path: Path, capsys: Capture) -> None:
        model = work / "osnet_x0_25_bs1_sim.onnx"
        error = refused(capsys, "infer", "-m", model, "--work", tmp_path, "--no-fallback")
        assert "ASCEND:0 not available" in error

    def test_without_a_model_the_inputs_are_those_of_the_guide(
        self, market: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        home = market / "market1501" / "Market-1501-v15.09.15" / "bounding_box_train"
        assert ascend("preprocess", home, tmp_path / "bins") == 0
        assert {path.stat().st_size for path in (tmp_path / "bins").iterdir()} == {393_216}
        assert "2 .bin files of 393,216 bytes" in capsys.readouterr().out

    def test_size_and_pixels_can_be_said(self, market: Path, tmp_path: Path) -> None:
        home = market / "market1501" / "Market-1501-v15.09.15" / "bounding_box_train"
        flags = ("--size", "8x4", "--pixels", "omz")
        assert ascend("-q", "preprocess", home, tmp_path / "bins", *flags) == 0
        bins = sorted((tmp_path / "bins").iterdir())
        rows = np.fromfile(bins[0], "<f4")
        assert rows.shape == (3 * 8 * 4,) and rows.max() > 20 and np.array_equal(rows, rows.round())

    def test_a_list_of_images_has_their_own_sizes(self, market: Path, tmp_path: Path) -> None:
        home = market / "market1501" / "Market-1501-v15.09.15" / "bounding_box_train"
        assert ascend("info", "jpg", home, tmp_path / "a.info") == 0
        assert (tmp_path / "a.info").read_text().splitlines()[0].endswith("0001_c1s1_000400_00.jpg 32 64")

    def test_a_list_of_bins_asks_for_their_size(self, tmp_path: Path, capsys: Capture) -> None:
        assert "needs WIDTH and HEIGHT" in refused(capsys, "info", "bin", tmp_path, tmp_path / "a.info")

    @pytest.mark.parametrize(
        ("flag", "said"),
        [("-input_width=128", "-input_width is 128, but"), ("-useDvpp=True", "expected False")],
    )
    def test_words_of_the_tool_that_do_not_hold_are_refused(
        self, work: Path, capsys: Capture, flag: str, said: str
    ) -> None:
        files = ("-m", work / "osnet_x0_25_bs1_sim.onnx", "--info", work / "query_prep_bin.info", "--work", work)
        assert said in refused(capsys, "infer", *files, flag)


class TestFigures:
    def test_missing_dumps_are_named_where_a_list_says_what_there_should_be(
        self, work: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        query, gallery = (work / "result" / f"dumpOutput_device{device}" for device in (0, 1))
        part = tmp_path / "part"
        part.mkdir()
        for path in sorted(query.iterdir())[2:]:
            (part / path.name).write_bytes(path.read_bytes())
        error = refused(
            capsys, "metrics", part, gallery, tmp_path, "result_bs1.json", "--query-info", work / "query_prep_bin.info"
        )
        assert "2 of 20 dumps are missing: 0001_c1s1_000100_00, 0001_c2s1_000100_00" in error
        assert not (tmp_path / "result_bs1.json").exists()
        assert ascend("metrics", part, gallery, tmp_path, "result_bs1.json", "--json") == 0
        assert json.loads(capsys.readouterr().out)["query"]["dumps"] == 18

    def test_dumps_of_nobody_asked_for_are_told(self, work: Path, tmp_path: Path, capsys: Capture) -> None:
        query, gallery = (work / "result" / f"dumpOutput_device{device}" for device in (0, 1))
        lines = (work / "query_prep_bin.info").read_text().splitlines()[:-1]
        (tmp_path / "fewer.info").write_text("\n".join(lines))
        assert ascend("metrics", query, gallery, tmp_path, "--query-info", tmp_path / "fewer.info") == 0
        assert "note: " in (told := capsys.readouterr()).err and "1 dumps of no listed input left out" in told.err
        assert "19 queries" in told.out

    def test_the_vectors_of_a_run_are_read_back_from_its_dumps(self, work: Path, market: Path) -> None:
        home = market / "market1501" / "Market-1501-v15.09.15" / "query"
        dumps = read_dumps(work / "result" / "dumpOutput_device0")
        expected = features_by_torch(home)
        rows = np.array([expected[stem] for stem in dumps.stems])
        np.testing.assert_allclose(dumps.vectors, rows, atol=1e-4 * np.abs(rows).max())

    def test_a_report_can_be_had_as_json(self, work: Path, capsys: Capture) -> None:
        assert ascend("report", work, "--json", "--soc-version", "910") == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["soc"], [row["batch"] for row in report["rows"]]) == ("Ascend910", [1, 4])

    def test_an_empty_folder_has_no_report(self, tmp_path: Path, capsys: Capture) -> None:
        assert "run the chain first" in refused(capsys, "report", tmp_path)


class TestData:
    def test_a_named_data_set_needs_its_root(self, tmp_path: Path, capsys: Capture) -> None:
        model = mean_colour_model(tmp_path / "colour.onnx")
        assert "pass --data-root" in refused(capsys, "run", "-w", model, "--dataset", "market1501")

    def test_a_folder_that_lacks_a_part_is_told_which(self, tmp_path: Path, capsys: Capture) -> None:
        model = mean_colour_model(tmp_path / "colour.onnx")
        (tmp_path / "query").mkdir()
        error = refused(capsys, "run", "-w", model, "--dataset", tmp_path)
        assert error == f"no {tmp_path} here: expected {tmp_path / 'bounding_box_test'}"

    def test_an_action_is_needed(self, capsys: Capture) -> None:
        assert ascend() == 2
        assert "the following arguments are required: ACTION" in capsys.readouterr().err


def test_the_chain_needs_no_torch_once_there_is_an_onnx() -> None:
    """Read as a stranger would: in a fresh interpreter, with torch made impossible to import."""
    import subprocess

    program = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import sightline.cli.ascend, sightline.deploy.ascend.chain, sightline.deploy.ascend.report_plot\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
