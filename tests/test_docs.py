"""What the documents show, runs; what they link to, exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from sightline.cli import VERBS
from sightline.nets.checkpoint import save_checkpoint
from sightline.nets.osnet import build_osnet
from sightline.reid.probe import painted_strangers

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / page for page in PAGES)]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the README's reader has it: a checkpoint and a few crops."""
    folder = tmp_path_factory.mktemp("desk")
    save_checkpoint(folder / "osnet.pth", build_osnet("osnet_x0_25", seed=0))
    (folder / "crops").mkdir()
    for name, image in zip("abc", painted_strangers(3), strict=True):
        cv2.imwrite(str(folder / "crops" / f"{name}.png"), image)
    return folder


def in_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_readme_runs_from_its_first_command_to_its_last(desk: Path) -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("sightline")]
    assert len(commands) >= 3
    for command in commands:
        done = in_shell(command, desk)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    for block in blocks("python"):
        done = subprocess.run([sys.executable, "-c", block], cwd=desk, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


def test_every_make_target_the_readme_names_is_in_the_makefile() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = re.findall(r"\bmake ([a-z]+)", "".join(blocks("sh")))
    assert named
    assert set(named) <= set(targets)


def test_the_readme_names_every_verb_and_no_other() -> None:
    named = set(re.findall(r"(?:^|`)sightline ([a-z]+)", README, flags=re.MULTILINE))
    assert named == set(VERBS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert missing == []
