"""ONNX Runtime: the default, on whichever execution provider the device asks for and the wheel has."""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from sightline.card import ModelCard
from sightline.errors import BackendError, ModelFormatError
from sightline.onnx_file import OnnxFile, read_onnx, require_whole
from sightline.runtime.backend import Request, missing_package, require_precision, split_device
from sightline.runtime.cards import card_of_onnx
from sightline.runtime.session import Engine, Feeds
from sightline.types import Array, TensorSpec

if TYPE_CHECKING:
    import onnxruntime

CPU = "CPUExecutionProvider"
PROVIDERS = {  # of each device, in the order they are asked for; CPU comes last for the operators the others lack
    "cpu": (CPU,),
    "cuda": ("CUDAExecutionProvider", CPU),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", CPU),
    "ascend": ("CANNExecutionProvider", CPU),
    "openvino": ("OpenVINOExecutionProvider", CPU),
    "coreml": ("CoreMLExecutionProvider", CPU),
    "directml": ("DmlExecutionProvider", CPU),
}
# "auto" takes the first of these that is there. Not TensorRT (builds for minutes) nor CoreML (may halve the precision).
AUTO = ("cuda", "ascend", "directml", "cpu")
INDEXED = frozenset({"cuda", "tensorrt", "ascend"})  # devices of which a machine may have several
CPU_CHUNK = 4  # larger batches leave the cache: docs/benchmarks.md
ACCELERATOR_CHUNK = 64

CALLS_BEFORE_TRIAL = 8
RUNS_PER_TRIAL = 7
DRAWS = 3
TOO_LONG_TO_MATTER_S = 0.01
TOO_LONG_TO_REPEAT_S = 0.05  # seven passes of a heavy network would be a stall that nobody gets back


def missing() -> str:
    return missing_package("onnxruntime", "onnxruntime")


def open_model(path: Path, request: Request) -> tuple[Engine, ModelCard]:
    file = read_onnx(path)
    require_whole(file)
    return OnnxRuntimeEngine(file, request), card_of_onnx(file, request.claims)


def choose_device(device: str, available: list[str]) -> tuple[str, int]:
    """The device to ask for: the one named, or for "auto" the first of `AUTO` whose provider is there."""
    if device != "auto":
        return split_device(device)
    return next(kind for kind in AUTO if PROVIDERS[kind][0] in available or kind == "cpu"), 0


