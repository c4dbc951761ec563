"""The deployment's folder: every file of it, as text, and writing them without losing what somebody changed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sightline._version import __version__
from sightline.deploy.deepstream import configs
from sightline.deploy.deepstream.detectors import ROOT
from sightline.deploy.deepstream.notebook import notebook_of
from sightline.deploy.deepstream.plan import LEAST_WH, PGIE_ID, REID_ID, Plan
from sightline.errors import ConfigError
from sightline.files import output_error, replacing

DEPLOYMENT = "deployment.json"
NOTEBOOK = "person_reid_gallery.ipynb"
TEMPLATES = {  # by the file that is made of each
    "README.md": "README.md.j2",
    "compose.yaml": "compose.yaml.j2",
    "setup.sh": "setup.sh.j2",
    "build_engine.sh": "build_engine.sh.j2",
    "cameras.py": "cameras.py.j2",
    "app.py": "app.py.j2",
    "pyds_app.py": "pyds_app.py.j2",
    NOTEBOOK: "notebook.py.j2",
}
EXECUTABLE = (".sh",)


def files_of(plan: Plan) -> dict[str, str]:
    """The text of every file by its place in the folder, but for the models."""
    return {
        DEPLOYMENT: json.dumps(_facts(plan), indent=2) + "\n",
        configs.SGIE_FILE: configs.sgie_key_file(plan),
        configs.SGIE_YAML: configs.sgie_yaml(plan),
        configs.PGIE_FILE: configs.pgie_key_file(plan),
        configs.TRACKER_FILE: configs.tracker_yaml(plan),
        configs.TRACKER_REID_FILE: configs.tracker_reid_yaml(plan),
        plan.detector.label_file: "\n".join(plan.detector.labels) + "\n",
        **_rendered(plan),
    }


def _facts(plan: Plan) -> dict[str, Any]:
    """What a probe needs to know; `sightline.pipeline.probe.deployment` reads it."""
    return {
        "created_by": f"sightline {__version__}",
        "model": plan.model,
        "gie_id": REID_ID,
        "layer": plan.prepared.output.name,
        "dim": plan.dim,
        "person_classes": list(plan.detector.person_ids),
        "canvas_wh": list(plan.canvas_wh),
        "pgie_config": configs.PGIE_FILE,
        "sgie_config": configs.SGIE_FILE,
        "tracker_config": configs.TRACKER_FILE,
        "tracker_reid_config": configs.TRACKER_REID_FILE,
    }


def _rendered(plan: Plan) -> dict[str, str]:
    environment = Environment(
        loader=PackageLoader("sightline.deploy.deepstream", "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # nothing here is a page
    )
    environment.filters["sh"] = shlex.quote
    facts = {
        "plan": plan,
        "version": __version__,
        "deepstream": ROOT,
        "tracker_library": configs.TRACKER_LIBRARY,
        "least_wh": LEAST_WH,
        "pgie_id": PGIE_ID,
        "reid_id": REID_ID,
        "notebook": NOTEBOOK,
        "trtexec": trtexec(plan),
    }
    texts = {name: environment.get_template(template).render(facts) for name, template in TEMPLATES.items()}
    return {**texts, NOTEBOOK: notebook_of(texts[NOTEBOOK])}


def trtexec(plan: Plan) -> tuple[str, ...]:
    """The command that builds the engine, word by word."""
    half = ("--fp16",) if plan.precision == "fp16" else ()
    return (
        "/usr/src/tensorrt/bin/trtexec",
        f"--onnx={plan.onnx}",
        f"--saveEngine={plan.engine}",
        *plan.profile,
        *half,
    )


# Writing


def require_free(folder: Path, files: Mapping[str, str]) -> None:
    """Raises `ConfigError` where a file is there already and says something else: somebody may have changed it."""
    changed = [name for name, text in files.items() if _differs(folder / name, text)]
    if changed:
        raise ConfigError(
            f"{folder} has its own {', '.join(changed[:3])}{' and more' if changed[3:] else ''}; "
            "choose another folder, or pass --force to write over what is there"
        )


def _differs(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() != text.encode()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        raise output_error(path, exc) from exc


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Each whole or not at all. Scripts can be run."""
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise output_error(path, exc) from exc
        with replacing(path) as temporary:
            temporary.write_bytes(text.encode())
            if path.suffix in EXECUTABLE:
                temporary.chmod(temporary.stat().st_mode | 0o111)
    return [folder / name for name in files]
