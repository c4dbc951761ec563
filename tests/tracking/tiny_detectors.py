"""Detectors whose answers are written down in a test: constants, plus a share of what they were fed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Table = NDArray[np.float32]
SIZE_HW = (64, 96)
CELLS = 8 * 12 + 4 * 6 + 2 * 3  # of the strides 8, 16 and 32 in that size
CELLS_TO_64 = CELLS + 1 * 2


def detector_file(
    path: Path,
    tables: Mapping[str, Table],
    *,
    size_hw: tuple[int | str, int | str] = SIZE_HW,
    batch: int | str = "batch",
    name: str = "images",
    wants_size: bool = False,
    by_colour: Table | None = None,
    by_size: Table | None = None,
    open_shapes: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """An ONNX file that answers each picture with `tables`.

    To the first table it adds the mean of each channel times `by_colour` (3, …), and the numbers of the input
    `orig_target_sizes` times `by_size` (2, …).
    """
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3, *size_hw])]
    if wants_size:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [batch, 2]))
    nodes = [helper.make_node("ReduceMean", [name], ["means"], axes=[2, 3], keepdims=0)]
    sizes = "orig_target_sizes" if wants_size else "means"
    nodes.append(helper.make_node("Cast", [sizes], ["sizes"], to=TensorProto.FLOAT))
    constants: dict[str, NDArray[np.generic]] = {}
    outputs = []
    for index, (output, table) in enumerate(tables.items()):
        width = 2 if wants_size else 3
        colour = by_colour if index == 0 and by_colour is not None else np.zeros((3, *table.shape))
        size = by_size if index == 0 and by_size is not None else np.zeros((width, *table.shape))
        constants[f"c{index}"] = colour.reshape(3, -1).astype(np.float32)
        constants[f"s{index}"] = size.reshape(width, -1).astype(np.float32)
        constants[f"k{index}"] = np.asarray(table, np.float32).reshape(1, -1)
        constants[f"d{index}"] = np.array([-1, *table.shape], np.int64)
        integral = table.dtype.kind == "i"
        nodes += [
            helper.make_node("MatMul", ["means", f"c{index}"], [f"mc{index}"]),
            helper.make_node("MatMul", ["sizes", f"s{index}"], [f"ms{index}"]),
            helper.make_node("Add", [f"mc{index}", f"ms{index}"], [f"m{index}"]),
            helper.make_node("Add", [f"m{index}", f"k{index}"], [f"f{index}"]),
            helper.make_node("Reshape", [f"f{index}", f"d{index}"], [f"r{index}"]),
            helper.make_node("Cast", [f"r{index}"], [output], to=TensorProto.INT64 if integral else TensorProto.FLOAT),
        ]
        shape = [f"{output}_{axis}" for axis in range(table.ndim)] if open_shapes else list(table.shape)
        kind = TensorProto.INT64 if integral else TensorProto.FLOAT
        outputs.append(helper.make_tensor_value_info(output, kind, [batch, *shape]))
    weights = [numpy_helper.from_array(array, key) for key, array in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def random_rows(count: int, *, classes: int, seed: int = 0) -> Table:
    """Undecoded: offsets of a cell or so, sizes of a stride or so, then scores."""
    rng = np.random.default_rng(seed)
    offsets = rng.normal(0, 0.7, (count, 4))
    return np.hstack([offsets, rng.uniform(0, 1, (count, 1 + classes))]).astype(np.float32)


def decoded_rows(*, classes: int, size_hw: tuple[int, int] = SIZE_HW) -> Table:
    """The same as boxes in pixels, each about its own cell, one after another as a loop finds them."""
    rows = random_rows(CELLS, classes=classes)
    index = 0
    for stride in (8, 16, 32):
        for y in range(size_hw[0] // stride):
            for x in range(size_hw[1] // stride):
                rows[index, :4] = ((x + 0.5) * stride, (y + 0.5) * stride, 2 * stride, stride)
                index += 1
    return rows


def yunet_tables(size_hw: tuple[int, int] = SIZE_HW) -> dict[str, Table]:
    widths = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    return {
        f"{part}_{stride}": np.zeros(((size_hw[0] // stride) * (size_hw[1] // stride), width), np.float32)
        for part, width in widths.items()
        for stride in (8, 16, 32)
    }
