"""A notebook from plain text: cells begin with `# %%`, those of prose with `# %% [markdown]`."""

from __future__ import annotations

import json
import re
from typing import Any

CELL = re.compile(r"^# %%( \[markdown\])?\n", flags=re.MULTILINE)


def notebook_of(text: str) -> str:
    """Format 4.5, without outputs, and the same bytes for the same text."""
    _, *parts = CELL.split(text)
    kinds, bodies = parts[::2], parts[1::2]
    cells = [
        _cell(number, body.strip("\n"), prose=kind is not None)
        for number, (kind, body) in enumerate(zip(kinds, bodies, strict=True), start=1)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _cell(number: int, body: str, *, prose: bool) -> dict[str, Any]:
    lines = [line.removeprefix("#").removeprefix(" ") for line in body.splitlines()] if prose else body.splitlines()
    cell: dict[str, Any] = {"cell_type": "markdown" if prose else "code", "id": f"cell-{number:02}", "metadata": {}}
    cell["source"] = [f"{line}\n" for line in lines[:-1]] + lines[-1:]
    return cell if prose else {**cell, "execution_count": None, "outputs": []}
