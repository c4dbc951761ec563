"""The pipeline file: a `global` section of names, and a section a stage.

Other sections may be in the same file and are left alone; within the sections that are ours a misspelt key is an error.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sightline.config import load_config, load_sections
from sightline.errors import ConfigError
from sightline.pipeline.cluster_config import STAGE as PAGE_STAGE
from sightline.pipeline.cluster_config import Stage as PageSection
from sightline.pipeline.cluster_config import read_stage
from sightline.tracking.tracker import TrackerSettings
from sightline.tracking.trackers_library import LIBRARY_TRACKERS

OUR_TRACKER = "appearance"
FIRST_STAGE = "stage1_detect"  # which no pipeline can be without
_NAMES = ("video_file", "output_root")  # of the global section, that mean something to every stage


@dataclass(frozen=True)
class NormaliseSection:
    fps: float | None = None  # None: as they come
    resize_to: list[int] | None = None  # width and height to fit into; None: as they are

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ConfigError(
                f"stage0_normalise.fps is {self.fps:g}; expected frames per second, above 0, at most 1000"
            )
        if self.resize_to is not None and (len(self.resize_to) != 2 or min(self.resize_to) < 16):
            raise ConfigError(f"stage0_normalise.resize_to is {self.resize_to}; expected [width, height] of 16 or more")


@dataclass(frozen=True)
class DetectSection:
    detector: str = ""  # a model, "background", or a file of boxes: .txt, .csv, .json, .npz
    format: str = "auto"  # the family, where a model does not give it away
    keep: list[str] | None = None  # classes; None: people and faces
    min_score: float | None = None  # None: as the family is used
    max_overlap: float | None = None
    backend: str = "auto"
    device: str = "auto"
    batch: int = 8  # frames at once

    def __post_init__(self) -> None:
        _require(self.batch >= 1, "stage1_detect.batch", self.batch, "1 or more")
        for name in ("min_score", "max_overlap"):
            value = getattr(self, name)
            _require(value is None or 0 <= value <= 1, f"stage1_detect.{name}", value, "0 to 1")


@dataclass(frozen=True)
class TrackSection:
    tracker: str = OUR_TRACKER  # or one of the library's: bytetrack, ocsort, botsort, sort
    min_frames: int = 3  # of a tracklet; shorter ones are left out
    settings: TrackerSettings = field(default_factory=TrackerSettings)  # of our tracker

    def __post_init__(self) -> None:
        known = (OUR_TRACKER, *LIBRARY_TRACKERS)
        _require(self.tracker in known, "stage2_track.tracker", repr(self.tracker), f"one of {', '.join(known)}")
        _require(self.min_frames >= 1, "stage2_track.min_frames", self.min_frames, "1 or more")
        if self.tracker != OUR_TRACKER and self.settings != TrackerSettings():
            raise ConfigError(f"stage2_track.settings are those of {OUR_TRACKER!r}; {self.tracker} has its own")


@dataclass(frozen=True)
class CanonicalSection:
    """When one tracklet goes on where another ended. Lengths are in heights of the person."""

    max_gap_s: float = 2.0
    max_distance: float = 1.0  # between where both should be in the middle of the gap
    max_velocity_change: float = 2.0  # a second
    max_size_ratio: float = 1.5  # of the two heights
    window_s: float = 0.5  # of either end, over which velocity and height are measured

    def __post_init__(self) -> None:
        for name, lowest in (("max_gap_s", 0), ("max_distance", 0), ("max_velocity_change", 0), ("max_size_ratio", 1)):
            value = getattr(self, name)
            fine = math.isfinite(value) and value > lowest
            _require(fine, f"stage3a_canonical_persons.{name}", value, f"a number above {lowest}")
        fine = math.isfinite(self.window_s) and self.window_s >= 0
        _require(fine, "stage3a_canonical_persons.window_s", self.window_s, "seconds, 0 or more")


@dataclass(frozen=True)
class Weights:
    duration: float = 0.4
    coverage: float = 0.3
    centre: float = 0.2
    smoothness: float = 0.1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            _require(0 <= value <= 1, f"stage3b_ranking.weights.{name}", value, "0 to 1")
        total = sum(asdict(self).values())
        _require(math.isclose(total, 1, abs_tol=1e-6), "the sum of stage3b_ranking.weights", f"{total:g}", "1")


@dataclass(frozen=True)
class RankingSection:
    weights: Weights = field(default_factory=Weights)
    max_first_appearance_ratio: float = 0.5  # of the recording; who first appears later loses
    late_penalty: float = 1.0  # the share of the score that is lost at the very end
    top_n: int = 10

    def __post_init__(self) -> None:
        for name in ("max_first_appearance_ratio", "late_penalty"):
            value = getattr(self, name)
            _require(0 <= value <= 1, f"stage3b_ranking.{name}", value, "0 to 1")
        _require(self.top_n >= 1, "stage3b_ranking.top_n", self.top_n, "1 or more")


@dataclass(frozen=True)
class RefinementSection:
    enabled: bool = True  # False: crops are taken, and nobody is merged
    osnet_model: str = ""
    osnet_model_fallback: str = ""  # used where there is no osnet_model
    device: str = "auto"
    crops_per_person: int = 50  # taken from the recording, spread over the person's time
    num_best_crops: int = 16  # of these, averaged
    similarity_threshold: float | None = None  # None: the one calibrated for the model; without it nobody is merged
    max_gap_frames: int | None = None  # None: however far apart in time

    def __post_init__(self) -> None:
        for name in ("crops_per_person", "num_best_crops"):
            value = getattr(self, name)
            _require(value >= 1, f"stage3c_reid_refinement.{name}", value, "1 or more")
        cosine, gap = self.similarity_threshold, self.max_gap_frames
        name = "stage3c_reid_refinement.similarity_threshold"
        _require(cosine is None or -1 <= cosine <= 1, name, cosine, "a cosine, -1 to 1")
        _require(gap is None or gap >= 0, "stage3c_reid_refinement.max_gap_frames", gap, "0 or more")


@dataclass(frozen=True)
class SelectionSection:
    persons: list[str] = field(default_factory=list)  # as the page calls them; nobody: chosen by hand


@dataclass(frozen=True)
class Pipeline:
    """All that a run goes by. The fields are the sections of the file, and two names of its global one."""

    video_file: str = ""
    output_root: str = "runs/people"
    stage0_normalise: NormaliseSection = field(default_factory=NormaliseSection)
    stage1_detect: DetectSection = field(default_factory=DetectSection)
    stage2_track: TrackSection = field(default_factory=TrackSection)
    stage3a_canonical_persons: CanonicalSection = field(default_factory=CanonicalSection)
    stage3b_ranking: RankingSection = field(default_factory=RankingSection)
    stage3c_reid_refinement: RefinementSection = field(default_factory=RefinementSection)
    stage4_generate_html: PageSection = field(default_factory=PageSection)
    stage5_selection: SelectionSection = field(default_factory=SelectionSection)

    def __post_init__(self) -> None:
        if not self.video_file:
            raise ConfigError("no recording; name one, or set video_file in the global section")
        if not self.stage1_detect.detector:
            raise ConfigError('stage1_detect.detector is not set; expected a model, a file of boxes or "background"')


STAGES = tuple(item.name for item in fields(Pipeline) if item.name not in _NAMES)


def _require(condition: bool, key: str, value: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{key} is {value}; expected {expected}")


def read_pipeline(path: Path, *, overrides: Sequence[str] = ()) -> Pipeline:
    """The file, then `key=value` overrides such as `stage3b_ranking.top_n=5` or `output_root=runs/other`.

    What the file puts below its `output_root` follows it to another. Raises `ConfigError`, one line, naming the key.
    """
    sections = load_sections(path)
    _require_known(path, sections)
    try:
        given = [f"{key}={json.dumps(value)}" for key, value in _given(path, sections)]
        pipeline = load_config(Pipeline, overrides=[*given, *overrides])
    except (ConfigError, TypeError) as exc:  # a TypeError: YAML can hold what JSON cannot, such as bytes
        raise ConfigError(f"{path}: {exc}".replace(f"{path}: {path}: ", f"{path}: ")) from exc
    page = replace(pipeline.stage4_generate_html, output_dir=_page_folder(pipeline, sections))
    return replace(pipeline, stage4_generate_html=page)


def _require_known(path: Path, sections: Mapping[str, Any]) -> None:
    """A section that is nearly one of ours is a misspelt one: left alone, it would change nothing in silence."""
    if FIRST_STAGE not in sections:
        raise ConfigError(f"{path} has no section {FIRST_STAGE}; expected the stages of a pipeline")
    for name, section in sections.items():
        nearest = difflib.get_close_matches(name, STAGES, n=1, cutoff=0.8)
        if name not in STAGES and nearest:
            raise ConfigError(f"{path}: unknown section {name!r}; did you mean {nearest[0]}?")
        if name in STAGES and not isinstance(section, dict | None):
            raise ConfigError(f"{path}: {name} is {section!r}; expected `key: value` lines")


def _given(path: Path, sections: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value of the file that means something here, under its key in full."""
    names = {**sections, **(sections.get("global") or {})}
    yield from ((name, names[name]) for name in _NAMES if names.get(name) is not None)
    for name in STAGES:
        if name == PAGE_STAGE:
            page = {} if sections.get(name) is None else asdict(read_stage(path))
            yield from _leaves(page, f"{name}.")
        else:
            yield from _leaves(sections.get(name) or {}, f"{name}.")


def _leaves(section: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _page_folder(pipeline: Pipeline, sections: Mapping[str, Any]) -> str:
    """Where the page goes: as the file says, but below the root of this run where the file puts it below its own."""
    chosen, root = pipeline.stage4_generate_html.output_dir, Path(pipeline.output_root)
    if chosen == PageSection().output_dir:
        return str(root / chosen)
    before = {**sections, **(sections.get("global") or {})}.get("output_root")
    if before is not None and Path(chosen).is_relative_to(before):
        return str(root / Path(chosen).relative_to(before))
    return chosen
