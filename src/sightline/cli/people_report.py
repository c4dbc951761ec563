"""What `sightline people` leaves behind, and what it says in the end."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.cli.people_outcome import notes_of, write_people_page
from sightline.files import replacing
from sightline.gallery.gallery import Gallery
from sightline.pipeline.people.draw import rows_by_frame, with_people
from sightline.pipeline.people.keeping import EVENTS, decisions_in
from sightline.pipeline.people.memory_rules import MemoryRules
from sightline.pipeline.people.people_file import Decisions, write_people, write_tracks
from sightline.pipeline.people.plans import CameraReport
from sightline.pipeline.people.run import PeopleRun
from sightline.pipeline.people.visits_folder import read_visits
from sightline.pipeline.timing import Stopwatch
from sightline.reid.embedder import Embedder
from sightline.reid.similarity import ModelUsed
from sightline.reid.thresholds import Limit
from sightline.sources import open_recording
from sightline.video import VideoWriter

TIMING = "timing.json"


@dataclass(frozen=True, eq=False)
class Result:
    """What there is to tell."""

    reports: Mapping[str, CameraReport]
    decisions: Decisions
    rules: MemoryRules
    limit: Limit
    files: tuple[Path, ...]
    timing: Mapping[str, Any]
    unsent: int  # events a broker has not got yet
    stopped: bool


def write_results(
    args: argparse.Namespace, job: PeopleRun, embedder: Embedder, limit: Limit, gallery: Gallery
) -> tuple[Decisions, list[Path]]:
    """All that is made of the visits kept so far; a run that goes on makes it again."""
    decisions = decisions_in(args.out / EVENTS, gallery)
    starts_s = {name: report.plan.start_s for name, report in job.reports.items()}
    files = write_tracks(args.out, decisions, cameras=list(starts_s))
    files.append(write_people(args.out, decisions, starts_s=starts_s))
    title = f"People of {', '.join(starts_s)}" if len(starts_s) < 4 else f"People of {len(starts_s)} sources"
    notes = notes_of(ModelUsed.of(embedder.session), limit, title=title)
    files.append(write_people_page(args.out, decisions, starts_s=starts_s, notes=notes))
    if args.video is not None and not job.stopped:
        files += [_draw(args, report, decisions, alone=len(job.reports) == 1) for report in job.reports.values()]
    return decisions, files


def _draw(args: argparse.Namespace, report: CameraReport, decisions: Decisions, *, alone: bool) -> Path:
    """A second pass over the source, for names are known only when a visit is over."""
    name = report.plan.name
    target = args.video if alone else args.video.with_stem(f"{args.video.stem}-{name}")
    rows = rows_by_frame(visit for visit in read_visits(args.out, crops=False) if visit.camera == name)
    names = {number: decision.identity for (camera, number), decision in decisions.items() if camera == name}
    with open_recording(Path(report.plan.source)) as source, VideoWriter(target, fps=report.fps) as writer:
        for image in with_people(source, rows, names=names):
            writer.write(image)
    return Path(target)


def write_timing(folder: Path, clock: Stopwatch, *, frames: int, seconds: float) -> dict[str, Any]:
    """`timing.json`: the wall time, and that of each stage, which overlap. Answers what is in it."""
    stages = {
        name: {"seconds": round(spent, 3), "share": round(spent / max(seconds, 1e-9), 4)}
        for name, spent in sorted(clock.seconds.items(), key=lambda item: -item[1])
    }
    rate = frames / max(seconds, 1e-9)
    content = {"frames": frames, "seconds": round(seconds, 3), "framesPerSecond": round(rate, 2), "stages": stages}
    with replacing(folder / TIMING) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return content


# On the terminal


def tell(args: argparse.Namespace, result: Result) -> None:
    for report in result.reports.values():
        if report.error:
            print(f"sightline: left out from frame {report.frames}: {report.error}", file=sys.stderr)
    if args.json:
        print(json.dumps(_as_json(result), indent=2))
    elif not args.quiet:
        print("\n".join(_lines(args, result)))
    if result.stopped:
        print("sightline: interrupted; the same command goes on from here", file=sys.stderr)


def _lines(args: argparse.Namespace, result: Result) -> Iterator[str]:
    people = {one.identity for one in result.decisions.values() if one.identity is not None}
    verdicts = Counter(one.verdict for one in result.decisions.values())
    visits = _counted(len(result.decisions), "visit", "visits")
    cameras = _counted(len(result.reports), "source", "sources")
    yield f"{_counted(len(people), 'person', 'people')} in {visits} of {cameras}"
    known = verdicts["matched"] + verdicts["continued"]
    yield f"  known again {known}, new {verdicts['new']}, undecided {verdicts['unknown']}"
    yield f"  two are one {_bar(result.rules)}: {result.limit.source}"
    yield from _pace(result)
    dropped = sum(report.dropped for report in result.reports.values())
    if dropped:
        yield f"  {_counted(dropped, 'frame', 'frames')} came too fast and were dropped"
    if result.unsent:
        yield f"  {_counted(result.unsent, 'event', 'events')} not sent yet; they go out when the run is continued"
    yield from map(str, result.files)


def _bar(rules: MemoryRules) -> str:
    plain, bar = rules.bar(scene=False), rules.bar(scene=True)
    rule = f"from a cosine of {bar.cosine:.4g} on, and {bar.likeness:.4g} with the scene taken out"
    return rule if plain.cosine == bar.cosine else f"{rule} ({plain.cosine:.4g} where that is not known)"


def _pace(result: Result) -> Iterator[str]:
    timing = result.timing
    if not timing["frames"]:
        yield "  nothing was left to be done; --restart does it again"
        return
    shares = ", ".join(f"{name} {stage['share']:.0%}" for name, stage in timing["stages"].items())
    yield (
        f"  {timing['frames']} frames in {timing['seconds']:.1f} s, {timing['framesPerSecond']:.1f} a second "
        f"(of that time, at once: {shares})"
    )


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _as_json(result: Result) -> dict[str, Any]:
    decided = result.decisions.values()
    return {
        "people": len({one.identity for one in decided if one.identity is not None}),
        "visits": len(result.decisions),
        "decisions": dict(Counter(one.verdict for one in decided)),
        "threshold": result.rules.bar(scene=True).cosine,
        "distinct": result.rules.distinct,
        "thresholdSource": result.limit.source,
        "sources": {
            name: {"frames": report.frames, "dropped": report.dropped, "error": report.error or None}
            for name, report in result.reports.items()
        },
        "timing": result.timing,
        "unsentEvents": result.unsent,
        "stopped": result.stopped,
        "files": [str(path) for path in result.files],
    }
