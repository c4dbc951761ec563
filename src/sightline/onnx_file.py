"""An ONNX file looked into and annotated without the `onnx` package, which a base install does not have.

onnxruntime tells neither the opset nor where external weights lie, and cannot write metadata. All three need only the
outline of the file, so the weights themselves are never parsed. Field numbers are those of onnx.proto, IR version 3
to today.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path

from sightline.errors import ModelFormatError, OutputError
from sightline.files import is_outside, is_regular_file, replacing, require_model_file, sha256_of, sniff
from sightline.protobuf import BYTES, Field, Message, OverrunError, WireError, encode_bytes
from sightline.types import TensorSpec

# ModelProto
_IR_VERSION, _PRODUCER_NAME, _PRODUCER_VERSION, _MODEL_VERSION, _DOC_STRING = 1, 2, 3, 5, 6
_GRAPH, _OPSET_IMPORT, _METADATA, _TRAINING, _FUNCTION = 7, 8, 14, 20, 25
# GraphProto
_NODE, _INITIALIZER, _SPARSE_INITIALIZER, _INPUT, _OUTPUT = 1, 5, 15, 11, 12
# FunctionProto, NodeProto, AttributeProto, TensorProto
_FUNCTION_NODE = 7
_OP_TYPE, _ATTRIBUTE, _OP_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_NAME, _EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 8, 13, 14, 1
# TypeProto; a sparse tensor is described by the same two fields as a dense one
_TENSOR_TYPES = (1, 8)
_OTHER_TYPES = {4: "sequence", 5: "map", 7: "opaque", 9: "optional"}
_DIM_VALUE = 1

_DTYPE_NAMES = (  # by number, TensorProto.DataType
    "undefined float32 uint8 int8 uint16 int16 int32 int64 string bool float16 float64 uint32 uint64 complex64 "
    "complex128 bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz uint4 int4 float4_e2m1fn "
    "float8_e8m0fnu uint2 int2 float6_e2m3fn float6_e3m2fn"
)
_DTYPES = dict(enumerate(_DTYPE_NAMES.split()))
_NOT_THE_NETWORK = {_PRODUCER_NAME, _PRODUCER_VERSION, _MODEL_VERSION, _DOC_STRING, _METADATA}
_FIRST_BYTE = _IR_VERSION << 3  # every exporter writes the IR version first
_MAX_MESSAGE = 1 << 31  # bytes; protobuf's own limit, so a longer claim is nonsense rather than a cut-off file
_MAX_GRAPH_DEPTH = 32  # protobuf stops at 100 messages, three of which make one level of subgraph


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file declares. Nothing here was run or shape-inferred."""

    path: Path
    size_bytes: int
    ir_version: int
    opset: int  # of the default domain; 0 where the file imports other domains only
    domains: Mapping[str, int]  # the other domains and their versions
    producer: str
    inputs: tuple[TensorSpec, ...]  # what a caller feeds: initializers repeated among the inputs are left out
    outputs: tuple[TensorSpec, ...]  # a tensor of unknown rank has shape (), like a scalar
    metadata: Mapping[str, str]
    external_data: tuple[str, ...]  # locations as written, sorted; see `require_whole` before following one
    op_counts: Mapping[str, int]  # "Conv", "com.microsoft:Gelu"; subgraphs and functions included
    fingerprint: str  # sha256 of the network: cards, producer and model version do not change it


def read_onnx(path: Path) -> OnnxFile:
    """Look into a file. Raises `ModelNotFoundError`, or `ModelFormatError` for what is no sound ONNX file."""
    with _opened(path) as model:
        graphs = [graph for _, graph in model.messages(_GRAPH)]
        contents = _Contents.of(model)
        opsets = _opsets(model)
        return OnnxFile(
            path=path,
            size_bytes=model.end,
            ir_version=model.integer(_IR_VERSION),
            opset=opsets.pop("", 0),
            domains=opsets,
            producer=f"{model.text(_PRODUCER_NAME)} {model.text(_PRODUCER_VERSION)}".strip(),
            inputs=_inputs(graphs),
            outputs=tuple(_spec(value) for graph in graphs for _, value in graph.messages(_OUTPUT)),
            metadata=dict(_key_value(entry) for _, entry in model.messages(_METADATA)),
            external_data=tuple(sorted(contents.locations)),
            op_counts=dict(sorted(contents.op_counts.items())),
            fingerprint=_fingerprint(model, path, locations=contents.locations),
        )


