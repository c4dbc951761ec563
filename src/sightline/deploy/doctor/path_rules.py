"""Rules about the paths that configurations name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sightline.deploy.doctor.nvinfer import NvinferConfig
from sightline.deploy.doctor.nvinfer_keys import PROPERTY
from sightline.deploy.doctor.rules import Finding, Rule
from sightline.deploy.doctor.site import Site

CFG010 = Rule(
    "CFG010",
    "warning",
    "a path is relative",
    "nvinfer resolves it against the folder of the configuration (of its target, where that is a link); trtexec, "
    "custom-network-config and the element's config-file-path count from where the program was started. One file "
    "moved, and one of them is lost.",
    "Write it absolute, as it is on the machine or in the container that will read it.",
    bad="onnx-file=models/osnet/osnet_x1_0.onnx",
    good="onnx-file=/app/models/osnet/osnet_x1_0.onnx",
)
CFG013 = Rule(
    "CFG013",
    "warning",
    "a path leads out of the deployment",
    "The folder is copied or mounted as a whole; what lies elsewhere on this machine is not there on the other one.",
    "Put the file into the folder. `--root PATH` says where the folder will lie.",
    bad="onnx-file=/home/me/osnet.onnx",
    good="onnx-file=/app/models/osnet.onnx",
)
LBL003 = Rule(
    "LBL003",
    "error",
    "the label file is not there",
    "nvinfer stops, and nobody can say which class id is a person.",
    "Copy it there, or correct the path.",
    bad="labelfile-path=/opt/models/label.txt",
    good="labelfile-path=/opt/models/labels.txt",
)
RULES = (CFG010, CFG013, LBL003)

SYSTEM = Path("/opt/nvidia")


def path_findings(config: NvinferConfig, site: Site) -> Iterator[Finding]:
    for setting in config.group.settings:
        if PROPERTY.get(setting.key) != "path" or config.setting(setting.key) is not setting or not setting.value:
            continue
        place, path = config.place(setting.key), config.file(setting.key)
        if not setting.value.startswith("/"):
            yield CFG010.found(place, setting.value, f"an absolute path, such as {path}")
        elif path is not None and _is_outside(path, site):
            yield CFG013.found(place, setting.value, f"a path below {site.root or site.folder}")
    labels = config.file("labelfile-path")
    if labels is not None and site.located(labels) is None:
        key = "labelfile-path"
        yield LBL003.found(config.place(key), repr(config.values[key]), f"a file at {labels}")


def _is_outside(path: Path, site: Site) -> bool:
    """Of the folder, here or where it will lie. What DeepStream brings along is everywhere."""
    if site.folder is None or path.is_relative_to(SYSTEM):
        return False
    homes = [site.folder.absolute(), site.folder.resolve(), *([Path(site.root)] if site.root else [])]
    return not any(path.is_relative_to(home) for home in homes)
