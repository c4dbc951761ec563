from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from running import COMMAND, environment, error_line, sightline

import sightline as package
from sightline import cli
from sightline.cli import VERBS, main
from sightline.errors import ImageError, OutputError

Capture = pytest.CaptureFixture[str]
Verb = Callable[[Callable[..., int]], None]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Verb:
    """Puts a function in the place of a verb, as `sightline doctor` would be run."""

    def install(run: Callable[..., int]) -> None:
        module = SimpleNamespace(configure=lambda parser: None, run=run)
        monkeypatch.setattr(cli, "import_module", lambda _name: module)

    return install


class TestHelp:
    def test_every_verb_is_listed_with_what_it_does(self, capsys: Capture) -> None:
        assert main(["--help"]) == 0
        listed = " ".join(capsys.readouterr().out.split())
        assert all(f"{name} {summary}" in listed for name, summary in VERBS.items())

    @pytest.mark.parametrize("name", VERBS)
    def test_every_verb_has_help_that_explains_each_flag(self, name: str, capsys: Capture) -> None:
        assert main([name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"usage: sightline {name} ")
        assert VERBS[name].split()[1] in shown
        assert "-q, --quiet" in shown

    def test_the_help_does_not_wait_for_heavy_libraries(self) -> None:
        """Only the verb that is typed is imported."""
        code = "import sys; from sightline.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()
        )
        assert not {"numpy", "cv2", "onnxruntime", "torch", "rich", "PIL"} & set(run.stderr.split())

    def test_the_version_is_the_package_version(self, capsys: Capture) -> None:
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"sightline {package.__version__}\n"

    def test_the_module_is_the_command(self) -> None:
        run = sightline("--version")
        assert (run.returncode, run.stdout, run.stderr) == (0, f"sightline {package.__version__}\n", "")


class TestWrongUse:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ([], "the following arguments are required: VERB"),
            (["frobnicate"], "invalid choice: 'frobnicate'"),
            (["embde", "crops"], "'embed'"),
            (["--frob"], "VERB"),
            (["--", "doctor"], "VERB"),
            (["doctor", "--extra"], "unrecognized arguments: --extra"),
            (["inspect"], "the following arguments are required: MODEL"),
            (["-q", "doctor"], "unrecognized arguments: -q"),
        ],
    )
    def test_it_is_one_line_that_names_the_help_and_exit_code_two(
        self, arguments: list[str], told: str, capsys: Capture
    ) -> None:
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        message = error_line(captured.err)
        assert told in message and message.endswith("--help`")


class TestOutcomes:
    def test_the_exit_code_is_the_verbs(self, verb: Verb) -> None:
        verb(lambda args: 3)
        assert main(["doctor"]) == 3

    @pytest.mark.parametrize("error", [ImageError, OutputError])
    def test_an_error_of_ours_is_one_line_and_exit_code_one(
        self, verb: Verb, capsys: Capture, error: type[Exception]
    ) -> None:
        def fail(args: object) -> int:
            raise error("crop.jpg is empty (0 bytes)")

        verb(fail)
        assert main(["doctor"]) == 1
        assert error_line(capsys.readouterr().err) == "crop.jpg is empty (0 bytes)"

    def test_an_error_of_the_system_names_its_file(self, verb: Verb, capsys: Capture) -> None:
        verb(lambda args: Path("/nowhere/at/all").read_text())
        assert main(["doctor"]) == 1
        assert "/nowhere/at/all" in error_line(capsys.readouterr().err)

    def test_a_mistake_of_ours_is_not_dressed_up_as_the_users(self, verb: Verb) -> None:
        verb(lambda args: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            main(["doctor"])

    def test_ctrl_c_is_exit_code_130_without_a_traceback(self, verb: Verb, capsys: Capture) -> None:
        def interrupt(args: object) -> int:
            raise KeyboardInterrupt

        verb(interrupt)
        assert main(["doctor"]) == 130
        assert capsys.readouterr().err == "sightline: interrupted\n"

    def test_ctrl_c_while_a_verb_is_loaded_is_no_traceback_either(
        self, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        def interrupt(name: str) -> object:
            raise KeyboardInterrupt

        monkeypatch.setattr(cli, "import_module", interrupt)
        assert main(["doctor"]) == 130
        assert capsys.readouterr().err == "sightline: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices are another matter on this system")
class TestOutput:
    @pytest.mark.parametrize("arguments", [["--help"], ["embed", "--help"], ["doctor"], ["doctor", "--json"]])
    def test_a_reader_that_has_seen_enough_is_no_error(self, arguments: list[str]) -> None:
        """The pipe is closed before anything is written: the worst that `| head` can do."""
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        stderr = process.stderr.read()
        process.stderr.close()
        assert (process.wait(timeout=60), stderr) == (0, b"")

    def test_a_full_disk_behind_the_output_is_one_line(self) -> None:
        if not Path("/dev/full").exists():
            pytest.skip("this system has no /dev/full")
        with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
            run = subprocess.run(
                [*COMMAND, "doctor"],
                stdout=full,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                env=environment(),
                check=False,
            )
        assert run.returncode == 1
        assert error_line(run.stderr) == "cannot write to standard output: No space left on device"

    @pytest.mark.parametrize("arguments", ["--help", "doctor"])
    def test_a_closed_output_is_no_error(self, arguments: str) -> None:
        run = subprocess.run(
            f"{sys.executable} -m sightline {arguments} >&-",
            shell=True,
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )
        assert run.returncode == 0 and "Traceback" not in run.stderr

    def test_a_terminal_without_the_characters_gets_their_escapes(self) -> None:
        run = sightline("doctor", PYTHONIOENCODING="ascii")
        assert run.returncode == 0 and run.stdout.isascii() and run.stderr == ""


class TestNoise:
    @pytest.mark.parametrize(
        ("flags", "expected"),
        [
            ([], "sightline: news\nsightline: careful\nsightline: wrong\n"),
            (["-v"], "sightline: detail\nsightline: news\nsightline: careful\nsightline: wrong\n"),
            (["-q"], "sightline: wrong\n"),
        ],
    )
    def test_the_flags_choose_how_much_is_said(self, flags: list[str], expected: str) -> None:
        code = (
            "import logging, warnings, sys; from types import SimpleNamespace; from sightline import cli\n"
            "def run(args):\n"
            "    log = logging.getLogger('sightline.reid')\n"
            "    log.debug('detail'); log.info('news'); log.warning('careful'); log.error('wrong')\n"
            "    logging.getLogger('PIL').debug('chunk'); logging.getLogger('PIL').warning('odd chunk')\n"
            "    if not args.verbose: warnings.warn('the tag of this file is odd')\n"
            "    return 0\n"
            "cli.import_module = lambda name: SimpleNamespace(configure=lambda parser: None, run=run)\n"
            "cli.main(['doctor', *sys.argv[1:]])\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", code, *flags], capture_output=True, text=True, check=True, env=environment()
        )
        assert (run.stdout, run.stderr) == ("", expected)

    def test_the_library_leaves_logging_to_its_caller(self) -> None:
        assert logging.getLogger("sightline").handlers == []
