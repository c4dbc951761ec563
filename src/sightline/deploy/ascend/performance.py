"""How fast it was, in the words and files of the benchmark tool.

A latency there is that of one sample: a batch's time over its size. Both figures are means over the rounds, of rates
and of latencies, so their product is a little above one second.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline.errors import ConfigError
from sightline.files import replacing

STAND_IN = "sightline's stand-in"
_MEASURED_BY = "[INFO] measured by "
_PURE_NAME = re.compile(r"PureInfer_perf_of_(?P<model>.+?)_bs(?P<batch>\d+)(?:_.*)?_in_device_\d+\.txt")
_VISION_NAME = re.compile(r"perf_vision_batchsize_(?P<batch>\d+)_device_\d+\.txt")
_AVERAGES = re.compile(
    r"ave_throughputRate\s*[:=]\s*([\d.eE+-]+)\s*samples/s,\s*ave_latency\s*[:=]\s*([\d.eE+-]+)\s*ms"
)
_INTERFACE = re.compile(r"Interface throughputRate\s*:\s*([\d.eE+-]+)")


@dataclass(frozen=True)
class PureInfer:
    """Rounds of one batch of noise."""

    throughput: float  # samples/s, mean of the rounds' rates
    latency_ms: float  # of a sample, mean over the rounds
    measured_by: str = ""  # empty: the benchmark tool, on a device

    @property
    def by_stand_in(self) -> bool:
        return self.measured_by.startswith(STAND_IN)


def averages(costs_ms: Sequence[float], *, batch: int, measured_by: str = "") -> PureInfer:
    """Of the times of some rounds."""
    costs = np.array(costs_ms, np.float64)
    return PureInfer(float(np.mean(batch * 1000 / costs)), float(np.mean(costs / batch)), measured_by)


def pure_file(work: Path, model: Path, device_id: int) -> Path:
    return work / "result" / f"PureInfer_perf_of_{model.stem}_in_device_{device_id}.txt"


def vision_file(work: Path, batch: int, device_id: int) -> Path:
    return work / "result" / f"perf_vision_batchsize_{batch}_device_{device_id}.txt"


def round_lines(costs_ms: Sequence[float]) -> list[str]:
    """Of the rounds, the last, as the guide shows it; they count from 0."""
    return [f"[INFO] Dataset number: {len(costs_ms) - 1} finished cost {costs_ms[-1]:.6g}ms"] if costs_ms else []


def summary_lines(found: PureInfer, saved: Path) -> list[str]:
    """What the benchmark tool prints at the end, and who measured it where it was not that tool."""
    return [
        f"[INFO] PureInfer result saved in {saved}",
        "-----------------PureInfer Performance Summary------------------",
        f"[INFO] ave_throughputRate: {found.throughput:.6g}samples/s, ave_latency: {found.latency_ms:.6g}ms",
        *_signature(found.measured_by),
    ]


def _signature(measured_by: str) -> list[str]:
    return [_MEASURED_BY + measured_by] if measured_by else []


def write_pure(found: PureInfer, target: Path) -> None:
    """In the tool's form; the guide's scripts look for the first `=`."""
    averaged = f"ave_throughputRate = {found.throughput:.6g}samples/s, ave_latency = {found.latency_ms:.6g}ms"
    _write([averaged, *_signature(found.measured_by)], target)


def read_pure(path: Path) -> PureInfer:
    """Of a file, whichever version of the tool wrote it. Raises `ConfigError` for anything else."""
    text = _text(path)
    said = _AVERAGES.search(text)
    if said is None:
        raise ConfigError(f"{path} holds no ave_throughputRate and ave_latency; expected what benchmark -round=… wrote")
    return PureInfer(float(said[1]), float(said[2]), _measured_by(text))


@dataclass(frozen=True)
class Spent:
    """Seconds that each part of a run over a data set took, and the images it ran."""

    images: int
    total_s: float
    read_s: float
    join_s: float  # files into a batch: all that is left of preprocessing
    infer_s: float  # feeding and running
    interface_s: float  # running alone
    post_s: float  # writing dumps


def write_vision(spent: Spent, target: Path, *, measured_by: str) -> None:
    """The five lines of the tool. Its total latency is in milliseconds, that of the parts is per sample."""
    images = spent.images
    interface = f"Interface throughputRate: {_rate(images, spent.interface_s):.6g}"
    _write(
        [
            f"[e2e] throughputRate: {_rate(images, spent.total_s):.6g}, latency: {spent.total_s * 1000:.6g}",
            f"[data read] {_module(images, spent.read_s)}",
            f"[preprocess] {_module(images, spent.join_s)}",
            f"[infer] {_module(images, spent.infer_s, interface)}",
            f"[post] {_module(images, spent.post_s)}",
            *_signature(measured_by),
        ],
        target,
    )


def _module(images: int, seconds: float, *between: str) -> str:
    each_ms = seconds * 1000 / max(images, 1)
    return ", ".join([f"throughputRate: {_rate(images, seconds):.6g}", *between, f"moduleLatency: {each_ms:.6g}"])


def _rate(images: int, seconds: float) -> float:
    return images / max(seconds, 1e-9)


def read_interface(path: Path) -> tuple[float, str]:
    """Samples/s of the interface over a data set, and who measured it (empty: the benchmark tool)."""
    text = _text(path)
    said = _INTERFACE.search(text)
    if said is None:
        raise ConfigError(f"{path} holds no Interface throughputRate; expected what benchmark -model_type=vision wrote")
    return float(said[1]), _measured_by(text)


def pure_files(folder: Path, *, model: str = "") -> dict[int, list[Path]]:
    """The PureInfer files of a result folder by batch size, as their models' names tell it.

    Raises `ConfigError` where they are of several models and `model` does not say whose are meant.
    """
    found: dict[str, dict[int, list[Path]]] = {}
    for path in sorted(folder.glob("PureInfer_perf_of_*.txt")):
        named = _PURE_NAME.fullmatch(path.name)
        if named:
            found.setdefault(named["model"], {}).setdefault(int(named["batch"]), []).append(path)
    if model or not found:
        return found.get(model, {})
    if len(found) > 1:
        raise ConfigError(
            f"{folder} holds the speeds of {' and '.join(sorted(found))}; pass --model NAME for one of them"
        )
    return next(iter(found.values()))


def vision_files(folder: Path) -> dict[int, list[Path]]:
    """The data set files of a result folder by batch size, one a device."""
    found: dict[int, list[Path]] = {}
    for path in sorted(folder.glob("perf_vision_batchsize_*.txt")):
        named = _VISION_NAME.fullmatch(path.name)
        if named:
            found.setdefault(int(named["batch"]), []).append(path)
    return found


def _write(lines: Sequence[str], target: Path) -> None:
    with replacing(target) as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc


def _measured_by(text: str) -> str:
    lines = (line for line in text.splitlines() if line.startswith(_MEASURED_BY))
    return next((line.removeprefix(_MEASURED_BY) for line in lines), "")
