from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from sightline.errors import ModelError, ModelFormatError, ModelNotFoundError, OutputError
from sightline.onnx_file import OnnxFile, read_onnx, require_whole, with_metadata
from sightline.types import TensorSpec

REAL = Path(__file__).resolve().parents[2] / "shared" / "real" / "models"
REAL_NAMES = ("osnet_x0_25_market1501_128x64.onnx", "yolox_nano.onnx", "yunet_s.onnx")
WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)


def matmul_model(**extra: object) -> onnx.ModelProto:
    """`out = x @ w`, x of (batch, 3), w the numbers 0..11 as (3, 4)."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["out"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **extra)


def saved(model: onnx.ModelProto, folder: Path, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def external(tensor: TensorProto, location: str) -> TensorProto:
    """The tensor as one whose bytes lie in another file."""
    moved = TensorProto()
    moved.CopyFrom(tensor)
    moved.ClearField("raw_data")
    moved.data_location = TensorProto.EXTERNAL
    moved.external_data.add(key="location", value=location)
    return moved


def with_external_weights(folder: Path, location: str = "m.data") -> Path:
    model = matmul_model()
    tensor = model.graph.initializer[0]
    tensor.CopyFrom(external(tensor, location))
    return saved(model, folder)


# --- an independent reading of the same facts, through the onnx package -------------------------------------------

NUMPY_NAMES = {
    **{
        number: helper.tensor_dtype_to_np_dtype(number).name
        for name, number in TensorProto.DataType.items()
        if name not in ("UNDEFINED", "STRING")
    },
    TensorProto.UNDEFINED: "undefined",
    TensorProto.STRING: "string",
}


def text(value: str | bytes) -> str:
    """The onnx package hands out bytes where a text is not UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def expected_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    sizes = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in tensor.shape.dim)
    return TensorSpec(text(value.name), sizes, NUMPY_NAMES.get(tensor.elem_type, f"type {tensor.elem_type}"))


def all_nodes(nodes: object) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from all_nodes(graph.node)


def expected_facts(model: onnx.ModelProto) -> dict[str, object]:
    held = {tensor.name for tensor in model.graph.initializer}
    held |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    opsets = {text(entry.domain): entry.version for entry in model.opset_import}
    nodes = [*all_nodes(model.graph.node), *(n for function in model.functions for n in all_nodes(function.node))]
    return {
        "ir_version": model.ir_version,
        "opset": opsets.pop("", 0),
        "domains": opsets,
        "producer": f"{text(model.producer_name)} {text(model.producer_version)}".strip(),
        "inputs": tuple(expected_spec(value) for value in model.graph.input if value.name not in held),
        "outputs": tuple(expected_spec(value) for value in model.graph.output),
        "metadata": {text(entry.key): text(entry.value) for entry in model.metadata_props},
        "op_counts": Counter(f"{text(n.domain)}:{text(n.op_type)}" if n.domain else text(n.op_type) for n in nodes),
    }


def facts(file: OnnxFile) -> dict[str, object]:
    names = ("ir_version", "opset", "domains", "producer", "inputs", "outputs", "metadata", "op_counts")
    return {name: getattr(file, name) for name in names}


# --- reading ------------------------------------------------------------------------------------------------------


def test_every_field_of_a_small_model_is_read(tmp_path: Path) -> None:
    model = matmul_model(producer_name="maker", producer_version="1.2")
    helper.set_model_props(model, {"colour": "größe", "empty": ""})
    path = saved(model, tmp_path)
    file = read_onnx(path)
    assert (file.path, file.size_bytes) == (path, path.stat().st_size)
    assert (file.ir_version, file.opset, dict(file.domains)) == (8, 17, {"com.example": 3})
    assert file.producer == "maker 1.2"
    assert file.inputs == (TensorSpec("x", (None, 3), "float32"),)
    assert file.outputs == (TensorSpec("out", (None, 4), "float32"),)
    assert file.metadata == {"colour": "größe", "empty": ""}
    assert file.op_counts == {"MatMul": 1}
    assert file.external_data == ()
    assert len(file.fingerprint) == 64 and int(file.fingerprint, 16) > 0


