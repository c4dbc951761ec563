"""Configurations of the ball networks: the recipe of record, and no value that cannot mean anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.errors import ConfigError
from sightline.nets import tracknet
from sightline.training.ball.config import WIDTHS, InpaintNetConfig, TrackNetConfig
from sightline.training.config import TrainingConfig, keys
from sightline.training.schemas import all_keys, load_run_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_the_shipped_configurations_are_the_defaults() -> None:
    assert load_run_config(CONFIGS / "tracknet.yaml", overrides=[]) == TrackNetConfig()
    assert load_run_config(CONFIGS / "inpaintnet.yaml", overrides=[]) == InpaintNetConfig()
    assert load_run_config(CONFIGS / "reid.yaml", overrides=[]) == TrainingConfig()


def test_the_defaults_are_the_recipe_of_the_paper() -> None:
    tracker, repairer = TrackNetConfig(), InpaintNetConfig()
    assert (tracker.model.seq_len, tracker.model.bg_mode, tracker.model.width) == (8, "concat", "x1_0")
    assert (tracker.train.epochs, tracker.data.batch_size, tracker.data.mixup) == (30, 10, 0.5)
    assert (tracker.train.optimizer, tracker.train.lr, tracker.train.schedule) == ("adam", 1e-3, "constant")
    assert (tracker.train.seed, tracker.data.step, tracker.train.weight_decay) == (13, 1, 0)
    assert (repairer.model.seq_len, repairer.train.epochs, repairer.data.batch_size) == (16, 300, 32)
    assert (repairer.data.mask_ratio, repairer.train.clip) == (0.3, 1.0)
    third = repairer.train.epochs // 3
    assert (repairer.train.milestones, repairer.train.gamma) == ([third, 2 * third], 0.1)


def test_the_widths_are_those_of_the_network() -> None:
    assert set(WIDTHS) == set(tracknet.WIDTHS)


def test_the_network_decides_what_is_configured() -> None:
    assert isinstance(load_run_config(None, overrides=["model.arch=tracknet"]), TrackNetConfig)
    assert isinstance(load_run_config(CONFIGS / "tracknet.yaml", overrides=["train.epochs=2"]), TrackNetConfig)
    assert isinstance(load_run_config(None, overrides=["model.arch=osnet_x0_25"]), TrainingConfig)
    assert isinstance(load_run_config(None, overrides=[]), TrainingConfig)


def test_every_key_of_every_network_is_listed_in_the_one_section_it_has() -> None:
    listed = all_keys()
    for name, schema in {"reid": TrainingConfig, "tracknet": TrackNetConfig, "inpaintnet": InpaintNetConfig}.items():
        for key, (section, default) in keys(schema).items():
            assert listed[key][0] == section
            assert listed[key][1][name] == default


def test_a_key_has_one_kind_of_value_in_all_configurations() -> None:
    kinds = {key: {type(default) for default in defaults.values()} for key, (_, defaults) in all_keys().items()}
    assert {key: found for key, found in kinds.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model.arch=trackent"], "no network 'trackent'; did you mean tracknet"),
        (["model.arch=tracknet", "data.mixap=1"], "did you mean data.mixup?"),
        (["model.arch=tracknet", "train.triplet_margin=1"], "unknown key 'train.triplet_margin'"),
        (["model.arch=tracknet", "model.task=reid"], "task is 'reid'; expected one of ball"),
        (["model.arch=tracknet", "model.width=x2"], "width is 'x2'; expected one of x1_0, x0_5, x0_25"),
        (["model.arch=tracknet", "model.bg_mode=add"], "bg_mode is 'add'; expected one of (empty), subtract"),
        (["model.arch=tracknet", "model.seq_len=0"], "seq_len is 0"),
        (["model.arch=tracknet", "data.step=0"], "step is 0"),
        (["model.arch=tracknet", "data.crop=[100,100]"], "multiples of 8 up to 288 and 512"),
        (["model.arch=tracknet", "data.crop=[296,512]"], "multiples of 8 up to 288 and 512"),
        (["model.arch=tracknet", "data.flip=1.5"], "flip is 1.5"),
        (["model.arch=tracknet", "data.mixup=-1"], "mixup is -1"),
        (["model.arch=inpaintnet", "data.mask_ratio=0"], "mask_ratio is 0"),
        (["model.arch=inpaintnet", "data.source_hw=[720]"], "source_hw is [720]; expected [height, width]"),
        (["model.arch=inpaintnet", "val.tolerance=-4"], "tolerance is -4"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_name(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_run_config(None, overrides=overrides)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "content", ["", "[]", "model: 3", "model: {arch: [1]}", "model: {arch: tracknet, arch: 2", "\0"]
)
def test_a_file_that_is_no_configuration_is_one_line_of_error_or_the_defaults(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    if not content:
        assert load_run_config(path, overrides=[]) == TrainingConfig()
        return
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_run_config(path, overrides=[])
