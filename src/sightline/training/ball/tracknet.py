"""TrackNet as a `Course`: from frames to where the ball is in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn, optim

from sightline.ball.planes import Resize, bg_mode_named
from sightline.card import ModelCard
from sightline.nets.ball_checkpoint import tracknet_card
from sightline.nets.tracknet import TrackNet, build_tracknet
from sightline.training.ball.config import TrackNetConfig
from sightline.training.ball.frames import FrameCache
from sightline.training.ball.heatmaps import discs, mixed
from sightline.training.ball.losses import WeightedCrossEntropy
from sightline.training.ball.pretrained import start_from
from sightline.training.ball.rallies import LabelledRally, Rallies, Rally, labelled
from sightline.training.ball.shuffle import Shuffled
from sightline.training.ball.validation import judge_tracker
from sightline.training.ball.windows import RallyWindows, WindowBatch, WindowChanges, collated
from sightline.training.course import Judgement
from sightline.training.loading import BatchLoader, loader_of
from sightline.training.processes import Processes
from sightline.training.schedule import build_plain_optimizer


@dataclass(frozen=True)
class Tracking:
    """A `Course` in finding the ball of `rallies`."""

    config: TrackNetConfig
    rallies: Rallies

    @property
    def is_judged(self) -> bool:
        return bool(self.rallies.held_out)

    def make_ready(self) -> None:
        """Read the labels, which is soon done and may fail, then all frames into the cache."""
        _ = self._learned, self._held_out
        self._cache.fill((*self.rallies.train, *self.rallies.held_out))

    def loader(self, *, rank: int, world: int) -> BatchLoader[WindowBatch]:
        data, seed = self.config.data, self.config.train.seed
        windows = RallyWindows(
            self._learned,
            self._cache,
            seq_len=self.config.model.seq_len,
            step=data.step,
            changes=WindowChanges((data.crop[0], data.crop[1]), data.mixup, data.flip, data.colour_jitter),
            seed=seed,
        )
        batches = Shuffled(len(windows), batch_size=data.batch_size, seed=seed, rank=rank, world=world)
        return loader_of(windows, batches, collated=collated, workers=data.workers, keep_workers=True)

    def network(self) -> TrackNet:
        model = self.config.model
        net = build_tracknet(model.seq_len, model.bg_mode, width=model.width, seed=self.config.train.seed)
        start_from(net, model.pretrained).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # untyped
        return net

    def losses(self) -> WeightedCrossEntropy:
        return WeightedCrossEntropy()

    def optimizer(self, net: TrackNet, losses: nn.Module) -> optim.Optimizer:
        return build_plain_optimizer(net, self.config.train)

    def begin_epoch(self, net: TrackNet, epoch: int) -> bool:
        net.train()
        return False

    def step(
        self, model: nn.Module, losses: nn.Module, batch: WindowBatch, *, processes: Processes, amp: str
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Planes and heat maps are made, and mixed, on the device.

        Channels last: on a processor a step of the smallest network is then two to three times as fast.
        """
        planes = batch.planes.to(processes.device).to(torch.float32, memory_format=torch.channels_last) / 255
        heats = discs(batch.centres.to(processes.device), (planes.shape[2], planes.shape[3]))
        if self.config.data.mixup:
            shares = batch.shares.to(processes.device)
            planes, heats = mixed(planes, shares), mixed(heats, shares)
        with processes.autocast(amp):
            found: Tensor = model(planes)
        return losses(found, heats), {}

    def judge(self, net: TrackNet) -> Judgement:
        return judge_tracker(net, self._held_out, self._cache, tolerance=self.config.val.tolerance)

    def card(self, net: TrackNet) -> ModelCard:
        card = tracknet_card(net, self.config.model.bg_mode, weights="trained")
        return replace(card, trained_on=self.rallies.name)

    @cached_property
    def _cache(self) -> FrameCache:
        data = self.config.data
        folder = Path(data.cache) if data.cache else self.rallies.folder / "cache"
        bg_mode = bg_mode_named(self.config.model.bg_mode)
        return FrameCache(folder, bg_mode, cast(Resize, data.resize), data.median_frames)

    @cached_property
    def _learned(self) -> Sequence[LabelledRally]:
        return self._labelled(self.rallies.train)

    @cached_property
    def _held_out(self) -> Sequence[LabelledRally]:
        return self._labelled(self.rallies.held_out)

    def _labelled(self, rallies: Sequence[Rally]) -> Sequence[LabelledRally]:
        data = self.config.data
        source_hw = (data.source_hw[0], data.source_hw[1])
        return [labelled(rally, columns=data.columns, source_hw=source_hw) for rally in rallies]
