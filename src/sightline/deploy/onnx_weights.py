"""An ONNX file whose weights lie beside it, made whole: what TensorRT and a copy to another machine need."""

from __future__ import annotations

from pathlib import Path

from sightline.errors import ExportError
from sightline.files import replacing
from sightline.onnx_file import read_onnx, require_whole
from sightline.runtime import onnxruntime
from sightline.runtime.backend import Request
from sightline.runtime.session import Session


def embed_weights(source: Path, target: Path) -> None:
    """Write `source` as one file that ONNX Runtime loads. A missing weights file is a `ModelFormatError`."""
    import onnx

    require_whole(read_onnx(source))
    model = onnx.load(str(source), load_external_data=True)
    with replacing(target) as temporary:
        try:
            temporary.write_bytes(model.SerializeToString())
        except ValueError as exc:
            raise ExportError(f"{target}: one ONNX file holds at most 2 GB; these weights must stay outside") from exc
        opened(temporary).close()


def opened(path: Path) -> Session:
    """A file on the CPU, whatever its name ends in: a model is tried before it gets its final name."""
    engine, card = onnxruntime.open_model(path, Request(device="cpu", threads=1))
    return Session(engine, card=card, path=path, backend="onnxruntime")
