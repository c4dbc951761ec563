"""Which box is which: detectors, trackers, and how good their tracks are."""
