"""The configuration of NVIDIA's multi-object tracker: what it says about re-identification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sightline.deploy.doctor import key_file, yaml_tree
from sightline.deploy.doctor.document import Document, Group, beside
from sightline.deploy.doctor.rules import Edit, Finding, Place

PRECISIONS = {0: "FP32", 1: "FP16", 2: "INT8"}  # networkMode; nvinfer's network-mode has 1 and 2 the other way round
GROUPS = ("BaseConfig", "TargetManagement", "TrajectoryManagement", "StateEstimator", "VisualTracker", "ReID")

KEYS: Mapping[str, str] = {
    "ReID": """
        reidType batchSize workspaceSize reidFeatureSize reidHistorySize inferDims networkMode inputOrder colorFormat
        offsets netScaleFactor keepAspc useVPICropScaler addFeatureNormalization outputReidTensor onnxFile
        modelEngineFile calibrationTableFile inputBlobName outputBlobName uffFile tltEncodedModel tltModelKey
        minVisibility4GalleryUpdate
    """,
    "TargetManagement": """
        maxTargetsPerStream probationAge earlyTerminationAge maxShadowTrackingAge outputTerminatedTracks
        outputShadowTracks enableBboxUnClipping minIouDiff4NewTarget minTrackerConfidence preserveStreamUpdateOrder
    """,
    "TrajectoryManagement": "useUniqueID enableReAssoc reidExtractionInterval",
}


@dataclass(frozen=True)
class TrackerConfig:
    """The `ReID` section, and the others by name."""

    document: Document

    @property
    def path(self) -> Path:
        return self.document.path

    @property
    def problems(self) -> tuple[Finding, ...]:
        return self.document.problems

    @cached_property
    def reid(self) -> Group:
        """An empty group where the tracker does not look at appearance."""
        return self.document.by_name.get("ReID") or Group("ReID", 0)

    @cached_property
    def values(self) -> Mapping[str, str]:
        return {setting.key: setting.value for setting in self.reid.settings}

    @property
    def embeds(self) -> bool:
        """Whether it runs a re-identification network of its own."""
        return bool(self.reid.line) and self.integer("reidType") != 0

    def place(self, key: str) -> Place:
        setting = self.reid.last(key)
        return Place(self.path, setting.line if setting else self.reid.line)

    def shown(self, key: str) -> str:
        return f"{key}: {self.values[key]}" if key in self.values else f"no {key}"

    def integer(self, key: str) -> int | None:
        return key_file.as_integer(self.values.get(key, ""))

    def double(self, key: str) -> float | None:
        return key_file.as_double(self.values.get(key, "").strip())

    def numbers(self, key: str) -> list[float] | None:
        """A YAML list, or the ';' string that nvinfer takes."""
        return key_file.as_doubles(self.values[key]) if key in self.values else None

    def file(self, key: str) -> Path | None:
        text = self.values.get(key, "")
        return beside(self.path, text) if text and "\0" not in text else None

    def set_to(self, key: str, value: str) -> tuple[Edit, ...]:
        """The edit that gives a key of `ReID` a value; a list in ';' form becomes the YAML list the samples have."""
        written = f"[{', '.join(value.split(';'))}]" if ";" in value else value
        return (self.document.set_to(self.reid, key, written),) if self.reid.line else ()


def read_tracker(path: Path) -> TrackerConfig:
    """Raises `ConfigError` for what is not there or is no text file."""
    return TrackerConfig(yaml_tree.read_yaml(path))
