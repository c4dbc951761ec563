"""What a training run is told: six sections, every key a flag, the defaults those of the framework's own table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Protocol

from sightline.card import ImageInput, pixels_named
from sightline.errors import ConfigError

MANY = float("inf")


def require_bounds(**bounds: tuple[float, float, float]) -> None:
    """Each key with its value, the lowest allowed and the highest. Raises `ConfigError` for the first outside."""
    for key, (value, lowest, highest) in bounds.items():
        if not lowest <= value <= highest:
            raise ConfigError(f"{key} is {value}; expected {lowest:g} to {highest:g}")


def require_choice(key: str, chosen: str, known: tuple[str, ...]) -> None:
    if chosen not in known:
        raise ConfigError(f"{key} is {chosen!r}; expected one of {', '.join(name or '(empty)' for name in known)}")


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
class LoopSection:
    """What the training loop itself goes by, whatever is trained."""

    epochs: int = 60
    lr: float = 3.5e-4
    weight_decay: float = 5e-4
    optimizer: str = "adam"  # adam, adamw, amsgrad, sgd
    schedule: str = "cosine"  # cosine, step, constant
    milestones: list[int] = field(default_factory=lambda: [40, 55])  # epochs, for step
    gamma: float = 0.1
    warmup_epochs: int = 5
    clip: float = 5.0  # of the gradient's norm; 0: none
    accumulate: int = 1  # batches to a step
    amp: str = "off"  # off, bf16, fp16
    ema: float = 0.0  # decay of the averaged weights; 0: none
    seed: int = 0

    def __post_init__(self) -> None:
        require_bounds(
            epochs=(self.epochs, 1, MANY),
            lr=(self.lr, 0, MANY),
            warmup_epochs=(self.warmup_epochs, 0, self.epochs),
            accumulate=(self.accumulate, 1, MANY),
            ema=(self.ema, 0, 1),
        )
        require_choice("optimizer", self.optimizer, ("adam", "adamw", "amsgrad", "sgd"))
        require_choice("schedule", self.schedule, ("cosine", "step", "constant"))
        require_choice("amp", self.amp, ("off", "bf16", "fp16"))


@dataclass(frozen=True)
class TrainSection(LoopSection):
    backbone_lr: float = 3.5e-5  # `lr` is that of the head
    freeze_epochs: int = 0  # the backbone rests while the head finds its feet
    loss_type: str = "triplet"
    id_loss: str = "softmax"
    metric_weight: float = 1.0
    label_smooth: float = 0.1
    triplet_margin: float = 0.3
    circle_margin: float = 0.25
    circle_scale: float = 64.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_bounds(backbone_lr=(self.backbone_lr, 0, MANY), label_smooth=(self.label_smooth, 0, 1))


@dataclass(frozen=True)
class JudgeSection:
    """When a run is judged, and when that ends it."""

    val_every: int = 1
    patience: int = 0  # validations without a better one before it stops; 0: never

    def __post_init__(self) -> None:
        require_bounds(val_every=(self.val_every, 1, MANY))


@dataclass(frozen=True)
class ValSection(JudgeSection):
    val_split: float = 0.2  # of the identities
    best_by: str = "loss"  # loss, map

    def __post_init__(self) -> None:
        super().__post_init__()
        require_bounds(val_split=(self.val_split, 0, 0.9))
        require_choice("best_by", self.best_by, ("loss", "map"))


@dataclass(frozen=True)
class OutputSection:
    project: str = "runs/train"
    name: str = "exp"
    save_every: int = 5
    tensorboard: bool = False

    def __post_init__(self) -> None:
        require_bounds(save_every=(self.save_every, 1, MANY))


@dataclass(frozen=True)
class AdvancedSection:
    device: str = "auto"  # auto, cpu, cuda, cuda:1
    threads: int = 0  # of the processor; 0: torch's choice
    deterministic: bool = True


class RunConfig(Protocol):
    """The sections of every configuration; what is in `model` and `data` differs from network to network."""

    @property
    def train(self) -> LoopSection: ...

    @property
    def val(self) -> JudgeSection: ...

    @property
    def output(self) -> OutputSection: ...

    @property
    def advanced(self) -> AdvancedSection: ...


@dataclass(frozen=True)
class TrainingConfig:
    """Of re-identification, of people and of faces."""

    model: ModelSection = field(default_factory=ModelSection)
    data: DataSection = field(default_factory=DataSection)
    train: TrainSection = field(default_factory=TrainSection)
    val: ValSection = field(default_factory=ValSection)
    output: OutputSection = field(default_factory=OutputSection)
    advanced: AdvancedSection = field(default_factory=AdvancedSection)

    def __post_init__(self) -> None:
        require_bounds(
            reid_dim=(self.model.reid_dim, 1, 65536),
            batch_size=(self.data.batch_size, 2, MANY),
            num_instances=(self.data.num_instances, 1, self.data.batch_size),
            workers=(self.data.workers, 0, 256),
        )
        require_choice("task", self.model.task, ("reid", "face"))
        if len(self.model.input_size) != 2 or min(self.model.input_size) < 16:
            raise ConfigError(f"input_size is {self.model.input_size}; expected [height, width] of 16 or more")
        pixels_named(self.model.pixels)

    @property
    def image(self) -> ImageInput:
        """The image input of the network this run trains."""
        height, width = self.model.input_size
        return ImageInput("input", (height, width), pixels_named(self.model.pixels))


def keys(schema: type[Any] = TrainingConfig) -> Mapping[str, tuple[str, Any]]:
    """Every key with its section and default: `keys()["epochs"] == ("train", 60)`. No name is in two sections."""
    defaults = schema()
    found: dict[str, tuple[str, Any]] = {}
    for section in fields(schema):
        values = getattr(defaults, section.name)
        found |= {key.name: (section.name, getattr(values, key.name)) for key in fields(values)}
    return MappingProxyType(found)
