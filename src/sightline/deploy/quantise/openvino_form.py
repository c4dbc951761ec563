"""A quantised ONNX file as OpenVINO's own two files, for servers that read nothing else.

OpenVINO runs the ONNX file just as well, and faster than ONNX Runtime does. Quantising with OpenVINO's own tool (NNCF)
was tried and left out: the same network came out further from its source (docs/quantise.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sightline.card import CARD_KEY, ModelCard
from sightline.errors import BackendError, ExportError
from sightline.files import replacing
from sightline.runtime import openvino


def write_openvino(made: Path, target: Path, card: ModelCard, metadata: Mapping[str, str]) -> None:
    """`target` (.xml), with the card in it, and its weights beside it (.bin). `metadata` of ONNX has no place there.

    The .xml comes last: where it is, its weights are there.
    """
    reason = openvino.missing()
    if reason:
        raise BackendError(f"{target} needs OpenVINO to be written: {reason}; or name a file that ends in .onnx")
    import openvino as library

    try:
        model = openvino.core().read_model(made)
        model.set_rt_info(card.to_json(), CARD_KEY)
        whole = made.with_name("openvino.xml")
        library.save_model(model, whole, compress_to_fp16=False)
    except RuntimeError as exc:
        raise ExportError(
            f"{target}: OpenVINO cannot take the model over: {str(exc).strip().splitlines()[-1]}"
        ) from exc
    for part in (whole.with_suffix(".bin"), whole):
        with replacing(target.with_suffix(part.suffix)) as temporary:
            temporary.write_bytes(part.read_bytes())
