"""A trajectory as a page: where the ball went, when it was lost, how fast it was, and how sure the network is.

One file that asks nothing of any network. Its numbers travel as base64 of typed arrays, so that an hour of video opens
as readily as a rally.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from sightline._version import __version__
from sightline.ball.trajectory import Gap, Summary, gaps, speeds_px_s, summarise
from sightline.files import replacing
from sightline.types import BallPoint

TEMPLATE = "trajectory.html"
LISTED_GAPS = 200  # the longest; a table of more is read by nobody


@dataclass(frozen=True)
class TrajectoryNotes:
    """Where the figures come from, for the head of the page."""

    source: str
    model: str
    weights: str = "unknown"  # as in the model's card
    inpaint: str = ""  # the model that filled gaps; empty: none was asked
    eval_mode: str = "weight"
    dropped: int = 0  # frames of a live source that were never looked at


def write_trajectory_page(
    path: Path, points: Sequence[BallPoint], *, fps: float, size_hw: tuple[int, int], notes: TrajectoryNotes
) -> Path:
    """The report of a trajectory in frames of that size. Raises `OutputError` where it cannot be written."""
    summary = summarise(points, fps=fps)
    data = {"fps": fps, "height": size_hw[0], "width": size_hw[1], **_columns(points, fps=fps)}
    page = _html(data, summary, _longest(gaps(points)), points=points, fps=fps, notes=notes)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return path


def _columns(points: Sequence[BallPoint], *, fps: float) -> dict[str, str]:
    """One array a property; NaN where there is no ball."""
    seen = np.array([point.visible for point in points], bool)
    x, y, confidence = (
        np.where(seen, [getattr(point, name) for point in points], np.nan) for name in ("x", "y", "confidence")
    )
    speed = speeds_px_s(points, fps=fps) if points else np.empty(0)
    numbers = {"x": x, "y": y, "speed": speed, "confidence": confidence}
    return {
        "frame": _packed(np.array([point.frame for point in points], "<i4")),
        "filled": _packed(np.array([point.filled for point in points], "u1")),
        **{name: _packed(values.astype("<f4")) for name, values in numbers.items()},
    }


def _packed(array: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _longest(found: Sequence[Gap]) -> list[Gap]:
    """In order of time."""
    return sorted(sorted(found, key=len, reverse=True)[:LISTED_GAPS], key=lambda gap: gap.start)


def _html(
    data: dict[str, Any],
    summary: Summary,
    found: Sequence[Gap],
    *,
    points: Sequence[BallPoint],
    fps: float,
    notes: TrajectoryNotes,
) -> str:
    environment = Environment(loader=PackageLoader("sightline.viewer"), autoescape=True, trim_blocks=True)
    loader = PackageLoader("sightline.viewer")
    style, script = (loader.get_source(environment, name)[0] for name in ("trajectory.css", "trajectory.js"))
    figures = {
        key: value for key, value in asdict(summary).items() if not (isinstance(value, float) and math.isnan(value))
    }
    return environment.get_template(TEMPLATE).render(
        notes=notes,
        figures=figures,
        seconds=len(points) / fps,
        fps=fps,
        gaps=[(points[gap.start].frame, points[gap.stop - 1].frame, len(gap)) for gap in found],
        version=__version__,
        style=Markup(style),
        script=Markup(script),
        policy={"style": _digest(style), "script": _digest(script)},
        data=Markup(json.dumps(data).replace("<", "\\u003c")),
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
