"""How often the ball was found, counted as the TrackNet papers count it.

A frame is one of five things: TP, the ball was there and found within the tolerance; FP1, there, but found elsewhere;
FP2, found where there was none; FN, there and not found; TN, neither. Distances are in the 512×288 pixels the network
sees, whatever the size of the video, so that figures of different videos compare.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sightline.ball.heatmap import HEIGHT, WIDTH
from sightline.errors import ConfigError
from sightline.types import BallPoint

TOLERANCE = 4.0  # network pixels, inclusive

Outcome = Literal["tp", "tn", "fp1", "fp2", "fn"]


@dataclass(frozen=True)
class Counts:
    """How many frames were what, and the rates that follow; a rate of nothing is 0, as the papers have it."""

    tp: int = 0
    tn: int = 0
    fp1: int = 0
    fp2: int = 0
    fn: int = 0

    def __add__(self, other: Counts) -> Counts:
        ours, theirs = asdict(self), asdict(other)
        return Counts(**{name: ours[name] + theirs[name] for name in ours})

    @property
    def frames(self) -> int:
        return self.tp + self.tn + self.fp1 + self.fp2 + self.fn

    @property
    def accuracy(self) -> float:
        return _share(self.tp + self.tn, self.frames)

    @property
    def precision(self) -> float:
        return _share(self.tp, self.tp + self.fp1 + self.fp2)

    @property
    def recall(self) -> float:
        """Of the frames where the ball was there and nothing else was taken for it: FP1 does not count against it."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        return _share(2 * self.precision * self.recall, self.precision + self.recall)

    @property
    def miss_rate(self) -> float:
        return _share(self.fn, self.tp + self.fn)

    def figures(self) -> dict[str, float]:
        """Counts and rates by name, in the order they are printed."""
        names = ("accuracy", "precision", "recall", "f1", "miss_rate")
        return {**asdict(self), **{name: getattr(self, name) for name in names}}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def outcome(
    label: BallPoint, found: BallPoint | None, *, size_hw: tuple[int, int], tolerance: float = TOLERANCE
) -> Outcome:
    """What one frame was, for points in pixels of a video of `size_hw`."""
    if found is None or not found.visible:
        return "fn" if label.visible else "tn"
    if not label.visible:
        return "fp2"
    height, width = size_hw
    distance = math.hypot((found.x - label.x) * WIDTH / width, (found.y - label.y) * HEIGHT / height)
    return "tp" if distance <= tolerance else "fp1"


@dataclass(frozen=True)
class Score:
    """A prediction held against labels."""

    counts: Counts
    unanswered: int = 0  # labelled frames the prediction has no row for; scored as "no ball found"
    unlabelled: int = 0  # rows of the prediction nothing is known about; not scored

    def __add__(self, other: Score) -> Score:
        return Score(self.counts + other.counts, self.unanswered + other.unanswered, self.unlabelled + other.unlabelled)


def score(
    labels: Sequence[BallPoint],
    found: Iterable[BallPoint],
    *,
    size_hw: tuple[int, int],
    tolerance: float = TOLERANCE,
    frames: range | None = None,
) -> Score:
    """Every label, or those in `frames`, against the point found in its frame. Order does not matter."""
    answers = {point.frame: point for point in found}
    asked = {point.frame: point for point in labels if frames is None or point.frame in frames}
    outcomes: Counter[str] = Counter(
        outcome(label, answers.get(frame), size_hw=size_hw, tolerance=tolerance) for frame, label in asked.items()
    )
    labelled = {point.frame for point in labels}
    return Score(Counts(**outcomes), len(asked.keys() - answers.keys()), len(answers.keys() - labelled))


# The frames that count


def read_rally_frames(path: Path) -> dict[str, range]:
    """The part of each rally that the test set is scored in, by rally: the dataset's `drop_frame.json`.

    Its `end` is the first frame that no longer counts. Raises `ConfigError` for any other file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        starts, ends = content["start"], content["end"]
        spans = {str(rally): range(_frame(start), _frame(ends[rally])) for rally, start in starts.items()}
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ConfigError(f"{path} is no drop_frame.json; expected a start and an end frame for each rally") from exc
    return spans


def _frame(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no frame")
    return value


def frames_of_rally(spans: Mapping[str, range], labels: Path) -> range:
    """The frames that count of the rally a label file is of: match1/…/1_05_02_ball.csv is rally 1_1_05_02."""
    match = next((found[1] for part in reversed(labels.parts) if (found := re.fullmatch(r"match(\d+)", part))), None)
    rally = f"{match}_{labels.stem.removesuffix('_ball')}"
    if rally not in spans:
        known = f"it has {len(spans)} rallies, such as {next(iter(spans), 'none')}"
        raise ConfigError(f"{labels} is rally {rally}, for which no frames are given: {known}")
    return spans[rally]
