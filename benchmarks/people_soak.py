"""An hour of camera in a few minutes: does memory stay flat, and do files and threads stay as many?

    python benchmarks/people_soak.py --model osnet_x0_25.onnx               # six recordings of ten minutes
    python benchmarks/people_soak.py --model osnet_x0_25.onnx --minutes 1   # a look at it; nothing is kept

People come, leave and come back before one camera all the time, under their true boxes. Six recordings are watched one
after another in one process, so that opening and closing is measured with the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
from pathlib import Path

from measuring import environment, keep
from people import SEED
from sightline.gallery.gallery import space_of
from sightline.gallery.open_gallery import open_gallery
from sightline.pipeline.people.event_log import EventLog
from sightline.pipeline.people.keeping import EVENTS, Keeper
from sightline.pipeline.people.memory import Memory, MemoryRules
from sightline.pipeline.people.plans import CameraPlan, Nobody
from sightline.pipeline.people.run import PeopleRun
from sightline.pipeline.people.watching import Watch
from sightline.pipeline.timing import Stopwatch
from sightline.reid.embedder import Embedder
from sightline.reid.osnet import as_person_model
from sightline.runtime.cards import Claims
from sightline.runtime.open import open_session
from sightline.synth.scene import Scene
from sightline.tracking.mot_files import write_mot
from sightline.tracking.precomputed import read_detections
from sightline.tracking.tracker import AppearanceTracker
from sightline.types import Frame, Tracks
from sightline.video import VideoWriter

RECORDINGS, MINUTES, FPS, PEOPLE, SIZE_HW = 6, 10, 25, 6, (180, 320)
SAMPLES = 60


class Sampler(Nobody):
    """Looks at the process every so many frames."""

    def __init__(self, every: int) -> None:
        self._every, self._seen = every, 0
        self.samples: list[dict[str, float]] = []

    def frame_seen(self, camera: str, frame: Frame, present: Tracks) -> None:
        self._seen += 1
        if self._seen % self._every == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.samples.append(
                {
                    "frames": self._seen,
                    "MiB": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
                    "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - the folder changes while it is read
                    "threads": threading.active_count(),
                }
            )


def render(folder: Path, *, minutes: float) -> Path:
    scene = Scene(SEED, people=PEOPLE, cameras=1, frames=round(minutes * 60 * FPS), size_hw=SIZE_HW, fps=FPS)
    with VideoWriter(folder / "street.mp4", fps=FPS) as writer:
        for image, _ in scene.camera(0):
            writer.write(image)
    write_mot(folder / "street.txt", scene.ground_truth(0))
    return folder / "street.mp4"


def watched(folder: Path, video: Path, model: str, pixels: str, *, frames: int) -> list[dict[str, float]]:
    embedder = Embedder(as_person_model(open_session(model, claims=Claims(pixels or None, None))))
    clock, sampler = Stopwatch(), Sampler(max(1, frames // SAMPLES))
    with open_gallery(str(folder / "gallery.sqlite")) as gallery, EventLog(folder / EVENTS) as log:
        space = space_of(embedder.session.card, dim=embedder.dim)
        memory = Memory(gallery, space=space, run_id="soak", rules=MemoryRules(0.7))
        PeopleRun(
            folder,
            [[CameraPlan(f"hour-{number}", str(video), 0.0)] for number in range(RECORDINGS)],
            detector_of=lambda camera: read_detections(video.with_suffix(".txt")),
            watch_of=lambda name: Watch(name, tracker=AppearanceTracker(), embedder=embedder, clock=clock),
            keep=Keeper(folder, memory=memory, log=log),
            watcher=sampler,
            clock=clock,
        ).go()
        print(f"{len(log)} visits", clock.seconds)
    return sampler.samples


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="an ONNX re-identification model, e.g. OSNet x0.25")
    parser.add_argument("--pixels", default="torchreid", help="what it was trained on, where its file does not say")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of each of the six recordings")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        video = render(folder, minutes=args.minutes)
        frames = round(args.minutes * 60 * FPS) * RECORDINGS
        samples = watched(folder, video, args.model, args.pixels, frames=frames)
    warm = samples[len(samples) // 6 :]  # after the first recording
    results = {
        "environment": environment(("sightline", "onnxruntime", "opencv-python-headless")),
        "frames": frames,
        "recordings": RECORDINGS,
        "after warm-up": {name: [warm[0][name], max(s[name] for s in warm), warm[-1][name]] for name in warm[0]},
        "samples": samples,
    }
    print(json.dumps({key: value for key, value in results.items() if key != "samples"}, indent=2))
    if args.minutes == MINUTES:
        keep("people_soak", results)


if __name__ == "__main__":
    main()
