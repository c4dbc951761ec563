"""Images to the `.bin` files an offline device reads: raw little-endian float32, no header, (3, H, W).

Byte for byte what torchvision gives for Pillow's bilinear resize, `ToTensor` and `Normalize`; so the pixels are
Pillow's own here, where the rest of sightline resizes several times as fast and comes close.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from sightline.card import PIXELS, ImageInput, Pixels
from sightline.errors import CardError, ConfigError
from sightline.files import output_error, replacing
from sightline.images import IMAGE_SUFFIXES, read_image, resize
from sightline.onnx_file import read_onnx
from sightline.runtime.cards import NO_CLAIMS, Claims, card_of_onnx
from sightline.types import Array, FloatArray, Image

DOCUMENTED = ImageInput("image", (256, 128), PIXELS["torchreid"])
AT_ONCE = 64  # files begun before the next are looked at: what an interruption has to wait for


def input_of(model: Path, claims: Claims = NO_CLAIMS) -> ImageInput:
    """What the card of an ONNX file says of its image, completed by what the user says. Nothing is run."""
    image = card_of_onnx(read_onnx(model), claims).image
    if image is None:
        raise CardError(f"{model} does not take one image; expected a re-identification network")
    return image


def ignore(count: int) -> None:
    """A listener to progress that does not."""


def prepare_folder(
    source: Path,
    target: Path,
    *,
    spec: ImageInput = DOCUMENTED,
    workers: int = 2,
    progress: Callable[[int], None] = ignore,
) -> list[Path]:
    """Every image of a folder, junk and distractors included, as `<name up to the first dot>.bin`; sorted by name.

    Raises `ImageError` for an image that cannot be read: a gallery with holes is another gallery.
    """
    planes = _Planes(spec)
    wanted = _targets(images_in(source), target)
    _make(target)
    _require_no_others(target, wanted)
    pairs = list(wanted.items())
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="sightline-bin") as pool:
        for start in range(0, len(pairs), AT_ONCE):
            part = pairs[start : start + AT_ONCE]
            list(pool.map(lambda pair: _write(planes, *pair), part))
            progress(len(part))
    return [binary for binary, _ in pairs]


def images_in(folder: Path) -> list[Path]:
    """The images of one folder, not of those in it, sorted by name."""
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."]
    except OSError as exc:
        raise ConfigError(f"{folder} cannot be read: {exc.strerror}; expected a folder of images") from exc
    if not found:
        raise ConfigError(f"{folder} holds no images; expected e.g. 0001_c1s1_001051_00.jpg")
    return sorted(found)


def _targets(images: Sequence[Path], target: Path) -> dict[Path, Path]:
    """Each `.bin` and its image."""
    wanted: dict[Path, Path] = {}
    for path in images:
        binary = target / f"{path.name.partition('.')[0]}.bin"
        if binary in wanted:
            raise ConfigError(f"{wanted[binary]} and {path.name} would both become {binary.name}; rename one of them")
        wanted[binary] = path
    return wanted


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc


def _require_no_others(folder: Path, wanted: dict[Path, Path]) -> None:
    """What an earlier data set left would be listed, run and ranked with this one."""
    others = sorted(path.name for path in folder.glob("*.bin") if path not in wanted)
    if others:
        raise ConfigError(
            f"{folder} holds {len(others)} .bin files of other images, e.g. {others[0]}; name a new folder"
        )


def _write(planes: _Planes, target: Path, source: Path) -> None:
    """A file that holds these bytes already is left as it is: what was computed from it is still valid."""
    content = planes(read_image(source)).tobytes()
    if _holds(target, content):
        return
    with replacing(target) as temporary:
        temporary.write_bytes(content)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def input_planes(image: Image, *, spec: ImageInput = DOCUMENTED) -> FloatArray:
    """One image as its input asks for it, (3, H, W), little-endian."""
    return _Planes(spec)(image)


class _Planes:
    """The 256 levels of each channel are worked out once; an image is then looked up, not computed."""

    def __init__(self, spec: ImageInput) -> None:
        feed = spec.feed
        if spec.size_hw is None or feed is None:
            raise CardError("the model does not say its image size or pixels; pass --size HEIGHTxWIDTH and --pixels")
        if spec.layout != "NCHW" or spec.dtype != "float32":
            raise CardError(
                f"the model takes {spec.dtype} {spec.layout}; expected float32 NCHW: `sightline ascend export`"
            )
        self._size_hw, self._how = spec.size_hw, spec.resize
        self._levels = _levels(feed)
        self._order = (0, 1, 2) if feed.color == "BGR" else (2, 1, 0)

    def __call__(self, image: Image) -> FloatArray:
        resized = self._resized(image)
        planes = [levels[resized[:, :, channel]] for levels, channel in zip(self._levels, self._order, strict=True)]
        return np.ascontiguousarray(np.stack(planes), dtype="<f4")

    def _resized(self, image: Image) -> Array:
        if self._how != "antialias":
            return resize(image, self._size_hw, how=self._how)
        height, width = self._size_hw
        picture = PillowImage.fromarray(np.ascontiguousarray(image))  # resizing does not mind the order of channels
        return np.asarray(picture.resize((width, height), PillowImage.Resampling.BILINEAR))


def _levels(feed: Pixels) -> FloatArray:
    """What each level of a channel becomes, (3, 256).

    x / 255, then the mean, then the deviation, each in float32, as torchvision does it; the card's `(x - mean) / std`
    is the same number but for its last bit.
    """
    levels = np.arange(256, dtype=np.float32)
    if feed == Pixels(feed.color):
        return np.tile(levels, (3, 1))
    mean, std = (np.divide(values, 255).astype(np.float32)[:, None] for values in (feed.mean, feed.std))
    return np.asarray((levels / np.float32(255) - mean) / std, np.float32)
