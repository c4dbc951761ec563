"""`deployment.json`: what a generated DeepStream folder was generated for, so that its parts cannot disagree."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sightline.errors import ConfigError
from sightline.pipeline.probe.records import Wanted

FILE_NAME = "deployment.json"


@dataclass(frozen=True)
class Deployment:
    """The facts a probe needs beside the model's own card."""

    model: Path  # the ONNX file the engine is built from; its card knows fingerprint and threshold
    gie_id: int
    layer: str
    dim: int
    person_classes: tuple[int, ...]
    canvas_wh: tuple[int, int]  # of the muxer
    pgie_config: Path
    sgie_config: Path
    tracker_config: Path
    tracker_reid_config: Path

    @classmethod
    def read(cls, path: Path) -> Deployment:
        """Relative paths in it are seen from its folder. Raises `ConfigError` naming what is wrong."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as exc:
            raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
        except ValueError as exc:
            raise ConfigError(f"{path} is no JSON ({exc}); write it again with `sightline deepstream init`") from exc
        return cls._of(content, path)

    @classmethod
    def _of(cls, content: Any, path: Path) -> Deployment:
        known = [field.name for field in fields(cls)]
        if not isinstance(content, dict) or set(known) - content.keys():
            absent = sorted(set(known) - content.keys()) if isinstance(content, dict) else known
            raise ConfigError(f"{path} lacks {', '.join(absent)}; write it again with `sightline deepstream init`")
        try:
            return cls(**{name: _READ[name](content[name], path.parent) for name in known})
        except (TypeError, ValueError) as exc:
            raise ConfigError(f"{path}: {exc}; write it again with `sightline deepstream init`") from exc

    def wanted(self, *, by_tracker: bool = False) -> Wanted:
        return Wanted(self.gie_id, self.layer, frozenset(self.person_classes), by_tracker)


def _path(value: Any, folder: Path) -> Path:
    return folder / str(value)


def _whole(value: Any, folder: Path) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _wholes(value: Any, folder: Path) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{value!r} is not a list of whole numbers")
    return tuple(_whole(one, folder) for one in value)


def _pair(value: Any, folder: Path) -> tuple[int, ...]:
    found = _wholes(value, folder)
    if len(found) != 2 or min(found) < 1:
        raise ValueError(f"{value!r} is not two whole numbers above 0")
    return found


_READ: dict[str, Any] = {
    "model": _path,
    "gie_id": _whole,
    "layer": lambda value, folder: str(value),
    "dim": _whole,
    "person_classes": _wholes,
    "canvas_wh": _pair,
    "pgie_config": _path,
    "sgie_config": _path,
    "tracker_config": _path,
    "tracker_reid_config": _path,
}
