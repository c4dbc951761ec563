"""Configuration: YAML, `${…}` and `key=value`, checked against a dataclass, as a frozen value.

OmegaConf does the reading, because `${name}` is its syntax and it catches unknown keys, wrong types and circles.
Nothing outside this module sees it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException, ValidationError
from yaml import YAMLError

from sightline.errors import ConfigError
from sightline.files import replacing

Schema = TypeVar("Schema")


def load_config(schema: type[Schema], path: Path | None = None, *, overrides: Sequence[str] = ()) -> Schema:
    """An instance of the dataclass `schema`: its defaults, then the file, then `key=value` overrides in turn.

    Raises `ConfigError` naming the file or override, the key, and the nearest key for a misspelt one.
    """
    config = OmegaConf.structured(schema)
    if path is not None:
        config = _merged(config, _read(path), schema=schema, origin=str(path))
    for override in overrides:
        config = _merged(config, _parsed(override), schema=schema, origin=override)
    try:
        return cast(Schema, OmegaConf.to_object(config))
    except OmegaConfBaseException as exc:
        raise ConfigError(f"{path or 'overrides'}: {_first_line(exc)}") from exc


def save_config(config: object, path: Path) -> None:
    """Write a resolved configuration as YAML, which `load_config` reads back equal."""
    with replacing(path) as temporary:
        temporary.write_text(OmegaConf.to_yaml(OmegaConf.structured(config), resolve=True), encoding="utf-8")


def load_sections(path: Path, *, variables: str = "global") -> Mapping[str, Any]:
    """A pipeline file of many stages as plain dicts, each `${name}` taken from its `variables` section, repeatedly.

    For files whose stages are read one by one and whose other stages are not ours to judge. A name that is nowhere, and
    names that refer to each other in a circle, are `ConfigError`s.
    """
    sections = cast(dict[str, Any], OmegaConf.to_container(_read(path), resolve=False))
    shared = sections.get(variables) or {}
    if not isinstance(shared, dict):
        raise ConfigError(f"{path}: {variables} is {shared!r}; expected `name: value` lines")
    try:
        resolved = OmegaConf.to_container(OmegaConf.create({**shared, **sections}), resolve=True)
    except OmegaConfBaseException as exc:
        raise ConfigError(f"{path}: {_first_line(exc)}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{path}: names in ${{…}} refer to each other in a circle") from exc
    return {str(key): value for key, value in cast(dict[str, Any], resolved).items() if key in sections}


def _read(path: Path) -> DictConfig:
    try:
        config = OmegaConf.load(path)
    except FileNotFoundError as exc:
        raise ConfigError(f"configuration not found: {path}") from exc
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as exc:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{path} holds a list; expected `key: value` lines")
    return config


def _parsed(override: str) -> DictConfig:
    key, separator, _ = override.partition("=")
    if not separator or not re.fullmatch(r"[A-Za-z_][\w.]*", key):
        raise ConfigError(f"override {override!r} is not key=value, e.g. train.epochs=80")
    return OmegaConf.from_dotlist([override])


def _merged(config: DictConfig, layer: DictConfig, *, schema: type[object], origin: str) -> DictConfig:
    try:
        return cast(DictConfig, OmegaConf.merge(config, layer))
    except ConfigKeyError as exc:
        raise ConfigError(f"{origin}: {_unknown_key(exc, schema)}") from exc
    except ValidationError as exc:
        raise ConfigError(f"{origin}: {exc.full_key}: {_first_line(exc)}") from exc
    except OmegaConfBaseException as exc:
        raise ConfigError(f"{origin}: {_first_line(exc)}") from exc


def _unknown_key(exc: ConfigKeyError, schema: type[object]) -> str:
    key = exc.full_key or str(exc.key)
    nearest = difflib.get_close_matches(key, list(_keys(schema)), n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"unknown key {key!r}{hint}"


def _keys(schema: type[object], prefix: str = "") -> Iterator[str]:
    """Every key of a schema in full, `train.epochs`."""
    hints = get_type_hints(schema)
    for field in fields(schema):  # type: ignore[arg-type]  # a dataclass, or OmegaConf would have refused it
        yield prefix + field.name
        if is_dataclass(hints[field.name]):
            yield from _keys(cast(type[object], hints[field.name]), f"{prefix}{field.name}.")


def _first_line(exc: Exception) -> str:
    return str(exc).strip().splitlines()[0]
