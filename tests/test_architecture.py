"""What may be imported where, and what may happen when it is: looked at from outside, in fresh interpreters."""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import sightline
from sightline._version import __version__
from sightline.cli import VERBS, main

ROOT = Path(sightline.__file__).parent
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
MAY_IMPORT_TORCH = (
    "nets/",
    "training/",
    "runtime/torch.py",
    "runtime/untrained.py",
    "ball/torch.py",
    "deploy/export.py",
    "deploy/ball_export.py",
    "deploy/environment.py",  # which asks it for its version and devices, where it is installed
)
# Everything but the parts that are there for torch, and the verbs and tools that may be made of those.
WORKS_WITHOUT_TORCH = [
    name for name in MODULES if not name.startswith(("nets/", "training/", "deploy/", "cli/", "__m"))
]
LONGEST_MODULE = 300  # lines

WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError(f"{name} was imported")
sys.meta_path.insert(0, Blocked())
"""


def run_python(program: str, *args: str) -> str:
    """What a fresh interpreter prints. The error it ended with, where it ended with one, is the failure."""
    ran = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def imported_by(statements: str) -> set[str]:
    """The top-level packages that these statements bring in, beyond what an interpreter starts with."""
    program = (
        "import contextlib, io, json, sys\n"
        "before = set(sys.modules)\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    {statements}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    return {name.partition(".")[0] for name in json.loads(run_python(program))}


def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def packages_imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def called_name(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


# Imports


def test_importing_the_package_imports_nothing_heavy() -> None:
    brought = imported_by("import sightline")
    assert "sightline" in brought
    assert not brought & {"torch", "onnxruntime", "openvino", "cv2", "numpy", "PIL", "rich", "onnx"}


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_asking_the_program_about_itself_imports_the_standard_library_only(argument: str) -> None:
    brought = imported_by(f"import sightline.cli; sightline.cli.main([{argument!r}])")
    assert "argparse" in brought
    assert brought - set(sys.stdlib_module_names) == {"sightline"}


def test_every_public_name_is_there_and_listed() -> None:
    for name in sightline.__all__:
        assert getattr(sightline, name) is not None
    assert dir(sightline) == sorted(sightline.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'osnet'"):
        _ = sightline.osnet


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith(MAY_IMPORT_TORCH)])
def test_torch_is_named_in_its_own_places_only(module: str) -> None:
    assert "torch" not in set(packages_imported(tree_of(module)))


def test_torch_is_named_in_the_places_that_are_there_for_it() -> None:
    assert "torch" in set(packages_imported(tree_of("nets/osnet.py")))
    assert "torch" in set(packages_imported(tree_of("runtime/torch.py")))


def test_what_is_not_there_for_torch_can_be_imported_without_it() -> None:
    names = [
        f"sightline.{name.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")
        for name in WORKS_WITHOUT_TORCH
    ]
    assert "sightline.runtime.torch" in names
    assert "sightline.reid.embedder" in names
    run_python(WITHOUT_TORCH + "import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)\n", *names)


def test_an_onnx_model_is_opened_and_embeds_without_torch(tmp_path: Path) -> None:
    means = helper.make_node("ReduceMean", ["images"], ["features"], axes=[2, 3], keepdims=0)
    taken = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 8, 4])
    given = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([means], "means", [taken], [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "means.onnx"))
    program = WITHOUT_TORCH + (
        "import numpy\n"
        "from sightline import Embedder, open_session\n"
        "from sightline.runtime.cards import Claims\n"
        "with open_session(sys.argv[1], claims=Claims(pixels='omz')) as session:\n"
        "    crop = numpy.full((8, 4, 3), (0, 3, 4), numpy.uint8)\n"
        "    print(Embedder(session).embed([crop]).vectors[0].tolist())\n"
        "assert 'torch' not in sys.modules\n"
    )
    vector = json.loads(run_python(program, str(tmp_path / "means.onnx")))
    np.testing.assert_allclose(vector, [0.0, 0.6, 0.8], atol=1e-6)


def test_the_block_these_tests_rely_on_really_blocks() -> None:
    with pytest.raises(AssertionError, match=r"ImportError: torch was imported"):
        run_python(WITHOUT_TORCH + "import sightline.nets.osnet")


# The program


def test_help_lists_every_verb_with_what_it_does() -> None:
    shown = " ".join(run_python("import sys; from sightline.cli import main; main(['--help'])").split())
    for verb, summary in VERBS.items():
        assert f"{verb} {summary}" in shown


def test_the_version_is_that_of_the_package() -> None:
    assert run_python("from sightline.cli import main; main(['--version'])") == f"sightline {__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_ends_well_when_asked_for_it(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"usage: sightline {verb}" in shown
    assert VERBS[verb][1:] in shown


@pytest.mark.parametrize("verb", VERBS)
def test_every_argument_of_every_verb_says_what_it_is_for(verb: str) -> None:
    parser = argparse.ArgumentParser(prog=verb)
    import_module(f"sightline.cli.{verb}").configure(parser)
    assert [argument for argument in _arguments(parser) if not argument.help] == []


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments, and those of actions within; the help of an action says what it does with the names it takes."""
    for argument in parser._actions:
        if isinstance(argument, argparse._SubParsersAction):
            listed = {choice.dest: choice.help for choice in argument._choices_actions}
            assert all(listed.get(name) for name in argument.choices)
            inner = (within for choice in argument.choices.values() for within in _arguments(choice))
            yield from (within for within in inner if within.option_strings)
        else:
            yield argument


# The source


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("cli/")])
def test_only_the_program_prints(module: str) -> None:
    assert [node.lineno for node in ast.walk(tree_of(module)) if called_name(node) == "print"] == []


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_longer_than_can_be_read_at_once(module: str) -> None:
    assert len((ROOT / module).read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__main__.py"])
def test_importing_a_module_does_nothing_but_define(module: str) -> None:
    """A call whose result nobody keeps is there for its effect: set up logging, filter warnings, seed, patch."""
    assert [ast.unparse(node) for node in _run_at_import(tree_of(module).body) if isinstance(node, ast.Expr)] == []


def _run_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module does, but for strings, which are documentation."""
    for node in body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_text:
            yield node
        if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While | ast.ClassDef):
            yield from _run_at_import(node.body)
            yield from _run_at_import(getattr(node, "orelse", []))


def test_a_call_for_its_effect_would_be_seen() -> None:
    tree = ast.parse('"""Text."""\nif True:\n    logging.basicConfig()\nclass A:\n    print()\ndef f():\n    print()\n')
    seen = [ast.unparse(node) for node in _run_at_import(tree.body) if isinstance(node, ast.Expr)]
    assert seen == ["logging.basicConfig()", "print()"]


@pytest.mark.parametrize("module", [name for name in MODULES if name != "cli/__init__.py"])
def test_only_the_program_sets_up_logging(module: str) -> None:
    set_up = {"logging.basicConfig", "logging.captureWarnings", "logging.config.dictConfig"}
    assert [node.lineno for node in ast.walk(tree_of(module)) if called_name(node) in set_up] == []


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_named_after_nothing(module: str) -> None:
    parts = set(module.removesuffix(".py").split("/"))
    assert not parts & {"utils", "util", "common", "helpers", "core", "manager", "misc"}
