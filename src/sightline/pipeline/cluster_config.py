"""The part of a pipeline file that clustering goes by: `stage4_generate_html`, and its section `clustering`.

The file belongs to a pipeline of several stages, of which this is one. Keys of other stages, and keys of this one that
mean nothing here, are left alone; in the section that is ours a misspelt key is an error.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sightline.config import load_config, load_sections
from sightline.errors import ConfigError
from sightline.reid.similarity import FORMS

log = logging.getLogger(__name__)

STAGE = "stage4_generate_html"


@dataclass(frozen=True)
class ClusteringSection:
    enabled: bool = True  # False: a page without scores
    osnet_model: str = ""
    osnet_model_fallback: str = ""  # used where there is no osnet_model
    device: str = "auto"
    num_best_crops: int = 16  # of a person, averaged
    similarity_threshold: float | None = None  # None: the one calibrated for the model, else 0.70
    form: str = "averaged"  # averaged, pairs
    merge_threshold: float | None = None  # None: the same
    merge_max_gap_frames: int | None = 15  # None: any time apart, so that people who come back are merged too

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ConfigError(f"clustering.form is {self.form!r}; expected one of {', '.join(FORMS)}")
        for name in ("similarity_threshold", "merge_threshold"):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise ConfigError(f"clustering.{name} is {value:g}; expected a cosine, -1 to 1")
        _at_least("clustering.num_best_crops", self.num_best_crops, 1)
        _at_least("clustering.merge_max_gap_frames", self.merge_max_gap_frames or 0, 0)


@dataclass(frozen=True)
class Stage:
    video_file: str | None = None  # only named on the page
    output_dir: str = "webp_viewer"
    crops_per_person: int = 50  # in a clip
    top_n_persons: int = 10  # shown at first
    resize_to: list[int] = field(default_factory=lambda: [256, 256])  # of a clip: width, height
    webp_duration_ms: int = 100  # of one picture of a clip
    clustering: ClusteringSection = field(default_factory=ClusteringSection)

    def __post_init__(self) -> None:
        if len(self.resize_to) != 2 or not all(16 <= side <= 4096 for side in self.resize_to):
            raise ConfigError(f"resize_to is {self.resize_to}; expected [width, height] from 16 to 4096")
        for name in ("crops_per_person", "top_n_persons", "webp_duration_ms"):
            _at_least(name, getattr(self, name), 1)


def _at_least(name: str, value: int, lowest: int) -> None:
    if value < lowest:
        raise ConfigError(f"{name} is {value}; expected {lowest} or more")


def read_stage(path: Path) -> Stage:
    """The stage as the file has it, `${name}` resolved against its `global` section. Raises `ConfigError`."""
    found = load_sections(path).get(STAGE)
    if not isinstance(found, dict):
        raise ConfigError(f"{path} has no section {STAGE}; expected one with a section clustering in it")
    ours = {item.name for item in fields(Stage)}
    unused = ", ".join(str(key) for key in found if key not in ours)
    if unused:
        log.debug("%s: %s of %s mean nothing here", path, unused, STAGE)
    given = {key: value for key, value in found.items() if key in ours}
    try:
        return load_config(Stage, overrides=[f"{key}={json.dumps(value)}" for key, value in _leaves(given)])
    except (ConfigError, TypeError) as exc:  # a TypeError: YAML can hold what JSON cannot, such as bytes
        raise ConfigError(f"{path}: {STAGE}: {exc}") from exc


def _leaves(section: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested sections under its key in full, `clustering.device`."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
