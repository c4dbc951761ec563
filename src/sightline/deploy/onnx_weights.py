"""An ONNX file whose weights lie beside it, made whole: what TensorRT and a copy to another machine need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import ExportError, ModelFormatError
from sightline.files import replacing
from sightline.onnx_file import read_onnx, require_whole
from sightline.runtime import onnxruntime
from sightline.runtime.backend import Request
from sightline.runtime.session import Session

if TYPE_CHECKING:
    import onnx


def embed_weights(source: Path, target: Path) -> None:
    """Write `source` as one file that ONNX Runtime loads. Weights that are missing are a `ModelFormatError`."""
    model = _whole(source)
    with replacing(target) as temporary:
        temporary.write_bytes(_serialised(model, target))
        opened(temporary).close()


def _whole(source: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

    require_whole(read_onnx(source))
    try:
        return onnx.load(str(source), load_external_data=True)
    except (OSError, ValueError, DecodeError, onnx.checker.ValidationError) as exc:  # the last is about links
        advice = "copy the model and its weights, as plain files, into one folder"
        raise ModelFormatError(f"{source}: its weights cannot be taken in: {exc}; {advice}") from exc


def _serialised(model: onnx.ModelProto, target: Path) -> bytes:
    from google.protobuf.message import EncodeError

    try:
        return bytes(model.SerializeToString())
    except (ValueError, EncodeError) as exc:  # by the version of protobuf
        raise ExportError(f"{target}: one ONNX file holds at most 2 GB; these weights must stay outside") from exc


def opened(path: Path) -> Session:
    """A file on the CPU, whatever its name ends in: a model is tried before it gets its final name."""
    engine, card = onnxruntime.open_model(path, Request(device="cpu", threads=1))
    return Session(engine, card=card, path=path, backend="onnxruntime")
