"""The parts of a network that lose most in eight bits, told by their shape in the graph, whoever exported it.

What each costs and saves is in docs/quantise.md. The first layer and the last are not among them: the first is a third
of the gain in speed, and neither in float32 brings the vectors closer. Norms over an image are never quantised: they
divide by what eight bits blur.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from sightline.errors import ConfigError

if TYPE_CHECKING:
    import onnx


def gates(graph: onnx.GraphProto) -> set[str]:
    """What turns the mean of a map into a factor for each channel: tiny, but wrong here is wrong in all it gates."""
    return {name for inner, _ in _gates(graph) for name in inner}


def products(graph: onnx.GraphProto) -> set[str]:
    """Where a map is multiplied with its gate."""
    return {name for _, products in _gates(graph) for name in products}


def sums(graph: onnx.GraphProto) -> set[str]:
    """Where branches meet: each brings a range of its own, and eight bits for their sum are too few for the lesser."""
    return {node.name for node in graph.node if node.op_type == "Add"}


def _gates(graph: onnx.GraphProto) -> Iterator[tuple[set[str], set[str]]]:
    """Of every mean over a map that ends in products, the nodes on the way, and the products."""
    users = _users(graph)
    for pool in graph.node:
        if pool.op_type == "GlobalAveragePool":
            inner, ends = _until_products(pool, users)
            if ends:
                yield inner, ends


def _until_products(pool: onnx.NodeProto, users: Mapping[str, list[onnx.NodeProto]]) -> tuple[set[str], set[str]]:
    inner, ends, waiting = set[str](), set[str](), [pool]
    while waiting:
        for user in (user for output in waiting.pop().output for user in users[output]):
            if user.op_type == "Mul":
                ends.add(user.name)
            elif user.name not in inner:
                inner.add(user.name)
                waiting.append(user)
    return inner, ends


def _users(graph: onnx.GraphProto) -> Mapping[str, list[onnx.NodeProto]]:
    users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    return users


Part = Callable[["onnx.GraphProto"], set[str]]
PARTS: Mapping[str, Part] = MappingProxyType({"gates": gates, "sums": sums, "products": products})

# What is tried, from the fastest to the most careful, until one agrees. Gates in float32 cost next to nothing.
LADDER: tuple[tuple[str, ...], ...] = (("gates",), ("gates", "sums"), ("gates", "sums", "products"))


def require_parts(names: Collection[str]) -> None:
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ConfigError(f"no part of a network is called {unknown[0]!r}; expected some of {', '.join(PARTS)}")


def present(graph: onnx.GraphProto, parts: Collection[str]) -> tuple[str, ...]:
    """Those of the parts that this network has."""
    return tuple(part for part in parts if PARTS[part](graph))


def nodes_of(graph: onnx.GraphProto, parts: Collection[str]) -> frozenset[str]:
    """The names of the nodes in these parts."""
    return frozenset(name for part in parts for name in PARTS[part](graph))
