"""The only way out of a callback: it never waits, and what does not fit is counted."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Letter = TypeVar("Letter")


class Mailbox(Generic[Letter]):
    """Letters in the order they came, from any thread to one.

    When it is full, the newest letter is the one that is lost: those that wait are older parts of the same visits, and
    a gap at the end of them is shorter than one in the middle.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._letters: deque[Letter] = deque()
        self._changed = threading.Condition()
        self.dropped = 0

    def offer(self, letter: Letter) -> bool:
        """Whether there was room."""
        with self._changed:
            if len(self._letters) >= self._limit:
                self.dropped += 1
                return False
            self._letters.append(letter)
            self._changed.notify()
            return True

    def insist(self, letter: Letter) -> None:
        """For the few that must arrive, such as the end of a stream: there is room for these."""
        with self._changed:
            self._letters.append(letter)
            self._changed.notify()

    def take(self) -> Letter:
        """Waits for one."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._letters))
            return self._letters.popleft()

    def __len__(self) -> int:
        return len(self._letters)
