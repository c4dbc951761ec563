"""A person as a small looping picture: animated WebP, the same bytes for the same crops."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image as PillowImage

from sightline.errors import ImageError
from sightline.types import Image

QUALITY = 75
METHOD = 2  # of 0..6: 6 takes twenty times as long as 4 to save a thirtieth of the bytes
MOST_FRAMES = 50  # of a longer track, evenly chosen ones
TRANSPARENT = (0, 0, 0, 0)
ALPHA_FLAG = 0x10


def looping_clip(crops: Sequence[Image], *, clip_ms: int = 100, size_wh: tuple[int, int] = (256, 256)) -> bytes:
    """The crops one after another, each shown for `clip_ms`, for ever; a still where there is only one.

    The encoder shows equal neighbours as one longer frame, so the file may hold fewer frames than there are crops.
    """
    first, *rest = [_fitted(crop, size_wh) for crop in _evenly(crops)]
    moving = {"save_all": True, "append_images": rest, "duration": clip_ms, "loop": 0} if rest else {}
    return _encoded(first, **moving)


def still(crops: Sequence[Image], *, size_wh: tuple[int, int] = (256, 256)) -> bytes:
    """The crop from the middle of the track: people enter and leave it cut off by the edge of the frame."""
    return _encoded(_fitted(crops[len(crops) // 2], size_wh))


def _evenly(crops: Sequence[Image]) -> list[Image]:
    places = np.linspace(0, len(crops) - 1, min(len(crops), MOST_FRAMES)).round().astype(int)
    return [crops[place] for place in places]


def _fitted(crop: Image, size_wh: tuple[int, int]) -> PillowImage.Image:
    """The whole crop as large as fits, undistorted, on a transparent ground that takes the page's colour."""
    if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype != np.uint8 or 0 in crop.shape:
        raise ImageError(f"a crop for the page is {crop.dtype} {crop.shape}; expected BGR uint8 (H, W, 3), not empty")
    height, width = crop.shape[:2]
    scale = min(size_wh[0] / width, size_wh[1] / height)
    fitting = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = PillowImage.fromarray(np.ascontiguousarray(crop[:, :, ::-1]))
    picture = picture.resize(fitting, PillowImage.Resampling.BICUBIC)
    ground = PillowImage.new("RGBA", size_wh, TRANSPARENT)
    ground.paste(picture, ((size_wh[0] - fitting[0]) // 2, (size_wh[1] - fitting[1]) // 2))
    return ground


def _encoded(picture: PillowImage.Image, **moving: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=METHOD, **moving)
    return _told_transparent(buffer.getvalue())


def _told_transparent(content: bytes) -> bytes:
    """The encoder leaves the flag out where every frame's own rectangle is opaque, though what lies around it is not;
    a decoder that believes it paints that black. (WebP container specification, VP8X: byte 20, bit 4.)
    """
    if content[12:16] != b"VP8X":
        return content
    return content[:20] + bytes([content[20] | ALPHA_FLAG]) + content[21:]
