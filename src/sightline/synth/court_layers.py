"""Pieces of picture laid over one another."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sightline.types import FloatArray, Image


@dataclass(frozen=True, eq=False)
class Layer:
    """A cut-out whose top left corner lies at `(x, y)`, partly or wholly outside the picture perhaps.

    The fourth channel is what it covers, 0..1; the colours are already multiplied by it, 0..255.
    """

    x: int
    y: int
    bgra: FloatArray  # (H, W, 4)

    def within(self, size_hw: tuple[int, int]) -> Layer:
        """The part inside a picture, which may be nothing."""
        height, width = size_hw
        left, top = max(0, -self.x), max(0, -self.y)
        rows, columns = max(0, height - self.y), max(0, width - self.x)
        return Layer(self.x + left, self.y + top, self.bgra[top:rows, left:columns])

    @property
    def box(self) -> tuple[slice, slice]:
        height, width = self.bgra.shape[:2]
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


def lay_over(image: Image, layer: Layer) -> None:
    """Changes `image`."""
    part = layer.within((image.shape[0], image.shape[1]))
    if part.bgra.size:
        under = image[part.box]
        mixed = under * (1 - part.bgra[..., 3:]) + part.bgra[..., :3]
        image[part.box] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def behind(layer: Layer, hidden: FloatArray) -> Layer:
    """What is left of a layer behind something that hides `hidden`, (H, W) of the picture, 0..1."""
    height, width = hidden.shape
    part = layer.within((height, width))
    return Layer(part.x, part.y, part.bgra * (1 - hidden[part.box])[..., None])


def uncovered(part: Layer, above: Layer) -> FloatArray:
    """(H, W) how much of each pixel of `part` is left free by `above`, 0..1."""
    height, width = part.bgra.shape[:2]
    free = np.ones((height, width), np.float32)
    moved = Layer(above.x - part.x, above.y - part.y, above.bgra).within((height, width))
    if moved.bgra.size:
        free[moved.box] -= moved.bgra[..., 3]
    return free


def layer_from(drawn: FloatArray, x: int, y: int, *, shrink: int) -> Layer:
    """What was drawn `shrink` times too large in BGRA of 0..255, hard-edged, on nothing; its edges come out smooth."""
    height, width = drawn.shape[0] // shrink, drawn.shape[1] // shrink
    small = np.asarray(cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    small[..., 3] /= 255
    return Layer(x, y, small)
