"""Rules that need the model to be run, on the processor and for a limited time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline.card import PIXELS, Pixels
from sightline.deploy.doctor.model import Model
from sightline.deploy.doctor.nvinfer import NvinferConfig
from sightline.deploy.doctor.pixel_rules import of_nvinfer
from sightline.deploy.doctor.probing import Figures, Job, measured
from sightline.deploy.doctor.rules import Finding, Place, Rule
from sightline.deploy.doctor.site import Site

PRB001 = Rule(
    "PRB001",
    "error",
    "the model does not run",
    "ONNX Runtime refuses it, or it ends the process. TensorRT will hardly do better, and says less about why.",
    "Export it again.",
)
PRB002 = Rule(
    "PRB002",
    "error",
    "the vectors are NaN, infinite or zero",
    "Half precision that overflows, a division by a zero deviation, weights that were lost: such vectors compare as "
    "nothing, and a gallery that takes one is never right again.",
    "Export it again in float32, and compare.",
)
PRB003 = Rule(
    "PRB003",
    "error",
    "people who have nothing in common come out alike",
    "A trained network fed as it should be gives strangers a mean cosine of 0.4 to 0.6. Above 0.9 its weights are "
    "random or ImageNet's, or it is fed raw pixels: whatever the threshold, everybody is the same person.",
    "Check weights and preprocessing; PRB007 names a better preprocessing where there is one.",
)
PRB004 = Rule(
    "PRB004",
    "error",
    "a crop gets another vector alone than among others",
    "The batch was lost in the export: rows are mixed, or every row is the first. Who stands beside somebody then "
    "decides who he is.",
    "Export it again: `sightline export` compares batches before it leaves a file behind.",
)
PRB005 = Rule(
    "PRB005",
    "warning",
    "a mirror image is less alike than a stranger",
    "Seen from the other side people are the same, and a re-identification network says so. One that does not was "
    "trained on something else, or is fed wrongly.",
    "Check weights and preprocessing.",
)
PRB006 = Rule(
    "PRB006",
    "note",
    "the vectors have length 1 already",
    "The graph normalises them. Doing it again (addFeatureNormalization, or in the probe) changes nothing.",
    "Nothing to do.",
)
PRB007 = Rule(
    "PRB007",
    "warning",
    "another preprocessing keeps people further apart",
    "The right preprocessing is the one with the lowest mean cosine between different people: that held for every "
    "OSNet it was tried on, and needs no labels.",
    "Set scale, offsets and colour order to the one named, and look whether known pairs agree.",
)
PRB008 = Rule(
    "PRB008",
    "warning",
    "the model could not be measured in time",
    "It is very large, this machine very busy, or its graph does not end.",
    "Run it again with more time (`--budget SECONDS`).",
)
RULES = (PRB001, PRB002, PRB003, PRB004, PRB005, PRB006, PRB007, PRB008)

TOO_ALIKE = 0.9
SAME_VECTOR = 0.999
UNIT = 1e-3
CLEARLY_LOWER = 0.05
MOST_IMAGES = 48
_USUAL_HW = (256, 128)
_TRIED = ("torchreid", "face", "unit", "raw-rgb", "raw-bgr")


@dataclass(frozen=True)
class ProbePlan:
    """`images`: crops of people, nearly all of different ones; painted strangers where there are none."""

    images: tuple[Path, ...] = ()
    budget_s: float = 60.0


def probe_findings(site: Site, plan: ProbePlan) -> Iterator[Finding]:
    """Each model that embeds people, fed as its first configuration feeds it."""
    for path, model in list(site.models.items()):
        if model.file is None or path in site.used_by_detectors() or model.image is None or model.vector is None:
            continue
        config = next((one for one in site.reid_configs if site.model(one.file("onnx-file")) is model), None)
        job = _job(model, config, plan)
        yield from _judged(model, job, measured(job, budget_s=plan.budget_s))


def _job(model: Model, config: NvinferConfig | None, plan: ProbePlan) -> Job:
    step = max(1, math.ceil(len(plan.images) / MOST_IMAGES))
    known = model.card.image.feed if model.card and model.card.image else None
    fed, pixels = ("the configuration", _of_config(config)) if config else ("the card", known)
    feeds: dict[str, Pixels] = {fed: pixels} if pixels else {}
    if known is None:  # only where nobody knows is there something to guess
        feeds |= {name: PIXELS[name] for name in _TRIED}
    height, width = model.size_hw
    size_hw = (height or _USUAL_HW[0], width or _USUAL_HW[1])
    return Job(str(model.path), size_hw, feeds, fed if pixels else "torchreid", tuple(map(str, plan.images[::step])))


def _of_config(config: NvinferConfig) -> Pixels:
    feeding = of_nvinfer(config)
    scale, offsets = feeding.as_used
    mean = offsets if len(offsets) == 3 and all(map(math.isfinite, offsets)) else (0.0, 0.0, 0.0)
    std = 1 / scale if math.isfinite(scale) else 1.0
    return Pixels("BGR" if feeding.color == 1 else "RGB", (mean[0], mean[1], mean[2]), (std, std, std))


def _judged(model: Model, job: Job, figures: Figures) -> Iterator[Finding]:
    place = Place(model.path)
    if figures.problem:
        rule = PRB008 if figures.problem.startswith("not done") else PRB001
        yield rule.found(place, figures.problem, "one vector for each crop")
        return
    if figures.unsound:
        value = f"{figures.unsound} of {figures.vectors} vectors, fed as {job.fed}"
        yield PRB002.found(place, value, "finite vectors that are not zero")
        return
    yield from _apart(place, job, figures)
    yield from _steady(place, figures)
    if max(abs(norm - 1) for norm in figures.norms) < UNIT:
        yield PRB006.found(place, "length 1", "nothing: it is only good to know")


def _apart(place: Place, job: Job, figures: Figures) -> Iterator[Finding]:
    alike = figures.alike[job.fed]
    people = f"{figures.vectors} {'crops' if job.images else 'painted strangers'}, fed as {job.fed}"
    if alike > TOO_ALIKE:
        yield PRB003.found(place, f"mean cosine {alike:.2f} between {people}", f"less than {TOO_ALIKE}")
    best = min(figures.alike, key=lambda name: _or_one(figures.alike[name]))
    if best != job.fed and figures.alike[best] < alike - CLEARLY_LOWER:
        expected = f"{best} ({job.feeds[best]}), with mean cosine {figures.alike[best]:.2f}"
        yield PRB007.found(place, f"mean cosine {alike:.2f} between {people}", expected)


def _or_one(cosine: float) -> float:
    return 1.0 if math.isnan(cosine) else cosine


def _steady(place: Place, figures: Figures) -> Iterator[Finding]:
    if figures.batch_problem:
        yield PRB004.found(place, figures.batch_problem, "the same vector in every batch")
    elif not figures.batch_cosine >= SAME_VECTOR:
        yield PRB004.found(place, f"cosine {figures.batch_cosine:.4f}", f"{SAME_VECTOR} or more")
    alike = next(iter(figures.alike.values()))
    if figures.flip_cosine < alike:
        value = f"cosine {figures.flip_cosine:.2f} with the mirror image, {alike:.2f} with others"
        yield PRB005.found(place, value, "the mirror image closer than anybody else")
