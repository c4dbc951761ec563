"""The configurations of nvinfer and nvtracker, each from the plan, so that numbers that must match do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sightline._version import __version__
from sightline.deploy.deepstream.detectors import ROOT
from sightline.deploy.deepstream.plan import GPU, LEAST_WH, NETWORK_MODES, PGIE_ID, REID_ID, TRACKER_MODES, Plan

Groups = Mapping[str, Mapping[str, str]]

PGIE_FILE = "pgie_config.txt"
SGIE_FILE = "reid_sgie_config.txt"
SGIE_YAML = "reid_sgie_config.yml"
TRACKER_FILE = "tracker_config.yml"
TRACKER_REID_FILE = "tracker_reid_config.yml"
TRACKER_LIBRARY = f"{ROOT}/lib/libnvds_nvmultiobjecttracker.so"

# A comment behind a value would be read as part of it, so each has a line of its own.
_WHY = {
    "model-engine-file": "the name nvinfer gives it itself; under another it would be built at every start",
    "network-mode": "0 is FP32, 1 INT8, 2 FP16; nvtracker counts otherwise",
    "net-scale-factor": "what the network is fed: net-scale-factor * (pixel - offset)",
}
_SGIE_WHY = {
    **_WHY,
    "process-mode": "on the objects of the detector, one crop each",
    "network-type": "a network of its own kind: with any other number no raw vector comes out",
    "output-tensor-meta": "the vectors travel with the objects",
    "batch-size": "at most what the engine was built for",
    "operate-on-gie-id": "the detector's gie-unique-id",
    "operate-on-class-ids": "people, by the line in the detector's label file",
    "input-object-min-width": "smaller people are not looked at; pixels of the muxer's picture",
}
_PGIE_WHY = {
    **_WHY,
    "process-mode": "on whole frames",
    "filter-out-class-ids": "everything but people, so that nothing else is tracked",
}
_TRACKER_WHY = {
    "outputTerminatedTracks": "tells when a track has ended, which is when a visit is kept",
    "useUniqueID": "one count for all streams, so that no two cameras share a number",
    "outputReidTensor": "the vectors travel with the objects",
    "networkMode": "0 is FP32, 1 FP16, 2 INT8; nvinfer counts otherwise",
    "keepAspc": "crops are stretched, as the network was trained on",
}


def sgie(plan: Plan) -> Groups:
    return {
        "property": {
            "gpu-id": str(GPU),
            "gie-unique-id": str(REID_ID),
            "process-mode": "2",
            "network-type": "100",
            "output-tensor-meta": "1",
            "onnx-file": plan.onnx,
            "model-engine-file": plan.engine,
            "batch-size": str(plan.batch),
            "network-mode": str(NETWORK_MODES[plan.precision]),
            "infer-dims": ";".join(map(str, plan.dims)),
            "net-scale-factor": plan.scale,
            "offsets": ";".join(plan.offsets),
            "model-color-format": str(plan.color_format),
            "maintain-aspect-ratio": "0",
            "operate-on-gie-id": str(PGIE_ID),
            "operate-on-class-ids": ";".join(map(str, plan.detector.person_ids)),
            "input-object-min-width": str(LEAST_WH[0]),
            "input-object-min-height": str(LEAST_WH[1]),
        }
    }


def pgie(plan: Plan) -> Groups:
    detector = plan.detector
    library = {"custom-lib-path": plan.at(detector.library)} if detector.library else {}
    return {
        "property": {
            "gpu-id": str(GPU),
            "gie-unique-id": str(PGIE_ID),
            "process-mode": "1",
            "network-type": "0",
            "onnx-file": plan.detector_onnx,
            "model-engine-file": plan.detector_engine,
            "labelfile-path": plan.at(detector.label_file),
            "num-detected-classes": str(len(detector.labels)),
            "batch-size": str(plan.streams),
            "network-mode": str(NETWORK_MODES[plan.precision]),
            "interval": "0",
            **detector.settings,
            **library,
            "filter-out-class-ids": ";".join(map(str, detector.other_ids)),
        },
        "class-attrs-all": dict(detector.classes),
    }


# nvtracker

_TRACKER = {
    "BaseConfig": {"minDetectorConfidence": "0.2"},
    "TargetManagement": {
        "maxTargetsPerStream": "150",
        "probationAge": "3",
        "earlyTerminationAge": "1",
        "maxShadowTrackingAge": "51",
        "outputTerminatedTracks": "1",
    },
    "TrajectoryManagement": {"useUniqueID": "1"},
    "DataAssociator": {"dataAssociatorType": "0", "associationMatcherType": "1", "checkClassMatch": "1"},
    "StateEstimator": {"stateEstimatorType": "1"},
    "VisualTracker": {"visualTrackerType": "1"},
}


def tracker(plan: Plan) -> Groups:
    """Where the vectors come from a network behind the tracker: it needs none of its own."""
    return _TRACKER


def tracker_reid(plan: Plan) -> Groups:
    """Where one network serves both: the tracker finds people again by it, and hands its vectors on."""
    height, width = plan.size_hw
    return {
        **_TRACKER,
        "TrajectoryManagement": {"useUniqueID": "1", "enableReAssoc": "1", "reidExtractionInterval": "8"},
        "ReID": {
            "reidType": "2",
            "outputReidTensor": "1",
            "onnxFile": f'"{plan.onnx}"',
            "modelEngineFile": f'"{plan.tracker_engine}"',
            "batchSize": str(plan.tracker_batch),
            "workspaceSize": "1000",
            "reidFeatureSize": str(plan.dim),
            "reidHistorySize": "100",
            "inferDims": f"[3, {height}, {width}]",
            "networkMode": str(TRACKER_MODES[plan.precision]),
            "inputOrder": "0",
            "colorFormat": str(plan.color_format),
            "offsets": f"[{', '.join(map(str, plan.fed.mean))}]",
            "netScaleFactor": plan.scale,
            "keepAspc": "0",
            "useVPICropScaler": "1",
            "addFeatureNormalization": "1",
        },
    }


# As text


def sgie_key_file(plan: Plan) -> str:
    return _key_file(_SGIE_TITLE, sgie(plan), why=_SGIE_WHY)


def sgie_yaml(plan: Plan) -> str:
    """Lists stay the strings they are in the other form."""
    return "\n".join([*_head(_SGIE_TITLE), *_yaml_lines(sgie(plan), why=_SGIE_WHY)]) + "\n"


def pgie_key_file(plan: Plan) -> str:
    return _key_file(f"The detector: {plan.detector.title}.", pgie(plan), why=_PGIE_WHY)


def tracker_yaml(plan: Plan) -> str:
    return _tracker_yaml("The tracker, without a network of its own.", tracker(plan))


def tracker_reid_yaml(plan: Plan) -> str:
    return _tracker_yaml("The tracker with the network in it, in place of the one behind it.", tracker_reid(plan))


_SGIE_TITLE = "The re-identification network, behind the tracker."


def _key_file(title: str, groups: Groups, *, why: Mapping[str, str]) -> str:
    lines = [*_head(title)]
    for name, settings in groups.items():
        lines += ["", f"[{name}]", *_explained(settings, why, "{}={}", indent="")]
    return "\n".join(lines) + "\n"


def _tracker_yaml(title: str, groups: Groups) -> str:
    """Its reader wants the version first."""
    return "\n".join(["%YAML:1.0", *_head(title), *_yaml_lines(groups, why=_TRACKER_WHY)]) + "\n"


def _yaml_lines(groups: Groups, *, why: Mapping[str, str]) -> Iterator[str]:
    for name, settings in groups.items():
        yield from ("", f"{name}:", *_explained(settings, why, "{}: {}", indent="  "))


def _explained(settings: Mapping[str, str], why: Mapping[str, str], form: str, *, indent: str) -> Iterator[str]:
    for key, value in settings.items():
        if key in why:
            yield f"{indent}# {why[key]}"
        yield indent + form.format(key, value)


def _head(title: str) -> tuple[str, ...]:
    return f"# {title}", f"# Written by `sightline deepstream init` (sightline {__version__})."
