"""Which configuration is meant: that of the network it names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from sightline.config import load_config
from sightline.errors import ConfigError
from sightline.training.ball.config import InpaintNetConfig, TrackNetConfig
from sightline.training.config import RunConfig, TrainingConfig, keys

BALL_SCHEMAS: Mapping[str, type[RunConfig]] = MappingProxyType(
    {"tracknet": TrackNetConfig, "inpaintnet": InpaintNetConfig}
)


def load_run_config(path: Path | None, *, overrides: Sequence[str]) -> RunConfig:
    """The file and the `section.key=value` overrides as the configuration of the network they name.

    Without a `model.arch` of the ball's it is one of re-identification. Raises `ConfigError`.
    """
    return load_config(_schema(path, overrides), path, overrides=overrides)


def all_keys() -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Every key of every configuration, with its section, and its default by the network it is of."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    schemas: dict[str, type[RunConfig]] = {"reid": TrainingConfig, **BALL_SCHEMAS}
    for name, schema in schemas.items():
        for key, (section, default) in keys(schema).items():
            found.setdefault(key, (section, {}))[1][name] = default
    return {key: (section, MappingProxyType(defaults)) for key, (section, defaults) in found.items()}


def _schema(path: Path | None, overrides: Sequence[str]) -> type[RunConfig]:
    arch = "" if path is None else _arch_in(path)
    said = [override.partition("=")[2] for override in overrides if override.startswith("model.arch=")]
    name = said[-1] if said else arch
    nearest = difflib.get_close_matches(name, BALL_SCHEMAS, n=1, cutoff=0.7)
    if nearest and name not in BALL_SCHEMAS:
        raise ConfigError(f"no network {name!r:.40}; did you mean {nearest[0]}?")
    return BALL_SCHEMAS.get(name, TrainingConfig)


def _arch_in(path: Path) -> str:
    """Empty where the file cannot be read: saying why is up to who reads it in earnest."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return ""
    model = content.get("model") if isinstance(content, dict) else None
    return str(model.get("arch", "")) if isinstance(model, dict) else ""
