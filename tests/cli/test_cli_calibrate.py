from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from running import error_line, sightline

from painted_people import mean_colour, mean_colour_model, paint, write_labels
from sightline.cli import main
from sightline.onnx_file import read_onnx

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people before two cameras, four pictures each; a few of them are a gallery too."""
    home = tmp_path_factory.mktemp("workplace")
    shots = paint(home / "images", people="abcdefghijkl", cameras=2, shots=4)
    write_labels(home / "labels.csv", shots)
    for shot in shots[:48]:
        (home / "gallery" / shot.person).mkdir(parents=True, exist_ok=True)
        shutil.copy(shot.path, home / "gallery" / shot.person / shot.path.name)
    mean_colour_model(home / "colour.onnx")
    return home


@pytest.fixture(autouse=True)
def _there(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of its own for each test: calibrating changes the model."""
    shutil.copytree(made, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")


def calibrated(*arguments: str | Path, model: str = "colour.onnx") -> int:
    return main(["calibrate", "-m", model, *map(str, arguments)])


CSV = ("--csv", "labels.csv")


def labels() -> list[tuple[Path, str, str]]:
    rows = [line.split(",") for line in Path("labels.csv").read_text().splitlines()[1:]]
    return [(Path(path), person, camera) for path, person, camera in rows]


class TestFigures:
    def test_the_threshold_lets_through_what_a_slow_loop_counts(self, capsys: Capture) -> None:
        assert calibrated(*CSV, "--far", "0.02", "--aggregation", "single", "--json") == 0
        (got,) = json.loads(capsys.readouterr().out)["thresholds"]
        pairs = list(combinations([(mean_colour(path), who, camera) for path, who, camera in labels()], 2))
        impostor = [float(a[0] @ b[0]) for a, b in pairs if a[1] != b[1]]
        genuine = [float(a[0] @ b[0]) for a, b in pairs if a[1] == b[1] and a[2] != b[2]]
        assert (got["pairs"], got["genuine_pairs"]) == (len(impostor), len(genuine))
        let_through = sum(score >= got["value"] for score in impostor)
        assert let_through == pytest.approx(0.02 * len(impostor), abs=1.5)
        assert got["tar"] == pytest.approx(sum(score >= got["value"] for score in genuine) / len(genuine), abs=0.01)

    def test_averages_have_a_threshold_of_their_own(self, capsys: Capture) -> None:
        assert calibrated(*CSV, "--far", "0.1", "--crops", "2", "--json") == 0
        single, averaged = json.loads(capsys.readouterr().out)["thresholds"]
        assert (single["aggregation"], averaged["aggregation"]) == ("single", "averaged")
        entries = 12 * 2 * 2  # people, cameras, halves of four pictures
        assert averaged["pairs"] == entries * (entries - 4) // 2
        assert averaged["value"] != single["value"]
        assert "48 averages of 2 to 2 crops" in averaged["source"]

    def test_the_same_seed_gives_the_same_threshold(self, capsys: Capture) -> None:
        told = []
        for seed in ("1", "1", "2"):
            arguments = ("--far", "0.1", "--crops", "2", "--aggregation", "averaged", "--seed", seed, "--dry-run")
            assert calibrated(*CSV, *arguments, "--json") == 0
            told.append(json.loads(capsys.readouterr().out)["thresholds"][0]["value"])
        assert told[0] == told[1] != told[2]

    def test_a_kind_that_cannot_be_had_is_a_note_and_the_other_is_kept(self, capsys: Capture) -> None:
        assert calibrated(*CSV, "--far", "0.02", "--crops", "4") == 0
        out = capsys.readouterr().out
        assert "note: averages of several are not calibrated: a false-accept rate of 0.02 needs 500" in out
        assert "there are 264" in out  # 24 averages, 12 of which pairs are of one person
        assert "averaged" not in read_onnx(Path("colour.onnx")).metadata["sightline.card"]

    def test_too_few_are_refused_and_nothing_is_written(self, capsys: Capture) -> None:
        before = Path("colour.onnx").read_bytes()
        assert calibrated(*CSV, "--far", "0.0001") == 1
        assert "needs 100,000 impostor pairs of single crops; there are 4,224" in error_line(capsys.readouterr().err)
        assert Path("colour.onnx").read_bytes() == before

    def test_accepted_all_the_same_they_are_marked(self, capsys: Capture) -> None:
        assert calibrated(*CSV, "--far", "0.0001", "--accept-few") == 0
        assert "4,224, too few to rely on" in capsys.readouterr().out


class TestSources:
    def test_a_gallery_folder(self, capsys: Capture) -> None:
        assert calibrated("--gallery-dir", "gallery", "--far", "0.1", "--crops", "2", "--json") == 0
        single, averaged = json.loads(capsys.readouterr().out)["thresholds"]
        assert single["pairs"] == 48 * 40 // 2 and single["genuine_pairs"] == 6 * 8 * 7 // 2
        assert averaged["pairs"] == 24 * 20 // 2 and averaged["genuine_pairs"] == 6 * 4 * 3 // 2

    def test_a_list_of_pairs(self, capsys: Capture) -> None:
        rows = [(a[0], b[0], int(a[1] == b[1])) for a, b in combinations(labels()[::6], 2)]
        Path("pairs.csv").write_text("\n".join(["a,b,same", *(f"{a},{b},{same}" for a, b, same in rows)]))
        assert calibrated("--pairs", "pairs.csv", "--far", "0.1", "--json") == 0
        (got,) = json.loads(capsys.readouterr().out)["thresholds"]
        assert (got["pairs"], got["genuine_pairs"]) == tuple(sum(row[2] == same for row in rows) for same in (0, 1))
        assert got["aggregation"] == "single"

    def test_a_published_data_set_without_those_whose_names_nobody_knows(self, capsys: Capture) -> None:
        for number, (path, who, camera) in enumerate(labels()):
            part = "query" if number % 8 == 0 else "bounding_box_test"
            Path("market", part).mkdir(parents=True, exist_ok=True)
            person = 0 if who == "l" else ord(who)
            name = f"{person:04}_c{int(camera) + 1}s1_{number:06}_00.jpg"
            PillowImage.open(path).save(Path("market", part, name))
        shutil.copytree("market/bounding_box_test", "market/bounding_box_train")
        assert calibrated("--dataset", "market", "--far", "0.02", "--aggregation", "single", "--json") == 0
        (got,) = json.loads(capsys.readouterr().out)["thresholds"]
        assert "11 people, 88 images" in got["source"] and got["pairs"] == 88 * 80 // 2

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--csv", "gone.csv"), "gone.csv"),
            (("--gallery-dir", "gone"), "gone"),
            (("--pairs", "gone.csv"), "gone.csv cannot be read"),
            (("--dataset", "images"), "images"),
            (("--pairs", "x.csv", "--aggregation", "averaged"), "single crops only"),
            ((*CSV, "--far", "0.02", "--plots", "labels.csv/x"), "labels.csv/x"),
        ],
    )
    def test_mistakes_are_one_line(self, arguments: tuple[str, ...], message: str, capsys: Capture) -> None:
        assert calibrated(*arguments) == 1
        assert message in error_line(capsys.readouterr().err)

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            (*CSV, "--far", "0"),
            (*CSV, "--far", "0.1,x"),
            (*CSV, "--crops", "1"),
            (*CSV, "--seed", "-1"),
            (*CSV, "--dataset", "m"),
        ],
    )
    def test_flags_that_mean_nothing_are_usage(self, arguments: tuple[str, ...], capsys: Capture) -> None:
        assert calibrated(*arguments) == 2
        assert "see `sightline calibrate --help`" in error_line(capsys.readouterr().err)


