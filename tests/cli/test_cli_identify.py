from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from running import error_line, sightline

from painted_people import mean_colour_model, paint
from sightline.card import Threshold
from sightline.cli import main
from sightline.reid.embedder import Embedder
from sightline.reid.identify import CACHE_NAME
from sightline.reid.thresholds import keep_thresholds
from sightline.runtime.open import open_session

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gallery/a … d, four pictures each, and a query of b that is not in it."""
    home = tmp_path_factory.mktemp("workplace")
    for shot in paint(home / "shots", people="abcd", cameras=2):
        (home / "gallery" / shot.person).mkdir(parents=True, exist_ok=True)
        shutil.move(shot.path, home / "gallery" / shot.person / shot.path.name)
    shutil.move(home / "gallery/b/01_0_0.png", home / "query.png")
    mean_colour_model(home / "bare.onnx")
    with open_session(mean_colour_model(home / "colour.onnx")) as session:
        kinds = [Threshold(0.5, 0.001, "single", 20_000), Threshold(0.5, 0.01, "averaged", 2_000)]
        keep_thresholds(Embedder(session), kinds)
    return home


@pytest.fixture(autouse=True)
def _there(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(made, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")


def identified(*arguments: str | Path, model: str = "colour.onnx") -> int:
    return main(["identify", "--gallery-dir", "gallery", "-m", model, *map(str, arguments)])


def test_who_it_is_comes_first_then_the_next_best_and_what_decided(capsys: Capture) -> None:
    assert identified("--query", "query.png", "--top-k", "3", "--margin", "0.0001") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "query.png: b"
    assert lines[1].split()[0] == "1." and lines[1].endswith("b (3 crops)")
    assert len([line for line in lines if line.endswith("crops)")]) == 3
    assert "at most 0.1 % of strangers (20,000 impostor pairs)" in "\n".join(lines)
    assert lines[-2].startswith(f"of strangers  at most {100 * (1 - 0.999**15):.3g} %")


def test_below_the_threshold_it_is_unknown(capsys: Capture) -> None:
    assert identified("--query", "query.png", "--threshold", "1") == 0
    assert "query.png: unknown: the closest, b, scores" in capsys.readouterr().out


def test_too_small_a_lead_is_unknown(capsys: Capture) -> None:
    assert identified("--query", "query.png", "--margin", "1.9") == 0
    assert "unknown: b is only" in capsys.readouterr().out


def test_without_a_threshold_it_is_undecided_and_the_list_is_still_there(capsys: Capture) -> None:
    assert identified("--query", "query.png", model="bare.onnx") == 0
    out = capsys.readouterr().out
    assert "query.png: undecided" in out and "b (3 crops)" in out and "not calibrated" in out


def test_several_queries_are_answered_and_one_that_cannot_be_read_is_told(capsys: Capture) -> None:
    assert identified("--query", "query.png", "gone.png", "--query", "gallery/d", "--margin", "0") == 3
    captured = capsys.readouterr()
    assert "query.png: b" in captured.out and "gallery/d: d" in captured.out
    assert "gone.png" in captured.err


def test_the_only_query_that_cannot_be_read_is_an_error(capsys: Capture) -> None:
    assert identified("--query", "gone.png") == 1
    assert "no images in gone.png" in error_line(capsys.readouterr().err)


def test_json_says_it_all(capsys: Capture) -> None:
    (Path("gallery") / "a" / "bad.png").write_bytes(b"")
    assert identified("--query", "query.png", "gallery/c", "gone.png", "--json", "--margin", "0") == 3
    captured = capsys.readouterr()
    got = json.loads(captured.out)
    assert got["identities"] == 4 and [Path(path).name for path in got["skipped"]] == ["bad.png"]
    image, track, gone = got["queries"]
    assert (image["decision"], image["identity"], image["method"]) == ("known", "b", "best")
    assert image["candidates"][0]["identity"] == "b" and image["runner_up"] in {"a", "c", "d"}
    assert (track["identity"], track["method"], track["aggregation"]) == ("c", "averaged", "averaged")
    assert track["expected_far"] == 0.01 and track["expected_far_of_gallery"] == pytest.approx(1 - 0.99**4)
    assert "gone.png" in gone["error"]
    assert "bad.png is empty" in captured.err


def test_a_folder_can_be_compared_crop_by_crop(capsys: Capture) -> None:
    assert identified("--query", "gallery/c", "--by", "best", "--json") == 0
    (query,) = json.loads(capsys.readouterr().out)["queries"]
    assert (query["method"], query["aggregation"]) == ("best", "single")
    assert query["candidates"][0]["score"] == pytest.approx(1)


def test_vectors_are_kept_where_asked(capsys: Capture) -> None:
    assert identified("--query", "query.png", "--cache", "v.npz") == 0
    assert Path("v.npz").exists() and not Path("gallery", CACHE_NAME).exists()


@pytest.mark.parametrize(("flag", "value"), [("--margin", "-1"), ("--margin", "nan"), ("--top-k", "0"), ("--far", "0")])
def test_numbers_that_mean_nothing_are_refused(flag: str, value: str, capsys: Capture) -> None:
    assert identified("--query", "query.png", flag, value) == 2
    assert repr(value) in error_line(capsys.readouterr().err)


def test_a_gallery_that_is_not_there_is_one_line(capsys: Capture) -> None:
    assert main(["identify", "--gallery-dir", "nowhere", "-m", "colour.onnx", "--query", "query.png"]) == 1
    assert "gallery" in error_line(capsys.readouterr().err)


def test_an_identity_may_be_called_anything(capsys: Capture) -> None:
    Path("gallery/b").rename("gallery/<script>alert('é 🏐')\n\x1b[2J")
    assert identified("--query", "query.png", "--margin", "0") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and out.startswith("query.png: <script>alert('\\xe9 \\U0001f3d0')\\n\\x1b[2J\n")


def test_a_stranger_is_answered_in_a_process_of_its_own() -> None:
    done = sightline("identify", "--gallery-dir", "gallery", "--query", "query.png", "-m", "colour.onnx")
    assert (done.returncode, done.stderr) == (0, "") and "b (3 crops)" in done.stdout