@pytest.mark.parametrize("name", REAL_NAMES)
def test_a_real_model_reads_as_the_onnx_package_reads_it(name: str) -> None:
    path = REAL / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    file = read_onnx(path)
    assert facts(file) == expected_facts(onnx.load(path))
    assert file.external_data == ()
    require_whole(file)


@pytest.mark.parametrize("elem_type", sorted(TensorProto.DataType.values()))
def test_every_element_type_has_the_name_its_numpy_type_has(elem_type: int, tmp_path: Path) -> None:
    model = matmul_model()
    model.graph.input[0].type.tensor_type.elem_type = elem_type
    assert read_onnx(saved(model, tmp_path)).inputs[0].dtype == NUMPY_NAMES[elem_type]


def test_an_element_type_of_the_future_is_named_by_its_number(tmp_path: Path) -> None:
    model = matmul_model()
    model.graph.input[0].type.tensor_type.elem_type = 99
    assert read_onnx(saved(model, tmp_path)).inputs[0].dtype == "type 99"


def test_named_absent_and_negative_sizes_are_open_and_zero_is_a_size(tmp_path: Path) -> None:
    model = matmul_model()
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims.add()
    dims.add().dim_value = -1
    dims.add().dim_value = 0
    assert read_onnx(saved(model, tmp_path)).inputs[0].shape == (None, 3, None, None, 0)


def test_an_output_that_is_no_tensor_is_named_for_what_it_is(tmp_path: Path) -> None:
    model = matmul_model()
    model.graph.output.append(helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, [None]))
    map_type = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    model.graph.output.append(helper.make_value_info("votes", map_type))
    assert [spec.dtype for spec in read_onnx(saved(model, tmp_path)).outputs] == ["float32", "sequence", "map"]


def test_weights_that_an_old_file_repeats_among_its_inputs_are_not_inputs(tmp_path: Path) -> None:
    model = matmul_model()
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 4]))
    path = saved(model, tmp_path)
    assert [spec.name for spec in read_onnx(path).inputs] == ["x"]
    model.opset_import[0].version = 7  # the newest an IR 3 file may ask for, as onnxruntime checks
    session = onnxruntime.InferenceSession(saved(model, tmp_path), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["x"]


def test_sparse_weights_are_not_inputs_either(tmp_path: Path) -> None:
    model = matmul_model()
    values = helper.make_tensor("w", TensorProto.FLOAT, [1], [2.5])
    indices = helper.make_tensor("w_at", TensorProto.INT64, [1], [7])
    del model.graph.initializer[:]
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3, 4]))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 4]))
    assert [spec.name for spec in read_onnx(saved(model, tmp_path)).inputs] == ["x"]


def test_the_spelt_out_default_domain_is_the_default_domain(tmp_path: Path) -> None:
    model = matmul_model()
    model.opset_import[0].domain = "ai.onnx"
    model.graph.node[0].domain = "ai.onnx"
    file = read_onnx(saved(model, tmp_path))
    assert (file.opset, file.domains, file.op_counts) == (17, {"com.example": 3}, {"MatMul": 1})


def test_nodes_of_subgraphs_and_functions_are_counted_with_their_domain(tmp_path: Path) -> None:
    model = matmul_model()
    branch = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["y"], ["z"])], "b", [], []
    )
    model.graph.node.append(helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch))
    model.graph.node.append(helper.make_node("Twice", ["x"], ["t"], domain="com.example"))
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    function = helper.make_function("com.example", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    model.functions.append(function)
    counts = {"Abs": 2, "Add": 1, "If": 1, "MatMul": 1, "Neg": 2, "com.example:Twice": 1}
    assert read_onnx(saved(model, tmp_path)).op_counts == counts


def test_a_graph_written_in_two_pieces_reads_as_protobuf_merges_it(tmp_path: Path) -> None:
    first = matmul_model()
    second = onnx.ModelProto()
    second.graph.node.append(helper.make_node("Relu", ["out"], ["more"]))
    second.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["batch", 4]))
    path = tmp_path / "m.onnx"
    path.write_bytes(first.SerializeToString() + second.SerializeToString())
    assert facts(read_onnx(path)) == expected_facts(onnx.load(path))
    assert [spec.name for spec in read_onnx(path).outputs] == ["out", "more"]


