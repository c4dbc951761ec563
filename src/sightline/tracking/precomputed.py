"""Boxes that somebody else has found: read from a file, asked for by frame, or replayed as a detector.

Three kinds of file. `.txt` and `.csv` as the MOTChallenge writes detections: frame from 1, id, left, top, width,
height, score. `.json`: a list of objects with `frame`, `box`, `score`, `class`. `.npz`: arrays `frames` (N,), `boxes`
(N, 4), `scores` (N,), `classes` (N,). In the last two frames count from 0 and a box is its two corners; scores and
classes may be left out. Coordinates are kept as the file has them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sightline.errors import SourceError
from sightline.files import is_regular_file
from sightline.tracking.letterbox import Placement
from sightline.tracking.nms import FARTHEST, best_apart, taken
from sightline.types import Array, Detections, Image, IntArray

Numbers = NDArray[np.float64]
LAST_FRAME = 1e9
NOT_SCORED = -1.0  # what the MOTChallenge writes where there is no score
USUAL = {"frames": 0.0, "boxes": 0.0, "scores": 1.0, "classes": 0.0}  # the arrays of an .npz, and what stands for each


@dataclass(frozen=True, eq=False)
class _Columns:
    """The content of a file, one row a box, before anything is known to be sound."""

    frames: Numbers  # (N,) from 0
    boxes_xyxy: Numbers  # (N, 4)
    scores: Numbers  # (N,)
    classes: Numbers  # (N,)


class Precomputed:
    """All boxes of one video. As a detector it answers with those of the next frame for each picture it is shown."""

    def __init__(self, frames: IntArray, found: Detections, *, name: str = "precomputed") -> None:
        order = np.argsort(frames, kind="stable")
        self._frames = frames[order]
        self._found = taken(found, order)
        self._next = 0
        self.name = name
        count = int(found.classes.max(initial=0)) + 1
        self.classes = ("person",) if count == 1 else tuple(map(str, range(count)))

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def frame_count(self) -> int:
        """Up to the last frame with a box; the video may go on."""
        return int(self._frames[-1]) + 1 if len(self._frames) else 0

    def at(self, frame: int) -> Detections:
        """The boxes of a frame, counted from 0, best first; none where the file has none."""
        start, stop = np.searchsorted(self._frames, [frame, frame + 1])
        return best_apart(taken(self._found, np.arange(start, stop)), 1.0)

    def seek(self, frame: int) -> None:
        """Make this frame the next one, after a video was continued or frames of it were dropped."""
        self._next = frame

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """The boxes of as many frames as there are pictures, cut off where the picture ends."""
        answers = []
        for image in images:
            whole = Placement((image.shape[0], image.shape[1]), (0, 0), (1.0, 1.0))
            answers.append(whole.detections_to_source(self.at(self._next)))
            self._next += 1
        return answers

    def close(self) -> None:
        self._next = 0

    def __enter__(self) -> Precomputed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_detections(path: Path) -> Precomputed:
    """The boxes of a file, which may have none. Raises `SourceError` with what is wrong in it, and where."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SourceError(f"{path}: detections are read from {', '.join(READERS)}; got {path.suffix or 'no suffix'!r}")
    if not is_regular_file(path):
        raise SourceError(f"{path} is no file; expected detections")
    try:
        columns = reader(path)
    except OSError as exc:
        raise SourceError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise SourceError(f"{path} is not text; expected detections as {path.suffix}") from exc
    _require_sound(columns, path)
    found = Detections(
        columns.boxes_xyxy.astype(np.float32), columns.scores.astype(np.float32), columns.classes.astype(np.int64)
    )
    return Precomputed(columns.frames.astype(np.int64), found, name=path.stem)


def _read_mot(path: Path) -> _Columns:
    with path.open(encoding="utf-8-sig") as file:
        lines = [line for line in file if line.strip()]
    if not lines:
        return _Columns(np.empty(0), np.empty((0, 4)), np.empty(0), np.empty(0))
    try:
        table = np.loadtxt(lines, delimiter=",", ndmin=2)
    except ValueError as exc:
        raise SourceError(f"{path}: {exc}; expected lines of frame,id,left,top,width,height,score") from exc
    if table.shape[1] < 6:
        raise SourceError(f"{path}: {table.shape[1]} values a line; expected frame,id,left,top,width,height,score")
    scores = table[:, 6] if table.shape[1] > 6 else np.full(len(table), NOT_SCORED)
    boxes = np.hstack([table[:, 2:4], table[:, 2:4] + table[:, 4:6]])
    return _Columns(table[:, 0] - 1, boxes, _where_scored(scores), np.zeros(len(table)))


