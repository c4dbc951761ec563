"""What the callbacks of both bindings share: they read, hand over, and never raise, for that ends the process."""

from __future__ import annotations

from typing import Any

from sightline.errors import BackendError, SightlineError
from sightline.pipeline.probe.collector import Collector
from sightline.pipeline.probe.records import Reader
from sightline.pipeline.probe.translating import Translator

# What a metadata object of another version says: an attribute, an argument, a type or a buffer that is not as known.
STRANGE = (AttributeError, TypeError, ValueError, LookupError, RuntimeError, BufferError)


class Tap:
    """A callback for the metadata of one batch."""

    def __init__(self, reader: Reader, translator: Translator, collector: Collector) -> None:
        self._reader, self._translator, self._collector = reader, translator, collector

    def __call__(self, batch_meta: Any) -> None:
        """Read a batch and hand it over. Whatever is wrong ends the collecting, not the process."""
        if self._collector.failed:
            return
        try:
            for raw in self._reader.frames(batch_meta):
                self._collector.put(self._translator.record(raw))
        except SightlineError as exc:
            self._collector.fail(exc)
        except STRANGE as exc:
            failure = BackendError(
                f"this DeepStream's metadata cannot be read ({exc!r}); its bindings are of a version not known here"
            )
            failure.__cause__ = exc
            self._collector.fail(failure)

    def source_gone(self, source: int) -> None:
        """A camera was taken out of the pipeline: its visits end."""
        self._collector.end(self._translator.sensors.remove(source))

    def source_added(self, source: int, name: str) -> None:
        self._translator.sensors.add(source, name)
