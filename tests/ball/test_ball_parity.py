"""Three runtimes, four uses of the background, three ways to average, streamed or not: one answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from sightline.ball.ensemble import EVAL_MODES
from sightline.ball.models import tracker_of
from sightline.ball.planes import PLANES_PER_FRAME
from sightline.ball.stream import TrackNetStream, track
from sightline.deploy.ball_export import BallExportPlan, export_ball
from sightline.nets.ball_checkpoint import LoadedBall, tracknet_card
from sightline.nets.checkpoint import save_checkpoint
from sightline.nets.tracknet import build_tracknet
from sightline.runtime.open import open_session
from sightline.runtime.session import Session
from sightline.types import FloatArray, Image

SEQ_LEN, COUNT = 2, 5
FILES = {"torch": "net.pt", "onnxruntime": "net.onnx", "openvino": "net.onnx"}
Open = Callable[[str, str], Session]


class Watched(TrackNetStream):
    """Keeps the averaged heat map of every frame."""

    def __init__(self, session: Session, eval_mode: str, median: FloatArray | None) -> None:
        self.heats: list[FloatArray] = []
        found = tracker_of(session)
        super().__init__(
            found.forward, seq_len=found.seq_len, bg_mode=found.bg_mode, eval_mode=eval_mode, median=median
        )

    def _see(self, finished: Iterable[FloatArray]) -> None:
        kept = list(finished)
        self.heats += [heat.copy() for heat in kept]
        super()._see(kept)


def clip() -> Iterator[Image]:
    rng = np.random.default_rng(3)
    return (rng.integers(0, 256, (72, 128, 3), np.uint8) for _ in range(COUNT))


@cache
def median(bg_mode: str) -> FloatArray | None:
    shape = (3, 288, 512) if bg_mode == "concat" else (72, 128, 3)
    return np.random.default_rng(5).integers(0, 256, shape).astype(np.float32) if bg_mode else None


def streamed(session: Session, bg_mode: str, eval_mode: str) -> list[FloatArray]:
    stream = Watched(session, eval_mode, median(bg_mode))
    for image in clip():
        stream.push(image)
    stream.flush()
    return stream.heats[:COUNT]


def at_once(session: Session, bg_mode: str, eval_mode: str) -> list[FloatArray]:
    stream = Watched(session, eval_mode, median(bg_mode))
    assert len(list(track(stream, ((None, image) for image in clip()), batch=3))) == COUNT
    return stream.heats[:COUNT]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    sessions: dict[tuple[str, str], Session] = {}
    folders: dict[str, Path] = {}

    def written(bg_mode: str) -> Path:
        if bg_mode not in folders:
            folders[bg_mode] = folder = tmp_path_factory.mktemp(f"net_{bg_mode}")
            net = build_tracknet(SEQ_LEN, bg_mode, width="x0_25", seed=1).eval()
            nn.init.zeros_(net.predictor.bias)  # fresh ones see next to nothing anywhere
            ball = LoadedBall(net, tracknet_card(net, bg_mode, weights="untrained"))
            save_checkpoint(folder / "net.pt", net, card=ball.card)
            export_ball(ball, folder / "net.onnx", plan=BallExportPlan(batch=None))
        return folders[bg_mode]

    def open_it(backend: str, bg_mode: str) -> Session:
        key = backend, bg_mode
        if key not in sessions:
            sessions[key] = open_session(written(bg_mode) / FILES[backend], backend, "cpu", precision="float32")
        return sessions[key]

    yield open_it
    for session in sessions.values():
        session.close()


@pytest.mark.parametrize("eval_mode", EVAL_MODES)
@pytest.mark.parametrize("bg_mode", PLANES_PER_FRAME)
def test_every_runtime_and_both_ways_of_running_give_the_heat_maps_of_streamed_pytorch(
    opened: Open, bg_mode: str, eval_mode: str
) -> None:
    expected = streamed(opened("torch", bg_mode), bg_mode, eval_mode)
    assert len(expected) == COUNT
    assert max(float(np.ptp(heat)) for heat in expected) > 0.05  # maps that say something
    for backend in FILES:
        session = opened(backend, bg_mode)
        one_by_one, together = streamed(session, bg_mode, eval_mode), at_once(session, bg_mode, eval_mode)
        for heat, other, wanted in zip(one_by_one, together, expected, strict=True):
            np.testing.assert_allclose(heat, wanted, atol=1e-4, err_msg=f"{backend}, streamed")
            np.testing.assert_allclose(other, wanted, atol=1e-4, err_msg=f"{backend}, in batches")
