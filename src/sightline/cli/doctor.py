"""`sightline doctor`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from sightline.deploy.environment import can_run_models, examine

MARKS = {"ok": "ok    ", "absent": "–     ", "broken": "BROKEN"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print it for a program to read")
    parser.epilog = "Exit code 1 when no runtime works, so that no model could be run."


def run(args: argparse.Namespace) -> int:
    findings = examine()
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.part) for finding in findings)
        for finding in findings:
            advice = f" → {finding.advice}" if finding.advice else ""
            print(f"{MARKS[finding.state]} {finding.part:<{width}}  {finding.detail}{advice}")
    return 0 if can_run_models(findings) else 1
