"""TensorRT engines (.engine, .plan), through NVIDIA's own Python packages.

An engine runs only on the GPU model and TensorRT version it was built with, keeps no room for a card, and limits each
open dimension to the profile it was built for. The card is read from `<engine>.json` beside it, where one is.
Written against the TensorRT 10 and cuda-python 12 documentation; it has not been run on a GPU.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from sightline.card import ModelCard
from sightline.errors import BackendError, ModelFormatError
from sightline.runtime.backend import Request, missing_package, require_precision, split_device
from sightline.runtime.cards import card_of_graph, with_claims
from sightline.runtime.session import Engine, Feeds
from sightline.types import Array, TensorSpec

CHUNK = 64
INSTALL = "'sightline[tensorrt]' (needs an NVIDIA GPU and its driver)"


def missing() -> str:
    return missing_package("tensorrt", INSTALL) or missing_package("cuda", INSTALL)


def open_model(path: Path, request: Request) -> tuple[Engine, ModelCard]:
    engine = TensorRtEngine(path, request)
    sidecar = path.with_name(path.name + ".json")
    if sidecar.exists():
        card = ModelCard.from_json(sidecar.read_text(encoding="utf-8"), origin=str(sidecar))
    else:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        card = card_of_graph(engine.inputs, engine.outputs, fingerprint=digest)
    return engine, with_claims(card, request.claims, origin=str(path))


class TensorRtEngine:
    """One deserialised engine with one execution context on one stream."""

    lanes = 1
    chunk = CHUNK
    fell_back = ""

    def __init__(self, path: Path, request: Request) -> None:
        import tensorrt
        from cuda.bindings import runtime as cuda

        kind, index = ("cuda", 0) if request.device == "auto" else split_device(request.device)
        if kind not in {"cuda", "tensorrt"}:
            raise BackendError(f"{path}: a TensorRT engine runs on a GPU only; got device {request.device!r}")
        self._cuda = cuda
        self._path = path
        self.device = f"cuda:{index}"
        self._succeeded(cuda.cudaSetDevice(index))
        logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        self._engine = tensorrt.Runtime(logger).deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise ModelFormatError(
                f"{path}: TensorRT {tensorrt.__version__} cannot load it; expected an engine built by this version on "
                "this GPU model: build it again from the ONNX file"
            )
        self.precision = require_precision(request, ("engine",), "an engine's precision is fixed when it is built")
        self._context = self._engine.create_execution_context()
        self._stream = self._succeeded(cuda.cudaStreamCreate())
        self.inputs = self._specs(tensorrt.TensorIOMode.INPUT)
        self.outputs = self._specs(tensorrt.TensorIOMode.OUTPUT)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        held: list[int] = []
        try:
            for name, array in feeds.items():
                self._bind_input(name, array, held)
            results = {spec.name: self._bind_output(spec, held) for spec in self.outputs}
            if not self._context.execute_async_v3(self._stream):
                raise BackendError(f"{self._path}: TensorRT refused the run; is the batch within the engine's profile?")
            for pointer, array in results.values():
                self._copy(array.ctypes.data, pointer, array.nbytes, to_host=True)
            self._succeeded(self._cuda.cudaStreamSynchronize(self._stream))
            return {name: array for name, (_, array) in results.items()}
        finally:
            for pointer in held:
                self._succeeded(self._cuda.cudaFree(pointer))

    def run_lane(self, feeds: Feeds) -> dict[str, Array]:
        return self.run(feeds)

    def close(self) -> None:
        self._succeeded(self._cuda.cudaStreamDestroy(self._stream))

    def _specs(self, mode: object) -> tuple[TensorSpec, ...]:
        import tensorrt

        names = (self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors))
        return tuple(
            TensorSpec(
                name,
                tuple(None if size < 0 else int(size) for size in self._engine.get_tensor_shape(name)),
                np.dtype(tensorrt.nptype(self._engine.get_tensor_dtype(name))).name,
            )
            for name in names
            if self._engine.get_tensor_mode(name) == mode
        )

    def _bind_input(self, name: str, array: Array, held: list[int]) -> None:
        if not self._context.set_input_shape(name, array.shape):
            raise BackendError(
                f"{self._path}: {name}{list(array.shape)} is outside the profile the engine was built for"
            )
        pointer = self._allocate(array.nbytes, held)
        self._copy(pointer, array.ctypes.data, array.nbytes, to_host=False)
        self._context.set_tensor_address(name, pointer)

    def _bind_output(self, spec: TensorSpec, held: list[int]) -> tuple[int, Array]:
        array = np.empty(tuple(self._context.get_tensor_shape(spec.name)), np.dtype(spec.dtype))
        pointer = self._allocate(array.nbytes, held)
        self._context.set_tensor_address(spec.name, pointer)
        return pointer, array

    def _allocate(self, size: int, held: list[int]) -> int:
        pointer = int(self._succeeded(self._cuda.cudaMalloc(max(size, 1))))
        held.append(pointer)
        return pointer

    def _copy(self, target: int, source: int, size: int, *, to_host: bool) -> None:
        kinds = self._cuda.cudaMemcpyKind
        kind = kinds.cudaMemcpyDeviceToHost if to_host else kinds.cudaMemcpyHostToDevice
        self._succeeded(self._cuda.cudaMemcpyAsync(target, source, size, kind, self._stream))

    def _succeeded(self, answer: tuple[Any, ...]) -> Any:
        """The value of a CUDA call, whose error code comes first. Raises `BackendError` when it is one."""
        code, *values = answer
        if int(code) != 0:
            raise BackendError(f"{self._path}: CUDA failed with {code.name}")
        return values[0] if values else None