def test_names_that_are_not_utf8_show_as_escapes(tmp_path: Path) -> None:
    data = matmul_model(producer_name="maker").SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(data.replace(b"maker", b"ma\xffer"))
    assert read_onnx(path).producer == r"ma\xffer"


names = st.text(min_size=1, max_size=12)
shapes = st.lists(st.integers(0, 1 << 40) | st.none() | st.text("ab", min_size=1, max_size=3), max_size=5)
values = st.dictionaries(
    names, st.tuples(st.sampled_from([number for number in NUMPY_NAMES if number]), shapes), max_size=4
)
domain_names = st.text(min_size=1, max_size=12).filter(lambda name: name != "ai.onnx")
Values = dict[str, tuple[int, list[int | str | None]]]


@dataclass(frozen=True)
class Recipe:
    """A model in the words of the test, from which both the file and the expected answers are made."""

    inputs: Values
    outputs: Values
    held: list[str]  # names of initializers
    ops: list[tuple[str, str]]
    opset: int
    domains: dict[str, int]
    metadata: dict[str, str]

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            [helper.make_node(op_type, ["a"], ["b"], domain=domain) for op_type, domain in self.ops],
            "net",
            [helper.make_tensor_value_info(name, *value) for name, value in self.inputs.items()],
            [helper.make_tensor_value_info(name, *value) for name, value in self.outputs.items()],
            [numpy_helper.from_array(np.zeros(2, np.float32), name) for name in self.held],
        )
        opsets = {"": self.opset, **self.domains}
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*item) for item in opsets.items()])
        helper.set_model_props(model, self.metadata)
        return model


def as_specs(values: Values) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, tuple(size if isinstance(size, int) else None for size in shape), NUMPY_NAMES[elem_type])
        for name, (elem_type, shape) in values.items()
    )


recipes = st.builds(
    Recipe,
    inputs=values,
    outputs=values,
    held=st.lists(names, max_size=3, unique=True),
    ops=st.lists(st.tuples(names, st.sampled_from(["", "com.example"])), max_size=6),
    opset=st.integers(1, 1 << 40),
    domains=st.dictionaries(domain_names, st.integers(-5, 300), max_size=3),
    metadata=st.dictionaries(st.text(max_size=9), st.text(max_size=300), max_size=4),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recipe=recipes, added=st.dictionaries(st.text(max_size=9), st.text(max_size=300), max_size=3))
def test_a_random_model_reads_as_it_was_written_and_takes_metadata(
    tmp_path: Path, recipe: Recipe, added: dict[str, str]
) -> None:
    path = saved(recipe.model(), tmp_path)
    file = read_onnx(path)
    assert file.inputs == tuple(spec for spec in as_specs(recipe.inputs) if spec.name not in recipe.held)
    assert file.outputs == as_specs(recipe.outputs)
    assert (file.opset, file.domains, file.metadata) == (recipe.opset, recipe.domains, recipe.metadata)
    assert file.op_counts == Counter(f"{domain}:{op_type}" if domain else op_type for op_type, domain in recipe.ops)
    with_metadata(path, path, entries=added)
    carded = onnx.load(path)
    assert {entry.key: entry.value for entry in carded.metadata_props} == {**recipe.metadata, **added}
    assert read_onnx(path).fingerprint == file.fingerprint


# --- files that are no model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04" + bytes(60), "it looks like a PyTorch checkpoint (zip)"),
        (b"\x80\x02}q\x00." + bytes(60), "it looks like a PyTorch checkpoint (pickle)"),
        (b"<?xml version='1.0'?><net/>", "it looks like an XML document"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "it looks like a PNG image"),
        (random.Random(5).randbytes(4096), "its bytes do not read as one"),
        (b"just some text, longer than a few words", "its bytes do not read as one"),
        (b"\x00" * 4096, "its bytes do not read as one"),
    ],
)
def test_another_kind_of_file_is_named_for_what_it_is(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError) as caught:
        read_onnx(path)
    assert str(caught.value).startswith(f"{path}: not an ONNX file ({what})")


