"""A painted data set in the layout of Market-1501: people as stacks of colours, junk and distractors among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

JUNK, NOBODY = -1, 0


def market_name(person: int, camera: int, frame: int) -> str:
    return f"{person if person == JUNK else f'{person:04}'}_c{camera}s1_{frame:06}_00.jpg"


def paint_market(
    home: Path, *, people: int = 8, size_hw: tuple[int, int] = (64, 32), noise: float = 18.0, seed: int = 0
) -> Path:
    """Two query images of each person and two of each camera in the gallery; too noisy to be told apart always."""
    rng = np.random.default_rng(seed)
    colours = {person: rng.uniform(60, 195, (4, 1, 3)) for person in range(JUNK, people + 1)}
    tints = rng.normal(0, 25, (4, 3))
    block = np.ones((size_hw[0] // 4, size_hw[1], 1))

    def paint(part: str, person: int, camera: int, frame: int) -> None:
        folder = home / part
        folder.mkdir(parents=True, exist_ok=True)
        flat = np.kron(colours[person] + rng.normal(0, noise, (4, 1, 3)), block) + tints[camera]
        pixels = (flat + rng.normal(0, 10, (*size_hw, 3))).clip(0, 255).astype(np.uint8)
        PillowImage.fromarray(pixels).save(folder / market_name(person, camera, frame), quality=95)

    for person in range(1, people + 1):
        for camera in (1, 2):
            paint("query", person, camera, 100)
    for person in range(JUNK, people + 1):
        for camera in (1, 2, 3):
            for frame in (200, 300):
                paint("bounding_box_test", person, camera, frame)
    for person in (1, 2):
        paint("bounding_box_train", person, 1, 400)
    return home


def slow_rank_1_and_map(
    query: dict[str, list[float]], gallery: dict[str, list[float]], *, cosine: bool = False
) -> tuple[float, float]:
    """Rank-1 and mAP (mean of the precision at each match) of vectors by file stem, one comparison after another."""
    firsts, averages = [], []
    for name, vector in query.items():
        person, camera = _label(name)
        near = []
        for other, theirs in gallery.items():
            someone, by = _label(other)
            if someone != JUNK and (someone, by) != (person, camera):
                near.append((_distance(vector, theirs, cosine=cosine), someone != person))
        hits = [place for place, (_, wrong) in enumerate(sorted(near), start=1) if not wrong]
        if hits:
            firsts.append(hits[0] == 1)
            averages.append(sum(found / place for found, place in enumerate(hits, start=1)) / len(hits))
    return sum(firsts) / len(firsts), sum(averages) / len(averages)


def _label(stem: str) -> tuple[int, int]:
    person, _, rest = stem.partition("_c")
    return int(person), int(rest[0])


def _distance(a: list[float], b: list[float], *, cosine: bool) -> float:
    left, right = np.array(a, np.float64), np.array(b, np.float64)
    if cosine:
        left, right = left / np.linalg.norm(left), right / np.linalg.norm(right)
    return float(((left - right) ** 2).sum())
