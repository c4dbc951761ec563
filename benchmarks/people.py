"""A video to people, end to end: `sightline people` beside the same parts glued together the plain way.

    python benchmarks/people.py --detector yolox_nano.onnx --model osnet_x0_25.onnx

Both decode the same rendered street of 768x432 with up to eight people, find them with the same detector, embed them
with the same network, follow them and keep an entry a track in a gallery. The plain glue does what scripts do: one step
after another, every crop of every frame on its own. Painted people are hardly people to a detector, so the picture is
put through it for the time it takes, and the true boxes are what both go on with. Neither file is ours to ship.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from measuring import Figures, environment, in_turns, keep
from sightline.gallery.gallery import Entry, space_of
from sightline.gallery.open_gallery import open_gallery
from sightline.pipeline.people.event_log import EventLog
from sightline.pipeline.people.keeping import EVENTS, Keeper
from sightline.pipeline.people.memory import Memory, MemoryRules
from sightline.pipeline.people.plans import CameraPlan
from sightline.pipeline.people.run import PeopleRun
from sightline.pipeline.people.watching import Watch
from sightline.pipeline.timing import Stopwatch
from sightline.reid.embedder import Embedder
from sightline.reid.osnet import as_person_model
from sightline.runtime.cards import Claims
from sightline.runtime.open import open_session
from sightline.synth.scene import Scene
from sightline.tracking.detector import Detector, open_detector
from sightline.tracking.mot_files import write_mot
from sightline.tracking.precomputed import Precomputed, read_detections
from sightline.tracking.tracker import AppearanceTracker
from sightline.types import Detections, Image
from sightline.video import VideoFile, VideoWriter

OURS, PLAIN = "sightline people", "plain glue"
FRAMES, PEOPLE, SIZE_HW, SEED = 750, 8, (432, 768), 21
HERE = Path(tempfile.gettempdir()) / "sightline-people-benchmark"
SETTINGS = HERE / "settings.json"


class Looking:
    """The true boxes, after the time that a detector takes to look at the picture."""

    name = "detector and true boxes"
    classes = ("person",)

    def __init__(self, detector: Detector, boxes: Precomputed) -> None:
        self._detector, self._boxes, self._next = detector, boxes, 0

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        self._detector.detect(images)
        first, self._next = self._next, self._next + len(images)
        return [self._boxes.at(frame) for frame in range(first, self._next)]

    def close(self) -> None:
        self._detector.close()

    def __enter__(self) -> Looking:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def ours(folder: Path, detector: Looking, embedder: Embedder) -> tuple[int, Stopwatch]:
    clock = Stopwatch()
    with open_gallery(str(folder / "gallery.sqlite")) as gallery, EventLog(folder / EVENTS) as log:
        rules = MemoryRules(0.7)
        memory = Memory(gallery, space=space_of(embedder.session.card, dim=embedder.dim), run_id="bench", rules=rules)
        run = PeopleRun(
            folder,
            [[CameraPlan("street", str(HERE / "street.mp4"), 0.0)]],
            detector_of=lambda camera: detector,
            watch_of=lambda name: Watch(name, tracker=AppearanceTracker(), embedder=embedder, clock=clock),
            keep=Keeper(folder, memory=memory, log=log),
            clock=clock,
        )
        run.go()
    return run.frames, clock


def plain(folder: Path, detector: Looking, embedder: Embedder) -> int:
    """What a script does that loops over frames."""
    tracker, vectors, frames = AppearanceTracker(), defaultdict(list), 0
    capture = cv2.VideoCapture(str(HERE / "street.mp4"))
    with open_gallery(str(folder / "gallery.sqlite")) as gallery:
        space = space_of(embedder.session.card, dim=embedder.dim)
        while True:
            there, image = capture.read()
            if not there:
                break
            found = detector.detect([image])[0]
            rows = []
            for left, top, right, bottom in found.boxes_xyxy.astype(int).tolist():
                crop = image[max(0, top) : bottom, max(0, left) : right]
                nothing = np.full(embedder.dim, np.nan, np.float32)
                rows.append(embedder.embed([crop]).vectors[0] if min(crop.shape[:2]) >= 4 else nothing)
            embeddings = np.array(rows, np.float32).reshape(len(found), embedder.dim)
            tracks = tracker.update(found, frame=frames, time_s=frames / 25, embeddings=embeddings)
            for track_id, row in zip(tracks.ids.tolist(), tracker.rows.tolist(), strict=True):
                if np.isfinite(embeddings[row]).all():
                    vectors[track_id].append(embeddings[row])
            frames += 1
        for track_id, own in vectors.items():
            mean = np.mean(own, axis=0)
            entry = Entry(f"track-{track_id}", f"track-{track_id}", mean / np.linalg.norm(mean))
            gallery.add([entry], space=space)
    return frames


def measured(name: str, detector: str, model: str, pixels: str) -> Figures:
    with open_detector(detector) as found:
        boxes = read_detections(HERE / "street.txt")
        embedder = Embedder(as_person_model(open_session(model, claims=Claims(pixels or None, None))))
        with VideoFile(HERE / "street.mp4") as video, tempfile.TemporaryDirectory() as folder:
            image = next(iter(video)).image
            for _ in range(10):  # both models choose how they run in their first calls
                found.detect([image])
                embedder.embed([image[:128, :64]] * 4)
            started = time.perf_counter()
            if name == PLAIN:
                frames = plain(Path(folder), Looking(found, boxes), embedder)
                return {"frames/s": frames / (time.perf_counter() - started)}
            frames, clock = ours(Path(folder), Looking(found, boxes), embedder)
            seconds = time.perf_counter() - started
        shares = {f"share of {stage}": spent / seconds for stage, spent in clock.seconds.items()}
        return {"frames/s": frames / seconds, **shares}


def render(frames: int) -> None:
    HERE.mkdir(exist_ok=True)
    scene = Scene(SEED, people=PEOPLE, cameras=1, frames=frames, size_hw=SIZE_HW)
    with VideoWriter(HERE / "street.mp4", fps=scene.fps) as writer:
        for image, _ in scene.camera(0):
            writer.write(image)
    write_mot(HERE / "street.txt", scene.ground_truth(0))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--detector", help="an ONNX detector, e.g. YOLOX-nano")
    parser.add_argument("--model", help="an ONNX re-identification model, e.g. OSNet x0.25")
    parser.add_argument("--pixels", default="torchreid", help="what it was trained on, where its file does not say")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--contender")
    args = parser.parse_args()
    if args.contender:
        settings = json.loads(SETTINGS.read_text())
        print(json.dumps(measured(args.contender, **settings)))
        return
    render(args.frames)
    SETTINGS.write_text(json.dumps({"detector": args.detector, "model": args.model, "pixels": args.pixels}))
    figures = in_turns(__file__, [OURS, PLAIN], rounds=3)
    results = {
        "environment": environment(("sightline", "onnxruntime", "opencv-python-headless")),
        "what": {"frames": args.frames, "people": PEOPLE, "size": list(SIZE_HW)},
        "models": {"detector": Path(args.detector).name, "model": Path(args.model).name},
        "figures": figures,
    }
    print(json.dumps(results, indent=2))
    if args.frames == FRAMES:
        keep("people", results)
    else:
        print("a look only: nothing is kept", file=sys.stderr)


if __name__ == "__main__":
    main()
