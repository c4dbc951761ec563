"""How much faster a quantised file is on this processor: the one reason to have it here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

from sightline.images import prepare
from sightline.reid.embedder import Embedder
from sightline.types import Image

ROUNDS = 7


def times_faster(ours: Embedder, source: Embedder, crops: Sequence[Image]) -> float:
    """The source's time over ours, medians of rounds in turns, one batch on one thread.

    Processor time, which unlike time on the clock does not count what other processes of the machine do.
    """
    seconds: dict[Embedder, list[float]] = {ours: [], source: []}
    for turn in range(ROUNDS + 1):
        for embedder, taken in seconds.items():
            took_s = _seconds(embedder, crops)
            if turn > 0:  # the first is for warming up
                taken.append(took_s)
    return median(seconds[source]) / max(median(seconds[ours]), 1e-9)


def _seconds(embedder: Embedder, crops: Sequence[Image]) -> float:
    session = embedder.session
    size = session.fixed_batch or session.engine.chunk
    feeds = {embedder.image.name: prepare([crops[place % len(crops)] for place in range(size)], embedder.image)}
    started = time.thread_time()
    session.run_lane(feeds)
    return time.thread_time() - started
