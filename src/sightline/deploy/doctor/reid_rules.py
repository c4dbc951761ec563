"""Rules about what an nvinfer element must be told to give the vectors of people."""

from __future__ import annotations

from collections.abc import Iterator

from sightline.deploy.doctor.key_file import as_integer, list_items
from sightline.deploy.doctor.labels import Labels
from sightline.deploy.doctor.model import Model
from sightline.deploy.doctor.nvinfer import CUSTOM, NvinferConfig
from sightline.deploy.doctor.rules import Finding, Rule
from sightline.deploy.doctor.site import Site

DS001 = Rule(
    "DS001",
    "error",
    "network-type is not 100",
    "0 is a detector, 1 a classifier, 2 and 3 are segmentation: nvinfer then looks for boxes or labels in the vector. "
    "Only 100 leaves the output alone.",
    "network-type=100",
    bad="network-type=1",
    good="network-type=100",
)
DS002 = Rule(
    "DS002",
    "error",
    "output-tensor-meta is not 1",
    "The vector is computed and thrown away: without it no NvDsInferTensorMeta is attached, and the probe finds "
    "nothing.",
    "output-tensor-meta=1",
    bad="output-tensor-meta=0",
    good="output-tensor-meta=1",
)
DS003 = Rule(
    "DS003",
    "error",
    "process-mode is not 2",
    "1 runs the network on whole frames: one vector of the street, attached to the frame, and none for a person.",
    "process-mode=2",
    bad="process-mode=1",
    good="process-mode=2",
)
DS005 = Rule(
    "DS005",
    "error",
    "operate-on-class-ids has something that is no class id",
    "It is a list of whole numbers, 0 or more, separated by ';'. A negative one makes nvinfer throw while the pipeline "
    "runs.",
    "List the ids of the person class in the detector's label file.",
    bad="operate-on-class-ids=person",
    good="operate-on-class-ids=2",
)
DS006 = Rule(
    "DS006",
    "error",
    "a class id is not in the detector's label file",
    "No object will ever have it, so no vector is made, and nothing says why.",
    "Use the number of the person's line, counted from 0.",
    bad="operate-on-class-ids=7",
    good="operate-on-class-ids=2",
)
DS007 = Rule(
    "DS007",
    "error",
    "a class id is not a person's",
    "2 is a person for TrafficCamNet and a face for PeopleNet. Copied from another detector's guide, the configuration "
    "embeds faces, bags or cars, and every number downstream looks plausible.",
    "Use the number of the person's line in the label file of this detector, counted from 0.",
    bad="# labels: person, bag, face\noperate-on-class-ids=2",
    good="# labels: person, bag, face\noperate-on-class-ids=0",
)
DS008 = Rule(
    "DS008",
    "error",
    "infer-dims is not the size of the model",
    "nvinfer resizes crops to infer-dims. Another size than the network's fails to build, or swaps height and width: "
    "people lie down. The order is channels;height;width.",
    "Leave it out where the model declares its size, or copy it from there.",
    bad="infer-dims=3;128;256",
    good="infer-dims=3;256;128",
)
DS009 = Rule(
    "DS009",
    "error",
    "infer-dims is missing, and the model leaves its size open",
    "nvinfer takes the size from the ONNX file; where that is open there is none, and the engine cannot be built.",
    "infer-dims=3;256;128, or whatever the network was trained on.",
    bad="# no infer-dims, with an input of [N, 3, ?, ?]",
    good="infer-dims=3;256;128",
)
DS012 = Rule(
    "DS012",
    "error",
    "gie-unique-id is not above 0",
    "nvinfer refuses it, and the probe tells its own vectors from others by this number.",
    "Give every element a number of its own, from 1.",
    bad="gie-unique-id=0",
    good="gie-unique-id=4",
)
DS013 = Rule(
    "DS013",
    "error",
    "two elements have the same gie-unique-id",
    "operate-on-gie-id and the probe both go by that number, so each gets what the other made. The default is 15, for "
    "every element that does not say.",
    "Give every element a number of its own.",
    bad="# the detector has 1\ngie-unique-id=1",
    good="# the detector has 1\ngie-unique-id=4",
)
DS014 = Rule(
    "DS014",
    "error",
    "operate-on-gie-id names no detector",
    "The element waits for objects of a detector that is not there, and no vector is ever made.",
    "Write the detector's gie-unique-id.",
    bad="operate-on-gie-id=7",
    good="operate-on-gie-id=1",
)
DS015 = Rule(
    "DS015",
    "warning",
    "operate-on-class-ids is missing",
    "Every object is embedded: cars and bags too. It costs their time, and a gallery fills with things that are "
    "nobody.",
    "List the ids of the person class.",
    bad="# no operate-on-class-ids",
    good="operate-on-class-ids=2",
)
DS016 = Rule(
    "DS016",
    "warning",
    "classifier-async-mode is on",
    "nvinfer turns it off with network-type=100 and says so in a warning; with network-type=1 it suppresses the "
    "tensors.",
    "classifier-async-mode=0",
    bad="classifier-async-mode=1",
    good="classifier-async-mode=0",
)
DS017 = Rule(
    "DS017",
    "warning",
    "a key that thins out inferences has no effect here",
    "interval counts whole frames, and the re-inference cache is for detectors and classifiers. With network-type=100 "
    "every object of every frame is run, whatever these say.",
    "Sample in a probe before the element, by size limits, or with nvtracker's reidExtractionInterval.",
    bad="secondary-reinfer-interval=30",
    good="input-object-min-height=64",
)
RULES = (DS001, DS002, DS003, DS005, DS006, DS007, DS008, DS009, DS012, DS013, DS014, DS015, DS016, DS017)


