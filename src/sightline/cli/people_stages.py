"""`sightline people --config configs/pipeline_config.yaml`: the stages, the page they lead to, and who was chosen."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from sightline.cli import cluster, people_arguments, select
from sightline.cli.cluster_outcome import Outcome, write_page
from sightline.errors import ConfigError
from sightline.pipeline.cluster import Crowd, OnProgress
from sightline.pipeline.cluster_config import STAGE as PAGE_STAGE
from sightline.pipeline.stages.config import Pipeline
from sightline.pipeline.stages.records import Record, digest_of, write_object
from sightline.pipeline.stages.refinement import STAGE3C, crops_folder
from sightline.pipeline.stages.run import CONFIG, StageOutcome, StagesOutcome, run_stages
from sightline.pipeline.stages.step import Job, Step
from sightline.pipeline.stages.tracklet_file import read_tracked
from sightline.reid.thresholds import path_beside
from sightline.viewer.selection import FILE_NAME as SELECTION
from sightline.viewer.tracks import FILE_NAME as TRACKS
from sightline.viewer.tracks import PAGE_NAME

OURS = {"config", "sources", "out", "from_stage", "until_stage", "json"}  # flags that mean something to the stages


def run(args: argparse.Namespace) -> int:
    """Exit code 0: where a page lacks scores or pictures, its stage says so."""
    with _progress(quiet=args.quiet) as progress:
        found = run_stages(
            args.config,
            overrides=_overrides(args),
            start=args.from_stage,
            until=args.until_stage,
            progress=progress,
            beyond=(STAGE4, STAGE5),
        )
    if args.json:
        print(json.dumps(_as_json(found), indent=2))
    elif not args.quiet:
        print("\n".join(_lines(found)))
    return 0


def _overrides(args: argparse.Namespace) -> list[str]:
    """What the command line says about the file. Raises `ConfigError` for flags that would change nothing."""
    parser = argparse.ArgumentParser()
    people_arguments.configure(parser)
    for action in parser._actions:
        name = action.dest
        if hasattr(args, name) and name not in OURS and getattr(args, name) != action.default:
            raise ConfigError(f"{action.option_strings[-1]} means nothing with --config; set it in {args.config}")
    if len(args.sources) > 1:
        raise ConfigError(f"{len(args.sources)} sources; the stages of a pipeline are of one recording")
    given = [f"video_file={json.dumps(source)}" for source in args.sources]
    if args.out is not None:
        given.append(f"output_root={json.dumps(str(args.out))}")
    return given


# Stage 4: the page


def _write_page(job: Job) -> None:
    """As `sightline cluster` does it, by the settings this run keeps in its folder."""
    folder = Path(job.settings.output_dir)
    job.file.unlink(missing_ok=True)  # the page it tells of is about to be replaced
    if len(read_tracked(job.files[STAGE3C.name])):
        arguments = [str(crops_folder(job)), "--config", str(job.folder / CONFIG)]
        code = cluster.run(_parsed(cluster, arguments))
        told = "" if code == 0 else "; not everybody is compared, or not every crop was readable"
    else:
        nobody = Outcome(Crowd((), (), ()), None, None, cluster.NO_LIMIT, ())
        write_page(nobody, job.settings, title=f"People in {crops_folder(job).name}")
        told = ": nobody was found"
    page = folder / PAGE_NAME
    digests = {name: digest_of(folder / name) for name in (PAGE_NAME, TRACKS)}
    write_object(job.file, job.record(f"{page}{told}", digests=digests), {"page": str(page)})


def _parsed(verb: Any, arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of another verb, which is to say nothing of its own."""
    parser = argparse.ArgumentParser()
    verb.configure(parser)
    parser.set_defaults(quiet=True, verbose=False)
    return parser.parse_args(arguments)


def _page_missing(job: Job, record: Record) -> str:
    return _changed(Path(job.pipeline.stage4_generate_html.output_dir), record["digests"])


def _changed(folder: Path, digests: Mapping[str, str]) -> str:
    gone = [name for name, digest in digests.items() if digest_of(folder / name) != digest]
    return f"{folder / gone[0]} is not as it was written" if gone else ""


def _page_models(pipeline: Pipeline) -> Iterator[Path]:
    section = pipeline.stage4_generate_html.clustering
    if section.enabled:
        for name in filter(None, (section.osnet_model, section.osnet_model_fallback)):
            yield from (Path(name), path_beside(Path(name)))


STAGE4 = Step(PAGE_STAGE, "stage4_page.json", (STAGE3C.name,), _write_page, _page_models, _page_missing)


# Stage 5: who was chosen


def _select(job: Job) -> None:
    folder = Path(job.pipeline.stage4_generate_html.output_dir)
    job.file.unlink(missing_ok=True)
    chosen = [f"--persons={person}" for person in job.settings.persons]
    code = select.run(_parsed(select, [str(folder), *chosen]))
    names = (SELECTION, *(() if code else select.TRACK_FILES))
    digests = {name: digest_of(folder / name) for name in names}
    told = f"{', '.join(job.settings.persons)} selected: {folder / names[-1]}"
    write_object(job.file, job.record(told, digests=digests), {"files": [str(folder / name) for name in names]})


def _by_hand(pipeline: Pipeline) -> str:
    if pipeline.stage5_selection.persons:
        return ""
    folder = pipeline.stage4_generate_html.output_dir
    return f"choose on the page, or with `sightline select {folder} --persons …`"


STAGE5 = Step("stage5_selection", "stage5_selection.json", (PAGE_STAGE,), _select, missing=_page_missing, idle=_by_hand)


# What is said


def _lines(found: StagesOutcome) -> Iterator[str]:
    for stage in found.stages:
        took = f"{stage.seconds:8.2f} s" if stage.done else f"{'–':>10}"
        yield f"{took}  {stage.stage.partition('_')[0]:<8} {stage.told}{_remark(stage)}"


def _remark(stage: StageOutcome) -> str:
    """Why it took no time, or why it did where one might think it should not have."""
    plain = ("nothing to do", "its file is not there", "asked for")
    return "" if stage.reason in plain else f" ({stage.reason})"


def _as_json(found: StagesOutcome) -> dict[str, Any]:
    stages = [
        {
            "stage": stage.stage,
            "file": str(stage.file) if stage.file.exists() else None,
            "done": stage.done,
            "reason": stage.reason,
            "told": stage.told,
            "seconds": stage.seconds,
        }
        for stage in found.stages
    ]
    return {"folder": str(found.folder), "stages": stages}


@contextmanager
def _progress(*, quiet: bool) -> Iterator[OnProgress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("")
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total or None)
