"""Rules about nvtracker's own re-identification."""

from __future__ import annotations

from collections.abc import Iterator

from sightline.deploy.doctor.engine_rules import ENG006
from sightline.deploy.doctor.model import ONNX001, Model
from sightline.deploy.doctor.pixel_rules import of_tracker, pixel_findings
from sightline.deploy.doctor.rules import Finding, Rule
from sightline.deploy.doctor.site import Site
from sightline.deploy.doctor.syntax_rules import nearest
from sightline.deploy.doctor.tracker import KEYS, PRECISIONS, TrackerConfig

TRK001 = Rule(
    "TRK001",
    "error",
    "reidFeatureSize is not the length of the model's vectors",
    "The tracker allocates that many numbers a person. The samples say 256, for NVIDIA's own network; an OSNet "
    "gives 512.",
    "reidFeatureSize: 512 for OSNet.",
    bad="reidFeatureSize: 256",
    good="reidFeatureSize: 512",
)
TRK002 = Rule(
    "TRK002",
    "error",
    "inferDims is not the size of the model",
    "Crops are resized to it, in the order channels, height, width. Another size than the network's fails to build.",
    "inferDims: [3, 256, 128] for OSNet.",
    bad="inferDims: [3, 128, 64]",
    good="inferDims: [3, 256, 128]",
)
TRK003 = Rule(
    "TRK003",
    "warning",
    "the vectors are not L2-normalised",
    "The tracker compares them as they are, by a product: a long vector is close to everybody.",
    "addFeatureNormalization: 1",
    bad="addFeatureNormalization: 0",
    good="addFeatureNormalization: 1",
)
TRK004 = Rule(
    "TRK004",
    "warning",
    "networkMode is numbered as nvinfer's",
    "For nvtracker 0 is FP32, 1 FP16 and 2 INT8; for nvinfer 1 is INT8 and 2 FP16. A 2 copied from there asks for "
    "INT8, without a calibration table.",
    "networkMode: 1 for FP16.",
    bad="networkMode: 2  # no calibrationTableFile",
    good="networkMode: 1",
)
TRK005 = Rule(
    "TRK005",
    "warning",
    "the tracker does not know this key",
    "It is ignored without a word, and the default works in its place.",
    "Correct the name.",
    bad="reidfeaturesize: 512",
    good="reidFeatureSize: 512",
)
TRK006 = Rule(
    "TRK006",
    "note",
    "the tracker keeps its vectors to itself",
    "With outputReidTensor: 1 the vectors the tracker makes anyway come out as metadata, and one network serves "
    "tracker and gallery.",
    "outputReidTensor: 1, where no nvinfer element embeds people.",
    bad="outputReidTensor: 0",
    good="outputReidTensor: 1",
)
TRK007 = Rule(
    "TRK007",
    "error",
    "a value of the tracker's is not the number it must be",
    "nvtracker stops at it, and the element fails to start.",
    "Write a number.",
    bad="reidFeatureSize: five hundred",
    good="reidFeatureSize: 512",
)
RULES = (TRK001, TRK002, TRK003, TRK004, TRK005, TRK006, TRK007)

_NUMBERS = (
    "reidType batchSize reidFeatureSize networkMode colorFormat keepAspc addFeatureNormalization outputReidTensor"
)
_INT8 = 2


def tracker_findings(tracker: TrackerConfig, site: Site) -> Iterator[Finding]:
    yield from tracker.problems
    yield from _unknown_keys(tracker)
    yield from _numbers(tracker)
    if not tracker.embeds:
        return
    model = site.model(tracker.file("onnxFile"))
    yield from _model_file(tracker, site)
    if model is not None:
        yield from _against_model(tracker, model)
    yield from _settings(tracker, model, site)
    yield from pixel_findings(of_tracker(tracker), model)


def _unknown_keys(tracker: TrackerConfig) -> Iterator[Finding]:
    """Only near misses: the tracker has more keys than are written down anywhere."""
    for section, names in KEYS.items():
        group, known = tracker.document.by_name.get(section), names.split()
        for setting in group.settings if group else ():
            near = nearest(setting.key, known) if setting.key not in known else None
            if near is not None and group is not None and group.last(near) is None:
                yield TRK005.found(
                    tracker.document.place(setting.line), setting.key, near, fix=f"Write {near}, if meant."
                )


def _numbers(tracker: TrackerConfig) -> Iterator[Finding]:
    for key in _NUMBERS.split():
        if key in tracker.values and tracker.integer(key) is None:
            yield TRK007.found(tracker.place(key), tracker.shown(key), "a whole number")
    if "netScaleFactor" in tracker.values and tracker.double("netScaleFactor") is None:
        yield TRK007.found(tracker.place("netScaleFactor"), tracker.shown("netScaleFactor"), "a number")
    for key in ("offsets", "inferDims"):
        if key in tracker.values and tracker.numbers(key) is None:
            yield TRK007.found(tracker.place(key), tracker.shown(key), "a list of numbers")


def _model_file(tracker: TrackerConfig, site: Site) -> Iterator[Finding]:
    onnx = tracker.file("onnxFile")
    if onnx is not None and site.located(onnx) is None:
        yield ONNX001.found(tracker.place("onnxFile"), repr(tracker.values["onnxFile"]), f"a file at {onnx}")


def _against_model(tracker: TrackerConfig, model: Model) -> Iterator[Finding]:
    size, dims = tracker.integer("reidFeatureSize"), tracker.numbers("inferDims")
    if model.dim is not None and (size or 0) != model.dim:
        edits = tracker.set_to("reidFeatureSize", str(model.dim))
        expected = f"reidFeatureSize: {model.dim}, as {model.path.name} gives"
        yield TRK001.found(tracker.place("reidFeatureSize"), tracker.shown("reidFeatureSize"), expected, edits=edits)
    declared = (model.channels, *model.size_hw)
    if dims is None or model.image is None:
        return
    if len(dims) != 3 or any(want not in {None, got} for want, got in zip(declared, dims, strict=True)):
        wanted = ";".join("?" if number is None else str(number) for number in declared)
        edits = () if None in declared else tracker.set_to("inferDims", wanted)
        expected = f"inferDims: [{wanted.replace(';', ', ')}]"
        yield TRK002.found(tracker.place("inferDims"), tracker.shown("inferDims"), expected, edits=edits)


def _settings(tracker: TrackerConfig, model: Model | None, site: Site) -> Iterator[Finding]:
    normalised = model is not None and model.card is not None and model.card.output and model.card.output.normalised
    if tracker.integer("addFeatureNormalization") != 1 and not normalised:
        key = "addFeatureNormalization"
        yield TRK003.found(tracker.place(key), tracker.shown(key), f"{key}: 1", edits=tracker.set_to(key, "1"))
    if tracker.integer("networkMode") == _INT8:
        table = tracker.file("calibrationTableFile")
        if table is None:
            yield TRK004.found(tracker.place("networkMode"), f"2, which is {PRECISIONS[_INT8]}", "1 for FP16")
        elif site.located(table) is None:
            value = f"no file at {table}"
            yield ENG006.found(tracker.place("calibrationTableFile"), value, "a calibration table, or networkMode: 1")
    if tracker.integer("outputReidTensor") != 1 and not site.reid_configs:
        yield TRK006.found(tracker.place("outputReidTensor"), tracker.shown("outputReidTensor"), "outputReidTensor: 1")
