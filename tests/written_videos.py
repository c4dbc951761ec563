"""Videos written byte by byte, where what matters cannot be had from an encoder: times, damage, sizes, rotation.

Matroska because its structure is a page of code, with JPEGs as frames; MP4 by changing boxes of what OpenCV wrote.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from sightline.types import Image
from sightline.video import VideoWriter


def shade(value: int, size_hw: tuple[int, int] = (48, 64)) -> Image:
    return np.full((*size_hw, 3), value, np.uint8)


def write_shades(target: Path, count: int, *, fps: float = 25.0) -> Path:
    """Frame k has the grey value 10 k, which survives any codec well enough to be told from its neighbours."""
    with VideoWriter(target, fps=fps) as writer:
        for index in range(count):
            writer.write(shade(10 * index))
    return target


def jpeg(picture: Image) -> bytes:
    return cv2.imencode(".jpg", picture)[1].tobytes()


def shades_jpeg(count: int) -> list[bytes]:
    return [jpeg(shade(10 * index)) for index in range(count)]


def write_matroska(
    target: Path,
    frames: Sequence[bytes],
    times_ms: Sequence[int],
    *,
    size_hw: tuple[int, int] = (48, 64),
    fps: float | None = 25,
) -> Path:
    """JPEGs with those times. Without `fps` the file says nothing of a rate, as what a browser records."""
    height, width = size_hw
    kind = _element("4282", b"matroska") + _element("4287", _number(4)) + _element("4285", _number(2))
    length_ms = times_ms[-1] + (1000 / fps if fps else 40) if len(times_ms) else 1000.0
    facts = _element("2ad7b1", _number(1_000_000)) + _element("4489", struct.pack(">d", length_ms))
    track = _element("d7", _number(1)) + _element("73c5", _number(1)) + _element("83", _number(1))
    track += _element("86", b"V_MJPEG") + _element(
        "e0", _element("b0", _number(width)) + _element("ba", _number(height))
    )
    if fps:
        track += _element("23e383", _number(round(1e9 / fps)))
    body = _element("1549a966", facts) + _element("1654ae6b", _element("ae", track))
    for frame, time_ms in zip(frames, times_ms, strict=True):
        block = b"\x81" + struct.pack(">h", 0) + b"\x80" + frame
        body += _element("1f43b675", _element("e7", _number(time_ms)) + _element("a3", block))
    target.write_bytes(_element("1a45dfa3", kind) + _element("18538067", body))
    return target


def _element(identifier: str, content: bytes) -> bytes:
    return bytes.fromhex(identifier) + (0x0100000000000000 | len(content)).to_bytes(8, "big") + content


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def change_box(target: Path, kind: bytes, change: Callable[[bytearray], None]) -> Path:
    """Change the first box of that kind of an MP4, counted from its size and name, in place."""
    content = bytearray(target.read_bytes())
    start = content.index(kind) - 4
    box = content[start : start + int.from_bytes(content[start : start + 4], "big")]
    change(box)
    content[start : start + len(box)] = box
    target.write_bytes(content)
    return target


def turn(target: Path, degrees: int) -> Path:
    """Say in an MP4 that its pictures are to be turned clockwise, as a phone does that was held upright."""
    a, b = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30)

    def change(box: bytearray) -> None:
        box[48:84] = matrix

    return change_box(target, b"tkhd", change)


def put_index_first(target: Path) -> Path:
    """Move the `moov` box of an MP4 before its pictures, so that a beginning of the file can be played."""
    boxes = _boxes(target.read_bytes())
    index = bytearray(boxes[b"moov"])
    place = index.index(b"stco") + 12
    offset = int.from_bytes(index[place : place + 4], "big") + len(index)
    index[place : place + 4] = offset.to_bytes(4, "big")
    head = b"".join(content for kind, content in boxes.items() if kind not in {b"moov", b"mdat"})
    target.write_bytes(head + index + boxes[b"mdat"])
    return target


def _boxes(content: bytes) -> dict[bytes, bytes]:
    boxes, start = {}, 0
    while start < len(content):
        length = int.from_bytes(content[start : start + 4], "big")
        boxes[content[start + 4 : start + 8]] = content[start : start + length]
        start += length
    return boxes
