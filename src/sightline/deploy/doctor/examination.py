"""The whole examination: every rule over every part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sightline.deploy.doctor import (
    engine_rules,
    environment_rules,
    gallery_rules,
    path_rules,
    pipeline_rules,
    pixel_rules,
    reid_rules,
    syntax_rules,
    tracker_rules,
    trtexec_rules,
)
from sightline.deploy.doctor.collect import collect
from sightline.deploy.doctor.model_rules import model_findings
from sightline.deploy.doctor.nvinfer import NvinferConfig
from sightline.deploy.doctor.probe_rules import ProbePlan, probe_findings
from sightline.deploy.doctor.rules import Finding, at_most_alike, by_weight
from sightline.deploy.doctor.site import Circumstances, Site


def examine_targets(
    targets: Sequence[Path], *, circumstances: Circumstances | None = None, probe: ProbePlan | None = None
) -> list[Finding]:
    """All that is wrong with these files and folders, the worst first. Nothing is changed.

    Several targets are one deployment: they are checked against each other. With `probe` the model is run as well.
    Raises `ConfigError` for a target that is not there, or that no rule is about; never for what a file contains.
    """
    return examine_site(collect(targets, circumstances or Circumstances()), probe=probe)


def examine_site(site: Site, *, probe: ProbePlan | None = None) -> list[Finding]:
    found = [*_of_parts(site), *(probe_findings(site, probe) if probe else ())]
    return sorted(at_most_alike(found), key=by_weight)


def _of_parts(site: Site) -> Iterator[Finding]:
    yield from site.problems
    for config in site.configs:
        yield from _of_config(config, site)
    for tracker in site.trackers:
        yield from tracker_rules.tracker_findings(tracker, site)
    for labels in site.labels:
        yield from labels.findings()
    yield from _of_models(site)
    for build in site.engine_builds():
        yield from trtexec_rules.trtexec_findings(build, site)
    for pipeline in site.pipelines:
        yield from pipeline_rules.pipeline_findings(pipeline, site)
    for gallery in site.galleries:
        yield from gallery_rules.gallery_findings(gallery, site)
    yield from reid_rules.number_findings(site)
    yield from pipeline_rules.absent_tracker(site)
    yield from environment_rules.environment_findings(site)


def _of_config(config: NvinferConfig, site: Site) -> Iterator[Finding]:
    yield from syntax_rules.syntax_findings(config, site)
    if not config.group.line:
        return
    yield from path_rules.path_findings(config, site)
    yield from engine_rules.engine_findings(config, site)
    if site.is_reid(config):
        yield from reid_rules.reid_findings(config, site)
        if config.integer("input-tensor-from-meta") != 1:  # nvdspreprocess has scale and offsets then
            yield from pixel_rules.pixel_findings(pixel_rules.of_nvinfer(config), site.model(config.file("onnx-file")))


def _of_models(site: Site) -> Iterator[Finding]:
    for_reid, detectors = site.used_for_reid(), site.used_by_detectors()
    for path, model in list(site.models.items()):
        if path in detectors - for_reid:
            yield from model.problems
        else:
            yield from model_findings(model, for_reid=path in for_reid, deepstream=site.circumstances.deepstream)