def test_a_missing_file_and_an_empty_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        read_onnx(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").touch()
    with pytest.raises(ModelFormatError, match="is empty"):
        read_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize(("cleared", "part"), [("graph", "graph"), ("opset_import", "opset")])
def test_a_model_without_an_essential_part_is_refused(cleared: str, part: str, tmp_path: Path) -> None:
    model = matmul_model()
    model.ClearField(cleared)
    with pytest.raises(ModelFormatError, match=f"has no {part}"):
        read_onnx(saved(model, tmp_path))


def test_a_file_without_an_ir_version_is_not_an_onnx_file(tmp_path: Path) -> None:
    model = matmul_model()
    model.ClearField("ir_version")
    with pytest.raises(ModelFormatError, match="not an ONNX file"):
        read_onnx(saved(model, tmp_path))


def test_a_file_cut_off_inside_its_graph_says_how_many_bytes_are_missing(tmp_path: Path) -> None:
    model = matmul_model()
    model.ClearField("opset_import")
    data = model.SerializeToString() + onnx.ModelProto(opset_import=matmul_model().opset_import).SerializeToString()
    after_graph = len(model.SerializeToString())
    path = tmp_path / "m.onnx"
    path.write_bytes(data[: after_graph - 11])
    with pytest.raises(ModelFormatError, match="truncated: 11 bytes are missing"):
        read_onnx(path)


def test_every_truncation_is_refused_unless_it_cuts_between_fields_nobody_needs(tmp_path: Path) -> None:
    model = matmul_model(producer_name="maker")
    needed = model.SerializeToString()
    helper.set_model_props(model, {"a": "1", "b": "2"})
    whole = model.SerializeToString()
    assert whole.startswith(needed)
    entry = (len(whole) - len(needed)) // 2  # both entries are of one size
    path = tmp_path / "m.onnx"
    readable = []
    for length in range(1, len(whole) + 1):
        path.write_bytes(whole[:length])
        try:
            read_onnx(path)
            readable.append(length)
        except ModelFormatError as exc:
            assert "truncated" in str(exc)
    one_opset_less = len(needed) - len(onnx.ModelProto(opset_import=model.opset_import[1:]).SerializeToString())
    assert readable == [one_opset_less, len(needed), len(needed) + entry, len(whole)]


def fuzzed(data: bytes, rng: random.Random) -> bytes:
    mutated = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(mutated))
        match rng.randrange(4):
            case 0:
                mutated[at] = rng.randrange(256)
            case 1:
                mutated[at] ^= 1 << rng.randrange(8)
            case 2:
                mutated[at:at] = rng.randbytes(rng.randrange(1, 6))
            case _:
                del mutated[at : at + rng.randrange(1, 6)]
    return bytes(mutated) or b"\x08"


def model_with_everything() -> onnx.ModelProto:
    model = matmul_model(producer_name="maker")
    constant = helper.make_node("Constant", [], ["k"], value=external(numpy_helper.from_array(WEIGHTS), "k.data"))
    branch = helper.make_graph([constant], "branch", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch))
    model.functions.append(helper.make_function("f", "F", ["a"], ["b"], [constant], [helper.make_opsetid("", 17)]))
    helper.set_model_props(model, {"a": "1"})
    return model


def test_thousands_of_damaged_models_read_as_protobuf_reads_them_or_are_refused(tmp_path: Path) -> None:
    rng = random.Random(20)
    whole = model_with_everything().SerializeToString()
    path = tmp_path / "m.onnx"
    outcomes: Counter[str] = Counter()
    for _ in range(4000):
        data = fuzzed(whole, rng)
        path.write_bytes(data)
        try:
            file = read_onnx(path)
        except ModelError:
            outcomes["refused"] += 1
            continue
        try:
            model = onnx.ModelProto.FromString(data)
        except DecodeError:  # in a part that has nothing to do with what is read here
            outcomes["read, and refused by protobuf"] += 1
            continue
        outcomes["read alike"] += 1
        assert facts(file) == expected_facts(model)
    assert outcomes["refused"] > 2000
    assert outcomes["read alike"] > 400 > 10 * outcomes["read, and refused by protobuf"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=st.binary(max_size=200))
