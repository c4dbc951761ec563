"""`sightline doctor TARGET`, as somebody at a terminal and as a build server have it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from running import error_line, sightline

from sightline.cli import main
from sightline.deploy.doctor.catalogue import RULES

Capture = pytest.CaptureFixture[str]

GOOD = "[property]\ngie-unique-id=4\nprocess-mode=2\nnetwork-type=100\noutput-tensor-meta=1\n" + (
    "operate-on-class-ids=0\nnet-scale-factor=1\noffsets=0;0;0\nbatch-size=16\nnetwork-mode=2\n"
    "model-engine-file=/models/osnet.onnx_b16_gpu0_fp16.engine\n"
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "reid.txt"
    path.write_text(GOOD)
    return path


def spoil(path: Path, old: str, new: str) -> Path:
    path.write_text(path.read_text().replace(old, new))
    return path


def test_what_is_in_order_is_said_to_be(config: Path, capsys: Capture) -> None:
    assert main(["doctor", str(config)]) == 0
    assert capsys.readouterr().out == "nothing wrong was found\n"
    assert main(["doctor", str(config), "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_an_error_has_rule_place_value_expectation_and_repair(config: Path, capsys: Capture) -> None:
    assert main(["doctor", str(spoil(config, "network-type=100", "network-type=0"))]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"error   DS001   {config}:4  network-type is not 100",
        "        is        network-type=0",
        "        expected  network-type=100",
        "        fix       network-type=100 (--fix does it)",
        "1 error, 0 warnings, 0 notes; `sightline doctor --explain RULE` says why",
    ]


def test_a_warning_fails_a_build_only_where_it_is_asked_to(config: Path, capsys: Capture) -> None:
    spoil(config, "batch-size=16", "batch-size=1")
    assert main(["doctor", str(config)]) == 0
    assert main(["doctor", str(config), "--strict"]) == 1
    assert "ENG005" in capsys.readouterr().out


def test_a_program_gets_everything(config: Path, capsys: Capture) -> None:
    assert main(["doctor", str(spoil(config, "output-tensor-meta=1", "output-tensor-meta=0")), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["errors"], report["warnings"], report["notes"]) == (1, 0, 0)
    [finding] = report["findings"]
    rule = RULES["DS002"]
    assert finding == {
        "rule": "DS002", "severity": "error", "file": str(config), "line": 5, "title": rule.title, "why": rule.why,
        "value": "output-tensor-meta=0", "expected": "output-tensor-meta=1", "fix": rule.fix, "fixable": True,
    }  # fmt: skip


def test_a_repair_is_shown_and_what_remains_is_told(config: Path, capsys: Capture) -> None:
    spoil(spoil(config, "network-type=100", "network-type=0"), "class-ids=0", "class-ids=-1")
    assert main(["doctor", str(config), "--fix"]) == 1
    out = capsys.readouterr().out
    assert "\n-network-type=0\n+network-type=100\n" in out and "DS005" in out and "DS001" not in out
    assert "network-type=100\n" in config.read_text() and "class-ids=-1\n" in config.read_text()


def test_a_repair_in_json_has_its_diff(config: Path, capsys: Capture) -> None:
    assert main(["doctor", str(spoil(config, "network-type=100", "network-type=0")), "--fix", "--json"]) == 0
    [fixed] = json.loads(capsys.readouterr().out)["fixed"]
    assert fixed["file"] == str(config) and "+network-type=100" in fixed["diff"]


def test_without_fix_nothing_is_written(config: Path, capsys: Capture) -> None:
    before = spoil(config, "network-type=100", "network-type=0").read_bytes()
    main(["doctor", str(config)])
    assert config.read_bytes() == before and list(config.parent.iterdir()) == [config]


def test_a_rule_is_explained(capsys: Capture) -> None:
    assert main(["doctor", "--explain", "ds001"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# DS001 · network-type is not 100") and RULES["DS001"].why in out


@pytest.mark.parametrize(("arguments", "words"), [
    (["nowhere.txt"], "nowhere.txt: no such file or folder; check the name"),
    (["--explain", "XX1"], "no rule 'XX1'; expected one such as CFG001"),
    (["--fix"], "--fix needs a TARGET to look at"),
    (["--images", "crops"], "--images needs a TARGET to look at"),
])  # fmt: skip
def test_what_cannot_be_done_is_one_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    ran = sightline("doctor", *arguments, cwd=tmp_path)
    assert ran.returncode == 1 and words in error_line(ran.stderr)


def test_a_file_of_a_kind_nobody_knows_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "photo.jpg").touch()
    assert main(["doctor", str(tmp_path / "photo.jpg")]) == 1
    assert "the doctor knows no files of that name" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "words"), [
    (["x", "--deepstream", "eight"], "'eight' is not a version of DeepStream"),
    (["x", "--root", "reid"], "'reid' is not an absolute path"),
    (["x", "--people", "0"], "'0' is not a whole number above 0"),
])  # fmt: skip
def test_a_wrong_flag_is_one_line(arguments: list[str], words: str, capsys: Capture) -> None:
    assert main(["doctor", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_what_the_files_cannot_say_is_taken_from_the_flags(config: Path, capsys: Capture) -> None:
    assert main(["doctor", str(config), "--people", "9", "--streams", "4", "--strict"]) == 1
    assert "36 or more, for 9 people in each of 4 streams" in capsys.readouterr().out
    spoil(config, "[property]\n", "[property]\nstrongly-typed=1\n")
    assert main(["doctor", str(config), "--deepstream", "9.0", "--strict"]) == 0
    assert main(["doctor", str(config), "--deepstream", "8", "--strict"]) == 1


def test_torch_is_not_needed(config: Path) -> None:
    import subprocess

    block = "import sys; sys.modules['torch'] = None; from sightline.cli import main; sys.exit(main(sys.argv[1:]))"
    ran = subprocess.run(
        [sys.executable, "-c", block, "doctor", str(config)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
