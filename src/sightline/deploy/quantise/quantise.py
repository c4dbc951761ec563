"""From a float32 model to the fastest quantised one that still agrees with it, and the report that says how well."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Literal

from sightline._version import __version__
from sightline.card import CARD_KEY, ModelCard
from sightline.deploy.compare.agreement import FLOOR, Agreement, agreement
from sightline.deploy.compare.labels import UNKNOWN, Labels
from sightline.deploy.compare.side import Side, embedded, paired
from sightline.deploy.quantise.crops import CALIBRATION, FEWEST, Dealt
from sightline.deploy.quantise.graph import ready_graph, require_full_precision
from sightline.deploy.quantise.half import write_float16
from sightline.deploy.quantise.int8 import feeds_of, write_int8
from sightline.deploy.quantise.openvino_form import write_openvino
from sightline.deploy.quantise.sensitive import LADDER, require_parts
from sightline.deploy.quantise.speed import times_faster
from sightline.errors import ConfigError, ExportError, ImageError
from sightline.files import replacing
from sightline.images import read_image
from sightline.onnx_file import read_onnx, with_metadata
from sightline.reid.embedder import Embedder
from sightline.runtime.cards import NO_CLAIMS, Claims
from sightline.runtime.open import open_session
from sightline.types import Image

log = logging.getLogger(__name__)

Precision = Literal["int8", "float16"]
SOURCE = "quantised.from"  # in the card's extra: the fingerprint of the float32 weights
METHOD = "quantised.by"


@dataclass(frozen=True)
class Plan:
    """What is asked for. `keep` names the parts that stay float32; None finds out how many have to."""

    precision: Precision = "int8"
    keep: tuple[str, ...] | None = None
    floor: float = FLOOR  # of the smallest cosine to the source
    force: bool = False  # write it all the same
    reduce_range: bool = False  # weights of seven bits, for processors without VNNI
    claims: Claims = NO_CLAIMS

    def __post_init__(self) -> None:
        require_parts(self.keep or ())
        if not -1 <= self.floor <= 1:
            raise ConfigError(f"the floor of a cosine is {self.floor:g}; expected -1 to 1, such as 0.98")
        if self.precision != "int8" and self.keep:
            raise ConfigError(
                f"{', '.join(self.keep)} cannot be kept in float32: a {self.precision} file is so all over"
            )

    @property
    def rungs(self) -> tuple[tuple[str, ...], ...]:
        if self.precision != "int8":
            return ((),)
        return LADDER if self.keep is None else (self.keep,)


@dataclass(frozen=True, eq=False)
class Trial:
    """One way that was tried."""

    keep: tuple[str, ...]
    card: ModelCard
    agreement: Agreement

    def __str__(self) -> str:
        kept = f"{' and '.join(self.keep)} in float32" if self.keep else "all of it"
        return f"{self.card.precision}, {kept}: smallest cosine {self.agreement.smallest:.4f}"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was written, and how it compares."""

    path: Path
    source: ModelCard
    chosen: Trial
    tried: tuple[Trial, ...]
    crops: Dealt
    size_bytes: tuple[int, int]  # of the source, and of the result
    times_faster: float  # in ONNX Runtime on one thread here


def quantise(source: Path, target: Path, crops: Dealt, *, plan: Plan, labels: Labels = UNKNOWN) -> Outcome:
    """Write `source` in fewer bits to `target`: an .onnx file, or an .xml with its .bin for OpenVINO.

    Ways are tried from the fastest on, until the smallest cosine between a judged crop's two vectors reaches the floor.
    Raises `ExportError`, leaving nothing behind, where none does and the plan does not force it.
    """
    file = require_full_precision(source)
    if target.suffix.lower() not in {".onnx", ".xml"}:
        raise ConfigError(f"{target}: expected a name that ends in .onnx, or in .xml for OpenVINO")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="sightline-")))
        session = stack.enter_context(open_session(source, "onnxruntime", "cpu", claims=plan.claims))
        bench = _Bench(Embedder(session), ready_graph(source, folder), folder, crops, plan, labels)
        tried = list(bench.trials())
        chosen = max(tried, key=lambda trial: (trial.agreement.reaches(plan.floor), trial.agreement.smallest))
        _require_agreement(chosen, plan, target)
        made = bench.path_of(chosen)
        faster = bench.times_faster(made)
        _WRITERS[target.suffix.lower()](made, target, chosen.card, file.metadata)
    sizes = file.size_bytes, target.stat().st_size
    return Outcome(target, session.card, chosen, tuple(tried), crops, sizes, faster)


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


