"""What TrackNet is to put out: a disc for the ball; and two windows laid over each other, as mixup does.

All on the device that trains, where it costs next to nothing: what the loader hands over are bytes and coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.ball.heatmap import HEIGHT, SIGMA, WIDTH
from sightline.types import BallPoint

NOWHERE = -4096  # both coordinates of a ball that is not there: farther from any picture than a disc reaches


def centres_of(points: Sequence[BallPoint], size_hw: tuple[int, int]) -> NDArray[np.int32]:
    """(N, 2) x and y in heat-map pixels, rounded down as the decoded answers are; `NOWHERE` without a visible ball.

    One in the very corner is taken for the "none" that some label files have there, as the published training does.
    """
    height, width = size_hw
    centres = np.full((len(points), 2), NOWHERE, np.int32)
    for centre, point in zip(centres, points, strict=True):
        x, y = int(point.x * WIDTH / width), int(point.y * HEIGHT / height)
        if point.visible and (x, y) != (0, 0):
            centre[:] = x, y
    return centres


def discs(centres: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Heat maps (N, L, H, W), float32, of centres (N, L, 2): 1 within `SIGMA` of the centre, else 0."""
    height, width = size_hw
    x, y = (centres[..., axis, None, None] for axis in (0, 1))
    across = torch.arange(width, device=centres.device) - x  # (N, L, 1, W)
    down = torch.arange(height, device=centres.device)[:, None] - y  # (N, L, H, 1)
    return (across.square() + down.square() <= SIGMA**2).float()


def mixed(windows: Tensor, shares: Tensor) -> Tensor:
    """Each window (N, …) laid over the one before it, which shows through with 1 - share."""
    share = shares.view(-1, *[1] * (windows.ndim - 1))
    return windows * share + windows.roll(1, dims=0) * (1 - share)
