"""`run.json`: what a folder is the run of, so that another run goes on with it only if it would have made the same."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sightline._version import __version__
from sightline.errors import ConfigError, OutputError
from sightline.files import output_error, replacing
from sightline.pipeline.people.run import STATE

FILE_NAME = "run.json"
FORMAT = 1
OURS = (STATE, "visits", "cameras", "webp")  # folders of a run
OUR_FILES = (
    FILE_NAME,
    "events.jsonl",
    "tracks.csv",
    "identities.csv",
    "people.json",
    "timing.json",
    "tracks.npz",
    "person_selection.html",
)


@dataclass(frozen=True)
class RunRecord:
    """One run, from its first start to its end."""

    run_id: str
    started_s: float  # seconds since 1970
    settings: Mapping[str, Any]  # all that decides what comes out
    finished: bool = False
    format: int = FORMAT
    created_by: str = f"sightline {__version__}"


def open_record(folder: Path, settings: Mapping[str, Any], *, restart: bool = False) -> RunRecord:
    """The record in the folder, which is made where it is missing; with `restart` a new one, and an empty folder.

    Raises `ConfigError` where the folder holds a run of other settings, or of something else.
    """
    _make(folder)
    if restart:
        _clear(folder)
    found = _read(folder / FILE_NAME)
    if found is None:
        fresh = RunRecord(str(uuid.uuid4()), time.time(), settings)
        write_record(folder, fresh)
        return fresh
    plain = json.loads(json.dumps(settings))
    differing = [key for key in {**found.settings, **plain} if found.settings.get(key) != plain.get(key)]
    if differing:
        key = differing[0]
        raise ConfigError(
            f"{folder} holds a run with {key} {found.settings.get(key)!r}, not {plain.get(key)!r}; "
            "choose another --out, or pass --restart to throw that run away"
        )
    return found


def forget_if_empty(folder: Path) -> None:
    """Of a run that could not begin, leave no record; one that was begun another time keeps its own."""
    if not any((folder / name).exists() for name in OURS if name != STATE):
        (folder / FILE_NAME).unlink(missing_ok=True)


def finish(folder: Path, record: RunRecord) -> None:
    write_record(folder, replace(record, finished=True))


def write_record(folder: Path, record: RunRecord) -> None:
    with replacing(folder / FILE_NAME) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc


def _read(path: Path) -> RunRecord | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        record = RunRecord(**content)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise OutputError(f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"{path} is not the record of a run; choose another --out, or pass --restart") from exc
    if record.format != FORMAT:
        raise ConfigError(f"{path} is of format {record.format}, written by {record.created_by}; expected {FORMAT}")
    return record


def _clear(folder: Path) -> None:
    """Take away what a run has written, and nothing else. A gallery stays: it may be shared."""
    try:
        for name in filter(lambda name: (folder / name).is_dir(), OURS):
            shutil.rmtree(folder / name)
        for name in (*OUR_FILES, *(path.name for path in folder.glob("events.*.cursor"))):
            (folder / name).unlink(missing_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc
