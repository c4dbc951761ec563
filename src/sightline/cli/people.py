"""`sightline people SOURCE… -m MODEL --out DIR`: the people of videos and cameras, each once, with one name."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack

from sightline.cli import INTERRUPTED, people_arguments
from sightline.cli.model_arguments import session_from
from sightline.cli.people_parts import Parts
from sightline.cli.people_progress import watching
from sightline.cli.people_report import Result, tell, write_results, write_timing
from sightline.cli.stopping import stops_at_signals
from sightline.errors import ConfigError, SourceError
from sightline.gallery.gallery import Gallery
from sightline.gallery.open_gallery import open_gallery
from sightline.pipeline.cluster import threshold_for
from sightline.pipeline.people.courier import Courier, close_all
from sightline.pipeline.people.event_log import EventLog
from sightline.pipeline.people.keeping import EVENTS, Keeper, settle_late
from sightline.pipeline.people.record import RunRecord, finish, forget_if_empty, open_record
from sightline.pipeline.people.run import PeopleRun
from sightline.pipeline.people.sinks import open_sink
from sightline.pipeline.timing import Stopwatch
from sightline.reid.embedder import Embedder
from sightline.reid.osnet import as_person_model
from sightline.reid.thresholds import Limit

NOT_ALL = 3  # exit code: some sources could not be used, the others were


def configure(parser: argparse.ArgumentParser) -> None:
    people_arguments.configure(parser)


def run(args: argparse.Namespace) -> int:
    if args.config is not None:
        from sightline.cli import people_stages  # a pipeline of its own, with imports of its own

        return people_stages.run(args)
    people_arguments.require_plausible(args)
    args.out = args.out or people_arguments.OUT
    sinks = [open_sink(url) for url in args.sink]
    with ExitStack() as stack:
        embedder = Embedder(as_person_model(stack.enter_context(session_from(args))))
        parts = Parts(args, embedder, _limit(args, embedder))
        record = open_record(args.out, parts.settings(), restart=args.restart)
        log = stack.enter_context(EventLog(args.out / EVENTS))
        gallery = stack.enter_context(open_gallery(parts.gallery_url))
        job = _job(parts, record, Keeper(args.out, memory=parts.memory(gallery, record.run_id), log=log), stack)
        couriers = [Courier(log, sink) for sink in sinks]
        started_s = time.perf_counter()
        try:
            _do(job, parts, record, gallery, log)
        except SourceError:
            if not job.frames:
                forget_if_empty(args.out)  # so that the same folder takes the source as it should have been named
            raise
        finally:
            unsent = close_all(couriers)
        timing = write_timing(args.out, job.clock, frames=job.frames, seconds=time.perf_counter() - started_s)
        decisions, files = write_results(args, job, embedder, parts.limit, gallery)
    tell(args, Result(job.reports, decisions, parts.rules, parts.limit, tuple(files), timing, unsent, job.stopped))
    return _exit_code(job)


def _limit(args: argparse.Namespace, embedder: Embedder) -> Limit:
    limit = threshold_for(embedder, by_hand=args.threshold, far=args.far)
    if args.far is not None and limit.far is None:
        raise ConfigError(f"--far {args.far:g} cannot be had: {limit.source}")
    return limit


def _job(parts: Parts, record: RunRecord, keeper: Keeper, stack: ExitStack) -> PeopleRun:
    clock = Stopwatch()
    return PeopleRun(
        parts.args.out,
        parts.groups(started_s=record.started_s),
        detector_of=parts.detectors(stack),
        watch_of=parts.watches(clock),
        keep=keeper,
        is_live=people_arguments.is_live(parts.args),
        clock=clock,
    )


def _do(job: PeopleRun, parts: Parts, record: RunRecord, gallery: Gallery, log: EventLog) -> None:
    with watching(job, parts.args) as watcher, stops_at_signals(job.stop, terminate=True):
        job.watcher = watcher
        job.go()
    if job.finished and not record.finished:
        if parts.args.merge_late:
            settle_late(gallery, log, rules=parts.rules, run_id=record.run_id, scenes=parts.scenes())
        finish(parts.args.out, record)


def _exit_code(job: PeopleRun) -> int:
    """A camera is ended by Ctrl-C as a matter of course, a recording is broken off by it."""
    if job.stopped and not job.is_live:
        return INTERRUPTED
    return NOT_ALL if any(report.error for report in job.reports.values()) else 0
