"""A network with all that OSNet has and eight bits hurt, but tiny, and crops to show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image as PillowImage

from sightline.card import CARD_KEY, PIXELS, ImageInput, ModelCard, Threshold, VectorOutput
from sightline.onnx_file import read_onnx, with_metadata

SIZE_HW = (16, 8)
CHANNELS, DIM = 8, 6


def crops(folder: Path, count: int, *, seed: int = 0) -> list[Path]:
    """Half a dozen colours, each with its own noise."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    colours = rng.uniform(20, 235, (6, 3))
    paths = [folder / f"{index:03}.png" for index in range(count)]
    for index, path in enumerate(paths):
        pixels = colours[index % 6] + rng.normal(0, 25, (*SIZE_HW, 3))
        PillowImage.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return paths


def network(path: Path, *, batch: str | int = "batch", opset: int = 13, norm: bool = False, seed: int = 0) -> Path:
    """A residual block with a gate, as OSNet's: two convolutions, the gate, the sum, the vector. Weights are random."""
    rng = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.4, shape).astype(np.float32), name)

    weights = [
        weight("w1", CHANNELS, 3, 3, 3),
        weight("w2", CHANNELS, CHANNELS, 3, 3),
        weight("wg", CHANNELS, CHANNELS, 1, 1),
        weight("wo", DIM, CHANNELS),
        *(numpy_helper.from_array(np.ones(CHANNELS, np.float32), name) for name in ("scale", "bias")),
    ]
    made = helper.make_node
    between = (
        made("InstanceNormalization", ["a0", "scale", "bias"], ["a1"], "norm")
        if norm
        else made("Identity", ["a0"], ["a1"])
    )
    nodes = [
        made("Conv", ["images", "w1"], ["a0"], "first", pads=[1, 1, 1, 1]),
        between,
        made("Relu", ["a1"], ["a"], "relu"),
        made("Conv", ["a", "w2"], ["b"], "second", pads=[1, 1, 1, 1]),
        made("GlobalAveragePool", ["b"], ["g0"], "squeeze"),
        made("Conv", ["g0", "wg"], ["g1"], "excite"),
        made("Sigmoid", ["g1"], ["g"], "sigmoid"),
        made("Mul", ["b", "g"], ["c"], "gated"),
        made("Add", ["a", "c"], ["d"], "sum"),
        made("GlobalAveragePool", ["d"], ["e"], "pool"),
        made("Flatten", ["e"], ["f"], "flat"),
        made("Gemm", ["f", "wo"], ["features"], "out", transB=1),
    ]
    values = (("images", [batch, 3, *SIZE_HW]), ("features", [batch, DIM]))
    inputs, outputs = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values)
    graph = helper.make_graph(nodes, "block", [inputs], [outputs], weights)
    bare = path.with_name("bare-" + path.name)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), str(bare))
    card = ModelCard(
        task="reid",
        arch="block",
        image=ImageInput("images", SIZE_HW, PIXELS["torchreid"], batch=batch if isinstance(batch, int) else None),
        output=VectorOutput("features", DIM, normalised=False),
        fingerprint=read_onnx(bare).fingerprint,
        weights="trained",
        thresholds=(Threshold(0.5, 0.01, "single", 1000),),
        extra={"note": "kept", "thresholds.prepared": "so"},
    )
    with_metadata(bare, path, entries={CARD_KEY: card.to_json(), "author": "somebody"})
    bare.unlink()
    return path
