"""Rules about engines: which one is used, when it is rebuilt, and how it is built by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sightline.deploy.doctor.model import ONNX001, Model
from sightline.deploy.doctor.nvinfer import NvinferConfig
from sightline.deploy.doctor.rules import Finding, Rule, Severity
from sightline.deploy.doctor.scripts import Trtexec
from sightline.deploy.doctor.site import Site

ENG001 = Rule(
    "ENG001",
    "error",
    "batch-size is not the batch that the model holds as a constant",
    "nvinfer sets the batch of an engine itself, but cannot change a Reshape with the batch written into it: the build "
    'fails, or ends in "Backend has maxBatchSize 1 whereas 16 has been requested".',
    "Use the model's batch, or export it with an open one.",
    bad="# a model with a constant batch of 1\nbatch-size=16",
    good="# a model with a constant batch of 1\nbatch-size=1",
)
ENG002 = Rule(
    "ENG002",
    "warning",
    "the engine is for smaller batches than batch-size",
    '"Backend has maxBatchSize 1 whereas 16 has been requested": nvinfer builds the engine anew from onnx-file at '
    "every start, for minutes; without an onnx-file it fails. A larger engine is fine.",
    "Build the engine with --maxShapes of at least batch-size, or lower batch-size.",
    bad="batch-size=16\nmodel-engine-file=/models/osnet.onnx_b1_gpu0_fp16.engine",
    good="batch-size=16\nmodel-engine-file=/models/osnet.onnx_b16_gpu0_fp16.engine",
)
ENG003 = Rule(
    "ENG003",
    "warning",
    "the engine will be built anew at every start",
    "nvinfer saves what it builds under a name of its own, <onnx>_b<batch>_gpu<id>_<precision>.engine, and looks under "
    "the name written here. Where the two differ and nobody put an engine there, it never finds what it saved.",
    "Use the automatic name, or build the engine beforehand under this one.",
    bad="onnx-file=/models/osnet.onnx\nmodel-engine-file=/models/osnet.engine\nbatch-size=16\nnetwork-mode=2",
    good="onnx-file=/models/osnet.onnx\nmodel-engine-file=/models/osnet.onnx_b16_gpu0_fp16.engine\n"
    "batch-size=16\nnetwork-mode=2",
)
ENG004 = Rule(
    "ENG004",
    "warning",
    "the engine is older than the model",
    "nvinfer loads the engine and never compares: a model that was exported again is not what runs.",
    "Delete the engine, or build it again.",
)
ENG005 = Rule(
    "ENG005",
    "warning",
    "the batch is smaller than the people in view",
    "Each object of each stream is one row. What does not fit is run in further passes, and with batch-size=1 "
    "everybody waits for everybody else.",
    "batch-size = people at once × streams (`--people`, `--streams`), and an engine for it.",
    bad="batch-size=1",
    good="batch-size=16",
)
ENG006 = Rule(
    "ENG006",
    "warning",
    "INT8 without calibration",
    "TensorRT then guesses the ranges of all values, and vectors of a re-identification network do not survive that. "
    "Often FP16 was meant: it is network-mode=2 for nvinfer, and networkMode: 1 for nvtracker.",
    "network-mode=2 for FP16, or name the calibration table (int8-calib-file, calibrationTableFile).",
    bad="network-mode=1",
    good="network-mode=2",
)
ENG007 = Rule(
    "ENG007",
    "warning",
    "the precision is not that of the engine's name",
    "nvinfer numbers 0 FP32, 1 INT8, 2 FP16; nvtracker 0 FP32, 1 FP16, 2 INT8. A number copied from one to the other "
    "means something else there.",
    "Make network-mode and the engine agree.",
    bad="network-mode=1\nmodel-engine-file=/models/osnet.onnx_b16_gpu0_fp16.engine",
    good="network-mode=2\nmodel-engine-file=/models/osnet.onnx_b16_gpu0_fp16.engine",
)
ENG008 = Rule(
    "ENG008",
    "error",
    "neither model nor engine is named",
    'nvinfer has nothing to run and fails with "Failed to create NvDsInferContext".',
    "Name the model: onnx-file=/absolute/path.onnx.",
    bad="[property]\nnetwork-type=100",
    good="[property]\nnetwork-type=100\nonnx-file=/models/osnet.onnx",
)
RULES = (ENG001, ENG002, ENG003, ENG004, ENG005, ENG006, ENG007, ENG008)

_AUTOMATIC = re.compile(r".*_b(\d{1,6})_(?:gpu\d+|dla\d+)_(fp32|fp16|int8)\.engine", re.ASCII)


def engine_findings(config: NvinferConfig, site: Site) -> Iterator[Finding]:
    """Of any nvinfer element."""
    yield from _named(config, site)
    yield from _batch(config, site)
    yield from _engine_file(config, site)
    yield from _precision(config, site)


def _named(config: NvinferConfig, site: Site) -> Iterator[Finding]:
    onnx = config.file("onnx-file")
    if onnx is not None and site.located(onnx) is None:
        yield ONNX001.found(config.place("onnx-file"), repr(config.values["onnx-file"]), f"a file at {onnx}")
    named = ("onnx-file", "model-engine-file", "tlt-encoded-model", "tlt-model", "model-file", "uff-file")
    custom = "engine-create-func-name" in config.values
    if not custom and not any(config.values.get(key) for key in named):
        yield ENG008.found(config.place("onnx-file"), "no model", "onnx-file=/absolute/path.onnx")


def _batch(config: NvinferConfig, site: Site) -> Iterator[Finding]:
    key, batch = "batch-size", config.integer("batch-size")
    model, place = site.model(config.file("onnx-file")), config.place("batch-size")
    if batch is None:
        return
    held = _held_batch(model)
    if held is not None and batch != held:
        yield ENG001.found(place, config.shown(key), f"{key}={held}", edits=config.set_to(key, str(held)))
    largest = _engine_batch(config, site)
    if largest is not None and largest < batch:
        alone = config.file("onnx-file") is None
        value = f"{config.shown(key)}, and an engine for {largest}"
        severity: Severity = "error" if alone else "warning"
        yield ENG002.found(place, value, f"{key}={largest}, or an engine for {batch}", severity=severity)
    if site.is_reid(config):
        yield from _expected_people(config, site, batch)


def _expected_people(config: NvinferConfig, site: Site, batch: int) -> Iterator[Finding]:
    wanted = site.circumstances.people * site.circumstances.streams
    if batch < wanted:
        people = f"{site.circumstances.people} people in each of {site.circumstances.streams} streams"
        yield ENG005.found(config.place("batch-size"), config.shown("batch-size"), f"{wanted} or more, for {people}")


def _held_batch(model: Model | None) -> int | None:
    """The batch that is fixed at the input and by a Reshape too."""
    if model is None or model.graph is None or model.fixed_batch is None:
        return None
    return model.fixed_batch if model.fixed_batch in model.graph.constant_batches else None


def _engine_batch(config: NvinferConfig, site: Site) -> int | None:
    """The largest batch of the engine that is named: by its automatic name, else by the command that builds it."""
    engine = config.file("model-engine-file")
    if engine is None:
        return None
    if match := _AUTOMATIC.fullmatch(engine.name):
        return int(match[1])
    builds = [build for build in site.engine_builds() if build.engine_name == engine.name]
    return _largest_batch(builds[-1], site.model(config.file("onnx-file"))) if builds else None


def _largest_batch(build: Trtexec, model: Model | None) -> int | None:
    """What trtexec builds for: its profile; without one the model's own batch, and 1 where that is open."""
    shapes = build.shapes("maxShapes") or build.shapes("optShapes") or build.shapes("shapes")
    if shapes:
        return max(sizes[0] for sizes in shapes.values())
    return None if model is None or model.image is None else (model.fixed_batch or 1)


