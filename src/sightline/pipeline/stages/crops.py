"""Pictures of persons taken from a recording: a folder each, as `crop_folders` reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from sightline.files import output_error
from sightline.images import MIN_SIDE
from sightline.pipeline.stages.tracklet_file import Film
from sightline.sources import open_recording
from sightline.types import FloatArray, Frame, Image, Tracklet
from sightline.video import ImageFolder, VideoFile

JPEG_QUALITY = 95
TRACK = "track.npz"


def write_crops(
    video: Path,
    persons: Sequence[Tracklet],
    folder: Path,
    *,
    per_person: int,
    progress: Callable[[int, int], None],
) -> None:
    """Up to `per_person` crops of each, evenly spread over the frames they are seen in, named by these.

    The recording is read once, and no further than it has to be. Boxes that leave too little of a picture have none.
    """
    wanted: dict[int, list[tuple[Tracklet, int]]] = defaultdict(list)
    for person in persons:
        make_folder(folder / str(person.track_id))
        for row in spread(len(person.frames), per_person):
            wanted[int(person.frames[row])].append((person, row))
    with open_recording(video) as recording:
        for done, frame in enumerate(_pictures(recording, sorted(wanted))):
            progress(done, len(wanted))
            for person, row in wanted.get(frame.index, ()):
                _write(folder / str(person.track_id), frame, person.boxes_xyxy[row])


def spread(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers 0 to `count` - 1, the first and the last among them, evenly."""
    places = np.linspace(0, count - 1, min(count, most)).round().astype(int)
    return [int(place) for place in np.unique(places)]


def _pictures(recording: VideoFile | ImageFolder, frames: Sequence[int]) -> Iterator[Frame]:
    """The frames of those numbers, ascending; for one that cannot be decoded the next that can, whatever its number."""
    last = -1
    for number in frames:
        if number <= last:
            continue
        recording.start_at(number)
        frame = next(iter(recording), None)
        if frame is None:
            return
        last = frame.index
        yield frame


def _write(folder: Path, frame: Frame, box_xyxy: FloatArray) -> None:
    crop = crop_of(frame.image, box_xyxy)
    if min(crop.shape[:2]) < MIN_SIDE:
        return
    _, content = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    write_bytes(folder / f"{frame.index:06}.jpg", content.tobytes())


def crop_of(image: Image, box_xyxy: FloatArray) -> Image:
    """All pixels that the box touches, inside the picture."""
    height, width = image.shape[:2]
    left, top = np.floor(box_xyxy[:2]).clip(0, [width, height]).astype(int)
    right, bottom = np.ceil(box_xyxy[2:]).clip(0, [width, height]).astype(int)
    return image[top:bottom, left:right]


def write_track(folder: Path, person: Tracklet, film: Film) -> None:
    """What `crop_folders` reads beside the crops."""
    try:
        with (folder / TRACK).open("wb") as file:
            np.savez(
                file,
                frame_numbers=person.frames,
                bboxes=person.boxes_xyxy,
                confidences=person.scores,
                fps=np.array(film.fps),
                frame_size=np.array([film.width, film.height]),
            )
    except OSError as exc:
        raise output_error(folder / TRACK, exc) from exc


def write_bytes(path: Path, content: bytes) -> None:
    """Not by renaming, and not flushed to the disk: the folder they are in gets its name when all of it is there."""
    try:
        path.write_bytes(content)
    except OSError as exc:
        raise output_error(path, exc) from exc


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(path, exc) from exc