def require_whole(file: OnnxFile) -> None:
    """Raises `ModelFormatError` unless all weights are there: in the file, or beside it and not outside its folder."""
    for location in file.external_data:
        if is_outside(file.path, location):
            raise ModelFormatError(
                f"{file.path} names weights outside its own folder: {location!r}; refused. "
                "Get the model from a source you trust, with its weights beside it"
            )
        if not is_regular_file(file.path.parent / location):
            raise ModelFormatError(
                f"weights file {location} is missing beside {file.path}; copy it there, "
                "or make one file with `sightline export --embed-weights`"
            )
        require_model_file(file.path.parent / location)  # an empty file, or a pointer left by Git LFS


def with_metadata(source: Path, target: Path, *, entries: Mapping[str, str]) -> None:
    """Copy `source` to `target` (the same path will do) with these metadata entries set.

    Entries of the same keys are replaced, the new ones come last, and every other byte stays as it is. Weights kept in
    a file of their own are not copied along. Raises `OutputError` where `target` cannot be written.
    """
    added = b"".join(_encode_entry(key, value, target=target) for key, value in entries.items())
    with replacing(target) as temporary, _opened(source) as model, temporary.open("wb") as out:
        for part in model.fields():
            if not _is_entry_of(model, part, keys=entries.keys()):
                out.writelines(model.chunks(part))
        out.write(added)


@contextmanager
def _opened(path: Path) -> Iterator[Message]:
    """The file as a message whose outline is known to be ONNX. Closed before any rename, as Windows requires."""
    with _mapped(path) as buffer:
        model = Message(buffer, 0, len(buffer))
        _require_outline(model, path)
        try:
            yield model
        except WireError as exc:
            raise ModelFormatError(_damaged(path, exc)) from exc


def _mapped(path: Path) -> mmap:
    require_model_file(path)
    try:
        with path.open("rb") as file:
            return mmap(file.fileno(), 0, access=ACCESS_READ)
    except (OSError, ValueError) as exc:
        raise ModelFormatError(f"{path} cannot be read: {exc}") from exc


def _require_outline(model: Message, path: Path) -> None:
    """Walk the outermost fields once, to tell another kind of file from a cut-off one and from half a model."""
    kind = sniff(model.buffer[:64])
    looks = f"it looks like {kind}" if kind else "its bytes do not read as one"
    foreign = f"{path}: not an ONNX file ({looks}); expected a model as `sightline export` writes it"
    begins_well = model.buffer[0] == _FIRST_BYTE and not kind
    try:
        absent = _absent_part(model)
    except OverrunError as exc:
        if not begins_well or exc.missing > _MAX_MESSAGE:
            raise ModelFormatError(foreign) from exc
        missing = f": {exc.missing} bytes are missing" if exc.missing else ""
        raise ModelFormatError(f"{path} is truncated{missing}; copy or download it again") from exc
    except WireError as exc:
        raise ModelFormatError(_damaged(path, exc) if begins_well else foreign) from exc
    if absent:
        half = f"{path} has no {absent}: it is no ONNX model, or a truncated one; copy or download it again"
        raise ModelFormatError(half if begins_well else foreign)


def _absent_part(model: Message) -> str:
    """The part every runtime insists on that is not there. A cut exactly between two fields shows here or nowhere."""
    numbers = {part.number for part in model.fields()}
    if model.integer(_IR_VERSION) < 1:
        return "IR version"
    needed = {_GRAPH: "graph", _OPSET_IMPORT: "opset"}
    return next((name for number, name in needed.items() if number not in numbers), "")


def _damaged(path: Path, exc: WireError) -> str:
    return f"{path} is damaged: {exc}; copy or download it again"


