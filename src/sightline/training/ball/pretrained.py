"""Weights to start from, of the very same network."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from sightline.errors import CheckpointError
from sightline.nets.ball_checkpoint import BallNet, load_ball

AnyNet = TypeVar("AnyNet", bound=BallNet)


def start_from(net: AnyNet, path: str) -> AnyNet:
    """`net` with the weights of the checkpoint at `path`; as it is without one. Raises `CheckpointError`."""
    if not path:
        return net
    saved = load_ball(Path(path)).net.state_dict()
    try:
        net.load_state_dict(saved)
    except RuntimeError as exc:
        reason = " ".join(str(exc).split())[:200]
        raise CheckpointError(f"{path} is of another network than the one to train: {reason}") from exc
    return net
