"""Visits to keep, and a script that keeps them and is killed:

python kept_visits.py kill OUT    # at every step of keeping one, and of keeping another in its place
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sightline.pipeline.people.visits import Visit
from sightline.pipeline.people.visits_folder import keep_visit, read_visit, read_visits
from sightline.types import Embeddings, Image, Tracklet

FPS = 10
HEIGHT, WIDTH = 64, 32  # of crops
STEPS = frozenset({"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"})


def picture(seed: int, *, scale: int = 1) -> Image:
    """Broad stripes of a few colours, which survive JPEG."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 1, 3), np.uint8)
    return np.repeat(np.repeat(colours, HEIGHT * scale // 4, axis=0), WIDTH * scale, axis=1)


def visit(
    number: int = 1,
    camera: str = "gate",
    *,
    frames: Sequence[int] = range(10, 14),
    crops: Sequence[int] = (11, 13),
    vector: Sequence[float] | None = (0.6, 0.8),
    quality: float = 0.5,
    continues: int | None = None,
    left: float = 5,
) -> Visit:
    """A box that moves to the right by a pixel a frame and grows; the crop of a frame has that frame as its seed."""
    numbers = np.array(frames, np.int64)
    start = left + np.arange(len(numbers), dtype=np.float32)
    boxes = np.stack([start, np.full_like(start, 20), start + 30 + start, np.full_like(start, 90)], axis=1)
    known = None if vector is None else Embeddings(np.array([vector], np.float32), "ab12", normalised=True)
    track = Tracklet(
        track_id=number + 100,
        source=camera,
        frames=numbers,
        times_s=numbers / FPS,
        boxes_xyxy=boxes.astype(np.float32),
        scores=np.linspace(0.5, 0.9, len(numbers), dtype=np.float32),
        embedding=known,
        crops=tuple(picture(frame) for frame in crops),
    )
    return Visit(number, track, tuple(crops), count=2 * len(crops), quality=quality, continues=continues)


# Killed writers


def keep_until(step: int, out: Path, one: Visit) -> bool:
    """In a process that ends, with no clearing up, at its `step`th change of the disk. Whether it got to the end."""
    child = os.fork()
    if child == 0:
        left = [step]

        def count(event: str, arguments: object) -> None:
            if event in STEPS:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(137)

        sys.addaudithook(count)
        keep_visit(out, one)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def quality_of(out: Path) -> float | None:
    """Which of two visits is kept, by its quality; it must be whole, and nothing else may be left."""
    found = list(read_visits(out))
    hidden = list(out.rglob(".*"))
    assert not hidden, f"left over: {hidden}"
    assert all(len(one.tracklet.crops) == len(one.crop_frames) for one in found)
    assert len(found) <= 1
    return found[0].quality if found else None


def kill_writers(out: Path) -> None:
    """One visit, then another in the place of one, killed at every step, looked for, and kept by a replay."""
    first, second = visit(quality=0.25), visit(quality=0.75, crops=(10, 12, 13))
    steps, replaced = 0, set[float | None]()
    for before in (None, first):
        step, done = 0, False
        while not done:
            home = out / f"{before is not None}-{step}"
            if before is not None:
                keep_visit(home, before)
            done = keep_until(step, home, second)
            found = quality_of(home)
            assert found in ({0.75} if done else {None, 0.75} if before is None else {0.25, 0.75}), (step, found)
            replaced.add(found)
            keep_visit(home, second)
            assert quality_of(home) == 0.75 and read_visit(home, "gate", 1) is not None
            step, steps = step + 1, steps + 1
    assert replaced == {None, 0.25, 0.75}
    sys.stdout.write(f"{steps} steps\n")


if __name__ == "__main__":
    kill_writers(Path(sys.argv[2]))
