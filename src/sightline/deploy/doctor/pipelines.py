"""Pipelines as scripts and configurations put them together: which elements, and what flows into what.

Read from the code without running it, so only what is written out is seen: pyservicemaker's `add` and `link`, its flow
API, GStreamer's `make`, `link` and launch lines, service-maker YAML, and deepstream-app's groups.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TypeGuard

from sightline.deploy.doctor.document import Document
from sightline.deploy.doctor.rules import Place
from sightline.deploy.doctor.scripts import Script
from sightline.deploy.doctor.yaml_tree import Node

_MAKES_EVENTS = ("event_message_meta", "add_message_meta_probe", "NvDsEventMsgMeta", "nvds_event_msg_meta")
_FLOW = {"infer": "nvinfer", "track": "nvtracker", "capture": "nvurisrcbin", "render": "nveglglessink"}
_TAIL = re.compile(r"reid|re_id|sgie|secondary|osnet|embed", re.I)


@dataclass
class Element:
    name: str
    factory: str
    line: int
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def is_sink(self) -> bool:
        return self.factory.endswith("sink") or self.factory == "nvmsgbroker"


@dataclass
class Pipeline:
    """`links` are names; a name may lack an element where only part of the code could be read."""

    path: Path
    elements: dict[str, Element] = field(default_factory=dict)
    links: dict[str, set[str]] = field(default_factory=dict)
    makes_events: bool = False

    def place(self, element: Element) -> Place:
        return Place(self.path, element.line)

    def add(self, element: Element) -> None:
        self.elements.setdefault(element.name, element)

    def link(self, names: list[str]) -> None:
        for upstream, downstream in pairwise(names):
            self.links.setdefault(upstream, set()).add(downstream)

    def of_factory(self, *factories: str) -> list[Element]:
        return [element for element in self.elements.values() if element.factory in factories]

    @property
    def trackers(self) -> list[Element]:
        return self.of_factory("nvtracker")

    @property
    def inferences(self) -> list[Element]:
        return self.of_factory("nvinfer", "nvinferserver")

    def embedder(self, reid_files: set[str]) -> Element | None:
        """The element that embeds people: by its configuration, else by its name, else the last of several."""
        found = self.inferences
        by_file = [one for one in found if Path(one.properties.get("config-file-path", "")).name in reid_files]
        by_name = [one for one in found if _TAIL.search(one.name)]
        last = found[-1:] if len(found) > 1 else []
        return next(iter(by_file or by_name or last), None)

    def reaches(self, start: str, end: str) -> bool:
        seen, waiting = {start}, [start]
        while waiting:
            following = self.links.get(waiting.pop(), set()) - seen
            seen |= following
            waiting += following
        return end in seen


def pipelines_of_script(script: Script) -> Iterator[Pipeline]:
    if script.tree is not None:
        yield from _worth_it(_of_python(script))
    if script.kind in {"shell", "docker", "notebook"}:
        for line, command in script.commands:
            if re.search(r"\bgst-launch-1\.0\b", command):
                yield from _worth_it(_of_launch_line(script.path, line, command))


def _worth_it(pipeline: Pipeline) -> Iterator[Pipeline]:
    if pipeline.inferences:
        yield pipeline


def _of_python(script: Script) -> Pipeline:
    pipeline = Pipeline(script.path, makes_events=any(word in script.text for word in _MAKES_EVENTS))
    variables: dict[str, str] = {}
    nodes = sorted(ast.walk(script.tree or ast.Module([], [])), key=lambda node: getattr(node, "lineno", 0))
    called_on = {id(node.func.value) for node in nodes if isinstance(node, ast.Call) and _is_method(node.func)}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            variables[node.targets[0].id] = _made(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            _read_call(node, node.func, pipeline, variables, line=script.line_of(node))
            if id(node) not in called_on:
                _read_flow(node, pipeline, line=script.line_of(node))
    return pipeline


def _is_method(function: ast.expr) -> TypeGuard[ast.Attribute]:
    return isinstance(function, ast.Attribute)


def _made(call: ast.Call) -> str:
    """The name of the element that a call of `ElementFactory.make` gives."""
    texts = [_constant(argument) for argument in call.args]
    return texts[1] if isinstance(call.func, ast.Attribute) and call.func.attr == "make" and len(texts) > 1 else ""


def _read_call(
    call: ast.Call, function: ast.Attribute, pipeline: Pipeline, variables: Mapping[str, str], *, line: int
) -> None:
    texts = [_constant(argument) for argument in call.args]
    owner = variables.get(function.value.id, "") if isinstance(function.value, ast.Name) else ""
    if function.attr in {"add", "make"} and len(texts) >= 2 and texts[0] and texts[1]:
        pipeline.add(Element(texts[1], texts[0], line, _dictionary(call.args[2]) if len(call.args) > 2 else {}))
    elif function.attr == "link" and owner:
        pipeline.link([owner, *(variables.get(getattr(argument, "id", ""), "") for argument in call.args)])
    elif function.attr == "link":
        pipeline.link([text or _first(argument) for text, argument in zip(texts, call.args, strict=True)])
    elif function.attr == "set_property" and owner in pipeline.elements and len(texts) == 2:
        pipeline.elements[owner].properties[texts[0]] = texts[1]


def _read_flow(call: ast.Call, pipeline: Pipeline, *, line: int) -> None:
    """`flow.infer(…).track(…).infer(…)`: each step follows the one it is called on. `call` is the outermost."""
    steps: list[tuple[str, ast.Call]] = []
    node: ast.expr = call
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        steps.append((node.func.attr, node))
        node = node.func.value
    names: list[str] = []
    if sum(method in _FLOW for method, _ in steps) < 2:  # `engine.infer(image)` is somebody else's
        return
    for number, (method, step) in enumerate(reversed(steps)):
        if method in _FLOW:
            names.append(f"{method} {number}")
            config = _constant(step.args[0]) if step.args else ""
            pipeline.add(Element(names[-1], _FLOW[method], line, {"config-file-path": config} if config else {}))
    pipeline.link(names)


def _constant(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _first(node: ast.expr) -> str:
    """The element in `("element", "pad")`."""
    return _constant(node.elts[0]) if isinstance(node, ast.Tuple) and node.elts else ""


def _dictionary(node: ast.expr) -> dict[str, str]:
    if not isinstance(node, ast.Dict):
        return {}
    pairs = zip(node.keys, node.values, strict=True)
    return {_constant(key): _constant(value) for key, value in pairs if key is not None}


def _of_launch_line(path: Path, line: int, command: str) -> Pipeline:
    pipeline = Pipeline(path)
    names: list[str] = []
    for part in command.partition("gst-launch-1.0")[2].split("!"):
        words = [word for word in part.split() if not word.startswith("-")]
        if not words or "=" in words[0] or words[0].endswith("."):
            continue
        properties = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        names.append(properties.get("name", f"{words[0]}{len(names)}"))
        pipeline.add(Element(names[-1], words[0], line, properties))
    pipeline.link(names)
    return pipeline


def pipeline_of_yaml(path: Path, tree: Node) -> Pipeline:
    """Service-maker YAML: `deepstream:` with `nodes` and `edges`."""
    pipeline, top = Pipeline(path), tree.get("deepstream") or tree
    for node in (top.get("nodes") or Node(0)).items:
        factory, name, properties = node.get("type"), node.get("name"), node.get("properties")
        if factory and factory.text and name and name.text:
            known = {key.text or "": value.text or "" for key, value in (properties.pairs if properties else ())}
            pipeline.add(Element(name.text, factory.text, node.line, known))
    for start, end in (top.get("edges") or Node(0)).pairs:
        for target in [end.text] if end.text else [item.text for item in end.items]:
            pipeline.link([start.text or "", target or ""])
    return pipeline


def pipeline_of_app(document: Document) -> Pipeline:
    """deepstream-app: the order is its own, groups only switch elements on."""
    pipeline = Pipeline(document.path)
    kinds = {"primary-gie": "nvinfer", "tracker": "nvtracker", "secondary-gie": "nvinfer"}
    names: list[str] = []
    for kind, factory in kinds.items():
        for name, group in document.by_name.items():
            enabled = group.last("enable")
            if re.fullmatch(rf"{kind}\d*", name) and (enabled is None or enabled.value.strip() != "0"):
                file = group.last("config-file")
                properties = {"config-file-path": file.value} if file else {}
                pipeline.add(Element(name, factory, group.line, properties))
                names.append(name)
    pipeline.link(names)
    for name, group in document.by_name.items():
        if re.fullmatch(r"sink\d+|message-consumer\d+", name):
            properties = {setting.key: setting.value for setting in group.settings}
            pipeline.add(Element(name, "deepstream-app sink", group.line, properties))
    return pipeline