def _engine_file(config: NvinferConfig, site: Site) -> Iterator[Finding]:
    key, onnx = "model-engine-file", config.file("onnx-file")
    engine = config.file(key)
    if engine is None:
        return
    here, model = site.located(engine), None if onnx is None else site.located(onnx)
    if here is not None and model is not None and _is_older(here, model):
        yield ENG004.found(config.place(key), here.name, f"newer than {model.name}")
    built = any(build.engine_name == engine.name for build in site.engine_builds())
    if here is None and onnx is not None and not built and engine.name != _automatic_name(config, onnx):
        value = f"{config.values[key]}, which is not there"
        yield ENG003.found(config.place(key), value, f"{onnx.parent / _automatic_name(config, onnx)}")


def _is_older(engine: Path, model: Path) -> bool:
    try:
        return engine.stat().st_mtime < model.stat().st_mtime
    except OSError:
        return False


def _automatic_name(config: NvinferConfig, onnx: Path) -> str:
    """As nvinfer calls what it builds."""
    on_dla = config.integer("enable-dla") == 1
    where = f"dla{config.integer('use-dla-core') or 0}" if on_dla else f"gpu{config.integer('gpu-id') or 0}"
    return f"{onnx.name}_b{config.integer('batch-size')}_{where}_{config.precision}.engine"


def _precision(config: NvinferConfig, site: Site) -> Iterator[Finding]:
    key = "network-mode"
    engine, table = config.file("model-engine-file"), config.file("int8-calib-file")
    named = _AUTOMATIC.fullmatch(engine.name) if engine else None
    if named and named[2] != config.precision:
        yield ENG007.found(config.place(key), f"{config.shown(key)}, engine {named[2]}", "one precision for both")
    calibrated = table is not None and site.located(table) is not None
    if config.integer(key) == 1 and not calibrated:
        value = config.shown(key) + ("" if table is None else f", and no {config.values['int8-calib-file']}")
        yield ENG006.found(config.place(key), value, f"{key}=2 (FP16), or an int8-calib-file that is there")
