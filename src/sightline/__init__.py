"""sightline: who is that, and where is the ball.

The names below load on first use, so that importing the package costs nothing and asks for neither a runtime nor
PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sightline._version import __version__

if TYPE_CHECKING:
    from sightline.card import ImageInput, ModelCard, Pixels
    from sightline.errors import SightlineError
    from sightline.reid.embedder import Embedder
    from sightline.reid.osnet import extract_osnet_features, load_osnet_model
    from sightline.runtime.open import open_session
    from sightline.runtime.session import Session

_HOME = {
    "Embedder": "sightline.reid.embedder",
    "ImageInput": "sightline.card",
    "ModelCard": "sightline.card",
    "Pixels": "sightline.card",
    "Session": "sightline.runtime.session",
    "SightlineError": "sightline.errors",
    "extract_osnet_features": "sightline.reid.osnet",
    "load_osnet_model": "sightline.reid.osnet",
    "open_session": "sightline.runtime.open",
}

__all__ = [
    "Embedder",
    "ImageInput",
    "ModelCard",
    "Pixels",
    "Session",
    "SightlineError",
    "__version__",
    "extract_osnet_features",
    "load_osnet_model",
    "open_session",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sightline' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
