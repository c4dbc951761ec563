"""What could not be used, counted; and said once, for a callback runs a hundred times a second."""

from __future__ import annotations

import logging
from collections import Counter

log = logging.getLogger(__name__)

SILENT = 200  # people without a vector, and nobody with one, until that is told

ADVICE = {
    "untracked": "has no track id; put nvtracker between the detector and the re-identification network",
    "other layer": "has no layer of the wanted name; the configuration is of another model: run `sightline doctor`",
    "type": "is of a type that holds no numbers; build the engine with float outputs",
    "length": "has another length than the model's card says; the engine is of another model",
    "not finite": "holds NaN or infinity; a float16 engine may overflow: build it with network-mode 0",
    "zero": "is all zeros; the engine is broken, or the tensor was read after its buffer was used again",
    "box": "has no area, or no finite corners",
    "empty layer": "has no host buffer; leave disable-output-host-copy at 0",
}


class Tally:
    """Counts by kind. The first of each kind is a warning, with what was seen and what to do."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def note(self, kind: str, seen: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            log.warning("%s %s", seen, ADVICE[kind])

    def person(self, *, has_vector: bool, wanted: str) -> None:
        """Somebody was seen. Many have no vector, for small ones are passed over; that nobody has one is wrong."""
        self.counts["with vector" if has_vector else "without vector"] += 1
        if not self.counts["with vector"] and self.counts["without vector"] == SILENT:
            log.warning(
                "%d people were seen, and none has a vector of %s: check output-tensor-meta=1, network-type=100, "
                "process-mode=2, operate-on-gie-id and operate-on-class-ids with `sightline doctor`",
                SILENT,
                wanted,
            )

    def __str__(self) -> str:
        """For the end of a run; nothing where all was well."""
        faults = {kind: count for kind, count in self.counts.items() if kind in ADVICE}
        return ", ".join(f"{count:,} {kind}" for kind, count in sorted(faults.items()))
