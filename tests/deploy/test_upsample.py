from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from sightline.deploy.upsample import Form, phase_kernels, rewrite_upsample, sites, transposed_kernel
from sightline.types import Array

FORMS: tuple[Form, ...] = ("phases", "transposed")


# --- the arithmetic, in float64 -----------------------------------------------------------------------------------


def doubled_then_convolved(low: Array, weights: Array) -> Array:
    """What the network does, pixel by pixel: (I, H, W) and (O, I, 3, 3) to (O, 2H, 2W)."""
    _, height, width = low.shape
    out = np.zeros((len(weights), 2 * height, 2 * width))
    for row, column, down, right in product(range(2 * height), range(2 * width), range(3), range(3)):
        y, x = row + down - 1, column + right - 1
        if 0 <= y < 2 * height and 0 <= x < 2 * width:
            out[:, row, column] += weights[:, :, down, right] @ low[:, y // 2, x // 2]
    return out


def by_phases(low: Array, weights: Array) -> Array:
    """Four 2×2 convolutions of the small image. An even pixel looks one back, an odd one looks one ahead."""
    _, height, width = low.shape
    kernels = phase_kernels(weights)
    out = np.zeros((len(weights), 2 * height, 2 * width))
    for row, column, down, right in product(range(2 * height), range(2 * width), range(2), range(2)):
        y, x = row // 2 + down - 1 + row % 2, column // 2 + right - 1 + column % 2
        if 0 <= y < height and 0 <= x < width:
            out[:, row, column] += kernels[row % 2, column % 2, :, :, down, right] @ low[:, y, x]
    return out


def by_scattering(low: Array, weights: Array) -> Array:
    """A transposed convolution as it is defined: each small pixel is dealt out over 4×4 pixels, two apart, one cut."""
    _, height, width = low.shape
    kernel = transposed_kernel(weights)
    out = np.zeros((len(weights), 2 * height + 2, 2 * width + 2))
    for y, x, down, right in product(range(height), range(width), range(4), range(4)):
        out[:, 2 * y + down, 2 * x + right] += low[:, y, x] @ kernel[:, :, down, right]
    return out[:, 1:-1, 1:-1]


@given(
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_both_forms_are_exact_in_float64_to_the_border(
    height: int, width: int, inputs: int, outputs: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    low, weights = rng.normal(size=(inputs, height, width)), rng.normal(size=(outputs, inputs, 3, 3))
    expected = doubled_then_convolved(low, weights)
    np.testing.assert_allclose(by_phases(low, weights), expected, atol=1e-13)
    np.testing.assert_allclose(by_scattering(low, weights), expected, atol=1e-13)


def test_the_sums_are_those_of_the_formula_on_a_kernel_of_nine_different_numbers() -> None:
    weights = np.array([[[[1, 10, 100], [2, 20, 200], [4, 40, 400]]]])
    even_even = [[1, 110], [6, 660]]  # k0 | k1+k2, in both directions
    odd_odd = [[33, 300], [44, 400]]  # k0+k1 | k2
    kernels = phase_kernels(weights)
    assert kernels[0, 0, 0, 0].tolist() == even_even
    assert kernels[1, 1, 0, 0].tolist() == odd_odd


def test_no_weight_is_lost_in_either_form() -> None:
    """Every phase holds each of the nine weights once; the transposed kernel holds each for four pixels."""
    weights = np.random.default_rng(0).normal(size=(2, 3, 3, 3))
    whole = weights.sum(axis=(2, 3))
    np.testing.assert_allclose(phase_kernels(weights).sum(axis=(4, 5)), np.broadcast_to(whole, (2, 2, 2, 3)))
    np.testing.assert_allclose(transposed_kernel(weights).sum(axis=(2, 3)), 4 * whole.T)


# --- the graph ----------------------------------------------------------------------------------------------------

LOW, SKIPPED, OUT = 5, 3, 4
Change = Callable[[onnx.ModelProto], None]


def graph(*, opset: int = 18, bias: bool = True, constants_as_nodes: bool = False) -> onnx.ModelProto:
    """One doubling, joined with other channels, convolved 3×3, as torch writes it. The batch and the sizes are open."""
    rng = np.random.default_rng(1)
    arrays = {
        "scales": np.float32([1, 1, 2, 2]),
        "weights": rng.normal(size=(OUT, LOW + SKIPPED, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=OUT).astype(np.float32),
    }
    tensors = {name: numpy_helper.from_array(array, name) for name, array in arrays.items()}
    exact = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    nodes = [
        helper.make_node("Relu", ["low"], ["positive"]),
        helper.make_node("Resize", ["positive", "", "scales"], ["doubled"], **exact),
        helper.make_node("Concat", ["doubled", "skipped"], ["joined"], axis=1),
        helper.make_node(
            "Conv",
            ["joined", "weights", *(["bias"] if bias else [])],
            ["convolved"],
            kernel_shape=[3, 3],
            pads=[1, 1, 1, 1],
        ),
        helper.make_node("Sigmoid", ["convolved"], ["output"]),
    ]
    if constants_as_nodes:
        nodes[:0] = [helper.make_node("Constant", [], [name], value=tensor) for name, tensor in tensors.items()]
        tensors = {}
    made = helper.make_graph(
        nodes,
        "doubling",
        [
            helper.make_tensor_value_info("low", TensorProto.FLOAT, ["n", LOW, "h", "w"]),
            helper.make_tensor_value_info("skipped", TensorProto.FLOAT, ["n", SKIPPED, "2h", "2w"]),
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", OUT, "2h", "2w"])],
        list(tensors.values()),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def answers(model: onnx.ModelProto, *, rows: int = 2, height: int = 5, width: int = 7) -> Array:
    rng = np.random.default_rng(2)
    sizes = {"low": (rows, LOW, height, width), "skipped": (rows, SKIPPED, 2 * height, 2 * width)}
    feeds = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])


def operations(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def node(model: onnx.ModelProto, kind: str) -> Any:
    return next(node for node in model.graph.node if node.op_type == kind)


@pytest.mark.parametrize("size_hw", [(5, 7), (1, 1), (1, 4)])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False}, {"opset": 13}, {"opset": 20}, {"constants_as_nodes": True}],
    ids=["plain", "no bias", "opset 13", "opset 20", "constants as nodes"],
)
def test_a_rewritten_graph_gives_the_same_answers(
    options: dict[str, Any], form: Form, size_hw: tuple[int, int]
) -> None:
    model = graph(**options)
    rewritten = rewrite_upsample(model, form)
    onnx.checker.check_model(rewritten, full_check=True)
    height, width = size_hw
    expected, got = (answers(each, height=height, width=width) for each in (model, rewritten))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_doubled_image_is_no_longer_made() -> None:
    phases, transposed = (operations(rewrite_upsample(graph(), form)) for form in FORMS)
    assert phases == Counter({"Relu": 1, "Conv": 5, "Concat": 1, "DepthToSpace": 1, "Add": 1, "Sigmoid": 1})
    assert transposed == Counter({"Relu": 1, "Conv": 1, "ConvTranspose": 1, "Add": 1, "Sigmoid": 1})


def test_sixteen_weights_a_pair_of_channels_stand_for_thirty_six_products() -> None:
    """Four output pixels took 4×9 products of a doubled channel; now they take the 16 weights that are stored."""
    for form in FORMS:
        stored = {
            tensor.name: int(np.prod(tensor.dims)) for tensor in rewrite_upsample(graph(), form).graph.initializer
        }
        assert sum(size for name, size in stored.items() if "skipped" not in name and name != "bias") == 16 * LOW * OUT
        assert stored["convolved/skipped.weight"] == 9 * SKIPPED * OUT
        assert "weights" not in stored and "scales" not in stored


def test_the_model_that_was_given_stays_as_it_was() -> None:
    model = graph()
    before = model.SerializeToString()
    rewrite_upsample(model)
    assert model.SerializeToString() == before


def test_metadata_and_names_of_inputs_and_outputs_stay() -> None:
    model = graph()
    helper.set_model_props(model, {"seq_len": "8"})
    rewritten = rewrite_upsample(model)
    assert rewritten.metadata_props == model.metadata_props
    assert rewritten.graph.input == model.graph.input and rewritten.graph.output == model.graph.output


def test_a_rewritten_graph_has_nothing_left_to_rewrite() -> None:
    assert len(sites(graph())) == 1
    for form in FORMS:
        rewritten = rewrite_upsample(graph(), form)
        assert sites(rewritten) == ()
        assert rewrite_upsample(rewritten, form) == rewritten


def attribute(kind: str, name: str, value: object) -> Change:
    def change(model: onnx.ModelProto) -> None:
        wanted = node(model, kind)
        kept = [each for each in wanted.attribute if each.name != name]
        del wanted.attribute[:]
        wanted.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def three_times_as_large(model: onnx.ModelProto) -> None:
    scales = next(tensor for tensor in model.graph.initializer if tensor.name == "scales")
    scales.CopyFrom(numpy_helper.from_array(np.float32([1, 1, 3, 3]), "scales"))


def the_other_channels_first(model: onnx.ModelProto) -> None:
    node(model, "Concat").input[:] = ["skipped", "doubled"]


def used_twice(name: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Relu", [name], ["more"]))

    return change


def put_out(name: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))

    return change


def weights_of_the_caller(model: onnx.ModelProto) -> None:
    kept = [tensor for tensor in model.graph.initializer if tensor.name != "weights"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.input.append(helper.make_tensor_value_info("weights", TensorProto.FLOAT, [OUT, LOW + SKIPPED, 3, 3]))


@pytest.mark.parametrize(
    "change",
    [
        attribute("Resize", "mode", "linear"),
        attribute("Resize", "nearest_mode", "ceil"),
        attribute("Resize", "coordinate_transformation_mode", "half_pixel"),
        three_times_as_large,
        the_other_channels_first,
        attribute("Concat", "axis", 2),
        attribute("Conv", "strides", [2, 2]),
        attribute("Conv", "dilations", [2, 2]),
        attribute("Conv", "pads", [0, 0, 0, 0]),
        attribute("Conv", "group", 2),
        attribute("Conv", "auto_pad", "SAME_LOWER"),
        used_twice("doubled"),
        used_twice("joined"),
        put_out("doubled"),
        put_out("joined"),
        weights_of_the_caller,
    ],
)
def test_whatever_is_not_exactly_that_pattern_is_left_alone(change: Change) -> None:
    model = graph()
    change(model)
    assert sites(model) == ()
    assert rewrite_upsample(model) == model
