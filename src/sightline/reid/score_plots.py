"""How the scores of genuine and impostor pairs are spread, as an SVG: written by hand, it asks for no library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.card import Threshold
from sightline.files import replacing
from sightline.reid.calibrate import PairScores
from sightline.types import FloatArray

BINS = 80
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 40, 20, 64, 76  # pixels around the plot
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # between the numbers on the axis
GENUINE, IMPOSTOR, INK, FAINT = "#0f766e", "#b45309", "#1f2937", "#d1d5db"


def draw_scores(scores: PairScores, path: Path, *, thresholds: Sequence[Threshold] = ()) -> None:
    """Both distributions, each to its own total, and the thresholds across them. The same scores are the same bytes."""
    edges = _edges(scores)
    kinds = (("different people", scores.impostor, IMPOSTOR), ("same person", scores.genuine, GENUINE))
    densities = [_density(values, edges) for _, values, _ in kinds]
    tallest = max(float(density.max()) for density in densities)
    parts = [*_axis(edges), _text(LEFT, 28, f"Scores of {scores.aggregation} crops", size=18, weight=600)]
    parts.append(_text(LEFT, 48, scores.source, size=12))
    for order, ((name, values, colour), density) in enumerate(zip(kinds, densities, strict=True)):
        parts.append(_area(density / tallest, edges, colour))
        parts += _legend(order, f"{name} ({len(values):,} pairs)", colour)
    for order, threshold in enumerate(thresholds):
        parts += _line(threshold, edges, level=order)
    with replacing(path) as temporary:
        temporary.write_text(_document(parts), encoding="utf-8")


def _edges(scores: PairScores) -> NDArray[np.float64]:
    ends = [float(values[end]) for values in (scores.genuine, scores.impostor) for end in (0, -1) if len(values)]
    lowest, highest = min(ends), max(ends)
    return np.linspace(lowest, max(highest, lowest + 1e-6), BINS + 1)


def _density(values: FloatArray, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts, _ = np.histogram(values, edges)
    return counts / max(1, len(values))


def _x(score: float, edges: NDArray[np.float64]) -> float:
    share = (score - edges[0]) / (edges[-1] - edges[0])
    return float(LEFT + np.clip(share, 0, 1) * (WIDTH - LEFT - RIGHT))


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _area(shares: NDArray[np.float64], edges: NDArray[np.float64], colour: str) -> str:
    steps = [
        (edge, share) for start, stop, share in zip(edges, edges[1:], shares, strict=False) for edge in (start, stop)
    ]
    points = [(edges[0], 0.0), *steps, (edges[-1], 0.0)]
    path = " ".join(f"{_x(score, edges):.1f},{_y(share):.1f}" for score, share in points)
    return f'<polygon points="{path}" fill="{colour}" fill-opacity="0.35" stroke="{colour}" stroke-width="1.5"/>'


def _axis(edges: NDArray[np.float64]) -> list[str]:
    base = _y(0)
    parts = [f'<line x1="{LEFT}" y1="{base}" x2="{WIDTH - RIGHT}" y2="{base}" stroke="{FAINT}"/>']
    for score in _ticks(edges[0], edges[-1]):
        parts.append(_text(_x(score, edges), base + 18, f"{score:.2f}", size=11, anchor="middle"))
    return parts


def _ticks(lowest: float, highest: float) -> NDArray[np.float64]:
    """Round numbers between the two, ten at most."""
    step = next((step for step in STEPS if highest - lowest <= 9 * step), 1.0)
    return step * np.arange(np.ceil(lowest / step), np.floor(highest / step) + 1)


def _legend(order: int, text: str, colour: str) -> list[str]:
    x, y = LEFT + order * 300, HEIGHT - 22
    return [f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{colour}"/>', _text(x + 18, y, text, size=12)]


def _line(threshold: Threshold, edges: NDArray[np.float64], *, level: int) -> list[str]:
    x = _x(threshold.value, edges)
    left = x > WIDTH / 2
    label = f"{threshold.value:.4f}: false accepts {threshold.far:g}"
    return [
        f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{_y(0)}" stroke="{INK}" stroke-dasharray="5 4"/>',
        _text(x + (-6 if left else 6), TOP + 12 + 16 * level, label, size=12, anchor="end" if left else "start"),
    ]


def _text(x: float, y: float, text: str, *, size: int, anchor: str = "start", weight: int = 400) -> str:
    halo = 'stroke="white" stroke-width="4" paint-order="stroke"'  # so that no line crosses it
    style = f'font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{INK}" {halo}'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _document(parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *parts, "</svg>", ""])
