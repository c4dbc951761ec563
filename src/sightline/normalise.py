"""A video as later stages like it: a constant rate, and no larger than they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from sightline.capture import packet_times_s
from sightline.errors import ConfigError, OutputError, SourceError
from sightline.sources import open_recording
from sightline.types import Frame, Image
from sightline.video import VideoWriter

SAME_RATE = 5e-4  # 29.97 is the same rate as 30000/1001, and 30 is another
UNSTEADY = 0.25  # of a frame, by which a time may miss its place in a constant rate
ROUNDING_S = 1e-6  # half-way between two frames it is always the later one
LONGEST_GAP_S = 600.0  # repeated frames fill it; a longer one is a broken time rather than a pause


def normalised(source: Path, target: Path, *, fps: float | None, size_hw: tuple[int, int] | None) -> Path:
    """The video at a constant rate and within a size: `target`, or the source itself where it is so already.

    At each multiple of 1 / `fps` (None: the rate it claims) stands the picture nearest in time. A picture larger than
    `size_hw` is made to fit within it, its aspect kept; a smaller one stays as it is. Sound is not kept. A folder of
    images becomes a video where it has to be changed. Raises `OutputError` where the target cannot be written.
    """
    _require_sensible(fps, size_hw)
    with open_recording(source) as recording:
        info = recording.info
        fitted_hw = _fitted(info.size_hw, size_hw)
        if fitted_hw == info.size_hw and (fps is None or _is_steady(source, claimed_fps=info.fps, fps=fps)):
            return source
        if target.exists() and target.samefile(source):
            raise OutputError(f"{target} is the video to be normalised; choose another name for what it becomes")
        with VideoWriter(target, fps=fps or info.fps) as writer:
            for image in at_rate(recording, fps or info.fps, last_for_s=1 / info.fps):
                writer.write(_resized(image, fitted_hw))
    return target


def at_rate(frames: Iterable[Frame], fps: float, *, last_for_s: float) -> Iterator[Image]:
    """The picture nearest to each multiple of 1 / `fps`, counted from the first frame.

    The last frame is shown for `last_for_s`, so that the whole is as long as before. Holds two frames.
    """
    following = iter(frames)
    first = next(following, None)
    if first is None:
        return
    before, written = first, 0
    for frame in following:
        _require_no_gap(before, frame)
        middle_s = (before.time_s + frame.time_s) / 2 - first.time_s - ROUNDING_S
        while written / fps < middle_s:
            yield before.image
            written += 1
        before = frame
    length_s = before.time_s - first.time_s + last_for_s
    for _ in range(written, max(1, round(length_s * fps))):
        yield before.image


def _require_sensible(fps: float | None, size_hw: tuple[int, int] | None) -> None:
    if fps is not None and not 0 < fps <= 1000:
        raise ConfigError(f"fps is {fps:g}; expected more than 0, and at most 1000")
    if size_hw is not None and min(size_hw) < 2:
        raise ConfigError(f"size is {size_hw[0]}x{size_hw[1]}; expected at least 2x2 (height x width)")


def _require_no_gap(before: Frame, after: Frame) -> None:
    gap_s = after.time_s - before.time_s
    if gap_s > LONGEST_GAP_S:
        raise SourceError(
            f"{after.source}: frame {after.index} comes {gap_s:,.0f} s after the one before; more than "
            f"{LONGEST_GAP_S:g} s cannot be filled to make its rate constant"
        )


def _fitted(size_hw: tuple[int, int], within_hw: tuple[int, int] | None) -> tuple[int, int]:
    """The size it gets: its own, or one within the other, with even sides as the codecs have them."""
    if within_hw is None:
        return size_hw
    scale = min(within / side for within, side in zip(within_hw, size_hw, strict=True))
    if scale >= 1:
        return size_hw
    height, width = (max(2, 2 * int(side * scale / 2 + 1e-9)) for side in size_hw)
    return height, width


def _resized(image: Image, size_hw: tuple[int, int]) -> Image:
    if image.shape[:2] == size_hw:
        return image
    return np.asarray(cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _is_steady(source: Path, *, claimed_fps: float, fps: float) -> bool:
    """Whether every frame stands where the rate has it. Looks at the times alone, without decoding."""
    if abs(claimed_fps / fps - 1) > SAME_RATE:
        return False
    if source.expanduser().is_dir():
        return True
    with closing(packet_times_s(source.expanduser())) as times:
        first_s = next(times, 0.0)
        return all(
            abs(time_s - first_s - number / claimed_fps) <= UNSTEADY / claimed_fps
            for number, time_s in enumerate(times, 1)
        )
