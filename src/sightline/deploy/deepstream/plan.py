"""All that one deployment's files must agree on, in one place, and what follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from sightline.card import Pixels
from sightline.deploy.deepstream.detectors import Detector
from sightline.deploy.deepstream.model import Prepared, scalar_pixels
from sightline.errors import ConfigError

PLAIN_PATH = re.compile(r"(/[\w.+@-]+( [\w.+@-]+)*)+")
Precision = Literal["fp16", "fp32"]

GPU = 0
PGIE_ID = 1
REID_ID = 4
LEAST_WH = (32, 64)  # pixels of the muxer's picture; smaller people are not embedded
TRACKER_BATCH = 100
NETWORK_MODES = {"fp32": 0, "fp16": 2}  # nvinfer's numbers
TRACKER_MODES = {"fp32": 0, "fp16": 1}  # nvtracker's


@dataclass(frozen=True)
class Plan:
    """`root` is where the folder lies when DeepStream runs, which may be another machine."""

    prepared: Prepared
    model: str  # the ONNX file, seen from the folder
    root: PurePosixPath
    detector: Detector
    batch: int = 16
    streams: int = 1
    precision: Precision = "fp16"
    canvas_wh: tuple[int, int] = (1920, 1080)

    def __post_init__(self) -> None:
        fixed = self.prepared.image.batch
        if fixed is not None and self.batch != fixed:
            raise ConfigError(f"the model is for batches of {fixed} and no other; got --batch {self.batch}")
        if not PLAIN_PATH.fullmatch(str(self.root)):
            raise ConfigError(
                f"the folder will lie at {str(self.root)!r}; expected an absolute path of letters, digits, spaces and "
                "any of . _ + @ -, for configurations, shells and pipelines read others each in its own way"
            )

    @property
    def title(self) -> str:
        """What the network is called: by its card, else by its file."""
        arch = self.prepared.card.arch
        return PurePosixPath(self.model).stem if arch == "unknown" else arch

    # Paths, as DeepStream will see them

    def at(self, name: str) -> str:
        return name if name.startswith("/") else str(self.root / name)

    @property
    def onnx(self) -> str:
        return self.at(self.model)

    @property
    def engine(self) -> str:
        """The name nvinfer itself would give it: under any other it would be built anew at every start."""
        return f"{self.onnx}_b{self.batch}_gpu{GPU}_{self.precision}.engine"

    @property
    def tracker_engine(self) -> str:
        return f"{self.onnx}_tracker_b{self.tracker_batch}_gpu{GPU}_{self.precision}.engine"

    @property
    def detector_onnx(self) -> str:
        return self.at(self.detector.onnx)

    @property
    def detector_engine(self) -> str:
        return f"{self.detector_onnx}_b{self.streams}_gpu{GPU}_{self.precision}.engine"

    # What the model is fed

    @property
    def size_hw(self) -> tuple[int, int]:
        assert self.prepared.image.size_hw is not None  # an Embedder would not open it
        return self.prepared.image.size_hw

    @property
    def dims(self) -> tuple[int, int, int]:
        return (3, *self.size_hw)

    @property
    def dim(self) -> int:
        assert self.prepared.output.dim is not None  # `prepare_model` found it out
        return self.prepared.output.dim

    @property
    def fed(self) -> Pixels:
        """What nvinfer makes of a pixel: with one scale, so near to what the card asks for where that is three."""
        feed = self.prepared.image.feed
        assert feed is not None
        return scalar_pixels(feed)

    @property
    def scale(self) -> str:
        return f"{1 / self.fed.std[0]:.10g}"

    @property
    def offsets(self) -> tuple[str, ...]:
        return tuple(f"{value:g}" for value in self.fed.mean)

    @property
    def color_format(self) -> int:
        return 0 if self.fed.color == "RGB" else 1

    @property
    def tracker_batch(self) -> int:
        return self.prepared.image.batch or TRACKER_BATCH

    # The engine

    @property
    def profile(self) -> tuple[str, ...]:
        """trtexec's shapes: without them a free batch becomes 1, and with them a fixed one is refused."""
        if self.prepared.image.batch is not None:
            return ()
        rows = {"min": 1, "opt": self.batch, "max": self.batch}
        sizes = "x".join(map(str, self.dims))
        return tuple(f"--{which}Shapes={self.prepared.image.name}:{count}x{sizes}" for which, count in rows.items())
