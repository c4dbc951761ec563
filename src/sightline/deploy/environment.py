"""What this machine can run: each backend, its version, its devices, and what to install for the rest."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import cv2

from sightline._version import __version__
from sightline.errors import BackendError
from sightline.runtime.backend import available_cores
from sightline.runtime.open import BACKENDS, backend_named

State = Literal["ok", "absent", "broken"]


@dataclass(frozen=True)
class Finding:
    """One line of the report: a part, whether it works, what it has, and what to do where it does not."""

    part: str
    state: State
    detail: str
    advice: str = ""


def examine() -> list[Finding]:
    """Everything sightline might use here. Nothing is installed, downloaded or changed."""
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    cores = f"{available_cores()} cores for this process"
    return [
        Finding("sightline", "ok", __version__),
        Finding("python", "ok", python),
        Finding("processor", "ok", cores),
        *(_backend(name) for name in BACKENDS if name != "untrained"),
        Finding("opencv", "ok", f"{cv2.__version__}, for resizing images"),
        *(_package(name, purpose) for name, purpose in FOR_EXPORT.items()),
    ]


FOR_EXPORT = {"onnx": "writing and simplifying ONNX files", "onnxslim": "simplifying ONNX files"}


def _backend(name: str) -> Finding:
    reason = backend_named(name).missing()
    if reason:
        what, _, advice = reason.partition(": ")
        return Finding(name, "absent", what, advice)
    try:
        return Finding(name, "ok", DETAILS[name]())
    except (ImportError, OSError, RuntimeError, BackendError) as exc:
        return Finding(name, "broken", f"installed, but does not start: {exc}", f"reinstall {name}")


def _onnxruntime() -> str:
    import onnxruntime

    providers = ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())
    return f"{onnxruntime.__version__}, providers {providers}"


def _openvino() -> str:
    from sightline.runtime.openvino import core

    devices = (f"{name} ({core().get_property(name, 'FULL_DEVICE_NAME').strip()})" for name in core().available_devices)
    return f"{version('openvino')}, devices {', '.join(devices)}"


def _tensorrt() -> str:
    import tensorrt

    return str(tensorrt.__version__)


def _torch() -> str:
    import torch

    cuda = f"CUDA {torch.version.cuda}, {torch.cuda.device_count()} GPUs" if torch.cuda.is_available() else "no CUDA"
    return f"{torch.__version__}, {cuda}, {torch.get_num_threads()} threads"


DETAILS: dict[str, Callable[[], str]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
    "torch": _torch,
}


def _package(distribution: str, purpose: str) -> Finding:
    try:
        return Finding(distribution, "ok", f"{version(distribution)}, for {purpose}")
    except PackageNotFoundError:
        return Finding(distribution, "absent", f"not installed, for {purpose}", "pip install 'sightline[export]'")


def can_run_models(findings: list[Finding]) -> bool:
    """Whether any backend works at all."""
    return any(finding.state == "ok" for finding in findings if finding.part in DETAILS)
