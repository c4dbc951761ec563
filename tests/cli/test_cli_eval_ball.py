"""`sightline eval --task ball`: what it prints and writes, and how it says no."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from running import error_line

from sightline.cli import main

Capture = pytest.CaptureFixture[str]
LABELS = Path(__file__).resolve().parents[3] / "shared/real/ball/corrected_test_label"

RIGHT = "Frame,Visibility,X,Y\n0,1,100,100\n1,1,200,100\n2,1,300,100\n3,0,0,0\n4,0,0,0\n"
FOUND = "Frame,Visibility,X,Y,Confidence,Inpaint\n0,1,104,100,0.9,0\n1,1,260,100,0.8,0\n2,0,0,0,0,0\n3,1,9,9,0.7,1\n"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("right.csv").write_text(RIGHT)
    Path("found.csv").write_text(FOUND)


BOTH = ("--pred", "found.csv", "--labels", "right.csv", "--frame-size", "720x1280")


def scored(*arguments: str | Path) -> int:
    return main(["eval", "--task", "ball", *map(str, arguments)])


class TestWhatIsPrinted:
    def test_counts_and_rates(self, capsys: Capture) -> None:
        assert scored(*BOTH) == 0
        out = capsys.readouterr().out
        for name, value in (("TP", "1"), ("TN", "1"), ("FP1", "1"), ("FP2", "1"), ("FN", "1")):
            assert re.search(rf"^  {name} +{value} ", out, re.MULTILINE), out
        for name, value in (("accuracy", "40.00%"), ("precision", "33.33%"), ("recall", "50.00%"), ("f1", "40.00%")):
            assert re.search(rf"^  {name} +{value}$", out, re.MULTILINE), out
        assert "miss rate" in out and "5 frames of 1 file, tolerance 4 px" in out
        assert "1 labelled frames have no row in the prediction" in out
        assert max(map(len, out.splitlines())) <= 100

    def test_json_is_what_is_in_the_file(self, capsys: Capture) -> None:
        assert scored(*BOTH, "--json", "--out", "report") == 0
        text = capsys.readouterr().out
        assert text == Path("report/metrics.json").read_text()
        got = json.loads(text)
        assert (got["tp"], got["tn"], got["fp1"], got["fp2"], got["fn"], got["unanswered"]) == (1, 1, 1, 1, 1, 1)
        assert got["accuracy"] == pytest.approx(0.4) and got["files"] == 1 and got["tolerance"] == 4

    def test_quiet_prints_nothing(self, capsys: Capture) -> None:
        assert scored(*BOTH, "-q") == 0
        assert capsys.readouterr() == ("", "")

    def test_a_tolerance_and_names_of_columns(self, capsys: Capture) -> None:
        Path("right.csv").write_text("id,seen,cx,cy\n0,1,0.5,0.5\n")
        Path("found.csv").write_text("Frame,Visibility,X,Y\n0,1,690,360\n")
        names = ("--columns", "frame=id,visible=seen,x=cx,y=cy")
        assert scored(*BOTH, *names, "--tolerance", "20", "--json") == 0
        assert json.loads(capsys.readouterr().out)["tp"] == 1
        assert scored(*BOTH, *names, "--tolerance", "19.9", "--json") == 0
        assert json.loads(capsys.readouterr().out)["fp1"] == 1

    def test_a_folder_of_rallies_is_one_table(self, capsys: Capture) -> None:
        for side, text in (("pred", FOUND), ("labels", RIGHT)):
            for match in ("match1", "match2"):
                Path(side, match).mkdir(parents=True)
                Path(side, match, "1_01_00_ball.csv").write_text(text)
        spans = {"start": {"1_1_01_00": 0, "2_1_01_00": 1}, "end": {"1_1_01_00": 2, "2_1_01_00": 2}}
        Path("drop.json").write_text(json.dumps(spans))
        folders = ("--pred", "pred", "--labels", "labels", "--frame-size", "720x1280")
        assert scored(*folders, "--rally-frames", "drop.json", "--json") == 0
        got = json.loads(capsys.readouterr().out)
        assert (got["files"], got["tp"], got["fp1"], got["tn"], got["fp2"], got["fn"]) == (2, 1, 2, 0, 0, 0)
        Path("pred/match2/1_01_00_ball.csv").unlink()
        assert scored(*folders) == 1
        assert "pred lacks 1 of 2 predictions, first match2" in error_line(capsys.readouterr().err)

    @pytest.mark.skipif(not LABELS.is_dir(), reason="the labels of the test set are not here")
    def test_the_published_counts(self, capsys: Capture) -> None:
        both = ("--pred", LABELS, "--labels", LABELS, "--rally-frames", LABELS / "drop_frame.json")
        assert scored(*both, "--frame-size", "720x1280") == 0
        out = capsys.readouterr().out
        assert "10,836 frames of 29 files" in out and re.search(r"TP +9,436 ", out)


class TestWrongCommands:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ([], "--task ball needs --pred"),
            (["--pred", "found.csv"], "--task ball needs --labels"),
            (["--pred", "found.csv", "--labels", "right.csv"], "--task ball needs --frame-size"),
            ([*BOTH, "--onnx", "x.onnx"], "--onnx is of --task reid"),
            ([*BOTH, "--pairs", "x"], "--pairs is of --task reid"),
            ([*BOTH, "--labels", "gone.csv"], "gone.csv is no file; expected a CSV"),
            ([*BOTH, "--pred", "gone.csv"], "gone.csv is no file; expected a CSV"),
            ([*BOTH, "--labels", "."], "found.csv lacks 2 of 2 predictions, first found.csv"),
            ([*BOTH, "--columns", "x"], "is not a list like x=cx,y=cy"),
            ([*BOTH, "--rally-frames", "right.csv"], "is no drop_frame.json"),
            ([*BOTH, "--out", "found.csv"], "cannot write found.csv"),
        ],
    )
    def test_what_cannot_be_done_is_one_line(self, capsys: Capture, arguments: list[str], told: str) -> None:
        assert scored(*arguments) == 1
        assert told in error_line(capsys.readouterr().err)

    def test_labels_none_of_which_count_are_refused(self, capsys: Capture) -> None:
        Path("match1").mkdir()
        Path("match1/a.csv").write_text(RIGHT)
        Path("drop.json").write_text('{"start": {"1_a": 50}, "end": {"1_a": 60}}')
        assert scored(*BOTH, "--labels", "match1/a.csv", "--rally-frames", "drop.json") == 1
        assert "no frame of match1/a.csv counts" in error_line(capsys.readouterr().err)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--task", "ball", *BOTH, "--frame-size", "big"], "'big' is not HEIGHTxWIDTH"),
            (["--task", "ball", *BOTH, "--tolerance", "-1"], "'-1' is not a distance in pixels"),
            (["--task", "ball", *BOTH, "--tolerance", "nan"], "'nan' is not a distance in pixels"),
            (["--task", "chess"], "invalid choice: 'chess'"),
            (["--task", "reid"], "one of the arguments --exp --weights --onnx is required"),
            ([*BOTH], "one of the arguments --exp --weights --onnx is required"),
        ],
    )
    def test_wrong_flags_are_exit_code_two_and_one_line(self, capsys: Capture, arguments: list[str], told: str) -> None:
        assert main(["eval", *arguments]) == 2
        assert told in error_line(capsys.readouterr().err)

    def test_files_of_the_ball_are_refused_where_people_are_judged(self, capsys: Capture) -> None:
        assert main(["eval", "--onnx", "x.onnx", "--pred", "found.csv"]) == 1
        assert "--pred is of --task ball; add --task ball" in error_line(capsys.readouterr().err)
