"""The median background of 50 frames at 1280×720: sightline at once and frame by frame, beside `np.median`.

    python benchmarks/background.py            # all contenders in turns, to benchmarks/results/background.json

Each works on the same frames of a synthetic rally and prints a checksum of what it found. The megabytes are those on
top of the 50 frames, which the caller holds; "longest push s" is the longest a live stream would have waited.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from measuring import Figures, environment, in_turns, keep
from sightline.ball.background import RollingMedian, StreamingMedian, median_of
from sightline.synth.court import Rally
from sightline.types import Image

COUNT, SIZE_HW = 50, (720, 1280)


def at_once(frames: Sequence[Image]) -> tuple[Image, Figures]:
    return median_of(frames), {}


def by_numpy(frames: Sequence[Image]) -> tuple[Image, Figures]:
    return np.median(np.stack(frames), axis=0).astype(np.uint8), {}


def streaming(frames: Sequence[Image]) -> tuple[Image, Figures]:
    median = StreamingMedian(len(frames))
    longest = _longest_push(median.push, frames)
    started = time.perf_counter()
    found = median.median()
    return found, {"longest push s": longest, "read-out s": time.perf_counter() - started}


def rolling(frames: Sequence[Image]) -> tuple[Image, Figures]:
    """Its window is the 50 frames, each a period of ten pushes; only the longest push compares with the others."""
    median = RollingMedian(len(frames), every=10)
    longest = _longest_push(median.push, [frame for frame in frames for _ in range(10)])
    return median.median(), {"longest push s": longest}


def _longest_push(push: Callable[[Image], None], frames: Sequence[Image]) -> float:
    longest = 0.0
    for frame in frames:
        started = time.perf_counter()
        push(frame)
        longest = max(longest, time.perf_counter() - started)
    return longest


CONTENDERS: dict[str, Callable[[Sequence[Image]], tuple[Image, Figures]]] = {
    "sightline, at once": at_once,
    "sightline, streaming": streaming,
    "sightline, rolling": rolling,
    "np.median": by_numpy,
}


def measure(contender: str) -> Figures:
    cv2.setNumThreads(1)
    rally = Rally(1, frames=10 * COUNT, size_hw=SIZE_HW)
    frames = [rally.frame(10 * index)[0] for index in range(COUNT)]
    CONTENDERS[contender]([frame[:16] for frame in frames])  # a warm-up
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
    before = _resident_mb("VmRSS")
    started = time.perf_counter()
    found, figures = CONTENDERS[contender](frames)
    seconds = time.perf_counter() - started
    return {"s": seconds, "extra MB": _resident_mb("VmHWM") - before, "checksum": zlib.crc32(found), **figures}


def _resident_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=tuple(CONTENDERS))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.contender is not None:
        print(json.dumps(measure(args.contender)))
        return
    medians = in_turns(__file__, list(CONTENDERS), rounds=args.rounds)
    for name in CONTENDERS:
        times = medians["np.median"]["s"] / medians[name]["s"]
        figures = "  ".join(f"{key} {value:.4g}" for key, value in medians[name].items() if key != "checksum")
        same = medians[name]["checksum"] == medians["np.median"]["checksum"]
        print(f"{name:22} {figures}  {times:.1f}x np.median  {'same pixels' if same else 'OTHER PIXELS'}")
    keep("background", {"environment": environment(("sightline", "numpy")), "medians": medians})
    print("results kept; `python benchmarks/report.py` writes docs/benchmarks.md", file=sys.stderr)


if __name__ == "__main__":
    main()
