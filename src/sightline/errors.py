"""Everything sightline raises on purpose.

::

    SightlineError
    ├── ConfigError          (ValueError)    a configuration file or override
    ├── ImageError           (ValueError)    an image that cannot be read, or should not be
    ├── SourceError          (ValueError)    a video, folder or camera that gives no frames
    ├── CardError            (ValueError)    a model card that is broken, too new, or contradicts its model
    ├── ModelError                           a model file
    │   ├── ModelNotFoundError (ValueError)  no file there
    │   ├── ModelFormatError   (ValueError)  a file, but not the model it should be
    │   ├── UnknownArchError   (ValueError)  a network name that is none of ours
    │   ├── CheckpointError    (ValueError)  a checkpoint that does not fit the network
    │   │   └── UnsafeCheckpointError        a pickle that would run code
    │   └── ModelOutputError   (ValueError)  the model ran, and what came out cannot be used
    ├── BackendError         (RuntimeError)  a runtime that is absent, or refuses the model
    │   └── NoBackendError                   none of the runtimes that could run it is there
    ├── ExportError          (RuntimeError)  an exported file that failed its own verification
    ├── GalleryError         (ValueError)    a gallery that is absent or closed, or refuses what it is given
    │   ├── EntryExistsError                 an entry whose id is in the gallery already
    │   └── GalleryFormatError               damaged, newer than this sightline, or no gallery at all
    ├── DownloadError        (OSError)       a model that could not be fetched, or is not the one promised
    ├── SinkError            (OSError)       a broker that does not take events
    └── OutputError          (OSError)       a result that could not be written

Each also subclasses the builtin that callers of the predecessors catch. A message is one line: what was wrong,
what was expected, what to do.
"""

from __future__ import annotations


class SightlineError(Exception):
    """Base of every error sightline raises on purpose."""


class ConfigError(SightlineError, ValueError):
    """A configuration file or a `key=value` override that cannot be used."""


class ImageError(SightlineError, ValueError):
    """An image that cannot be decoded, or whose content a model must not be fed."""


class SourceError(SightlineError, ValueError):
    """A video, a folder of frames or a camera that is not there, or gives nothing that can be decoded."""


class CardError(SightlineError, ValueError):
    """A model card that is malformed, written by a newer sightline, or at odds with its model."""


class ModelError(SightlineError):
    """Base of the errors about one model file."""


class ModelNotFoundError(ModelError, ValueError):
    """No file at the path. A `ValueError`, as the streaming modules promise."""


class ModelFormatError(ModelError, ValueError):
    """The file is there, but is empty, truncated, a pointer to another file, or another kind of model."""


class UnknownArchError(ModelError, ValueError):
    """The name of a network sightline does not have; the message lists those it has."""


class CheckpointError(ModelError, ValueError):
    """A checkpoint whose tensors do not cover the network they are loaded into."""


class UnsafeCheckpointError(CheckpointError):
    """A pickle that names code to run. Never loaded unless the caller asks for exactly that."""


class ModelOutputError(ModelError, ValueError):
    """The model ran, but its output has the wrong shape or is not finite."""


class BackendError(SightlineError, RuntimeError):
    """A runtime that is not installed, lacks the device, or refuses the model."""


class NoBackendError(BackendError):
    """Every runtime that could have run the model is missing; the message lists each with its reason."""


class ExportError(SightlineError, RuntimeError):
    """The exported file did not reproduce its source; it has been removed."""


class GalleryError(SightlineError, ValueError):
    """A gallery that is not there, was closed, may only be read, or must not hold what it is given."""


class EntryExistsError(GalleryError):
    """An entry whose id the gallery has already, or that is given twice. Nothing of its batch was kept."""


class GalleryFormatError(GalleryError):
    """What is stored there is damaged, of a newer format, or something other than a gallery."""


class DownloadError(SightlineError, OSError):
    """A model that could not be fetched, or whose bytes are not the promised ones."""


class SinkError(SightlineError, OSError):
    """A broker that is not there or refuses us. The events are still in the file they are written to first."""


class OutputError(SightlineError, OSError):
    """A result that could not be written. What was computed before is still there."""
