"""The values that flow between the parts: frozen, numpy only, checked once when made.

Units and orders are the same everywhere: images are BGR uint8 (H, W, 3); boxes are float32 xyxy in source pixels;
times are seconds from the start of the source; vectors are float32; a higher score is closer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3) BGR
FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Array = NDArray[Any]


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a network, as its file declares it. `None` is a dimension left open."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str  # numpy's name: "float32", "uint8", …

    def __str__(self) -> str:
        dims = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype}[{dims}]"


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source."""

    image: Image
    index: int
    time_s: float
    source: str = ""

    def __post_init__(self) -> None:
        shape, dtype = self.image.shape, self.image.dtype
        is_bgr = len(shape) == 3 and shape[2] == 3 and dtype == np.uint8
        _require(is_bgr, f"frame {self.index} must be BGR uint8 (H, W, 3), got {dtype} {shape}")


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector saw in one frame."""

    boxes_xyxy: FloatArray  # (N, 4)
    scores: FloatArray  # (N,)
    classes: IntArray  # (N,)
    landmarks_xy: FloatArray | None = None  # (N, K, 2), faces only

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy)
        _require(self.boxes_xyxy.shape == (count, 4), f"boxes must be (N, 4), got {self.boxes_xyxy.shape}")
        _require(self.scores.shape == (count,), f"{count} boxes with scores {self.scores.shape}")
        _require(self.classes.shape == (count,), f"{count} boxes with classes {self.classes.shape}")
        if self.landmarks_xy is not None:
            _require(len(self.landmarks_xy) == count, f"{count} boxes with {len(self.landmarks_xy)} landmarks")

    def __len__(self) -> int:
        return len(self.boxes_xyxy)


@dataclass(frozen=True, eq=False)
class Tracks:
    """Boxes of one frame that a tracker has given identities."""

    ids: IntArray  # (N,)
    detections: Detections

    def __post_init__(self) -> None:
        count = len(self.detections)
        _require(self.ids.shape == (count,), f"{count} boxes with ids {self.ids.shape}")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors of one model. Vectors of different `fingerprint` do not live in the same space."""

    vectors: FloatArray  # (N, D)
    fingerprint: str
    normalised: bool

    def __post_init__(self) -> None:
        _require(self.vectors.ndim == 2, f"vectors must be (N, D), got {self.vectors.shape}")

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, eq=False)
class Tracklet:
    """One visit of one person or thing: a track from its first frame to its last."""

    track_id: int
    source: str
    frames: IntArray  # (N,)
    times_s: NDArray[np.float64]  # (N,)
    boxes_xyxy: FloatArray  # (N, 4)
    scores: FloatArray  # (N,)
    embedding: Embeddings | None = None
    crops: tuple[Image, ...] = field(default=())

    def __post_init__(self) -> None:
        count = len(self.frames)
        _require(count > 0, f"track {self.track_id} has no frames")
        _require(self.boxes_xyxy.shape == (count, 4), f"{count} frames with boxes {self.boxes_xyxy.shape}")
        _require(self.times_s.shape == (count,), f"{count} frames with times {self.times_s.shape}")
        _require(self.scores.shape == (count,), f"{count} frames with scores {self.scores.shape}")


@dataclass(frozen=True)
class Match:
    """An answer to "who is that": the closest identity, and what would have been the next."""

    identity: str | None  # None: nobody known is close enough
    score: float
    threshold: float
    runner_up: str | None = None
    runner_up_score: float | None = None


@dataclass(frozen=True)
class BallPoint:
    """Where the ball is in one frame, in source pixels. `x` and `y` mean nothing unless `visible`."""

    frame: int
    visible: bool
    x: float = 0.0
    y: float = 0.0
    confidence: float = 0.0
    filled: bool = False  # inferred from both sides of a gap, not seen
