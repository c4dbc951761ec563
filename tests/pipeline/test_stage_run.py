"""All stages, one after another: what they leave, what is passed over, what is done again, and what a kill costs."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from painted_people import mean_colour_model
from sightline.card import Threshold
from sightline.errors import ConfigError, ModelNotFoundError, OutputError, SightlineError, SourceError
from sightline.files import locked
from sightline.pipeline.cluster import look_at
from sightline.pipeline.crop_folders import people_in
from sightline.pipeline.stages.records import read_object, read_record
from sightline.pipeline.stages.run import StagesOutcome, run_stages
from sightline.pipeline.stages.tracklet_file import read_tracked
from sightline.reid.embedder import Embedder
from sightline.reid.thresholds import keep_thresholds
from sightline.runtime.open import open_session
from sightline.synth.scene import Scene
from sightline.tracking.mot_files import write_mot
from sightline.tracking.precomputed import read_detections
from sightline.video import VideoWriter
from stage_films import BLUE, FRAMES, GREEN, RED, paint_film, write_pipeline

ALL = ["stage0", "stage1", "stage2", "stage3a", "stage3b", "stage3c"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its vectors are mean colours: red is like red, and blue like neither red nor green."""
    return mean_colour_model(tmp_path_factory.mktemp("models") / "colour.onnx")


@pytest.fixture
def root(tmp_path: Path, model: Path) -> Path:
    """A folder in which every stage is done."""
    run_stages(fresh(tmp_path, model))
    return tmp_path


def done(found: StagesOutcome) -> list[str]:
    return [stage.stage.partition("_")[0] for stage in found.stages if stage.done]


def reason(found: StagesOutcome, stage: str) -> str:
    (one,) = (one for one in found.stages if one.stage.startswith(f"{stage}_"))
    return one.reason


def fresh(tmp_path: Path, model: Path, **sections: Any) -> Path:
    return write_pipeline(tmp_path, paint_film(tmp_path / "film"), model, **sections)


# What they leave


def test_every_stage_leaves_a_file_with_what_it_was_made_from(root: Path) -> None:
    out = root / "out"
    files = (
        *("stage0_video.json", "stage1_detections.npz", "stage2_tracklets.npz", "stage3a_canonical_persons.npz"),
        *("stage3b_ranking.json", "stage3c_persons.npz"),
    )
    for stage, name in zip(ALL, files, strict=True):
        record = read_record(out / name)
        assert record["stage"].startswith(stage) and len(record["fingerprint"]) == 64
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        *files,
        *("stage3c_crops", "timing.json", "resolved.yaml"),
    }
    seconds = json.loads((out / "timing.json").read_text())
    assert [name.partition("_")[0] for name in seconds] == ALL
    assert all(value >= 0 for value in seconds.values())


def test_the_detections_are_read_as_any_precomputed_ones(root: Path) -> None:
    """12 frames of the red, 12 of the blue, 12 of the red again."""
    found = read_detections(root / "out" / "stage1_detections.npz")
    assert len(found) == 36
    assert found.at(8).boxes_xyxy[np.argsort(found.at(8).boxes_xyxy[:, 0])].tolist() == [
        [8, 8, 24, 40],
        [40, 8, 56, 40],
    ]
    assert len(found.at(20)) == 0


