"""Whether following a ball needs more memory the longer it goes on: what is resident after 10, 50 and 100 % of a run.

    python benchmarks/ball_memory.py                                   # 10,000 frames, a quarter of the width
    python benchmarks/ball_memory.py --frames 200 --widths x0_25 x1_0  # a try

`pipeline.ball.follow` with a TrackNet of eight frames and their background, over painted frames of 1280×720 that come
again and again, on ONNX Runtime with two threads. Each width runs in a process of its own, which never loads PyTorch,
and says itself what it needs. Beside the peak stands what is resident at the time, because a peak of the beginning
would hide a growth below it. Weights are random: memory does not depend on what they have learnt.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

from measuring import environment, keep
from sightline.ball.background import median_of
from sightline.ball.models import open_ball_model, tracker_of
from sightline.pipeline.ball import BallOptions, follow
from sightline.synth.court import Rally
from sightline.types import Frame, Image

WIDTHS = ("x0_25", "x0_5", "x1_0")
SEQ_LEN, BG_MODE = 8, "concat"
SIZE_HW = (720, 1280)
PAINTED = 16
SHARES = (0.1, 0.5, 1.0)
THREADS = 2
LIMIT_MIB = 600
FPS = 30
MODELS = Path(tempfile.gettempdir()) / "sightline-benchmark-models"
PACKAGES = ("sightline", "onnxruntime", "numpy", "opencv-python-headless")


def export_model(width: str) -> Path:
    """In the parent, which may know PyTorch."""
    from sightline.deploy.ball_export import BallExportPlan, export_ball
    from sightline.nets.ball_checkpoint import LoadedBall, tracknet_card
    from sightline.nets.tracknet import build_tracknet

    MODELS.mkdir(exist_ok=True)
    target = MODELS / f"tracknet-{width}-any-batch.onnx"
    net = build_tracknet(SEQ_LEN, BG_MODE, width=width, seed=0).eval()
    ball = LoadedBall(net, tracknet_card(net, BG_MODE, weights="untrained"))
    export_ball(ball, target, plan=BallExportPlan(batch=None))
    return target


def pictures() -> list[Image]:
    return [image for image, _ in islice(Rally(0, frames=PAINTED, size_hw=SIZE_HW), PAINTED)]


def frames(painted: Sequence[Image], count: int) -> Iterator[Frame]:
    """Each a new array, as a decoder would give."""
    for index, image in enumerate(islice(cycle(painted), count)):
        yield Frame(image.copy(), index, index / FPS)


def own_mib(field: str) -> float:
    """What the system says of this process: VmRSS is resident now, VmHWM was at most."""
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def measure(model: Path, count: int, *, batch: int) -> dict[str, float]:
    """What is resident at each share of the frames answered, and the peak."""
    painted = pictures()
    background = median_of(painted)
    asked = {max(1, round(share * count)): f"{share:.0%}" for share in SHARES}
    found = {}
    with open_ball_model(model, backend="onnxruntime", device="cpu", threads=THREADS) as session:
        options = BallOptions(batch=batch)
        points = follow(frames(painted, count), tracker_of(session), background=background, options=options)
        for answered, _ in enumerate(points, 1):
            if answered in asked:
                found[asked[answered]] = own_mib("VmRSS")
    assert answered == count
    assert "torch" not in sys.modules, "PyTorch would be counted"
    return {**found, "peak": own_mib("VmHWM")}


def measured_apart(model: Path, count: int, *, batch: int) -> dict[str, float]:
    """By the child's own account: a parent's would include the parent itself, copied for a moment by the fork."""
    command = [sys.executable, __file__, "--contender", str(model), "--frames", str(count), "--batch", str(batch)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return {**figures, "growth": figures["100%"] - figures["10%"]}


def show(found: dict[str, dict[str, float]], count: int) -> None:
    print(f"{f'MiB, {count:,} frames':24}" + "".join(f"{name:>10}" for name in next(iter(found.values()))))
    for width, figures in found.items():
        kept = "kept" if figures["peak"] < LIMIT_MIB else "MISSED"
        print(f"{width:24}" + "".join(f"{mib:10.0f}" for mib in figures.values()) + f"  below {LIMIT_MIB} MiB: {kept}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000, help="frames to answer (default 10,000)")
    parser.add_argument("--widths", nargs="+", choices=WIDTHS, default=["x0_25"], help="of the network (default x0_25)")
    parser.add_argument(
        "--batch", type=int, default=BallOptions().batch, help=f"windows at once (default {BallOptions().batch})"
    )
    parser.add_argument("--contender", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender is not None:
        print(json.dumps(measure(args.contender, args.frames, batch=args.batch)))
        return
    found = {width: measured_apart(export_model(width), args.frames, batch=args.batch) for width in args.widths}
    show(found, args.frames)
    facts = {"environment": environment(PACKAGES), "frames": args.frames, "batch": args.batch}
    keep("ball_memory", {**facts, "mib": found})


if __name__ == "__main__":
    main()
