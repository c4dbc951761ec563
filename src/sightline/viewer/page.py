"""The page where a person chooses: everybody a video showed, how alike they are, and what they turned out to be.

One file that asks nothing of any network, which its own policy tells the browser too: its one script and its one style
sheet are named in it by their hashes and nothing else may run. What people are called is data, never markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from sightline._version import __version__
from sightline.errors import ImageError
from sightline.files import output_error, replacing
from sightline.types import FloatArray, Image, IntArray
from sightline.viewer.tracks import BOX, NO_TRACK, PAGE_NAME, PageTracks, Track, write_tracks
from sightline.viewer.webp import looping_clip, still

CLIPS = "webp"  # the folder of the pictures, beside the page
INLINED_BELOW = 200  # people: beyond, a page of all pictures would take megabytes before it shows the first
SCORE_STEPS = 10_000  # a score on the page is an int16 of this many steps from 0 to 1
NO_SCORE = -32768
SCRIPTS = ("choice.js", "people.js", "cards.js", "heatmap.js", "dialogs.js", "page.js")


@dataclass(frozen=True, eq=False)
class PersonOnPage:
    """One card of the page, before anything is merged."""

    person_id: str  # as in similarity_matrix.json; any text
    crops: tuple[Image, ...]  # BGR, in time order; the looping picture is made of them
    first_s: float | None  # seconds from the start; None: not known
    last_s: float | None
    frames: IntArray | None = None  # (N,) frame numbers of the track
    boxes_xyxy: FloatArray | None = None  # (N, 4)
    confidences: FloatArray | None = None  # (N,)
    quality: float = 0.0  # 0..1
    camera: str = ""  # the one that saw the person; empty: not known, or `row_cameras` says more
    row_cameras: Sequence[str] | None = None  # (N,) the camera of each frame, of somebody seen by several
    seconds: float | None = None  # in view; None: from the first time to the last
    visits: int | None = None  # how often they came; None: nobody counted

    def __post_init__(self) -> None:
        count = 0 if self.frames is None else len(self.frames)
        for array, shape in ((self.boxes_xyxy, (count, BOX)), (self.confidences, (count,))):
            if array is not None and array.shape != shape:
                raise ValueError(f"person {self.person_id!r}: {count} frames with an array of shape {array.shape}")
        if self.row_cameras is not None and len(self.row_cameras) != count:
            raise ValueError(f"person {self.person_id!r}: {count} frames of {len(self.row_cameras)} cameras")

    @property
    def cameras(self) -> tuple[str, ...]:
        """All that saw the person, the first to do so first; "" for one nobody named."""
        return tuple(dict.fromkeys(self.row_cameras or (self.camera,)))

    def track(self, cameras: Sequence[str]) -> Track:
        """Empty where no frames are known; NaN for boxes and confidences that are not. `cameras` are the page's."""
        if self.frames is None:
            return NO_TRACK
        count = len(self.frames)
        boxes = np.full((count, BOX), np.nan) if self.boxes_xyxy is None else self.boxes_xyxy
        confidences = np.full(count, np.nan) if self.confidences is None else self.confidences
        place = {camera: place for place, camera in enumerate(cameras)}
        places = np.array([place[camera] for camera in self.row_cameras or [self.camera] * count], np.int64)
        return Track(self.frames.astype(np.int64), boxes.astype(np.float32), confidences.astype(np.float32), places)


@dataclass(frozen=True)
class PageNotes:
    """What the page must say about its figures."""

    title: str
    model: str
    model_type: str  # "onnx", "pytorch" or "random"
    fingerprint: str
    threshold: float
    calibrated: bool
    video: str = ""
    remark: str = ""  # what else there is to know, such as who is not on the page

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise ValueError(f"the threshold of a page is {self.threshold}; expected a finite number")

    @property
    def trained(self) -> bool:
        """Scores of random weights suggest nothing, so the page suggests no merge."""
        return self.model_type != "random"


def write_person_page(
    folder: Path,
    people: Sequence[PersonOnPage],
    *,
    similarity: FloatArray,
    notes: PageNotes,
    top: int = 10,
    clip_ms: int = 100,
    clip_size: tuple[int, int] = (256, 256),
) -> Path:
    """The page, `webp/person_<id>.webp` and `tracks.npz` in `folder`, which is made where it is missing.

    `similarity` is (N, N) in the order of `people`, NaN where two were not compared; `top` cards are shown at first;
    `clip_size` is (width, height) in pixels. The page is written last, and its path returned. Raises `ImageError` for
    a crop that is none, `OutputError` where the folder cannot be written.
    """
    _require_consistent(people, similarity)
    _make_folder(folder / CLIPS)
    content = hashlib.sha256()
    names = file_names([person.person_id for person in people])
    cards = []
    for person, name in zip(people, names, strict=True):
        clips = {f"{name}{kind}.webp": clip for kind, clip in _pictures(person, clip_ms=clip_ms, size_wh=clip_size)}
        for file_name, clip in clips.items():
            _write(folder / CLIPS / file_name, clip)
            content.update(clip)
        cards.append(_card(person, clips, inlined=len(people) < INLINED_BELOW))
    data = _data(people, cards, similarity=similarity, notes=notes, top=top)
    content.update(json.dumps(data, sort_keys=True).encode())
    page = content.hexdigest()
    cameras = _cameras(people)
    tracks = {person.person_id: person.track(cameras) for person in people}
    write_tracks(folder, PageTracks(page, __version__, tracks, cameras))
    _write(folder / PAGE_NAME, _html({"page": page, **data}, notes, page=page).encode("utf-8", "replace"))
    return folder / PAGE_NAME


