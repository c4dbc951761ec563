"""Windows of frames with their labels, on their way into TrackNet.

What is drawn at random for a window depends on the seed, the epoch and the window alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sightline.ball.heatmap import HEIGHT, WIDTH
from sightline.ball.planes import PLANES_PER_FRAME
from sightline.training.ball.frames import Footage, FrameCache
from sightline.training.ball.heatmaps import NOWHERE, centres_of
from sightline.training.ball.rallies import LabelledRally
from sightline.types import Image

BRIGHTER, SHIFTED = 0.3, 20.0  # colour jitter: a factor of 1 ± this a channel, and grey levels up or down
ON_THE_BALL = 0.9  # of the cropped windows with a ball somewhere show it


class Window(NamedTuple):
    """One window as the network wants it, but for the division by 255."""

    planes: Tensor  # (C, H, W) uint8
    centres: Tensor  # (L, 2) int32
    share: float  # of this window, where it is mixed with another
    name: str


class WindowBatch(NamedTuple):
    """A named tuple, for DataLoader pins the memory of those and of no other class."""

    planes: Tensor  # (N, C, H, W) uint8
    centres: Tensor  # (N, L, 2) int32
    shares: Tensor  # (N,) float32
    names: tuple[str, ...]


@dataclass(frozen=True)
class WindowChanges:
    """What is done to training windows."""

    crop_hw: tuple[int, int] = (HEIGHT, WIDTH)
    mixup: float = 0.0  # of the Beta; 0: none
    flip: float = 0.0
    colour_jitter: bool = False


@dataclass(frozen=True, eq=False)
class _Clip:
    """A rally that windows are cut from."""

    name: str
    path: Path
    centres: NDArray[np.int32]  # (N, 2), of the frames from 0


class RallyWindows(Dataset[Window]):
    """Every window of `seq_len` labelled frames, `step` frames apart, of rallies that are in the cache."""

    def __init__(
        self,
        rallies: Sequence[LabelledRally],
        cache: FrameCache,
        *,
        seq_len: int,
        step: int,
        changes: WindowChanges,
        seed: int,
    ) -> None:
        self._cache, self._seq_len, self._changes, self._seed = cache, seq_len, changes, seed
        self._clips = [_clip(rally, cache) for rally in rallies]
        self._starts = [
            (number, start)
            for number, (clip, rally) in enumerate(zip(self._clips, rallies, strict=True))
            for start in _starts(rally, frames=len(clip.centres), seq_len=seq_len, step=step)
        ]
        self._open: dict[int, Footage] = {}
        # Shared: workers that live on between epochs keep their copy of the rest of this object.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # torch does not annotate it

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapped files, which would be copied; a worker maps them itself."""
        return {**self.__dict__, "_open": {}}

    def set_epoch(self, epoch: int) -> None:
        """Draw other changes. To be called between epochs, not while a loader is being read."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Window:
        number, start = self._starts[index]
        clip, rng = self._clips[number], np.random.default_rng((self._seed, int(self._epoch), index))
        planes = window_planes(self._footage(number), range(start, start + self._seq_len))
        centres = clip.centres[start : start + self._seq_len]
        share = _share(self._changes.mixup, rng)
        planes, centres = self._changed(planes, centres, rng)
        return Window(torch.from_numpy(planes), torch.from_numpy(centres), share, f"{clip.name} from frame {start}")

    def _footage(self, number: int) -> Footage:
        if number not in self._open:
            self._open[number] = self._cache.open(self._clips[number].path)
        return self._open[number]

    def _changed(self, planes: Image, centres: NDArray[np.int32], rng: Generator) -> tuple[Image, NDArray[np.int32]]:
        """Copies. The same numbers are drawn whatever is asked for, so that one change does not move another."""
        flipped, jitter = rng.random() < self._changes.flip, rng.uniform(-1, 1, 4)
        top, left = corner(centres, self._changes.crop_hw, rng)
        height, width = self._changes.crop_hw
        planes = np.array(planes[:, top : top + height, left : left + width])
        there = centres[:, :1] != NOWHERE
        centres = np.where(there, centres - np.array([left, top], np.int32), centres)
        if flipped:
            planes = np.ascontiguousarray(planes[:, :, ::-1])
            centres = np.where(there, np.array([width - 1, 0]) + centres * np.array([-1, 1]), centres)
        if self._changes.colour_jitter:
            _jitter(planes, jitter, per_frame=PLANES_PER_FRAME[self._cache.bg_mode])
        return planes, np.asarray(centres, np.int32)


def window_planes(footage: Footage, frames: range) -> Image:
    """(C, 288, 512) uint8, as inference puts it together. Behind the last frame are copies of it."""
    places = np.minimum(np.arange(frames.start, frames.stop), len(footage.planes) - 1)
    return np.concatenate([footage.front, footage.planes[places].reshape(-1, HEIGHT, WIDTH)])


def collated(windows: list[Window]) -> WindowBatch:
    planes, centres, shares, names = zip(*windows, strict=True)
    return WindowBatch(torch.stack(planes), torch.stack(centres), torch.tensor(shares, dtype=torch.float32), names)


def corner(centres: NDArray[np.int32], crop_hw: tuple[int, int], rng: Generator) -> tuple[int, int]:
    """Top and left of a crop that has, mostly, the ball of one of the frames somewhere in it."""
    height, width = crop_hw
    anywhere = rng.uniform(0, 1, 2)
    seen = centres[centres[:, 0] != NOWHERE]
    if not len(seen) or rng.random() >= ON_THE_BALL:
        return int(anywhere[0] * (HEIGHT - height + 1)), int(anywhere[1] * (WIDTH - width + 1))
    x, y = seen[int(rng.integers(len(seen)))]
    top, left = int(y - anywhere[0] * height), int(x - anywhere[1] * width)
    return min(max(top, 0), HEIGHT - height), min(max(left, 0), WIDTH - width)


def _clip(rally: LabelledRally, cache: FrameCache) -> _Clip:
    """Centres are by frame: what the labels leave out is nowhere, and no window has it."""
    path = cache.path_of(rally.rally)
    centres = np.full((cache.frames_in(path), 2), NOWHERE, np.int32)
    points = [point for point in rally.points if point.frame < len(centres)]
    centres[[point.frame for point in points]] = centres_of(points, rally.size_hw)
    return _Clip(str(rally.rally), path, centres)


def _starts(rally: LabelledRally, *, frames: int, seq_len: int, step: int) -> list[int]:
    known = np.zeros(frames, bool)
    known[[point.frame for point in rally.points if point.frame < frames]] = True
    return [start for start in range(0, frames - seq_len + 1, step) if known[start : start + seq_len].all()]


def _share(alpha: float, rng: Generator) -> float:
    """The larger part of a draw from Beta(alpha, alpha): a window is never the lesser of the two it is mixed of."""
    drawn = float(rng.beta(alpha, alpha)) if alpha else 1.0
    return max(drawn, 1 - drawn)


def _jitter(planes: Image, drawn: NDArray[np.float64], *, per_frame: int) -> None:
    """Other light, the same for all frames of the window, in place. `drawn`: red, green, blue, and brightness."""
    levels = np.arange(256)
    for place in range(per_frame):
        is_difference = per_frame == 1 or place == 3
        gain = 1 + BRIGHTER * (drawn[:3].mean() if is_difference else drawn[place])
        shift = 0.0 if is_difference else SHIFTED * drawn[3]
        curve = np.clip(levels * gain + shift, 0, 255).astype(np.uint8)
        planes[place::per_frame] = curve[planes[place::per_frame]]
