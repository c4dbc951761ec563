"""A model file made ready to be quantised: one file, an opset that knows per-channel scales, a name for every node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.deploy.onnx_weights import embed_weights
from sightline.errors import ExportError, ModelFormatError
from sightline.onnx_file import OnnxFile, read_onnx

if TYPE_CHECKING:
    import onnx

_WARNINGS, _ERRORS = 2, 3
OPSET = 13  # the first whose QuantizeLinear has a scale for each channel; below it the quantiser writes a broken file


def require_full_precision(path: Path) -> OnnxFile:
    """The outline of an ONNX file of float32 weights. Raises `ModelFormatError` for any other."""
    if path.suffix.lower() != ".onnx":
        raise ModelFormatError(f"{path} is no ONNX file; make one of it first with `sightline export`")
    file = read_onnx(path)
    quantised = sorted({"QuantizeLinear", "QLinearConv", "ConvInteger", "DequantizeLinear"} & file.op_counts.keys())
    if quantised:
        raise ModelFormatError(f"{path} is quantised already (it has {quantised[0]}); start from its float32 source")
    halves = [spec.name for spec in (*file.inputs, *file.outputs) if spec.dtype in {"float16", "bfloat16"}]
    if halves:
        raise ModelFormatError(f"{path} is in half precision already ({halves[0]}); start from its float32 source")
    return file


def ready_graph(source: Path, folder: Path) -> Path:
    """A copy of the model in `folder`, simplified by ONNX Runtime as it would when it loads it."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    whole, ready = folder / "whole.onnx", folder / "ready.onnx"
    embed_weights(source, whole)
    model = _of_opset(onnx.load(str(whole)), source)
    _name_nodes(model.graph)
    onnx.save(model, str(whole))
    with quiet_onnxruntime():
        # Its symbolic shape inference is for transformers, and fails on graphs that ONNX's own infers.
        quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
    return ready


@contextmanager
def quiet_onnxruntime() -> Iterator[None]:
    """Its tools open sessions of their own, whose warnings are about their own doing and not for users."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_ERRORS)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNINGS)  # what it is by default; it cannot be asked


def _of_opset(model: onnx.ModelProto, source: Path) -> onnx.ModelProto:
    from onnx import version_converter

    found = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0)
    if found >= OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except (RuntimeError, ValueError) as exc:
        raise ExportError(
            f"{source} is of opset {found} and cannot be brought to {OPSET}: {_first_line(exc)}; export it again "
            f"with --opset {OPSET} or above"
        ) from exc


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0]


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Nodes are left out by name, and a name is optional in ONNX."""
    taken = {node.name for node in graph.node}
    for place, node in enumerate(graph.node):
        if not node.name:
            name = f"{node.op_type}_{place}"
            node.name = name if name not in taken else f"{name}_unnamed"
