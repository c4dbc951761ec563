"""`sightline models` through the program's own entry point, with a catalog of this machine."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sightline.cli import main, models
from sightline.zoo import CATALOG, ZooModel, catalog, find

if TYPE_CHECKING:
    from tests.zoo.conftest import Served


@pytest.fixture
def local(served: Served, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, ZooModel]:
    """A catalog of two models: one whose hash is published, one to be trusted on first use."""
    hashed = replace(
        find("yunet"),
        name="hashed",
        file_name="hashed.onnx",
        url=served.url,
        sha256=hashlib.sha256(served.body).hexdigest(),
        size_bytes=256_000,
    )
    trusted = replace(
        find("osnet_x0_25_market1501"), name="trusted", file_name="trusted.pth", url=f"{served.base}/trusted.pth"
    )
    models_by_name = {model.name: model for model in (hashed, trusted)}
    monkeypatch.setattr(catalog, "CATALOG", models_by_name)
    return models_by_name


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["models", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.usefixtures("cache")
def test_the_piped_list_has_one_plain_line_a_model_with_the_whole_name(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _err = run(capsys)
    assert code == 0
    assert "\x1b" not in out
    lines = out.splitlines()
    assert lines[0].split() == ["name", "task", "arch", "trained", "on", "size", "licence", "cached"]
    assert [line.split()[0] for line in lines[1:]] == list(CATALOG)
    assert run(capsys, "list")[1] == out


@pytest.mark.usefixtures("cache")
def test_the_list_fits_80_columns_without_cutting_a_name() -> None:
    screen = io.StringIO()
    Console(file=screen, width=80).print(models._table(CATALOG.values(), width=80))
    lines = screen.getvalue().splitlines()
    assert len(lines) == 1 + len(CATALOG)
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:]] == list(CATALOG)
    assert "…" not in screen.getvalue()
    assert lines[0].split() == ["name", "task", "trained", "on", "size", "licence", "cached"]


@pytest.mark.usefixtures("local")
def test_the_list_shows_what_is_cached(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "pull", "hashed")
    _code, out, _err = run(capsys, "list")
    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert rows["hashed"][1:] == ["faces", "yunet", "WIDER", "FACE", "0.3", "MB", "MIT", "yes"]
    assert rows["trusted"][1:] == ["reid", "osnet_x0_25", "Market-1501", "?", "research"]


@pytest.mark.parametrize("arguments", [("--json",), ("list", "--json")])
@pytest.mark.usefixtures("local")
def test_the_list_as_json_has_every_fact(
    capsys: pytest.CaptureFixture[str], cache: Path, arguments: tuple[str, ...]
) -> None:
    run(capsys, "pull", "hashed")
    hashed, trusted = json.loads(run(capsys, *arguments)[1])
    assert hashed["name"] == "hashed"
    assert hashed["cached"] == str(cache / "hashed.onnx")
    assert hashed["size_hw"] == [640, 640]
    assert hashed["licence"] == "MIT"
    assert trusted["cached"] is None
    assert trusted["sha256"] is None
    assert trusted["weights"] == "trained"


def test_show_says_that_imagenet_weights_do_not_re_identify(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    code, out, _err = run(capsys, "show", "osnet_x1_0_imagenet")
    assert code == 0
    assert "weights:    imagenet" in out
    assert "does NOT re-identify" in out
    assert f"path:       {cache / 'osnet_x1_0_imagenet.pth'}" in out
    assert "cached:     no" in out


@pytest.mark.usefixtures("local")
def test_show_says_when_a_hash_is_taken_on_trust(capsys: pytest.CaptureFixture[str], served: Served) -> None:
    assert "sha256:     not published: trust on first use" in run(capsys, "show", "trusted")[1]
    run(capsys, "pull", "trusted")
    assert f"sha256 {hashlib.sha256(served.body).hexdigest()}" in run(capsys, "show", "trusted")[1]


@pytest.mark.usefixtures("local")
def test_pull_prints_the_paths_and_only_the_paths_on_stdout(
    capsys: pytest.CaptureFixture[str], cache: Path, served: Served
) -> None:
    code, out, err = run(capsys, "pull", "hashed", "trusted")
    assert code == 0
    assert out.splitlines() == [str(cache / "hashed.onnx"), str(cache / "trusted.pth")]
    assert (cache / "trusted.pth").read_bytes() == served.body
    assert "trusted: sha256 not published: trust on first use" in err
    assert "hashed" not in err
    assert "\x1b" not in err
    assert run(capsys, "pull", "trusted") == (0, f"{cache / 'trusted.pth'}\n", "")


@pytest.mark.usefixtures("local")
def test_one_model_that_fails_does_not_keep_the_others(
    capsys: pytest.CaptureFixture[str], cache: Path, served: Served
) -> None:
    served.faults = ["404"]
    code, out, err = run(capsys, "pull", "hashed", "trusted")
    assert code == 1
    assert out.splitlines() == [str(cache / "trusted.pth")]
    assert err.startswith("sightline: error: ")
    assert "404" in err


@pytest.mark.usefixtures("local")
def test_a_mistyped_name_downloads_nothing(capsys: pytest.CaptureFixture[str], served: Served) -> None:
    code, _out, err = run(capsys, "pull", "hashed", "trustde")
    assert code == 1
    assert "did you mean trusted?" in err
    assert served.requests == []


@pytest.mark.usefixtures("local")
def test_pull_offline_says_where_to_put_the_file(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    code, out, err = run(capsys, "pull", "--offline", "hashed")
    assert (code, out) == (1, "")
    assert str(cache / "hashed.onnx") in err
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("local")
def test_path_is_for_scripts(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    code, out, err = run(capsys, "path", "hashed")
    assert (code, out) == (1, "")
    assert "sightline models pull hashed" in err
    run(capsys, "pull", "hashed")
    assert run(capsys, "path", "hashed") == (0, f"{cache / 'hashed.onnx'}\n", "")


@pytest.mark.usefixtures("local")
def test_verify_checks_every_pulled_model_and_fails_on_a_changed_one(
    capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    assert run(capsys, "verify") == (0, f"no models in {cache}\n", "")
    run(capsys, "pull", "hashed", "trusted")
    code, out, _err = run(capsys, "verify")
    assert code == 0
    assert [line.split(", ")[0] for line in out.splitlines()] == ["hashed: ok", "trusted: ok"]
    (cache / "trusted.pth").write_bytes(b"x" * 256_000)
    code, out, err = run(capsys, "verify")
    assert code == 1
    assert out.startswith("hashed: ok")
    assert "trusted.pth: sha256 is" in err


@pytest.mark.usefixtures("local")
def test_verify_of_a_named_model_that_is_not_here_fails(capsys: pytest.CaptureFixture[str]) -> None:
    code, _out, err = run(capsys, "verify", "hashed")
    assert code == 1
    assert "not cached" in err


@pytest.mark.usefixtures("local")
def test_remove_says_what_it_did(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    run(capsys, "pull", "hashed")
    assert run(capsys, "remove", "hashed")[:2] == (0, "hashed: removed\n")
    assert not (cache / "hashed.onnx").exists()
    assert run(capsys, "remove", "hashed")[:2] == (0, "hashed: was not cached\n")
