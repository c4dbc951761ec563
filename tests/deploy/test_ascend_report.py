"""Speeds in the words of the benchmark tool, and the report over them: against the figures that the guide prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sightline.deploy.ascend.performance import (
    STAND_IN,
    PureInfer,
    Spent,
    averages,
    pure_file,
    pure_files,
    read_interface,
    read_pure,
    round_lines,
    summary_lines,
    write_pure,
    write_vision,
)
from sightline.deploy.ascend.report import Source, figures, gather, markdown, read_source, remarks, table, write_report
from sightline.errors import ConfigError

# Of the guide: batch, samples/s and ms/sample of one device, and what it makes of them for a card of four.
GUIDE = [
    (1, 240.622, 4.24716, 962.488),
    (16, 643.052, 1.55994, 2572.208),
    (4, 604.718, 1.68188, 2418.872),
    (8, 715.699, 1.41114, 2862.796),
    (32, 632.875, 1.58384, 2531.5),
]
GUIDE_RESULT = (
    '{"title": "Overall statistical evaluation", "value": [{"key": "R1", "value": "0.94299287"}, '
    '{"key": "mAP", "value": "0.8257416732159705"}]}'
)
BY_US = f"{STAND_IN}: onnxruntime, not an Ascend device, but on cpu, float32"


class TestSpeeds:
    def test_rates_and_latencies_are_averaged_each_for_itself(self) -> None:
        """Two rounds of a batch of 4 in 10 and 30 ms: 400 and 133.3 samples/s, 2.5 and 7.5 ms each."""
        found = averages([10.0, 30.0], batch=4)
        assert found.throughput == pytest.approx((400 + 400 / 3) / 2)
        assert found.latency_ms == pytest.approx(5.0)

    def test_the_summary_is_in_the_words_of_the_tool(self) -> None:
        lines = summary_lines(
            PureInfer(240.622, 4.24716), Path("./result/PureInfer_perf_of_osnet_x1_0_bs1_sim_in_device_0.txt")
        )
        assert lines == [
            "[INFO] PureInfer result saved in result/PureInfer_perf_of_osnet_x1_0_bs1_sim_in_device_0.txt",
            "-----------------PureInfer Performance Summary------------------",
            "[INFO] ave_throughputRate: 240.622samples/s, ave_latency: 4.24716ms",
        ]

    def test_fifty_rounds_end_with_number_49(self) -> None:
        assert round_lines([4.0] * 49 + [4.174]) == ["[INFO] Dataset number: 49 finished cost 4.174ms"]

    @pytest.mark.parametrize("sign", [":", " ="])
    def test_both_forms_of_the_tool_are_read(self, tmp_path: Path, sign: str) -> None:
        path = tmp_path / "p.txt"
        path.write_text(f"[INFO] ave_throughputRate{sign} 240.622samples/s, ave_latency{sign} 4.24716ms\n")
        assert read_pure(path) == PureInfer(240.622, 4.24716, "")

    def test_what_we_write_is_read_back_with_who_measured_it(self, tmp_path: Path) -> None:
        write_pure(PureInfer(1234.5, 0.81, BY_US), tmp_path / "p.txt")
        found = read_pure(tmp_path / "p.txt")
        assert found == PureInfer(1234.5, 0.81, BY_US) and found.by_stand_in

    def test_the_scripts_around_the_tool_find_their_figures_where_they_look(self, tmp_path: Path) -> None:
        """They take the first value after `=` of the one file, and the eighth between `:` and `,` of the other."""
        write_pure(PureInfer(240.622, 4.24716, BY_US), tmp_path / "p.txt")
        text = (tmp_path / "p.txt").read_text().replace("\n", ",") + ","
        assert re.findall(r"=(.*?),", text)[0].strip() == "240.622samples/s"
        write_vision(Spent(100, 2.0, 0.1, 0.2, 0.5, 0.4, 0.3), tmp_path / "v.txt", measured_by=BY_US)
        text = (tmp_path / "v.txt").read_text().replace("\n", ",") + ","
        assert float(re.findall(r":(.*?),", text)[7]) == 250.0

    def test_the_parts_of_a_run_are_told_apart(self, tmp_path: Path) -> None:
        write_vision(Spent(100, 2.0, 0.1, 0.2, 0.5, 0.4, 0.3), tmp_path / "v.txt", measured_by=BY_US)
        assert (tmp_path / "v.txt").read_text().splitlines() == [
            "[e2e] throughputRate: 50, latency: 2000",
            "[data read] throughputRate: 1000, moduleLatency: 1",
            "[preprocess] throughputRate: 500, moduleLatency: 2",
            "[infer] throughputRate: 200, Interface throughputRate: 250, moduleLatency: 5",
            "[post] throughputRate: 333.333, moduleLatency: 3",
            f"[INFO] measured by {BY_US}",
        ]
        assert read_interface(tmp_path / "v.txt") == (250.0, BY_US)

    @pytest.mark.parametrize("read", [read_pure, read_interface])
    def test_a_file_of_something_else_is_named(self, tmp_path: Path, read: object) -> None:
        (tmp_path / "p.txt").write_bytes(b"\xff nothing here")
        assert callable(read)
        with pytest.raises(ConfigError, match=r"p\.txt holds no"):
            read(tmp_path / "p.txt")
        with pytest.raises(ConfigError, match=r"q\.txt cannot be read"):
            read(tmp_path / "q.txt")

    def test_batch_and_model_are_told_by_the_name_of_a_file(self, tmp_path: Path) -> None:
        for name in ("osnet_x1_0_bs16_sim", "osnet_x1_0_bs4", "osnet_x1_0_bs4_sim"):
            (tmp_path / f"PureInfer_perf_of_{name}_in_device_0.txt").touch()
        found = pure_files(tmp_path)
        assert {batch: len(paths) for batch, paths in found.items()} == {4: 2, 16: 1}
        (tmp_path / "PureInfer_perf_of_osnet_x0_25_bs4_in_device_0.txt").touch()
        with pytest.raises(ConfigError, match="the speeds of osnet_x0_25 and osnet_x1_0; pass --model"):
            pure_files(tmp_path)
        assert list(pure_files(tmp_path, model="osnet_x0_25")) == [4]


def guide_folder(work: Path, *, by: str = "") -> Path:
    (work / "result").mkdir(parents=True)
    (work / "result_bs1.json").write_text(GUIDE_RESULT)
    for batch, rate, latency, _ in GUIDE:
        write_pure(PureInfer(rate, latency, by), pure_file(work, Path(f"osnet_x1_0_bs{batch}_sim.om"), 0))
    return work


class TestReports:
    def test_the_cards_of_the_guide_come_out(self, tmp_path: Path) -> None:
        report = gather(guide_folder(tmp_path))
        assert [row.batch for row in report.rows] == [1, 4, 8, 16, 32]
        expected = {batch: card for batch, _, _, card in GUIDE}
        assert {row.batch: row.card for row in report.rows} == pytest.approx(expected)
        assert table(report)[1] == ["1", "94.30%", "82.57%", "240.622", "4.24716", "-", "962.488"]

    def test_a_card_of_one_chip_is_as_fast_as_its_chip(self, tmp_path: Path) -> None:
        report = gather(guide_folder(tmp_path), soc="310P3")
        assert report.rows[0].card == 240.622
        assert table(report)[0][-1] == "card, samples/s"

    def test_speeds_of_the_stand_in_are_not_multiplied_up_to_a_card(self, tmp_path: Path) -> None:
        report = gather(guide_folder(tmp_path, by=BY_US))
        assert [row.card for row in report.rows] == [None] * 5
        said = list(remarks(report))
        assert f"speed measured by {BY_US}" in said
        assert "these are not speeds of an Ascend310: nothing is multiplied up to a card" in said

    def test_two_devices_over_the_data_are_averaged(self, tmp_path: Path) -> None:
        (tmp_path / "result").mkdir()
        for device, rate in ((2, 100.0), (3, 200.0)):
            path = tmp_path / "result" / f"perf_vision_batchsize_16_device_{device}.txt"
            path.write_text(f"[inference] throughputRate: 9, Interface throughputRate: {rate}, moduleLatency: 1\n")
        [row] = gather(tmp_path).rows
        assert (row.batch, row.data, row.card, row.pure) == (16, 150.0, 600.0, None)

    @pytest.mark.parametrize(
        ("source", "within"),
        [
            ("94.2,82.6", True),
            ("95.29,82.6", True),
            ("95.31,82.6", False),
            ("94.2,83.58", False),
            (".9430,.8257", True),
        ],
    )
    def test_a_point_may_be_lost_and_no_more(self, tmp_path: Path, source: str, within: bool) -> None:
        report = gather(guide_folder(tmp_path), source=read_source(source))
        assert report.within is within
        assert next(remarks(report)).startswith(f"accuracy {'held' if within else 'LOST'}: source R1")

    def test_a_loss_of_exactly_the_tolerance_is_within_it(self, tmp_path: Path) -> None:
        source = Source("s", 0.94299287 + 0.02, 0.8257416732159705)
        assert gather(guide_folder(tmp_path), source=source, tolerance=0.02).within is True

    def test_without_a_source_nothing_is_claimed(self, tmp_path: Path) -> None:
        report = gather(guide_folder(tmp_path))
        assert report.within is None
        assert next(remarks(report)).startswith("accuracy not compared: pass --source")

    def test_figures_of_eval_are_by_cosine_and_compared_with_ours_by_cosine(self, tmp_path: Path) -> None:
        ranking = {"rank_1": 0.9, "map_mean_precision": 0.8}
        (tmp_path / "metrics.json").write_text(json.dumps({"ranking": ranking}))
        source = read_source(str(tmp_path / "metrics.json"))
        assert source == Source(str(tmp_path / "metrics.json"), 0.9, 0.8, "cosine")
        work = guide_folder(tmp_path / "w")
        assert gather(work, source=source).within is None, "only the distance was measured"
        both = {"cosine": {"rank_1": 0.88, "map_mean_precision": 0.85}}
        (work / "result_bs1.details.json").write_text(json.dumps(both))
        assert gather(work, source=source).within is False

    def test_a_result_file_will_do_for_a_source(self, tmp_path: Path) -> None:
        source = read_source(str(guide_folder(tmp_path) / "result_bs1.json"))
        assert (source.rank_1, source.mean_ap, source.metric) == (0.94299287, 0.8257416732159705, "euclidean")

    @pytest.mark.parametrize("text", ["94.2", "a,b", "nowhere.json", "1,2,3", "-1,2"])
    def test_a_source_that_is_none_is_named(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"is no source: expected R1,mAP such as 94\.2,82\.6"):
            read_source(text)

    @pytest.mark.parametrize(
        "content", ["", "[]", "{}", '{"value": [{"key": "R1", "value": "x"}]}', '{"ranking": null}']
    )
    def test_a_json_of_something_else_is_named(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "m.json").write_text(content)
        with pytest.raises(ConfigError, match=r"m\.json"):
            read_source(str(tmp_path / "m.json"))

    def test_an_empty_folder_is_not_reported_on(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"holds no result_bs\*\.json and no performance files"):
            gather(tmp_path)

    def test_it_is_written_as_text_numbers_and_picture(self, tmp_path: Path) -> None:
        report = gather(guide_folder(tmp_path), source=read_source("94.2,82.6"), smallest_cosine=0.9991)
        written = write_report(report, tmp_path)
        assert [path.name for path in written] == ["report.md", "report.json", "report.png"]
        assert written[0].read_text() == markdown(report)
        assert "| 16 | - | - | 643.052 | 1.55994 | - | 2572.208 |" in markdown(report)
        assert "- smallest cosine to the source's vectors: 0.999100" in markdown(report)
        got = json.loads(written[1].read_text())
        assert got == json.loads(json.dumps(figures(report)))
        assert got["within_tolerance"] is True and got["rows"][3]["card"] == pytest.approx(2572.208)
        assert written[2].read_bytes().startswith(b"\x89PNG")
