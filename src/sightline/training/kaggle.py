"""Data sets from Kaggle: fetching them, and Market-1501 and CUHK03 as one set of people for training."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from sightline.errors import BackendError, ConfigError, DownloadError
from sightline.runtime.backend import missing_package
from sightline.training.folders import CUHK03_IMAGE, DATASETS, cuhk03_camera
from sightline.training.prepare import Picture, from_records
from sightline.training.records import Record

log = logging.getLogger(__name__)

HANDLES: Mapping[str, str] = MappingProxyType(
    {"market1501": "rayiooo/reid_market-1501", "casia-webface": "debarghamitraroy/casia-webface"}
)
CUHK03_FROM = 100_000  # the number of CUHK03's person 0; a camera pair's people begin 1000 further on
MARKET1501_FROM = 200_000


def download(name: str) -> Path:
    """The folder of a Kaggle data set in kagglehub's cache, fetched where it is not there yet."""
    reason = missing_package("kagglehub", "kagglehub") or _missing_credentials()
    if reason:
        raise BackendError(f"--download of {HANDLES[name]} needs kagglehub and a Kaggle account: {reason}")
    kagglehub, failures = import_module("kagglehub"), import_module("kagglehub.exceptions")
    try:
        return Path(kagglehub.dataset_download(HANDLES[name]))
    # OSError: whatever requests raises. The others are kagglehub's own, which have no base of theirs.
    except (
        OSError,
        ValueError,
        failures.BackendError,
        failures.CredentialError,
        failures.DataCorruptionError,
        failures.NotFoundError,
        failures.UnauthenticatedError,
    ) as exc:
        raise DownloadError(f"Kaggle did not give {HANDLES[name]}: {str(exc).strip().partition(chr(10))[0]}") from exc


def _missing_credentials() -> str:
    """What to do, where Kaggle's own places hold no key."""
    given = "KAGGLE_API_TOKEN" in os.environ or {"KAGGLE_USERNAME", "KAGGLE_KEY"} <= os.environ.keys()
    folder = Path(os.environ.get("KAGGLE_CONFIG_DIR", "~/.kaggle")).expanduser()
    if given or any((folder / name).is_file() for name in ("kaggle.json", "access_token")):
        return ""
    return f"no key in {folder}/kaggle.json; create one under Settings, API on kaggle.com and save it there"


Wanted = Mapping[str, Path]  # data set -> the folder it is in, or in which to look for it


def reid_pictures(wanted: Wanted, *, required: Sequence[str] | None = None) -> list[Picture]:
    """The training people of Market-1501 and all of CUHK03, under numbers that keep everybody apart.

    Without `required` the sets that are there are taken, and the log says which is not.
    """
    pictures: list[Picture] = []
    for name in required or READERS:
        try:
            if name not in wanted:
                raise ConfigError(f"where is {name}? pass --data-root or --{name}-dir")
            # A set's name before the file's, so that a second run does not take what the first wrote for CUHK03.
            pictures += [replace(picture, stem=f"{name}_{picture.stem}") for picture in READERS[name](wanted[name])]
        except ConfigError as exc:
            if required:
                raise
            log.warning("left out %s: %s", name, exc)
    if not pictures:
        raise ConfigError(f"found neither of {', '.join(READERS)}; pass --data-root, --market1501-dir or --cuhk03-dir")
    return pictures


def _market1501(folder: Path) -> list[Picture]:
    train = DATASETS["market1501"](folder).train
    return from_records(train, person=lambda record: str(MARKET1501_FROM + int(record.person)))


def _cuhk03(folder: Path) -> list[Picture]:
    return from_records(cuhk03_records(folder))


READERS: Mapping[str, Callable[[Path], list[Picture]]] = MappingProxyType(
    {"cuhk03": _cuhk03, "market1501": _market1501}
)


def cuhk03_records(folder: Path) -> list[Record]:
    """CUHK03's images by their names, in the one folder at or below `folder` that holds any.

    Each camera pair numbers its people from 1 again, so a person is a number *of a pair*.
    """
    holding = list(_folders_with(folder))
    if len(holding) != 1:
        found = ", ".join(str(path) for path in holding) or "none"
        raise ConfigError(f"expected one folder of CUHK03 images (1_001_1_01.png) in {folder}, found {found}")
    records = []
    for path in sorted(holding[0].iterdir()):
        if said := CUHK03_IMAGE.fullmatch(path.name):
            pair, person, view = int(said[1]), int(said[2]), int(said[3])
            records.append(Record(path, str(CUHK03_FROM + 1000 * pair + person), cuhk03_camera(pair, view)))
    return records


def _folders_with(folder: Path) -> Iterator[Path]:
    for parent, _, names in sorted(os.walk(folder)):
        if _any_cuhk03(names):
            yield Path(parent)


def _any_cuhk03(names: Iterable[str]) -> bool:
    return any(CUHK03_IMAGE.fullmatch(name) for name in names)
