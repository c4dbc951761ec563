"""Rules about what a deployment installs, and about the script that exports its model."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sightline.deploy.doctor.rules import Finding, Place, Rule
from sightline.deploy.doctor.scripts import Script, requirement_name
from sightline.deploy.doctor.site import Site

ENV001 = Rule(
    "ENV001",
    "warning",
    "pyds needs NumPy 1, and nothing holds it back",
    "The bindings of DeepStream 8 are built against NumPy 1. With NumPy 2 they crash in C++, which in Jupyter reads "
    '"Kernel died".',
    "Pin it beside pyds: numpy<2.",
    bad="pip install pyds numpy",
    good="pip install pyds 'numpy<2'",
)
ENV002 = Rule(
    "ENV002",
    "warning",
    "pyds does not exist for this DeepStream",
    "From 9.0 on it is deprecated and no wheels are made. pyservicemaker, whose wheel lies in the container under "
    "service-maker/python, does the same work.",
    "Use pyservicemaker, or stay with DeepStream 8.",
    bad="FROM nvcr.io/nvidia/deepstream:9.0-triton-multiarch\n# and in the probe: import pyds",
    good="FROM nvcr.io/nvidia/deepstream:8.0-triton-multiarch",
)
ENV003 = Rule(
    "ENV003",
    "warning",
    "libmosquitto1 is not installed for the tracker",
    "libnvds_nvmultiobjecttracker.so is linked against it, and the container does not have it: the tracker "
    "element fails to load.",
    "apt-get install -y libmosquitto1",
    bad="FROM nvcr.io/nvidia/deepstream:8.0-triton-multiarch",
    good="FROM nvcr.io/nvidia/deepstream:8.0-triton-multiarch\nRUN apt-get update && apt-get install -y libmosquitto1",
)
ENV004 = Rule(
    "ENV004",
    "warning",
    "pip installs into the system's Python",
    'Ubuntu 24.04, and with it DeepStream 8, refuses that with "externally-managed-environment".',
    "Make a virtual environment first: python3 -m venv --system-site-packages VENV.",
    bad="pip install chromadb",
    good="python3 -m venv venv\nvenv/bin/pip install chromadb",
)
ENV005 = Rule(
    "ENV005",
    "warning",
    "torchreid is installed without what it imports",
    "It does not list all it needs: \"No module named 'scipy'\", then 'cv2', then 'tensorboard', one after the other.",
    "Install scipy, opencv-python-headless and tensorboard with it. `sightline export` needs none of them.",
    bad="pip install torchreid",
    good="pip install torchreid scipy opencv-python-headless tensorboard",
)
ENV006 = Rule(
    "ENV006",
    "error",
    "the export starts from ImageNet weights",
    "build_model(pretrained=True) loads the ImageNet classifier. Nothing fails: the vectors have 512 numbers and rank "
    "Market-1501 at 13 % instead of 94 %. torchreid's FeatureExtractor does the same where model_path is missing.",
    "Load a re-identification checkpoint: `sightline export CHECKPOINT.pth --preset deepstream`.",
    bad="model = build_model('osnet_x1_0', num_classes=1, pretrained=True)\ntorch.onnx.export(model, …)",
    good="sightline export osnet_x1_0_msmt17.pth --preset deepstream -o osnet.onnx",
)
RULES = (ENV001, ENV002, ENV003, ENV004, ENV005, ENV006)

_UNLISTED = {
    "scipy": {"scipy"},
    "cv2 (opencv-python-headless)": {"opencv-python", "opencv-python-headless", "opencv-contrib-python"},
    "tensorboard": {"tensorboard"},
}
_ISOLATED = re.compile(r"venv|virtualenv|conda|break[-_]system[-_]packages|\buv\s|pipx|^FROM\s+python:", re.I | re.M)
_NUMPY_1 = re.compile(r"numpy\s*(<\s*2|==\s*1|~=\s*1|.*,\s*<\s*2)", re.I)
_LOADS = ("load_state_dict", "load_pretrained_weights", "load_checkpoint", "resume_from_checkpoint")


def environment_findings(site: Site) -> Iterator[Finding]:
    scripts = site.scripts
    uses_pyds = [script for script in scripts if _uses_pyds(script)]
    if uses_pyds:
        yield from _numpy(scripts, uses_pyds[0])
        yield from _version(site, uses_pyds[0])
    for script in scripts:
        if script.kind == "docker":
            yield from _mosquitto(script, site)
        if script.kind in {"docker", "shell", "notebook"}:
            yield from _system_python(script)
        yield from _exports_imagenet(script)
    yield from _torchreid(scripts)


def _uses_pyds(script: Script) -> bool:
    if script.kind in {"python", "notebook"}:
        return bool(re.search(r"^\s*(import|from)\s+pyds\b", script.text, re.M))
    return any(requirement_name(name) == "pyds" for _, names in script.installs for name in names)


def _numpy(scripts: list[Script], user: Script) -> Iterator[Finding]:
    asked = [
        (Place(script.path, line), name)
        for script in scripts
        for line, names in script.installs
        for name in names
        if requirement_name(name) == "numpy"
    ]
    if not any(_NUMPY_1.match(name) for _, name in asked):
        place, value = (
            asked[0] if asked else (Place(user.path, user.first_line_with(r"\bpyds\b")), "no numpy<2 anywhere")
        )
        yield ENV001.found(place, value, "numpy<2")


def _version(site: Site, user: Script) -> Iterator[Finding]:
    bases = [(script, found) for script in site.scripts if (found := script.deepstream)]
    if not bases and site.circumstances.deepstream >= (9, 0):
        version = ".".join(map(str, site.circumstances.deepstream))
        yield ENV002.found(
            Place(user.path, user.first_line_with(r"\bpyds\b")), f"pyds with {version}", "pyservicemaker"
        )
    for script, (line, version_of_base) in bases:
        if version_of_base >= (9, 0):
            value = f"pyds in {user.path.name}, and DeepStream {'.'.join(map(str, version_of_base))}"
            yield ENV002.found(Place(script.path, line), value, "pyservicemaker, or DeepStream 8")


def _mosquitto(script: Script, site: Site) -> Iterator[Finding]:
    tracks = bool(site.trackers) or any(pipeline.trackers for pipeline in site.pipelines)
    if script.deepstream is not None and tracks and "libmosquitto1" not in script.text:
        yield ENV003.found(
            Place(script.path, script.deepstream[0]), "no libmosquitto1", "apt-get install libmosquitto1"
        )


def _system_python(script: Script) -> Iterator[Finding]:
    """Once a file: where there is an environment at all, somebody thought of it."""
    installs = list(script.installs)
    if installs and not _ISOLATED.search(script.text):
        line, names = installs[0]
        yield ENV004.found(
            Place(script.path, line), f"pip install {' '.join(names)}"[:80], "pip of a virtual environment"
        )


def _torchreid(scripts: list[Script]) -> Iterator[Finding]:
    asked = [
        (Place(script.path, line), name) for script in scripts for line, names in script.installs for name in names
    ]
    known = {requirement_name(name) for _, name in asked}
    missing = [what for what, names in _UNLISTED.items() if not names & known]
    for place, name in asked:
        if requirement_name(name) == "torchreid" and missing:
            yield ENV005.found(place, f"torchreid without {', '.join(missing)}", "what it imports, beside it")


def _exports_imagenet(script: Script) -> Iterator[Finding]:
    """Somebody builds a network with pretrained=True, loads nothing into it, and exports it."""
    if script.tree is None or "pretrained" not in script.text:
        return
    calls = [node for node in ast.walk(script.tree) if isinstance(node, ast.Call)]
    names = {_last_name(call) for call in calls}
    if names & set(_LOADS) or "export" not in names:
        return
    for call in calls:
        if _last_name(call) == "build_model" and any(_is_true(keyword, "pretrained") for keyword in call.keywords):
            value = "build_model(…, pretrained=True), exported as it is"
            yield ENV006.found(Place(script.path, script.line_of(call)), value, "a re-identification checkpoint")


def _last_name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_true(keyword: ast.keyword, name: str) -> bool:
    return keyword.arg == name and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
