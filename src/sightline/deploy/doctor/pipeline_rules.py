"""Rules about the order of elements, and about how results leave the pipeline."""

from __future__ import annotations

from collections.abc import Iterator

from sightline.deploy.doctor.pipelines import Element, Pipeline
from sightline.deploy.doctor.rules import Finding, Place, Rule
from sightline.deploy.doctor.site import Site

PIPE001 = Rule(
    "PIPE001",
    "error",
    "there is no tracker before the embedder",
    "Without one every object has the id 0xFFFFFFFFFFFFFFFF. Vectors cannot be gathered by person, and no track "
    "ever ends, so nothing is stored.",
    "detector → nvtracker → embedder.",
    bad="pipeline.link('mux', 'pgie', 'reid', 'sink')",
    good="pipeline.link('mux', 'pgie', 'tracker', 'reid', 'sink')",
)
PIPE002 = Rule(
    "PIPE002",
    "error",
    "the tracker comes after the embedder",
    "When the vectors are made, the objects have no ids yet: they all carry the id of an untracked object.",
    "detector → nvtracker → embedder.",
    bad="pipeline.link('mux', 'pgie', 'reid', 'tracker', 'sink')",
    good="pipeline.link('mux', 'pgie', 'tracker', 'reid', 'sink')",
)
PIPE003 = Rule(
    "PIPE003",
    "warning",
    "a sink waits for a first frame that may never come",
    "Behind a tee, or with sources that come and go, the pipeline stays in PAUSED for ever unless every sink has "
    "async=0.",
    "async=0 on every sink, nvmsgbroker included.",
    bad="pipeline.add('fakesink', 'sink')",
    good="pipeline.add('fakesink', 'sink', {'async': 0})",
)
PIPE004 = Rule(
    "PIPE004",
    "warning",
    "the connection string has a colon where a semicolon belongs",
    "nvmsgbroker splits host and port at ';'. With ':' the whole is taken for a host name, and the connection fails.",
    "conn-str: host;port",
    bad="'conn-str': 'localhost:9092'",
    good="'conn-str': 'localhost;9092'",
)
PIPE005 = Rule(
    "PIPE005",
    "warning",
    "messages are converted that nobody makes",
    "With msg2p-newapi=0, the default, nvmsgconv sends only what a probe attached as NvDsEventMsgMeta, and here "
    "nothing attaches any: the broker stays silent.",
    "Attach event metadata in a probe, or set msg2p-newapi=1.",
    bad="pipeline.add('nvmsgconv', 'conv')",
    good="pipeline.add('nvmsgconv', 'conv', {'msg2p-newapi': 1})",
)
PIPE006 = Rule(
    "PIPE006",
    "warning",
    "the messages will have no embeddings",
    "msg2p-newapi=1 makes messages from the objects, and an object has no field for a vector. Vectors are written only "
    "from NvDsEventMsgMeta.",
    "msg2p-newapi=0 with the vector set in the event metadata, or send events of your own.",
    bad="pipeline.add('nvmsgconv', 'conv', {'msg2p-newapi': 1})  # behind an embedder",
    good="pipeline.add('nvmsgconv', 'conv', {'msg2p-newapi': 0})  # with event metadata",
)
RULES = (PIPE001, PIPE002, PIPE003, PIPE004, PIPE005, PIPE006)

_NEW_API = ("msg2p-newapi", "msg-conv-msg2p-new-api")
_CONNECTION = ("conn-str", "msg-broker-conn-str")
_TRUE = {"1", "true", "True"}
_FALSE = {"0", "false", "False"}


def pipeline_findings(pipeline: Pipeline, site: Site) -> Iterator[Finding]:
    reid_files = {config.path.name for config in site.reid_configs}
    embedder = pipeline.embedder(reid_files)
    if embedder is not None:
        yield from _order(pipeline, embedder)
    yield from _sinks(pipeline)
    for element in pipeline.elements.values():
        yield from _messages(pipeline, element, has_embedder=embedder is not None)


def _order(pipeline: Pipeline, embedder: Element) -> Iterator[Finding]:
    place = pipeline.place(embedder)
    if not pipeline.trackers:
        yield PIPE001.found(place, f"{embedder.name} without a tracker", "nvtracker between detector and embedder")
    elif any(pipeline.reaches(embedder.name, tracker.name) for tracker in pipeline.trackers):
        yield PIPE002.found(place, f"{embedder.name} before {pipeline.trackers[0].name}", "the tracker first")


def _sinks(pipeline: Pipeline) -> Iterator[Finding]:
    splits = pipeline.of_factory("tee", "nvmultiurisrcbin")
    for element in pipeline.elements.values() if splits else ():
        if element.is_sink and element.properties.get("async") not in _FALSE:
            value = f"{element.name} ({element.factory}) without async=0, with {splits[0].factory}"
            yield PIPE003.found(pipeline.place(element), value, "async=0")


def _messages(pipeline: Pipeline, element: Element, *, has_embedder: bool) -> Iterator[Finding]:
    place = pipeline.place(element)
    for key in _CONNECTION:
        connection = element.properties.get(key, "")
        if ":" in connection and ";" not in connection:
            yield PIPE004.found(place, f"{key} {connection}", connection.replace(":", ";", 1))
    new_api = next((element.properties[key] for key in _NEW_API if key in element.properties), None)
    if element.factory == "nvmsgconv" and new_api not in _TRUE and not pipeline.makes_events:
        yield PIPE005.found(
            place, f"msg2p-newapi {new_api or 'not set (so 0)'}, and no event metadata", "event metadata"
        )
    if new_api in _TRUE and has_embedder:
        yield PIPE006.found(place, "msg2p-newapi 1 behind an embedder", "event metadata with the vector in it")


def absent_tracker(site: Site) -> Iterator[Finding]:
    """A folder that detects and embeds, with nothing in it that tracks, and no pipeline that could be asked."""
    embedders = [config for config in site.reid_configs if config.group.line]
    if site.folder is not None and embedders and site.detectors and not site.trackers and not site.pipelines:
        place = Place(embedders[0].path, embedders[0].group.line)
        yield PIPE001.found(place, "a detector and an embedder, and no tracker in the folder", "a tracker between them")
