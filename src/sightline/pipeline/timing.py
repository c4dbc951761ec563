"""Where the time goes: seconds by the name of a stage."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Adds up the wall time of each stage, whichever threads it runs in."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._adding = threading.Lock()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._adding:
                self.seconds[stage] += time.perf_counter() - started

    def making(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items, the time it takes to make each counted."""
        waiting = iter(items)
        while True:
            with self(stage):
                item = next(waiting, None)
            if item is None:
                return
            yield item
