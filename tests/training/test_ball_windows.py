"""Training windows: what is changed in the pictures is changed in the labels, and chance is repeatable."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from sightline.errors import ConfigError
from sightline.synth.rallies import write_rallies
from sightline.training.ball.frames import FrameCache
from sightline.training.ball.heatmaps import NOWHERE
from sightline.training.ball.rallies import LabelledRally, labelled, rallies_of
from sightline.training.ball.shuffle import Shuffled
from sightline.training.ball.windows import RallyWindows, WindowChanges, collated, corner
from sightline.training.loading import loader_of
from sightline.types import BallPoint

FRAMES = 14
BALL = 255  # painted below as nothing else is


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[LabelledRally], FrameCache]:
    """Two rallies whose ball is one pure white pixel where their label says, on black, in every other frame."""
    folder = tmp_path_factory.mktemp("windows")
    write_rallies(folder, rallies=3, frames=FRAMES, seed=1)
    cache = FrameCache(folder / "cache", "")
    rallies = []
    for found in rallies_of(folder / "train"):
        rally = labelled(found, columns="", source_hw=(288, 512))
        cache.fill([found])
        planes = np.zeros((FRAMES, 3, 288, 512), np.uint8)
        points = [BallPoint(i, i % 2 == 0, 40.0 + 30 * i, 250.0 - 15 * i) for i in range(FRAMES)]
        for point in points:
            if point.visible:
                planes[point.frame, :, int(point.y), int(point.x)] = BALL
        cache.path_of(found).write_bytes(planes.tobytes())
        rallies.append(LabelledRally(rally.rally, tuple(points), (288, 512)))
    return rallies, cache


def windows_of(
    material: tuple[list[LabelledRally], FrameCache], changes: WindowChanges, *, seed: int = 0, step: int = 1
) -> RallyWindows:
    rallies, cache = material
    return RallyWindows(rallies, cache, seq_len=4, step=step, changes=changes, seed=seed)


def balls_in(planes: torch.Tensor) -> list[list[list[int]]]:
    """For each frame the places (x, y) of the white pixel in its first plane."""
    return [[[int(x), int(y)] for y, x in torch.nonzero(frame == BALL)] for frame in planes[::3]]


@pytest.mark.parametrize(
    "changes",
    [
        WindowChanges(),
        WindowChanges(flip=1.0),
        WindowChanges(flip=0.5, crop_hw=(64, 96)),
        WindowChanges(flip=0.5, crop_hw=(288, 64)),
    ],
)
def test_the_label_is_where_the_ball_is_whatever_is_done_to_the_picture(
    material: tuple[list[LabelledRally], FrameCache], changes: WindowChanges
) -> None:
    windows = windows_of(material, changes)
    shown = 0
    for index in range(len(windows)):
        window = windows[index]
        assert window.planes.shape == (12, *changes.crop_hw)
        for places, centre in zip(balls_in(window.planes), window.centres.tolist(), strict=True):
            height, width = changes.crop_hw
            inside = 0 <= centre[0] < width and 0 <= centre[1] < height
            assert places == ([centre] if inside else [])
            shown += inside
    assert shown > len(windows) // 2


def test_a_frame_without_a_ball_has_no_place_even_when_it_is_mirrored(
    material: tuple[list[LabelledRally], FrameCache],
) -> None:
    window = windows_of(material, WindowChanges(flip=1.0, crop_hw=(64, 64)))[0]
    assert [centre == [NOWHERE, NOWHERE] for centre in window.centres.tolist()] == [False, True, False, True]


def test_most_crops_show_the_ball_and_all_lie_in_the_picture() -> None:
    centres = np.array([[5, 280], [NOWHERE, NOWHERE]], np.int32)
    hits = 0
    for seed in range(300):
        top, left = corner(centres, (64, 96), np.random.default_rng(seed))
        assert 0 <= top <= 288 - 64 and 0 <= left <= 512 - 96
        hits += left <= 5 < left + 96 and top <= 280 < top + 64
    assert 0.85 < hits / 300 < 0.97  # nine in ten, and by chance


def test_crops_of_windows_without_a_ball_are_anywhere() -> None:
    centres = np.full((2, 2), NOWHERE, np.int32)
    corners = [corner(centres, (144, 256), np.random.default_rng(seed)) for seed in range(200)]
    tops, lefts = zip(*corners, strict=True)
    assert (min(tops) < 10, max(tops) > 134, max(tops) <= 144) == (True, True, True)
    assert (min(lefts) < 20, max(lefts) > 236, max(lefts) <= 256) == (True, True, True)


def test_every_window_of_labelled_frames_is_there_once(material: tuple[list[LabelledRally], FrameCache]) -> None:
    rallies, _ = material
    assert len(windows_of(material, WindowChanges())) == len(rallies) * (FRAMES - 3)
    assert len(windows_of(material, WindowChanges(), step=4)) == len(rallies) * 3
    names = [window.name for window in (windows_of(material, WindowChanges(), step=4)[i] for i in range(3))]
    assert [name.partition(" from ")[2] for name in names] == ["frame 0", "frame 4", "frame 8"]


def test_a_window_with_a_frame_that_has_no_label_is_left_out(
    material: tuple[list[LabelledRally], FrameCache],
) -> None:
    rallies, cache = material
    points = tuple(point for point in rallies[0].points if point.frame != 6)
    partly = LabelledRally(rallies[0].rally, points, (288, 512))
    windows = windows_of(([partly], cache), WindowChanges())
    assert len(windows) == (FRAMES - 3) - 4  # those that begin with frames 3 to 6


def test_a_mixed_window_keeps_the_larger_part(material: tuple[list[LabelledRally], FrameCache]) -> None:
    windows = windows_of(material, WindowChanges(mixup=0.5))
    shares = [windows[index].share for index in range(len(windows))]
    assert min(shares) >= 0.5
    assert len(set(shares)) == len(shares)
    plain = windows_of(material, WindowChanges())
    assert {plain[index].share for index in range(len(plain))} == {1.0}


def test_the_same_seed_epoch_and_window_are_the_same_bytes(material: tuple[list[LabelledRally], FrameCache]) -> None:
    changes = WindowChanges((64, 96), 0.5, 0.5, True)
    first, second, other = (windows_of(material, changes, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first[5].planes, second[5].planes)
    assert first[5].share == second[5].share != other[5].share
    second.set_epoch(1)
    assert first[5].share != second[5].share


def test_light_changes_alike_in_all_frames_and_black_stays_dark(
    material: tuple[list[LabelledRally], FrameCache],
) -> None:
    windows = windows_of(material, WindowChanges(colour_jitter=True))
    levels = {tuple(frame.flatten()[:1].tolist()) for frame in windows[2].planes[::3]}
    assert len(levels) == 1
    assert levels.pop()[0] <= 20


def test_a_data_set_goes_to_a_worker_without_its_pictures(
    material: tuple[list[LabelledRally], FrameCache],
) -> None:
    windows = windows_of(material, WindowChanges())
    expected = windows[3].planes
    packed = pickle.dumps({**windows.__getstate__(), "_epoch": None})
    assert len(packed) < 20_000  # a frame has 442,368 bytes
    assert torch.equal(windows[3].planes, expected)


def test_workers_read_the_same_batches(material: tuple[list[LabelledRally], FrameCache]) -> None:
    def batches(workers: int) -> list[torch.Tensor]:
        windows = windows_of(material, WindowChanges((64, 96), 0.5, 0.5))
        loader = loader_of(windows, Shuffled(len(windows), batch_size=4, seed=2), collated=collated, workers=workers)
        loader.set_epoch(1, skip=1)
        return [batch.planes for batch in loader]

    alone, helped = batches(0), batches(1)
    assert len(alone) == 22 // 4 - 1
    assert all(torch.equal(one, other) for one, other in zip(alone, helped, strict=True))


# The order


def test_an_epoch_is_every_number_once_but_for_what_fills_no_batch() -> None:
    shuffled = Shuffled(23, batch_size=4, seed=0)
    batches = list(shuffled)
    numbers = [number for batch in batches for number in batch]
    assert len(shuffled) == len(batches) == 5
    assert len(set(numbers)) == 20
    assert set(numbers) <= set(range(23))
    shuffled.set_epoch(1)
    assert [number for batch in shuffled for number in batch] != numbers


def test_ranks_share_an_epoch_without_meeting() -> None:
    ranks = [list(Shuffled(40, batch_size=4, seed=7, rank=rank, world=2)) for rank in (0, 1)]
    assert len(ranks[0]) == len(ranks[1]) == 5
    assert sorted(number for rank in ranks for batch in rank for number in batch) == list(range(40))


def test_skipped_batches_are_the_first_ones() -> None:
    whole, rest = Shuffled(40, batch_size=4, seed=7), Shuffled(40, batch_size=4, seed=7)
    rest.set_epoch(0, skip=3)
    assert list(rest) == list(whole)[3:]
    assert len(rest) == 7


def test_a_batch_larger_than_the_data_set_is_answered_with_the_largest() -> None:
    with pytest.raises(ConfigError, match="batch_size is 50; expected at most 20"):
        Shuffled(40, batch_size=50, seed=0, world=2)
