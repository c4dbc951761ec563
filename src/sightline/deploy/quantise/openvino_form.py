"""A quantised ONNX file as OpenVINO's own two files, for servers that read nothing else.

OpenVINO runs the ONNX file just as well, and faster than ONNX Runtime does. Quantising with OpenVINO's own tool (NNCF)
was tried and left out: the same network came out further from its source (docs/quantise.md).
"""

from __future__ import annotations

from pathlib import Path

from sightline.card import CARD_KEY, ModelCard
from sightline.errors import BackendError, ExportError
from sightline.runtime import openvino


def require_openvino() -> None:
    reason = openvino.missing()
    if reason:
        raise BackendError(f"an .xml needs OpenVINO to be written: {reason}; or name a file that ends in .onnx")


def as_openvino(made: Path, *, card: ModelCard) -> Path:
    """The .xml, with the card in it and its weights in a .bin, both beside `made`."""
    from openvino import save_model

    whole = made.with_name("openvino.xml")
    try:
        model = openvino.core().read_model(made)
        model.set_rt_info(card.to_json(), CARD_KEY)
        save_model(model, whole, compress_to_fp16=False)
    except RuntimeError as exc:
        reason = str(exc).strip().splitlines()[-1]
        raise ExportError(f"OpenVINO cannot take over the quantised model: {reason}; write an .onnx") from exc
    return whole
