from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from running import error_line, sightline

from painted_people import mean_colour, mean_colour_model, paint
from sightline.card import Threshold
from sightline.cli import main
from sightline.reid.embedder import Embedder
from sightline.reid.faces import FaceFinder
from sightline.reid.thresholds import keep_thresholds
from sightline.runtime.open import open_session
from sightline.synth.cameras import camera
from sightline.synth.faces import face_identity, shoot_face

Capture = pytest.CaptureFixture[str]


def verified(*arguments: str | Path) -> int:
    return main(["verify", *map(str, arguments)])


def calibrated(model: Path) -> Path:
    with open_session(model) as session:
        kinds = [Threshold(0.5, 0.001, "single", 20_000, "those"), Threshold(0.9, 0.01, "averaged", 500)]
        keep_thresholds(Embedder(session), kinds)
    return model


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a/ and b/ with pictures of two people of opposite colours, a model with thresholds and one without."""
    home = tmp_path_factory.mktemp("workplace")
    for name in "ab":
        paint(home / name, people=[name], cameras=2, seed=ord(name))
    mean_colour_model(home / "bare.onnx")
    calibrated(mean_colour_model(home / "colour.onnx"))
    (home / "broken.png").write_bytes(b"\x89PNG")
    return home


@pytest.fixture(autouse=True)
def _there(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)


A, A2, B = "a/00_0_0.png", "a/00_0_1.png", "b/00_1_1.png"
MODEL, BARE = ("-m", "colour.onnx"), ("-m", "bare.onnx")


class TestOnePair:
    def test_score_threshold_rate_origin_and_decision_are_told(self, capsys: Capture) -> None:
        assert verified(A, A2, *MODEL) == 0
        out = capsys.readouterr().out
        assert f"{mean_colour(Path(A)) @ mean_colour(Path(A2)):.4f} (one crop each)" in out
        assert "threshold     0.5000" in out
        assert "at most 0.1 % of strangers (20,000 impostor pairs)" in out
        assert "calibrated for this model: the card of colour.onnx, measured on those" in out
        assert out.endswith("decision      the same person\n")

    def test_a_model_nobody_calibrated_is_told_plainly_and_decides_nothing(self, capsys: Capture) -> None:
        assert verified(A, A2, *BARE) == 0
        out = capsys.readouterr().out
        assert "none: not calibrated" in out and "sightline calibrate" in out
        assert "decision      undecided" in out and "same person" not in out

    def test_a_threshold_by_hand_decides_without_it(self, capsys: Capture) -> None:
        assert verified(A, A2, *BARE, "--threshold", "0.2") == 0
        out = capsys.readouterr().out
        assert "given by hand" in out and "false accepts unknown" in out and "the same person" in out

    def test_too_few_pairs_behind_a_rate_are_told(self, capsys: Capture) -> None:
        assert verified("a", "b", *MODEL) == 0
        assert "500 impostor pairs, too few to rely on: 1,000 are needed" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            ((A, A2, *MODEL), 0),
            ((A, B, *MODEL, "--threshold", "0.99999"), 10),
            ((A, B, *BARE), 11),
            ((A, "b", *MODEL), 11),
        ],
    )
    def test_the_exit_code_tells_the_decision_when_asked(
        self, arguments: tuple[str, ...], code: int, capsys: Capture
    ) -> None:
        assert verified(*arguments, "--exit-code") == code
        assert verified(*arguments) == 0

    def test_json_says_the_same(self, capsys: Capture) -> None:
        assert verified(A, A2, *MODEL, "--json") == 0
        got = json.loads(capsys.readouterr().out)
        assert got["score"] == pytest.approx(float(mean_colour(Path(A)) @ mean_colour(Path(A2))), abs=1e-5)
        told = {key: got[key] for key in ("decision", "aggregation", "threshold", "expected_far", "reliable")}
        expected = {"decision": "same", "aggregation": "single", "threshold": 0.5, "expected_far": 0.001}
        assert told == {**expected, "reliable": True}
        assert len(got["fingerprint"]) == 64

    def test_the_flags_of_the_predecessor_mean_the_same(self, capsys: Capture) -> None:
        assert verified(A, A2, *MODEL) == 0
        ours = capsys.readouterr().out
        assert verified("--onnx", "colour.onnx", "--img1", A, "--img2", A2) == 0
        assert capsys.readouterr().out == ours


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((A,), "1 sides to compare; expected two images or folders, or --pairs CSV"),
            ((A, B, A2), "3 sides to compare"),
            ((A, B, "--pairs", "x.csv"), "expected one or the other"),
            ((A, "broken.png"), "broken.png"),
            ((A, "nobody.png"), "no images in nobody.png"),
            (("--pairs", "nothing.csv"), "nothing.csv cannot be read"),
            ((A, B, "--detector", "colour.onnx"), "colour.onnx is not a YuNet face detector"),
            ((A, B, "--detector", "no-such-model"), "no-such-model"),
        ],
    )
    def test_they_are_one_line_each(self, arguments: tuple[str, ...], message: str, capsys: Capture) -> None:
        assert verified(*arguments, *MODEL) == 1
        assert message in error_line(capsys.readouterr().err)

    @pytest.mark.parametrize("value", ["2", "nan", "x"])
    def test_a_threshold_that_is_no_score_is_refused(self, value: str, capsys: Capture) -> None:
        assert verified(A, B, *MODEL, "--threshold", value) == 2
        assert f"'{value}' is not a score" in error_line(capsys.readouterr().err)


class TestManyPairs:
    def write(self, folder: Path, *pairs: tuple[str, str]) -> Path:
        home = Path.cwd()
        lines = ["a,b", *(f"{home / a},{home / b}" for a, b in pairs)]
        (folder / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder / "pairs.csv"

    def test_each_has_its_line_and_each_threshold_is_told_once(self, tmp_path: Path, capsys: Capture) -> None:
        assert verified("--pairs", self.write(tmp_path, (A, A2), (A, A), ("a", "a")), *MODEL) == 0
        out = capsys.readouterr().out
        assert [line.split()[0] for line in out.splitlines()[:3]] == ["same"] * 3
        assert out.count("threshold     ") == 2

    def test_those_that_cannot_be_read_do_not_stop_the_others(self, tmp_path: Path, capsys: Capture) -> None:
        pairs = self.write(tmp_path, (A, "gone.png"), (A, A2))
        assert verified("--pairs", pairs, *MODEL) == 3
        captured = capsys.readouterr()
        assert "gone.png" in captured.err and captured.out.startswith("same")

    def test_json_has_a_row_for_each(self, tmp_path: Path, capsys: Capture) -> None:
        pairs = self.write(tmp_path, (A, "gone.png"), (A, A2))
        assert verified("--pairs", pairs, *MODEL, "--json") == 3
        lost, answered = json.loads(capsys.readouterr().out)["pairs"]
        assert "gone.png" in lost["error"] and answered["decision"] == "same"

    @pytest.mark.parametrize(
        ("pairs", "code"), [(((A, A2),), 0), (((A, A2), (A, "b")), 11), (((A, A2), (A, "gone.png")), 3)]
    )
    def test_the_exit_code_is_that_of_the_worst(
        self, pairs: tuple[tuple[str, str], ...], code: int, tmp_path: Path, capsys: Capture
    ) -> None:
        assert verified("--pairs", self.write(tmp_path, *pairs), *MODEL, "--exit-code") == code

    def test_names_leave_the_terminal_alone(self, tmp_path: Path, capsys: Capture) -> None:
        (tmp_path / "\x1b[2Jx").mkdir()
        (tmp_path / "\x1b[2Jx/a.png").write_bytes(Path(A).read_bytes())
        assert verified("--pairs", self.write(tmp_path, (A, str(tmp_path / "\x1b[2Jx/a.png"))), *MODEL) == 0
        assert "\x1b" not in capsys.readouterr().out


def test_faces_are_found_and_aligned_first_when_a_detector_is_given(
    shared: Path, tmp_path: Path, capsys: Capture
) -> None:
    face = shoot_face(face_identity(1), camera(1), seed=3)
    moved = cv2.copyMakeBorder(cv2.resize(face, None, fx=2, fy=2), 90, 10, 150, 30, cv2.BORDER_CONSTANT)
    for name, image in (("near", face), ("far", moved)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    sides, yunet = (tmp_path / "near.png", tmp_path / "far.png"), shared / "real/models/yunet_s.onnx"
    assert verified(*sides, *BARE, "--json", "--detector", yunet) == 0
    got = json.loads(capsys.readouterr().out)["score"]
    with open_session(yunet) as detector, open_session("bare.onnx") as session:
        finder = FaceFinder(detector)
        vectors = Embedder(session).embed([finder.aligned_face(image) for image in (face, moved)]).vectors
    assert got == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)
    assert verified(A, sides[0], *BARE, "--detector", yunet) == 1
    assert f"no face found in {A}" in error_line(capsys.readouterr().err)


def test_it_answers_a_stranger_in_a_process_of_its_own() -> None:
    done = sightline("verify", A, A2, "-m", "colour.onnx", "--exit-code")
    assert (done.returncode, done.stderr) == (0, "") and "the same person" in done.stdout
