"""A rendered street on disk, with true boxes, and a way to tell its painted people apart without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

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
