"""`sightline doctor [TARGET …]`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from sightline.cli.model_arguments import positive
from sightline.deploy.doctor.catalogue import rule_named
from sightline.deploy.doctor.examination import examine_targets
from sightline.deploy.doctor.fixer import Repair, fix
from sightline.deploy.doctor.pages import page
from sightline.deploy.doctor.probe_rules import ProbePlan
from sightline.deploy.doctor.rules import Finding, Severity
from sightline.deploy.doctor.site import Circumstances
from sightline.deploy.environment import can_run_models, examine
from sightline.errors import ConfigError
from sightline.images import image_files

MARKS = {"ok": "ok    ", "absent": "–     ", "broken": "BROKEN"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "targets",
        nargs="*",
        type=Path,
        metavar="TARGET",
        help="a model, a configuration, a label file, a gallery, or a folder of such; none: what this machine can run",
    )
    parser.add_argument("--json", action="store_true", help="print it for a program to read")
    parser.add_argument("--fix", action="store_true", help="repair what nobody has to be asked about, and show it")
    parser.add_argument("--strict", action="store_true", help="exit code 1 for a warning too")
    parser.add_argument("--explain", metavar="RULE", help="say what a rule is about, and why")
    measured = parser.add_argument_group("running the model as well, on the processor")
    measured.add_argument("--probe", action="store_true", help="run it on painted figures")
    measured.add_argument("--images", metavar="DIR", help="run it on these crops, nearly all of different people")
    measured.add_argument("--budget", type=positive, default=60, metavar="SECONDS", help="for each model (default: 60)")
    around = parser.add_argument_group("what the files do not say")
    around.add_argument("--deepstream", type=version, default=(8, 0), metavar="8.0", help="its version (default: 8.0)")
    around.add_argument("--people", type=positive, default=2, metavar="N", help="at once in a stream (default: 2)")
    around.add_argument("--streams", type=positive, default=1, metavar="N", help="number of sources (default: 1)")
    around.add_argument("--root", type=root, metavar="PATH", help="where the folder will lie on the target")
    parser.epilog = "Exit code 1 for an error in a target; without a target, when no runtime works."


def run(args: argparse.Namespace) -> int:
    if args.explain is not None:
        print(page(rule_named(args.explain)).partition("[All rules]")[0].rstrip())
        return 0
    return _check_targets(args) if args.targets else _show_machine(args)


def version(text: str) -> tuple[int, int]:
    """(8, 0) for "8.0"."""
    match = re.fullmatch(r"(\d{1,3})(?:\.(\d{1,3}))?", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version of DeepStream, e.g. 8.0")
    return int(match[1]), int(match[2] or 0)


def root(text: str) -> PurePosixPath:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not an absolute path, e.g. /app/reid")
    return PurePosixPath(text)


def _show_machine(args: argparse.Namespace) -> int:
    for flag in ("fix", "probe", "images"):
        if getattr(args, flag):
            raise ConfigError(f"--{flag} needs a TARGET to look at, e.g. `sightline doctor deployment/ --{flag}`")
    findings = examine()
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.part) for finding in findings)
        for finding in findings:
            advice = f" → {finding.advice}" if finding.advice else ""
            print(f"{MARKS[finding.state]} {finding.part:<{width}}  {finding.detail}{advice}")
    return 0 if can_run_models(findings) else 1


def _check_targets(args: argparse.Namespace) -> int:
    around = Circumstances(args.deepstream, args.people, args.streams, args.root)
    images = tuple(image_files(args.images)) if args.images else ()
    probe = ProbePlan(images, args.budget) if args.probe or images else None

    def look(*, probe: ProbePlan | None = None) -> list[Finding]:
        return examine_targets(args.targets, circumstances=around, probe=probe)

    repairs: Sequence[Repair] = ()
    if args.fix:
        repairs, _ = fix(look)
    findings = look(probe=probe)
    if args.json:
        _print_json(args.targets, findings, repairs)
    else:
        _print_repairs(repairs)
        _print_findings(findings, quiet=args.quiet)
    grave = {"error", "warning"} if args.strict else {"error"}
    return 1 if any(finding.severity in grave for finding in findings) else 0


def _print_json(targets: Sequence[Path], findings: Sequence[Finding], repairs: Sequence[Repair]) -> None:
    report = {
        "targets": [str(target) for target in targets],
        "findings": [finding.as_json() for finding in findings],
        "fixed": [{"file": str(repair.path), "diff": repair.diff()} for repair in repairs],
        **{f"{severity}s": _count(findings, severity) for severity in ("error", "warning", "note")},
    }
    print(json.dumps(report, indent=2))


def _print_repairs(repairs: Sequence[Repair]) -> None:
    for repair in repairs:
        sys.stdout.write(repair.diff() + "\n")


def _print_findings(findings: Sequence[Finding], *, quiet: bool) -> None:
    for finding in findings:
        print(f"{finding.severity:<7} {finding.rule.id:<7} {finding.place}  {finding.rule.title}")
        print(f"        is        {finding.value}")
        print(f"        expected  {finding.expected}")
        print(f"        fix       {finding.fix}{' (--fix does it)' if finding.edits else ''}")
    if quiet:
        return
    counts = ", ".join(_counted(findings, severity) for severity in ("error", "warning", "note"))
    print(f"{counts}; `sightline doctor --explain RULE` says why" if findings else "nothing wrong was found")


def _counted(findings: Sequence[Finding], severity: Severity) -> str:
    count = _count(findings, severity)
    return f"{count} {severity}{'' if count == 1 else 's'}"


def _count(findings: Sequence[Finding], severity: str) -> int:
    return sum(finding.severity == severity for finding in findings)