def _where_scored(scores: Numbers) -> Numbers:
    """A file that scores nothing counts as sure of everything."""
    return np.ones_like(scores) if (scores == NOT_SCORED).all() else scores


def _read_json(path: Path) -> _Columns:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, RecursionError) as exc:
        raise SourceError(f"{path} is not JSON: {exc}") from exc
    if not isinstance(rows, list):
        raise SourceError(
            f'{path}: expected a list of objects like {{"frame": 0, "box": [1, 2, 30, 40], "score": 0.9}}'
        )
    values = np.array([_json_row(row, index, path) for index, row in enumerate(rows)]).reshape(len(rows), 7)
    return _Columns(values[:, 0], values[:, 1:5], values[:, 5], values[:, 6])


def _json_row(row: object, index: int, path: Path) -> list[float]:
    """Frame, four corners, score and class of one object."""
    try:
        if isinstance(row, dict):
            values = [row["frame"], *row["box"], row.get("score", 1.0), row.get("class", 0)]
            if len(values) == 7 and all(type(value) in {int, float} for value in values):
                return [float(value) for value in values]
    except (KeyError, TypeError, OverflowError):
        pass  # said below, together with what else may be wrong with it
    shown = json.dumps(row)[:80]
    raise SourceError(f'{path}: item {index} is {shown}; expected "frame", "box" of four numbers, "score" and "class"')


def _read_npz(path: Path) -> _Columns:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content = {name: np.asarray(arrays[name]) for name in arrays.files if name in USUAL}
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError, NotImplementedError) as exc:
        raise SourceError(f"{path} is not an .npz of plain numbers, or is damaged: {exc}") from exc
    _require_arrays(content, path)
    count = len(content["frames"])
    frames, boxes, scores, classes = (
        content.get(name, np.full(count, usual)).astype(np.float64) for name, usual in USUAL.items()
    )
    return _Columns(frames, boxes, scores, classes)


def _require_arrays(content: Mapping[str, Array], path: Path) -> None:
    missing = [name for name in ("frames", "boxes") if name not in content]
    if missing:
        raise SourceError(
            f"{path} has no array {' and no array '.join(missing)}; expected frames, boxes, scores, classes"
        )
    count = content["frames"].size
    for name, array in content.items():
        wanted = (count, 4) if name == "boxes" else (count,)
        if array.shape != wanted or array.dtype.kind not in "iuf":
            raise SourceError(f"{path}: {name} is {array.dtype} {array.shape}; expected numbers {wanted}")


READERS: dict[str, Callable[[Path], _Columns]] = {
    ".txt": _read_mot,
    ".csv": _read_mot,
    ".json": _read_json,
    ".npz": _read_npz,
}


def _require_sound(columns: _Columns, path: Path) -> None:
    frames, boxes, classes = columns.frames, columns.boxes_xyxy, columns.classes
    with np.errstate(invalid="ignore"):
        wrong = {
            "its frame is no whole number, or comes before the first": ~_is_whole(frames, LAST_FRAME),
            "its box is not four numbers of a picture": ~(np.abs(boxes) < FARTHEST).all(axis=1),
            "its box has a negative size": (boxes[:, 2:] < boxes[:, :2]).any(axis=1),
            "its score is no number": ~np.isfinite(columns.scores),
            "its class is no whole number": ~_is_whole(classes, FARTHEST),
        }
    for why, rows in wrong.items():
        if rows.any():
            row = int(np.argmax(rows))
            raise SourceError(f"{path}: box {row + 1} of {len(frames)}: {why}: frame {frames[row]:g}, {boxes[row]}")


def _is_whole(values: Numbers, most: float) -> NDArray[np.bool_]:
    whole: NDArray[np.bool_] = (values >= 0) & (values <= most) & (values == np.floor(values))
    return whole
