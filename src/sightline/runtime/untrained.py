"""Random weights, by name and on request only: for trying a pipeline before there is a model.

Its vectors are all nearly alike (cosine 0.95 and more between strangers), so nothing they say about people is true. The
card says `untrained`, and galleries and merges refuse it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from sightline.card import ModelCard
from sightline.runtime import torch as torch_backend
from sightline.runtime.backend import Request
from sightline.runtime.cards import Claims, with_claims
from sightline.runtime.session import Engine

log = logging.getLogger(__name__)

DEFAULT_ARCH = "osnet_x0_25"
USUAL = Claims(pixels="torchreid", size_hw=(256, 128))  # nothing was trained, so nothing can be fed wrongly


def missing() -> str:
    return torch_backend.missing()


def open_model(path: Path, request: Request) -> tuple[Engine, ModelCard]:
    """A seeded network of the arch the file name begins with. No file is read; there need not be one."""
    from sightline.nets.osnet import build_osnet

    arch = arch_in(path.name)
    net = build_osnet(arch, seed=request.seed)
    log.warning("UNTRAINED random weights (%s, seed %d) instead of %s: scores mean nothing", arch, request.seed, path)
    card = torch_backend.vector_card(net)
    said = Claims(request.claims.pixels or USUAL.pixels, request.claims.size_hw or USUAL.size_hw)
    card = with_claims(replace(card, weights="untrained"), said, origin=arch)
    return torch_backend.vector_engine(net, request), card


def arch_in(file_name: str) -> str:
    """The arch a file name begins with, as in `osnet_ain_x0_5_msmt17.onnx`, else the smallest."""
    from sightline.nets.osnet import ARCHS

    return next((arch for arch in sorted(ARCHS, key=len, reverse=True) if file_name.startswith(arch)), DEFAULT_ARCH)
