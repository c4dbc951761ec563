"""The folders of runs: a new one for each, and the way back to an old one."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from sightline.config import save_config
from sightline.errors import ModelNotFoundError
from sightline.files import output_error
from sightline.training.config import RunConfig


def new_run(config: RunConfig) -> Path:
    """A folder of its own, `exp`, else `exp2`, `exp3`, with the resolved configuration in it. Raises `OutputError`."""
    project = Path(config.output.project)
    for number in count(1):
        folder = project / (config.output.name if number == 1 else f"{config.output.name}{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise
        except OSError as exc:
            raise output_error(folder, exc) from exc
        else:
            (folder / "weights").mkdir()
            save_config(config, folder / "config.yaml")
            return folder
    raise AssertionError("count does not end")


def run_named(name: str, project: Path) -> Path:
    """The folder of a run by its name in the project, or by its path. Raises `ModelNotFoundError`."""
    candidates = (project / name, Path(name))
    found = next((folder for folder in candidates if (folder / "config.yaml").exists()), None)
    if found is None:
        raise ModelNotFoundError(f"no run {name!r}: neither {candidates[0]} nor {candidates[1]} has a config.yaml")
    return found
