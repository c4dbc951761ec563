"""Pixels: from a file or a crop to exactly what a model card asks for.

Images are BGR uint8 (H, W, 3) everywhere in sightline; this module is the only one that makes anything else of them.
"""

from __future__ import annotations

import glob
import math
import os
import struct
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from sightline.card import ImageInput, Pixels
from sightline.errors import CardError, ImageError
from sightline.types import Array, Image

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
MIN_SIDE = 4  # fewer pixels than this hold nobody; a 1×1 image is a placeholder, not a crop


def image_files(source: str) -> list[Path]:
    """The image files a user means by a file, a folder (searched to the bottom) or a glob, sorted by path.

    Hidden files and folders are left out: they are thumbnails and resource forks. Raises `ImageError` when there is
    nothing, and for a folder that may not be read: leaving its images out in silence would be worse.
    """
    try:
        path = Path(source).expanduser()
        if path.is_file():
            return [path]
        found = sorted(file for file in _files_in(path) if _looks_like_image(file))
    except (OSError, RuntimeError) as exc:  # a RuntimeError is `~name` where nobody has that name
        raise ImageError(f"cannot look for images in {source}: {exc}") from exc
    if not found:
        kinds = " ".join(sorted(IMAGE_SUFFIXES))
        raise ImageError(f"no images in {source}: expected a file, a folder or a glob with any of {kinds}")
    return found


def _files_in(source: Path) -> Iterator[Path]:
    """All files below a folder, or all that match a glob."""
    if not source.is_dir():
        matches = map(Path, glob.glob(str(source), recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
        yield from (match for match in matches if not match.is_dir())
        return
    for parent, folders, names in os.walk(source, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent) / name for name in names)


def _raise(exc: OSError) -> None:
    raise exc


def _looks_like_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def read_image(path: Path) -> Image:
    """Decode a still image to BGR uint8, upright.

    Pillow, not OpenCV: OpenCV fills what is missing from a truncated JPEG with grey and reports success. Grey becomes
    three equal channels, 16 bits are scaled to 8, CMYK and palettes are converted, transparency is composited on black,
    EXIF rotation is applied. Raises `ImageError` for anything else: empty, truncated, animated, too small, no image.
    """
    content = _content(path)
    try:
        with PillowImage.open(BytesIO(content)) as picture:
            _require_still(picture, path)
            rgb = _to_rgb(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError as exc:
        raise ImageError(f"{path} is not an image this Pillow can read") from exc
    except PillowImage.DecompressionBombError as exc:
        raise ImageError(f"{path} is too large to be a crop: {exc}") from exc
    except ImageError:
        raise
    except _BROKEN as exc:
        raise ImageError(f"{path} cannot be decoded: {exc}") from exc
    return require_image(np.ascontiguousarray(np.asarray(rgb)[:, :, ::-1]), name=str(path))


# What Pillow's plugins let out of broken files, which differs by format and version.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error)


def _content(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise ImageError(f"{path} is not a file; expected an image")
        content = path.read_bytes()
    except FileNotFoundError as exc:
        raise ImageError(f"{path} does not exist") from exc
    except OSError as exc:
        raise ImageError(f"{path} cannot be read: {exc.strerror}") from exc
    if not content:
        raise ImageError(f"{path} is empty (0 bytes)")
    return content


def _require_still(picture: PillowImage.Image, path: Path) -> None:
    count = getattr(picture, "n_frames", 1)
    if count > 1 and picture.format != "MPO":  # MPO: a JPEG with an embedded preview
        raise ImageError(f"{path} holds {count} pictures, an animation or pages; expected one: extract them first")


def _to_rgb(picture: PillowImage.Image) -> PillowImage.Image:
    if picture.mode.startswith("I;16") or picture.mode in {"I", "F"}:
        return _eight_bits(picture).convert("RGB")
    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        black = PillowImage.new("RGBA", picture.size, (0, 0, 0, 255))
        return PillowImage.alpha_composite(black, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


def _eight_bits(picture: PillowImage.Image) -> PillowImage.Image:
    values = np.asarray(picture)
    if picture.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"{picture.mode} samples from {values.min()} to {values.max()}; expected 8 or 16 bits")
    return PillowImage.fromarray((values.astype(np.uint32) // 257).astype(np.uint8))


def require_image(image: Array, *, name: str = "image") -> Image:
    """The image, once it is known to be BGR uint8 (H, W, 3) and big enough to show anybody."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(f"{name} is {image.dtype} {image.shape}; expected BGR uint8 (H, W, 3)")
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ImageError(f"{name} is {width}×{height} pixels; expected at least {MIN_SIDE}×{MIN_SIDE}")
    return image


def resize_antialiased(image: Image, size_hw: tuple[int, int]) -> Image:
    """Bilinear resize that filters before it shrinks, as Pillow does and OpenCV's bilinear does not.

    Networks are trained on Pillow's pixels; plain `cv2.INTER_LINEAR` aliases when it shrinks and moves an embedding to
    cosine 0.97 and below. Pillow itself costs two to five times as much. So, for each axis that shrinks by a factor s:
    far (3 and more) a box filter first takes it to about twice the target; from 1.5 a blur of variance (s² - 1) / 6,
    that of Pillow's triangle, precedes the linear step; below that, linear to twice the target and halving is closer
    than any three-tap blur. Growing is the same in both libraries. Figures: docs/log.md.
    """
    height, width = _box_reduced(image.shape[0], size_hw[0]), _box_reduced(image.shape[1], size_hw[1])
    boxed = _scale(image, (height, width), cv2.INTER_AREA)
    boxes = (image.shape[0] / height, image.shape[1] / width)
    left = (height / size_hw[0], width / size_hw[1])
    blurred = _blur(boxed, tuple(_missing_sigma(factor, box) for factor, box in zip(left, boxes, strict=True)))
    doubled = tuple(side * _oversampling(factor) for side, factor in zip(size_hw, left, strict=True))
    linear = _scale(blurred, (doubled[0], doubled[1]), cv2.INTER_LINEAR)
    return _scale(linear, size_hw, cv2.INTER_AREA)


_NEARLY_EQUAL = 1.12  # below this shrink factor plain linear is already within cosine 0.998
_BLUR_FROM = 1.5


def _box_reduced(side: int, target: int) -> int:
    return round(side / max(round(side / target / 2), 1))


def _oversampling(factor: float) -> int:
    return 2 if _NEARLY_EQUAL < factor < _BLUR_FROM else 1


def _missing_sigma(factor: float, box: float) -> float:
    """What the box filter has left to blur before shrinking by `factor`, in pixels of the boxed image."""
    if factor < _BLUR_FROM:
        return 0.0
    already = (1 - 1 / (box * box)) / 12
    return math.sqrt((factor * factor - 1) / 6 - already)


def _blur(image: Image, sigma_yx: tuple[float, ...]) -> Image:
    if max(sigma_yx) == 0:
        return image
    taps = [1 + 2 * math.ceil(1.9 * sigma) for sigma in sigma_yx]
    sigmas = [max(sigma, 1e-3) for sigma in sigma_yx]  # 0 would mean "derive it" to OpenCV
    blurred = cv2.GaussianBlur(image, taps[::-1], sigmas[1], sigmaY=sigmas[0], borderType=cv2.BORDER_REPLICATE)
    return _as_image(blurred)


def _scale(image: Image, size_hw: tuple[int, int], how: int) -> Image:
    if image.shape[:2] == size_hw:
        return image
    return _as_image(cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=how))


def _as_image(array: Array) -> Image:
    """OpenCV's annotations do not know that uint8 in is uint8 out."""
    return array


_PLAIN = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}


def resize(image: Image, size_hw: tuple[int, int], *, how: str = "antialias") -> Image:
    """Resize to (height, width), aspect ignored, by the method a card names."""
    return resize_antialiased(image, size_hw) if how == "antialias" else _scale(image, size_hw, _PLAIN[how])


def prepare(crops: Sequence[Image], spec: ImageInput) -> Array:
    """The batch a model wants: (N, 3, H, W) or (N, H, W, 3), normalised unless the graph does that itself.

    Raises `CardError` when nobody has said which pixels the model was trained on: there is no safe default.
    """
    size_hw, feed = _require_known(spec)
    channels_last = spec.layout == "NHWC"
    shape = (*size_hw, 3) if channels_last else (3, *size_hw)
    batch = np.empty((len(crops), *shape), dtype=spec.dtype)
    for row, crop in zip(batch, crops, strict=True):
        resized = resize(require_image(crop), size_hw, how=spec.resize)
        _normalise_into(row if not channels_last else row.transpose(2, 0, 1), resized, feed)
    return batch


def _require_known(spec: ImageInput) -> tuple[tuple[int, int], Pixels]:
    if spec.size_hw is None:
        raise CardError(f"input {spec.name!r} has no fixed size and no card says it; pass --size HEIGHTxWIDTH")
    if spec.feed is None:
        raise CardError(f"nothing says which pixels input {spec.name!r} was trained on; pass --pixels PRESET")
    return spec.size_hw, spec.feed


def _normalise_into(planes: Array, image: Image, feed: Pixels) -> None:
    """Write `(x - mean) / std` of each channel into `planes` (3, H, W), in the order of `feed`."""
    order = (0, 1, 2) if feed.color == "BGR" else (2, 1, 0)
    for plane, channel, mean, std in zip(planes, order, feed.mean, feed.std, strict=True):
        source = image[:, :, channel]
        if mean == 0.0 and std == 1.0:
            plane[...] = source
        else:
            np.subtract(source, np.float32(mean), out=plane, dtype=np.float32, casting="same_kind")
            np.divide(plane, np.float32(std), out=plane, casting="same_kind")
