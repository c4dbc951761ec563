"""How the session of a lone call is chosen: on a clock that only goes on while a network runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_models import conv_mean

from sightline.runtime import onnxruntime as module
from sightline.runtime.backend import Request
from sightline.runtime.onnxruntime import CALLS_BEFORE_TRIAL, DRAWS, RUNS_PER_TRIAL, OnnxRuntimeEngine
from sightline.runtime.session import Feeds
from sightline.types import Array

Seconds = Callable[[int], float]  # of a pass, by the number of the session in the order they were made


class Watched:
    """An engine on two threads, each pass of which is noted by its session and takes as long as it is told to."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: Seconds) -> None:
        self.model = conv_mean(folder / "tiny.onnx")
        self.passes: list[int] = []
        now_s = 0.0
        made: list[object] = []
        create, run = OnnxRuntimeEngine._create, OnnxRuntimeEngine._run

        def noted_create(engine: OnnxRuntimeEngine, threads: int) -> object:
            made.append(create(engine, threads))
            return made[-1]

        def noted_run(engine: OnnxRuntimeEngine, session: object, feeds: Feeds) -> dict[str, Array]:
            nonlocal now_s
            self.passes.append(made.index(session))
            now_s += seconds(self.passes[-1])
            return run(engine, session, feeds)  # type: ignore[arg-type]

        monkeypatch.setattr(OnnxRuntimeEngine, "_create", noted_create)
        monkeypatch.setattr(OnnxRuntimeEngine, "_run", noted_run)
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now_s))
        self.engine = module.open_model(self.model.path, Request(device="cpu", threads=2))[0]

    def call(self, times: int) -> list[int]:
        """The sessions that ran during so many calls; every answer is checked."""
        before = len(self.passes)
        feeds = self.model.feeds(2)
        for _ in range(times):
            answer = self.engine.run(feeds)
            np.testing.assert_allclose(answer["features"], self.model.answer(feeds)["features"], rtol=1e-4, atol=1e-5)
        return self.passes[before:]


LANE, WHOLE = 0, 1  # the lane is made first, to see whether the model can be opened


def test_a_heavy_network_is_run_once_a_call_and_never_again_to_time_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path, monkeypatch, lambda session: 0.5)
    assert watched.call(30) == [WHOLE] * 30


def test_a_network_that_is_heavy_for_one_thread_alone_is_timed_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path, monkeypatch, lambda session: 0.6 if session == LANE else 0.04)
    watched.call(CALLS_BEFORE_TRIAL - 1)
    assert watched.call(3) == [WHOLE, LANE, WHOLE, WHOLE]


def test_a_small_network_whose_threads_win_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path, monkeypatch, lambda session: 0.002 if session == LANE else 0.001)
    assert watched.call(CALLS_BEFORE_TRIAL - 1) == [WHOLE] * (CALLS_BEFORE_TRIAL - 1)
    assert watched.call(2) == [WHOLE, *[LANE] * RUNS_PER_TRIAL, *[WHOLE] * RUNS_PER_TRIAL, WHOLE]


def test_a_small_network_draws_threads_again_until_they_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path, monkeypatch, {LANE: 0.002, WHOLE: 0.003, 2: 0.001}.__getitem__)
    watched.call(CALLS_BEFORE_TRIAL)
    assert watched.call(2) == [2, 2]


def test_a_small_network_whose_threads_always_lose_runs_on_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path, monkeypatch, lambda session: 0.001 if session == LANE else 0.002)
    trial = watched.call(CALLS_BEFORE_TRIAL)[CALLS_BEFORE_TRIAL:]
    assert [trial.count(session) for session in range(DRAWS + 1)] == [RUNS_PER_TRIAL] * (DRAWS + 1)
    assert watched.call(2) == [LANE, LANE]


def test_one_slow_call_only_puts_the_trial_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_s = {CALLS_BEFORE_TRIAL: 3.0}
    watched = Watched(
        tmp_path,
        monkeypatch,
        lambda session: slow_s.get(len(watched.passes), 0.001 if session == LANE else 0.002),
    )
    assert watched.call(CALLS_BEFORE_TRIAL) == [WHOLE] * CALLS_BEFORE_TRIAL
    watched.call(1)
    assert watched.call(2) == [LANE, LANE]
