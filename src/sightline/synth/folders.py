"""Labelled pictures on disk: `images/<id>/….jpg` and `labels.csv`, the same bytes from any number of processes."""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2

from sightline.errors import ConfigError
from sightline.files import output_error, replacing
from sightline.types import Image

COLUMNS = ("img_path", "person_id", "camera_id")
_QUALITY = 95  # the camera has compressed already; this must not do it again


@dataclass(frozen=True, eq=False)
class Shot:
    """One labelled picture. Ids count from 1, as in the datasets people know; `index` from 0 within one camera."""

    image: Image
    person_id: int
    camera_id: int
    index: int

    @property
    def path(self) -> str:
        """Relative to the data set, with forward slashes on every system."""
        return f"images/{self.person_id:04d}/{self.person_id:04d}_c{self.camera_id}_{self.index:02d}.jpg"


ShotsOf = Callable[[int], Iterable[Shot]]  # person id -> all pictures of that person


def require_counts(**counts: int) -> None:
    """Raise `ConfigError` for the first count below one."""
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name} is {count}; expected at least 1")


def write_labelled(folder: Path, shots_of: ShotsOf, *, ids: int, workers: int) -> Path:
    """Write the pictures of the persons 1 to `ids`, then `labels.csv`, whose path is returned.

    The table comes last and whole: where it exists, every picture it names is there. Pictures of an earlier run under
    the same names are overwritten. `shots_of` must survive pickling when `workers` is more than one.
    """
    require_counts(ids=ids, workers=workers)
    try:
        (folder / "labels.csv").unlink(missing_ok=True)
        rows = [row for written in _all_written(folder, shots_of, ids, workers) for row in written]
    except OSError as exc:
        raise output_error(folder, exc) from exc
    target = folder / "labels.csv"
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    return target


Row = tuple[str, str, int]


def _all_written(folder: Path, shots_of: ShotsOf, ids: int, workers: int) -> Iterator[list[Row]]:
    persons = range(1, ids + 1)
    if workers == 1:
        yield from (_write_person(folder, shots_of, person_id) for person_id in persons)
        return
    # Not fork: a forked child inherits OpenCV's threads as locks that nobody will ever release.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        chunk = max(1, min(32, ids // (4 * workers)))
        yield from pool.map(
            _write_person, *zip(*((folder, shots_of, p) for p in persons), strict=True), chunksize=chunk
        )


def _write_person(folder: Path, shots_of: ShotsOf, person_id: int) -> list[Row]:
    rows: list[Row] = []
    for shot in shots_of(person_id):
        target = folder / shot.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _, data = cv2.imencode(".jpg", shot.image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        target.write_bytes(data.tobytes())
        rows.append((shot.path, f"{shot.person_id:04d}", shot.camera_id))
    return rows
