"""What ball tracking costs a frame besides the network: planes, windows, ensemble, decoding and queues, at 1280×720.

    python benchmarks/ball_overhead.py                     # results to benchmarks/results/ball_overhead.json
    python benchmarks/ball_overhead.py --model track.onnx  # and the share of it, beside that network's own time

One core: OpenCV is kept to one thread, and the network is replaced by heat maps that are there already, each with a
ball. Figures are processor time, of a push and of every stage alone: on one thread that is the time a push takes where
nothing else runs, and it does not depend on what else does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from measuring import environment, in_turns, keep, median_seconds
from sightline.ball.ensemble import Ensemble, get_ensemble_weight
from sightline.ball.heatmap import find_ball
from sightline.ball.onnx import TrackNetModuleONNX
from sightline.ball.planes import FramePlanes, as_floats, bg_mode_named, input_planes
from sightline.ball.stream import TrackNetStream
from sightline.errors import ModelFormatError
from sightline.types import Array, FloatArray, Image

SIZE_HW = (720, 1280)
SEQ_LEN = 8
MODES = ("", "subtract", "subtract_concat", "concat")
PUSHES = 200
CALLS = 60
TARGET_MS = 4.0


def frames(count: int) -> list[Image]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8) for _ in range(count)]


def median(bg_mode: str) -> Array | None:
    shape = (3, 288, 512) if bg_mode == "concat" else (*SIZE_HW, 3)
    return np.full(shape, 90, np.uint8) if bg_mode else None


def heats() -> FloatArray:
    """Eight heat maps with a ball in each, and the faint noise of a network that is not sure."""
    maps = np.random.default_rng(1).random((SEQ_LEN, 288, 512), dtype=np.float32) * 0.01
    for place, heat in enumerate(maps):
        cv2.circle(heat, (100 + 20 * place, 150), 3, 0.9, -1)
    return maps


def pushes_ms(bg_mode: str) -> tuple[float, float]:
    """The median and the 99th percentile of one push, with a network that costs nothing."""
    answer = heats()[None]
    stream = TrackNetStream(lambda windows: answer, seq_len=SEQ_LEN, bg_mode=bg_mode, median=median(bg_mode))
    images, times = frames(16), []
    for index in range(PUSHES):
        started = time.process_time()
        stream.push(images[index % len(images)])
        times.append(1e3 * (time.process_time() - started))
    steady = times[SEQ_LEN:]
    return statistics.median(steady), statistics.quantiles(steady, n=100)[-1]


def stages_ms(bg_mode: str) -> dict[str, float]:
    """Each stage alone, for one frame."""
    image, maps = frames(1)[0], heats()
    planes = FramePlanes(bg_mode_named(bg_mode))
    given = median(bg_mode)
    if given is not None:
        planes.set_median(given)
    small = planes.of(image)
    floats = [as_floats(small) for _ in range(SEQ_LEN)]
    window = np.empty((input_planes(SEQ_LEN, bg_mode), 288, 512), np.float32)
    ensemble = Ensemble(get_ensemble_weight(SEQ_LEN, "weight"), stride=1)
    stages: dict[str, Callable[[], object]] = {
        "planes": lambda: planes.of(image),
        "to floats": lambda: as_floats(small),
        "window": lambda: np.concatenate([planes.front, *floats], out=window),
        "check": lambda: np.isfinite(maps).all(),
        "ensemble": lambda: ensemble.add(maps),
        "decode": lambda: find_ball(maps[0]),
    }
    return {name: typical_ms(work) for name, work in stages.items()}


def typical_ms(work: Callable[[], object]) -> float:
    """The median processor time of a call."""
    times = []
    for _ in range(CALLS):
        started = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - started))
    return statistics.median(times)


def contender(bg_mode: str) -> dict[str, float]:
    typical, slow = pushes_ms(bg_mode)
    return {"push": typical, "push, 99th percentile": slow, **stages_ms(bg_mode)}


def network_ms(model: Path) -> tuple[str, float]:
    """The mode of a tracker, and the median time of its pass over one window with all cores."""
    module = opened(model)
    window = np.zeros((1, input_planes(SEQ_LEN, module.bg_mode), 288, 512), np.float32)
    return module.bg_mode, 1e3 * median_seconds(lambda: module.answer(window), at_least_s=0.1, repeats=3)


def opened(model: Path) -> TrackNetModuleONNX:
    for bg_mode in MODES:
        with suppress(ModelFormatError):
            return TrackNetModuleONNX(model, SEQ_LEN, bg_mode, "cpu")
    raise SystemExit(f"{model}: no tracker of {SEQ_LEN} frames")


def show(results: dict[str, dict[str, float]], model: Path | None) -> None:
    names = list(results[f"mode {MODES[0]!r}"])
    print(f"{'ms a frame':24}" + "".join(f"{mode!r:>18}" for mode in MODES))
    for name in names:
        print(f"{name:24}" + "".join(f"{results[f'mode {mode!r}'][name]:18.3f}" for mode in MODES))
    worst = max(results[f"mode {mode!r}"]["push"] for mode in MODES)
    print(f"worst mode {worst:.2f} ms a frame, target {TARGET_MS} ms: {'kept' if worst < TARGET_MS else 'MISSED'}")
    if model is not None:
        mode, forward = network_ms(model)
        own = results[f"mode {mode!r}"]["push"]
        results["network"] = {"forward": forward, "share of the rest": own / (own + forward)}
        print(f"{model.name}: {forward:.0f} ms a pass; all else is {100 * own / (own + forward):.1f} % of a push")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a TrackNet of 8 frames, to compare with")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of measuring (default 3)")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.contender is not None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(json.dumps(contender(arguments.contender.removeprefix("mode ").strip("'"))))
        return
    results = in_turns(__file__, [f"mode {mode!r}" for mode in MODES], rounds=arguments.rounds)
    show(results, arguments.model)
    keep("ball_overhead", {"environment": environment(("sightline", "numpy", "opencv-python-headless")), **results})


if __name__ == "__main__":
    main()