def test_who_comes_back_looking_the_same_is_one_person_and_shares_a_folder(root: Path) -> None:
    """Red in frames 0 to 11 and 34 to 45, in two places half a second apart: only looks tell. Blue is blue."""
    stage3a = read_tracked(root / "out" / "stage3a_canonical_persons.npz")
    assert [(int(one.frames[0]), int(one.frames[-1])) for one in stage3a.tracklets] == [(1, 11), (7, 17), (35, 45)]
    persons = read_tracked(root / "out" / "stage3c_persons.npz")
    assert persons.members == ((1, 3), (2,))
    assert persons.tracklets[0].frames.tolist() == [*range(1, 12), *range(35, 46)]
    record = read_record(root / "out" / "stage3c_persons.npz")
    assert [merge["persons"] for merge in record["merges"]] == [["1", "3"]]
    assert record["threshold"] == 0.98 and "given by hand" in record["threshold_source"]

    folders = people_in(root / "out" / "stage3c_crops" / "film")
    assert [folder.person_id for folder in folders] == ["1", "2"]
    assert [int(file.stem) for file in folders[0].files] == [*range(1, 12), *range(35, 46)]
    assert folders[0].sightings is not None and folders[0].sightings.size_hw == (48, 96)
    assert folders[0].rows() == list(range(22)), "every crop has the box of its own frame"
    assert look_at(folders).whole


def test_crops_show_whom_they_are_said_to_show(root: Path) -> None:
    import cv2

    crops = root / "out" / "stage3c_crops" / "film"
    for name, colour in (("1/000005.jpg", RED), ("1/000040.jpg", RED), ("2/000010.jpg", BLUE)):
        image = cv2.imread(str(crops / name))
        assert image.shape == (32, 16, 3)
        assert np.abs(image.mean(axis=(0, 1)) - colour).max() < 12


def test_a_stage_says_what_it_found_also_when_it_is_passed_over(root: Path) -> None:
    again = run_stages(root / "pipeline.yaml")
    assert done(again) == []
    assert [stage.told for stage in again.stages] == [
        "as it is",
        "36 boxes in 48 frames, by boxes",
        "3 tracklets of 33 boxes, by appearance",
        "3 persons of 3 tracklets",
        "3 of 3 persons kept",
        "2 persons of 3, with 33 crops",
    ]
    assert {stage.reason for stage in again.stages} == {"there already"}


# What is done again


def test_a_second_run_touches_no_file(root: Path) -> None:
    def times() -> dict[str, int]:
        kept = {path for path in (root / "out").rglob("*") if path.is_file() and path.name != "resolved.yaml"}
        return {str(path): path.stat().st_mtime_ns for path in kept}

    before = times()
    run_stages(root / "pipeline.yaml")
    assert times() == before


def test_from_a_stage_on_all_are_done_again_and_none_before(root: Path) -> None:
    for start, expected in (("stage3c", ALL[5:]), ("stage2_track", ALL[2:]), ("stage0", ALL)):
        again = run_stages(root / "pipeline.yaml", start=start)
        assert done(again) == expected
        assert reason(again, expected[0]) == "asked for"


def test_until_a_stage_the_later_ones_are_left_for_another_run(tmp_path: Path, model: Path) -> None:
    config = fresh(tmp_path, model)
    assert done(run_stages(config, until="stage3a")) == ALL[:4]
    assert not (tmp_path / "out" / "stage3b_ranking.json").exists()
    assert done(run_stages(config)) == ALL[4:]


def test_a_changed_setting_redoes_its_stage_and_what_comes_out_otherwise(root: Path, model: Path) -> None:
    """Nobody is seen for less than 9 frames, so the file of tracklets changes in its record alone; all after it is
    done again, for it is made of another file."""
    config = write_pipeline(root, root / "film", model, stage2_track={"min_frames": 9})
    again = run_stages(config)
    assert done(again) == ALL[2:]
    assert reason(again, "stage2") == "min_frames changed"
    assert reason(again, "stage3a") == "stage2_track changed"


def test_a_changed_setting_of_a_late_stage_leaves_the_early_ones(root: Path, model: Path) -> None:
    weights = {"duration": 1.0, "coverage": 0.0, "centre": 0.0, "smoothness": 0.0}
    again = run_stages(write_pipeline(root, root / "film", model, stage3b_ranking={"weights": weights}))
    assert done(again) == ALL[4:]
    assert reason(again, "stage3b") == "weights.duration, weights.coverage, weights.centre, weights.smoothness changed"


