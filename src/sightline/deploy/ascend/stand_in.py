"""Where there is no Ascend: the same model run by a session of ours, leaving the files that the device would."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sightline.deploy.ascend.dumps import dump_content, dump_name
from sightline.deploy.ascend.info import Input
from sightline.deploy.ascend.performance import STAND_IN, Spent
from sightline.errors import ConfigError, ModelOutputError
from sightline.files import replacing
from sightline.runtime.session import Session, run_part
from sightline.types import Array, TensorSpec

WARM_UPS = 10  # ONNX Runtime settles, and on a CPU tries out its threads, in the first calls


@dataclass
class _Clock:
    """Seconds by part."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spent[part] = self.spent.get(part, 0.0) + time.perf_counter() - started


def device_name(device_id: int) -> str:
    """What to ask a session for: the Ascend, where this ONNX Runtime has the provider for it, else the CPU."""
    import onnxruntime

    there = "CANNExecutionProvider" in onnxruntime.get_available_providers()
    return f"ascend:{device_id}" if there else "cpu"


def measured_by(session: Session) -> str:
    """Who stands in, as the files it leaves say it."""
    place = "on" if session.device.startswith("ascend") else "not an Ascend device, but on"
    return f"{STAND_IN}: {session.backend}, {place} {session.device}, {session.precision}"


def image_spec(session: Session) -> TensorSpec:
    """Its only input. Raises `ConfigError` where a list of `.bin` files is not what it takes."""
    spec = session.inputs[0]
    sound = len(session.inputs) == 1 and len(spec.shape) == 4 and spec.dtype == "float32" and None not in spec.shape[1:]
    if not sound:
        raise ConfigError(
            f"{session.path} takes {', '.join(map(str, session.inputs))}; expected one float32[N, 3, H, W]"
        )
    return spec


def batch_for(session: Session, asked: int | None) -> int:
    """The batch it runs in: the one asked for, or the file's own. Raises `ConfigError` where these differ."""
    fixed = session.fixed_batch
    if asked is not None and fixed is not None and asked != fixed:
        raise ConfigError(f"{session.path} has a fixed batch of {fixed}; asked for {asked}: use the file of that batch")
    return asked or fixed or 1


def run_inputs(
    session: Session,
    inputs: Sequence[Input],
    folder: Path,
    *,
    batch: int,
    binary: bool,
    progress: Callable[[int], None],
) -> Spent:
    """A dump of every input in `folder`. The last batch is padded where the file insists, the padding dropped."""
    clock = _Clock()
    with clock("total_s"):
        for start in range(0, len(inputs), batch):
            part = inputs[start : start + batch]
            _run_part(session, part, folder, binary=binary, clock=clock)
            progress(len(part))
    parts = ("total_s", "read_s", "join_s", "infer_s", "interface_s", "post_s")
    return Spent(len(inputs), **{part: clock.spent.get(part, 0.0) for part in parts})


def _run_part(session: Session, part: Sequence[Input], folder: Path, *, binary: bool, clock: _Clock) -> None:
    spec = image_spec(session)

    def timed(feeds: dict[str, Array]) -> dict[str, Array]:
        with clock("interface_s"):
            return session.run(feeds)

    with clock("read_s"):
        contents = [item.path.read_bytes() for item in part]
    with clock("join_s"):
        feed = np.frombuffer(b"".join(contents), "<f4").reshape(len(part), *_sizes(spec))
    with clock("infer_s"):
        answers = run_part(session, {spec.name: feed}, run=lambda feeds: timed(dict(feeds)))
    with clock("post_s"):
        _write(part, answers[session.outputs[0].name], folder, binary=binary)


def _sizes(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(size or 0 for size in spec.shape[1:])


def _write(part: Sequence[Input], rows: Array, folder: Path, *, binary: bool) -> None:
    for item, row in zip(part, rows.reshape(len(part), -1), strict=True):
        if not np.isfinite(row).all():
            raise ModelOutputError(f"{item.path} gave NaN or infinity; the model is broken, or its input is")
        with replacing(folder / dump_name(item.stem, binary=binary)) as temporary:
            temporary.write_bytes(dump_content(row.astype(np.float32), binary=binary))


def run_rounds(session: Session, *, batch: int, rounds: int) -> list[float]:
    """Milliseconds of each of some passes over one batch of noise, after a few that are not counted."""
    spec = image_spec(session)
    noise = np.random.default_rng(0).standard_normal((batch, *_sizes(spec)), np.float32)
    for _ in range(WARM_UPS):
        session.run({spec.name: noise})
    return [_timed_ms(session, {spec.name: noise}) for _ in range(rounds)]


def _timed_ms(session: Session, feeds: dict[str, Array]) -> float:
    started = time.perf_counter()
    session.run(feeds)
    return (time.perf_counter() - started) * 1000
