"""The tracks behind a page, in `tracks.npz` beside it: what `sightline select` makes its files of.

Of boxes and confidences that nobody knew it holds NaN.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.errors import SightlineError
from sightline.files import replacing
from sightline.types import Array, FloatArray, IntArray

FILE_NAME = "tracks.npz"
PAGE_NAME = "person_selection.html"
BOX = 4


@dataclass(frozen=True, eq=False)
class Track:
    """Where one person was, row by row in frame order. A frame of one camera is no frame of another."""

    frames: IntArray  # (N,)
    boxes_xyxy: FloatArray  # (N, 4)
    confidences: FloatArray  # (N,)
    cameras: IntArray  # (N,) places in `PageTracks.cameras`

    def __len__(self) -> int:
        return len(self.frames)

    def by_camera(self) -> dict[int, Track]:
        """A track for each camera that saw the person, by its place."""
        return {int(place): self.take(np.flatnonzero(self.cameras == place)) for place in np.unique(self.cameras)}

    def take(self, rows: IntArray) -> Track:
        """Those rows, in the order they are asked for."""
        return Track(self.frames[rows], self.boxes_xyxy[rows], self.confidences[rows], self.cameras[rows])


NO_TRACK = Track(np.empty(0, np.int64), np.empty((0, BOX), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))


@dataclass(frozen=True, eq=False)
class PageTracks:
    """Everybody on one page: the ids in the order of the page, and a track of each, empty where none was given."""

    page: str  # the hash that names the page's content
    sightline: str  # the version that wrote the page
    tracks: dict[str, Track]
    cameras: tuple[str, ...] = ("",)  # all that the rows are of; "" where nobody named it


def joined(tracks: Iterable[Track]) -> Track:
    """One track of several, by camera and frame. Of two rows for one frame of one camera the more confident stays; not
    known is least.
    """
    whole = _concatenated([NO_TRACK, *tracks])
    least = -np.nan_to_num(whole.confidences, nan=-np.inf)
    order = np.lexsort((least, whole.frames, whole.cameras))  # stable: of equals, the first given
    whole = whole.take(order)
    same = (np.diff(whole.frames) == 0) & (np.diff(whole.cameras) == 0)
    return whole.take(np.flatnonzero(~np.concatenate([np.zeros(min(len(whole), 1), bool), same])))


def _concatenated(tracks: Sequence[Track]) -> Track:
    return Track(
        np.concatenate([track.frames for track in tracks]),
        np.concatenate([track.boxes_xyxy for track in tracks]),
        np.concatenate([track.confidences for track in tracks]),
        np.concatenate([track.cameras for track in tracks]),
    )


def write_track(path: Path, track: Track, *, camera: str = "") -> None:
    """The seed pipeline's form: `frame_numbers` (N,), `bboxes` (N, 4) xyxy in pixels, `confidences` (N,). The track is
    of one camera, whose name is added as `camera` where one is given.
    """
    named: dict[str, Any] = {"camera": camera} if camera else {}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, frame_numbers=track.frames, bboxes=track.boxes_xyxy, confidences=track.confidences, **named)


def write_tracks(folder: Path, people: PageTracks) -> Path:
    """`tracks.npz` in the folder. Names are kept as JSON: an array of text would lose what ends in a NUL."""
    tracks = list(people.tracks.values())
    whole = _concatenated([NO_TRACK, *tracks])
    names = {"person_ids": list(people.tracks), "cameras": list(people.cameras)}
    meta = {"page": people.page, "sightline": people.sightline, **names}
    path = folder / FILE_NAME
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            meta=np.array(json.dumps(meta)),
            lengths=np.array([len(track) for track in tracks], np.int64),
            frames=whole.frames,
            boxes=whole.boxes_xyxy,
            confidences=whole.confidences,
            cameras=whole.cameras,
        )
    return path


def read_tracks(folder: Path) -> PageTracks:
    """What `write_tracks` wrote, or an earlier sightline that knew of one camera only. Raises `SightlineError` where it
    is missing or is something else.
    """
    path = folder / FILE_NAME
    try:
        with np.load(path, allow_pickle=False) as archive:
            meta = json.loads(str(archive["meta"]))
            cameras = tuple(map(str, meta.get("cameras", [""])))
            tracks = _tracks(archive["lengths"], _whole(archive, count=len(cameras)))
            people = dict(zip(meta["person_ids"], tracks, strict=True))
            return PageTracks(str(meta["page"]), str(meta["sightline"]), people, cameras)
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


def _whole(archive: Mapping[str, Array], *, count: int) -> Track:
    """Everybody's rows, of `count` cameras."""
    frames, boxes, confidences = (archive[name] for name in _ARRAYS)
    cameras = archive["cameras"] if "cameras" in archive else np.zeros(len(frames), np.int64)
    if cameras.dtype != np.int64 or ((cameras < 0) | (cameras >= count)).any():
        raise ValueError("it has rows of a camera it does not name")
    return Track(frames, boxes, confidences, cameras)


def _tracks(lengths: IntArray, whole: Track) -> Sequence[Track]:
    shapes = [array.shape for array in (whole.frames, whole.cameras, whole.confidences, whole.boxes_xyxy)]
    total = int(lengths.sum())
    if lengths.ndim != 1 or shapes != [(total,), (total,), (total,), (total, BOX)]:
        raise ValueError("its arrays do not belong together")
    if lengths.dtype != np.int64 or (lengths < 0).any():
        raise ValueError("the lengths of its tracks are no counts")
    ends = np.cumsum(lengths)
    return [whole.take(np.arange(end - length, end)) for length, end in zip(lengths, ends, strict=True)]