@dataclass(frozen=True)
class _Contents:
    """What is spread over the nodes and tensors of a model, gathered in one walk."""

    op_counts: Counter[str] = field(default_factory=Counter)
    locations: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, model: Message) -> _Contents:
        contents = cls()
        for number, part in model.messages(_GRAPH, _FUNCTION, _TRAINING):
            if number == _GRAPH:
                contents._add_graph(part, depth=1)
            elif number == _FUNCTION:
                for _, node in part.messages(_FUNCTION_NODE):
                    contents._add_node(node, depth=1)
            else:
                for _, graph in part.messages(1, 2):  # initialization, algorithm
                    contents._add_graph(graph, depth=1)
        return contents

    def _add_graph(self, graph: Message, *, depth: int) -> None:
        if depth > _MAX_GRAPH_DEPTH:
            raise WireError(f"graphs nest deeper than {_MAX_GRAPH_DEPTH} at byte {graph.start}")
        for number, part in graph.messages(_NODE, _INITIALIZER, _SPARSE_INITIALIZER):
            if number == _NODE:
                self._add_node(part, depth=depth)
            elif number == _INITIALIZER:
                self._add_tensor(part)
            else:
                self._add_sparse(part)

    def _add_node(self, node: Message, *, depth: int) -> None:
        domain, op_type = _domain(node.text(_OP_DOMAIN)), node.text(_OP_TYPE)
        self.op_counts[f"{domain}:{op_type}" if domain else op_type] += 1
        for _, attribute in node.messages(_ATTRIBUTE):
            for number, part in attribute.messages(*_ATTRIBUTE_TENSORS, *_ATTRIBUTE_GRAPHS, *_ATTRIBUTE_SPARSE):
                if number in _ATTRIBUTE_TENSORS:
                    self._add_tensor(part)
                elif number in _ATTRIBUTE_SPARSE:
                    self._add_sparse(part)
                else:
                    self._add_graph(part, depth=depth + 1)

    def _add_sparse(self, tensor: Message) -> None:
        for _, dense in tensor.messages(1, 2):  # values, indices
            self._add_tensor(dense)

    def _add_tensor(self, tensor: Message) -> None:
        if tensor.integer(_DATA_LOCATION) == _EXTERNAL:
            entries = (_key_value(entry) for _, entry in tensor.messages(_EXTERNAL_DATA))
            self.locations.update([value for key, value in entries if key == "location"] or [""])


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name  # the default domain has two spellings


def _opsets(model: Message) -> dict[str, int]:
    return {_domain(opset.text(1)): opset.integer(2) for _, opset in model.messages(_OPSET_IMPORT)}


def _key_value(entry: Message) -> tuple[str, str]:
    return entry.text(1), entry.text(2)


def _inputs(graphs: list[Message]) -> tuple[TensorSpec, ...]:
    weights: set[str] = set()
    for graph in graphs:
        for number, tensor in graph.messages(_INITIALIZER, _SPARSE_INITIALIZER):
            dense = (part for _, part in tensor.messages(1)) if number == _SPARSE_INITIALIZER else (tensor,)
            weights.update(part.text(_TENSOR_NAME) for part in dense)
    specs = (_spec(value) for graph in graphs for _, value in graph.messages(_INPUT))
    return tuple(spec for spec in specs if spec.name not in weights)


def _spec(value: Message) -> TensorSpec:
    dtype, shape = _DTYPES[0], list[int | None]()
    for _, outer in value.messages(2):
        for number, inner in outer.messages(*_TENSOR_TYPES, *_OTHER_TYPES):
            if number in _TENSOR_TYPES:
                dtype = _dtype(inner.integer(1))
                shape += [_size(dim) for _, dims in inner.messages(2) for _, dim in dims.messages(1)]
            else:
                dtype = _OTHER_TYPES[number]
    return TensorSpec(value.text(1), tuple(shape), dtype)


def _dtype(elem_type: int) -> str:
    return _DTYPES.get(elem_type, f"type {elem_type}")


def _size(dim: Message) -> int | None:
    """A size, or `None` where it is a name, absent, or the -1 that some exporters write for "any"."""
    size = dim.integer(_DIM_VALUE, default=-1)
    return None if size < 0 else size


def _fingerprint(model: Message, path: Path, *, locations: set[str]) -> str:
    digest = hashlib.sha256()
    for part in model.fields():
        if part.number not in _NOT_THE_NETWORK:
            for chunk in model.chunks(part):
                digest.update(chunk)
    for location in sorted(locations):
        if not is_outside(path, location) and is_regular_file(path.parent / location):
            digest.update(sha256_of(path.parent / location).encode())
    return digest.hexdigest()


def _encode_entry(key: str, value: str, *, target: Path) -> bytes:
    try:
        return encode_bytes(_METADATA, encode_bytes(1, key.encode()) + encode_bytes(2, value.encode()))
    except UnicodeEncodeError as exc:
        raise OutputError(f"cannot write {target}: metadata {key!r} has a character UTF-8 lacks ({exc})") from exc


def _is_entry_of(model: Message, part: Field, *, keys: Collection[str]) -> bool:
    return part.number == _METADATA and part.wire == BYTES and model.within(part).text(1) in keys
