"""From a float32 model to the fastest quantised one that still agrees with it, and the report that says how well."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from sightline.card import CARD_KEY, ModelCard
from sightline.deploy.quantise.bench import Bench, Plan, Trial
from sightline.deploy.quantise.crops import Dealt
from sightline.deploy.quantise.graph import require_full_precision
from sightline.deploy.quantise.openvino_form import as_openvino, require_openvino
from sightline.errors import ConfigError, ExportError
from sightline.files import replacing
from sightline.onnx_file import with_metadata
from sightline.reid.embedder import Embedder
from sightline.runtime.cards import NO_CLAIMS, Claims
from sightline.runtime.open import open_session

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was written, and how it compares."""

    path: Path
    source: ModelCard
    chosen: Trial
    tried: tuple[Trial, ...]
    crops: Dealt
    size_bytes: tuple[int, int]  # of the source, and of the result
    times_faster: float  # in ONNX Runtime, on one thread of this processor


def quantise(
    source: Path, target: Path, crops: Dealt, *, plan: Plan | None = None, claims: Claims = NO_CLAIMS
) -> Outcome:
    """Write `source` in fewer bits to `target`: an .onnx file, or an .xml with its .bin for OpenVINO.

    Ways are tried from the fastest on, until the smallest cosine between a judged crop's two vectors reaches the floor.
    Raises `ExportError`, leaving nothing behind, where none does and the plan does not force it.
    """
    plan = Plan() if plan is None else plan
    write = _writer_for(target, source)
    file = require_full_precision(source)
    with ExitStack() as stack:
        temporary = stack.enter_context(replacing(target))  # first, to learn now that nothing can be written there
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="sightline-")))
        session = stack.enter_context(open_session(source, "onnxruntime", "cpu", claims=claims))
        bench = Bench(Embedder(session), folder, crops, plan)
        tried = tuple(bench.trials())
        chosen = max(tried, key=lambda trial: trial.agreement.smallest)
        _require_agreement(chosen, plan, target)
        faster = bench.times_faster(chosen)
        size_bytes = write(chosen, temporary, target, file.metadata)
    return Outcome(target, session.card, chosen, tried, crops, (file.size_bytes, size_bytes), faster)


_Write = Callable[[Trial, Path, Path, Mapping[str, str]], int]


def _writer_for(target: Path, source: Path) -> _Write:
    write = _WRITERS.get(target.suffix.lower())
    if write is None:
        raise ConfigError(f"{target}: expected a name that ends in .onnx, or in .xml for OpenVINO")
    if target.resolve() == source.resolve():
        raise ConfigError(f"{target} is the source itself, which stays what it is; name another file")
    if write is _write_openvino:
        require_openvino()
    return write


def _require_agreement(best: Trial, plan: Plan, target: Path) -> None:
    if best.agreement.reaches(plan.floor):
        return
    found = f"{best}, on {best.agreement.names[best.agreement.worst(1)[0]]}"
    if not plan.force:
        raise ExportError(
            f"{target} was not written: the best that was found is {found}; the floor is {plan.floor:g}. Calibrate on "
            "more crops like those it will see, lower --floor, or pass --force"
        )
    log.warning("written by force: %s, below the floor of %g", found, plan.floor)


def _write_onnx(chosen: Trial, temporary: Path, target: Path, metadata: Mapping[str, str]) -> int:
    """What the source says of itself goes along. The size in bytes."""
    with_metadata(chosen.path, temporary, entries={**metadata, CARD_KEY: chosen.card.to_json()})
    return temporary.stat().st_size


def _write_openvino(chosen: Trial, temporary: Path, target: Path, metadata: Mapping[str, str]) -> int:
    """The weights first: where the .xml is, they are there. All sizes in bytes."""
    whole = as_openvino(chosen.path, card=chosen.card)
    weights = whole.with_suffix(".bin")
    with replacing(target.with_suffix(".bin")) as beside:
        shutil.copyfile(weights, beside)
    shutil.copyfile(whole, temporary)
    return whole.stat().st_size + weights.stat().st_size


_WRITERS: Mapping[str, _Write] = MappingProxyType({".onnx": _write_onnx, ".xml": _write_openvino})
