"""What a training run is told: six sections, every key a flag, the defaults those of the framework's own table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from sightline.card import ImageInput, pixels_named
from sightline.errors import ConfigError


@dataclass(frozen=True)
class ModelSection:
    arch: str = "osnet_x1_0"
    head: str = "bnneck"  # bnneck, torchreid (go on training published weights), arcface (faces)
    reid_dim: int = 512
    input_size: list[int] = field(default_factory=lambda: [256, 128])  # height, width
    last_stride_1: bool = False
    pixels: str = "torchreid"  # a preset of sightline.card
    pretrained: str = ""  # a checkpoint to start the backbone from
    task: str = "reid"  # reid or face


@dataclass(frozen=True)
class DataSection:
    dataset: str = ""  # a CSV, a dataset folder, or the name of one of the known datasets under data_root
    data_root: str = ""
    batch_size: int = 64  # images, P identities × K of each
    num_instances: int = 4  # K
    workers: int = 2
    flip: float = 0.5
    pad_crop: int = 10
    colour_jitter: bool = True
    erase: float = 0.5
    grey: float = 0.0
    blur: float = 0.0


@dataclass(frozen=True)
class TrainSection:
    epochs: int = 60
    lr: float = 3.5e-4  # of the head
    backbone_lr: float = 3.5e-5
    weight_decay: float = 5e-4
    optimizer: str = "adam"  # adam, adamw, amsgrad, sgd
    schedule: str = "cosine"  # cosine, step
    milestones: list[int] = field(default_factory=lambda: [40, 55])  # epochs, for step
    gamma: float = 0.1
    warmup_epochs: int = 5
    freeze_epochs: int = 0  # the backbone rests while the head finds its feet
    loss_type: str = "triplet"
    id_loss: str = "softmax"
    metric_weight: float = 1.0
    label_smooth: float = 0.1
    triplet_margin: float = 0.3
    circle_margin: float = 0.25
    circle_scale: float = 64.0
    clip: float = 5.0  # of the gradient's norm; 0: none
    accumulate: int = 1  # batches to a step
    amp: str = "off"  # off, bf16, fp16
    ema: float = 0.0  # decay of the averaged weights; 0: none
    seed: int = 0


@dataclass(frozen=True)
class ValSection:
    val_split: float = 0.2  # of the identities
    val_every: int = 1
    best_by: str = "loss"  # loss, map
    patience: int = 0  # validations without a better one before it stops; 0: never


@dataclass(frozen=True)
class OutputSection:
    project: str = "runs/train"
    name: str = "exp"
    save_every: int = 5
    tensorboard: bool = False


@dataclass(frozen=True)
class AdvancedSection:
    device: str = "auto"  # auto, cpu, cuda, cuda:1
    threads: int = 0  # of the processor; 0: torch's choice
    deterministic: bool = True


@dataclass(frozen=True)
class TrainingConfig:
    model: ModelSection = field(default_factory=ModelSection)
    data: DataSection = field(default_factory=DataSection)
    train: TrainSection = field(default_factory=TrainSection)
    val: ValSection = field(default_factory=ValSection)
    output: OutputSection = field(default_factory=OutputSection)
    advanced: AdvancedSection = field(default_factory=AdvancedSection)

    def __post_init__(self) -> None:
        for key, (value, lowest, highest) in _bounds(self).items():
            if not lowest <= value <= highest:
                raise ConfigError(f"{key} is {value}; expected {lowest:g} to {highest:g}")
        for key, (chosen, known) in _choices(self).items():
            if chosen not in known:
                raise ConfigError(f"{key} is {chosen!r}; expected one of {', '.join(known)}")
        if len(self.model.input_size) != 2 or min(self.model.input_size) < 16:
            raise ConfigError(f"input_size is {self.model.input_size}; expected [height, width] of 16 or more")
        pixels_named(self.model.pixels)

    @property
    def image(self) -> ImageInput:
        """The image input of the network this run trains."""
        height, width = self.model.input_size
        return ImageInput("input", (height, width), pixels_named(self.model.pixels))


_MANY = float("inf")


def _bounds(config: TrainingConfig) -> dict[str, tuple[float, float, float]]:
    data, train, val = config.data, config.train, config.val
    return {
        "reid_dim": (config.model.reid_dim, 1, 65536),
        "batch_size": (data.batch_size, 2, _MANY),
        "num_instances": (data.num_instances, 1, data.batch_size),
        "workers": (data.workers, 0, 256),
        "epochs": (train.epochs, 1, _MANY),
        "lr": (train.lr, 0, _MANY),
        "backbone_lr": (train.backbone_lr, 0, _MANY),
        "warmup_epochs": (train.warmup_epochs, 0, train.epochs),
        "accumulate": (train.accumulate, 1, _MANY),
        "label_smooth": (train.label_smooth, 0, 1),
        "ema": (train.ema, 0, 1),
        "val_split": (val.val_split, 0, 0.9),
        "val_every": (val.val_every, 1, _MANY),
        "save_every": (config.output.save_every, 1, _MANY),
    }


def _choices(config: TrainingConfig) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {
        "optimizer": (config.train.optimizer, ("adam", "adamw", "amsgrad", "sgd")),
        "schedule": (config.train.schedule, ("cosine", "step")),
        "amp": (config.train.amp, ("off", "bf16", "fp16")),
        "best_by": (config.val.best_by, ("loss", "map")),
        "task": (config.model.task, ("reid", "face")),
    }


def keys() -> Mapping[str, tuple[str, Any]]:
    """Every key with its section and default: `keys()["epochs"] == ("train", 60)`. No name is in two sections."""
    defaults = TrainingConfig()
    found: dict[str, tuple[str, Any]] = {}
    for section in fields(TrainingConfig):
        values = getattr(defaults, section.name)
        found |= {key.name: (section.name, getattr(values, key.name)) for key in fields(values)}
    return MappingProxyType(found)
