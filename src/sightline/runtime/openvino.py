"""OpenVINO, natively: the fastest float32 on most CPUs, and bfloat16 where the CPU has it."""

from __future__ import annotations

import queue
import threading
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.card import CARD_KEY, ModelCard
from sightline.errors import BackendError, ModelFormatError
from sightline.onnx_file import read_onnx, require_whole
from sightline.runtime.backend import Request, missing_package, require_precision, split_device
from sightline.runtime.cards import card_of_graph, card_of_onnx, with_claims
from sightline.runtime.session import Engine, Feeds
from sightline.types import Array, TensorSpec

if TYPE_CHECKING:
    import openvino

TARGETS = {"auto": "CPU", "cpu": "CPU", "openvino": "CPU", "gpu": "GPU", "npu": "NPU"}
HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}  # always said: its own default is the CPU's choice
CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}  # without one, a hint is another precision
CHUNK = 4
LANES_PER_THREAD = 2  # a request waits for its turn while another is computed


def missing() -> str:
    return missing_package("openvino", "'sightline[openvino]'")


def open_model(path: Path, request: Request) -> tuple[Engine, ModelCard]:
    engine = OpenVinoEngine(path, request)
    if path.suffix.lower() == ".onnx":
        return engine, card_of_onnx(read_onnx(path), request.claims)
    return engine, with_claims(engine.card(), request.claims, origin=str(path))


@cache
def core() -> openvino.Core:
    """The one core of this process, kept to its end.

    The CPU plugin of a core exchanges the thread's alternate signal stack and puts the old one back when the core goes.
    Two cores that go in the order they came leave the thread on memory that is no longer there, and the next signal
    (Ctrl-C, a child that ends) kills the process.
    """
    import openvino

    return openvino.Core()


class OpenVinoEngine:
    """One model in OpenVINO, compiled twice when both are needed: for latency, and for throughput on several lanes."""

    def __init__(self, path: Path, request: Request) -> None:
        if path.suffix.lower() == ".onnx":
            require_whole(read_onnx(path))
        self._core = core()
        self._threads = request.thread_count
        self._target, self.fell_back = self._choose(request)
        self.precision = require_precision(request, self._precisions(), "another precision needs a quantised file")
        try:
            self._model = self._core.read_model(path)
        except RuntimeError as exc:
            raise ModelFormatError(f"{path}: openvino cannot load it: {_reason(exc)}") from exc
        self._path = path
        self._turn = threading.Lock()  # of `_latency`, which is one request
        self.inputs = tuple(_spec(port) for port in self._model.inputs)
        self.outputs = tuple(_spec(port) for port in self._model.outputs)
        self.device = self._target.lower()
        self.lanes = self._threads * LANES_PER_THREAD
        self.chunk = CHUNK

    def card(self) -> ModelCard:
        """The card an .xml file keeps in its runtime info, else one made of its graph."""
        if self._model.has_rt_info(CARD_KEY):
            return ModelCard.from_json(self._model.get_rt_info(CARD_KEY).astype(str), origin=str(self._path))
        return card_of_graph(self.inputs, self.outputs, fingerprint="")

    def run(self, feeds: Feeds) -> dict[str, Array]:
        with self._turn:
            return self._infer(self._latency, feeds)

    def run_lane(self, feeds: Feeds) -> dict[str, Array]:
        request = self._requests.get()
        try:
            return self._infer(request, feeds)
        finally:
            self._requests.put(request)

    def close(self) -> None:
        self.__dict__.pop("_latency", None)
        self.__dict__.pop("_requests", None)

    @cached_property
    def _latency(self) -> openvino.InferRequest:
        return self._compiled({"PERFORMANCE_HINT": "LATENCY"}).create_infer_request()

    @cached_property
    def _requests(self) -> queue.SimpleQueue[openvino.InferRequest]:
        compiled = self._compiled({"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(self._threads)})
        requests: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        for _ in range(self.lanes):
            requests.put(compiled.create_infer_request())
        return requests

    def _compiled(self, hints: dict[str, str]) -> openvino.CompiledModel:
        settings = {"INFERENCE_PRECISION_HINT": HINTS[self.precision], **hints}
        if self._target == "CPU":
            settings["INFERENCE_NUM_THREADS"] = str(self._threads)
        try:
            return self._core.compile_model(self._model, self._target, settings)
        except RuntimeError as exc:
            raise BackendError(f"{self._path}: openvino cannot compile it: {_reason(exc)}") from exc

    def _infer(self, request: openvino.InferRequest, feeds: Feeds) -> dict[str, Array]:
        try:
            results = request.infer(dict(feeds), share_outputs=False)
        except RuntimeError as exc:
            raise BackendError(f"{self._path}: openvino failed to run it: {_reason(exc)}") from exc
        return {spec.name: results[index] for index, spec in enumerate(self.outputs)}

    def _choose(self, request: Request) -> tuple[str, str]:
        """OpenVINO's name of the device, and why it is not the one asked for. It tells several GPUs apart by a dot."""
        kind, index = ("auto", 0) if request.device == "auto" else split_device(request.device, also=TARGETS)
        target = f"{TARGETS.get(kind)}.{index}" if index else TARGETS.get(kind)
        seen = self._core.available_devices
        if target is not None and any(target in {device, device.partition(".")[0]} for device in seen):
            return target, ""
        return "CPU", f"openvino sees {', '.join(seen)}"

    def _precisions(self) -> tuple[str, ...]:
        capable = self._core.get_property(self._target, "OPTIMIZATION_CAPABILITIES")
        return tuple(name for name, capability in CAPABILITIES.items() if capability in capable)


def _spec(port: openvino.Output) -> TensorSpec:
    import numpy as np

    dims = tuple(dim.get_length() if dim.is_static else None for dim in port.partial_shape)
    return TensorSpec(port.any_name, dims, np.dtype(port.element_type.to_dtype()).name)


def _reason(exc: RuntimeError) -> str:
    """OpenVINO puts file and line of its own source first, and the reason last or at the head of a summary."""
    text = str(exc).strip()
    _, _, summary = text.partition("Summary:\n")
    return summary.splitlines()[0].removeprefix("-- ") if summary else text.splitlines()[-1]
