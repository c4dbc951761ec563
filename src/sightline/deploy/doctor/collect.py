"""From what the user named to a `Site`: what each file is, by its name and its first lines."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sightline.deploy.doctor import gallery_rules, key_file
from sightline.deploy.doctor.document import Document, read_lines
from sightline.deploy.doctor.galleries import CHROMA_FILE, read_galleries
from sightline.deploy.doctor.labels import read_labels
from sightline.deploy.doctor.model import read_model
from sightline.deploy.doctor.nvinfer import YAML_SUFFIXES, NvinferConfig
from sightline.deploy.doctor.nvinfer_keys import PROPERTY
from sightline.deploy.doctor.pipelines import pipeline_of_app, pipeline_of_yaml, pipelines_of_script
from sightline.deploy.doctor.rules import Place, Rule
from sightline.deploy.doctor.scripts import ScriptKind, read_script
from sightline.deploy.doctor.site import Circumstances, Site
from sightline.deploy.doctor.tracker import GROUPS, TrackerConfig
from sightline.deploy.doctor.yaml_tree import parse_tree, parse_yaml
from sightline.errors import ConfigError, GalleryFormatError

Kind = Literal["model", "gallery", "ini", "yaml", "labels", ScriptKind]

MOST_FILES = 2_000
DEEPEST = 6
_A_FEW = 3  # settings that no other file has by chance
SKIPPED = {"node_modules", "__pycache__", "venv", "site-packages"}
TEXT_SUFFIXES = (".txt", ".ini", ".cfg", ".conf")
GALLERY_SUFFIXES = (".db", ".sqlite", ".sqlite3", ".gallery")
SCRIPTS: dict[str, ScriptKind] = {
    ".sh": "shell",
    ".bash": "shell",
    ".py": "python",
    ".ipynb": "notebook",
    ".md": "text",
}
APP_GROUPS = ("application", "primary-gie", "streammux", "tiled-display", "tracker")
YAML_APP = ("primary-gie", "streammux", "application")

CFG009 = Rule(
    "CFG009",
    "warning",
    "the file cannot be read as what its name says",
    "It is too large for a configuration, has bytes that no text has, or may not be read by you.",
    "Look at it in an editor; save it as UTF-8 text.",
)
CFG012 = Rule(
    "CFG012",
    "note",
    "the folder holds more than is looked at",
    "A deployment is a handful of files. Beyond a few thousand, or six folders deep, nobody looks.",
    "Name the folder that is deployed, or its parts one by one.",
)
RULES = (CFG009, CFG012)


def collect(targets: Sequence[Path], circumstances: Circumstances) -> Site:
    """Raises `ConfigError` for a target that is not there, or that the doctor knows nothing about."""
    folders = [target for target in targets if target.is_dir() and not (target / CHROMA_FILE).is_file()]
    site = Site(circumstances, folder=folders[0] if len(folders) == 1 else None)
    for target in targets:
        if target in folders:
            for path in _files_below(target, site):
                _add_found(path, site)
        else:
            _add_named(target, site)
    return site


def _files_below(folder: Path, site: Site) -> list[Path]:
    """Regular files and Chroma folders, in the order of their names. Links to folders are not followed."""
    found: list[Path] = []
    for here, folders, names in os.walk(folder):
        depth = len(Path(here).relative_to(folder).parts)
        if CHROMA_FILE in names:
            found.append(Path(here))
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in SKIPPED)
        if depth >= DEEPEST:
            folders.clear()
        found += [Path(here, name) for name in sorted(names) if not name.startswith(".")]
        if len(found) > MOST_FILES:
            value, expected = f"more than {MOST_FILES:,} files", "a folder with one deployment"
            site.problems.append(CFG012.found(Place(folder), value, expected))
            return found[:MOST_FILES]
    return found


def _add_named(path: Path, site: Site) -> None:
    """A file the user named: what is wrong with it as a file is an error."""
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder; check the name")
    kind = kind_of(path)
    if kind is None:
        raise ConfigError(
            f"{path}: the doctor knows no files of that name; expected a model (.onnx), a configuration (.txt, .yml), "
            "a label file, a gallery, a script, or a folder of such"
        )
    _add(path, kind, site, named=True)


def _add_found(path: Path, site: Site) -> None:
    """A file of a folder: one that cannot be read is a finding, and one nobody knows is none of our business."""
    kind = kind_of(path)
    if kind is None:
        return
    try:
        _add(path, kind, site, named=False)
    except ConfigError as exc:
        site.problems.append(CFG009.found(Place(path), exc, "a text file"))


def kind_of(path: Path) -> Kind | None:
    """What a file is, by its name; None for one that no rule is about."""
    name, suffix = path.name.lower(), path.suffix.lower()
    if path.is_dir() or suffix in GALLERY_SUFFIXES:
        return "gallery"
    if suffix == ".onnx":
        return "model"
    if re.match(r"(docker|container)file", name):
        return "docker"
    if re.match(r"requirements.*\.txt$|constraints.*\.txt$", name):
        return "requirements"
    if re.match(r"labels.*\.txt$|.*labels\.txt$", name):
        return "labels"
    kinds: dict[str, Kind] = {**SCRIPTS, **dict.fromkeys(TEXT_SUFFIXES, "ini"), **dict.fromkeys(YAML_SUFFIXES, "yaml")}
    return kinds.get(suffix)


def _add(path: Path, kind: Kind, site: Site, *, named: bool) -> None:
    if kind == "model":
        site.models.setdefault(path, read_model(path))
    elif kind == "gallery":
        _add_gallery(path, site, named=named)
    elif kind == "ini":
        _add_ini(path, site, named=named)
    elif kind == "yaml":
        _add_yaml(path, site, named=named)
    elif kind == "labels":
        site.labels.append(read_labels(path))
    else:
        script = read_script(path, kind)
        site.scripts.append(script)
        site.pipelines.extend(pipelines_of_script(script))


def _add_gallery(path: Path, site: Site, *, named: bool) -> None:
    try:
        site.galleries.extend(read_galleries(path))
    except GalleryFormatError as exc:
        if named or path.is_dir() or path.suffix.lower() == ".gallery":
            site.problems.append(gallery_rules.GAL007.found(Place(path), exc, "a gallery"))


def _add_ini(path: Path, site: Site, *, named: bool) -> None:
    """What is not deepstream-app's is nvinfer's where it looks like INI at all, and else a label file."""
    lines = read_lines(path)
    document = key_file.parse_key_file(path, lines)
    names = document.by_name.keys()
    if "property" not in names and any(re.sub(r"\d+$", "", name) in APP_GROUPS for name in names):
        site.pipelines.append(pipeline_of_app(document))
    elif "property" in names or _has_settings_of_nvinfer(lines) or (named and _looks_like_settings(lines)):
        site.configs.append(NvinferConfig(document))
    elif named:
        site.labels.append(read_labels(path))


def _has_settings_of_nvinfer(lines: Sequence[str]) -> bool:
    """Whether it is meant for nvinfer even where its one group is misspelt, or the file is no INI at all."""
    keys = (re.match(r"\s*([\w-]+)\s*[=:]", line) for line in lines)
    return sum(match is not None and match[1] in PROPERTY for match in keys) >= _A_FEW


def _looks_like_settings(lines: Sequence[str]) -> bool:
    written = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return not written or any(re.match(r"\s*\ufeff?(\[|[\w-]+\s*[=:])", line) for line in written)


def _add_yaml(path: Path, site: Site, *, named: bool) -> None:
    lines = read_lines(path)
    document = parse_yaml(path, lines)
    names = document.by_name.keys()
    if "property" in names:
        site.configs.append(NvinferConfig(document))
    elif any(name in names for name in GROUPS):
        site.trackers.append(TrackerConfig(document))
    elif document.problems:
        _add_broken_yaml(document, site, named=named)
    elif any(name in names for name in YAML_APP):
        site.pipelines.append(pipeline_of_app(document))
    elif "services" in names:
        site.scripts.append(read_script(path, "text"))
    elif "deepstream" in names:
        tree = parse_tree(lines)
        site.pipelines.extend([pipeline_of_yaml(path, tree)] if tree else [])
    elif named:
        site.configs.append(NvinferConfig(document))


def _add_broken_yaml(document: Document, site: Site, *, named: bool) -> None:
    """A file that is no YAML, as what it was meant to be."""
    if _mentions(document.lines, GROUPS):
        site.trackers.append(TrackerConfig(document))
    elif named or _mentions(document.lines, ("property", "deepstream")):
        site.configs.append(NvinferConfig(document))


def _mentions(lines: Sequence[str], names: Sequence[str]) -> bool:
    return any(line.startswith(f"{name}:") for line in lines for name in names)
