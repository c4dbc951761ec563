"""Throughput and latency over batch sizes, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.deploy.ascend.performance import STAND_IN
from sightline.files import replacing
from sightline.runtime.backend import missing_package

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sightline.deploy.ascend.report import Row

SPEED, LATENCY, INK, FAINT = "#1d4ed8", "#b45309", "#1f2937", "#9ca3af"


def why_no_plot() -> str:
    """The reason there will be none; empty when there will."""
    return missing_package("matplotlib", "'sightline[train]'")


def draw_throughput(rows: Sequence[Row], path: Path, *, soc: str) -> None:
    """Samples/s of one device as bars, milliseconds of a sample as a line. Who measured it is in the title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(rows))
    bars = axes.bar(places, [row.pure or row.data or 0.0 for row in rows], width=0.55, color=SPEED, alpha=0.85)
    axes.bar_label(bars, fmt="{:,.0f}", color=INK, fontsize=9)
    axes.set_xticks(list(places), [str(row.batch) for row in rows])
    axes.set_xlabel("batch size", color=INK)
    axes.set_ylabel("samples/s of one device", color=SPEED)
    _draw_latency(axes.twinx(), rows)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("Throughput", loc="left", fontweight="bold", color=INK)
    axes.set_title(_measured(rows, soc), loc="right", fontsize=9, color=INK)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})


def _draw_latency(axes: Axes, rows: Sequence[Row]) -> None:
    known = [(place, row.latency_ms) for place, row in enumerate(rows) if row.latency_ms is not None]
    if known:
        axes.plot(*zip(*known, strict=True), color=LATENCY, marker="o", ms=5, lw=2)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("ms per sample", color=LATENCY)
    axes.spines[["top"]].set_visible(False)
    axes.spines[["left", "bottom", "right"]].set_color(FAINT)


def _measured(rows: Sequence[Row], soc: str) -> str:
    stood_in = any(row.measured_by.startswith(STAND_IN) for row in rows)
    return f"stand-in, not an {soc}" if stood_in else f"one {soc} chip"