def reid_findings(config: NvinferConfig, site: Site) -> Iterator[Finding]:
    yield from _mode(config)
    yield from _class_ids(config, site.labels_for(config))
    yield from _dims(config, site.model(config.file("onnx-file")))
    yield from _detector(config, site)
    yield from _without_effect(config)


def _mode(config: NvinferConfig) -> Iterator[Finding]:
    wanted = ((DS001, "network-type", CUSTOM), (DS002, "output-tensor-meta", 1), (DS003, "process-mode", 2))
    for rule, key, value in wanted:
        if config.integer(key) not in {value, None}:  # None is no number, which another rule says
            edits = config.set_to(key, str(value))
            yield rule.found(config.place(key), config.shown(key), f"{key}={value}", edits=edits)


def _class_ids(config: NvinferConfig, labels: Labels | None) -> Iterator[Finding]:
    key = "operate-on-class-ids"
    place, text = config.place(key), config.values.get(key)
    if text is None:
        yield DS015.found(place, config.shown(key), _person_ids(labels))
        return
    for item in list_items(text) or [""]:
        class_id = as_integer(item)
        if class_id is None or class_id < 0:
            yield DS005.found(place, item or "an empty item", _person_ids(labels))
        elif labels is not None and class_id >= len(labels.names):
            value = f"{class_id}, in {labels.path.name} of {len(labels.names)} lines"
            yield DS006.found(place, value, _person_ids(labels))
        elif labels is not None and not labels.is_person(class_id):
            value = f"{class_id}, which is {labels.names[class_id].strip()!r} in {labels.path.name}"
            yield DS007.found(place, value, _person_ids(labels))


def _person_ids(labels: Labels | None) -> str:
    if labels is None or not labels.person_ids:
        return "operate-on-class-ids=<the number of the person's line in the label file>"
    return f"operate-on-class-ids={';'.join(map(str, labels.person_ids))}"


def _dims(config: NvinferConfig, model: Model | None) -> Iterator[Finding]:
    if model is None or model.image is None:
        return
    key, (height, width) = "infer-dims", model.size_hw
    place, dims = config.place(key), config.integers(key)
    if key not in config.values:
        if height is None or width is None:
            yield DS009.found(place, f"no infer-dims, and {model.image}", "infer-dims=channels;height;width")
    elif dims is not None:
        declared = [model.channels, height, width]
        fits = len(dims) == 3 and all(want in {None, got} for want, got in zip(declared, dims, strict=True))
        if not fits:
            expected = ";".join("?" if size is None else str(size) for size in declared)
            edits = () if None in declared else config.set_to(key, expected)
            yield DS008.found(place, config.shown(key), f"infer-dims={expected}", edits=edits)


def _detector(config: NvinferConfig, site: Site) -> Iterator[Finding]:
    wanted = config.integer("operate-on-gie-id")
    numbers = {number for found in site.detectors if (number := found.integer("gie-unique-id")) is not None}
    if wanted is not None and wanted != -1 and numbers and wanted not in numbers:
        expected = f"operate-on-gie-id={' or '.join(map(str, sorted(numbers)))}"
        yield DS014.found(config.place("operate-on-gie-id"), config.shown("operate-on-gie-id"), expected)


def _without_effect(config: NvinferConfig) -> Iterator[Finding]:
    if config.integer("classifier-async-mode") not in {0, None}:
        key = "classifier-async-mode"
        yield DS016.found(config.place(key), config.shown(key), f"{key}=0", edits=config.set_to(key, "0"))
    for key in ("interval", "secondary-reinfer-interval"):
        if config.integer(key) not in {0, None}:
            yield DS017.found(config.place(key), config.shown(key), f"no {key}")


def number_findings(site: Site) -> Iterator[Finding]:
    """The numbers of all elements together. The same configuration as .txt and as .yml is one element."""
    seen: dict[int, NvinferConfig] = {}
    for config in site.configs:
        key, number = "gie-unique-id", config.integer("gie-unique-id")
        if number is None or not config.group.line:
            continue
        if number <= 0:
            yield DS012.found(config.place(key), config.shown(key), f"{key}=1 or more")
        first = seen.setdefault(number, config)
        if first.path.with_suffix("") != config.path.with_suffix(""):
            free = next(candidate for candidate in range(1, 1 << 31) if candidate not in seen)
            value = f"{config.shown(key)}, as in {first.path.name}"
            yield DS013.found(config.place(key), value, f"{key}={free}")
