"""docs/seeds.md is a table of promises; here it is read, and each row must name things that exist."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from sightline.cli import VERBS

ROOT = Path(__file__).resolve().parents[1]
LINE = re.compile(r"^\| (\d{3}) \| (.+?) \| (.+?) \| (.+?) \|$")


def rows() -> list[tuple[str, str, str, str]]:
    lines = (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8").splitlines()
    return [match.groups() for line in lines if (match := LINE.match(line))]  # type: ignore[misc]  # four groups


ROWS = rows()
IDS = [f"{seed}-{promise[:40]}" for seed, promise, _, _ in ROWS]


def test_the_table_has_rows_of_every_seed_that_is_served_so_far() -> None:
    assert {"000", "001", "002", "003", "004"} <= {row[0] for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_the_name_in_the_row_exists(row: tuple[str, str, str, str]) -> None:
    for name in re.findall(r"`([^`]+)`", row[2]):
        if name.startswith("sightline "):
            assert name.split()[1] in VERBS, name
            continue
        module, _, attribute = name.partition(":")
        found = import_module(f"sightline.{module}")
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_the_test_in_the_row_exists(row: tuple[str, str, str, str]) -> None:
    named = re.findall(r"`([^`]+)`", row[3])
    assert named
    for name in named:
        file, _, function = name.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert function in functions, name
