"""A trajectory: the ball's place in each frame of a clip, as a CSV, with its gaps, and how fast it went.

A trajectory is a list of `BallPoint`, one a frame, ascending. "Gap" means a run of frames without a visible ball.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ConfigError
from sightline.files import is_regular_file, replacing
from sightline.types import BallPoint

HEADER = ("Frame", "Visibility", "X", "Y", "Confidence", "Inpaint")
TOP_EDGE = 0.05  # of the picture's height: a ball lost above this left through the top

# The names each column goes by in label sets in circulation, in lower case.
KNOWN_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "frame": ("frame", "file name"),
        "visible": ("visibility", "ball", "visible"),
        "x": ("x", "x-coordinate"),
        "y": ("y", "y-coordinate"),
        "confidence": ("confidence",),
        "filled": ("inpaint",),
    }
)
_REQUIRED = ("frame", "visible", "x", "y")
_FRAME = re.compile(r"(\d{1,12})|\D*(\d{1,12})\.(?:png|jpe?g|bmp)", re.ASCII | re.IGNORECASE)
_FARTHEST = 1e6  # no picture is that large: a coordinate beyond it is a broken file

Coordinates = Literal["auto", "pixels", "normalised"]


# CSV


def write_trajectory(path: Path, points: Iterable[BallPoint]) -> Path:
    """One line a frame: coordinates rounded to whole pixels, 0,0 where no ball is visible. Returns the path."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(map(_row, points))
    return path


def _row(point: BallPoint) -> tuple[object, ...]:
    x, y = (round(point.x), round(point.y)) if point.visible else (0, 0)
    return point.frame, int(point.visible), x, y, f"{point.confidence:.4f}", int(point.filled)


def columns_from(text: str) -> dict[str, str]:
    """What a user calls the columns: {"x": "cx", "y": "cy"} for "x=cx,y=cy"; the others keep their known names."""
    pairs = [part.partition("=") for part in text.split(",")]
    unknown = [key.strip() for key, sign, name in pairs if key.strip() not in KNOWN_NAMES or not sign or not name]
    if unknown:
        raise ConfigError(f"columns {text!r} is not a list like x=cx,y=cy; the keys are {', '.join(KNOWN_NAMES)}")
    return {key.strip(): name.strip() for key, _, name in pairs}


def read_trajectory(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    size_hw: tuple[int, int] | None = None,
    coordinates: Coordinates = "auto",
) -> list[BallPoint]:
    """The points of a prediction or label CSV, in source pixels.

    `columns` names those that are called none of `KNOWN_NAMES`. A frame is a number or the file name of a picture; any
    visibility above 0 is visible, unless the place is -1,-1. With "auto", coordinates that all lie in 0..1 and are not
    all whole are shares of the picture, whose `size_hw` must then be given. Raises `ConfigError` naming the line.
    """
    points = list(_in_order(path, _points(path, columns or {})))
    if not points:
        raise ConfigError(f"{path} has a header but no rows; expected one row a frame")
    if coordinates == "normalised" or (coordinates == "auto" and _look_normalised(points)):
        return _in_pixels(path, points, size_hw)
    return points


def _points(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, BallPoint]]:
    """Each point with its line."""
    rows = _rows(path)
    _, header = next(rows, (1, []))
    places = _places(path, header, columns)
    for line, row in rows:
        if len(row) != len(header):
            raise ConfigError(f"{path}:{line}: {len(row)} values; expected {len(header)}, as many as there are columns")
        try:
            yield line, _point({key: row[place].strip() for key, place in places.items()})
        except ValueError as exc:
            raise ConfigError(f"{path}:{line}: {exc}") from exc


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    if not is_regular_file(path):
        raise ConfigError(f"{path} is no file; expected a CSV of a trajectory")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            yield from ((reader.line_num, row) for row in reader if row)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 text: save it as CSV in UTF-8") from exc
    except csv.Error as exc:
        raise ConfigError(f"{path}:{reader.line_num}: {exc}; expected comma-separated values") from exc


