"""Frames a second of the stream in each ensemble mode: one pass of the network a frame, or one a window.

    python benchmarks/ball_modes.py     # in turns, to benchmarks/results/ball_modes.json

Weights are random; speed does not depend on them. Frames are painted before the clock starts and pushed one at a
time, as a camera would send them.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import cycle, islice

from ball_memory import BG_MODE, SEQ_LEN, SIZE_HW, THREADS, export_model, pictures
from measuring import Figures, environment, in_turns, keep
from sightline.ball.background import median_of
from sightline.ball.ensemble import EVAL_MODES
from sightline.ball.onnx import TrackNetModuleONNX
from sightline.ball.planes import median_of_source
from sightline.ball.windows import TrackOptions

FRAMES = {"x0_25": 240, "x1_0": 48}  # a multiple of the window, enough for some seconds


def measured(mode: str) -> Figures:
    painted = pictures()
    median = median_of_source(median_of(painted), BG_MODE, resize=TrackOptions().resize)
    figures = {}
    for width, count in FRAMES.items():
        module = TrackNetModuleONNX(str(export_model(width)), SEQ_LEN, BG_MODE, "cpu", mode, median=median)
        for number, image in enumerate(islice(cycle(painted), 2 * SEQ_LEN)):  # a warm-up
            module.push(image, number)
        module.flush()
        module.reset()
        started = time.perf_counter()
        for number, image in enumerate(islice(cycle(painted), count)):
            module.push(image, number)
        module.flush()
        figures[width] = count / (time.perf_counter() - started)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contender", choices=EVAL_MODES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        print(json.dumps(measured(args.contender)))
        return
    figures = in_turns(__file__, EVAL_MODES, rounds=3)
    results = {
        "environment": environment(("sightline", "onnxruntime", "opencv-python-headless")),
        "what": {"frames": FRAMES, "size": list(SIZE_HW), "seq_len": SEQ_LEN, "threads": THREADS},
        "frames/s": figures,
    }
    print(json.dumps(results, indent=2))
    keep("ball_modes", results)


if __name__ == "__main__":
    main()