class TestKeeping:
    def test_the_model_knows_its_threshold_afterwards_and_its_network_is_the_same(self, capsys: Capture) -> None:
        before = read_onnx(Path("colour.onnx"))
        assert calibrated(*CSV, "--far", "0.02") == 0
        assert capsys.readouterr().out.endswith("colour.onnx\n")
        after = read_onnx(Path("colour.onnx"))
        assert after.fingerprint == before.fingerprint and after.metadata != before.metadata
        image = labels()[0][0]
        assert main(["verify", str(image), str(image), "-m", "colour.onnx", "--exit-code"]) == 0
        assert "calibrated for this model: the card of colour.onnx" in capsys.readouterr().out

    def test_beside_it_leaves_the_model_alone(self, capsys: Capture) -> None:
        before = Path("colour.onnx").read_bytes()
        assert calibrated(*CSV, "--far", "0.02", "--beside") == 0
        assert Path("colour.onnx").read_bytes() == before
        image = labels()[0][0]
        assert main(["verify", str(image), str(image), "-m", "colour.onnx", "--exit-code"]) == 0
        assert "colour.onnx.thresholds.json" in capsys.readouterr().out

    def test_a_link_becomes_a_file_of_its_own_only_when_that_is_asked_for(self, capsys: Capture) -> None:
        Path("link.onnx").symlink_to("colour.onnx")
        before = Path("colour.onnx").read_bytes()
        assert calibrated(*CSV, "--far", "0.02", model="link.onnx") == 0
        assert capsys.readouterr().out.endswith("link.onnx.thresholds.json\n")
        assert calibrated(*CSV, "--far", "0.02", "--in-card", model="link.onnx") == 0
        assert capsys.readouterr().out.endswith("link.onnx\n")
        assert "sightline.card" in read_onnx(Path("link.onnx")).metadata
        assert Path("colour.onnx").read_bytes() == before

    def test_a_dry_run_keeps_nothing(self) -> None:
        before = sorted(path.name for path in Path.cwd().iterdir()), Path("colour.onnx").read_bytes()
        assert calibrated(*CSV, "--far", "0.02", "--dry-run") == 0
        assert (sorted(path.name for path in Path.cwd().iterdir()), Path("colour.onnx").read_bytes()) == before

    def test_both_distributions_are_drawn(self, capsys: Capture) -> None:
        assert calibrated(*CSV, "--far", "0.1", "--crops", "2", "--plots", "deep/plots", "--json") == 0
        assert sorted(path.name for path in Path("deep/plots").iterdir()) == [
            "scores-averaged.svg",
            "scores-single.svg",
        ]
        assert "deep/plots/scores-single.svg" in json.loads(capsys.readouterr().out)["written"]

    def test_random_weights_get_none(self, capsys: Capture) -> None:
        arguments = ("--backend", "untrained", "--far", "0.1")
        assert calibrated(*CSV, *arguments, model="osnet_x0_25.onnx") == 1
        assert "random weights" in capsys.readouterr().err.splitlines()[-1]


def test_a_stranger_calibrates_in_a_process_of_its_own() -> None:
    done = sightline("calibrate", "-m", "colour.onnx", "--csv", "labels.csv", "--far", "0.02")
    assert (done.returncode, done.stderr) == (0, "")
    value = float(np.float32(float(done.stdout.splitlines()[2].split()[2])))
    assert 0 < value < 1
