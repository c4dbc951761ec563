"""Shots: the crops of a track that were embedded, and what is made of them when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from sightline.images import resize
from sightline.types import Array, FloatArray, Image

TALLEST = 256  # pixels of a crop that is kept: what the networks look at, and enough for a page
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]


@dataclass(frozen=True, eq=False)
class Shot:
    """One embedded crop. The picture is kept as a JPEG, a sixteenth of the size."""

    frame: int
    time_s: float
    vector: FloatArray  # (D,), L2-normalised
    quality: float  # 0..1
    clear: bool  # large enough, whole, mostly nobody else's
    jpeg: bytes

    @property
    def image(self) -> Image:
        return cast(Image, cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR))


def jpeg_of(crop: Image) -> bytes:
    """The crop, no taller than `TALLEST`."""
    height, width = crop.shape[:2]
    if height > TALLEST:
        crop = resize(crop, (TALLEST, max(1, round(width * TALLEST / height))))
    return cv2.imencode(".jpg", crop, _JPEG)[1].tobytes()


def thinned(shots: Sequence[Shot]) -> list[Shot]:
    """Half of them: of each two in a row the better."""
    pairs = (shots[start : start + 2] for start in range(0, len(shots), 2))
    return [max(pair, key=lambda shot: (shot.clear, shot.quality)) for pair in pairs]


def best_of(shots: Sequence[Shot], count: int) -> list[Shot]:
    """The best, in order of time; none that is unclear where there are clear ones."""
    candidates = [shot for shot in shots if shot.clear] or list(shots)
    kept = sorted(candidates, key=lambda shot: -shot.quality)[:count]
    return sorted(kept, key=lambda shot: shot.frame)


def average(shots: Sequence[Shot]) -> FloatArray | None:
    """The mean vector (D,), normalised again; None without shots, or where they cancel each other out."""
    if not shots:
        return None
    mean = np.mean([shot.vector for shot in shots], axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    return None if length < 1e-6 else np.asarray(mean / length, np.float32)


def packed(shots: Sequence[Shot]) -> dict[str, Array]:
    """As plain arrays, by name."""
    jpegs = [shot.jpeg for shot in shots]
    return {
        "frames": np.array([shot.frame for shot in shots], np.int64),
        "times_s": np.array([shot.time_s for shot in shots], np.float64),
        "vectors": np.stack([shot.vector for shot in shots]) if shots else np.empty((0, 0), np.float32),
        "qualities": np.array([shot.quality for shot in shots], np.float64),
        "clear": np.array([shot.clear for shot in shots], bool),
        "jpeg": np.frombuffer(b"".join(jpegs), np.uint8),
        "jpeg_sizes": np.array([len(jpeg) for jpeg in jpegs], np.int64),
    }


def unpacked(arrays: dict[str, Array]) -> list[Shot]:
    """What `packed` took apart."""
    ends = np.cumsum(arrays["jpeg_sizes"])
    jpegs = [part.tobytes() for part in np.split(arrays["jpeg"], ends[:-1])] if len(ends) else []
    names = ("frames", "times_s", "vectors", "qualities", "clear")
    rows = zip(*(arrays[name] for name in names), jpegs, strict=True)
    return [
        Shot(int(frame), float(time_s), vector, float(quality), bool(clear), jpeg)
        for frame, time_s, vector, quality, clear, jpeg in rows
    ]