def _data(
    people: Sequence[PersonOnPage],
    cards: Sequence[dict[str, Any]],
    *,
    similarity: FloatArray,
    notes: PageNotes,
    top: int,
) -> dict[str, Any]:
    """All the script of the page is told."""
    return {
        "sightline": __version__,
        "notes": {**asdict(notes), "trained": notes.trained},
        "top": top,
        "people": cards,
        "similarity": _packed(similarity),
        "together": seen_together(people),
    }


def _require_consistent(people: Sequence[PersonOnPage], similarity: FloatArray) -> None:
    count = len(people)
    if len({person.person_id for person in people}) != count:
        raise ValueError("two people on one page have the same person_id")
    if similarity.shape != (count, count):
        raise ValueError(f"{count} people with a similarity of shape {similarity.shape}; expected ({count}, {count})")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def file_names(person_ids: Sequence[str]) -> list[str]:
    """`person_<id>` where the id is plain, else its plain letters and a digest: distinct for distinct ids.

    Capital letters are not plain, for on some systems P3 and p3 are one file; nor is `~`, which marks the digests.
    """
    return [f"person_{person if _PLAIN.fullmatch(person) else _slug(person)}" for person in person_ids]


_PLAIN = re.compile(r"[a-z0-9_-]{1,40}")


def _slug(person_id: str) -> str:
    letters = re.sub(r"[^a-z0-9_-]+", "-", person_id[:40].lower()).strip("-")
    digest = hashlib.sha256(person_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{letters}~{digest[:16]}"


def _pictures(person: PersonOnPage, *, clip_ms: int, size_wh: tuple[int, int]) -> Iterator[tuple[str, bytes]]:
    """What is added to the name, and the bytes. A person of one crop needs no still beside it; of none, no picture."""
    try:
        if person.crops:
            yield "", looping_clip(person.crops, clip_ms=clip_ms, size_wh=size_wh)
        if len(person.crops) > 1:
            yield ".still", still(person.crops, size_wh=size_wh)
    except ImageError as exc:
        raise ImageError(f"person {person.person_id!r}: {exc}") from exc


def _data_uri(content: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(content).decode("ascii")


def _card(person: PersonOnPage, clips: dict[str, bytes], *, inlined: bool) -> dict[str, Any]:
    sources = [_data_uri(clip) if inlined else f"{CLIPS}/{name}" for name, clip in clips.items()]
    return {
        **dict(zip(("clip", "still"), sources, strict=False)),
        "id": person.person_id,
        "first": _known(person.first_s),
        "last": _known(person.last_s),
        "frames": None if person.frames is None else len(person.frames),
        "seconds": _known(person.seconds),
        "visits": person.visits,
        "quality": _known(person.quality),
        "cameras": [camera for camera in person.cameras if camera],
    }


def _known(number: float | None) -> float | None:
    """JSON has no NaN."""
    return None if number is None or not math.isfinite(number) else round(float(number), 3)


def _packed(similarity: FloatArray) -> str:
    """Row by row as little-endian int16: a thousand people are a million scores."""
    limit = -NO_SCORE - 1
    steps = np.clip(np.round(similarity.astype(np.float64) * SCORE_STEPS), -limit, limit)
    return base64.b64encode(np.where(np.isnan(steps), NO_SCORE, steps).astype("<i2").tobytes()).decode("ascii")


def _cameras(people: Sequence[PersonOnPage]) -> tuple[str, ...]:
    return tuple(sorted({camera for person in people for camera in person.cameras})) or ("",)


def seen_together(people: Sequence[PersonOnPage]) -> list[tuple[int, int, int]]:
    """(i, j, frames) for every two people whom one camera saw in one frame, i < j. Nobody is in two places at once."""
    cameras = _cameras(people)
    together = np.zeros((len(people), len(people)), np.int64)
    tracks = [person.track(cameras).by_camera() for person in people]
    for camera in range(len(cameras)):
        frames = [(place, own[camera].frames) for place, own in enumerate(tracks) if camera in own]
        _count_together(together, [np.stack([own, np.full(len(own), place)]) for place, own in frames])
    return [(int(i), int(j), int(together[i, j])) for i, j in np.argwhere(np.triu(together, 1))]


def _count_together(together: IntArray, rows: Sequence[IntArray]) -> None:
    """Adds to `together[i, j]` the frames of one camera that both i and j are in."""
    frames, places = np.concatenate([np.empty((2, 0), np.int64), *rows], axis=1)
    order = np.argsort(frames, kind="stable")
    starts = np.flatnonzero(np.diff(frames[order])) + 1
    for present in np.split(places[order], starts):
        together[np.ix_(present, present)] += 1


def _html(data: dict[str, Any], notes: PageNotes, *, page: str) -> str:
    environment = Environment(loader=PackageLoader("sightline.viewer"), autoescape=True, trim_blocks=True)
    loader = PackageLoader("sightline.viewer")
    style, *scripts = (loader.get_source(environment, name)[0] for name in ("page.css", *SCRIPTS))
    script = "\n".join(scripts)
    return environment.get_template(PAGE_NAME).render(
        notes=notes,
        page=page,
        count=len(data["people"]),
        cameras=len({camera for person in data["people"] for camera in person["cameras"]}),
        version=__version__,
        style=Markup(style),
        script=Markup(script),
        policy={"style": _digest(style), "script": _digest(script)},
        data=Markup(json.dumps(data).replace("<", "\\u003c")),
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
