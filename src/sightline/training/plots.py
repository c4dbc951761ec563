"""The figures of an evaluation as pictures: ROC, CMC, and how the scores of pairs are spread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sightline.files import replacing
from sightline.reid.metrics import Ranking
from sightline.reid.verification import Eer, TarAtFar
from sightline.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 500  # of the ROC; more cannot be told apart at this size
BINS = 80
RANKS = 20
DPI = 150

GENUINE, IMPOSTOR, ACCENT, INK, FAINT = "#0f766e", "#b45309", "#1d4ed8", "#1f2937", "#9ca3af"
LINES = (ACCENT, IMPOSTOR, GENUINE)


def roc_points(
    genuine: FloatArray, impostor: FloatArray, *, points: int = POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(FAR, TAR) of thresholds spread evenly over the logarithm of FAR, both ascending; the last is (1, 1).

    Both scores are ascending. The thresholds are impostor scores, and a pair is accepted where it reaches one.
    """
    accepted = np.unique(np.logspace(0, np.log10(len(impostor)), points).round().astype(np.int64))
    thresholds = impostor[len(impostor) - accepted]
    fars = 1 - np.searchsorted(impostor, thresholds, side="left") / len(impostor)
    tars = 1 - np.searchsorted(genuine, thresholds, side="left") / len(genuine)
    fars[-1] = tars[-1] = 1.0  # the threshold below all
    return fars, tars


def draw_roc(
    genuine: FloatArray, impostor: FloatArray, path: Path, *, eer: Eer, tars: tuple[TarAtFar, ...] = ()
) -> None:
    """FAR on a logarithmic axis: what matters lies at its small end. Rates too few pairs stand behind are hollow."""
    figure, axes = _panel("false accept rate", "true accept rate")
    fars, accepted = roc_points(genuine, impostor)
    axes.plot(fars, accepted, color=ACCENT, lw=2)
    axes.set_xscale("log")
    axes.set_xlim(min(fars[0], *(tar.far for tar in tars), 0.1), 1)
    axes.set_ylim(0, 1.02)
    for tar in tars:
        face = ACCENT if tar.reliable else "white"
        axes.plot(tar.far, tar.tar, "o", ms=7, mfc=face, mec=ACCENT, clip_on=False, zorder=3)
    axes.plot(eer.rate, 1 - eer.rate, "D", ms=7, color=IMPOSTOR, label=f"EER {eer.rate:.2%}", zorder=3)
    axes.legend(loc="lower right", frameon=False)
    _title(axes, "ROC", f"{eer.genuine_pairs:,} genuine, {eer.impostor_pairs:,} impostor pairs")
    _save(figure, path)


def draw_cmc(rankings: Mapping[str, Ranking], path: Path) -> None:
    """The first ranks of one or more ways to rank, by name."""
    figure, axes = _panel("rank", "queries found by then")
    lowest = 1.0
    for (name, ranking), color in zip(rankings.items(), LINES, strict=False):
        cmc = ranking.cmc[:RANKS]
        lowest = min(lowest, float(cmc[0]))
        label = f"{name}: rank-1 {cmc[0]:.1%}, mAP {ranking.map_mean_precision:.1%}"
        axes.plot(np.arange(1, len(cmc) + 1), cmc, marker="o", ms=4, lw=2, color=color, label=label)
    axes.set_xlim(0.5, RANKS + 0.5)
    axes.set_xticks([1, 5, 10, 15, 20])
    axes.set_ylim(max(0.0, np.floor(lowest * 10) / 10 - 0.1), 1.02)
    axes.legend(loc="lower right", frameon=False)
    queries = next(iter(rankings.values())).queries
    _title(axes, "CMC", f"{queries:,} queries")
    _save(figure, path)


def draw_scores(genuine: FloatArray, impostor: FloatArray, path: Path, *, eer: Eer) -> None:
    """How the scores of both kinds of pair are spread, each to its own total, and the threshold between them."""
    figure, axes = _panel("cosine of a pair", "density")
    lowest = float(min(genuine[0], impostor[0]))
    highest = float(max(genuine[-1], impostor[-1]))
    edges = np.linspace(lowest, max(highest, lowest + 1e-6), BINS + 1)
    for name, scores, color in (("impostor", impostor, IMPOSTOR), ("genuine", genuine, GENUINE)):
        counts, _ = np.histogram(scores, edges)
        density = counts / (len(scores) * np.diff(edges))
        axes.stairs(density, edges, fill=True, color=color, alpha=0.35)
        axes.stairs(density, edges, color=color, lw=1.5, label=f"{name} ({len(scores):,})")
    axes.axvline(eer.threshold, color=INK, lw=1.2, ls="--", label=f"EER {eer.rate:.2%} at {eer.threshold:.3f}")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    _title(axes, "Scores", "same person and different people")
    _save(figure, path)


def _panel(x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.grid(alpha=0.35, lw=0.6, color=FAINT)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK)
    return figure, axes


def _title(axes: Axes, title: str, rest: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", color=INK)
    axes.set_title(rest, loc="right", fontsize=9, color=INK)


def _save(figure: Figure, path: Path) -> None:
    """Without the version of the library in it, so that the same figures are the same bytes."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
