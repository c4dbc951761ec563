"""The history of a run: history.csv, and its curves as curves.png."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from sightline.files import replacing
from sightline.training.state import Epoch

PANELS = (("loss", "val_loss"), ("accuracy",), ("val_map", "val_rank1", "precision", "recall", "f1", "miss"), ("lr",))


def write_history(history: Sequence[Epoch], folder: Path) -> None:
    """One line an epoch; a figure that an epoch does not have is left empty."""
    columns = list(dict.fromkeys(name for epoch in history for name in epoch))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _short(value) for name, value in epoch.items()} for epoch in history)
    with replacing(folder / "history.csv") as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    _draw(history, folder / "curves.png")


def _short(value: float) -> str:
    return f"{value:.6g}"


def _draw(history: Sequence[Epoch], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    for axes, names in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for name in names:
            points = [(epoch["epoch"], epoch[name]) for epoch in history if name in epoch]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=name)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
