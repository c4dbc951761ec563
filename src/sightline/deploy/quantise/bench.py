"""What is asked for, and what is tried: ways to write a model in fewer bits, each measured against the source."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import onnx

from sightline._version import __version__
from sightline.card import CARD_KEY, ModelCard
from sightline.deploy.compare.agreement import FLOOR, Agreement, agreement
from sightline.deploy.compare.labels import UNKNOWN, Labels
from sightline.deploy.compare.side import Pairs, embedded, paired
from sightline.deploy.quantise.crops import FEWEST, Dealt
from sightline.deploy.quantise.graph import ready_graph
from sightline.deploy.quantise.half import write_float16
from sightline.deploy.quantise.int8 import feeds_of, write_int8
from sightline.deploy.quantise.sensitive import LADDER, nodes_of, present, require_parts
from sightline.deploy.quantise.speed import times_faster
from sightline.errors import ConfigError, ImageError
from sightline.images import read_image
from sightline.onnx_file import read_onnx, with_metadata
from sightline.reid.embedder import Embedder
from sightline.runtime.open import open_session
from sightline.types import Image

log = logging.getLogger(__name__)

Precision = Literal["int8", "float16"]
SOURCE = "quantised.from"  # in a card's extra: the fingerprint of the float32 weights
METHOD = "quantised.by"


@dataclass(frozen=True)
class Plan:
    """`keep` names the parts that stay float32; None finds out how many have to."""

    precision: Precision = "int8"
    keep: tuple[str, ...] | None = None
    floor: float = FLOOR  # of the smallest cosine to the source
    force: bool = False  # write it all the same
    reduce_range: bool = False  # weights of seven bits, for processors without VNNI
    labels: Labels = UNKNOWN  # who is on the crops

    def __post_init__(self) -> None:
        require_parts(self.keep or ())
        if not -1 <= self.floor <= 1:
            raise ConfigError(f"the floor of a cosine is {self.floor:g}; expected -1 to 1, such as {FLOOR:g}")
        if self.precision != "int8" and (self.keep or self.reduce_range):
            raise ConfigError(f"a {self.precision} file has nothing to keep in float32 and no range to reduce")

    @property
    def rungs(self) -> tuple[tuple[str, ...], ...]:
        if self.precision != "int8":
            return ((),)
        return LADDER if self.keep is None else (self.keep,)


@dataclass(frozen=True, eq=False)
class Trial:
    """One way that was tried."""

    path: Path
    keep: tuple[str, ...]
    card: ModelCard
    pairs: Pairs  # of the source's vectors and its own
    agreement: Agreement

    def __str__(self) -> str:
        kept = f"{' and '.join(self.keep)} in float32" if self.keep else "all of it"
        return f"{self.card.precision}, {kept}: smallest cosine {self.agreement.smallest:.4f}"


class Bench:
    """The source, its vectors of the judged crops, and a folder to make other forms of it in."""

    def __init__(self, source: Embedder, folder: Path, crops: Dealt, plan: Plan) -> None:
        self._source = source
        self._folder = folder
        self._plan = plan
        self._calibration = _read(crops.calibration)
        self._reference = embedded(source, crops.judged)
        for reason in self._reference.skipped.values():
            log.warning("left out: %s", reason)
        self._judged = [path for path in crops.judged if str(path) not in self._reference.skipped]
        _require_enough(self._judged, "to judge by")
        self._ready = ready_graph(source.session.path, folder)

    def trials(self) -> Iterator[Trial]:
        """From the fastest on, up to the first that agrees. A network without the parts in question is tried once."""
        graph = onnx.load(str(self._ready)).graph
        for keep in dict.fromkeys(present(graph, parts) for parts in self._plan.rungs):
            trial = self._tried(keep, nodes_of(graph, keep))
            log.info("tried %s", trial)
            yield trial
            if trial.agreement.reaches(self._plan.floor):
                return

    def times_faster(self, trial: Trial) -> float:
        with open_session(trial.path, "onnxruntime", "cpu") as session:
            return times_faster(Embedder(session), self._source, self._calibration)

    def _tried(self, keep: tuple[str, ...], leave: frozenset[str]) -> Trial:
        path = self._folder / f"{'-'.join(('kept', *keep))}.onnx"
        if self._plan.precision == "int8":
            feeds = feeds_of(self._calibration, self._source.image)
            write_int8(self._ready, path, feeds, leave=leave, reduce_range=self._plan.reduce_range)
        else:
            write_float16(self._ready, path)
        card = self._card(path, keep)
        with_metadata(path, path, entries={CARD_KEY: card.to_json()})
        pairs = self._pairs(path)
        thresholds = self._source.session.card.thresholds
        return Trial(path, keep, card, pairs, agreement(pairs, self._plan.labels, thresholds=thresholds))

    def _card(self, path: Path, keep: Sequence[str]) -> ModelCard:
        """The source's, but for what no longer holds: other weights, so another fingerprint, and no threshold."""
        source = self._source.session.card
        kept = f", {' and '.join(keep)} in float32" if keep else ""
        crops = f" on {len(self._calibration)} crops" if self._plan.precision == "int8" else ""
        about = {SOURCE: source.fingerprint, METHOD: f"{self._plan.precision}{crops}{kept}"}
        extra = {key: value for key, value in source.extra.items() if not key.startswith("thresholds.")}
        return replace(
            source,
            precision=self._plan.precision,
            fingerprint=read_onnx(path).fingerprint,
            thresholds=(),
            extra={**extra, **about},
            created_by=f"sightline {__version__}",
        )

    def _pairs(self, path: Path) -> Pairs:
        with open_session(path, "onnxruntime", "cpu") as session:
            return paired(self._reference, embedded(Embedder(session), self._judged))


def _read(paths: Sequence[Path]) -> list[Image]:
    """The crops that can be read. The others are left out, loudly."""
    found: list[Image] = []
    for path in paths:
        try:
            found.append(read_image(path))
        except ImageError as exc:
            log.warning("left out: %s", exc)
    _require_enough(found, "to measure ranges on")
    return found


def _require_enough(crops: Sequence[object], purpose: str) -> None:
    if len(crops) < FEWEST:
        raise ConfigError(f"{len(crops)} crops {purpose} can be read; expected {FEWEST} at least")
