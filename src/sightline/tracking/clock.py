"""The time of a stream, as trackers need it: known, and never going back."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sightline.errors import SourceError


@dataclass(frozen=True)
class Clock:
    """When the last frame was."""

    frame: int | None = None  # None: there was none
    time_s: float = -math.inf

    def gap_s(self, frame: int, time_s: float) -> float:
        """Seconds up to this frame, 0 for the first. Raises `SourceError` for a time that is none, or earlier."""
        if not math.isfinite(time_s):
            raise SourceError(f"frame {frame} has no time ({time_s}); expected seconds from the start of the source")
        if self.frame is None:
            return 0.0
        if time_s < self.time_s:
            raise SourceError(
                f"frame {frame} at {time_s:g} s comes after frame {self.frame} at {self.time_s:g} s; "
                "times must not go back: reset() the tracker for another source"
            )
        return time_s - self.time_s
