"""The parts of a network that lose most in eight bits, told by their shape in the graph, whoever exported it.

What each costs and saves is in docs/quantise.md. The first layer and the last are not among them: the first is a third
of the gain in speed, and neither in float32 brings the vectors closer. Norms over an image are never quantised: they
divide by what eight bits blur.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from sightline.errors import ConfigError

if TYPE_CHECKING:
    import onnx


def gates(graph: onnx.GraphProto) -> set[str]:
    """From the mean over a map to the product with it: small, but what is wrong in a gate is wrong in all it gates."""
    users = _users(graph)
    found: set[str] = set()
    for node in graph.node:
        if node.op_type == "GlobalAveragePool":
            found |= _until_product(node, users)
    return found


def _until_product(pool: onnx.NodeProto, users: Mapping[str, list[onnx.NodeProto]]) -> set[str]:
    """The names of all nodes from `pool` to the products it ends in; none where it ends in something else."""
    found, products, waiting = set[str](), set[str](), [pool]
    while waiting:
        node = waiting.pop()
        if node.op_type == "Mul":
            products.add(node.name)
        elif node.name not in found:
            found.add(node.name)
            waiting += [user for output in node.output for user in users[output]]
    return found | products if products else set()


def sums(graph: onnx.GraphProto) -> set[str]:
    """Where branches meet: each brings a range of its own, and eight bits for their sum are too few for the lesser."""
    return {node.name for node in graph.node if node.op_type == "Add"}


def _users(graph: onnx.GraphProto) -> Mapping[str, list[onnx.NodeProto]]:
    users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    return users


Part = Callable[["onnx.GraphProto"], set[str]]
PARTS: Mapping[str, Part] = MappingProxyType({"gates": gates, "sums": sums})

# What is tried, from the fastest to the most careful, until one agrees well enough.
LADDER: tuple[tuple[str, ...], ...] = ((), ("gates",), ("gates", "sums"))


def require_parts(names: Collection[str]) -> None:
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ConfigError(f"no part of a network is called {unknown[0]!r}; expected some of {', '.join(PARTS)}")


def nodes_of(graph: onnx.GraphProto, parts: Collection[str]) -> frozenset[str]:
    """The names of the nodes in these parts."""
    return frozenset(name for part in parts for name in PARTS[part](graph))
