"""What a training run is told: the promised defaults, and no value that cannot mean anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.config import load_config
from sightline.errors import SightlineError
from sightline.training.config import TrainingConfig, keys

ROOT = Path(__file__).resolve().parents[2]

# The table of key training parameters in the framework's own description.
PROMISED = {
    "arch": "osnet_x1_0",
    "reid_dim": 512,
    "input_size": [256, 128],
    "epochs": 60,
    "batch_size": 64,
    "num_instances": 4,
    "lr": 3.5e-4,
    "backbone_lr": 3.5e-5,
    "loss_type": "triplet",
    "triplet_margin": 0.3,
    "circle_margin": 0.25,
    "circle_scale": 64,
    "metric_weight": 1.0,
    "label_smooth": 0.1,
    "warmup_epochs": 5,
    "val_split": 0.2,
}


def test_the_defaults_are_those_of_the_table() -> None:
    assert {key: keys()[key][1] for key in PROMISED} == PROMISED


def test_the_shipped_configuration_for_people_is_the_defaults() -> None:
    assert load_config(TrainingConfig, ROOT / "configs" / "reid.yaml") == TrainingConfig()


def test_the_shipped_configuration_for_faces_is_aligned_and_has_margins() -> None:
    config = load_config(TrainingConfig, ROOT / "configs" / "face.yaml")
    assert (config.image.size_hw, config.model.head, config.train.id_loss) == ((112, 112), "arcface", "arcface")
    assert config.image.pixels is not None
    assert config.image.pixels.mean == (127.5, 127.5, 127.5)


def test_no_key_is_in_two_sections() -> None:
    config = TrainingConfig()
    sections = (config.model, config.data, config.train, config.val, config.output, config.advanced)
    assert len(keys()) == sum(len(vars(section)) for section in sections)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.epochs=0", "epochs is 0; expected 1 to inf"),
        ("train.epochs=many", "train.epochs"),
        ("train.epoch=3", "did you mean train.epochs?"),
        ("data.num_instances=65", "num_instances is 65; expected 1 to 64"),
        ("train.warmup_epochs=61", "warmup_epochs is 61; expected 0 to 60"),
        ("train.optimizer=lion", "optimizer is 'lion'; expected one of adam, adamw, amsgrad, sgd"),
        ("train.amp=fp8", "amp is 'fp8'"),
        ("model.input_size=[256]", r"input_size is \[256\]; expected \[height, width\]"),
        ("model.pixels=imagenet", "no pixel preset 'imagenet'"),
        ("val.val_split=1.0", "val_split is 1.0"),
        ("train.ema=1.5", "ema is 1.5"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_name(override: str, told: str) -> None:
    with pytest.raises(SightlineError, match=told):
        load_config(TrainingConfig, overrides=[override])
