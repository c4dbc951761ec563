"""The wheel as a stranger gets it: built from a clean copy, installed with its base dependencies and nothing else."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from importlib.metadata import Distribution, distribution, distributions, packages_distributions
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image as PillowImage

import sightline
from sightline.zoo import BUNDLED

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = {"torch", "onnx", "onnxslim", "openvino", "tensorrt", "onnxscript", "torchvision", "chromadb"}
COPYLEFT = re.compile(r"(?<!L)\bA?GPL|(?<!Lesser )General Public License|Affero", re.IGNORECASE)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the paths of a virtual environment are POSIX here")


def finished(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, encoding="utf-8", timeout=600, check=False
    )


def succeeded(*command: str | Path, cwd: Path) -> str:
    done = finished(*command, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# --- the wheel -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that neither an old build folder gets in nor a new one is left behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        source.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source)
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    succeeded(*pip, "wheel", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def contents(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="session")
def metadata(wheel: Path, contents: list[str]) -> Message:
    (name,) = (name for name in contents if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="session")
def requirements(metadata: Message) -> list[Requirement]:
    return [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]


def extra_of(requirement: Requirement) -> str:
    """The extra that asks for it, or nothing for what is always installed."""
    named = re.search(r"extra == ['\"]([\w-]+)['\"]", str(requirement.marker or ""))
    return named[1] if named else ""


def test_the_wheel_is_for_every_python_3_and_every_system(wheel: Path) -> None:
    assert wheel.name == f"sightline-{sightline.__version__}-py3-none-any.whl"


def test_the_wheel_holds_every_module_and_the_mark_that_it_is_typed(wheel: Path, contents: list[str]) -> None:
    built_from = wheel.parent / "source" / "src"
    sources = {path.relative_to(built_from).as_posix() for path in built_from.rglob("*.py")}
    assert {name for name in contents if name.endswith(".py")} == sources
    assert "sightline/py.typed" in contents


def test_the_wheel_holds_every_page_template(wheel: Path, contents: list[str]) -> None:
    built_from = wheel.parent / "source" / "src"
    templates = {path.relative_to(built_from).as_posix() for path in built_from.rglob("templates/*")}
    assert "sightline/training/templates/worst_queries.html" in templates
    assert templates <= set(contents)
    assert "sightline/schemas/event-1.json" in contents


def test_the_wheel_holds_the_licence(wheel: Path, contents: list[str]) -> None:
    (name,) = (name for name in contents if name.endswith("/LICENSE"))
    assert name.startswith("sightline-")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(name) == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_holds_nothing_but_the_package(contents: list[str]) -> None:
    strangers = [name for name in contents if not re.match(r"sightline(-[\d.]+\.dist-info)?/", name)]
    assert strangers == []
    ours = {f"sightline/zoo/bundled/{name}" for name in BUNDLED.values()}
    left_over = (".onnx", ".npz", ".pth", ".pyc")
    assert {name for name in contents if "test" in name or name.endswith(left_over)} == ours


def test_the_metadata_say_version_licence_and_python(metadata: Message) -> None:
    assert metadata["Name"] == "sightline"
    assert metadata["Version"] == sightline.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"


def test_torch_is_asked_for_by_extras_only_and_pinned_in_constraints_only(requirements: list[Requirement]) -> None:
    asking = [requirement for requirement in requirements if requirement.name == "torch"]
    assert "export" in map(extra_of, asking)
    assert "" not in map(extra_of, asking)
    operators = {specifier.operator for requirement in asking for specifier in requirement.specifier}
    assert operators <= {">="}, "an upper bound or a pin belongs into constraints.txt"
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch==")]
    assert len(pins) == 1


def test_no_base_dependency_is_pinned(requirements: list[Requirement]) -> None:
    base = [requirement for requirement in requirements if not extra_of(requirement)]
    assert base
    assert {specifier.operator for requirement in base for specifier in requirement.specifier} == {">="}


# --- installed, alone ------------------------------------------------------------------------------------------------


class Alone:
    """An environment with the wheel and what it always needs, and a folder to work in."""

    def __init__(self, home: Path, work: Path) -> None:
        self.home, self.work = home, work

    @property
    def python(self) -> Path:
        return self.home / "bin" / "python"

    @property
    def installed(self) -> dict[str, Distribution]:
        (site,) = self.home.glob("lib/python*/site-packages")
        return {canonicalize_name(item.name): item for item in distributions(path=[str(site)])}

    def sightline(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return finished(self.home / "bin" / "sightline", *arguments, cwd=self.work)


@pytest.fixture(scope="session")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    home = tmp_path_factory.mktemp("alone")
    venv.create(home / "venv", with_pip=False, symlinks=True)
    pip = (sys.executable, "-m", "pip", "--python", home / "venv", "--disable-pip-version-check", "--quiet")
    succeeded(*pip, "install", "--no-compile", wheel, cwd=home)
    (home / "work").mkdir()
    yield Alone(home / "venv", home / "work")
    shutil.rmtree(home / "venv")  # some 400 MB, of which pytest would keep three


@pytest.fixture(scope="session")
def model(alone: Alone) -> Path:
    """Exported where torch is."""
    path = alone.work / "m.onnx"
    arguments = ("export", "--untrained", "--arch", "osnet_x0_25", "--size", "64x32", "--fold", "uint8", "-o", path)
    succeeded(sys.executable, "-m", "sightline", *arguments, cwd=alone.work)
    return path


def test_the_base_install_brings_no_framework_and_no_export_tools(alone: Alone) -> None:
    assert "sightline" in alone.installed
    assert not OPTIONAL & alone.installed.keys()


def test_every_base_dependency_is_installed_and_its_versions_agree(
    alone: Alone, requirements: list[Requirement]
) -> None:
    installed = alone.installed
    for requirement in requirements:
        if not extra_of(requirement):
            assert requirement.specifier.contains(
                installed[canonicalize_name(requirement.name)].version, prereleases=True
            )


def test_no_part_of_the_base_install_is_copyleft(alone: Alone) -> None:
    licences = {name: licence_of(item) for name, item in alone.installed.items()}
    assert [name for name, licence in licences.items() if not licence] == []
    assert {name: licence for name, licence in licences.items() if COPYLEFT.search(licence)} == {}


def test_no_library_that_the_source_imports_is_copyleft() -> None:
    """Those of the extras too, as far as they are installed here."""
    owners = packages_distributions()
    named = {owner for module in third_party_imports() for owner in owners.get(module, [])}
    assert {"numpy", "onnxruntime", "torch", "openvino"} <= named
    licences = {name: licence_of(distribution(name)) for name in named}
    assert {name: licence for name, licence in licences.items() if COPYLEFT.search(licence)} == {}


def third_party_imports() -> set[str]:
    names: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"sightline"}


def licence_of(item: Distribution) -> str:
    """By its expression, its classifiers, or the first line of its licence: whole texts also name other licences."""
    expression = item.metadata.get("License-Expression", "")
    classifiers = [text for text in item.metadata.get_all("Classifier") or [] if text.startswith("License ::")]
    first_line = (item.metadata.get("License") or "").strip().partition("\n")[0]
    return "; ".join(filter(None, [expression, *classifiers, first_line]))


@pytest.mark.parametrize(
    ("licence", "is_copyleft"),
    [
        ("GPL-3.0-or-later", True),
        ("AGPL-3.0", True),
        ("License :: OSI Approved :: GNU Affero General Public License v3", True),
        ("License :: OSI Approved :: GNU General Public License v2 (GPLv2)", True),
        ("LGPL-2.1", False),
        ("GNU Lesser General Public License v3", False),
        ("Apache-2.0", False),
        ("BSD-3-Clause AND MIT", False),
    ],
)
def test_the_check_for_copyleft_tells_them_apart(licence: str, is_copyleft: bool) -> None:
    assert bool(COPYLEFT.search(licence)) == is_copyleft


def test_the_package_imports_there_and_brings_neither_torch_nor_a_runtime_along(alone: Alone) -> None:
    code = (
        "import sys, sightline; print(sightline.__version__, sightline.__file__);"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'onnxruntime', 'cv2', 'numpy'}))"
    )
    first, second = succeeded(alone.python, "-c", code, cwd=alone.work).splitlines()
    assert first.startswith(f"{sightline.__version__} {alone.home}")
    assert second == "[]"


def test_embedding_works_there_and_gives_what_it_gives_here(alone: Alone, model: Path) -> None:
    crops = alone.work / "crops"
    crops.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        PillowImage.fromarray(rng.integers(0, 256, (80, 40, 3), np.uint8)).save(crops / f"{index}.png")
    done = alone.sightline("embed", crops, "-m", model, "-o", "there.npz")
    assert done.returncode == 0, done.stderr
    here = alone.work / "here.npz"
    succeeded(sys.executable, "-m", "sightline", "embed", crops, "-m", model, "-o", here, cwd=alone.work)
    with np.load(alone.work / "there.npz") as there, np.load(here) as ours:
        assert there["vectors"].shape == (3, 512)
        assert np.allclose(there["vectors"], ours["vectors"], atol=1e-5)


def test_inspecting_and_probing_work_there(alone: Alone, model: Path) -> None:
    done = alone.sightline("inspect", model, "--probe", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["runs on"] == "onnxruntime, cpu, float32"
    assert facts["card"]["arch"] == "osnet_x0_25"
    assert facts["probe"].startswith("24 unlike figures have mean cosine")


def test_the_list_of_models_works_there(alone: Alone) -> None:
    done = alone.sightline("models", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert "osnet_x0_25" in {entry["arch"] for entry in json.loads(done.stdout)}


def test_the_doctor_finds_one_runtime_there_and_says_how_to_get_the_others(alone: Alone) -> None:
    done = alone.sightline("doctor", "--json")
    assert done.returncode == 0, done.stderr
    findings = {finding["part"]: finding for finding in json.loads(done.stdout)}
    assert findings["onnxruntime"]["state"] == "ok"
    assert (findings["torch"]["state"], findings["torch"]["advice"]) == ("absent", "pip install 'sightline[export]'")
    assert findings["openvino"]["advice"] == "pip install 'sightline[openvino]'"


@pytest.mark.parametrize(
    ("arguments", "lacks"), [(("--weights", "w.pth"), "torch"), (("--embed-weights", "m.onnx"), "onnx")]
)
def test_exporting_there_says_in_one_line_what_to_install(alone: Alone, arguments: tuple[str, ...], lacks: str) -> None:
    done = alone.sightline("export", *arguments, "-o", "out.onnx")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"sightline: error: exporting needs more than running: {lacks} is not installed: "
        "pip install 'sightline[export]'\n"
    )


def test_opening_a_checkpoint_there_says_what_to_install(alone: Alone) -> None:
    (alone.work / "w.pth").write_bytes(b"PK\x03\x04")
    done = alone.sightline("inspect", "w.pth")
    assert done.returncode == 1
    assert done.stderr.startswith("sightline: error: ")
    assert done.stderr.count("\n") == 1
    assert "torch is not installed: pip install 'sightline[export]'" in done.stderr
