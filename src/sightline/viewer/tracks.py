"""The tracks behind a page, in `tracks.npz` beside it: what `sightline select` makes its files of.

Of boxes and confidences that nobody knew it holds NaN.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline.errors import SightlineError
from sightline.files import replacing
from sightline.types import FloatArray, IntArray

FILE_NAME = "tracks.npz"
PAGE_NAME = "person_selection.html"
BOX = 4


@dataclass(frozen=True, eq=False)
class Track:
    """Where one person was, row by row in frame order."""

    frames: IntArray  # (N,)
    boxes_xyxy: FloatArray  # (N, 4)
    confidences: FloatArray  # (N,)

    def __len__(self) -> int:
        return len(self.frames)


NO_TRACK = Track(np.empty(0, np.int64), np.empty((0, BOX), np.float32), np.empty(0, np.float32))


@dataclass(frozen=True, eq=False)
class PageTracks:
    """Everybody on one page: the ids in the order of the page, and a track of each, empty where none was given."""

    page: str  # the hash that names the page's content
    sightline: str  # the version that wrote the page
    tracks: dict[str, Track]


def joined(tracks: Iterable[Track]) -> Track:
    """One track of several, in frame order. Of two rows for one frame the more confident stays; not known is least."""
    parts = [NO_TRACK, *tracks]
    frames = np.concatenate([part.frames for part in parts])
    boxes = np.concatenate([part.boxes_xyxy for part in parts])
    confidences = np.concatenate([part.confidences for part in parts])
    order = np.lexsort((-np.nan_to_num(confidences, nan=-np.inf), frames))  # stable: of equals, the first given
    kept = order[np.diff(frames[order], prepend=frames[order][:1] - 1) != 0]
    return Track(frames[kept], boxes[kept], confidences[kept])


def write_track(path: Path, track: Track) -> None:
    """The seed pipeline's form: `frame_numbers` (N,), `bboxes` (N, 4) xyxy in pixels, `confidences` (N,)."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, frame_numbers=track.frames, bboxes=track.boxes_xyxy, confidences=track.confidences)


def write_tracks(folder: Path, people: PageTracks) -> Path:
    """`tracks.npz` in the folder. Ids are kept as JSON: an array of text would lose what ends in a NUL."""
    tracks = [NO_TRACK, *people.tracks.values()]
    meta = {"page": people.page, "sightline": people.sightline, "person_ids": list(people.tracks)}
    path = folder / FILE_NAME
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            meta=np.array(json.dumps(meta)),
            lengths=np.array([len(track) for track in tracks[1:]], np.int64),
            frames=np.concatenate([track.frames for track in tracks]),
            boxes=np.concatenate([track.boxes_xyxy for track in tracks]),
            confidences=np.concatenate([track.confidences for track in tracks]),
        )
    return path


def read_tracks(folder: Path) -> PageTracks:
    """What `write_tracks` wrote. Raises `SightlineError` where it is missing or is something else."""
    path = folder / FILE_NAME
    try:
        with np.load(path, allow_pickle=False) as archive:
            meta = json.loads(str(archive["meta"]))
            names, tracks = meta["person_ids"], _tracks(archive["lengths"], *(archive[name] for name in _ARRAYS))
            return PageTracks(str(meta["page"]), str(meta["sightline"]), dict(zip(names, tracks, strict=True)))
    except FileNotFoundError as exc:
        raise SightlineError(
            f"{folder} has no {FILE_NAME}; expected the folder that `sightline cluster` wrote"
        ) from exc
    except _UNREADABLE as exc:
        raise SightlineError(f"{path} cannot be used ({exc}); write the page again") from exc


def read_page_tracks(page: Path) -> PageTracks:
    """The tracks of a page, or of the page in a folder. Raises `SightlineError` where they are those of another page,
    as after a run that was stopped between the two, or where a page was moved without its tracks.
    """
    folder = page if page.is_dir() else page.parent
    html = folder / PAGE_NAME if page.is_dir() else page
    try:
        found = _PAGE_HASH.search(html.read_bytes())
    except OSError as exc:
        raise SightlineError(f"{html} cannot be read: {exc.strerror}; expected a page of `sightline cluster`") from exc
    if found is None:
        raise SightlineError(f"{html} is no page of `sightline cluster`")
    people = read_tracks(folder)
    if people.page.encode() != found[1]:
        raise SightlineError(f"{folder / FILE_NAME} belongs to another page than {html}; write the page again")
    return people


_PAGE_HASH = re.compile(rb'<meta name="sightline-page" content="([0-9a-f]{64})">')
_ARRAYS = ("frames", "boxes", "confidences")
_UNREADABLE = (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)


def _tracks(lengths: IntArray, frames: IntArray, boxes: FloatArray, confidences: FloatArray) -> Sequence[Track]:
    total = int(lengths.sum())
    if lengths.ndim != 1 or (frames.shape, boxes.shape, confidences.shape) != ((total,), (total, BOX), (total,)):
        raise ValueError("its arrays do not belong together")
    if lengths.dtype != np.int64 or (lengths < 0).any():
        raise ValueError("the lengths of its tracks are no counts")
    cuts = np.cumsum(lengths)[:-1]
    parts = (np.split(array, cuts) for array in (frames, boxes, confidences))
    return [Track(*rows) for rows in zip(*parts, strict=True)][: len(lengths)]
