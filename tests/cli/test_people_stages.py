"""`sightline people --config`: the page and the choice at the end of the stages, and what is said on the way."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from painted_people import mean_colour_model
from sightline.cli import people_arguments, people_stages
from sightline.errors import ConfigError, SightlineError
from sightline.viewer.tracks import read_tracks
from stage_films import paint_film, write_pipeline

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mean_colour_model(tmp_path_factory.mktemp("models") / "colour.onnx")


@pytest.fixture
def config(tmp_path: Path, model: Path) -> Path:
    return write_pipeline(tmp_path, paint_film(tmp_path / "film"), model)


def people(*arguments: str | Path, quiet: bool = False) -> int:
    parser = argparse.ArgumentParser()
    people_arguments.configure(parser)
    parser.set_defaults(quiet=quiet, verbose=False)
    return people_stages.run(parser.parse_args([str(argument) for argument in arguments]))


def stages(capsys: Capture, *arguments: str | Path) -> dict[str, dict[str, object]]:
    """By its short name, what was printed of each stage as JSON."""
    capsys.readouterr()
    assert people(*arguments, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    return {stage["stage"].partition("_")[0]: stage for stage in found["stages"]}


def test_it_ends_with_a_page_of_everybody_and_how_to_choose(config: Path, capsys: Capture) -> None:
    assert people("--config", config) == 0
    page = config.parent / "out" / "page"
    html = (page / "person_selection.html").read_text(encoding="utf-8")
    assert "People in film" in html
    tracks = read_tracks(page).tracks
    assert {person: len(track) for person, track in tracks.items()} == {"1": 22, "2": 11}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[:7]] == [
        *("stage0", "stage1", "stage2", "stage3a", "stage3b", "stage3c", "stage4")
    ]
    assert f"sightline select {page} --persons" in lines[7]


def test_persons_named_in_the_file_are_selected(config: Path, model: Path, capsys: Capture) -> None:
    write_pipeline(config.parent, config.parent / "film", model, stage5_selection={"persons": [2]})
    found = stages(capsys, "--config", config)
    out = config.parent / "out"
    assert found["stage5"]["done"] and str(found["stage5"]["told"]).startswith("2 selected")
    with np.load(out / "page" / "selected_person.npz") as chosen:
        assert chosen["frame_numbers"].tolist() == list(range(7, 18))
    again = stages(capsys, "--config", config)
    assert [name for name, stage in again.items() if stage["done"]] == []


def test_a_person_who_is_not_on_the_page_is_one_line(config: Path, model: Path) -> None:
    write_pipeline(config.parent, config.parent / "film", model, stage5_selection={"persons": [7]})
    with pytest.raises(SightlineError, match="no person '7' on the page"):
        people("--config", config)


@pytest.mark.parametrize("lost", ["person_selection.html", "tracks.npz"])
def test_a_page_that_is_gone_is_written_again(config: Path, capsys: Capture, lost: str) -> None:
    people("--config", config, quiet=True)
    (config.parent / "out" / "page" / lost).unlink()
    found = stages(capsys, "--config", config)
    assert [name for name, stage in found.items() if stage["done"]] == ["stage4"]
    assert lost in str(found["stage4"]["reason"])


def test_settings_of_the_page_change_the_page_alone(config: Path, model: Path, capsys: Capture) -> None:
    people("--config", config, quiet=True)
    write_pipeline(config.parent, config.parent / "film", model, stage4_generate_html={"webp_duration_ms": 50})
    found = stages(capsys, "--config", config)
    assert [name for name, stage in found.items() if stage["done"]] == ["stage4"]
    assert found["stage4"]["reason"] == "webp_duration_ms changed"


def test_from_and_until_are_those_of_the_stages(config: Path, capsys: Capture) -> None:
    assert list(stages(capsys, "--config", config, "--until", "stage3a"))[-1] == "stage3a"
    found = stages(capsys, "--config", config, "--from", "stage2", "--until", "stage3b")
    assert [name for name, stage in found.items() if stage["done"]] == ["stage2", "stage3a", "stage3b"]


def test_a_recording_and_a_folder_on_the_command_line_win_over_the_file(
    config: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The page follows: the file has it below its own output_root."""
    other = paint_film(tmp_path / "other" / "street")
    found = stages(capsys, other, "--config", config, "--out", tmp_path / "elsewhere")
    assert found["stage4"]["told"] == str(tmp_path / "elsewhere" / "page" / "person_selection.html")
    assert (tmp_path / "elsewhere" / "stage3c_crops" / "street" / "1").is_dir()
    assert not (config.parent / "out").exists()


def test_nobody_in_the_film_is_an_empty_page(tmp_path: Path, model: Path, capsys: Capture) -> None:
    config = write_pipeline(tmp_path, paint_film(tmp_path / "film", ()), model)
    found = stages(capsys, "--config", config)
    assert str(found["stage4"]["told"]).endswith("person_selection.html: nobody was found")
    assert read_tracks(tmp_path / "out" / "page").tracks == {}


def test_a_page_without_scores_says_so(config: Path, model: Path, capsys: Capture) -> None:
    off = {"clustering": {"enabled": False}}
    write_pipeline(config.parent, config.parent / "film", model, stage4_generate_html=off)
    assert "not everybody is compared" in str(stages(capsys, "--config", config)["stage4"]["told"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--detector", "x.onnx"), "--detector means nothing with --config; set it in"),
        (("--camera", "a=0"), "--camera means nothing with --config"),
        (("-m", "x.onnx"), "--model means nothing with --config"),
        (("--threads", "2"), "--threads means nothing with --config"),
        (("a.mp4", "b.mp4"), "2 sources; the stages of a pipeline are of one recording"),
    ],
)
def test_a_flag_that_would_change_nothing_is_refused(config: Path, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        people(*arguments, "--config", config)


def test_quiet_says_nothing(config: Path, capsys: Capture) -> None:
    assert people("--config", config, quiet=True) == 0
    assert capsys.readouterr() == ("", "")
