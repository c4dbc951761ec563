"""Crops to vectors: sightline beside PyTorch eager with PIL, and beside the fixed-batch-of-16 habit.

    python benchmarks/embedding.py            # all contenders in turns, results to benchmarks/results/embedding.json

Every contender starts from the same decoded BGR crops of mixed sizes and ends with L2-normalised vectors of the same
seeded weights. Speed does not depend on what the weights have learnt.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from measuring import environment, in_turns, keep, median_seconds
from sightline.types import FloatArray, Image

ARCHS = ("osnet_x1_0", "osnet_x0_25")
COUNTS = (1, 4, 8, 16, 32, 64)
THREADS = 2
PIXELS_PER_CROP = 34_500
FIXED_BATCH = 16
TORCH_BATCH = 16  # where PyTorch eager is fastest on two cores

Embed = Callable[[Sequence[Image]], FloatArray]


def crops(count: int) -> list[Image]:
    """Blurred noise in the sizes people have in a 1080p frame."""
    rng = np.random.default_rng(0)
    return [_crop(rng) for _ in range(count)]


def _crop(rng: np.random.Generator) -> Image:
    height = int(np.sqrt(PIXELS_PER_CROP * 2) * rng.uniform(0.5, 1.4))
    noise = rng.integers(0, 256, (height, height // 2, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (5, 5), 0), dtype=np.uint8)


def pillow_and_torch(arch: str, folder: Path) -> Embed:
    """What a script around the public code does: PIL resize, a tensor per image, one stacked batch, eager."""
    import torch
    from PIL import Image as Pillow

    from sightline.nets.osnet import build_osnet

    torch.set_num_threads(THREADS)
    net = build_osnet(arch, seed=0).eval()
    mean = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)

    def tensor(crop: Image) -> torch.Tensor:
        resized = Pillow.fromarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)).resize((128, 256), Pillow.Resampling.BILINEAR)
        return (torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255 - mean) / std

    def embed(batch: Sequence[Image]) -> FloatArray:
        with torch.inference_mode():
            parts = [batch[start : start + TORCH_BATCH] for start in range(0, len(batch), TORCH_BATCH)]
            vectors = torch.cat([net(torch.stack([tensor(crop) for crop in part])) for part in parts])
            return np.asarray(torch.nn.functional.normalize(vectors, dim=1).numpy())

    return embed


def fixed_sixteen(arch: str, folder: Path) -> Embed:
    """The habit of the OSNet clustering notes: a model fixed at 16, zero padding, cv2 and NumPy in float64."""
    import onnxruntime

    path = exported(arch, folder, fold="none", batch=FIXED_BATCH)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

    def prepared(crop: Image) -> FloatArray:
        rgb = cv2.cvtColor(cv2.resize(crop, (128, 256)), cv2.COLOR_BGR2RGB)
        return np.asarray((rgb / 255.0 - mean) / std).transpose(2, 0, 1)

    def embed(batch: Sequence[Image]) -> FloatArray:
        rows = []
        for start in range(0, len(batch), FIXED_BATCH):
            part = batch[start : start + FIXED_BATCH]
            feed = np.zeros((FIXED_BATCH, 3, 256, 128), np.float32)
            feed[: len(part)] = np.stack([prepared(crop) for crop in part])
            rows.append(session.run(None, {name: feed})[0][: len(part)])
        return np.concatenate(rows)

    return embed


def ours(fold: str, backend: str) -> Callable[[str, Path], Embed]:
    def build(arch: str, folder: Path) -> Embed:
        from sightline.reid.embedder import Embedder
        from sightline.runtime.open import open_session

        cv2.setNumThreads(1)  # the lanes are the threads
        path = exported(arch, folder, fold=fold, batch=None)
        embedder = Embedder(open_session(path, backend, "cpu", threads=THREADS))
        return lambda batch: embedder.embed(batch).vectors

    return build


def exported(arch: str, folder: Path, *, fold: str, batch: int | None) -> Path:
    """Written by a process of its own, so that no contender has PyTorch's threads beside it."""
    path = folder / f"{arch}-{fold}-{batch}.onnx"
    if not path.exists():
        raise FileNotFoundError(f"{path}: made by `python benchmarks/embedding.py` before the first round")
    return path


CONTENDERS: dict[str, Callable[[str, Path], Embed]] = {
    "PyTorch eager + PIL": pillow_and_torch,
    "fixed batch of 16": fixed_sixteen,
    "sightline": ours("uint8", "onnxruntime"),
    "sightline, float input": ours("none", "onnxruntime"),
    "sightline, OpenVINO float32": ours("uint8", "openvino"),
}
PEAK = "matrix product (peak)"
MODELS = Path(tempfile.gettempdir()) / "sightline-benchmark-models"


def measure(contender: str) -> dict[str, float]:
    """Milliseconds per call for every arch and count; for the peak, GFLOP/s."""
    logging.disable(logging.WARNING)
    if contender == PEAK:
        return {"GFLOP/s": _peak_gflops()}
    figures = {}
    for arch in ARCHS:
        embed = CONTENDERS[contender](arch, MODELS)
        for count in COUNTS:
            batch = crops(count)
            figures[f"{arch} {count}"] = 1e3 * median_seconds(lambda batch=batch, embed=embed: embed(batch))
    if contender == "sightline":
        figures["prepare 64"] = 1e3 * _prepare_seconds()
    return figures


def _prepare_seconds() -> float:
    from sightline.card import PIXELS, ImageInput
    from sightline.images import prepare

    spec = ImageInput("x", (256, 128), PIXELS["torchreid"], folded=True, fed_color="BGR", layout="NHWC", dtype="uint8")
    batch = crops(64)
    return median_seconds(lambda: prepare(batch, spec))


def _peak_gflops() -> float:
    import onnxruntime
    from onnx import TensorProto, helper

    size = 1024
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "peak",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size]) for name in "ab"],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [size, size])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feeds = {name: rng.standard_normal((size, size), dtype=np.float32) for name in "ab"}
    return 2 * size**3 / median_seconds(lambda: session.run(None, feeds)) / 1e9


def export_models() -> None:
    from sightline.card import ImageInput, ModelCard, VectorOutput, pixels_named
    from sightline.deploy.export import PRESETS, ExportPlan, export_osnet
    from sightline.nets.osnet import build_osnet

    MODELS.mkdir(exist_ok=True)
    image = ImageInput("input", (256, 128), pixels_named("torchreid"))
    for arch in ARCHS:
        net = build_osnet(arch, seed=0)
        card = ModelCard(task="reid", arch=arch, image=image, output=VectorOutput("out", 512), weights="untrained")
        for fold, batch in (("none", None), ("uint8", None), ("none", FIXED_BATCH)):
            plan = ExportPlan(replace(PRESETS["sightline"], fold=fold), batch)
            export_osnet(net, MODELS / f"{arch}-{fold}-{batch}.onnx", card=card, plan=plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=(*CONTENDERS, PEAK))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.contender is not None:
        print(json.dumps(measure(args.contender)))
        return
    export_models()
    medians = in_turns(__file__, (*CONTENDERS, PEAK), rounds=args.rounds)
    packages = ("sightline", "onnxruntime", "openvino", "torch", "pillow", "opencv-python-headless", "numpy")
    keep("embedding", {"environment": environment(packages), "medians_ms": medians})
    print("results kept; `python benchmarks/report.py` writes docs/benchmarks.md", file=sys.stderr)


if __name__ == "__main__":
    main()
