"""`sightline cluster`: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image as PillowImage
from running import error_line, sightline

from painted_people import mean_colour_model
from sightline.card import Threshold
from sightline.cli import main
from sightline.errors import NoBackendError
from sightline.pipeline.cluster_config import ClusteringSection, Stage, read_stage
from sightline.reid.embedder import Embedder
from sightline.reid.thresholds import keep_thresholds
from sightline.runtime.open import open_session

Capture = pytest.CaptureFixture[str]
CONFIG = Path(__file__).resolve().parents[2] / "configs/pipeline_config.yaml"
RED, CRIMSON, BLUE = (220, 40, 30), (210, 45, 38), (20, 60, 230)


@pytest.fixture(scope="module")
def colour_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mean_colour_model(tmp_path_factory.mktemp("models") / "colour.onnx")


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """red and crimson look alike, blue does not."""
    folder = tmp_path / "crops"
    for seed, (name, colour) in enumerate({"red": RED, "crimson": CRIMSON, "blue": BLUE}.items()):
        write_person(folder / name, colour, seed=seed)
    return folder


def write_person(folder: Path, colour: tuple[int, int, int], *, seed: int = 0, count: int = 3) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        pixels = np.array(colour) + rng.integers(0, 20, (16, 8, 3))
        PillowImage.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")


def write_track(folder: Path, first: int, *, fps: float = 25.0) -> None:
    frames = [first, first + 1, first + 2]
    track = {"frame_numbers": frames, "bboxes": [[10, 10, 20, 30]] * 3, "fps": fps}
    (folder / "track.json").write_text(json.dumps(track))


def run(crops: Path, *arguments: str | Path, output: Path | None = None) -> int:
    out = crops.parent / "out" if output is None else output
    return main(["cluster", str(crops), "-o", str(out), "--device", "cpu", *map(str, arguments)])


def told(crops: Path, name: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((crops.parent / "out" / name).read_text())
    return content


# What it writes


def test_it_writes_the_files_and_the_page_and_says_so(crops: Path, colour_model: Path, capsys: Capture) -> None:
    assert run(crops, "-m", colour_model) == 0
    out = crops.parent / "out"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 people compared by mean-colour (onnx), averaged"
    assert lines[1].startswith("1 pair at 0.7 or above (not calibrated")
    assert lines[2].endswith("  crimson – red")
    names = (
        *("similarity_matrix.json", "similarity_matrix.npy", "embeddings.json", "embeddings.npy"),
        "person_selection.html",
    )
    assert lines[3:] == [str(out / name) for name in names]
    assert {"webp", "crop_vectors.npz", *names} <= {path.name for path in out.iterdir()}
    assert {path.name for path in (out / "webp").iterdir()} >= {f"person_{name}.webp" for name in ("red", "blue")}
    assert told(crops, "similarity_matrix.json")["person_ids"] == ["blue", "crimson", "red"]
    assert told(crops, "embeddings.json")["feature_dimension"] == 3


def test_json_has_what_the_table_has_and_nothing_else_is_printed(
    crops: Path, colour_model: Path, capsys: Capture
) -> None:
    assert run(crops, "-m", colour_model, "--merge", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["persons"] == ["blue", "crimson", "red"]
    assert [pair[:2] for pair in found["high_similarity_pairs"]] == [["crimson", "red"]]
    assert found["merges"] == [["crimson", "red"]]
    assert (found["model_type"], found["similarity_form"], found["calibrated"]) == ("onnx", "averaged", False)
    assert len(found["fingerprint"]) == 64
    assert all(Path(path).exists() for path in found["files"])


def test_quiet_says_nothing(crops: Path, colour_model: Path, capsys: Capture) -> None:
    assert run(crops, "-m", colour_model, "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_pairs_of_crops_are_the_other_form(crops: Path, colour_model: Path) -> None:
    run(crops, "-m", colour_model, "--form", "pairs", "--threshold", "0.5")
    found = told(crops, "similarity_matrix.json")
    assert (found["similarity_form"], found["similarity_threshold"]) == ("pairs", 0.5)


def test_a_second_run_into_the_crops_themselves_finds_the_same_people(crops: Path, colour_model: Path) -> None:
    for _ in range(2):
        assert run(crops, "-m", colour_model, "-q", output=crops / "webp_viewer") == 0
    found = json.loads((crops / "webp_viewer" / "similarity_matrix.json").read_text())
    assert found["person_ids"] == ["blue", "crimson", "red"]


def test_without_a_cache_none_is_written(crops: Path, colour_model: Path) -> None:
    assert run(crops, "-m", colour_model, "--no-cache") == 0
    assert not (crops.parent / "out" / "crop_vectors.npz").exists()


def test_one_person_is_a_page_of_one(tmp_path: Path, colour_model: Path, capsys: Capture) -> None:
    write_person(tmp_path / "crops" / "alone", RED)
    assert run(tmp_path / "crops", "-m", colour_model, "--merge") == 0
    assert "1 person compared" in capsys.readouterr().out


def test_people_may_be_called_anything_and_the_page_shows_it_as_text(tmp_path: Path, colour_model: Path) -> None:
    names = ["<script>document.title='x'<", '🙂 & "co"', "sch\u2215ön"]
    for seed, name in enumerate(names):
        write_person(tmp_path / "crops" / name, RED, seed=seed)
    assert run(tmp_path / "crops", "-m", colour_model) == 0
    assert sorted(told(tmp_path / "crops", "similarity_matrix.json")["person_ids"]) == sorted(names)  # type: ignore[call-overload]  # a list
    assert "<script>document" not in (tmp_path / "out" / "person_selection.html").read_text(encoding="utf-8")


# Merging


def test_people_alike_are_merged_and_reported(crops: Path, colour_model: Path, capsys: Capture) -> None:
    assert run(crops, "-m", colour_model, "--merge") == 0
    (merge,) = told(crops, "merging_report.json")["merges"]  # type: ignore[misc,attr-defined]  # a list of one
    assert merge["merged_persons"] == ["crimson", "red"]
    assert "1 group of one person each; 0 pairs alike but kept apart\n  crimson, red\n" in capsys.readouterr().out


def test_people_in_one_frame_are_not_merged(crops: Path, colour_model: Path) -> None:
    write_track(crops / "red", 100)
    write_track(crops / "crimson", 102)
    assert run(crops, "-m", colour_model, "--merge") == 0
    report = told(crops, "merging_report.json")
    assert report["merges"] == [] and report["refused_pairs"] == 1


@pytest.mark.parametrize(("gap", "merges"), [("47", 0), ("48", 1)])
def test_a_gap_can_be_too_long(crops: Path, colour_model: Path, gap: str, merges: int) -> None:
    write_track(crops / "red", 0)
    write_track(crops / "crimson", 50)
    assert run(crops, "-m", colour_model, "--merge", "--max-gap", gap) == 0
    assert len(told(crops, "merging_report.json")["merges"]) == merges  # type: ignore[arg-type]  # a list


def test_a_report_of_an_earlier_run_does_not_outlive_its_scores(crops: Path, colour_model: Path) -> None:
    run(crops, "-m", colour_model, "--merge")
    assert (crops.parent / "out" / "merging_report.json").exists()
    run(crops, "-m", colour_model)
    assert not (crops.parent / "out" / "merging_report.json").exists()


# Random weights


def test_random_weights_are_refused_unless_allowed(crops: Path, tmp_path: Path, capsys: Capture) -> None:
    missing = tmp_path / "osnet_x0_25.onnx"
    assert run(crops, "-m", missing) == 1
    assert error_line(capsys.readouterr().err).startswith(f"model file not found: {missing}")
    assert not (tmp_path / "out").exists()


def test_random_weights_are_marked_everywhere_and_merge_nobody(
    crops: Path, tmp_path: Path, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    model = ("-m", tmp_path / "osnet_x0_25.onnx", "--allow-untrained")
    assert run(crops, *model) == 0
    assert "UNTRAINED random weights" in caplog.text and "osnet_x0_25 (random)" in capsys.readouterr().out
    for name in ("similarity_matrix.json", "embeddings.json"):
        assert told(crops, name)["model_type"] == "random"
    assert run(crops, *model, "--merge", "-q", output=tmp_path / "second") == 1
    assert "has random weights, to which all people look alike: nobody is merged" in error_line(capsys.readouterr().err)
    assert list((tmp_path / "second").iterdir()) == [], "it is refused before the work and not after it"


# What cannot be read


def test_who_has_no_readable_crop_is_named_and_the_exit_code_says_so(
    crops: Path, colour_model: Path, capsys: Capture
) -> None:
    (crops / "ghost").mkdir()
    (crops / "red" / "1.png").write_bytes(b"")
    assert run(crops, "-m", colour_model) == 3
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        f"sightline: skipped: {crops / 'red' / '1.png'} is empty (0 bytes)",
        "sightline: 'ghost' is left out: no readable crop",
    ]
    assert captured.out.startswith("3 people compared")


def test_nobody_readable_is_an_empty_page(tmp_path: Path, colour_model: Path, capsys: Capture) -> None:
    (tmp_path / "crops" / "ghost").mkdir(parents=True)
    assert run(tmp_path / "crops", "-m", colour_model, "--merge") == 3
    assert capsys.readouterr().out.startswith("0 people compared")


def test_a_folder_of_nobody_is_one_line(tmp_path: Path, colour_model: Path, capsys: Capture) -> None:
    (tmp_path / "crops").mkdir()
    assert run(tmp_path / "crops", "-m", colour_model) == 1
    assert "it is empty; expected a folder of crops for each" in error_line(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_broken_track_is_one_line_with_its_name(crops: Path, colour_model: Path, capsys: Capture) -> None:
    (crops / "red" / "track.json").write_text('{"frame_numbers": [1]}')
    assert run(crops, "-m", colour_model) == 1
    assert error_line(capsys.readouterr().err).startswith(f"{crops / 'red' / 'track.json'} cannot be used")


def test_an_output_that_cannot_be_written_is_found_out_before_the_work(
    crops: Path, colour_model: Path, capsys: Capture
) -> None:
    (crops.parent / "file").touch()
    assert run(crops, "-m", colour_model, output=crops.parent / "file" / "out") == 1
    assert error_line(capsys.readouterr().err).endswith("file/out: its parent is not a folder")


def test_without_a_model_it_asks_for_one(crops: Path, capsys: Capture) -> None:
    assert run(crops) == 1
    assert error_line(capsys.readouterr().err) == "no model; pass -m MODEL, or --config with clustering.osnet_model"


@pytest.mark.parametrize("arguments", [("--threshold", "1.5"), ("--threshold", "x"), ("--max-gap", "-1")])
def test_a_flag_out_of_range_is_wrong_usage(crops: Path, arguments: tuple[str, str], capsys: Capture) -> None:
    assert run(crops, *arguments) == 2
    assert error_line(capsys.readouterr().err).startswith(f"argument {arguments[0]}")


# The pipeline file


def write_config(folder: Path, clustering: dict[str, object], **stage: object) -> Path:
    path = folder / "pipeline.yaml"
    content = {
        "global": {"models_dir": str(folder / "models"), "current_video": "film"},
        "stage1_detect": {"any": ["thing"], "at": {"all": 1}},
        "stage4_generate_html": {"canonical_persons_file": "x.npz", **stage, "clustering": clustering},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_file_names_the_model_the_output_and_the_threshold(crops: Path, tmp_path: Path, colour_model: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "reid.onnx").write_bytes(colour_model.read_bytes())
    clustering = {"enabled": True, "osnet_model": "${models_dir}/reid.onnx", "similarity_threshold": 0.55}
    config = write_config(tmp_path, clustering, output_dir=f"{tmp_path}/${{current_video}}")
    assert main(["cluster", str(crops), "--config", str(config), "-q"]) == 0
    assert json.loads((tmp_path / "film" / "similarity_matrix.json").read_text())["similarity_threshold"] == 0.55


def test_a_flag_wins_over_the_file(crops: Path, tmp_path: Path, colour_model: Path) -> None:
    config = write_config(tmp_path, {"osnet_model": "nowhere.onnx", "similarity_threshold": 0.55, "form": "pairs"})
    flags = ("-m", colour_model, "--threshold", "0.7", "--form", "averaged")
    assert run(crops, "--config", config, *flags) == 0
    found = told(crops, "similarity_matrix.json")
    assert (found["similarity_threshold"], found["similarity_form"]) == (0.7, "averaged")


def test_the_fallback_is_used_where_there_is_no_model_and_that_is_said(
    crops: Path, tmp_path: Path, colour_model: Path, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    config = write_config(tmp_path, {"osnet_model": "nowhere.onnx", "osnet_model_fallback": str(colour_model)})
    assert run(crops, "--config", config) == 0
    assert "model file not found: nowhere.onnx" in caplog.text
    assert told(crops, "embeddings.json")["model"] == "mean-colour"
    assert run(crops, "--config", config, "--no-fallback") == 1
    assert "nowhere.onnx" in error_line(capsys.readouterr().err)


def test_the_rule_about_gaps_is_the_files_and_not_that_of_the_bare_command(
    crops: Path, tmp_path: Path, colour_model: Path
) -> None:
    write_track(crops / "red", 0)
    write_track(crops / "crimson", 50)
    config = write_config(tmp_path, {"osnet_model": str(colour_model)})
    assert run(crops, "--config", config, "--merge") == 0
    report = told(crops, "merging_report.json")
    assert (report["max_gap_frames"], report["merges"]) == (15, [])
    assert run(crops, "-m", colour_model, "--merge") == 0
    assert told(crops, "merging_report.json")["max_gap_frames"] is None


@pytest.mark.parametrize(
    ("clustering", "words"),
    [
        ({"num_best_crop": 16}, "did you mean clustering.num_best_crops?"),
        ({"num_best_crops": "many"}, "num_best_crops"),
        ({"num_best_crops": 0}, "clustering.num_best_crops is 0; expected 1 or more"),
        ({"similarity_threshold": 70}, "clustering.similarity_threshold is 70; expected a cosine"),
        ({"form": "best"}, "clustering.form is 'best'; expected one of averaged, pairs"),
        ({"osnet_model": "${model_dir}/x.onnx"}, "model_dir"),
        ({"osnet_model": b"x.onnx"}, "bytes"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_its_key(
    crops: Path, tmp_path: Path, clustering: dict[str, object], words: str, capsys: Capture
) -> None:
    config = write_config(tmp_path, clustering)
    assert run(crops, "--config", config) == 1
    line = error_line(capsys.readouterr().err)
    assert line.startswith(str(config)) and words in line


def test_a_file_without_the_stage_says_what_is_missing(crops: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "other.yaml").write_text("global: {}\n")
    assert run(crops, "--config", tmp_path / "other.yaml") == 1
    assert "has no section stage4_generate_html" in error_line(capsys.readouterr().err)


def test_switched_off_it_writes_the_page_without_scores(crops: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run(crops, "--config", write_config(tmp_path, {"enabled": False})) == 3
    assert capsys.readouterr().out.startswith("3 people, not compared\n")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["person_selection.html", "tracks.npz", "webp"]


def test_without_a_runtime_the_page_is_still_written(
    crops: Path, colour_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nothing_installed(*_: object, **__: object) -> None:
        raise NoBackendError("No OSNet backend available for colour.onnx: onnxruntime: not installed")

    monkeypatch.setattr("sightline.cli.model_arguments.open_session", nothing_installed)
    assert run(crops, "-m", colour_model) == 3
    assert "No OSNet backend available" in caplog.text and "the page is written without scores" in caplog.text
    assert (crops.parent / "out" / "person_selection.html").exists()
    assert run(crops, "-m", colour_model, "--no-fallback") == 1


def test_the_file_that_comes_with_the_project_says_nothing_but_defaults() -> None:
    stage = read_stage(CONFIG)
    assert stage.clustering.osnet_model == "models/reid/osnet_x0_25_msmt17.onnx"
    assert stage.output_dir == "runs/people/webp_viewer"
    models = ("models/reid/osnet_x0_25_msmt17.onnx", "models/osnet/osnet_x0_25_msmt17.pth")
    assert stage == Stage(output_dir="runs/people/webp_viewer", clustering=ClusteringSection(True, *models))


# The threshold, and the end


def test_a_calibrated_model_brings_its_threshold(
    crops: Path, tmp_path: Path, colour_model: Path, capsys: Capture
) -> None:
    model = tmp_path / "calibrated.onnx"
    model.write_bytes(colour_model.read_bytes())
    with open_session(model, device="cpu") as session:
        keep_thresholds(Embedder(session), [Threshold(0.8125, 0.001, "averaged", 50_000)])
    assert run(crops, "-m", model, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["similarity_threshold"], found["calibrated"]) == (0.8125, True)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(crops: Path, colour_model: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="the limit that stands for a full disk is one of Unix")

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

    done: subprocess.CompletedProcess[str] = sightline(
        *("cluster", crops, "-m", colour_model, "-o", tmp_path / "out", "--device", "cpu"),
        before=small_files,
        PYTHONDONTWRITEBYTECODE="1",  # which would be cut short as well, and believed by the next run
    )
    assert done.returncode == 1
    assert error_line(done.stderr).startswith(f"cannot write {tmp_path / 'out'}")
    assert list((tmp_path / "out").iterdir()) == []
