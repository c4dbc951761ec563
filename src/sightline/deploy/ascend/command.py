"""A command of somebody else's: shown as it would be typed, and run where its program is there."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sightline.errors import BackendError

_COMPLAINT = re.compile(r"\bERROR\b|\bE\d{5}\b|\berror\b|fail", re.IGNORECASE)


@dataclass(frozen=True)
class Command:
    """A program and its arguments, and the folder that relative paths in them are relative to."""

    argv: tuple[str, ...]
    cwd: Path

    def __str__(self) -> str:
        return shlex.join(self.argv)

    def run(self) -> str:
        """What it printed. Raises `BackendError`, with the line that tells why, when it fails."""
        try:
            done = subprocess.run(
                self.argv,
                cwd=self.cwd,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except OSError as exc:
            raise BackendError(f"{self.argv[0]} cannot be started: {exc.strerror}; the command was: {self}") from exc
        if done.returncode != 0:
            reason = _telling_line(done.stdout)
            raise BackendError(f"{self.argv[0]} ended with {done.returncode}: {reason}; the command was: {self}")
        return done.stdout


def _telling_line(output: str) -> str:
    """The first line that complains, else the last: these tools go on talking after the line that matters."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    complaints = [line for line in lines if _COMPLAINT.search(line)]
    return (complaints or lines[-1:] or ["it said nothing"])[0]
