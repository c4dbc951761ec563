"""The configuration of one nvinfer element, read as nvinfer reads it, with the line of everything it says.

`read_nvinfer(path)` never fails on content: what nvinfer would stumble over is in `problems`, and the rest is there to
be used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sightline.deploy.doctor import key_file, yaml_tree
from sightline.deploy.doctor.document import Document, Group, Setting, beside
from sightline.deploy.doctor.nvinfer_keys import CLASSIFIER_KEYS, DETECTOR_KEYS
from sightline.deploy.doctor.rules import Edit, Finding, Place

YAML_SUFFIXES = (".yml", ".yaml")
PRECISIONS = {0: "fp32", 1: "int8", 2: "fp16"}  # network-mode; nvtracker numbers them otherwise
CUSTOM = 100  # network-type

# What nvinfer takes where nothing is written.
DEFAULTS: Mapping[str, int] = {
    "gie-unique-id": 15,
    "process-mode": 1,
    "network-type": 0,
    "output-tensor-meta": 0,
    "batch-size": 1,
    "network-mode": 0,
    "model-color-format": 0,
    "maintain-aspect-ratio": 0,
    "operate-on-gie-id": -1,
    "input-tensor-from-meta": 0,
    "classifier-async-mode": 0,
    "gpu-id": 0,
    "enable-dla": 0,
    "use-dla-core": 0,
}


@dataclass(frozen=True)
class NvinferConfig:
    """The `[property]` group of an INI file, or the `property:` map of a YAML one."""

    document: Document

    @property
    def path(self) -> Path:
        return self.document.path

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What its real reader would refuse. Lines it would ignore are the rules' business."""
        return self.document.problems

    @cached_property
    def group(self) -> Group:
        """An empty group where the file has none."""
        return self.document.by_name.get("property") or Group("property", 0)

    @cached_property
    def values(self) -> Mapping[str, str]:
        """Each key with the value that counts."""
        return {setting.key: setting.value for setting in self.group.settings}

    @cached_property
    def lines(self) -> Mapping[str, int]:
        """Each key with the line of the value that counts, from 1."""
        return {setting.key: setting.line for setting in self.group.settings}

    def setting(self, key: str) -> Setting | None:
        return self.group.last(key)

    def place(self, key: str) -> Place:
        """Of the setting; of the group where it is absent."""
        return Place(self.path, self.lines.get(key, self.group.line))

    def shown(self, key: str) -> str:
        """The value as written, or that there is none, with what nvinfer takes instead."""
        if key in self.values:
            return f"{key}={self.values[key]}"
        return f"no {key}" + (f" (so {DEFAULTS[key]})" if key in DEFAULTS else "")

    def integer(self, key: str) -> int | None:
        """The number nvinfer works with: its default where the key is absent, None where the value is no number."""
        text = self.values.get(key)
        return DEFAULTS.get(key) if text is None else key_file.as_integer(text)

    def double(self, key: str) -> float | None:
        text = self.values.get(key)
        return None if text is None else key_file.as_double(text)

    def integers(self, key: str) -> list[int] | None:
        text = self.values.get(key)
        return None if text is None else key_file.as_integers(text)

    def doubles(self, key: str) -> list[float] | None:
        text = self.values.get(key)
        return None if text is None else key_file.as_doubles(text)

    def file(self, key: str) -> Path | None:
        """The path it names, absolute. Relative ones count from the folder of the configuration, links resolved."""
        text = self.values.get(key, "")
        return beside(self.path, text) if text and "\0" not in text else None

    def set_to(self, key: str, value: str) -> tuple[Edit, ...]:
        """The edit that gives a key a value; none where there is no group to put it into."""
        return (self.document.set_to(self.group, key, value),) if self.group.line else ()

    @property
    def precision(self) -> str:
        return PRECISIONS.get(self.integer("network-mode") or 0, "fp32")

    @property
    def is_detector(self) -> bool:
        """By what only a detector is told."""
        groups = any(name.startswith("class-attrs") for name in self.document.by_name)
        return groups or any(key in self.values for key in DETECTOR_KEYS)

    @property
    def is_classifier(self) -> bool:
        return any(key in self.values for key in CLASSIFIER_KEYS)

    @property
    def sounds_like_reid(self) -> bool:
        """By its names, and by the settings that only raw tensors are wanted with."""
        names = f"{self.path.name} {self.values.get('onnx-file', '')}".lower()
        named = any(word in names for word in ("reid", "re-id", "re_id", "osnet", "embedding"))
        return named or self.integer("network-type") == CUSTOM or self.integer("output-tensor-meta") == 1


def read_nvinfer(path: Path) -> NvinferConfig:
    """Raises `ConfigError` for what is not there or is no text file."""
    if path.suffix.lower() in YAML_SUFFIXES:
        return NvinferConfig(yaml_tree.read_yaml(path))
    return NvinferConfig(key_file.read_key_file(path))
