"""The pipeline file: what it may hold, what follows what, and one clear line for what is wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sightline.config import save_config
from sightline.errors import ConfigError
from sightline.pipeline.stages.config import Pipeline, read_pipeline

SHIPPED = Path(__file__).resolve().parents[2] / "configs/pipeline_config.yaml"


def written(folder: Path, **sections: object) -> Path:
    content = {"global": {"video_file": "film.mp4"}, "stage1_detect": {"detector": "background"}, **sections}
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump({name: section for name, section in content.items() if section != "absent"}))
    return path


def refused(path: Path, *overrides: str) -> str:
    """What is said, which must be one line that names the file."""
    with pytest.raises(ConfigError) as caught:
        read_pipeline(path, overrides=overrides)
    line = str(caught.value)
    assert line.startswith(f"{path}") and "\n" not in line and line.count(str(path)) == 1
    return line


def test_a_recording_and_a_detector_are_enough(tmp_path: Path) -> None:
    pipeline = read_pipeline(written(tmp_path))
    assert (pipeline.video_file, pipeline.output_root) == ("film.mp4", "runs/people")
    weights = pipeline.stage3b_ranking.weights
    assert (weights.duration, weights.coverage, weights.centre, weights.smoothness) == (0.4, 0.3, 0.2, 0.1)
    assert (pipeline.stage3b_ranking.top_n, pipeline.stage3b_ranking.max_first_appearance_ratio) == (10, 0.5)
    assert pipeline.stage4_generate_html.output_dir == "runs/people/webp_viewer"


def test_the_file_that_comes_with_the_project_says_nothing_but_defaults() -> None:
    found = read_pipeline(SHIPPED, overrides=["video_file=x.mp4"])
    models = {"osnet_model": "models/reid/osnet_x0_25_msmt17.onnx"}
    bare = {"detector": "models/detect/yolox_nano.onnx"}
    usual = Pipeline(video_file="x.mp4", stage1_detect=type(found.stage1_detect)(**bare))
    for name in ("stage0_normalise", "stage1_detect", "stage2_track", "stage3a_canonical_persons", "stage3b_ranking"):
        assert getattr(found, name) == getattr(usual, name), name
    fallback = "models/osnet/osnet_x0_25_msmt17.pth"
    refinement = type(found.stage3c_reid_refinement)(**models, osnet_model_fallback=fallback)
    assert found.stage3c_reid_refinement == refinement
    assert found.stage5_selection == usual.stage5_selection


def test_names_of_the_global_section_are_filled_in(tmp_path: Path) -> None:
    shared = {"video_file": "${home}/film.mp4", "home": "/videos"}
    path = written(tmp_path, **{"global": shared, "stage1_detect": {"detector": "${home}/d.onnx"}})
    pipeline = read_pipeline(path)
    assert (pipeline.video_file, pipeline.stage1_detect.detector) == ("/videos/film.mp4", "/videos/d.onnx")


def test_an_override_wins_over_the_file_and_the_page_moves_with_its_root(tmp_path: Path) -> None:
    shared = {"video_file": "film.mp4", "output_root": "runs/a"}
    path = written(tmp_path, **{"global": shared, "stage4_generate_html": {"output_dir": "${output_root}/page"}})
    moved = read_pipeline(path, overrides=["output_root=runs/b", "video_file=other.mp4", "stage3b_ranking.top_n=3"])
    assert (moved.video_file, moved.stage3b_ranking.top_n) == ("other.mp4", 3)
    assert moved.stage4_generate_html.output_dir == "runs/b/page"
    elsewhere = written(tmp_path, **{"global": shared, "stage4_generate_html": {"output_dir": "/srv/page"}})
    assert read_pipeline(elsewhere, overrides=["output_root=runs/b"]).stage4_generate_html.output_dir == "/srv/page"


def test_what_a_run_was_resolved_to_is_a_pipeline_file_of_the_same(tmp_path: Path) -> None:
    pipeline = read_pipeline(written(tmp_path, stage2_track={"min_frames": 7, "settings": {"motion_s": 0.8}}))
    save_config(pipeline, tmp_path / "resolved.yaml")
    assert read_pipeline(tmp_path / "resolved.yaml") == pipeline


def test_sections_of_others_are_left_alone(tmp_path: Path) -> None:
    read_pipeline(written(tmp_path, stage7_pose={"model": "x"}, notes="anything"))


def test_keys_of_the_page_that_mean_nothing_here_are_left_alone(tmp_path: Path) -> None:
    page = {"canonical_persons_file": "x.npz", "output": {"webp_dir": "y"}, "top_n_persons": 4}
    assert read_pipeline(written(tmp_path, stage4_generate_html=page)).stage4_generate_html.top_n_persons == 4


@pytest.mark.parametrize(
    ("section", "content", "words"),
    [
        ("stage0_normalise", {"fps": 0}, "stage0_normalise.fps is 0"),
        ("stage0_normalise", {"resize_to": [640]}, "stage0_normalise.resize_to is [640]; expected [width, height]"),
        ("stage1_detect", {"detector": ""}, "stage1_detect.detector is not set"),
        ("stage1_detect", {"detector": "a.onnx", "batch": 0}, "stage1_detect.batch is 0; expected 1 or more"),
        ("stage1_detect", {"detector": "a.onnx", "min_score": 30}, "stage1_detect.min_score is 30"),
        ("stage1_detect", "absent", "has no section stage1_detect"),
        ("stage1_detect", ["a.onnx"], "expected `key: value` lines"),
        ("stage2_track", {"tracker": "deepsort"}, "'deepsort'; expected one of appearance, bytetrack"),
        ("stage2_track", {"min_frames": 0}, "stage2_track.min_frames is 0"),
        ("stage2_track", {"tracker": "ocsort", "settings": {"motion_s": 3}}, "ocsort has its own"),
        ("stage2_track", {"settings": {"low_score": 0.9}}, "low_score <= high_score"),
        ("stage3a_canonical_persons", {"max_gap_s": 0}, "stage3a_canonical_persons.max_gap_s is 0"),
        ("stage3a_canonical_persons", {"max_size_ratio": 1}, "a number above 1"),
        ("stage3a_canonical_persons", {"max_distance": float("nan")}, "max_distance is nan"),
        ("stage3a_canonical_persons", {"max_gap": 1}, "did you mean stage3a_canonical_persons.max_gap_s?"),
        ("stage3b_ranking", {"weights": {"duration": 0.5}}, "the sum of stage3b_ranking.weights is 1.1; expected 1"),
        ("stage3b_ranking", {"weights": {"duration": -0.4}}, "weights.duration is -0.4; expected 0 to 1"),
        ("stage3b_ranking", {"weights": {"center": 0.2}}, "did you mean stage3b_ranking.weights.centre?"),
        ("stage3b_ranking", {"weights": {"duration": "most"}}, "stage3b_ranking.weights.duration"),
        ("stage3b_ranking", {"top_n": 0}, "stage3b_ranking.top_n is 0"),
        ("stage3b_ranking", {"max_first_appearance_ratio": 50}, "max_first_appearance_ratio is 50"),
        ("stage3c_reid_refinement", {"similarity_threshold": 70}, "expected a cosine"),
        ("stage3c_reid_refinement", {"max_gap_frames": -1}, "max_gap_frames is -1"),
        ("stage3c_reid_refinement", {"osnet_model": b"x"}, "bytes"),
        ("stage4_generate_html", {"top_n_persons": 0}, "top_n_persons is 0"),
        ("stage3b_rank", {"top_n": 3}, "unknown section 'stage3b_rank'; did you mean stage3b_ranking?"),
        ("global", {"video_file": "${nowhere}/x.mp4"}, "nowhere"),
        ("global", {}, "no recording; name one, or set video_file"),
    ],
)
def test_a_mistake_is_one_line_with_its_key(tmp_path: Path, section: str, content: object, words: str) -> None:
    assert words in refused(written(tmp_path, **{section: content}))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stage3b_ranking.topn=3", "did you mean stage3b_ranking.top_n?"),
        ("stage1_detect.batch=many", "stage1_detect.batch"),
        ("stage1_detect", "is not key=value"),
    ],
)
def test_so_is_a_mistake_in_an_override(tmp_path: Path, override: str, words: str) -> None:
    assert words in refused(written(tmp_path), override)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"configuration not found: .*absent\.yaml"):
        read_pipeline(tmp_path / "absent.yaml")