def test_a_file_of_other_settings_is_not_used_also_before_the_stage_to_begin_with(root: Path, model: Path) -> None:
    config = write_pipeline(root, root / "film", model, stage1_detect={"batch": 3})
    assert done(run_stages(config, start="stage3c")) == ALL[1:]


def test_another_film_of_the_same_name_is_another_film(root: Path) -> None:
    shutil.rmtree(root / "film")
    (root / "boxes.txt").unlink()
    paint_film(root / "film", ((range(20), GREEN, 30),))
    again = run_stages(root / "pipeline.yaml")
    assert done(again) == ALL
    assert reason(again, "stage0") == "recording changed"
    assert again.stages[-1].told.startswith("1 person of 1,")


def test_another_model_under_the_same_name_is_another_model(tmp_path: Path, model: Path) -> None:
    own = tmp_path / "model.onnx"
    shutil.copy(model, own)
    config = fresh(tmp_path, own, stage3c_reid_refinement={"similarity_threshold": None})
    assert done(run_stages(config)) == ALL
    with open_session(own, device="cpu") as session:
        keep_thresholds(Embedder(session), [Threshold(0.98, 0.001, "averaged", 50_000)])
    again = run_stages(config)
    assert done(again) == ["stage3c"]
    assert reason(again, "stage3c") == f"{own} changed"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stage1_detections.npz", ["stage1"]),
        ("stage3a_canonical_persons.npz", ["stage3a"]),
        ("stage3b_ranking.json", ["stage3b"]),
        ("stage3c_persons.npz", ["stage3c"]),
    ],
)
def test_a_damaged_file_is_made_again_the_same_so_that_the_rest_still_fits(
    root: Path, name: str, expected: list[str]
) -> None:
    path = root / "out" / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    again = run_stages(root / "pipeline.yaml")
    assert done(again) == expected
    assert f"{name} is damaged" in reason(again, expected[0])
    assert path.read_bytes() == whole


@pytest.mark.parametrize("lost", ["1/000005.jpg", "2"])
def test_crops_that_are_gone_are_taken_again(root: Path, lost: str) -> None:
    path = root / "out" / "stage3c_crops" / "film" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = run_stages(root / "pipeline.yaml")
    assert done(again) == ["stage3c"]
    assert path.exists()


def test_a_file_of_another_program_in_the_place_of_ours_is_made_again(root: Path) -> None:
    np.savez(root / "out" / "stage3c_persons.npz", meta=np.array('{"stage": "mine"}'))
    assert done(run_stages(root / "pipeline.yaml")) == ["stage3c"]


# Who is merged


def test_twins_who_are_seen_together_stay_two(tmp_path: Path, model: Path) -> None:
    together = ((range(20), RED, 8), (range(10, 30), RED, 60))
    config = write_pipeline(tmp_path, paint_film(tmp_path / "film", together), model)
    assert run_stages(config).stages[-1].told.startswith("2 persons of 2,")
    (refused,) = read_record(tmp_path / "out" / "stage3c_persons.npz")["refused"]
    assert refused["persons"] == ["1", "2"] and refused["reason"] == "visible in the same frame"


