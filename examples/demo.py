"""The house in one minute: a network becomes a model file, a folder of crops becomes vectors.

    python examples/demo.py            # or: make demo

The weights are random and the people are painted, so the scores mean nothing; everything else is as it will be with
yours. Each step is a `sightline` command, shown before it runs.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from sightline.reid.features import read_features
from sightline.reid.probe import painted_strangers

HERE = Path("runs/demo")
PEOPLE, VIEWS = 12, 4


def main() -> None:
    crops = HERE / "crops"
    paint(crops)
    print(f"painted {PEOPLE} people in {VIEWS} views each into {crops}\n")
    sightline("export", "--untrained", "--arch", "osnet_x0_25", "--fold", "uint8", "-o", HERE / "osnet_x0_25.onnx")
    sightline("inspect", HERE / "osnet_x0_25.onnx")
    sightline("embed", crops, "-m", HERE / "osnet_x0_25.onnx", "-o", HERE / "features.npz", "-q")
    features = read_features(HERE / "features.npz")
    count, dim = features.vectors.shape
    print(f"{HERE / 'features.npz'} holds {count} vectors of {dim} numbers, keyed by path.\n")
    print("Next, with an OSNet checkpoint and a folder of crops of your own:\n")
    print("  sightline export --weights osnet.pth -o osnet.onnx")
    print("  sightline embed CROPS --model osnet.onnx -o features.npz")


def paint(folder: Path) -> None:
    """One folder a person, one image a view; views differ in size, light and noise, as cameras do."""
    rng = np.random.default_rng(7)
    for person, figure in enumerate(painted_strangers(PEOPLE)):
        (folder / f"{person:02}").mkdir(parents=True, exist_ok=True)
        for view in range(VIEWS):
            light = rng.uniform(0.6, 1.2) * figure + rng.normal(0, 5, figure.shape)
            size = tuple(int(side) for side in np.array([64, 128]) * rng.uniform(0.8, 2.5))
            image = cv2.resize(np.clip(light, 0, 255).astype(np.uint8), size)
            cv2.imwrite(str(folder / f"{person:02}" / f"view{view}.png"), image)


def sightline(*arguments: str | Path) -> None:
    words = ["sightline", *map(str, arguments)]
    print(f"$ {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", *words], check=True)
    print(flush=True)


if __name__ == "__main__":
    main()
