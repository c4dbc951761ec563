"""Models that come with the package: trained here, on painted material only, and free to use.

::

    >>> bundled("ball").name
    'tracknet_x0_25.onnx'

Each file's card says what it was trained on; docs/log.md has the recipe, the log and what it cannot do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

BUNDLED: Mapping[str, str] = MappingProxyType({"ball": "tracknet_x0_25.onnx"})  # by task


def bundled(task: str) -> Path:
    """The file of the model for a task; `KeyError` where there is none."""
    return Path(__file__).with_name(BUNDLED[task])
