"""Everything a run would need to go on as if it had never stopped, and the file it lives in."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn, optim
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sightline.errors import CheckpointError, ModelFormatError
from sightline.files import replacing, require_model_file

Epoch = dict[str, float]  # one line of the history


@dataclass
class TrainingState:
    """The moving parts of a run. `epoch` and `step` count what is done, not what is under way."""

    net: nn.Module
    losses: nn.Module
    optimizer: optim.Optimizer
    scheduler: optim.lr_scheduler.LambdaLR
    scaler: torch.amp.GradScaler
    averaged: AveragedModel | None
    epoch: int = 0
    step_in_epoch: int = 0
    best: float | None = None
    stale: int = 0  # validations since the best
    partial: Epoch = field(default_factory=dict)  # sums over the epoch under way
    history: list[Epoch] = field(default_factory=list)

    @property
    def judged(self) -> nn.Module:
        """The weights that are validated and kept: the averaged ones where there are any."""
        return self.net if self.averaged is None else self.averaged.module


def averaging(net: nn.Module, decay: float) -> AveragedModel | None:
    """An exponential moving average of weights and buffers, or None for no decay."""
    if decay == 0:
        return None
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch leaves it without annotations
    return AveragedModel(net, multi_avg_fn=average, use_buffers=True)


def save_state(state: TrainingState, path: Path, *, config: dict[str, Any]) -> None:
    """Write the state so that a kill or a full disk leaves the previous one whole."""
    saved = {
        "model_state_dict": state.net.state_dict(),
        "optimizer_state_dict": state.optimizer.state_dict(),
        "scheduler_state_dict": state.scheduler.state_dict(),
        "scaler_state_dict": state.scaler.state_dict(),
        "loss_state_dict": state.losses.state_dict(),
        "ema_state_dict": None if state.averaged is None else state.averaged.state_dict(),
        "epoch": state.epoch,
        "step_in_epoch": state.step_in_epoch,
        "best_metric": state.best,
        "stale": state.stale,
        "partial": state.partial,
        "history": state.history,
        "rng_state": torch.get_rng_state(),
        "config": config,
    }
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def read_saved(path: Path) -> dict[str, Any]:
    """The content of a checkpoint.pt. Raises `ModelFormatError` when it is something else."""
    require_model_file(path)
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError) as exc:
        raise ModelFormatError(f"{path} is no checkpoint of a training run: {str(exc).splitlines()[0]}") from exc
    if not isinstance(saved, dict) or "optimizer_state_dict" not in saved:
        raise ModelFormatError(f"{path} holds weights only; expected the checkpoint.pt of a training run")
    return saved


def restore(state: TrainingState, saved: dict[str, Any], *, origin: Path) -> None:
    """Put a saved run back. Raises `CheckpointError` when it is of another network or other identities."""
    try:
        state.net.load_state_dict(saved["model_state_dict"])
        state.losses.load_state_dict(saved["loss_state_dict"])
        state.optimizer.load_state_dict(saved["optimizer_state_dict"])
    except (RuntimeError, ValueError) as exc:
        reason = " ".join(str(exc).split())[:200]
        raise CheckpointError(f"{origin} is of another network or other identities than this run: {reason}") from exc
    state.scheduler.load_state_dict(saved["scheduler_state_dict"])
    state.scaler.load_state_dict(saved["scaler_state_dict"])
    if state.averaged is not None and saved["ema_state_dict"] is not None:
        state.averaged.load_state_dict(saved["ema_state_dict"])
    torch.set_rng_state(saved["rng_state"])
    for name in ("epoch", "step_in_epoch", "stale", "partial", "history"):
        setattr(state, name, saved[name])
    state.best = saved["best_metric"]
