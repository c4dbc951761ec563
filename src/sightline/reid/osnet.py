"""The loader names of the OSNet clustering notes: ONNX first, PyTorch where there is no ONNX, random where neither is.

They are a thin reading of `open_session`: the model that comes back is a `Session`, and `model_type` says in one word
what kind of thing it was made from.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sightline.card import ImageInput, pixels_named
from sightline.images import prepare
from sightline.reid.embedder import Embedder
from sightline.runtime.cards import Claims, completed
from sightline.runtime.open import open_session
from sightline.runtime.session import Session
from sightline.types import FloatArray, Image

log = logging.getLogger(__name__)

MODEL_TYPES = {  # by backend; TensorRT engines and OpenVINO files are built from an ONNX file
    "onnxruntime": "onnx",
    "openvino": "onnx",
    "tensorrt": "onnx",
    "torch": "pytorch",
    "untrained": "random",
}
NO_MODEL = Path("osnet_x0_25.onnx")  # names the network to draw at random when no path is given
PERSON = Claims(pixels="torchreid", size_hw=(256, 128))  # what every published OSNet person model was trained on


def load_osnet_model(
    model_path: str | Path | None = None, device: str = "cuda", *, allow_random: bool = True
) -> tuple[Session, str, str]:
    """Returns (model, device it really runs on, "onnx" | "pytorch" | "random").

    A missing .onnx is looked for as a .pth beside it. With neither, random weights are drawn and a warning is logged,
    or with `allow_random=False` a `ModelNotFoundError` is raised. A device that is not there becomes the CPU. Raises
    `RuntimeError("No OSNet backend available …")` when no runtime that could run the model is installed.
    """
    path = NO_MODEL if model_path is None else Path(model_path)
    session = as_person_model(open_session(path, device=device, allow_untrained=allow_random))
    return session, session.device, model_type_of(session)


def as_person_model(session: Session) -> Session:
    """The session, what its file leaves open about its input taken to be as published OSNet person models have it."""
    if session.card.image is not None and session.card.image.pixels is None:
        log.info("%s carries no model card: fed as the published OSNet person models are (torchreid)", session.path)
    session.card = completed(session.card, PERSON)
    return session


def model_type_of(session: Session) -> str:
    """ "onnx", "pytorch" or "random". Random weights stay so in whatever file they are kept."""
    return "random" if session.card.weights == "untrained" else MODEL_TYPES[session.backend]


def preprocess_crops(crops: Sequence[Image], target_size: tuple[int, int] = (256, 128)) -> FloatArray:
    """BGR crops as published OSNet person models want them: (N, 3, height, width), RGB, ImageNet mean and std.

    For feeding such a model by other means; `extract_osnet_features` asks the model's card instead.
    """
    spec = ImageInput("crops", target_size, pixels_named("torchreid"))
    return np.asarray(prepare(crops, spec), np.float32)


def extract_osnet_features(
    crops: Sequence[Image], model: Session, device: str, model_type: str, batch_size: int = 16
) -> FloatArray:
    """L2-normalised features, (N, D), of BGR crops of any size and any number.

    `batch_size` bounds how many crops are held prepared at once. A model with a fixed batch gets exactly that batch,
    whatever `batch_size` says, and the rows that padded it are dropped. `device` and `model_type` are those
    `load_osnet_model` returned with the model; the model already knows both.
    """
    if model_type != model_type_of(model):
        raise ValueError(f"model_type is {model_type!r}, but {model!r} is {model_type_of(model)!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected 1 or more")
    embedder = Embedder(model)
    parts = [crops[start : start + batch_size] for start in range(0, len(crops), batch_size)]
    return np.concatenate([embedder.embed(part).vectors for part in parts or [[]]])
