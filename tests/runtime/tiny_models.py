"""Models small enough to be computed by hand, each with the answer a slow loop gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from sightline.types import Array, FloatArray, TensorSpec

SIZE_HW = (8, 4)
FILTERS = 4
WEIGHTS = np.linspace(-1, 1, FILTERS * 3 * 3 * 3, dtype=np.float32).reshape(FILTERS, 3, 3, 3)
BIAS = np.array([0.5, -0.25, 2.0, 1.0], np.float32)  # not zero, so that a row of padding would be seen

Dim = int | str | None


@dataclass(frozen=True)
class Model:
    """A model file, what it declares, something to feed it, and what it must answer."""

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    feeds: Callable[[int], dict[str, Array]]  # by number of rows
    answer: Callable[[Mapping[str, Array]], dict[str, Array]]


def conv_mean(path: Path, *, batch: int | None = None) -> Model:
    """A 3×3 convolution with zero padding, then the mean over the picture: (N, 3, 8, 4) to (N, 4)."""
    nodes = [
        helper.make_node("Conv", ["images", "weights", "bias"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["maps"], ["features"], axes=[2, 3], keepdims=0),
    ]
    declared = batch or "batch"
    save_graph(
        path,
        nodes,
        inputs=[tensor("images", [declared, 3, *SIZE_HW])],
        outputs=[tensor("features", [declared, FILTERS])],
        constants={"weights": WEIGHTS, "bias": BIAS},
    )
    return Model(
        path,
        (TensorSpec("images", (batch, 3, *SIZE_HW), "float32"),),
        (TensorSpec("features", (batch, FILTERS), "float32"),),
        lambda rows: {"images": images(rows, SIZE_HW)},
        lambda feeds: {"features": conv_mean_by_loop(feeds["images"])},
    )


def conv_mean_by_loop(batch: Array) -> FloatArray:
    """What `conv_mean` must answer, one product at a time."""
    rows, _, height, width = batch.shape
    answer = np.zeros((rows, FILTERS), np.float64)
    for row, which, y, x in np.ndindex(rows, FILTERS, height, width):
        answer[row, which] += BIAS[which] / (height * width)
        for dy, dx in np.ndindex(3, 3):
            if 0 <= y + dy - 1 < height and 0 <= x + dx - 1 < width:
                seen = batch[row, :, y + dy - 1, x + dx - 1].astype(np.float64)
                answer[row, which] += float(seen @ WEIGHTS[which, :, dy, dx]) / (height * width)
    return answer.astype(np.float32)


def sum_and_product(path: Path) -> Model:
    """Two inputs of different types, two outputs, declared in an order that is not the alphabet's."""
    nodes = [
        helper.make_node("Cast", ["whole"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["real", "cast"], ["sum"]),
        helper.make_node("Mul", ["whole", "whole"], ["product"]),
    ]
    save_graph(
        path,
        nodes,
        inputs=[tensor("whole", ["n", 2], TensorProto.INT64), tensor("real", ["n", 2])],
        outputs=[tensor("sum", ["n", 2]), tensor("product", ["n", 2], TensorProto.INT64)],
    )
    return Model(
        path,
        (TensorSpec("whole", (None, 2), "int64"), TensorSpec("real", (None, 2), "float32")),
        (TensorSpec("sum", (None, 2), "float32"), TensorSpec("product", (None, 2), "int64")),
        lambda rows: {
            "real": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2) / 4,
            "whole": np.arange(2 * rows, dtype=np.int64).reshape(rows, 2) - 3,
        },
        lambda feeds: {
            "sum": (feeds["real"] + feeds["whole"]).astype(np.float32),
            "product": feeds["whole"] ** 2,
        },
    )


def lost_batch(path: Path) -> Path:
    """All rows run together into one, as exports of a `view(1, -1)` do."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Reshape", ["means", "one_row"], ["features"]),
    ]
    outputs = [tensor("features", [1, None])]
    return save_images_graph(path, nodes, outputs=outputs, constants={"one_row": np.array([1, -1], np.int64)})


def means_over_themselves(path: Path) -> Path:
    """Every channel's mean divided by itself: 1, or NaN where a channel is black."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Div", ["means", "means"], ["features"]),
    ]
    return save_images_graph(path, nodes, outputs=[tensor("features", ["batch", 3])])


def channel_means(path: Path, *, batch: int | None = None, size_hw: tuple[Dim, Dim] = SIZE_HW) -> Path:
    """The mean of each channel: nothing is simpler to check what a model is fed by."""
    nodes = [helper.make_node("ReduceMean", ["images"], ["features"], axes=[2, 3], keepdims=0)]
    declared = batch or "batch"
    return save_images_graph(path, nodes, outputs=[tensor("features", [declared, 3])], batch=declared, size_hw=size_hw)


def class_scores(path: Path, *, classes: int) -> Path:
    """A training head left on: (N, classes)."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "head"], ["features"]),
    ]
    head = np.ones((3, classes), np.float32)
    return save_images_graph(path, nodes, outputs=[tensor("features", ["batch", classes])], constants={"head": head})


def feature_map(path: Path) -> Path:
    """A network cut before its pooling: (N, 3, H, W)."""
    nodes = [helper.make_node("Relu", ["images"], ["features"])]
    return save_images_graph(path, nodes, outputs=[tensor("features", ["batch", 3, *SIZE_HW])])


def save_images_graph(
    path: Path,
    nodes: Sequence[NodeProto],
    *,
    outputs: Sequence[ValueInfoProto],
    constants: Mapping[str, Array] | None = None,
    batch: Dim = "batch",
    size_hw: tuple[Dim, Dim] = SIZE_HW,
) -> Path:
    inputs = [tensor("images", [batch, 3, *size_hw])]
    return save_graph(path, nodes, inputs=inputs, outputs=outputs, constants=constants or {})


def save_graph(
    path: Path,
    nodes: Sequence[NodeProto],
    *,
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: Mapping[str, Array] | None = None,
) -> Path:
    weights = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "tiny", list(inputs), list(outputs), weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def tensor(name: str, shape: Sequence[Dim], dtype: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, list(shape))


def images(rows: int, size_hw: tuple[int, int], *, seed: int = 0) -> FloatArray:
    """Random numbers as a network is fed them; the first rows of a larger draw are a smaller one's."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 3, *size_hw)).astype(np.float32)