def _places(path: Path, header: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Where each column is. A name the caller gives is taken to the letter."""
    names = [name.strip() for name in header]
    lowered = [name.lower() for name in names]
    found = {}
    for key, known in KNOWN_NAMES.items():
        hits = [index for index, name in enumerate(lowered) if name in known]
        if key in columns:
            hits = [index for index, name in enumerate(names) if name == columns[key]]
        if len(hits) > 1:
            raise ConfigError(f"{path}:1: {len(hits)} columns could be {key}: {', '.join(header)}; name one")
        if hits:
            found[key] = hits[0]
        elif key in columns or key in _REQUIRED:
            wanted = columns.get(key) or " or ".join(known)
            raise ConfigError(f"{path}:1: no column for {key} ({wanted}); its columns are: {', '.join(header)[:200]}")
    return found


def _point(cells: Mapping[str, str]) -> BallPoint:
    frame = _FRAME.fullmatch(cells["frame"])
    if frame is None:
        raise ValueError(f"frame is {cells['frame'][:40]!r}; expected a whole number from 0, or a picture's file name")
    point = BallPoint(
        int(frame[1] or frame[2]),
        visible=_number(cells, "visible", low=0, high=3) > 0,
        confidence=_number(cells, "confidence", low=0, high=1) if "confidence" in cells else 0.0,
        filled="filled" in cells and _number(cells, "filled", low=0, high=1) > 0,
    )
    if not point.visible:  # whatever stands for "nowhere" in this set: 0, -1, nothing at all
        return point
    x, y = (_number(cells, key, low=-_FARTHEST, high=_FARTHEST) for key in ("x", "y"))
    return replace(point, visible=False) if x == y == -1 else replace(point, x=x, y=y)


def _number(cells: Mapping[str, str], key: str, *, low: float, high: float) -> float:
    try:
        value = float(cells[key])
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise ValueError(f"{key} is {cells[key][:40]!r}; expected a number from {low:g} to {high:g}")
    return value


def _in_order(path: Path, points: Iterable[tuple[int, BallPoint]]) -> Iterator[BallPoint]:
    last = -1
    for line, point in points:
        if point.frame <= last:
            raise ConfigError(f"{path}:{line}: frame {point.frame} after frame {last}; expected each once, ascending")
        last = point.frame
        yield point


def _look_normalised(points: Sequence[BallPoint]) -> bool:
    values = [value for point in points if point.visible for value in (point.x, point.y)]
    return all(0 <= value <= 1 for value in values) and any(value != int(value) for value in values)


def _in_pixels(path: Path, points: Sequence[BallPoint], size_hw: tuple[int, int] | None) -> list[BallPoint]:
    if size_hw is None:
        raise ConfigError(f"{path} gives places as shares of the picture; say its size, e.g. 720x1280 (height first)")
    height, width = size_hw
    return [replace(point, x=point.x * width, y=point.y * height) for point in points]


# Gaps


@dataclass(frozen=True)
class Gap:
    """Positions `start` up to `stop` of a trajectory, and the visible points on either side, if there are any."""

    start: int
    stop: int
    before: BallPoint | None
    after: BallPoint | None

    def __len__(self) -> int:
        return self.stop - self.start

    def is_crossed(self, edge_y: float) -> bool:
        """Whether the ball went on in the picture meanwhile, by the rule TrackNetV3 fills gaps with.

        It did unless it was lost, or came back, at or above `edge_y`, where it may have left through the top. At the
        start of a clip one side decides; a gap to the end is never crossed, and one that leaves but a single point
        before it neither.
        """
        if self.after is None or self.start == 1:
            return False
        return self.after.y > edge_y and (self.before is None or self.before.y > edge_y)


def gaps(points: Sequence[BallPoint]) -> list[Gap]:
    edges = np.flatnonzero(np.diff([True, *(point.visible for point in points), True]))
    return [
        Gap(start, stop, points[start - 1] if start else None, points[stop] if stop < len(points) else None)
        for start, stop in edges.reshape(-1, 2).tolist()
    ]


def inpaint_mask(
    points: Sequence[BallPoint], *, edge_y: float, max_gap: int | None = None
) -> NDArray[np.bool_]:  # (N,)
    """Which points are to be filled: those of crossed gaps, of at most `max_gap` frames where that is given.

    `edge_y` is `TOP_EDGE` times the height of the picture. The paper has no `max_gap`, and fills minutes of nothing.
    """
    mask = np.zeros(len(points), bool)
    for gap in gaps(points):
        if gap.is_crossed(edge_y) and (max_gap is None or len(gap) <= max_gap):
            mask[gap.start : gap.stop] = True
    return mask


def interpolate(points: Sequence[BallPoint], mask: NDArray[np.bool_]) -> list[BallPoint]:
    """The baseline to beat: masked points on the straight line between their visible neighbours in time.

    Before the first and after the last visible point it stays where that is. The other points are returned as they
    are, and all of them where none is visible.
    """
    seen = [point for point in points if point.visible]
    if not seen:
        return list(points)
    frames = [point.frame for point in points]
    x, y = (np.interp(frames, [p.frame for p in seen], axis) for axis in ([p.x for p in seen], [p.y for p in seen]))
    return [
        BallPoint(point.frame, True, float(x[index]), float(y[index]), filled=True) if mask[index] else point
        for index, point in enumerate(points)
    ]


# Figures


@dataclass(frozen=True)
class Summary:
    """A trajectory in numbers. Speeds are in source pixels a second, NaN where no two neighbours are visible."""

    frames: int
    visible: int  # filled ones included
    filled: int
    gaps: int
    longest_gap: int  # in frames
    median_speed: float
    top_speed: float


def summarise(points: Sequence[BallPoint], *, fps: float) -> Summary:
    lengths = [len(gap) for gap in gaps(points)]
    speeds = speeds_px_s(points, fps=fps)
    speeds = speeds[np.isfinite(speeds)]
    return Summary(
        frames=len(points),
        visible=sum(point.visible for point in points),
        filled=sum(point.filled for point in points),
        gaps=len(lengths),
        longest_gap=max(lengths, default=0),
        median_speed=float(np.median(speeds)) if len(speeds) else math.nan,
        top_speed=float(speeds.max()) if len(speeds) else math.nan,
    )


def speeds_px_s(points: Sequence[BallPoint], *, fps: float) -> NDArray[np.float64]:
    """(N,) from the point before to each, NaN for the first and where either is not visible."""
    places = np.array([(p.frame, p.x, p.y) if p.visible else (p.frame, np.nan, np.nan) for p in points], float)
    steps = np.diff(places.reshape(-1, 3), axis=0, prepend=np.nan)
    return np.asarray(np.hypot(steps[:, 1], steps[:, 2]) * fps / steps[:, 0])
