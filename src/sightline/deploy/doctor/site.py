"""Everything one run looks at: the parts that were found, and how they refer to each other.

Paths in a deployment are those of the machine or container it is for. A path that is not here is looked for in the
folder by its last parts; the rest of it is then where the folder will lie there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from sightline.deploy.doctor.galleries import GalleryFacts
from sightline.deploy.doctor.labels import Labels, read_labels
from sightline.deploy.doctor.model import Model, read_model
from sightline.deploy.doctor.nvinfer import NvinferConfig
from sightline.deploy.doctor.pipelines import Pipeline
from sightline.deploy.doctor.rules import Finding
from sightline.deploy.doctor.scripts import Script, Trtexec
from sightline.deploy.doctor.tracker import TrackerConfig
from sightline.errors import ConfigError
from sightline.files import is_regular_file


@dataclass(frozen=True)
class Circumstances:
    """What the files cannot say."""

    deepstream: tuple[int, int] = (8, 0)
    people: int = 2  # at once in one stream; one at a time is no scene
    streams: int = 1
    root: PurePosixPath | None = None  # where the folder will lie, where it is copied to


@dataclass
class Site:
    """Filled by `collect`, and asked only then. Models are read when somebody asks for them, and once."""

    circumstances: Circumstances
    folder: Path | None = None
    files: tuple[Path, ...] = ()
    configs: list[NvinferConfig] = field(default_factory=list)
    trackers: list[TrackerConfig] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    galleries: list[GalleryFacts] = field(default_factory=list)
    pipelines: list[Pipeline] = field(default_factory=list)
    scripts: list[Script] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)
    models: dict[Path, Model] = field(default_factory=dict)

    def model(self, path: Path | None) -> Model | None:
        """The model of that path, None where there is no such file."""
        here = None if path is None else self.located(path)
        if here is None:
            return None
        if here not in self.models:
            self.models[here] = read_model(here)
        return self.models[here]

    def located(self, path: Path) -> Path | None:
        """The file a path means on this machine."""
        if is_regular_file_named(path):
            return path
        inside = None if self.root is None else _below(path, self.root)
        if self.folder is not None and inside is not None and is_regular_file_named(self.folder / inside):
            return self.folder / inside
        return None

    @cached_property
    def root(self) -> PurePosixPath | None:
        """Where the folder will lie: as the user says, or as most of the paths agree that lead nowhere here."""
        if self.circumstances.root is not None or self.folder is None:
            return self.circumstances.root
        votes: dict[PurePosixPath, int] = {}
        for path in self.named_paths():
            if not is_regular_file_named(path) and (root := self._root_by(path)):
                votes[root] = votes.get(root, 0) + 1
        return max(votes, key=lambda root: (votes[root], str(root)), default=None)

    def _root_by(self, path: Path) -> PurePosixPath | None:
        """What is left of a path without the longest end of it that is a file of the folder."""
        if (
            self.folder is None
            or path.is_relative_to(self.folder.absolute())
            or path.is_relative_to(self.folder.resolve())
        ):
            return None  # meant for this very place, and not there
        parts = PurePosixPath(path).parts
        for start in range(1, len(parts)):
            if is_regular_file_named(self.folder.joinpath(*parts[start:])):
                return PurePosixPath(*parts[:start])
        return None

    def named_paths(self) -> Iterator[Path]:
        """The files that configurations name, as absolute paths."""
        for config in self.configs:
            yield from filter(None, map(config.file, ("onnx-file", "model-engine-file", "labelfile-path")))
        for tracker in self.trackers:
            yield from filter(None, map(tracker.file, ("onnxFile", "modelEngineFile")))

    def used_by_detectors(self) -> set[Path]:
        named = (config.file("onnx-file") for config in self.configs if not self.is_reid(config))
        return {here for path in named if path and (here := self.located(path))}

    def used_for_reid(self) -> set[Path]:
        named = [config.file("onnx-file") for config in self.reid_configs]
        named += [tracker.file("onnxFile") for tracker in self.trackers if tracker.embeds]
        return {here for path in named if path and (here := self.located(path))}

    def is_reid(self, config: NvinferConfig) -> bool:
        return any(one is config for one in self.reid_configs)

    @cached_property
    def reid_configs(self) -> list[NvinferConfig]:
        return [config for config in self.configs if self._embeds_people(config)]

    def _embeds_people(self, config: NvinferConfig) -> bool:
        """Whether it is meant to embed people: by its model's card, by what it says of itself, or by exclusion."""
        model = self.model(config.file("onnx-file"))
        if model is not None and model.is_of_people:
            return True
        if config.is_detector:
            return False
        if config.sounds_like_reid:
            return True
        primary = config.integer("process-mode") == 1 and config.integer("network-type") == 0
        return bool(config.values) and not config.is_classifier and not primary

    @cached_property
    def detectors(self) -> list[NvinferConfig]:
        return [config for config in self.configs if config.is_detector and not self.is_reid(config)]

    def detector_of(self, config: NvinferConfig) -> NvinferConfig | None:
        """The one whose people it is given: by number, or the only one there is."""
        wanted = config.integer("operate-on-gie-id")
        named = [found for found in self.detectors if found.integer("gie-unique-id") == wanted]
        candidates = named or (self.detectors if wanted == -1 else [])
        return candidates[0] if len({found.path.stem for found in candidates}) == 1 else None

    def labels_for(self, config: NvinferConfig) -> Labels | None:
        """Of its detector; without one, the only label file there is."""
        detector = self.detector_of(config)
        path = None if detector is None else detector.file("labelfile-path")
        here = None if path is None else self.located(path)
        if here is not None:
            try:
                return read_labels(here)
            except ConfigError:  # reported where the detector names it
                return None
        return self.labels[0] if detector is None and len(self.labels) == 1 else None

    def engine_builds(self) -> Iterator[Trtexec]:
        for script in self.scripts:
            yield from script.trtexec

    def embedder(self) -> Model | None:
        """The one model whose vectors this deployment makes."""
        used = sorted(self.used_for_reid())
        candidates = used or sorted(set(self.models) - self.used_by_detectors())
        models = [model for path in candidates if (model := self.model(path)) and model.dim is not None]
        return models[0] if len(models) == 1 else None


def is_regular_file_named(path: Path) -> bool:
    """False also for a name that no system looks up, such as one with a NUL."""
    try:
        return is_regular_file(path)
    except ValueError:
        return False


def _below(path: Path, root: PurePosixPath) -> PurePosixPath | None:
    try:
        return PurePosixPath(path).relative_to(root)
    except ValueError:
        return None
