"""The data sets people have, read from their own folders as they were published.

Cameras count from 0. Junk (identity -1: boxes that hold nobody in particular) is left out; distractors (identity 0)
stay in the gallery. So Market-1501's 19,732 files become the 15,913 gallery images of its protocol.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import cv2

from sightline.errors import BackendError, ConfigError
from sightline.files import output_error
from sightline.runtime.backend import missing_package
from sightline.training.records import Dataset, ImageRoot, Record, read_csv, require_found

JUNK = "-1"
CSV_NAME = "labels.csv"


@dataclass(frozen=True)
class Layout:
    """Where a data set lies in the folder somebody has, and how it is read from there."""

    name: str
    homes: tuple[str, ...]  # below the folder
    marks: tuple[str, ...]  # one of these is in its home: a file, or a folder
    read: Callable[[Path], Dataset]
    like: str = ""  # a pattern for the names in a marking folder, where other data sets have that folder too

    def find(self, root: Path) -> Path | None:
        """Its home, or None where it is not."""
        homes = (root / home for home in self.homes)
        return next((home for home in homes for mark in self.marks if self._is_marked(home / mark)), None)

    def _is_marked(self, mark: Path) -> bool:
        if not self.like or not mark.is_dir():
            return mark.exists()
        with os.scandir(mark) as entries:
            return any(re.match(self.like, entry.name) for entry in entries)

    def __call__(self, root: Path) -> Dataset:
        """Read it from `root`. Raises `ConfigError` where it is not there, or not whole."""
        home = self.find(root)
        if home is None:
            places = " or ".join(str(root / home / self.marks[0]) for home in self.homes)
            raise ConfigError(f"no {self.name} in {root}: expected {places}")
        return replace(self.read(home), name=self.name)


def open_dataset(name_or_csv: str, *, root: Path | None = None) -> Dataset:
    """A data set by name (below `root`), by its folder, or by a CSV (paths relative to `root`), which only has `train`.

    Raises `ConfigError` when it is none of these.
    """
    path = Path(name_or_csv).expanduser()
    if name_or_csv in DATASETS:
        home = root or (path if path.is_dir() else None)
        if home is None:
            raise ConfigError(f"where is {name_or_csv}? pass --data-root, the folder it lies in")
        return DATASETS[name_or_csv](home)
    if path.is_dir():
        return _recognised(path, root)
    if path.is_file():
        return Dataset(path.parent.resolve().name, read_csv(path, root=root), (), ())
    raise ConfigError(f"no data set {name_or_csv!r}: expected a CSV, a folder or one of {', '.join(DATASETS)}")


def _recognised(folder: Path, root: Path | None) -> Dataset:
    layout = next((layout for layout in DATASETS.values() if layout.find(folder)), None)
    if layout is not None:
        return layout(folder)
    if (folder / CSV_NAME).is_file():
        return Dataset(folder.resolve().name, read_csv(folder / CSV_NAME, root=root), (), ())
    raise ConfigError(f"{folder} is none of {', '.join(DATASETS)} and has no {CSV_NAME}")


# Market-1501 and those laid out like it


def _read_market(home: Path, *, cameras: int, suffix: str = ".jpg", distractors: bool = False) -> Dataset:
    read = partial(_boxes, cameras=cameras, suffix=suffix)
    train, query, gallery = (read(home / part) for part in ("bounding_box_train", "query", "bounding_box_test"))
    extra = _nobody(home / "images", suffix=suffix) if distractors else ()
    return Dataset("", train, query, (*gallery, *extra))


_BOX = re.compile(r"(-?\d+)_c(\d)")


def _boxes(folder: Path, *, cameras: int, suffix: str) -> tuple[Record, ...]:
    """The images of a folder that say in their names who they show: `0001_c1s1_001051_00.jpg`."""
    records = []
    for path in _listed(folder, suffix):
        said = _BOX.match(path.name)
        if said is None or not 1 <= int(said[2]) <= cameras:
            raise ConfigError(
                f"{path} names no person and camera: expected e.g. 0001_c1…{suffix}, cameras 1 to {cameras}"
            )
        if said[1] != JUNK:
            records.append(Record(path, said[1], int(said[2]) - 1))
    return tuple(records)


def _nobody(folder: Path, *, suffix: str) -> tuple[Record, ...]:
    """Distractors: whatever their names say, they are nobody, and so their camera does not matter."""
    return tuple(Record(path, "0", 0) for path in _listed(folder, suffix))


def _listed(folder: Path, suffix: str) -> list[Path]:
    """The images of a folder by name; thumbnails and notes that lie among them are passed over."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() == suffix)
    except OSError as exc:
        raise ConfigError(f"{folder} cannot be read: {exc.strerror}") from exc
    if not found:
        raise ConfigError(f"{folder} holds no {suffix} images")
    return found


