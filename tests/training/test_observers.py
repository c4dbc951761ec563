from __future__ import annotations

from pathlib import Path

import pytest

from sightline.training.observers import Several, TensorBoard, Unwatched


def test_tensorboard_gets_every_figure_of_every_epoch(tmp_path: Path) -> None:
    """Read back by TensorBoard's own reader."""
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    board = TensorBoard()
    board.run_begins(tmp_path)
    board.epoch_done(1, {"loss": 2.5, "rank-1": 0.25})
    board.epoch_done(2, {"loss": 1.5, "rank-1": 0.75})
    board._writer.close()
    events = reader.EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "rank-1"}
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 2.5), (2, 1.5)]
    assert [(event.step, event.value) for event in events.Scalars("rank-1")] == [(1, 0.25), (2, 0.75)]


def test_all_who_watch_are_told_everything_in_order(tmp_path: Path) -> None:
    told: list[tuple[object, ...]] = []

    class Listening(Unwatched):
        def __init__(self, name: str) -> None:
            self.name = name

        def run_begins(self, folder: Path) -> None:
            told.append((self.name, folder))

        def epoch_begins(self, epoch: int, steps: int, first_step: int) -> None:
            told.append((self.name, epoch, steps, first_step))

        def step_done(self, figures: dict[str, float]) -> None:
            told.append((self.name, figures))

        def epoch_done(self, epoch: int, figures: dict[str, float]) -> None:
            told.append((self.name, epoch, figures))

    both = Several([Listening("a"), Listening("b")])
    both.run_begins(tmp_path)
    both.epoch_begins(0, 10, 3)
    both.step_done({"loss": 1.0})
    both.epoch_done(1, {"loss": 2.0})
    expected = [(tmp_path,), (0, 10, 3), ({"loss": 1.0},), (1, {"loss": 2.0})]
    assert told == [(name, *facts) for facts in expected for name in "ab"]
