"""What a backend module offers, and what it is asked for.

Every module named in `open.BACKENDS` has two functions: `missing()`, the reason it cannot run here or an empty string,
and `open_model(path, request)`, an engine and the card of what it opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from sightline.card import ModelCard
from sightline.errors import BackendError
from sightline.runtime.cards import NO_CLAIMS, Claims
from sightline.runtime.session import Engine

# What a caller may ask any backend for. One that a backend cannot serve is a fallback, not an error.
DEVICES = ("cpu", "cuda", "tensorrt", "ascend", "openvino", "coreml", "directml")


@dataclass(frozen=True)
class Request:
    """How the caller wants a model opened."""

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    fallback: bool = True  # whether another device than the one asked for will do
    claims: Claims = NO_CLAIMS
    seed: int = 0
    allow_pickle: bool = False

    @property
    def thread_count(self) -> int:
        return self.threads or available_cores()


class Backend(Protocol):
    """The two functions of a backend module."""

    @staticmethod
    def missing() -> str: ...

    @staticmethod
    def open_model(path: Path, request: Request) -> tuple[Engine, ModelCard]: ...


def available_cores() -> int:
    """The cores this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def missing_package(module: str, install: str) -> str:
    """Why a backend cannot be used when its library is absent; looks, and imports nothing."""
    return "" if find_spec(module) is not None else f"{module} is not installed: pip install {install}"


def split_device(device: str, *, also: Iterable[str] = ()) -> tuple[str, int]:
    """("cuda", 1) for "cuda:1". Raises `BackendError` for a name neither in `DEVICES` nor in `also`."""
    known = dict.fromkeys((*DEVICES, *also))
    kind, _, index = device.partition(":")
    if kind not in known or not (index == "" or index.isdecimal()):
        raise BackendError(f"unknown device {device!r}; expected auto, {', '.join(known)}, or e.g. cuda:1")
    return kind, int(index or 0)


def require_precision(request: Request, offered: tuple[str, ...], advice: str) -> str:
    """The precision to run in: the one asked for when offered, the first offered for "auto"."""
    if request.precision == "auto":
        return offered[0]
    if request.precision not in offered:
        raise BackendError(f"precision {request.precision!r} cannot be had here, only {', '.join(offered)}; {advice}")
    return request.precision
