"""`sightline eval --task mot`: what it prints and writes, and how it says no."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from running import error_line

from sightline.cli import main

Capture = pytest.CaptureFixture[str]
REAL = Path(__file__).resolve().parents[3] / "shared/real/mot/py-motmetrics"

TRUTH = "".join(f"{frame},1,0,0,10,10,1,-1,-1,-1\n" for frame in range(1, 6))
FOUND = "1,7,0,0,10,10,1\n2,7,0,0,10,10,1\n4,8,0,0,10,10,1\n5,8,0,0,10,10,1\n3,9,50,0,10,10,1\n"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gt.txt").write_text(TRUTH)
    Path("found.txt").write_text(FOUND)


def scored(*arguments: str | Path) -> int:
    return main(["eval", "--task", "mot", *map(str, arguments)])


def folders(*names: str) -> None:
    for name in names:
        Path("truth", name, "gt").mkdir(parents=True)
        Path("truth", name, "gt", "gt.txt").write_text(TRUTH)
        Path("out").mkdir(exist_ok=True)
        Path("out", f"{name}.txt").write_text(FOUND)


def events(*given: tuple[str, int, str | None]) -> None:
    lines = [json.dumps({"sensorId": camera, "trackId": track, "identity": name}) for camera, track, name in given]
    Path("events.jsonl").write_text("\n".join(lines))


class TestWhatIsPrinted:
    def test_rates_and_counts(self, capsys: Capture) -> None:
        assert scored("gt.txt", "found.txt") == 0
        out = capsys.readouterr().out
        assert "found.txt against gt.txt, boxes the same from IoU 0.5" in out
        rates, counts = [line.split() for line in out.splitlines() if line.startswith("  gt")]
        assert rates[1:4] == ["51.64%", "66.67%", "40.00%"] and rates[-2:] == ["40.00%", "100.00%"]
        assert counts[1:] == ["1", "1", "1", "1", "0", "1", "0", "5", "1", "5"]
        assert "combined" not in out and max(map(len, out.splitlines())) <= 100

    def test_json_is_what_is_in_the_file(self, capsys: Capture) -> None:
        assert scored("gt.txt", "found.txt", "--json", "--out", "report") == 0
        text = capsys.readouterr().out
        assert text == Path("report/metrics.json").read_text()
        got = json.loads(text)
        assert got["combined"] == got["clips"]["gt"]
        assert (got["combined"]["IDSW"], got["combined"]["MOTA"]) == (1, pytest.approx(0.4)) and "returners" not in got

    def test_quiet_prints_nothing(self, capsys: Capture) -> None:
        assert scored("gt.txt", "found.txt", "-q") == 0
        assert capsys.readouterr() == ("", "")

    def test_an_overlap_of_ones_own(self, capsys: Capture) -> None:
        Path("found.txt").write_text(FOUND.replace(",10,10,1\n", ",10,8,1\n"))
        for overlap, found in (("0.8", 4), ("0.81", 0)):
            assert scored("gt.txt", "found.txt", "--iou", overlap, "--json") == 0
            assert json.loads(capsys.readouterr().out)["combined"]["FN"] == 5 - found

    def test_folders_are_one_table_with_a_sum(self, capsys: Capture) -> None:
        folders("east", "west")
        assert scored("truth", "out") == 0
        out = capsys.readouterr().out
        assert re.search(r"combined +2 +2 +2 +2 +0 +2 +0 +10 +2 +10$", out, re.MULTILINE), out
        assert [line.split()[0] for line in out.splitlines() if "%" in line] == ["east", "west", "combined"]

    def test_returners_over_two_cameras(self, capsys: Capture) -> None:
        """Person 1 has four tracks; track 7 is `a`, and 8 is `a` in the east, `b` in the west. Track 9 is nobody."""
        folders("east", "west")
        events(*((camera, 7, "a") for camera in ("east", "west")), ("east", 8, "a"), ("west", 8, "b"), ("west", 9, "c"))
        assert scored("truth", "out", "--events", "events.jsonl", "--fps", "10", "--json") == 0
        got = json.loads(capsys.readouterr().out)["returners"]
        assert (got["visits"], got["people"], got["returns"], got["relinked"], got["nobody"]) == (4, 1, 3, 2, 2)
        assert (got["identities"], got["splits_per_person"]) == (3, 1)
        assert scored("truth", "out", "--events", "events.jsonl") == 0
        out = capsys.readouterr().out
        assert re.search(r"known again +66.67% +2 of 3 returns", out) and "2 tracks are of no person" in out
        assert max(map(len, out.splitlines())) <= 100

    def test_one_clip_and_one_camera_need_not_share_a_name(self, capsys: Capture) -> None:
        events(("front door", 7, "a"), ("front door", 8, "a"))
        assert scored("gt.txt", "found.txt", "--events", "events.jsonl", "--json") == 0
        assert json.loads(capsys.readouterr().out)["returners"]["relinked"] == 1

    def test_where_nobody_returned_absences_are_null(self, capsys: Capture) -> None:
        events(("gt", 7, "a"))
        Path("found.txt").write_text("1,7,0,0,10,10,1\n")
        assert scored("gt.txt", "found.txt", "--events", "events.jsonl", "--json") == 0
        assert json.loads(capsys.readouterr().out)["returners"]["absence_median_s"] is None

    @pytest.mark.skipif(not REAL.is_dir(), reason="the TUD samples are not here")
    def test_the_published_figures(self, capsys: Capture) -> None:
        assert scored(REAL, REAL) == 0
        combined = [line.split() for line in capsys.readouterr().out.splitlines() if "combined" in line]
        assert combined[0][1] == "40.00%" and combined[0][-2] == "55.51%" and combined[1][3] == "14"


class TestWrongCommands:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ([], "--task mot needs two files or folders: the true tracks, then those found"),
            (["gt.txt"], "--task mot needs two files or folders"),
            (["gt.txt", "found.txt", "gt.txt"], "--task mot needs two files or folders"),
            (["gone.txt", "found.txt"], "gone.txt is no file; expected tracks as the MOTChallenge writes them"),
            (["gt.txt", "gone.txt"], "gone.txt is no file"),
            (["gt.txt", "."], ". is no file"),
            ([".", "gone"], "gone lacks the tracks of found; expected found.txt or found/tracks.csv in it"),
            (["empty", "found.txt"], "empty holds no true tracks; expected NAME/gt/gt.txt"),
            (["gt.txt", "found.txt", "--onnx", "x.onnx"], "--onnx is not of --task mot"),
            (["gt.txt", "found.txt", "--rally-frames", "x"], "--rally-frames is not of --task mot"),
            (["gt.txt", "found.txt", "--events", "gone"], "gone cannot be read"),
            (["gt.txt", "found.txt", "--events", "two.jsonl"], "the events have no camera gt; those with events: a, b"),
            (["gt.txt", "found.txt", "--out", "gt.txt"], "cannot write gt.txt"),
        ],
    )
    def test_what_cannot_be_done_is_one_line(self, capsys: Capture, arguments: list[str], told: str) -> None:
        Path("empty").mkdir()
        events(("a", 1, None), ("b", 1, None))
        Path("events.jsonl").rename("two.jsonl")
        assert scored(*arguments) == 1
        assert told in error_line(capsys.readouterr().err)

    def test_a_broken_line_is_named(self, capsys: Capture) -> None:
        Path("found.txt").write_text("1,1,0,0,5,5,1\n1,1,0,0,5,5,1\n")
        assert scored("gt.txt", "found.txt") == 1
        assert "found.txt:2: this id is in this frame already" in error_line(capsys.readouterr().err)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [(["--iou", "0"], "'0' is not an overlap"), (["--iou", "nan"], "'nan' is not"), (["--fps", "0"], "--fps")],
    )
    def test_wrong_flags_are_exit_code_two_and_one_line(self, capsys: Capture, arguments: list[str], told: str) -> None:
        assert scored("gt.txt", "found.txt", *arguments) == 2
        assert told in error_line(capsys.readouterr().err)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--onnx", "x.onnx", "gt.txt", "found.txt"], "gt.txt: two files of tracks are of --task mot"),
            (["--onnx", "x.onnx", "--iou", "0.5"], "--iou is of --task mot"),
            (["--task", "ball", "--pred", "a", "--labels", "b", "--events", "c"], "--events is of --task mot"),
        ],
    )
    def test_tracks_are_refused_where_something_else_is_judged(
        self, capsys: Capture, arguments: list[str], told: str
    ) -> None:
        assert main(["eval", *arguments]) == 1
        assert told in error_line(capsys.readouterr().err)
