"""YAML as a tree in which every node knows its line, for files nobody vouches for.

Built from the parser's events rather than by PyYAML's composer, which recurses in C and so falls over on a file that
nests deeply. An alias becomes an empty scalar: none of these files needs one, and a chain of them can be made to stand
for billions of nodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from sightline.deploy.doctor.document import BOM, Document, Group, Setting, read_lines
from sightline.deploy.doctor.rules import Finding, Place, Rule

_DEEPEST = 32
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

CFG011 = Rule(
    "CFG011",
    "error",
    "the YAML file cannot be parsed",
    "nvinfer, nvtracker and pyservicemaker read nothing of a file that is no YAML. Tabs for indentation, INI lines and "
    "a lost colon are the usual reasons.",
    "Correct the line; indent with blanks, write `key: value`.",
    bad="property:\n\tnetwork-type: 100",
    good="property:\n  network-type: 100",
)
RULES = (CFG011,)


@dataclass
class Node:
    """A scalar has `text`, a mapping `pairs`, a sequence `items`."""

    line: int
    text: str | None = None
    pairs: list[tuple[Node, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)

    def get(self, key: str) -> Node | None:
        return next((value for name, value in self.pairs if name.text == key), None)


def parse_tree(lines: tuple[str, ...]) -> Node | None:
    """The first document of the file, None for an empty one. Raises `YAMLError`."""
    top: list[Node] = []
    stack: list[_Open] = []
    for event in yaml.parse(_text(lines), Loader=_LOADER):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if len(stack) >= _DEEPEST:
                raise yaml.YAMLError(f"line {_line(event)} nests deeper than {_DEEPEST} levels")
            node = Node(_line(event))
            _put(node, stack, top)
            stack.append(_Open(node, is_mapping=isinstance(event, yaml.MappingStartEvent)))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            stack.pop()
        elif isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent)):
            _put(Node(_line(event), text=getattr(event, "value", "")), stack, top)
        elif isinstance(event, yaml.DocumentEndEvent):
            break
    return top[0] if top else None


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


@dataclass
class _Open:
    """A collection that is being read; `key` waits for its value."""

    node: Node
    is_mapping: bool
    key: Node | None = None


def _put(node: Node, stack: list[_Open], top: list[Node]) -> None:
    if not stack:
        top.append(node)
    elif not stack[-1].is_mapping:
        stack[-1].node.items.append(node)
    elif stack[-1].key is None:
        stack[-1].key = node
    else:
        stack[-1].node.pairs.append((stack[-1].key, node))
        stack[-1].key = None


def _text(lines: tuple[str, ...]) -> str:
    """Without the first line of OpenCV's dialect, `%YAML:1.0`, which nvtracker takes and YAML has no such directive."""
    first = lines[0].removeprefix(BOM) if lines else ""
    rest = ["" if re.match(r"%YAML\s*:", first) else first, *lines[1:]]
    return "\n".join(rest).encode("utf-8", errors="replace").decode("utf-8")


def read_yaml(path: Path) -> Document:
    """Raises `ConfigError` for what is not a text file; a file that is no YAML has a problem and no groups."""
    return parse_yaml(path, read_lines(path))


def parse_yaml(path: Path, lines: tuple[str, ...]) -> Document:
    try:
        tree = parse_tree(lines)
    except yaml.YAMLError as exc:
        return Document(path, "yaml", lines, problems=(_unreadable(path, exc),))
    groups = tuple(_group(name, value) for name, value in (tree.pairs if tree else ()))
    return Document(path, "yaml", lines, groups)


def _unreadable(path: Path, exc: yaml.YAMLError) -> Finding:
    mark = getattr(exc, "problem_mark", None)
    reason = getattr(exc, "problem", None) or " ".join(str(exc).split())
    return CFG011.found(Place(path, mark.line + 1 if mark else 1), reason, "YAML")


def _group(name: Node, value: Node) -> Group:
    """A top-level key and the settings below it; a scalar there is a group of nothing."""
    settings = (_setting(key, node) for key, node in value.pairs)
    return Group(name.text or "", name.line, tuple(setting for setting in settings if setting))


def _setting(key: Node, value: Node) -> Setting | None:
    if value.pairs or key.text is None:
        return None
    if value.text is not None:
        return Setting(key.text, value.text, key.line)
    return Setting(key.text, ";".join(item.text or "" for item in value.items), key.line, is_list=True)