class OnnxRuntimeEngine:
    """One model in ONNX Runtime.

    On the CPU there are two sessions over the same file, each made when first needed: `run` uses one with all
    threads inside an operator, which answers soonest; lanes share one with a single thread per call, which together
    answer most.

    For a network of a millisecond the session with all threads is a lottery: depending on where its threads happen to
    land it runs, for its whole life, either faster than one thread or half as fast again (docs/log.md). So once it has
    been called often enough for that to matter, it is timed, and drawn again or given up for one thread if it lost. A
    heavy network is left alone: threads pay there, and timing it over and over would cost seconds.
    """

    def __init__(self, file: OnnxFile, request: Request) -> None:
        import onnxruntime

        self._available = onnxruntime.get_available_providers()
        if not self._available:
            raise BackendError("No ONNX Runtime execution providers available")
        self._file = file
        self._threads = request.thread_count
        self._kind, self._index = choose_device(request.device, self._available)
        kind = self._kind_had()
        self.device = f"{kind}:{self._index}" if kind in INDEXED else kind
        self.fell_back = "" if kind == self._kind or request.device == "auto" else self._why_not_had()
        self.precision = require_precision(
            request, (_precision(file),), "a file runs in the precision it was written in: quantise it, or use openvino"
        )
        self.inputs, self.outputs = self._declared()
        self.lanes = self._threads if kind == "cpu" else 1
        self._calls = 0
        self.chunk = CPU_CHUNK if kind == "cpu" else ACCELERATOR_CHUNK

    def run(self, feeds: Feeds) -> dict[str, Array]:
        if self.lanes == 1:
            return self._run(self._lane, feeds)
        self._calls += 1
        if self._calls != CALLS_BEFORE_TRIAL:
            return self._run(self._whole, feeds)
        answer, took_s = self._timed(self._whole, feeds)
        if took_s <= TOO_LONG_TO_REPEAT_S:
            self._whole = self._soonest(feeds)
        else:
            self._calls -= 1  # the next call is timed again: one alone may have met a busy machine
        return answer

    def run_lane(self, feeds: Feeds) -> dict[str, Array]:
        return self._run(self._lane, feeds)

    def close(self) -> None:
        self.__dict__.pop("_whole", None)
        self.__dict__.pop("_lane", None)

    @cached_property
    def _whole(self) -> onnxruntime.InferenceSession:
        return self._create(self._threads)

    @cached_property
    def _lane(self) -> onnxruntime.InferenceSession:
        return self._create(1)

    def _soonest(self, feeds: Feeds) -> onnxruntime.InferenceSession:
        """The session that answers this feed soonest: the one with all threads, a new draw of it, or one thread."""
        alone_s = self._typical_s(self._lane, feeds)
        candidate = self._whole
        for _ in range(DRAWS):
            if alone_s > TOO_LONG_TO_MATTER_S or self._typical_s(candidate, feeds) < alone_s:
                return candidate
            candidate = self._create(self._threads)
        return self._lane

    def _typical_s(self, session: onnxruntime.InferenceSession, feeds: Feeds) -> float:
        """The median time of a few runs, in seconds; of a single one where that is long, and so hardly varies."""
        times_s: list[float] = []
        while len(times_s) < RUNS_PER_TRIAL and (not times_s or times_s[0] <= TOO_LONG_TO_REPEAT_S):
            times_s.append(self._timed(session, feeds)[1])
        return median(times_s)

    def _timed(self, session: onnxruntime.InferenceSession, feeds: Feeds) -> tuple[dict[str, Array], float]:
        started = time.perf_counter()
        answer = self._run(session, feeds)
        return answer, time.perf_counter() - started

    def _create(self, threads: int) -> onnxruntime.InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # To plan one block for all tensors takes a third more memory for a full-width TrackNet, and saves no time here.
        options.enable_mem_pattern = False
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # what it would warn of is either raised or not for users
        try:
            return onnxruntime.InferenceSession(str(self._file.path), options, providers=self._providers())
        except _errors() as exc:
            raise ModelFormatError(f"{self._file.path}: onnxruntime cannot load it: {_first_line(exc)}") from exc

    def _providers(self) -> list[str | tuple[str, dict[str, int]]]:
        present = (name for name in PROVIDERS[self._kind] if name in self._available)
        indexed = self._kind in INDEXED
        return [(name, {"device_id": self._index}) if indexed and name != CPU else name for name in present]

    def _kind_had(self) -> str:
        """The device of the provider that was really got: ONNX Runtime drops one it cannot start without raising."""
        first = self._lane.get_providers()[0]
        return next((kind for kind, providers in PROVIDERS.items() if providers[0] == first), first)

    def _why_not_had(self) -> str:
        provider = PROVIDERS[self._kind][0]
        if provider in self._available:
            return f"{provider} could not be started, see what it wrote above"
        return f"this onnxruntime has {', '.join(self._available)}, not {provider}"

    def _declared(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """What the session takes and gives. Creating it here is what makes a model it cannot run fail at once."""
        session = self._lane
        known = {spec.name: spec for spec in (*self._file.inputs, *self._file.outputs)}
        inputs = tuple(known[node.name] for node in session.get_inputs())
        return inputs, tuple(known[node.name] for node in session.get_outputs())

    def _run(self, session: onnxruntime.InferenceSession, feeds: Feeds) -> dict[str, Array]:
        names = [spec.name for spec in self.outputs]
        try:
            return dict(zip(names, session.run(names, dict(feeds)), strict=True))
        except _errors() as exc:
            raise BackendError(f"{self._file.path}: onnxruntime failed to run it: {_first_line(exc)}") from exc


def _precision(file: OnnxFile) -> str:
    if file.op_counts.get("QuantizeLinear") or file.op_counts.get("QLinearConv"):
        return "int8"
    return "float16" if any(spec.dtype == "float16" for spec in file.outputs) else "float32"


def _errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: a dozen classes whose only common base is `Exception`."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))


def _first_line(exc: Exception) -> str:
    return str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
