"""`sightline cluster CROPS_DIR -m MODEL -o webp_viewer`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from sightline.cli.cluster_outcome import Outcome, tell, write_page
from sightline.cli.model_arguments import add_model_arguments, positive, session_from
from sightline.errors import ConfigError, ModelNotFoundError, NoBackendError
from sightline.files import output_error
from sightline.pipeline.cluster import (
    USUAL_THRESHOLD,
    Clustering,
    OnProgress,
    cluster,
    look_at,
    threshold_for,
)
from sightline.pipeline.cluster_config import ClusteringSection, Stage, read_stage
from sightline.pipeline.crop_folders import CropFolder, people_in
from sightline.reid.embedder import Embedder
from sightline.reid.merging import Merging, merge_people, require_mergeable, save_merging_report
from sightline.reid.osnet import as_person_model
from sightline.reid.similarity import FORMS, Form, ModelUsed
from sightline.reid.similarity_files import save_similarity_results
from sightline.reid.thresholds import Limit
from sightline.runtime.session import Session

log = logging.getLogger(__name__)

NOT_ALL = 3  # exit code: written, but not everybody or not every crop is in it
CACHE = "crop_vectors.npz"
REPORT = "merging_report.json"
NO_LIMIT = Limit(None, None, 0, "nothing compared them")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("crops", type=Path, metavar="CROPS_DIR", help="a folder with a folder of crops for each person")
    parser.add_argument("-m", "--model", help="an .onnx file, a checkpoint, … (default: osnet_model of --config)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where to write (default: webp_viewer)")
    parser.add_argument("--config", type=Path, metavar="YAML", help="a pipeline file with stage4_generate_html")
    parser.add_argument(
        "--threshold", type=_cosine, help="score of people who may be one (default: the calibrated one)"
    )
    parser.add_argument("--form", choices=FORMS, help="compare averages, or all pairs of crops (default: averaged)")
    parser.add_argument("--merge", action="store_true", help=f"decide who is one person, and write {REPORT}")
    parser.add_argument("--max-gap", type=_whole, metavar="FRAMES", help="merge only tracks at most this far apart")
    parser.add_argument("--top-n", type=positive, metavar="N", help="people the page shows at first (default: 10)")
    parser.add_argument("--no-cache", action="store_true", help=f"neither read nor write {CACHE}")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    add_model_arguments(parser)
    parser.set_defaults(device=None)  # so that "auto" on the command line wins over the file
    parser.epilog = (
        "A person's folder may hold track.json or track.npz: frame_numbers, bboxes (x1 y1 x2 y2), confidences, fps, "
        "frame_size, camera. With it, people visible in one frame are never merged. A flag wins over --config. "
        "Exit code 3: written, but some crops or people are not in it, or nothing could compare them."
    )


def _cosine(text: str) -> float:
    try:
        value = float(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from exc
    if not -1 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no cosine, -1 to 1")
    return value


def _whole(text: str) -> int:
    return 0 if text == "0" else positive(text)


# What was asked for


def _stage(args: argparse.Namespace) -> Stage:
    """The file, or where there is none its defaults but for its rule about gaps; flags win over both."""
    stage = Stage(clustering=ClusteringSection(merge_max_gap_frames=None))
    if args.config is not None:
        stage = read_stage(args.config)
    flags = {
        "osnet_model": args.model,
        "device": args.device,
        "similarity_threshold": args.threshold,
        "merge_threshold": args.threshold,
        "form": args.form,
        "merge_max_gap_frames": args.max_gap,
    }
    chosen = {name: value for name, value in flags.items() if value is not None}
    section = replace(stage.clustering, **chosen)
    if args.model is not None:
        section = replace(section, osnet_model_fallback="", enabled=True)
    output = stage.output_dir if args.output is None else str(args.output)
    return replace(stage, clustering=section, output_dir=output, top_n_persons=args.top_n or stage.top_n_persons)


def _opened(args: argparse.Namespace, section: ClusteringSection) -> Session | None:
    """The model; None where clustering is switched off, or where no runtime that could run it is installed."""
    if not section.enabled:
        return None
    if not section.osnet_model:
        raise ConfigError("no model; pass -m MODEL, or --config with clustering.osnet_model")
    args.device = section.device
    try:
        return as_person_model(_first_found(args, section))
    except NoBackendError as exc:
        if args.backend != "auto" or args.no_fallback:
            raise
        log.warning("%s; the page is written without scores", exc)
        return None


def _first_found(args: argparse.Namespace, section: ClusteringSection) -> Session:
    args.model = section.osnet_model
    if not section.osnet_model_fallback or args.no_fallback:
        return session_from(args)
    untrained, args.allow_untrained = args.allow_untrained, False
    try:
        return session_from(args)
    except ModelNotFoundError as exc:
        log.warning("%s; using osnet_model_fallback instead", exc)
    args.model, args.allow_untrained = section.osnet_model_fallback, untrained
    return session_from(args)


# What is done


def run(args: argparse.Namespace) -> int:
    stage = _stage(args)
    folder = Path(stage.output_dir)
    people = people_in(args.crops, leave_out=folder)
    session = _opened(args, stage.clustering)
    with session or nullcontext():
        _make_folder(folder)
        with _progress(quiet=args.quiet) as progress:
            if session is None:
                crowd = look_at(people, num_best_crops=stage.clustering.num_best_crops, progress=progress)
                outcome = Outcome(crowd, None, None, NO_LIMIT, ())
            else:
                outcome = _compared(args, stage, people, Embedder(session), progress)
    page = write_page(outcome, stage, title=f"People in {args.crops.resolve().name}")
    tell(replace(outcome, files=(*outcome.files, page)), as_json=args.json, quiet=args.quiet)
    return 0 if outcome.crowd.whole and outcome.results is not None else NOT_ALL


def _make_folder(folder: Path) -> None:
    """Now, and not after everything was embedded."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc


def _compared(
    args: argparse.Namespace, stage: Stage, people: Sequence[CropFolder], embedder: Embedder, progress: OnProgress
) -> Outcome:
    section, folder = stage.clustering, Path(stage.output_dir)
    if args.merge:
        used = ModelUsed.of(embedder.session)
        require_mergeable(weights=used.weights, model=used.model)
    form: Form = "pairs" if section.form == "pairs" else "averaged"
    limit = threshold_for(embedder, form=form, by_hand=section.similarity_threshold)
    found = cluster(
        people,
        embedder,
        num_best_crops=section.num_best_crops,
        threshold=USUAL_THRESHOLD if limit.value is None else limit.value,
        form=form,
        cache=None if args.no_cache else folder / CACHE,
        progress=progress,
    )
    files = save_similarity_results(found.results, folder)
    merging = _merged(found, section) if args.merge else None
    if merging is None:
        (folder / REPORT).unlink(missing_ok=True)  # an older run's, of other scores
    else:
        files.append(save_merging_report(merging, found.results, folder))
    return Outcome(found.crowd, found.results, merging, limit, tuple(files))


def _merged(found: Clustering, section: ClusteringSection) -> Merging:
    threshold = found.results["similarity_threshold"] if section.merge_threshold is None else section.merge_threshold
    return merge_people(
        found.results,
        sightings=found.crowd.sightings,
        threshold=threshold,
        max_gap_frames=section.merge_max_gap_frames,
    )


@contextmanager
def _progress(*, quiet: bool) -> Iterator[OnProgress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("")
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)
