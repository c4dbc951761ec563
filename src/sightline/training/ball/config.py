"""What a training run of a ball network is told. The defaults are the recipe of the TrackNetV3 paper."""

from __future__ import annotations

from dataclasses import dataclass, field

from sightline.ball.heatmap import HEIGHT, WIDTH
from sightline.ball.metrics import TOLERANCE
from sightline.ball.planes import PLANES_PER_FRAME
from sightline.errors import ConfigError
from sightline.training.config import (
    MANY,
    AdvancedSection,
    JudgeSection,
    LoopSection,
    OutputSection,
    require_bounds,
    require_choice,
)

WIDTHS = ("x1_0", "x0_5", "x0_25")  # of `nets.tracknet`, which imports torch
STRIDES = 8  # a side of what TrackNet sees must be a multiple of this


@dataclass(frozen=True)
class BallLoop(LoopSection):
    lr: float = 1e-3
    weight_decay: float = 0.0
    warmup_epochs: int = 0
    seed: int = 13


@dataclass(frozen=True)
class TrackNetLoop(BallLoop):
    epochs: int = 30
    schedule: str = "constant"
    clip: float = 0.0


@dataclass(frozen=True)
class InpaintNetLoop(BallLoop):
    epochs: int = 300
    schedule: str = "step"
    milestones: list[int] = field(default_factory=lambda: [100, 200])
    clip: float = 1.0


@dataclass(frozen=True)
class BallVal(JudgeSection):
    tolerance: float = TOLERANCE  # of a hit, in pixels of 512x288

    def __post_init__(self) -> None:
        super().__post_init__()
        require_bounds(tolerance=(self.tolerance, 0, WIDTH))


@dataclass(frozen=True)
class TrackNetModel:
    task: str = "ball"
    arch: str = "tracknet"
    width: str = "x1_0"  # x1_0, x0_5, x0_25: of every layer
    seq_len: int = 8  # frames to a window
    bg_mode: str = "concat"  # how the background goes in: empty, subtract, subtract_concat, concat
    pretrained: str = ""  # a checkpoint of the same network to start from

    def __post_init__(self) -> None:
        require_bounds(seq_len=(self.seq_len, 1, 64))
        require_choice("width", self.width, WIDTHS)
        require_choice("bg_mode", self.bg_mode, tuple(PLANES_PER_FRAME))


@dataclass(frozen=True)
class BallData:
    dataset: str = ""  # a folder with train/match…/, and val/match…/ where there is one
    columns: str = ""  # of the label files, where theirs are not known: x=cx,y=cy
    source_hw: list[int] = field(default_factory=lambda: [720, 1280])  # of labels without a video beside them
    step: int = 1  # frames from one training window to the next
    batch_size: int = 10  # windows
    workers: int = 2

    def __post_init__(self) -> None:
        require_bounds(
            step=(self.step, 1, MANY),
            batch_size=(self.batch_size, 2, MANY),
            workers=(self.workers, 0, 256),
        )
        if len(self.source_hw) != 2 or min(self.source_hw) < 1:
            raise ConfigError(f"source_hw is {self.source_hw}; expected [height, width]")


@dataclass(frozen=True)
class TrackNetData(BallData):
    cache: str = ""  # a folder for the frames at 512x288, 0.4 MB each; default: in the data set
    resize: str = "area"  # area, pil
    median_frames: int = 60  # the background of a rally is the median of so many, where no median.npz is there
    crop: list[int] = field(default_factory=lambda: [HEIGHT, WIDTH])  # height, width of what is trained on
    mixup: float = 0.5  # both parameters of the Beta that two windows are mixed by; 0: they are not
    flip: float = 0.0  # how often a window is mirrored
    colour_jitter: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_bounds(median_frames=(self.median_frames, 1, MANY), mixup=(self.mixup, 0, MANY), flip=(self.flip, 0, 1))
        require_choice("resize", self.resize, ("area", "pil"))
        sound = len(self.crop) == 2 and all(side >= 16 and side % STRIDES == 0 for side in self.crop)
        if not sound or self.crop[0] > HEIGHT or self.crop[1] > WIDTH:
            raise ConfigError(
                f"crop is {self.crop}; expected [height, width], multiples of {STRIDES} up to {HEIGHT} and {WIDTH}"
            )


@dataclass(frozen=True)
class InpaintNetModel:
    task: str = "ball"
    arch: str = "inpaintnet"
    seq_len: int = 16
    pretrained: str = ""

    def __post_init__(self) -> None:
        require_bounds(seq_len=(self.seq_len, 3, 4096))


@dataclass(frozen=True)
class InpaintNetData(BallData):
    batch_size: int = 32
    mask_ratio: float = 0.3  # of the visible points that are taken away, to be put back

    def __post_init__(self) -> None:
        super().__post_init__()
        require_bounds(mask_ratio=(self.mask_ratio, 0.01, 0.99))


@dataclass(frozen=True)
class TrackNetConfig:
    model: TrackNetModel = field(default_factory=TrackNetModel)
    data: TrackNetData = field(default_factory=TrackNetData)
    train: TrackNetLoop = field(default_factory=TrackNetLoop)
    val: BallVal = field(default_factory=BallVal)
    output: OutputSection = field(default_factory=OutputSection)
    advanced: AdvancedSection = field(default_factory=AdvancedSection)

    def __post_init__(self) -> None:
        _require_ball(self.model.task, self.model.arch, expected="tracknet")


@dataclass(frozen=True)
class InpaintNetConfig:
    model: InpaintNetModel = field(default_factory=InpaintNetModel)
    data: InpaintNetData = field(default_factory=InpaintNetData)
    train: InpaintNetLoop = field(default_factory=InpaintNetLoop)
    val: BallVal = field(default_factory=BallVal)
    output: OutputSection = field(default_factory=OutputSection)
    advanced: AdvancedSection = field(default_factory=AdvancedSection)

    def __post_init__(self) -> None:
        _require_ball(self.model.task, self.model.arch, expected="inpaintnet")


def _require_ball(task: str, arch: str, *, expected: str) -> None:
    require_choice("task", task, ("ball",))
    require_choice("arch", arch, (expected,))
