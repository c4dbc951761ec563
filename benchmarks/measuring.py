"""How every benchmark here measures: one process per contender and round, contenders taking turns, medians.

Two runtimes in one process steal each other's cores with idle spinning threads; a contender measured in one block
inherits whatever else the machine was doing then. A round during which other processes used more than `BUSY` of the
machine is measured again, and what remained is reported beside the figures.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
BUSY = 0.08
RETRIES = 3

Figures = dict[str, float]


def median_seconds(work: Callable[[], object], *, at_least_s: float = 0.4, repeats: int = 5) -> float:
    """The median time of one call, after a warm-up, over enough calls to fill `at_least_s`."""
    work()
    started = time.perf_counter()
    work()
    calls = max(1, round(at_least_s / repeats / max(time.perf_counter() - started, 1e-6)))
    return statistics.median(_seconds(work, calls) for _ in range(repeats))


def _seconds(work: Callable[[], object], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - started) / calls


def in_turns(script: str, contenders: Sequence[str], *, rounds: int = 5) -> dict[str, Figures]:
    """Run `script --contender NAME` for each contender in turn, `rounds` times; the median of each figure it prints."""
    taken: dict[str, list[Figures]] = {name: [] for name in contenders}
    others = 0.0
    for number in range(rounds):
        for name in contenders:
            figures, busy = _quiet_run([sys.executable, script, "--contender", name])
            taken[name].append(figures)
            others = max(others, busy)
            print(f"round {number + 1}/{rounds} {name}", file=sys.stderr)
    medians = {name: _medians(runs) for name, runs in taken.items()}
    return {**medians, "_others": {"busy share of other processes, worst round": others}}


def _medians(runs: Sequence[Figures]) -> Figures:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def _quiet_run(command: Sequence[str]) -> tuple[Figures, float]:
    best: tuple[Figures, float] | None = None
    for _ in range(RETRIES):
        before, own_before = _busy_s(), _children_s()
        started = time.perf_counter()
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        machine_s = (time.perf_counter() - started) * (os.cpu_count() or 1)
        others = max(0.0, (_busy_s() - before) - (_children_s() - own_before)) / machine_s
        figures = json.loads(output.splitlines()[-1])
        if best is None or others < best[1]:
            best = figures, others
        if others <= BUSY:
            break
    assert best is not None
    return best


def _busy_s() -> float:
    """Processor seconds the whole machine has spent on anything, time stolen by its host included."""
    fields = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system + times.user + times.system


def environment(packages: Sequence[str]) -> dict[str, str]:
    """What the figures belong to."""
    found = {"date": datetime.now(timezone.utc).strftime("%Y-%m-%d"), "python": platform.python_version()}
    found["processor"] = f"{_processor()}, {os.cpu_count()} cores"
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def keep(name: str, results: Mapping[str, Any]) -> None:
    """Write a benchmark's results where the report reads them."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=2, sort_keys=True) + "\n", encoding="utf-8")
