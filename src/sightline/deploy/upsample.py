"""The exact rewrite of "double by repeating, join, convolve 3×3" in an ONNX graph: the same answer from less work.

Of a 3×3 window over an image doubled by repetition, most taps fall on pixels that are copies of each other. Summed
beforehand, four 2×2 windows over the small image remain, one for each of the four pixels that came of one: 16 products
where there were 36, and the doubled image is never made. Along one axis with taps k0, k1, k2, the even pixel 2i sees
the small pixels i-1 and i through k0 and k1+k2, the odd one 2i+1 sees i and i+1 through k0+k1 and k2. Zeros beyond the
border are zeros before and after doubling. The joined channels that were not doubled keep their 3×3 window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

import numpy as np

from sightline.types import Array

if TYPE_CHECKING:
    import onnx

Form = Literal["phases", "transposed"]

# Which of the taps k0, k1, k2 are summed: for the even pixel into its two taps, and for the odd one.
_PHASES = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], np.float64)
# The same four sums in the order a transposed convolution of stride 2, kernel 4 and padding 1 deals them out.
_SPREAD = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float64)

_DOUBLING = {"mode": b"nearest", "nearest_mode": b"floor", "coordinate_transformation_mode": b"asymmetric"}
_SAME_3X3 = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1], "dilations": [1, 1], "group": 1}
_TIMES_TWO = [1.0, 1.0, 2.0, 2.0]


def phase_kernels(weights: Array) -> Array:
    """(O, I, 3, 3) over the doubled image to (2, 2, O, I, 2, 2) over the small one, by row and column phase."""
    summed: Array = np.einsum("prk,qsl,oikl->pqoirs", _PHASES, _PHASES, weights.astype(np.float64))
    return summed.astype(weights.dtype)


def transposed_kernel(weights: Array) -> Array:
    """(O, I, 3, 3) over the doubled image to (I, O, 4, 4) of a transposed convolution of the small one."""
    summed: Array = np.einsum("tk,ul,oikl->iotu", _SPREAD, _SPREAD, weights.astype(np.float64))
    return summed.astype(weights.dtype)


def rewrite_upsample(model: onnx.ModelProto, form: Form = "phases") -> onnx.ModelProto:
    """A copy of the model with every such place rewritten; one without such a place comes back unchanged.

    Inputs, outputs and metadata stay. `sites` tells how many places there are.
    """
    import onnx

    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    for site in sites(rewritten):
        _replace(rewritten.graph, site, form)
    _drop_unused_constants(rewritten.graph)
    return rewritten


@dataclass(frozen=True)
class Site:
    """One doubling whose result is only joined, in front, with other channels, and that only convolved."""

    resize: onnx.NodeProto
    concat: onnx.NodeProto
    conv: onnx.NodeProto
    low: str  # the small image
    skipped: str  # the channels that were not doubled
    weights: Array  # (O, I, 3, 3)
    doubled: int  # how many of the I input channels are


def sites(model: onnx.ModelProto) -> tuple[Site, ...]:
    """Every place that can be rewritten."""
    import onnx

    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(value.name for value in graph.output)
    channels = _channels(onnx.shape_inference.infer_shapes(model).graph)
    found = (_site(node, makers, uses, channels, _constants(graph)) for node in graph.node if node.op_type == "Conv")
    return tuple(site for site in found if site is not None)


def _site(
    conv: onnx.NodeProto,
    makers: Mapping[str, onnx.NodeProto],
    uses: Mapping[str, int],
    channels: Mapping[str, int],
    constants: Mapping[str, Array],
) -> Site | None:
    concat = makers.get(conv.input[0])
    weights = constants.get(conv.input[1])
    if concat is None or weights is None or not (_is_joining(concat) and _is_same_3x3(conv, weights)):
        return None
    resize = makers.get(concat.input[0])
    if resize is None or not _is_doubling(resize, constants):
        return None
    low, once = resize.input[0], uses[resize.output[0]] == 1 and uses[concat.output[0]] == 1
    if low not in channels or not once:
        return None
    return Site(resize, concat, conv, low, concat.input[1], weights, channels[low])


def _is_joining(node: onnx.NodeProto) -> bool:
    return node.op_type == "Concat" and len(node.input) == 2 and _attributes(node).get("axis") == 1


def _is_same_3x3(conv: onnx.NodeProto, weights: Array) -> bool:
    said = {"dilations": [1, 1], "strides": [1, 1], "group": 1, "kernel_shape": [3, 3], **_attributes(conv)}
    return weights.shape[2:] == (3, 3) and said == _SAME_3X3


def _is_doubling(node: onnx.NodeProto, constants: Mapping[str, Array]) -> bool:
    said = _attributes(node)
    exact = all(said.get(name) == value for name, value in _DOUBLING.items())
    scales = constants.get(node.input[2]) if node.op_type == "Resize" and len(node.input) == 3 else None
    return exact and scales is not None and scales.tolist() == _TIMES_TWO


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _constants(graph: onnx.GraphProto) -> dict[str, Array]:
    from onnx import numpy_helper

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        value = _attributes(node).get("value") if node.op_type == "Constant" else None
        if value is not None:
            found[node.output[0]] = numpy_helper.to_array(value)
    return found


def _channels(graph: onnx.GraphProto) -> dict[str, int]:
    """The size of the second axis, where it is known."""
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.value_info)}
    return {name: dims[1].dim_value for name, dims in shapes.items() if len(dims) > 1 and dims[1].dim_value}


def _replace(graph: onnx.GraphProto, site: Site, form: Form) -> None:
    """Put new nodes where the convolution was: its inputs are made by then, and what it gave keeps its name."""
    place = next(index for index, node in enumerate(graph.node) if node is site.conv or node == site.conv)
    made = list(_nodes(graph, site, form))
    kept = [node for node in graph.node[:place] if node not in (site.resize, site.concat)]
    after = list(graph.node[place + 1 :])
    del graph.node[:]
    graph.node.extend([*kept, *made, *after])


def _nodes(graph: onnx.GraphProto, site: Site, form: Form) -> Iterator[onnx.NodeProto]:
    from onnx import helper

    name = site.conv.output[0]
    skip = _constant(graph, f"{name}/skipped.weight", site.weights[:, site.doubled :])
    bias = list(site.conv.input[2:])
    yield helper.make_node("Conv", [site.skipped, skip, *bias], [f"{name}/skipped"], **_SAME_3X3)
    weights = site.weights[:, : site.doubled]
    yield from (_as_phases if form == "phases" else _as_transposed)(graph, site.low, name, weights)
    yield helper.make_node("Add", [f"{name}/doubled", f"{name}/skipped"], [name])


def _as_phases(graph: onnx.GraphProto, low: str, name: str, weights: Array) -> Iterator[onnx.NodeProto]:
    from onnx import helper

    kernels = phase_kernels(weights)
    parts = []
    for row, column in product((0, 1), repeat=2):
        parts.append(f"{name}/phase_{row}{column}")
        kernel = _constant(graph, f"{parts[-1]}.weight", kernels[row, column])
        pads = [1 - row, 1 - column, row, column]
        yield helper.make_node("Conv", [low, kernel], [parts[-1]], kernel_shape=[2, 2], pads=pads)
    yield helper.make_node("Concat", parts, [f"{name}/phases"], axis=1)
    yield helper.make_node("DepthToSpace", [f"{name}/phases"], [f"{name}/doubled"], blocksize=2, mode="DCR")


def _as_transposed(graph: onnx.GraphProto, low: str, name: str, weights: Array) -> Iterator[onnx.NodeProto]:
    from onnx import helper

    kernel = _constant(graph, f"{name}/transposed.weight", transposed_kernel(weights))
    shape = {"kernel_shape": [4, 4], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    yield helper.make_node("ConvTranspose", [low, kernel], [f"{name}/doubled"], **shape)


def _constant(graph: onnx.GraphProto, name: str, values: Array) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name


def _drop_unused_constants(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in used]
    nodes = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in used]
    for field, kept in ((graph.initializer, constants), (graph.node, nodes)):
        del field[:]
        field.extend(kept)