# MSMT17


def _read_msmt17(home: Path) -> Dataset:
    """Train is the published training and validation lists together, which are images of the same 1,041 people."""
    masked = (home / "mask_train_v2").is_dir()
    train, test = (home / "mask_train_v2", home / "mask_test_v2") if masked else (home / "train", home / "test")
    lists = (("train", train), ("val", train), ("query", test), ("gallery", test))
    learnt, validated, query, gallery = (_in_list(home / f"list_{part}.txt", images) for part, images in lists)
    return Dataset("", (*learnt, *validated), query, gallery)


def _in_list(listing: Path, folder: Path) -> tuple[Record, ...]:
    """Lines of `0000/0000_000_01_0303morning_0008_0.jpg 0`: the third number of the name is the camera."""
    images, records, lost = ImageRoot(folder), [], []
    for place, line in _lines(listing):
        location, _, person = line.rpartition(" ")
        parts = Path(location).name.split("_")
        if not (person.isdecimal() and len(parts) > 2 and parts[2].isdecimal() and int(parts[2]) > 0):
            raise ConfigError(f"{place}: {line!r} names no image, person and camera")
        record = Record(images.below(location, place), person, int(parts[2]) - 1)
        records.append(record)
        if not images.holds(record.path, place):
            lost.append(location)
    require_found(listing, lost, total=len(records))
    return tuple(records)


def _lines(listing: Path) -> Iterator[tuple[str, str]]:
    try:
        text = listing.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{listing} cannot be read: {exc}") from exc
    numbered = enumerate(text.splitlines(), start=1)
    return ((f"{listing}:{number}", line.strip()) for number, line in numbered if line.strip())


# CUHK03, new protocol

CUHK03_IMAGE = re.compile(r"([1-5])_(\d{3})_([12])_(\d{2})\.png")  # camera pair, person of that pair, view, image


def cuhk03_camera(pair: int, view: int) -> int:
    """The camera among all ten, from 0, of a view (1 or 2) of a camera pair (1 to 5)."""
    return 2 * (pair - 1) + view - 1


def cuhk03_protocol(boxes: str) -> str:
    return f"cuhk03_new_protocol_config_{boxes}.mat"


def _read_cuhk03(home: Path, *, boxes: str) -> Dataset:
    if (home / boxes / "bounding_box_train").is_dir():
        return _read_market(home / boxes, cameras=2, suffix=".png")
    listing, folder = home / cuhk03_protocol(boxes), home / f"images_{boxes}"
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not there: sightline prepare cuhk03 takes the images out of cuhk-03.mat")
    split = optional("scipy.io", f"reading {listing.name}").loadmat(str(listing))
    names = [str(name.item()) for name in split["filelist"].flatten()]
    people = [str(int(person)) for person in split["labels"].flatten()]
    every = [_in_protocol(folder, name, person, listing) for name, person in zip(names, people, strict=True)]
    lost = [record.path.name for record in every if not record.path.is_file()]
    require_found(listing, lost, total=len(every))
    parts = ([every[int(row) - 1] for row in split[f"{part}_idx"].flatten()] for part in ("train", "query", "gallery"))
    return Dataset("", *map(tuple, parts))