class _Bench:
    """The source, its vectors of the judged crops, and a place to make and try other forms of it."""

    def __init__(self, source: Embedder, ready: Path, folder: Path, crops: Dealt, plan: Plan, labels: Labels) -> None:
        self._source = source
        self._ready = ready
        self._folder = folder
        self._plan = plan
        self._labels = labels
        self._calibration = _read(crops.calibration)
        self._reference = embedded(source, crops.judged)
        self._judged = [path for path in crops.judged if str(path) not in self._reference.skipped]
        for image, reason in self._reference.skipped.items():
            log.warning("left out: %s", reason or image)
        if len(self._judged) < FEWEST:
            raise ConfigError(f"{len(self._judged)} crops to judge by can be read; expected {FEWEST} at least")

    def trials(self) -> Iterator[Trial]:
        """One after another, up to the first that agrees."""
        for keep in self._plan.rungs:
            trial = self._tried(keep)
            log.info("tried %s", trial)
            yield trial
            if trial.agreement.reaches(self._plan.floor):
                return

    def path_of(self, trial: Trial) -> Path:
        return self._path(trial.keep)

    def times_faster(self, made: Path) -> float:
        with open_session(made, "onnxruntime", "cpu") as session:
            return times_faster(Embedder(session), self._source, self._calibration)

    def _path(self, keep: Sequence[str]) -> Path:
        return self._folder / f"{'-'.join(('kept', *keep))}.onnx"

    def _tried(self, keep: tuple[str, ...]) -> Trial:
        path = self._path(keep)
        if self._plan.precision == "int8":
            feeds = feeds_of(self._calibration, self._source.image)
            write_int8(self._ready, path, feeds, keep=keep, reduce_range=self._plan.reduce_range)
        else:
            write_float16(self._ready, path)
        card = self._card(path, keep)
        with_metadata(path, path, entries={CARD_KEY: card.to_json()})
        return Trial(keep, card, self._agreement(path))

    def _card(self, path: Path, keep: Sequence[str]) -> ModelCard:
        """The source's, but for what no longer holds: other weights, so another fingerprint and no threshold."""
        source = self._source.session.card
        kept = f", {' and '.join(keep)} in float32" if keep else ""
        crops = f" on {len(self._calibration)} crops" if self._plan.precision == "int8" else ""
        return replace(
            source,
            precision=self._plan.precision,
            fingerprint=read_onnx(path).fingerprint,
            thresholds=(),
            extra={
                **{key: value for key, value in source.extra.items() if not key.startswith("thresholds.")},
                SOURCE: source.fingerprint,
                METHOD: f"{self._plan.precision}{crops}{kept}",
            },
            created_by=f"sightline {__version__}",
        )

    def _agreement(self, path: Path) -> Agreement:
        with open_session(path, "onnxruntime", "cpu") as session:
            made: Side = embedded(Embedder(session), self._judged)
        pairs = paired(self._reference, made)
        return agreement(pairs, self._labels, thresholds=self._source.session.card.thresholds)


def _read(paths: Sequence[Path]) -> list[Image]:
    """The crops that can be read. The others are left out, loudly."""
    found: list[Image] = []
    for path in paths:
        try:
            found.append(read_image(path))
        except ImageError as exc:
            log.warning("left out: %s", exc)
    if len(found) < FEWEST:
        raise ConfigError(f"{len(found)} crops to measure ranges on can be read; expected {FEWEST} at least")
    return found


def _write_onnx(made: Path, target: Path, card: ModelCard, metadata: Mapping[str, str]) -> None:
    with replacing(target) as temporary:
        with_metadata(made, temporary, entries={**metadata, CARD_KEY: card.to_json()})


_WRITERS: Mapping[str, Callable[[Path, Path, ModelCard, Mapping[str, str]], None]] = MappingProxyType(
    {".onnx": _write_onnx, ".xml": write_openvino}
)
