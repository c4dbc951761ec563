from __future__ import annotations

import json
import platform
from importlib.metadata import version
from types import SimpleNamespace

import pytest

import sightline
from sightline.cli import main
from sightline.deploy import environment
from sightline.deploy.environment import Finding, can_run_models, examine

Capture = pytest.CaptureFixture[str]


def found(part: str) -> Finding:
    return next(finding for finding in examine() if finding.part == part)


class TestFindings:
    def test_the_machine_and_every_runtime_have_a_line(self) -> None:
        parts = [finding.part for finding in examine()]
        assert parts[:3] == ["sightline", "python", "processor"]
        assert {"onnxruntime", "openvino", "tensorrt", "torch"} <= set(parts)
        assert len(parts) == len(set(parts))

    def test_versions_are_those_that_are_installed(self) -> None:
        assert found("sightline").detail == sightline.__version__
        assert found("python").detail.startswith(platform.python_version())
        assert found("onnxruntime").detail.startswith(version("onnxruntime"))

    def test_the_providers_of_onnxruntime_are_named(self) -> None:
        assert found("onnxruntime").state == "ok" and "CPU" in found("onnxruntime").detail

    def test_what_is_absent_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reason = "openvino is not installed: pip install 'sightline[openvino]'"
        absent = SimpleNamespace(missing=lambda: reason)
        monkeypatch.setattr(environment, "backend_named", lambda name: absent)
        finding = found("openvino")
        assert finding.state == "absent"
        assert (finding.detail, finding.advice) == (
            "openvino is not installed",
            "pip install 'sightline[openvino]'",
        )

    @pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError])
    def test_what_is_installed_but_does_not_start_is_broken(
        self, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        def fail() -> str:
            raise error("libfoo.so.12: cannot open shared object file")

        monkeypatch.setitem(environment.DETAILS, "onnxruntime", fail)
        finding = found("onnxruntime")
        assert finding.state == "broken"
        assert "does not start: libfoo.so.12" in finding.detail and finding.advice == "reinstall onnxruntime"

    def test_a_package_that_is_not_there_is_absent_and_not_broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "FOR_EXPORT", {"no-such-package-here": "nothing"})
        finding = found("no-such-package-here")
        assert (finding.state, finding.advice) == ("absent", "pip install 'sightline[export]'")


class TestVerdict:
    @pytest.mark.parametrize(
        ("states", "verdict"),
        [
            ({"onnxruntime": "ok", "torch": "absent"}, True),
            ({"onnxruntime": "broken", "torch": "ok"}, True),
            ({"onnxruntime": "broken", "torch": "absent"}, False),
            ({"python": "ok", "onnx": "ok"}, False),
            ({}, False),
        ],
    )
    def test_one_runtime_that_works_is_enough(self, states: dict[str, str], verdict: bool) -> None:
        assert can_run_models([Finding(part, state, "") for part, state in states.items()]) is verdict


class TestCommand:
    def test_a_line_a_part_with_its_mark(self, capsys: Capture) -> None:
        assert main(["doctor"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len(examine())
        assert all(line.startswith(("ok    ", "–     ", "BROKEN")) for line in lines)
        assert any(line.split()[:2] == ["ok", "onnxruntime"] for line in lines)

    def test_a_program_gets_the_same(self, capsys: Capture) -> None:
        assert main(["doctor", "--json"]) == 0
        findings = json.loads(capsys.readouterr().out)
        assert [finding["part"] for finding in findings] == [finding.part for finding in examine()]
        assert all(set(finding) == {"part", "state", "detail", "advice"} for finding in findings)

    @pytest.mark.parametrize("flags", [[], ["--json"]])
    def test_no_runtime_at_all_is_exit_code_one(
        self, monkeypatch: pytest.MonkeyPatch, capsys: Capture, flags: list[str]
    ) -> None:
        absent = SimpleNamespace(missing=lambda: "it is not installed: pip install it")
        monkeypatch.setattr(environment, "backend_named", lambda name: absent)
        assert main(["doctor", *flags]) == 1
        assert "pip install it" in capsys.readouterr().out