def test_a_model_nobody_calibrated_merges_nobody_and_says_what_to_do(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = fresh(tmp_path, model, stage3c_reid_refinement={"similarity_threshold": None})
    assert run_stages(config).stages[-1].told.startswith("3 persons of 3,")
    assert "nobody is merged" in caplog.text and "`sightline calibrate`" in caplog.text
    assert read_record(tmp_path / "out" / "stage3c_persons.npz")["threshold"] is None


def test_a_calibrated_threshold_decides(tmp_path: Path, model: Path) -> None:
    own = tmp_path / "model.onnx"
    shutil.copy(model, own)
    with open_session(own, device="cpu") as session:
        keep_thresholds(Embedder(session), [Threshold(0.985, 0.001, "averaged", 50_000)])
    run_stages(fresh(tmp_path, own, stage3c_reid_refinement={"similarity_threshold": None}))
    record = read_record(tmp_path / "out" / "stage3c_persons.npz")
    assert record["threshold"] == 0.985 and [merge["persons"] for merge in record["merges"]] == [["1", "3"]]


def test_switched_off_it_takes_crops_and_needs_no_model(tmp_path: Path) -> None:
    config = fresh(tmp_path, tmp_path / "absent.onnx", stage3c_reid_refinement={"enabled": False})
    assert run_stages(config).stages[-1].told == "3 persons of 3, with 33 crops"


def test_only_those_the_ranking_keeps_go_on(tmp_path: Path, model: Path) -> None:
    config = fresh(tmp_path, model, stage3b_ranking={"top_n": 1}, stage3c_reid_refinement={"crops_per_person": 5})
    assert run_stages(config).stages[-1].told == "1 person of 1, with 5 crops"
    _, ranking = read_object(tmp_path / "out" / "stage3b_ranking.json")
    assert len(ranking["ranking"]) == 3 and ranking["kept"] == [ranking["ranking"][0]["person"]]


def test_a_film_with_nobody_in_it_goes_through(tmp_path: Path, model: Path) -> None:
    config = write_pipeline(tmp_path, paint_film(tmp_path / "film", ()), model)
    found = run_stages(config)
    assert done(found) == ALL
    assert found.stages[-1].told == "0 persons of 0, with 0 crops"
    assert done(run_stages(config)) == []


# A real street, and a network that is one


def test_a_street_goes_through_all_stages_with_an_osnet(tmp_path: Path, osnet: Path) -> None:
    """Boxes are the truth of the scene, so every box is in a tracklet, and every crop within a box of its frame."""
    scene = Scene(8, people=3, cameras=1, frames=50, size_hw=(180, 320), fps=10)
    truth = scene.ground_truth(0)
    with VideoWriter(tmp_path / "street.mp4", fps=10) as writer:
        for image, _ in scene.camera(0):
            writer.write(image)
    write_mot(tmp_path / "boxes.txt", truth.take(truth.confidences > 0))
    config = write_pipeline(tmp_path, tmp_path / "street.mp4", osnet)
    stages = []
    found = run_stages(config, progress=lambda stage, done, total: stages.append(stage))
    assert done(found) == ALL
    assert {"stage1_detect", "stage2_track", "taking crops", "embedding"} <= set(stages)

    boxes = {tuple(np.float32(box).tolist()) for box in truth.boxes_xyxy}
    tracklets = read_tracked(tmp_path / "out" / "stage2_tracklets.npz")
    assert (tracklets.film.frames, tracklets.film.fps) == (50, 10)
    assert tracklets.boxes() > 0.7 * (truth.confidences > 0).sum()
    assert all(tuple(box) in boxes for one in tracklets.tracklets for box in one.boxes_xyxy.tolist())
    _, ranking = read_object(tmp_path / "out" / "stage3b_ranking.json")
    folders = people_in(tmp_path / "out" / "stage3c_crops" / "street")
    assert 1 <= len(folders) <= len(ranking["kept"])
    assert look_at(folders).whole


# What cannot be done


def test_each_mistake_is_one_line_and_what_was_done_before_it_stays(tmp_path: Path, model: Path) -> None:
    config = fresh(tmp_path, tmp_path / "absent.onnx")
    with pytest.raises(ModelNotFoundError, match="absent"):
        run_stages(config)
    assert done(run_stages(write_pipeline(tmp_path, tmp_path / "film", model))) == ["stage3c"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"start": "stage9"}, "no stage 'stage9'; expected one of stage0, stage1, stage2, stage3a, stage3b, stage3c"),
        ({"until": "stage"}, "no stage 'stage'"),
        ({"start": "stage3b", "until": "stage2"}, "--from stage3b comes after --until stage2"),
    ],
)
def test_a_stage_that_is_none_is_one_line(tmp_path: Path, model: Path, names: dict[str, str], words: str) -> None:
    config = fresh(tmp_path, model)
    with pytest.raises(ConfigError, match=words):
        run_stages(config, **names)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("video", "words"),
    [("absent.mp4", "video not found: absent.mp4"), ("rtsp://x/1", "is a camera"), ("0", "is a camera")],
)
def test_what_is_no_recording_is_one_line(tmp_path: Path, model: Path, video: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        run_stages(fresh(tmp_path, model), overrides=[f"video_file='{video}'"])


def test_untrained_weights_are_refused_before_a_frame_is_decoded(tmp_path: Path, model: Path) -> None:
    config = fresh(tmp_path, model)
    run_stages(config, until="stage3b")
    shutil.rmtree(tmp_path / "film")
    with pytest.raises(SightlineError):
        run_stages(config)
    assert not list((tmp_path / "out").glob("stage3c*"))


def test_boxes_of_another_film_are_warned_of(tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = fresh(tmp_path, model)
    with (tmp_path / "boxes.txt").open("a") as file:
        file.write("\n900,-1,1,1,20,20,0.9")
    run_stages(config, until="stage1")
    assert f"boxes has boxes up to frame 900, and film ends at {FRAMES}" in caplog.text


def test_two_runs_in_one_folder_do_not_write_into_each_other(tmp_path: Path, model: Path) -> None:
    config = fresh(tmp_path, model)
    (tmp_path / "out").mkdir()
    with (
        locked(tmp_path / "out" / ".lock", holder="somebody"),
        pytest.raises(OutputError, match="is being written by another run of its stages"),
    ):
        run_stages(config)


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path, model: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="cannot write"):
        run_stages(fresh(tmp_path, model))


# Killed


KILLED = """
import os, signal, sys
from pathlib import Path
from sightline.pipeline.stages import crops, refinement
from sightline.pipeline.stages.run import run_stages

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

where, config = sys.argv[1:]
if where == "crops":
    real, left = crops.write_bytes, iter(range(10))
    crops.write_bytes = lambda *given: real(*given) if next(left, None) is not None else die()
elif where == "merging":
    refinement.merge_people = die
elif where == "sharing":
    refinement.write_tracked = die
run_stages(Path(config))
"""


@pytest.mark.parametrize("where", ["crops", "merging", "sharing"])
def test_killed_in_the_last_stage_it_goes_on_there_and_ends_the_same(root: Path, tmp_path: Path, where: str) -> None:
    def tree() -> dict[str, bytes]:
        folder = root / "out" / "stage3c_crops"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    whole, record = tree(), read_record(root / "out" / "stage3c_persons.npz")
    shutil.rmtree(root / "out" / "stage3c_crops")
    for name in ("stage3c_persons.npz", ".stage3c_vectors.npz"):
        (root / "out" / name).unlink()
    killed = subprocess.run([sys.executable, "-c", KILLED, where, root / "pipeline.yaml"], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert not (root / "out" / "stage3c_persons.npz").exists()
    again = run_stages(root / "pipeline.yaml")
    assert done(again) == ["stage3c"]
    assert tree() == whole
    assert read_record(root / "out" / "stage3c_persons.npz") == record
    assert [path.name for path in (root / "out" / "stage3c_crops").iterdir()] == ["film"], "nothing half is left"


def test_killed_before_its_record_the_crops_of_other_settings_are_not_taken_for_those_of_the_old(
    root: Path, model: Path
) -> None:
    """The stage is done with fewer crops, and killed when its folder is there and its record is not. With the old
    settings again, the old record would have fitted, and its folder is gone."""
    fewer = {"crops_per_person": 22, "similarity_threshold": 0.5}
    config = write_pipeline(root, root / "film", model, stage3c_reid_refinement=fewer)
    killed = subprocess.run([sys.executable, "-c", KILLED, "sharing", config], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert done(run_stages(write_pipeline(root, root / "film", model))) == ["stage3c"]
