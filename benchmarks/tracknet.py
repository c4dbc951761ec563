"""One TrackNet forward pass: PyTorch eager, ONNX Runtime and OpenVINO, each form of the upsampling beside the others.

    python benchmarks/tracknet.py             # all contenders in turns, results to benchmarks/results/tracknet.json

Eight frames and their background, 288 by 512, batch 1, float32, two threads, random weights of one seed: speed does not
depend on what they have learnt.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from measuring import environment, in_turns, keep, median_seconds
from sightline.types import FloatArray

WIDTHS = ("x1_0", "x0_25")
FORMS = ("none", "phases", "transposed")
RUNTIMES = ("onnxruntime", "openvino")
TORCH = "PyTorch eager"
SEQ_LEN, BG_MODE = 8, "concat"
THREADS = 2
MODELS = Path(tempfile.gettempdir()) / "sightline-benchmark-models"
PACKAGES = ("torch", "onnxruntime", "openvino", "sightline")

Forward = Callable[[FloatArray], object]


def planes() -> FloatArray:
    rng = np.random.default_rng(0)
    return rng.random((1, 3 * (SEQ_LEN + 1), 288, 512), np.float32)


def eager(width: str) -> Forward:
    import torch

    from sightline.nets.tracknet import build_tracknet

    torch.set_num_threads(THREADS)
    net = build_tracknet(SEQ_LEN, BG_MODE, width=width, seed=0).eval()

    def forward(batch: FloatArray) -> object:
        with torch.inference_mode():
            return net(torch.from_numpy(batch)).numpy()

    return forward


def exported(runtime: str, form: str) -> Callable[[str], Forward]:
    def build(width: str) -> Forward:
        from sightline.runtime.open import open_session

        session = open_session(model_file(width, form), runtime, "cpu", "float32", THREADS)
        return lambda batch: session.run({"input": batch})

    return build


def name_of(runtime: str, form: str) -> str:
    return runtime if form == "none" else f"{runtime}, {form}"


CONTENDERS: dict[str, Callable[[str], Forward]] = {
    TORCH: eager,
    **{name_of(runtime, form): exported(runtime, form) for runtime in RUNTIMES for form in FORMS},
}


def model_file(width: str, form: str) -> Path:
    return MODELS / f"tracknet-{width}-{form}.onnx"


def export_models() -> None:
    from sightline.deploy.ball_export import BallExportPlan, export_ball
    from sightline.nets.ball_checkpoint import LoadedBall, tracknet_card
    from sightline.nets.tracknet import build_tracknet

    MODELS.mkdir(exist_ok=True)
    for width in WIDTHS:
        net = build_tracknet(SEQ_LEN, BG_MODE, width=width, seed=0).eval()
        ball = LoadedBall(net, tracknet_card(net, BG_MODE, weights="untrained"))
        for form in FORMS:
            export_ball(ball, model_file(width, form), plan=BallExportPlan(upsample=form))


def measure(contender: str) -> dict[str, float]:
    """Milliseconds a pass, by width."""
    logging.disable(logging.WARNING)
    batch = planes()
    forwards = {width: CONTENDERS[contender](width) for width in WIDTHS}
    return {
        width: 1e3 * median_seconds(lambda forward=forward: forward(batch), repeats=3)
        for width, forward in forwards.items()
    }


def show(medians: dict[str, dict[str, float]]) -> None:
    print(f"{'':26}" + "".join(f"{width + ' ms':>12}{'vs PyTorch':>12}" for width in WIDTHS))
    for name in CONTENDERS:
        cells = (f"{medians[name][w]:12,.0f}{medians[TORCH][w] / medians[name][w]:11.2f}×" for w in WIDTHS)
        print(f"{name:26}" + "".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=tuple(CONTENDERS))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.contender is not None:
        print(json.dumps(measure(args.contender)))
        return
    export_models()
    medians = in_turns(__file__, tuple(CONTENDERS), rounds=args.rounds)
    keep("tracknet", {"environment": environment(PACKAGES), "medians": medians})
    show(medians)


if __name__ == "__main__":
    main()
