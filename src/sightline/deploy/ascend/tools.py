"""The tools that run an .om on a device: which is there, how each is called, and where it leaves what.

`benchmark` is the guide's; `ais_bench` came after it; `msame` is the plain one, which knows no batches. All are called
so that the dumps end in `result/dumpOutput_deviceN/` of the working folder.
"""

from __future__ import annotations

import platform
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from sightline.deploy.ascend.command import Command
from sightline.deploy.ascend.performance import PureInfer
from sightline.errors import BackendError, ConfigError

_AIS_BENCH = re.compile(
    r"throughput \(?1000\*batchsize(?:\.mean)?(?:\([\d.]+\))?/NPU_compute_time(?:\.mean\([\d.]+\))?\)?: ([\d.eE+-]+)",
    re.IGNORECASE,
)
_MSAME = re.compile(r"Inference average time[^:\n]*:\s*([\d.]+)\s*ms")


@dataclass(frozen=True)
class Job:
    """A model on a device. Without a list it is rounds of noise."""

    model: Path  # the .om
    work: Path  # where `result/` is
    _: KW_ONLY
    device_id: int
    batch: int
    size_wh: tuple[int, int] = (128, 256)
    listing: Path | None = None  # the .info
    inputs: Path | None = None  # the folder that the list is of
    binary: bool = False
    rounds: int = 50

    @property
    def dumps(self) -> Path:
        return self.work / "result" / f"dumpOutput_device{self.device_id}"


def benchmark_program() -> str:
    """The guide's tool is called after the machine it is built for."""
    return f"benchmark.{platform.machine() or 'x86_64'}"


def tool_here(work: Path) -> str:
    """The name of the tool to use; empty where there is none. One in the working folder counts, as in the guide."""
    if _benchmark_path(work):
        return "benchmark"
    if find_spec("ais_bench") is not None:
        return "ais_bench"
    return "msame" if shutil.which("msame") else ""


def _benchmark_path(work: Path) -> str | None:
    return shutil.which(benchmark_program()) or shutil.which(str((work / benchmark_program()).absolute()))


NO_TOOL = f"no tool for .om files here (looked for {benchmark_program()}, ais_bench and msame)"


def command(job: Job, *, tool: str = "") -> Command:
    """How `tool` (by default the guide's) runs the job."""
    argv = _ARGUMENTS[tool or "benchmark"](job)
    return Command(tuple(map(str, argv)), job.work)


def _benchmark(job: Job) -> list[str]:
    program = _benchmark_path(job.work) or f"./{benchmark_program()}"
    model = ["-om_path=" + str(job.model), f"-device_id={job.device_id}", f"-batch_size={job.batch}"]
    if job.listing is None:
        return [program, f"-round={job.rounds}", *model]
    width, height = job.size_wh
    return [
        program,
        "-model_type=vision",
        f"-device_id={job.device_id}",
        f"-batch_size={job.batch}",
        f"-om_path={job.model}",
        f"-input_text_path={job.listing}",
        f"-input_width={width}",
        f"-input_height={height}",
        f"-output_binary={job.binary}",
        "-useDvpp=False",
    ]


def _ais_bench(job: Job) -> list[str]:
    common = [sys.executable, "-m", "ais_bench", f"--model={job.model}", f"--device={job.device_id}"]
    if job.inputs is None:
        return [*common, f"--loop={job.rounds}", f"--batchsize={job.batch}"]
    form = "BIN" if job.binary else "TXT"
    where = ["--output=result", f"--output_dirname={job.dumps.name}"]
    return [*common, f"--input={job.inputs}", *where, f"--outfmt={form}", f"--batchsize={job.batch}"]


def _msame(job: Job) -> list[str]:
    """It writes below a folder named after the moment, so it gets one of its own: `_settled` moves the dumps."""
    if job.inputs is not None and job.batch != 1:
        raise ConfigError(f"msame runs files of one batch each; expected a model of batch 1, not {job.batch}")
    common = ["msame", f"--model={job.model}", f"--device={job.device_id}", f"--output={_msame_output(job)}"]
    if job.inputs is None:
        return [*common, "--outfmt=BIN", f"--loop={job.rounds}"]
    return [*common, f"--input={job.inputs}", f"--outfmt={'BIN' if job.binary else 'TXT'}"]


def _msame_output(job: Job) -> Path:
    return Path("result", f"msame_device{job.device_id}")


_ARGUMENTS: Mapping[str, Callable[[Job], list[str]]] = MappingProxyType(
    {"benchmark": _benchmark, "ais_bench": _ais_bench, "msame": _msame}
)


def run_tool(job: Job, *, tool: str) -> str:
    """Run it, and return what it printed. Raises `BackendError` when it fails."""
    output = command(job, tool=tool).run()
    if tool == "msame":
        _settled(job)
    return output


def _settled(job: Job) -> None:
    """Give the folder that msame named after the moment the name that all others use."""
    home = job.work / _msame_output(job)
    folders = sorted(path for path in home.glob("*") if path.is_dir())
    if job.inputs is not None:
        if not folders:
            raise BackendError(f"msame left no folder in {home}")
        folders[-1].replace(job.dumps)
    shutil.rmtree(home, ignore_errors=True)


def pure_of(output: str, job: Job, *, tool: str) -> PureInfer:
    """The figures that ais_bench and msame only print; `benchmark` writes them itself."""
    said = (_AIS_BENCH if tool == "ais_bench" else _MSAME).search(output)
    if said is None:
        raise BackendError(f"{tool} told no throughput; expected a line of it for {job.rounds} rounds")
    by = f"{tool} on Ascend device {job.device_id}"
    if tool == "ais_bench":
        return PureInfer(float(said[1]), 1000 / float(said[1]), by)
    return PureInfer(job.batch * 1000 / float(said[1]), float(said[1]) / job.batch, by)


def batch_in_name(model: Path) -> int:
    """16 for `osnet_x1_0_bs16.om`; nothing else tells the batch of an .om without its device. 1 where none is named."""
    said = re.findall(r"_bs([1-9]\d*)(?!\d)", model.stem)
    return int(said[-1]) if said else 1
