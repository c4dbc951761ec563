"""Writers that are killed, and several at once: a script, so that 200 kills cost 200 forks of a small process.

    python gallery_writers.py kill FOLDER ROUNDS    # kills writers, checks what they acknowledged
    python gallery_writers.py write URL NAME COUNT  # adds COUNT entries whose ids begin with NAME

Every entry follows from its id, so that a reader can say what it must be.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import zlib
from pathlib import Path

import numpy as np

from sightline.gallery.gallery import Entry, Gallery, Space
from sightline.gallery.open_gallery import open_gallery

SPACE = Space("0123456789abcdef", 32)
BATCHES = 4000  # more than any writer lives to write


def entry_of(name: str) -> Entry:
    seed = zlib.crc32(name.encode())
    vector = np.random.default_rng(seed).standard_normal(SPACE.dim)
    unit = np.asarray(vector / np.linalg.norm(vector), np.float32)
    picture = bytes([seed % 256]) * (seed % 20_000)
    return Entry(name, f"p{seed % 7}", unit, f"c{seed % 3}", seed, seed + 1, 1 + seed % 9, 0.5, picture)


def batch_of(prefix: str, number: int) -> list[Entry]:
    """One to five entries; the id says how many there must be."""
    size = 1 + zlib.crc32(f"{prefix}{number}".encode()) % 5
    return [entry_of(f"{prefix}-{number}-{size}-{index}") for index in range(size)]


def write_and_acknowledge(url: str, prefix: str, pipe: int) -> None:
    with open_gallery(url) as gallery:
        for number in range(BATCHES):
            gallery.add(batch_of(prefix, number), space=SPACE)
            os.write(pipe, f"{number}\n".encode())


def acknowledged_by_a_killed_writer(url: str, prefix: str, after_s: float) -> list[int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        write_and_acknowledge(url, prefix, writing)
        os._exit(1)  # it outlived its killer
    os.close(writing)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"a writer ended by itself: {status}"
    with os.fdopen(reading, "rb") as file:
        return [int(line) for line in file.read().splitlines()]


def require_whole(gallery: Gallery, expected: set[str]) -> None:
    """Every acknowledged entry, no half batch, no half entry."""
    held = {entry.id: entry for entry in gallery.iterate()}
    lost = expected - held.keys()
    assert not lost, f"acknowledged and lost: {sorted(lost)[:5]}"
    for name, entry in held.items():
        right = entry_of(name)
        assert entry.vector.tobytes() == right.vector.tobytes() and entry.thumbnail == right.thumbnail, name
        assert (entry.identity, entry.camera, entry.count) == (right.identity, right.camera, right.count), name
        batch, size, _ = name.rsplit("-", 2)
        assert all(f"{batch}-{size}-{index}" in held for index in range(int(size))), f"half a batch: {name}"


def kill_writers(folder: Path, rounds: int) -> None:
    """Most go on with one gallery; every fifth is killed while it makes a new one."""
    dice = random.Random(0)
    expected: dict[str, set[str]] = {}
    for number in range(rounds):
        fresh = number % 5 == 0
        url = str(folder / (f"fresh{number}.db" if fresh else "gallery.db"))
        numbers = acknowledged_by_a_killed_writer(url, f"w{number}", dice.uniform(0, 0.008 if fresh else 0.03))
        names = expected.setdefault(url, set())
        names.update(entry.id for done in numbers for entry in batch_of(f"w{number}", done))
        if fresh or number % 20 == 19:
            with open_gallery(url) as gallery:
                require_whole(gallery, names)
    with open_gallery(str(folder / "gallery.db")) as gallery:
        require_whole(gallery, expected[str(folder / "gallery.db")])
    sys.stdout.write(f"{rounds} {sum(map(len, expected.values()))}\n")


def write(url: str, name: str, count: int) -> None:
    dice = random.Random(name)
    names = [f"{name}-{index}" for index in range(count)]
    with open_gallery(url) as gallery:
        while names:
            batch = [names.pop() for _ in range(min(len(names), dice.randint(1, 9)))]
            gallery.add([entry_of(one) for one in batch], space=SPACE)


if __name__ == "__main__":
    if sys.argv[1] == "kill":
        kill_writers(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        write(sys.argv[2], sys.argv[3], int(sys.argv[4]))
