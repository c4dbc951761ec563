"""Work that does not wait for who uses it: an iterator run by a thread of its own, a few items ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")
_POLL_S = 0.1


def ahead(items: Iterable[Item], *, depth: int, name: str) -> Generator[Item]:
    """The same items in the same order, up to `depth` of them made before they are asked for.

    An error in the thread is raised here, after the items before it. Closing the generator stops the thread after the
    item at hand, and waits for it.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(max(1, depth))
    stop = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, waiting, stop), name=f"sightline-{name}", daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join()


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def _fill(items: Iterable[Item], waiting: queue.Queue[Item | _End], stop: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not _handed_over(item, waiting, stop):
                break
    except BaseException as exc:  # noqa: BLE001  # whatever it is, it is raised where the items are asked for
        error = exc
    finally:
        if isinstance(items, Generator):
            items.close()
    _handed_over(_End(error), waiting, stop)


def _handed_over(item: Item | _End, waiting: queue.Queue[Item | _End], stop: threading.Event) -> bool:
    """False where nobody waits any more."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False
