"""The streaming modules over ONNX files: no torch anywhere.

A file is opened as every model is, by `sightline.runtime`. What is different about a tracker is in `_WholeEngine`: one
pass takes a second, not a millisecond.
"""

from __future__ import annotations

import logging
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from sightline.ball.heatmap import HEIGHT, WIDTH
from sightline.ball.inpaint import InpaintForward, InpaintStream
from sightline.ball.planes import bg_mode_named, input_planes
from sightline.ball.stream import Forward, TrackNetStream
from sightline.errors import ModelFormatError, ModelNotFoundError
from sightline.onnx_file import OnnxFile, read_onnx, require_whole
from sightline.runtime.backend import Request
from sightline.runtime.cards import NO_CLAIMS, card_of_onnx
from sightline.runtime.onnxruntime import OnnxRuntimeEngine
from sightline.runtime.session import Session, run_batched
from sightline.types import Array, FloatArray, TensorSpec

if TYPE_CHECKING:
    import onnxruntime

log = logging.getLogger(__name__)

ACCELERATOR_CHUNK = 8


class TrackNetModuleONNX(TrackNetStream):
    """`TrackNetModule` on an ONNX file: the same frames in, the same rows out.

    `device` is None or "auto" for the best there is, "cpu", "cuda", "cuda:1", …, or an object whose text is one of
    those, as a torch.device; the attribute of that name says which it became, and a second choice is logged.
    """

    def __init__(  # noqa: PLR0917 - the places callers of the predecessors pass them in
        self,
        model_path: str | PathLike[str],
        seq_len: int,
        bg_mode: str | None,
        device: object = None,
        eval_mode: str = "weight",
        median: Array | None = None,
        median_warmup: int = 0,
    ) -> None:
        file = _read(model_path)
        self.input_name = _tracker_input(file)
        _require_match(file, seq_len=seq_len, bg_mode=bg_mode_named(bg_mode))
        self._opened, self.session = _open(file, device)
        self.device = self._opened.device
        self.output_names = [spec.name for spec in self._opened.outputs]
        super().__init__(
            heats_of(self._opened),
            seq_len=seq_len,
            bg_mode=bg_mode,
            eval_mode=eval_mode,
            median=median,
            median_warmup=median_warmup,
        )


class InpaintModuleONNX(InpaintStream):
    """`InpaintModule` on an ONNX file: the same rows in, the same rows out. `device` as for `TrackNetModuleONNX`."""

    def __init__(
        self, model_path: str | PathLike[str], seq_len: int, device: object, img_scaler: tuple[float, float]
    ) -> None:
        file = _read(model_path)
        self.input_coords, self.input_mask = _repair_inputs(file)
        _require_seq_len(file, seq_len, declared=_named(file, self.input_coords).shape[1])
        self._opened, self.session = _open(file, device)
        self.device = self._opened.device
        self.output_names = [spec.name for spec in self._opened.outputs]
        super().__init__(coords_of(self._opened), seq_len=seq_len, img_scaler=img_scaler)


def heats_of(session: Session) -> Forward:
    """A tracker, opened on any backend, as the streaming core calls it."""
    taken, given = session.inputs[0], session.outputs[0]

    def forward(windows: FloatArray) -> FloatArray:
        feeds = {taken.name: windows.astype(taken.dtype, copy=False)}
        return run_batched(session, feeds)[given.name].astype(np.float32, copy=False)

    return forward


def coords_of(session: Session) -> InpaintForward:
    """A repair network, opened on any backend, as the streaming core calls it."""
    dtypes = {spec.name: spec.dtype for spec in session.inputs}
    given = session.outputs[0]

    def forward(coords: FloatArray, mask: FloatArray) -> FloatArray:
        feeds = {name: array.astype(dtypes[name]) for name, array in (("coords", coords), ("mask", mask))}
        return run_batched(session, feeds)[given.name].astype(np.float32, copy=False)

    return forward


class _WholeEngine(OnnxRuntimeEngine):
    """One ONNX Runtime session with all threads, one window at a time.

    Lanes and the trial of one thread against many are for networks of a millisecond. For a tracker they would cost a
    second copy of its working memory, and many seconds in the middle of a stream.
    """

    def __init__(self, file: OnnxFile, request: Request) -> None:
        super().__init__(file, request)
        on_cpu = self.device == "cpu"
        self.lanes = 1
        self.chunk = 1 if on_cpu else ACCELERATOR_CHUNK  # on a processor more at once is more memory and no faster

    @cached_property
    def _lane(self) -> onnxruntime.InferenceSession:
        return self._create(self._threads if self._kind == "cpu" else 1)

    @property
    def inference_session(self) -> onnxruntime.InferenceSession:
        """ONNX Runtime's own session, for callers of the predecessors who look at its providers."""
        return self._lane