def test_any_bytes_after_a_sound_start_are_read_or_refused(tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(matmul_model().SerializeToString() + tail)
    try:
        assert read_onnx(path).ir_version
    except ModelFormatError as exc:
        assert str(path) in str(exc)


def length_delimited(number: int, body: bytes) -> bytes:
    """A field by the book: key, length in 7-bit groups with the lowest first, body."""
    length, groups = len(body), []
    while True:
        length, low = length >> 7, length & 127
        groups.append(low | (128 if length else 0))
        if not length:
            return bytes(((number << 3 | 2) & 127 | 128, number >> 4)) + bytes(groups) + body


@pytest.mark.parametrize(
    "graph",
    [
        b"\x08" + b"\xff" * 10 + b"\x01",  # a number of eleven bytes
        b"\x0a\xff\xff\xff\xff\x0f",  # a node longer than the graph
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a node of 2**64 - 1 bytes
        b"\x0b\x0c",  # a group
        b"\x0e",  # no wire type
        b"\x02\x00",  # field number 0
        b"\x0d\x00\x00",  # half a 32-bit number
        b"\x80",  # half a key
    ],
)
def test_a_graph_that_breaks_the_wire_format_is_damaged(graph: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x08" + length_delimited(7, graph) + length_delimited(8, b"\x10\x11"))
    with pytest.raises(ModelFormatError, match=r"is damaged: .* at byte \d+"):
        read_onnx(path)


@pytest.mark.parametrize("levels", [32, 33, 5000])
def test_graphs_may_nest_as_deep_as_protobuf_allows_and_no_deeper(levels: int, tmp_path: Path) -> None:
    graph = b""
    for _ in range(levels - 1):  # graph < attribute.g = 6 < node.attribute = 5 < graph.node = 1
        graph = length_delimited(1, length_delimited(5, length_delimited(6, graph)))
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x08" + length_delimited(7, graph) + length_delimited(8, b"\x10\x11"))
    if levels > 32:
        with pytest.raises(ModelFormatError, match="nest deeper than 32"):
            read_onnx(path)
    else:
        assert sum(read_onnx(path).op_counts.values()) == levels - 1


# --- weights in other files ----------------------------------------------------------------------------------------


def test_external_weights_are_found_wherever_a_tensor_can_be(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    inner = helper.make_graph([], "inner", [], [], [external(tensor, "in_subgraph")])
    model = matmul_model()
    nodes = [
        helper.make_node("Constant", [], ["k"], value=external(tensor, "in_constant")),
        helper.make_node("Several", [], ["s"], values=[external(tensor, "in_list"), external(tensor, "in_list")]),
        helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner),
    ]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(external(tensor, "in_initializer"))
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external(tensor, "in_sparse_values"))
    sparse.indices.CopyFrom(external(tensor, "in_sparse_indices"))
    body = [helper.make_node("Constant", [], ["k"], value=external(tensor, "in_function"))]
    model.functions.append(helper.make_function("f", "F", [], ["k"], body, [helper.make_opsetid("", 17)]))
    model.training_info.add().algorithm.initializer.append(external(tensor, "in_training"))
    assert read_onnx(saved(model, tmp_path)).external_data == (
        "in_constant",
        "in_function",
        "in_initializer",
        "in_list",
        "in_sparse_indices",
        "in_sparse_values",
        "in_subgraph",
        "in_training",
    )


def test_weights_written_by_the_onnx_package_are_whole_until_their_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(matmul_model(), path, save_as_external_data=True, location="m.data", size_threshold=0)
    file = read_onnx(path)
    assert file.external_data == ("m.data",)
    require_whole(file)
    (tmp_path / "m.data").unlink()
    with pytest.raises(ModelFormatError, match=r"weights file m\.data is missing beside .*--embed-weights"):
        require_whole(file)


def test_weights_in_a_folder_below_are_whole(tmp_path: Path) -> None:
    path = with_external_weights(tmp_path, "parts/w.bin")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "w.bin").write_bytes(WEIGHTS.tobytes())
    require_whole(read_onnx(path))


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../w.bin", "a/../../w.bin", "..\\w.bin", "C:\\w.bin", "\\\\host\\w.bin", "", ".", "a\0b"],
)
def test_weights_outside_the_folder_of_the_model_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    with pytest.raises(ModelFormatError, match="refused"):
        require_whole(read_onnx(with_external_weights(tmp_path / "home", location)))


