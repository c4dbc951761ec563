"""The `.info` lists that tell an offline tool its inputs: a line each of `index path width height`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PillowImage

from sightline.deploy.ascend.preprocess import images_in
from sightline.errors import ConfigError, ImageError
from sightline.files import replacing

CHANNELS_BYTES = 3 * 4  # of a pixel: three float32
_LINE = re.compile(r"(\d+) (.+) (\d+) (\d+)")
_NAMED = 3  # files, in a message that counts them


@dataclass(frozen=True)
class Input:
    """One line: a file, by the path that is written, and the size of the picture in it."""

    path: Path
    width: int
    height: int

    @property
    def stem(self) -> str:
        """What its dump is called after."""
        return self.path.name.partition(".")[0]


def list_bins(folder: Path, *, size_wh: tuple[int, int]) -> list[Input]:
    """The `.bin` files of a folder by name. Raises `ConfigError` for those that hold another number of bytes."""
    width, height = size_wh
    found = sorted(folder.glob("*.bin"))
    if not found:
        raise ConfigError(f"{folder} holds no .bin files; make them with `sightline ascend preprocess`")
    require_size(found, width * height * CHANNELS_BYTES)
    return [Input(path, width, height) for path in found]


def require_size(paths: Sequence[Path], size: int) -> None:
    """Raises `ConfigError` naming the files that are not there, or hold another number of bytes."""
    sizes = {path: path.stat().st_size if path.is_file() else None for path in paths}
    absent = [path for path, found in sizes.items() if found is None]
    if absent:
        raise ConfigError(f"{len(absent)} of {len(paths)} inputs are not there: {first_of(absent)}")
    odd = [f"{path} ({found} bytes)" for path, found in sizes.items() if found != size]
    if odd:
        wrong = f"{len(odd)} of {len(paths)} inputs are not of {size} bytes: {first_of(odd)}"
        raise ConfigError(f"{wrong}; check width and height, or preprocess again")


def first_of(items: Iterable[object]) -> str:
    """The first few by name, and that there are more."""
    names = [str(item) for item in items]
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def list_images(folder: Path) -> list[Input]:
    """The images of a folder by name, with the sizes they really have."""
    return [Input(path, *_size_wh(path)) for path in images_in(folder)]


def _size_wh(path: Path) -> tuple[int, int]:
    try:
        with PillowImage.open(path) as picture:
            return picture.size
    except (OSError, ValueError, PillowImage.DecompressionBombError) as exc:
        raise ImageError(f"{path} is not an image this Pillow can read: {exc}") from exc


def write_info(inputs: Sequence[Input], target: Path) -> None:
    """Paths are written as they are. Raises `ConfigError` for a blank in one: the tools split a line at blanks."""
    blank = [item.path for item in inputs if re.search(r"\s", str(item.path))]
    if blank:
        raise ConfigError(f"{blank[0]} has a blank in its path, at which the tools would cut it; move the folder")
    lines = (f"{index} {item.path} {item.width} {item.height}\n" for index, item in enumerate(inputs))
    with replacing(target) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def read_info(listing: Path, *, home: Path | None = None) -> list[Input]:
    """The inputs of a list, in its order; relative paths are relative to `home` (the current folder), as for the tools.

    Raises `ConfigError`, with the line, for one that is none, and for two inputs whose dumps would have one name.
    """
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{listing} cannot be read: {exc}; expected a list by `sightline ascend info`") from exc
    inputs = [_parsed(line, f"{listing}:{number}", home or Path()) for number, line in enumerate(lines, 1) if line]
    if not inputs:
        raise ConfigError(f"{listing} lists nothing; expected lines of index, path, width, height")
    _require_distinct(inputs, listing)
    return inputs


def _parsed(line: str, place: str, home: Path) -> Input:
    said = _LINE.fullmatch(line.strip())
    if said is None:
        raise ConfigError(f"{place}: {line[:80]!r}; expected index, path, width and height")
    return Input(home / said[2], int(said[3]), int(said[4]))


def _require_distinct(inputs: Sequence[Input], listing: Path) -> None:
    seen: dict[str, Path] = {}
    for item in inputs:
        if item.stem in seen:
            raise ConfigError(f"{listing}: {seen[item.stem]} and {item.path} would leave dumps of one name")
        seen[item.stem] = item.path
