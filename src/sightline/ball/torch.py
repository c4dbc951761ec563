"""The streaming modules over PyTorch networks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from sightline.ball.inpaint import InpaintStream
from sightline.ball.stream import TrackNetStream
from sightline.errors import BackendError
from sightline.types import Array, FloatArray

if TYPE_CHECKING:
    import torch


class TrackNetModule(TrackNetStream):
    """TrackNet as a PyTorch module, over the frames of a clip.

    The module is put on the device and into evaluation mode. `device` is what PyTorch takes, or None for a GPU where
    there is one. On CUDA it runs in half precision where PyTorch thinks that safe.
    """

    def __init__(  # noqa: PLR0917 - the places callers of the predecessors pass them in
        self,
        tracknet: torch.nn.Module,
        seq_len: int,
        bg_mode: str | None,
        device: torch.device | str | None,
        eval_mode: str = "weight",
        median: Array | None = None,
        median_warmup: int = 0,
    ) -> None:
        self.device = _device(device)
        self.tracknet = tracknet.eval().to(self.device)
        super().__init__(
            lambda windows: _run(self.tracknet, self.device, windows),
            seq_len=seq_len,
            bg_mode=bg_mode,
            eval_mode=eval_mode,
            median=median,
            median_warmup=median_warmup,
        )


class InpaintModule(InpaintStream):
    """InpaintNet as a PyTorch module, over the rows of a tracker. `device` as for `TrackNetModule`."""

    def __init__(
        self,
        inpaintnet: torch.nn.Module,
        seq_len: int,
        device: torch.device | str | None,
        img_scaler: tuple[float, float],
    ) -> None:
        self.device = _device(device)
        self.inpaintnet = inpaintnet.eval().to(self.device)
        super().__init__(
            lambda coords, mask: _run(self.inpaintnet, self.device, coords, mask),
            seq_len=seq_len,
            img_scaler=img_scaler,
        )


def _device(device: torch.device | str | None) -> torch.device:
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as exc:
        raise BackendError(f"unknown device {device!r}; expected what PyTorch calls one: cpu, cuda, cuda:1") from exc
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise BackendError(f"device {device} not available: this PyTorch sees {torch.cuda.device_count()} CUDA devices")
    return found


def _run(net: torch.nn.Module, device: torch.device, *arrays: FloatArray) -> FloatArray:
    import torch

    on_cuda = device.type == "cuda"
    precision: AbstractContextManager[object] = torch.autocast("cuda", torch.float16) if on_cuda else nullcontext()
    tensors = [torch.from_numpy(np.require(array, requirements="W")).to(device) for array in arrays]
    try:
        with torch.inference_mode(), precision:
            answer = net(*tensors)
    except RuntimeError as exc:
        shapes = " and ".join(str(list(array.shape)) for array in arrays)
        reason = str(exc).strip().partition("\n")[0]
        raise BackendError(f"{type(net).__name__} cannot run {shapes}, made by seq_len and bg_mode: {reason}") from exc
    return np.asarray(answer.float().cpu().numpy())