def _in_protocol(folder: Path, name: str, person: str, listing: Path) -> Record:
    said = CUHK03_IMAGE.fullmatch(name)
    if said is None:
        raise ConfigError(f"{listing}: {name!r} is no CUHK03 image; expected e.g. 1_001_1_01.png")
    return Record(folder / name, person, cuhk03_camera(int(said[1]), int(said[3])))


def extract_cuhk03(mat: Path, folder: Path, *, boxes: str) -> None:
    """Write the images in `cuhk-03.mat` as `{pair}_{person:03}_{view}_{image:02}.png`. Images there are kept."""
    h5py = optional("h5py", f"reading {mat.name}")
    try:
        file = h5py.File(mat, "r")
    except OSError as exc:
        raise ConfigError(f"{mat} cannot be read: {exc}") from exc
    with file:
        if boxes not in file:
            raise ConfigError(f"{mat} holds no {boxes!r} images; is it the cuhk-03.mat of the release?")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for pair, pair_reference in enumerate(file[boxes][0], start=1):
                _extract_pair(file, file[pair_reference][:].T, f"{folder}/{pair}")
        except OSError as exc:
            raise output_error(folder, exc) from exc


def _extract_pair(file: Any, people: Sequence[Sequence[Any]], prefix: str) -> None:
    """Images 1 to 5 are of the first view. `.T`, because MATLAB keeps columns where NumPy keeps rows."""
    for person, shots in enumerate(people, start=1):
        for shot, reference in enumerate(shots, start=1):
            target = Path(f"{prefix}_{person:03}_{1 if shot <= 5 else 2}_{shot:02}.png")
            rgb = file[reference][:].T
            if rgb.ndim == 3 and not target.exists():  # an empty cell is no image
                _, data = cv2.imencode(".png", rgb[:, :, ::-1])
                part = target.with_suffix(".part")
                part.write_bytes(data.tobytes())
                part.replace(target)


def optional(package: str, purpose: str) -> ModuleType:
    """A library of the `[data]` extra. Raises `BackendError`, with what to install, where it is absent."""
    reason = missing_package(package.partition(".")[0], "'sightline[data]'")
    if reason:
        raise BackendError(f"{purpose} needs another library: {reason}")
    return import_module(package)


_MARKET_HOMES = ("", "Market-1501-v15.09.15", "market1501", "market1501/Market-1501-v15.09.15")
_DUKE_HOMES = ("", "DukeMTMC-reID", "dukemtmc-reid", "dukemtmc-reid/DukeMTMC-reID")
_MSMT17_HOMES = tuple(f"{parent}{home}" for parent in ("", "msmt17/") for home in ("", "MSMT17_V1", "MSMT17_V2"))
_CUHK03_HOMES = ("", "cuhk03_release", "cuhk03", "cuhk03/cuhk03_release", "cuhk03-np")


def _cuhk03(name: str, boxes: str) -> Layout:
    marks = (cuhk03_protocol(boxes), f"{boxes}/bounding_box_train")
    return Layout(name, _CUHK03_HOMES, marks, partial(_read_cuhk03, boxes=boxes))


_LAYOUTS = (
    Layout("market1501", _MARKET_HOMES, ("bounding_box_train",), partial(_read_market, cameras=6), r"-?\d+_c\d(?!_f)"),
    Layout(
        "market1501-500k",
        _MARKET_HOMES,
        ("bounding_box_train",),
        partial(_read_market, cameras=6, distractors=True),
        r"-?\d+_c\d(?!_f)",
    ),
    Layout("duke", _DUKE_HOMES, ("bounding_box_train",), partial(_read_market, cameras=8), r"-?\d+_c\d_f"),
    Layout("msmt17", _MSMT17_HOMES, ("list_train.txt",), _read_msmt17),
    _cuhk03("cuhk03", "detected"),
    _cuhk03("cuhk03-detected", "detected"),
    _cuhk03("cuhk03-labeled", "labeled"),
)
DATASETS: Mapping[str, Layout] = MappingProxyType({layout.name: layout for layout in _LAYOUTS})
