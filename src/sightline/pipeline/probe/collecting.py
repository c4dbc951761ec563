"""All that stands behind a probe, opened as `sightline people` opens it: the same gallery, events and brokers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline.camera import without_password
from sightline.errors import ConfigError
from sightline.gallery.gallery import space_of
from sightline.gallery.open_gallery import open_gallery
from sightline.pipeline.cluster import threshold_for
from sightline.pipeline.people.courier import Courier, close_all
from sightline.pipeline.people.event_log import EventLog
from sightline.pipeline.people.keeping import EVENTS, Keeper, decisions_in
from sightline.pipeline.people.memory import Memory, MemoryRules
from sightline.pipeline.people.memory_entries import visit_id_of
from sightline.pipeline.people.people_file import write_people, write_tracks
from sightline.pipeline.people.plans import CameraPlan, View
from sightline.pipeline.people.record import RunRecord, open_record
from sightline.pipeline.people.sinks import open_sink
from sightline.pipeline.people.visits_folder import VISITS, read_visit
from sightline.pipeline.probe.collector import Collector
from sightline.pipeline.probe.deployment import Deployment
from sightline.pipeline.probe.desk import ABSENT_S, Desk
from sightline.pipeline.probe.pyds_metadata import PydsReader
from sightline.pipeline.probe.records import Reader, Wanted
from sightline.pipeline.probe.servicemaker_metadata import ServiceMakerReader
from sightline.pipeline.probe.tally import Tally
from sightline.pipeline.probe.tap import Tap
from sightline.pipeline.probe.translating import Sensors, Timekeeper, Translator
from sightline.reid.embedder import Embedder
from sightline.reid.identify import MARGIN
from sightline.reid.osnet import as_person_model
from sightline.runtime.open import open_session

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What whoever starts the pipeline decides."""

    out: Path
    is_live: bool = False
    by_tracker: bool = False  # the vectors are nvtracker's own
    gallery: str = ""  # an address as of `sightline people --gallery`; by default a file in `out`
    sinks: Sequence[str] = ()
    threshold: float | None = None  # by default the one calibrated for the model
    margin: float = MARGIN
    travel_s: float | None = None
    absent_s: float = ABSENT_S
    start_s: float | None = None  # of recordings, in seconds since 1970; by default now
    restart: bool = False

    @property
    def gallery_url(self) -> str:
        return self.gallery or str(self.out / "gallery.sqlite")


@dataclass(frozen=True, eq=False)
class Collection:
    """An open way from metadata to visits."""

    deployment: Deployment
    options: Options
    sensors: Sensors
    collector: Collector
    translator: Translator
    tally: Tally = field(default_factory=Tally)

    def tap_for_servicemaker(self) -> Tap:
        """To be called by the `handle_metadata` of a `BatchMetadataOperator`."""
        return self._tap(ServiceMakerReader(self._wanted, self.tally))

    def tap_for_pyds(self, pyds: Any) -> Tap:
        """To be called by a pad probe, with the batch meta of its buffer. Raises `BackendError` for too old a pyds."""
        return self._tap(PydsReader(pyds, self._wanted, self.tally))

    @property
    def _wanted(self) -> Wanted:
        return self.deployment.wanted(by_tracker=self.options.by_tracker)

    def _tap(self, reader: Reader) -> Tap:
        return Tap(reader, self.translator, self.collector)

    def summary(self) -> str:
        """One line for the end."""
        frames = sum(self.collector.frames.values())
        told = f"{self.collector.visits:,} visits in {frames:,} frames of {len(self.collector.frames)} cameras"
        dropped = f"; {self.collector.dropped:,} frames were dropped" if self.collector.dropped else ""
        faults = f"; not used: {self.tally}" if str(self.tally) else ""
        return f"{told}{dropped}{faults}"