def test_a_link_that_leads_weights_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "home" / "m.data").symlink_to(tmp_path / "w.bin")
    path = with_external_weights(tmp_path / "home")
    with pytest.raises(ModelFormatError, match="refused"):
        require_whole(read_onnx(path))


def test_a_cache_that_links_model_and_weights_to_one_store_is_whole(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "blobs" / "2").write_bytes(WEIGHTS.tobytes())
    with_external_weights(tmp_path / "blobs").rename(tmp_path / "blobs" / "1")
    (tmp_path / "snapshot" / "m.onnx").symlink_to(tmp_path / "blobs" / "1")
    (tmp_path / "snapshot" / "m.data").symlink_to(tmp_path / "blobs" / "2")
    require_whole(read_onnx(tmp_path / "snapshot" / "m.onnx"))


def test_weights_that_link_to_themselves_or_have_an_endless_name_are_refused_or_missing(tmp_path: Path) -> None:
    (tmp_path / "m.data").symlink_to(tmp_path / "m.data")
    with pytest.raises(ModelFormatError, match=r"refused|missing"):
        require_whole(read_onnx(with_external_weights(tmp_path)))
    with pytest.raises(ModelFormatError, match="missing"):
        require_whole(read_onnx(with_external_weights(tmp_path, "n" * 5000)))


def test_weights_that_are_a_git_lfs_pointer_are_named_as_one(tmp_path: Path) -> None:
    path = with_external_weights(tmp_path)
    (tmp_path / "m.data").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 48\n")
    with pytest.raises(ModelFormatError, match=r"m\.data is a Git LFS pointer"):
        require_whole(read_onnx(path))


# --- the fingerprint -----------------------------------------------------------------------------------------------


def test_who_made_a_model_does_not_change_its_fingerprint_but_a_weight_does(tmp_path: Path) -> None:
    plain = read_onnx(saved(matmul_model(), tmp_path)).fingerprint
    labelled = matmul_model(producer_name="p", producer_version="9", model_version=7, doc_string="d")
    helper.set_model_props(labelled, {"a": "b"})
    assert read_onnx(saved(labelled, tmp_path)).fingerprint == plain
    changed = matmul_model()
    changed.graph.initializer[0].CopyFrom(numpy_helper.from_array(WEIGHTS + 1, "w"))
    assert read_onnx(saved(changed, tmp_path)).fingerprint != plain


def test_a_changed_weights_file_changes_the_fingerprint(tmp_path: Path) -> None:
    path = with_external_weights(tmp_path)
    (tmp_path / "m.data").write_bytes(WEIGHTS.tobytes())
    first = read_onnx(path).fingerprint
    assert read_onnx(path).fingerprint == first
    (tmp_path / "m.data").write_bytes((WEIGHTS + 1).tobytes())
    assert read_onnx(path).fingerprint != first


def test_a_file_outside_the_folder_is_not_read_for_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    path = with_external_weights(tmp_path / "home", "../secret")
    before = read_onnx(path).fingerprint
    (tmp_path / "secret").write_bytes(b"secret")
    assert read_onnx(path).fingerprint == before


# --- metadata ------------------------------------------------------------------------------------------------------


def run(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.array([[1, 2, 3]], np.float32)})[0]


