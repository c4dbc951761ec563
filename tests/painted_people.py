"""Painted people, and a model so simple that its vectors can be computed by hand: the mean colour of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from sightline.card import CARD_KEY, PIXELS, ImageInput, ModelCard, VectorOutput
from sightline.onnx_file import read_onnx, with_metadata
from sightline.types import FloatArray

SIZE_HW = (16, 8)  # of the pictures and of the model's input, so that nothing is resized between them


@dataclass(frozen=True)
class Painted:
    """One picture: where it is, and what it is called."""

    path: Path
    person: str
    camera: int


def paint(
    folder: Path, *, people: Sequence[str] = tuple("abcdef"), cameras: int = 3, shots: int = 2, seed: int = 0
) -> list[Painted]:
    """Each person a colour, each camera a tint over it, each picture its own noise: told apart, but not always."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tints = rng.normal(0, 28, (cameras, 3))
    found = []
    for number, person in enumerate(people):
        colour = rng.uniform(60, 195, 3)
        for camera in range(cameras):
            for shot in range(shots):
                path = folder / f"{number:02}_{camera}_{shot}.png"
                noisy = colour + tints[camera] + rng.normal(0, 12, 3) + rng.normal(0, 8, (*SIZE_HW, 3))
                PillowImage.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
                found.append(Painted(path, person, camera))
    return found


def write_labels(csv: Path, painted: Sequence[Painted]) -> Path:
    lines = [f"{item.path.relative_to(csv.parent).as_posix()},{item.person},{item.camera}" for item in painted]
    csv.write_text("\n".join(["img_path,person_id,camera_id", *lines, ""]), encoding="utf-8")
    return csv


def mean_colour_model(path: Path) -> Path:
    """An ONNX file with a card whose vectors are what `mean_colour` computes."""
    onnx = pytest.importorskip("onnx", reason="the smallest of models is made with onnx")
    from onnx import TensorProto, helper

    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, *SIZE_HW])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3])
    node = helper.make_node("ReduceMean", ["images"], ["features"], axes=[2, 3], keepdims=0)
    graph = helper.make_graph([node], "colour", [images], [features])
    bare = path.with_name("bare-" + path.name)
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(bare))
    card = ModelCard(
        task="reid",
        arch="mean-colour",
        image=ImageInput("images", SIZE_HW, PIXELS["torchreid"]),
        output=VectorOutput("features", 3, normalised=False),
        fingerprint=read_onnx(bare).fingerprint,
    )
    with_metadata(bare, path, entries={CARD_KEY: card.to_json()})
    bare.unlink()
    return path


def mean_colour(path: Path) -> FloatArray:
    """The L2-normalised vector of one picture, (3,)."""
    rgb = np.asarray(PillowImage.open(path).convert("RGB"), np.float64)
    pixels = PIXELS["torchreid"]
    vector = ((rgb - pixels.mean) / pixels.std).mean(axis=(0, 1))
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