@contextmanager
def collecting(deployment: Deployment, options: Options, *, sensors: Mapping[int, str]) -> Iterator[Collection]:
    """Open everything; at the end of the block end all visits, and write `people.json` and `tracks.csv`.

    `sensors` are the names of the cameras by their source numbers; they may come and go later. Raises whatever is wrong
    with the model, the folder, the gallery or the metadata, when the block ends at the latest.
    """
    with ExitStack() as stack:
        sinks = [open_sink(url) for url in options.sinks]
        embedder = Embedder(as_person_model(stack.enter_context(open_session(deployment.model))))
        _require_one_model(deployment, embedder)
        rules = _rules(options, embedder)
        run = _opened_run(options, embedder, rules)
        events = stack.enter_context(EventLog(options.out / EVENTS))
        gallery = stack.enter_context(open_gallery(options.gallery_url))
        space = space_of(embedder.session.card, dim=embedder.dim)
        memory = Memory(gallery, space=space, run_id=run.run_id, rules=rules)
        stack.callback(close_all, [Courier(events, sink) for sink in sinks])
        office = _Office(options, run, Keeper(options.out, memory=memory, log=events), events, embedder.fingerprint)
        collector = Collector(office.keeper, desk_of=office.desk, plan_of=office.plan)
        with collector:
            yield _collection(deployment, options, Sensors(sensors), collector, office.start_s, dim=embedder.dim)
        decisions = decisions_in(options.out / EVENTS, gallery)
        starts_s = dict.fromkeys(sorted(collector.frames), office.start_s)
        write_tracks(options.out, decisions, cameras=list(starts_s))
        write_people(options.out, decisions, starts_s=starts_s)


def _collection(
    deployment: Deployment, options: Options, sensors: Sensors, collector: Collector, start_s: float, *, dim: int
) -> Collection:
    tally = Tally()
    translator = Translator(
        sensors=sensors,
        timekeeper=Timekeeper(is_live=options.is_live, started_s=start_s),
        dim=dim,
        canvas_wh=deployment.canvas_wh,
        layer=deployment.layer,
        tally=tally,
    )
    return Collection(deployment, options, sensors, collector, translator, tally)


def _require_one_model(deployment: Deployment, embedder: Embedder) -> None:
    if (deployment.layer, deployment.dim) != (embedder.output.name, embedder.dim):
        raise ConfigError(
            f"{deployment.model} puts out {embedder.output.name!r} of {embedder.dim} numbers; the deployment is for "
            f"{deployment.layer!r} of {deployment.dim}: write it again with `sightline deepstream init`"
        )


def _rules(options: Options, embedder: Embedder) -> MemoryRules:
    """Where nobody calibrated the model, the memory has its own idea of what is enough."""
    limit = threshold_for(embedder, by_hand=options.threshold)
    is_known = options.threshold is not None or limit.far is not None
    log.info("the threshold is %s", limit.source)
    return MemoryRules(limit.value if is_known else None, margin=options.margin, travel_s=options.travel_s)


def _opened_run(options: Options, embedder: Embedder, rules: MemoryRules) -> RunRecord:
    """A camera is gone on with another day. A recording cannot be gone on with: its people would be seen twice."""
    settings = {
        "deepstream": "tracker" if options.by_tracker else "sgie",
        "model": embedder.fingerprint,
        "threshold": rules.threshold,
        "margin": options.margin,
        "travel": options.travel_s,
        "gallery": without_password(options.gallery_url),
        "live": options.is_live,
    }
    run = open_record(options.out, settings, restart=options.restart)
    if not options.is_live and (options.out / VISITS).exists():
        raise ConfigError(
            f"{options.out} holds the visits of a recording already; choose another folder, or restart to throw it away"
        )
    return run


@dataclass(frozen=True, eq=False)
class _Office:
    """Where visits of a camera begin to be counted, and what they are kept with."""

    options: Options
    run: RunRecord
    keeper: Keeper
    events: EventLog
    fingerprint: str

    @property
    def start_s(self) -> float:
        """What the seconds of all visits count from; the same whenever the run is gone on with."""
        given_s = None if self.options.is_live else self.options.start_s
        return self.run.started_s if given_s is None else given_s

    def plan(self, sensor: str) -> CameraPlan:
        return CameraPlan(sensor, "deepstream", self.start_s)

    def desk(self, sensor: str) -> Desk:
        desk = Desk(sensor, fingerprint=self.fingerprint, epoch_s=self.start_s, absent_s=self.options.absent_s)
        desk.go_on_after(self.options.out)
        self._finish_keeping(desk)
        return desk

    def _finish_keeping(self, desk: Desk) -> None:
        """A run that was killed may have left its last visit in its folder, and told nobody yet."""
        camera, number = desk.book.camera, desk.book.ended
        if number == 0 or visit_id_of(self.run.run_id, camera, number) in self.events:
            return
        visit = read_visit(self.options.out, camera, number)
        if visit is not None:
            self.keeper(visit, View(self.plan(camera), None))