def test_a_model_with_new_metadata_is_the_same_model(tmp_path: Path) -> None:
    source = saved(matmul_model(producer_name="maker"), tmp_path)
    target = tmp_path / "carded.onnx"
    with_metadata(source, target, entries={"card": '{"größe": 1}', "size": "9" * 300})
    assert onnxruntime.InferenceSession(target).get_modelmeta().custom_metadata_map == {
        "card": '{"größe": 1}',
        "size": "9" * 300,
    }
    model = onnx.load(target)
    onnx.checker.check_model(model)
    del model.metadata_props[:]
    assert model == onnx.load(source)
    assert target.read_bytes().startswith(source.read_bytes())
    assert read_onnx(target).fingerprint == read_onnx(source).fingerprint
    # 1·(0 1 2 3) + 2·(4 5 6 7) + 3·(8 9 10 11)
    assert run(target).tolist() == run(source).tolist() == [[32, 38, 44, 50]]


def test_metadata_of_the_same_key_is_replaced_in_place_and_the_rest_kept(tmp_path: Path) -> None:
    model = matmul_model()
    helper.set_model_props(model, {"card": "old", "keep": "me"})
    model.metadata_props.add(key="card", value="older")
    path = saved(model, tmp_path)
    with_metadata(path, path, entries={"card": "new"})
    assert [(entry.key, entry.value) for entry in onnx.load(path).metadata_props] == [("keep", "me"), ("card", "new")]
    again = path.read_bytes()
    with_metadata(path, path, entries={"card": "new"})
    assert path.read_bytes() == again
    assert list(tmp_path.iterdir()) == [path]


def test_fields_this_reader_does_not_know_survive_new_metadata(tmp_path: Path) -> None:
    unknown = length_delimited(900, b"from the future") + b"\x70\x05" + struct.pack("<Bd", 31 << 3 & 127 | 1, 2.5)
    path = tmp_path / "m.onnx"
    path.write_bytes(matmul_model().SerializeToString() + unknown)
    with_metadata(path, path, entries={})
    assert path.read_bytes() == matmul_model().SerializeToString() + unknown


def test_a_model_larger_than_one_copy_step_is_copied_whole(tmp_path: Path) -> None:
    model = matmul_model()
    large = np.random.default_rng(3).random(700_001, dtype=np.float32)  # 2.8 MB
    model.graph.initializer.append(numpy_helper.from_array(large, "large"))
    path = saved(model, tmp_path)
    with_metadata(path, tmp_path / "t.onnx", entries={})
    assert (tmp_path / "t.onnx").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", REAL_NAMES)
def test_a_real_model_with_a_card_runs_as_before(name: str, tmp_path: Path) -> None:
    source = REAL / name
    if not source.exists():
        pytest.skip(f"{source} is not there")
    target = tmp_path / name
    with_metadata(source, target, entries={"sightline.card": "{}"})
    before, after = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in (source, target)
    )
    (spec,) = read_onnx(target).inputs
    image = np.random.default_rng(1).random([size or 1 for size in spec.shape], dtype=np.float32)
    for old, new in zip(before.run(None, {spec.name: image}), after.run(None, {spec.name: image}), strict=True):
        np.testing.assert_array_equal(old, new)
    assert after.get_modelmeta().custom_metadata_map == {"sightline.card": "{}"}


def test_metadata_is_not_written_onto_a_damaged_model_and_leaves_the_target_alone(tmp_path: Path) -> None:
    broken, target = tmp_path / "broken.onnx", tmp_path / "t.onnx"
    broken.write_bytes(matmul_model().SerializeToString()[:-3])
    target.write_bytes(b"precious")
    with pytest.raises(ModelFormatError, match="truncated"):
        with_metadata(broken, target, entries={"a": "b"})
    assert target.read_bytes() == b"precious"
    assert sorted(tmp_path.iterdir()) == [broken, target]


def test_metadata_utf8_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = saved(matmul_model(), tmp_path)
    with pytest.raises(OutputError, match="'card' has a character UTF-8 lacks"):
        with_metadata(path, tmp_path / "t.onnx", entries={"card": "\udc80"})
    assert list(tmp_path.iterdir()) == [path]