def _read(model_path: str | PathLike[str]) -> OnnxFile:
    path = Path(model_path)
    if not path.exists():
        raise ModelNotFoundError(f"ONNX model file not found: {model_path}")
    file = read_onnx(path)
    require_whole(file)
    return file


def _open(file: OnnxFile, device: object) -> tuple[Session, onnxruntime.InferenceSession]:
    session = _opened(file, Request(device="auto" if device is None else str(device)))
    return session, cast(_WholeEngine, session.engine).inference_session


def open_whole(path: Path, request: Request) -> Session:
    """A tracker or a repair network on ONNX Runtime, as the modules above open it."""
    return _opened(_read(path), request)


def _opened(file: OnnxFile, request: Request) -> Session:
    engine = _WholeEngine(file, request)
    if engine.fell_back:
        lost, became = request.device.upper(), engine.device.upper()
        log.warning("%s not available, falling back to %s: %s", lost, became, engine.fell_back)
    return Session(engine, card=card_of_onnx(file, NO_CLAIMS), path=file.path, backend="onnxruntime")


def _tracker_input(file: OnnxFile) -> str:
    """The name of the one input of a tracker. Raises `ModelFormatError` for any other kind of model."""
    inputs, outputs = file.inputs, file.outputs
    fits = len(inputs) == 1 and len(outputs) == 1 and _is_maps(inputs[0]) and _is_maps(outputs[0])
    if not fits:
        raise ModelFormatError(
            f"{file.path} is not a TrackNet: it takes {_listed(inputs)} and gives {_listed(outputs)}; "
            f"expected one input and one output [batch, planes, {HEIGHT}, {WIDTH}]"
        )
    return inputs[0].name


def _is_maps(spec: TensorSpec) -> bool:
    sizes = spec.shape[2:]
    return len(spec.shape) == 4 and all(got in {None, size} for got, size in zip(sizes, (HEIGHT, WIDTH), strict=True))


def _repair_inputs(file: OnnxFile) -> tuple[str, str]:
    """The names of the inputs. By name, not by place: both have three dimensions, and either may come first."""
    names = {spec.name for spec in file.inputs}
    shapes_fit = all(len(spec.shape) == 3 for spec in (*file.inputs, *file.outputs))
    if names != {"coords", "mask"} or len(file.outputs) != 1 or not shapes_fit:
        raise ModelFormatError(
            f"{file.path} is not an InpaintNet: it takes {_listed(file.inputs)} and gives {_listed(file.outputs)}; "
            "expected coords [batch, seq_len, 2] and mask [batch, seq_len, 1], and one output like coords"
        )
    return "coords", "mask"


def _require_match(file: OnnxFile, *, seq_len: int, bg_mode: str) -> None:
    """The window the file was exported for, by its metadata and, with or without those, by its graph."""
    _require_seq_len(file, seq_len, declared=file.outputs[0].shape[1])
    stored = file.metadata.get("bg_mode", bg_mode)
    if stored != bg_mode:
        raise ModelFormatError(
            f"Model metadata mismatch: expected bg_mode='{bg_mode}', got '{stored}'. Model={file.path}"
        )
    planes, expected = file.inputs[0].shape[1], input_planes(seq_len, bg_mode)
    if planes not in {None, expected}:
        raise ModelFormatError(
            f"{file.path} takes {planes} planes; seq_len={seq_len} with bg_mode='{bg_mode}' makes {expected}. "
            "Say the bg_mode that it was trained with"
        )


def _require_seq_len(file: OnnxFile, expected: int, *, declared: int | None) -> None:
    for actual in (file.metadata.get("seq_len"), declared):
        if actual is not None and str(actual) != str(expected):
            raise ModelFormatError(
                f"Model metadata mismatch: expected seq_len={expected}, got {actual}. Model={file.path}"
            )


def _named(file: OnnxFile, name: str) -> TensorSpec:
    return next(spec for spec in file.inputs if spec.name == name)


def _listed(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(map(str, specs)) or "nothing"
