"""What the exporter of a detector wrote into its file. Ultralytics does; most others write nothing."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.errors import ModelFormatError
from sightline.files import model_kind
from sightline.onnx_file import read_onnx

LONGEST = 100_000  # characters of a list of class names; what is longer is no such list


@dataclass(frozen=True)
class Statement:
    """What a file says of itself; each part is empty where it says nothing."""

    task: str = ""
    names: tuple[str, ...] = ()  # of the classes, by number
    size_hw: tuple[int, int] | None = None
    licence: str = ""


def statement_of(path: Path) -> Statement:
    """Of an ONNX file; other kinds carry no such thing. Raises `ModelFormatError` for a task that is not detection."""
    if model_kind(path) != "onnx":
        return Statement()
    statement = read_statement(read_onnx(path).metadata)
    if statement.task not in {"", "detect"}:
        raise ModelFormatError(
            f"{path} says its task is {statement.task!r}; expected a detector, whose task is 'detect': "
            "export the plain detection model of that family"
        )
    return statement


def read_statement(metadata: Mapping[str, str]) -> Statement:
    """Parts that do not read as what they should be count as not said."""
    return Statement(
        metadata.get("task", ""),
        _names(_literal(metadata.get("names", ""))),
        _size(_literal(metadata.get("imgsz", ""))),
        metadata.get("license", ""),
    )


def _literal(text: str) -> Any:
    """Python as its `repr` wrote it. Nothing is run, and nothing of absurd length or depth is tried."""
    try:
        return ast.literal_eval(text) if 0 < len(text) <= LONGEST else None
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _names(value: Any) -> tuple[str, ...]:
    """From a list, or from a dict of all numbers from 0."""
    if isinstance(value, dict) and set(value) == set(range(len(value))):
        value = [value[number] for number in range(len(value))]
    is_list = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return tuple(value) if is_list else ()


def _size(value: Any) -> tuple[int, int] | None:
    is_size = isinstance(value, (list, tuple)) and len(value) == 2 and all(type(side) is int for side in value)
    return (value[0], value[1]) if is_size and min(value) > 0 else None
