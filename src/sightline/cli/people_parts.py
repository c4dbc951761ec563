"""What a run of `sightline people` is put together from, as its flags ask for it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sightline.camera import without_password
from sightline.cli.people_arguments import OURS, groups_of, is_live
from sightline.files import sha256_of
from sightline.gallery.gallery import Gallery, Space, space_of
from sightline.pipeline.people.gathering import GatherRules
from sightline.pipeline.people.memory import Memory, MemoryRules
from sightline.pipeline.people.plans import CameraPlan
from sightline.pipeline.people.run import scenes_in
from sightline.pipeline.people.watching import Watch
from sightline.pipeline.timing import Stopwatch
from sightline.reid.embedder import Embedder
from sightline.reid.thresholds import Limit, calibration_of
from sightline.tracking.background import BackgroundDetector
from sightline.tracking.camera_motion import CameraMotion
from sightline.tracking.detector import BACKGROUND, Choice, Detector, open_detector
from sightline.tracking.precomputed import READERS
from sightline.tracking.tracker import AppearanceTracker, Tracker, TrackerSettings
from sightline.tracking.trackers_library import LibraryTracker
from sightline.types import FloatArray

CAMERA = "{camera}"  # in the name of a file of boxes: it is each camera's own


@dataclass(frozen=True)
class Parts:
    """The flags, and the model they name."""

    args: argparse.Namespace
    embedder: Embedder
    limit: Limit

    @cached_property
    def rules(self) -> MemoryRules:
        known = self.args.threshold is not None or self.limit.far is not None
        return MemoryRules(
            self.limit.value if known else None,
            margin=self.args.margin,
            distinct=self.args.distinct,
            travel_s=self.args.travel,
        )

    def scenes(self) -> dict[str, FloatArray]:
        """How the places look without anybody, as far as this run has seen it so far."""
        cameras = [plan.name for group in groups_of(self.args, start_s=0) for plan in group]
        return scenes_in(self.args.out, cameras)

    @cached_property
    def space(self) -> Space:
        return space_of(self.embedder.session.card, dim=self.embedder.dim)

    @property
    def gallery_url(self) -> str:
        return self.args.gallery or str(self.args.out / "gallery.sqlite")

    def groups(self, *, started_s: float) -> list[list[CameraPlan]]:
        """The sources. A recording began when the run did, unless somebody says when; a camera shows what is now."""
        by_default = time.time() if is_live(self.args) else started_s
        return groups_of(self.args, start_s=by_default if self.args.start is None else self.args.start)

    def settings(self) -> dict[str, Any]:
        """All that decides what comes out, as it is kept in `run.json`. No password is among it."""
        args = self.args
        return {
            "sources": [
                {plan.name: without_password(plan.source) for plan in group} for group in groups_of(args, start_s=0)
            ],
            "start": args.start,
            "model": self.embedder.fingerprint,
            "precision": self.embedder.session.precision,
            "detector": self._detector_print(),
            "detector_format": args.detector_format,
            "min_score": args.min_score,
            "classes": args.classes,
            "tracker": args.tracker,
            "moving_camera": args.moving_camera,
            "max_age": args.max_age,
            "embed_every": args.embed_every,
            "threshold": self.rules.threshold,
            "margin": args.margin,
            "distinct": args.distinct,
            "travel": args.travel,
            "gallery": without_password(self.gallery_url),
            "live": args.live,
        }

    def _detector_print(self) -> str | dict[str, str]:
        """What tells it from others: the content of its file, or of its files, one a camera."""
        name = self.args.detector
        if name == BACKGROUND:
            return BACKGROUND
        files = {
            plan.name: name.replace(CAMERA, plan.name) for group in groups_of(self.args, start_s=0) for plan in group
        }
        prints = {camera: sha256_of(Path(file)) for camera, file in files.items()} if CAMERA in name else {}
        return prints or sha256_of(Path(name))

    def memory(self, gallery: Gallery, run_id: str) -> Memory:
        return Memory(gallery, space=self.space, run_id=run_id, rules=self.rules, scenes=self.scenes())

    def detectors(self, stack: ExitStack) -> Callable[[str], Detector]:
        """By camera. A model serves all of them; what learns or counts frames is each camera's own."""
        args = self.args
        if args.detector == BACKGROUND:
            return lambda camera: stack.enter_context(BackgroundDetector())
        choice = Choice(keep=args.classes, min_score=args.min_score)
        how = {"backend": args.backend, "device": args.device, "precision": args.precision, "threads": args.threads}

        def opened(file: str) -> Detector:
            found = open_detector(
                file, format=args.detector_format, choice=choice, fallback=not args.no_fallback, **how
            )
            return stack.enter_context(found)

        if Path(args.detector).suffix.lower() in READERS:
            return lambda camera: opened(args.detector.replace(CAMERA, camera))
        model = opened(args.detector)
        return lambda camera: model

    def watches(self, clock: Stopwatch) -> Callable[[str], Watch]:
        rules = GatherRules(embed_every_s=self.args.embed_every)
        return lambda camera: Watch(camera, tracker=self._tracker(), embedder=self.embedder, rules=rules, clock=clock)

    def _tracker(self) -> Tracker:
        args = self.args
        if args.tracker != OURS:
            return LibraryTracker(args.tracker)
        calibrated = calibration_of(self.embedder).limit("single").value
        settings = TrackerSettings(
            max_age_s=args.max_age,
            motion_s=min(TrackerSettings.motion_s, args.max_age),
            same_person=TrackerSettings.same_person if calibrated is None else calibrated,
        )
        return AppearanceTracker(settings, camera=CameraMotion() if args.moving_camera else None)
