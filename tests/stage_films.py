"""Recordings and tracklets for the stages, small enough to be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import yaml

from sightline.pipeline.stages.tracklet_file import Film, Tracked
from sightline.types import Image, Tracklet

RATE = 8  # frames per second: times are exact in binary
TALL, WIDE = 100, 40  # pixels of everybody, where nothing else is said
FILM = Film("film", float(RATE), 400, 800, 80)


def tracklet(
    number: int,
    frames: range | list[int],
    *,
    at: tuple[float, float] = (400, 200),
    velocity: tuple[float, float] = (0, 0),
    tall: float = TALL,
    wide: float = WIDE,
) -> Tracklet:
    """Somebody whose centre is `at` in their first frame, and then moves by `velocity` pixels a second."""
    moments = np.array(frames, np.int64)
    times = moments / RATE
    centres = np.array(at) + np.outer(times - times[0], velocity)
    half = np.array([wide, tall]) / 2
    boxes = np.hstack([centres - half, centres + half]).astype(np.float32)
    return Tracklet(number, "film", moments, times, boxes, np.full(len(moments), 0.9, np.float32))


def tracked(*tracklets: Tracklet, film: Film = FILM) -> Tracked:
    return Tracked(film, tracklets, tuple((one.track_id,) for one in tracklets))


SIZE_HW = (48, 96)  # of the painted film
RED, BLUE, GREEN = (30, 40, 220), (230, 60, 20), (40, 200, 50)  # BGR
Person = tuple[range, tuple[int, int, int], int]  # frames, colour, left edge
BODY_HW = (32, 16)

# One red and one blue, both in the picture for a while; the red one, or a twin, comes back in another place. The track
# of whoever comes back is a new one: it is too long ago for the motion to tell.
RETURNING: tuple[Person, ...] = ((range(12), RED, 8), (range(6, 18), BLUE, 40), (range(34, 46), RED, 72))
FRAMES = 48


def paint_film(folder: Path, people: tuple[Person, ...] = RETURNING, *, frames: int = FRAMES) -> Path:
    """A folder of frames, 30 to a second, and `boxes.txt` beside it with everybody in them."""
    folder.mkdir(parents=True)
    lines = []
    for frame in range(frames):
        image = np.full((*SIZE_HW, 3), 128, np.uint8)
        for number, (when, colour, left) in enumerate(people):
            if frame in when:
                _paint(image, colour, left, seed=100 * number + frame)
                lines.append(f"{frame + 1},-1,{left},8,{BODY_HW[1]},{BODY_HW[0]},0.9")
        cv2.imwrite(str(folder / f"{frame:04}.png"), image)
    folder.with_name("boxes.txt").write_text("\n".join(lines))
    return folder


def _paint(image: Image, colour: tuple[int, int, int], left: int, *, seed: int) -> None:
    """A body of that colour, its noise its own in every frame."""
    noise = np.random.default_rng(seed).integers(-15, 16, (*BODY_HW, 3))
    image[8 : 8 + BODY_HW[0], left : left + BODY_HW[1]] = np.clip(np.array(colour) + noise, 0, 255)


def write_pipeline(root: Path, video: Path, model: Path, **sections: dict[str, object]) -> Path:
    """A pipeline file with everything in `root`; of the sections given, the keys that are to be otherwise."""
    content: dict[str, dict[str, object]] = {
        "global": {"video_file": str(video), "output_root": str(root / "out")},
        "stage1_detect": {"detector": str(video.with_name("boxes.txt"))},
        "stage3c_reid_refinement": {"osnet_model": str(model), "similarity_threshold": 0.98, "device": "cpu"},
        "stage4_generate_html": {
            "output_dir": "${output_root}/page",
            "clustering": {"osnet_model": str(model), "device": "cpu"},
        },
    }
    for name, section in sections.items():
        content[name] = {**content.get(name, {}), **section}
    path = root / "pipeline.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
