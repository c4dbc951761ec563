"""A rendered street on disk, with true boxes, and a way to tell its painted people apart without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.card import CARD_KEY, PIXELS, ImageInput, ModelCard, VectorOutput
from sightline.onnx_file import read_onnx, with_metadata
from sightline.synth.scene import Scene
from sightline.tracking.mot_files import write_mot
from sightline.types import Embeddings, Image
from sightline.video import VideoWriter

PRINT = "c0" * 32


class ColourEmbedder:
    """The colours of the upper and the lower half: enough for people who were painted to be told apart."""

    fingerprint = PRINT
    dim = 2 * 64

    def embed(self, crops: Sequence[Image]) -> Embeddings:
        rows = np.stack([self._vector(crop) for crop in crops]) if crops else np.empty((0, self.dim), np.float32)
        return Embeddings(rows, PRINT, normalised=True)

    def _vector(self, crop: Image) -> np.ndarray:
        halves = np.array_split(crop, 2)
        bins = [cv2.calcHist([half], [0, 1, 2], None, [4] * 3, [0, 256] * 3).ravel() / half.size for half in halves]
        vector = np.sqrt(np.concatenate(bins))
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def patches_model(path: Path) -> Path:
    """An ONNX file with a card: the mean colours of eight by two patches of a person tell clothes apart."""
    onnx = pytest.importorskip("onnx", reason="the smallest of models is made with onnx")
    from onnx import TensorProto, helper

    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 64, 32])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 48])
    nodes = [
        helper.make_node("AveragePool", ["images"], ["patches"], kernel_shape=[8, 16], strides=[8, 16]),
        helper.make_node("Flatten", ["patches"], ["features"]),
    ]
    graph = helper.make_graph(nodes, "patches", [images], [features])
    bare = path.with_name("bare-" + path.name)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(bare))
    card = ModelCard(
        task="reid",
        arch="patches",
        image=ImageInput("images", (64, 32), PIXELS["torchreid"]),
        output=VectorOutput("features", 48, normalised=False),
        fingerprint=read_onnx(bare).fingerprint or PRINT,
    )
    with_metadata(bare, path, entries={CARD_KEY: card.to_json()})
    bare.unlink()
    return path


def write_street(
    folder: Path, *, seed: int, cameras: Sequence[str], people: int = 4, frames: int = 150
) -> dict[str, Path]:
    """`NAME.mp4` of each camera, and `NAME.txt` with the true boxes of everybody."""
    scene = Scene(seed, people=people, cameras=len(cameras), frames=frames, size_hw=(180, 320))
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(cameras):
        with VideoWriter(folder / f"{name}.mp4", fps=scene.fps) as writer:
            for image, _ in scene.camera(number):
                writer.write(image)
        write_mot(folder / f"{name}.txt", scene.ground_truth(number))
    return {name: folder / f"{name}.mp4" for name in cameras}
