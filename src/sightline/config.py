"""Configuration: YAML, `${…}` and `key=value`, checked against a dataclass, as a frozen value.

OmegaConf does the reading, because `${name}` is its syntax and it catches unknown keys, wrong types and circles.
Nothing outside this module sees it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from sightline.errors import ConfigError
from sightline.files import replacing

Schema = TypeVar("Schema")

_SECTIONS = "the sections of the file"
# A ValueError is a file that is not UTF-8, a RecursionError one that nests a thousand levels deep.
_NO_YAML = (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException)


def load_config(schema: type[Schema], path: Path | None = None, *, overrides: Sequence[str] = ()) -> Schema:
    """An instance of the dataclass `schema`: its defaults, then the file, then `key=value` overrides in turn.

    Raises `ConfigError` naming the file or override, the key, and the nearest key for a misspelt one.
    """
    layers = {} if path is None else {str(path): _read(path)}
    config = OmegaConf.structured(schema)
    for origin, layer in (*layers.items(), *((override, _parsed(override)) for override in overrides)):
        config = _merged(config, layer, schema=schema, origin=origin)
    try:
        return cast(Schema, OmegaConf.to_object(config))
    except OmegaConfBaseException as exc:
        raise ConfigError(f"{', '.join([*layers, *overrides]) or schema.__name__}: {_reason(exc)}") from exc


def save_config(config: object, path: Path) -> None:
    """Write a resolved configuration as YAML, which `load_config` reads back equal."""
    values = OmegaConf.create(_escaped(asdict(cast(Any, config))))
    with replacing(path) as temporary:
        temporary.write_text(OmegaConf.to_yaml(values), encoding="utf-8")


def _escaped(value: Any) -> Any:
    """The value with each `${` in its texts written so that it is read back as it is, and not as a reference."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, (list, tuple)) else value


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
        # The sections hang where no `${…}` can name them, so that none hides a variable of its own name.
        root = OmegaConf.create({**sections, **shared, _SECTIONS: sections})
        resolved = cast(dict[Any, Any], OmegaConf.to_container(root[_SECTIONS], resolve=True))
    except OmegaConfBaseException as exc:
        raise ConfigError(f"{path}: {_reason(exc).removeprefix(f'{_SECTIONS}.')}") from exc
    return {str(name): section for name, section in resolved.items()}


def _read(path: Path) -> DictConfig:
    try:
        config = OmegaConf.load(path)
    except FileNotFoundError as exc:
        raise ConfigError(f"configuration not found: {path}") from exc
    except _NO_YAML as exc:
        raise ConfigError(f"{path} cannot be read as YAML: {_on_one_line(exc)}") from exc
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{path} holds a list; expected `key: value` lines")
    return config


def _on_one_line(exc: BaseException) -> str:
    """What the YAML parser says, its positions included, but not the nodes OmegaConf adds."""
    return " ".join(str(exc).partition("full_key:")[0].split())


def _parsed(override: str) -> DictConfig:
    key, separator, _ = override.partition("=")
    if not separator or not re.fullmatch(r"[A-Za-z_][\w.]*", key):
        raise ConfigError(f"override {override!r} is not key=value, e.g. train.epochs=80")
    try:
        return OmegaConf.from_dotlist([override])
    except _NO_YAML as exc:
        what = f"override {override!r} has a value that is not YAML"
        raise ConfigError(f"{what}: {_on_one_line(exc)}; put it in quotes") from exc


def _merged(config: DictConfig, layer: DictConfig, *, schema: type[object], origin: str) -> DictConfig:
    try:
        return cast(DictConfig, OmegaConf.merge(config, layer))
    except ConfigKeyError as exc:
        raise ConfigError(f"{origin}: {_unknown_key(exc, schema)}") from exc
    except (OmegaConfBaseException, TypeError) as exc:  # a TypeError: a list or a text where a section belongs
        raise ConfigError(f"{origin}: {_reason(exc, _culprit(config, layer))}") from exc


def _culprit(config: DictConfig, layer: DictConfig, *, prefix: str = "") -> str:
    """The first key of `layer`, in full, that does not fit: OmegaConf does not always say which."""
    for key, value in layer.items_ex(resolve=False):
        try:
            OmegaConf.merge(config, {key: value})
        except (OmegaConfBaseException, TypeError):
            name = str(key)
            if isinstance(value, DictConfig) and is_dataclass(OmegaConf.get_type(config, name)):
                return _culprit(config[name], value, prefix=f"{prefix}{name}.")
            return prefix + name
    return prefix.removesuffix(".")


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


def _reason(exc: Exception, key: str = "") -> str:
    """The first line of what OmegaConf says, behind the key it is about."""
    where = key or getattr(exc, "full_key", None)
    what = str(exc).strip().partition("\n")[0].replace("'$VALUE' of type '$VALUE_TYPE'", "in it")
    return f"{where}: {what}" if where else what
