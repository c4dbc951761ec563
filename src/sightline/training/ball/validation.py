"""How well a ball network does on rallies it has never seen: found and scored as in use, each frame once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
import torch
from torch import Tensor

from sightline.ball.heatmap import HEIGHT, WIDTH, Row, Sighting, find_ball
from sightline.ball.inpaint import InpaintStream
from sightline.ball.metrics import Counts, score
from sightline.ball.planes import as_floats
from sightline.nets.inpaintnet import InpaintNet
from sightline.nets.tracknet import TrackNet
from sightline.training.ball.frames import FrameCache
from sightline.training.ball.heatmaps import centres_of, discs
from sightline.training.ball.losses import WeightedCrossEntropy
from sightline.training.ball.rallies import LabelledRally
from sightline.training.ball.windows import window_planes
from sightline.training.course import Judgement
from sightline.types import BallPoint, FloatArray, Image

BATCH = 4  # windows the network is run on at once


def judged(counts: Counts, *, loss: float | None = None) -> Judgement:
    """The best is the one with the highest accuracy, as in the paper."""
    rates = {name: getattr(counts, name) for name in ("accuracy", "precision", "recall", "f1")}
    figures = {**rates, "miss": counts.miss_rate}
    return Judgement(counts.accuracy, figures if loss is None else {"val_loss": loss, **figures})


def judge_tracker(net: TrackNet, rallies: Sequence[LabelledRally], cache: FrameCache, *, tolerance: float) -> Judgement:
    """Windows without overlap. `net` is put back into the mode it was in."""
    was_training = net.training
    net.eval()
    results = [_tracked(net, rally, cache, tolerance=tolerance) for rally in rallies]
    net.train(was_training)
    counts = reduce(add, (counts for counts, _ in results), Counts())
    return judged(counts, loss=float(np.mean([loss for _, losses in results for loss in losses])))


def _tracked(net: TrackNet, rally: LabelledRally, cache: FrameCache, *, tolerance: float) -> tuple[Counts, list[float]]:
    """The counts of a rally, and the loss of each batch."""
    height, width = rally.size_hw
    points = {point.frame: point for point in rally.points}
    found: list[BallPoint] = []
    losses: list[float] = []
    for frames, heats in heats_of(net, rally, cache):
        labels = [points.get(frame, BallPoint(frame, visible=False)) for frame in frames]
        centres = torch.from_numpy(centres_of(labels, rally.size_hw))
        losses.append(WeightedCrossEntropy()(heats, discs(centres, (HEIGHT, WIDTH))).item())
        for frame, heat in zip(frames, heats.numpy(), strict=True):
            found.append(_sighting(frame, heat, (width / WIDTH, height / HEIGHT)).point(frame))
    return score(rally.points, found, size_hw=rally.size_hw, tolerance=tolerance).counts, losses


def heats_of(net: TrackNet, rally: LabelledRally, cache: FrameCache) -> Iterator[tuple[range, Tensor]]:
    """Some frames, and their heat maps (N, 288, 512) on the CPU, until the rally is over."""
    footage = cache.open(cache.path_of(rally.rally))
    device, length, count = next(net.parameters()).device, net.out_dim, len(footage.planes)
    for start in range(0, count, BATCH * length):
        frames = range(start, min(start + BATCH * length, count))
        windows: list[Image] = [window_planes(footage, range(at, at + length)) for at in frames[::length]]
        with torch.inference_mode():
            heats: Tensor = net(torch.from_numpy(as_floats(np.stack(windows))).to(device))
        yield frames, heats.float().cpu().flatten(0, 1)[: len(frames)]


def _sighting(frame: int, heat: FloatArray, scale_xy: tuple[float, float]) -> Sighting:
    peak = find_ball(heat)
    return Sighting(frame, None) if peak is None else Sighting(frame, peak, *peak.in_source(scale_xy))


Tracked = Sequence[BallPoint]  # what a tracker found of a rally


def judge_repairer(
    net: InpaintNet, rallies: Sequence[tuple[LabelledRally, Tracked]], *, seq_len: int, tolerance: float
) -> Judgement:
    """What was found, with its gaps filled as in use, against the labels. `net` is put back into the mode it was in."""
    was_training = net.training
    net.eval()
    forward = _forward_of(net)
    counts = Counts()
    for rally, found in rallies:
        filled = repaired(found, forward, seq_len=seq_len, size_hw=rally.size_hw)
        counts += score(rally.points, filled, size_hw=rally.size_hw, tolerance=tolerance).counts
    net.train(was_training)
    return judged(counts)


def repaired(
    found: Tracked,
    forward: Callable[[FloatArray, FloatArray], FloatArray],
    *,
    seq_len: int,
    size_hw: tuple[int, int],
) -> list[BallPoint]:
    """The trajectory as `sightline ball --inpaint` would write it."""
    height, width = size_hw
    stream = InpaintStream(forward, seq_len=seq_len, img_scaler=(width / WIDTH, height / HEIGHT))
    pushed = [stream.push(_row(point)) for point in found]
    rows = [row for row in pushed if row is not None] + stream.flush()
    return [
        replace(point, visible=bool(row["Visibility"]), x=float(row["X"]), y=float(row["Y"]))
        for point, row in zip(found, rows, strict=True)
    ]


def _row(point: BallPoint) -> Row:
    x, y = (round(point.x), round(point.y)) if point.visible else (0, 0)
    return Row(Frame=point.frame, X=x, Y=y, Visibility=int(point.visible), Confidence=point.confidence)


def _forward_of(net: InpaintNet) -> Callable[[FloatArray, FloatArray], FloatArray]:
    device = next(net.parameters()).device

    def forward(coords: FloatArray, mask: FloatArray) -> FloatArray:
        with torch.inference_mode():
            said: Tensor = net(torch.from_numpy(coords).to(device), torch.from_numpy(mask).to(device))
        return np.asarray(said.float().cpu().numpy())

    return forward
