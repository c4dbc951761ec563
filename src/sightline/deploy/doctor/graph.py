"""What the graph of an ONNX file does at its two ends, read in place: before anything runs, and without its weights.

`sightline.onnx_file` tells what a file declares. Three mistakes can only be seen among the nodes: a batch that a
Reshape holds as a constant, a normalisation in front of the first convolution, and external weights that are cut short.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path

from sightline.errors import ModelFormatError
from sightline.onnx_file import OnnxFile
from sightline.protobuf import BYTES, Message, WireError

_GRAPH = 7
_NODE, _INITIALIZER = 1, 5
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_TENSOR = 5
_DIMS, _DATA_TYPE, _INT64_DATA, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 7, 8, 9, 13, 14
_INT64 = 7
_SMALL = 16  # elements of a shape or of a mean; nothing larger is looked into
_MOST_DIMS = 8
_ARITHMETIC = {"Sub", "Add", "Mul", "Div", "BatchNormalization"}
_IN_PASSING = {"Cast", "Transpose", "Identity", "Reshape", "QuantizeLinear", "DequantizeLinear"}
_MOST_NODES = 200_000


@dataclass(frozen=True)
class Extent:
    """Where the file says that some of its weights lie."""

    location: str
    end: int  # the last byte needed, plus one


@dataclass
class _Nodes:
    """The nodes that matter, gathered in one walk."""

    shapes: dict[str, list[int]] = field(default_factory=dict)  # small int64 constants by name
    sizes: dict[str, int] = field(default_factory=dict)  # elements of every constant
    extents: list[Extent] = field(default_factory=list)
    reshapes: list[tuple[str, str]] = field(default_factory=list)  # what is reshaped, and the name of its shape
    users: dict[str, list[tuple[str, list[str], str]]] = field(default_factory=dict)  # op, inputs, output


@dataclass(frozen=True)
class Graph:
    """`constant_batches`: the first size of every Reshape of a computed tensor to a shape that begins with a number."""

    constant_batches: tuple[int, ...]
    normalises: bool
    extents: tuple[Extent, ...]


def read_graph(file: OnnxFile) -> Graph:
    """Raises `ModelFormatError` where the file changed since it was opened."""
    nodes = _Nodes()
    try:
        with file.path.open("rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as content:
            for _, graph in Message(content, 0, len(content)).messages(_GRAPH):
                _gather(graph, nodes)
    except (OSError, ValueError) as exc:  # a WireError among them
        raise ModelFormatError(f"{file.path} cannot be read: {exc}; copy or download it again") from exc
    computed = [name for name in nodes.reshapes if name[0] not in nodes.sizes]
    firsts = [nodes.shapes[shape][0] for _, shape in computed if nodes.shapes.get(shape)]
    return Graph(
        constant_batches=tuple(first for first in firsts if first > 0),
        normalises=any(_normalises(spec.name, nodes) for spec in file.inputs),
        extents=tuple(nodes.extents),
    )


def cut_short(extent: Extent, model: Path) -> int:
    """How many bytes of external weights are missing; 0 where they are all there, or where there is no file."""
    try:
        return max(0, extent.end - (model.parent / extent.location).stat().st_size)
    except (OSError, ValueError):
        return 0


def _gather(graph: Message, nodes: _Nodes) -> None:
    for count, (number, part) in enumerate(graph.messages(_NODE, _INITIALIZER)):
        if count > _MOST_NODES:
            raise WireError(f"more than {_MOST_NODES:,} nodes and weights")
        if number == _INITIALIZER:
            _add_tensor(part, part.text(_NAME), nodes)
        else:
            _add_node(part, nodes)


def _add_node(node: Message, nodes: _Nodes) -> None:
    op, domain = node.text(_OP_TYPE), node.text(_DOMAIN)
    inputs, outputs = _texts(node, _NODE_INPUT), _texts(node, _NODE_OUTPUT)
    output = outputs[0] if outputs else ""
    if op == "Constant":
        for _, attribute in node.messages(_ATTRIBUTE):
            for _, tensor in attribute.messages(_ATTRIBUTE_TENSOR):
                _add_tensor(tensor, output, nodes)
    elif op == "Reshape" and len(inputs) > 1 and domain in {"", "ai.onnx"}:
        nodes.reshapes.append((inputs[0], inputs[1]))
    for name in inputs[:2]:
        nodes.users.setdefault(name, []).append((op, inputs, output))


def _texts(message: Message, number: int) -> list[str]:
    return [
        message.buffer[part.body : part.end].decode("utf-8", errors="backslashreplace")
        for part in message.fields()
        if part.number == number and part.wire == BYTES
    ]


def _add_tensor(tensor: Message, name: str, nodes: _Nodes) -> None:
    dims = islice(_integers(tensor, _DIMS), _MOST_DIMS)
    size = 1
    for dim in dims:
        size *= max(0, dim)
    nodes.sizes[name] = size
    if tensor.integer(_LOCATION) == 1:
        nodes.extents.append(_extent(tensor))
    elif tensor.integer(_DATA_TYPE) == _INT64 and size <= _SMALL:
        nodes.shapes[name] = list(islice(_integers(tensor, _INT64_DATA), _SMALL)) or _raw_int64(tensor)


def _raw_int64(tensor: Message) -> list[int]:
    starts = [part for part in tensor.fields() if part.number == _RAW and part.wire == BYTES]
    raw = tensor.buffer[starts[-1].body : min(starts[-1].end, starts[-1].body + 8 * _SMALL)] if starts else b""
    return list(struct.unpack(f"<{len(raw) // 8}q", raw[: len(raw) // 8 * 8]))


def _integers(message: Message, number: int) -> Iterator[int]:
    """A repeated int64, packed or not."""
    for part in message.fields():
        if part.number != number:
            continue
        if part.wire != BYTES:
            yield part.value - (1 << 64) if part.value >= 1 << 63 else part.value
            continue
        yield from _packed(message.buffer[part.body : part.end])


def _packed(data: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift > 70:
            raise WireError("a number of more than 10 bytes")
        if byte < 0x80:
            value &= (1 << 64) - 1
            yield value - (1 << 64) if value >= 1 << 63 else value
            value = shift = 0


def _extent(tensor: Message) -> Extent:
    entries = {entry.text(1): entry.text(2) for _, entry in tensor.messages(_EXTERNAL)}
    offset, length = (_count(entries.get(key, "")) for key in ("offset", "length"))
    return Extent(entries.get("location", ""), offset + length)


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _normalises(name: str, nodes: _Nodes) -> bool:
    """Whether what is fed is shifted or scaled by one or three numbers before anything else is done with it."""
    for _ in range(_SMALL):
        users = nodes.users.get(name, [])
        if len(users) != 1:
            return False
        op, inputs, output = users[0]
        if op in _ARITHMETIC:
            others = [nodes.sizes[other] for other in inputs if other != name and other in nodes.sizes]
            if any(size in {1, 3} for size in others):
                return True
        elif op not in _IN_PASSING:
            return False
        name = output
    return False
