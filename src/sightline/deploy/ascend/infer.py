"""One run over a list of inputs, or over rounds of noise: on a device where there is one, by the stand-in otherwise.

An .om needs a device and its tool. An ONNX is run by ONNX Runtime, on an Ascend with its CANN provider, else on the
CPU. Either way `result/` holds the same files. A run that was stopped goes on where it was, if nothing changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline._version import __version__
from sightline.deploy.ascend import performance, stand_in
from sightline.deploy.ascend.dumps import dump_files, dump_name
from sightline.deploy.ascend.info import Input, first_of, require_size
from sightline.deploy.ascend.performance import PureInfer
from sightline.deploy.ascend.preprocess import ignore
from sightline.deploy.ascend.tools import Job, pure_of, run_tool
from sightline.errors import BackendError, ConfigError, OutputError
from sightline.files import locked, output_error, replacing, sha256_of
from sightline.runtime.session import Session


@dataclass(frozen=True)
class Outcome:
    """A run over a list: how many dumps it made, how many were there already, and where its speed is written."""

    dumps: Path
    made: int
    kept: int
    speed: Path
    measured_by: str


def run_list(
    session: Session,
    inputs: Sequence[Input],
    work: Path,
    *,
    device_id: int = 0,
    batch: int | None = None,
    binary: bool = False,
    restart: bool = False,
    progress: Callable[[int], None] = ignore,
) -> Outcome:
    """A dump of every input in `work/result/dumpOutput_device<N>`, by a session.

    Raises `ConfigError` about the list before anything runs, and `OutputError` where dumps of another run are there.
    """
    size = stand_in.batch_for(session, batch)
    _require_inputs(session, inputs)
    job = Job(session.path, work, device_id=device_id, batch=size, binary=binary)
    with _held(job):
        record = _Record(job, _identity(session, inputs, job))
        pending = record.pending(inputs, restart=restart)
        by = stand_in.measured_by(session)
        speed = performance.vision_file(work, size, device_id)
        if pending:
            spent = stand_in.run_inputs(session, pending, job.dumps, batch=size, binary=binary, progress=progress)
            performance.write_vision(spent, speed, measured_by=by)
        record.finish()
    return Outcome(job.dumps, len(pending), len(inputs) - len(pending), speed, by)


def _require_inputs(session: Session, inputs: Sequence[Input]) -> None:
    height, width = stand_in.image_spec(session).shape[2:]
    odd = [item for item in inputs if (item.width, item.height) != (width, height)]
    if odd:
        said = f"{odd[0].width}x{odd[0].height}"
        raise ConfigError(
            f"the list says {odd[0].path} is {said}; {session.path.name} takes {width}x{height} (width first)"
        )
    require_size([item.path for item in inputs], inputs[0].width * inputs[0].height * 3 * 4)


def _held(job: Job) -> AbstractContextManager[None]:
    """The folder of one device's dumps, taken by one run at a time."""
    _make(job.dumps)
    return locked(job.dumps.parent / f".device{job.device_id}.lock", holder="another `sightline ascend infer`")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc


def _identity(session: Session, inputs: Sequence[Input], job: Job) -> dict[str, Any]:
    """All that a dump depends on. Inputs count as changed when their files were written again."""
    digest = hashlib.sha256()
    for item in inputs:
        seen = item.path.stat()
        digest.update(f"{item.path} {seen.st_size} {seen.st_mtime_ns}\n".encode())
    return {
        "model": str(session.path),
        "sha256": sha256_of(session.path),
        "fingerprint": session.card.fingerprint,
        "runtime": stand_in.measured_by(session),
        "fallbacks": [str(attempt) for attempt in session.fallbacks],
        "batch": job.batch,
        "output_binary": job.binary,
        "inputs": len(inputs),
        "inputs_sha256": digest.hexdigest(),
    }


class _Record:
    """`result/run_device<N>.json`: which run the dumps are of, written before the first of them."""

    def __init__(self, job: Job, identity: dict[str, Any]) -> None:
        self._job, self._identity = job, identity
        self._path = job.dumps.parent / f"run_device{job.device_id}.json"

    def pending(self, inputs: Sequence[Input], *, restart: bool) -> list[Input]:
        """The inputs that have no dump of this very run."""
        if restart:
            clear_dumps(self._job.dumps)
        there = {path.name for _, path in dump_files(self._job.dumps)}
        if there and not self._is_ours():
            raise OutputError(
                f"{self._job.dumps} holds {len(there)} dumps of another run, e.g. {first_of(sorted(there)[:1])}; "
                "remove it, pass --restart, or choose another --device-id"
            )
        self._write(finished=False)
        return [item for item in inputs if dump_name(item.stem, binary=self._job.binary) not in there]

    def finish(self) -> None:
        self._write(finished=True)

    def _is_ours(self) -> bool:
        with suppress(OSError, ValueError, AttributeError):
            noted = json.loads(self._path.read_text(encoding="utf-8"))
            return all(noted.get(key) == value for key, value in self._identity.items())
        return False

    def _write(self, *, finished: bool) -> None:
        content = {"sightline": __version__, **self._identity, "finished": finished}
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def clear_dumps(folder: Path) -> None:
    """Remove the dumps of an earlier run, and nothing else."""
    for _, path in dump_files(folder):
        try:
            path.unlink()
        except OSError as exc:
            raise output_error(path, exc) from exc


def run_noise(
    session: Session, work: Path, *, device_id: int = 0, batch: int | None = None, rounds: int = 50
) -> list[str]:
    """Rounds of noise by a session: the lines the benchmark tool prints, and its PureInfer file."""
    size = stand_in.batch_for(session, batch)
    costs = stand_in.run_rounds(session, batch=size, rounds=rounds)
    found = performance.averages(costs, batch=size, measured_by=stand_in.measured_by(session))
    return [*performance.round_lines(costs), *_saved(found, work, session.path, device_id)]


def _saved(found: PureInfer, work: Path, model: Path, device_id: int) -> list[str]:
    target = performance.pure_file(work, model, device_id)
    _make(target.parent)
    performance.write_pure(found, target)
    return performance.summary_lines(found, target)


# On a device


def run_list_on_device(job: Job, inputs: Sequence[Input], *, tool: str, restart: bool = False) -> int:
    """The same by the device's own tool; the number of dumps.

    Raises `OutputError` where dumps of a run are there, `BackendError` when the tool fails or leaves some out.
    """
    with _held(job):
        if restart:
            clear_dumps(job.dumps)
        if dump_files(job.dumps):
            raise OutputError(f"{job.dumps} holds the dumps of another run; remove it, or pass --restart")
        (job.dumps.parent / f"run_device{job.device_id}.json").unlink(missing_ok=True)
        if tool != "benchmark":
            job.dumps.rmdir()  # they make it themselves
        run_tool(job, tool=tool)
        there = {stem for stem, _ in dump_files(job.dumps)}
    missing = [item.stem for item in inputs if item.stem not in there]
    if missing:
        raise BackendError(f"{tool} left no dump of {len(missing)} of {len(inputs)} inputs: {first_of(missing)}")
    return len(there)


def run_noise_on_device(job: Job, *, tool: str) -> list[str]:
    """The same by the device's own tool."""
    _make(job.dumps.parent)
    output = run_tool(job, tool=tool)
    if tool == "benchmark":
        return output.splitlines()
    return _saved(pure_of(output, job, tool=tool), job.work, job.model, job.device_id)
