"""The file every kind of evaluation leaves in the folder it is given."""

from __future__ import annotations

from pathlib import Path

from sightline.files import output_error, replacing


def write_metrics(folder: Path, text: str) -> None:
    """`metrics.json` in a folder that is made where it is missing. Raises `OutputError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc
    with replacing(folder / "metrics.json") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
