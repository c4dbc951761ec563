"""The command as a stranger runs it: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

COMMAND = [sys.executable, "-m", "sightline"]


def environment(**changes: str) -> dict[str, str]:
    """Ours, without what would change the output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SIGHTLINE", "LC_"))}
    return {**kept, "COLUMNS": "100", "NO_COLOR": "1", **changes}


def sightline(
    *arguments: str | Path, cwd: Path | None = None, before: Callable[[], None] | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """`before` runs in the new process before the command does."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(**env),
        preexec_fn=before,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def started(*arguments: str | Path) -> subprocess.Popen[str]:
    """The same, left running."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def write_crops(folder: Path, count: int, *, size_hw: tuple[int, int] = (48, 24)) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(folder.name))
    paths = [folder / f"{index:04}.png" for index in range(count)]
    for path in paths:
        PillowImage.fromarray(rng.integers(0, 256, (*size_hw, 3), np.uint8)).save(path, compress_level=0)
    return paths


def error_line(stderr: str) -> str:
    """The message of a command that failed, which must be all it said."""
    assert stderr.startswith("sightline: error: "), stderr
    assert stderr.count("\n") == 1 and stderr.endswith("\n"), stderr
    return stderr.removeprefix("sightline: error: ").rstrip("\n")
