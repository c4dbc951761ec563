"""Two models on one page: how the cosines lie, who is found by each, and the images on which they differ most.

One file that asks nothing of any network and runs no script. What images are called is data, never markup.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from sightline._version import __version__
from sightline.files import replacing
from sightline.types import FloatArray, Image
from sightline.viewer.webp import still

TEMPLATE, STYLE = "comparison.html", "comparison.css"
BINS = 48
PICTURE_WH = (96, 192)
WIDTH, HEIGHT = 720, 180  # of the histogram


@dataclass(frozen=True, eq=False)
class Shown:
    """One picture with what is said of it. Without the image there is only the name."""

    name: str
    score: float
    image: Image | None = None  # BGR

    @property
    def picture(self) -> str:
        if self.image is None:
            return ""
        content = still([self.image], size_wh=PICTURE_WH)
        return "data:image/webp;base64," + base64.b64encode(content).decode("ascii")


@dataclass(frozen=True, eq=False)
class PoorImage:
    """An image the two sides see differently, and whom each takes it for: its score is that of the two vectors."""

    subject: Shown
    by_a: Shown | None
    by_b: Shown | None


@dataclass(frozen=True)
class Row:
    """A figure of both sides, as text."""

    name: str
    a: str
    b: str
    change: str = ""


@dataclass(frozen=True)
class ComparisonNotes:
    """What is compared, and the verdict."""

    a: str
    b: str
    about_a: str
    about_b: str
    floor: float
    passed: bool
    rows: tuple[Row, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Bar:
    x: float
    y: float
    width: float
    height: float
    label: str
    below: bool  # the floor


def write_comparison_page(
    path: Path, cosines: FloatArray, worst: Sequence[PoorImage], *, notes: ComparisonNotes
) -> Path:
    """`cosines` are of every image, `worst` those to be shown, the smallest first. Raises `OutputError`."""
    loader = PackageLoader("sightline.viewer")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    style = loader.get_source(environment, STYLE)[0]
    lowest = min(float(cosines.min()), notes.floor)
    page = environment.get_template(TEMPLATE).render(
        notes=notes,
        count=len(cosines),
        figures=_figures(cosines),
        bars=_bars(cosines, lowest=lowest, floor=notes.floor),
        lowest=lowest,
        floor_x=_x(notes.floor, lowest),
        size=(WIDTH, HEIGHT),
        worst=worst,
        version=__version__,
        style=Markup(style),
        policy="sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii"),
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return path


def _figures(cosines: FloatArray) -> dict[str, float]:
    shares = {"one in a hundred below": 0.01, "one in ten below": 0.1, "half below": 0.5}
    quantiles = {name: float(np.quantile(cosines, share)) for name, share in shares.items()}
    return {"smallest": float(cosines.min()), **quantiles, "mean": float(cosines.mean(dtype=np.float64))}


def _x(cosine: float, lowest: float) -> float:
    return round(WIDTH * (cosine - lowest) / max(1 - lowest, 1e-9), 1)


def _bars(cosines: FloatArray, *, lowest: float, floor: float) -> list[_Bar]:
    """Heights by the square root of the count, so that the few that matter are seen beside the many that do not."""
    edges = np.linspace(lowest, max(1.0, float(cosines.max())), BINS + 1)
    counts, _ = np.histogram(cosines, edges)
    width = WIDTH / BINS
    heights = HEIGHT * np.sqrt(counts / counts.max())
    return [
        _Bar(
            round(place * width, 1),
            round(HEIGHT - height, 1),
            round(width - 1, 1),
            round(float(height), 1),
            f"{count:,} images from {edges[place]:.4f} to {edges[place + 1]:.4f}",
            bool(edges[place + 1] <= floor),
        )
        for place, (count, height) in enumerate(zip(counts.tolist(), heights.tolist(), strict=True))
        if count
    ]
