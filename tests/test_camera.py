from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from http_streams import streaming
from sightline.camera import Camera, Patience, without_password
from sightline.errors import SourceError
from sightline.types import Frame, Image
from sightline.video import VideoWriter

HASTE = Patience(open_s=5, stall_s=2, first_pause_s=0.05, longest_pause_s=0.1, retries=3)


def shade(value: int, size_hw: tuple[int, int] = (48, 64)) -> Image:
    return np.full((*size_hw, 3), value, np.uint8)


def take(camera: Camera, enough: Callable[[list[Frame]], bool]) -> list[Frame]:
    frames: list[Frame] = []
    for frame in camera:
        frames.append(frame)
        if enough(frames):
            break
    return frames


def test_frames_of_a_stream_arrive_in_order_with_growing_times() -> None:
    pictures = [shade(5 * index) for index in range(30)]
    with streaming([pictures]) as address, Camera(address, keep=1000, patience=HASTE) as camera:
        frames = take(camera, lambda got: len(got) == 20)
    shades = [float(frame.image.mean()) for frame in frames]
    assert shades == sorted(shades)
    assert [frame.index for frame in frames] == list(range(20))
    assert all(later.time_s > earlier.time_s for earlier, later in pairwise(frames))
    assert (camera.info.live, camera.info.frame_count, camera.dropped) == (True, None, 0)


def test_a_slow_reader_gets_the_newest_frames_and_the_dropped_ones_are_counted() -> None:
    pictures = [shade(4 * index) for index in range(60)]
    with streaming([pictures], pause_s=0.005) as address, Camera(address, keep=2, patience=HASTE) as camera:
        frames = []
        for frame in camera:
            frames.append(frame)
            time.sleep(0.1)
            if frame.index > 40:
                break
        indices = [frame.index for frame in frames]
        assert indices == sorted(set(indices))
        missed = frames[-1].index + 1 - len(frames)
        assert camera.dropped >= missed > 10


def test_a_stream_that_hangs_up_is_opened_again_and_may_come_back_in_another_size() -> None:
    visits = [[shade(50)] * 12, [], [shade(200, (96, 128))] * 200]
    with streaming(visits) as address, Camera(address, keep=1000, patience=HASTE) as camera:
        frames = take(camera, lambda got: got[-1].image.shape[0] == 96)
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[-1].image.shape == (96, 128, 3)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert camera.reconnects >= 1


def test_a_size_that_changes_within_a_connection_is_scaled_to_the_first() -> None:
    pictures = [*[shade(50)] * 30, *[shade(200, (96, 128))] * 200]
    with streaming([pictures], pause_s=0.005) as address, Camera(address, keep=1000, patience=HASTE) as camera:
        frames = take(camera, lambda got: got[-1].image.mean() > 150)
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert camera.reconnects == 0


def test_a_stream_that_freezes_is_opened_again_and_nothing_is_lost_of_what_it_sent() -> None:
    patience = Patience(open_s=5, stall_s=0.4, first_pause_s=0.05, retries=3)
    with (
        streaming([[shade(50)] * 12, [shade(200)] * 12], freezes=True) as address,
        Camera(address, keep=1000, patience=patience) as camera,
    ):
        frames = take(camera, lambda got: sum(frame.image.mean() > 150 for frame in got) == 12)
    assert [round(float(frame.image.mean())) for frame in frames] == [50] * 12 + [200] * 12
    assert [frame.index for frame in frames] == list(range(24))
    assert (camera.reconnects, camera.dropped) == (1, 0)


def test_a_camera_that_is_switched_off_and_on_again_is_found_again(caplog: pytest.LogCaptureFixture) -> None:
    patience = Patience(open_s=5, stall_s=2, first_pause_s=0.1, longest_pause_s=0.2)
    with streaming([[shade(50)] * 12]) as address:
        camera = Camera(address, keep=1000, patience=patience)
        frames = take(camera, lambda got: len(got) == 12)
    with caplog.at_level(logging.WARNING), camera:
        while len(caplog.records) < 3:  # it has gone, and was looked for in vain
            time.sleep(0.02)
        with streaming([[shade(200)] * 100], port=urlsplit(address).port or 0):
            frames += take(camera, lambda got: True)
    assert [frame.index for frame in frames] == list(range(13))
    assert round(float(frames[-1].image.mean())) == 200
    assert frames[-1].time_s - frames[-2].time_s > 0.3  # the two pauses at least: the time it was away is kept


def test_the_pauses_grow_up_to_the_longest(caplog: pytest.LogCaptureFixture) -> None:
    patience = Patience(open_s=5, stall_s=2, first_pause_s=0.1, longest_pause_s=0.3, retries=4)
    streamed = streaming([[shade(50)] * 12])
    with caplog.at_level(logging.WARNING), streamed as address, Camera(address, patience=patience) as camera:
        list(camera)
    pauses = [record.getMessage().partition("again in ")[2] for record in caplog.records]
    assert pauses == ["0.1 s", "0.2 s", "0.3 s", "0.3 s"]


def test_a_stream_that_came_back_has_all_its_retries_again(caplog: pytest.LogCaptureFixture) -> None:
    patience = Patience(open_s=5, stall_s=2, first_pause_s=0.1, retries=2)
    streamed = streaming([[shade(50)] * 12] * 4)
    with caplog.at_level(logging.WARNING), streamed as address, Camera(address, patience=patience) as camera:
        list(camera)
    pauses = [record.getMessage().partition("again in ")[2] for record in caplog.records]
    assert pauses == ["0.1 s", "0.1 s", "0.1 s", "0.1 s", "0.2 s"]
    assert camera.reconnects == 3


def test_twenty_cameras_opened_and_closed_leave_no_thread_and_no_file_open() -> None:
    def held() -> tuple[int, int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    with streaming([[shade(50)] * 1000] * 21) as address:
        for number in range(21):
            with Camera(address, patience=HASTE) as camera:
                take(camera, lambda got: len(got) == 2)
            if number == 0:
                settled = at_rest(held)
        assert all(now <= before for now, before in zip(at_rest(held), settled, strict=True))


def at_rest(held: Callable[[], tuple[int, int, int]]) -> tuple[int, int, int]:
    """The least that is held within a second: the server's side of a connection ends a little later than ours."""
    seen = []
    for _ in range(20):
        seen.append(held())
        time.sleep(0.05)
    threads, tasks, files = (min(counts) for counts in zip(*seen, strict=True))
    return threads, tasks, files


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_whatever_goes_wrong_in_its_thread_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(camera: Camera, image: Image) -> None:
        raise MemoryError

    monkeypatch.setattr(Camera, "_hand_over", fails)
    with streaming([[shade(50)] * 1000]) as address, Camera(address, patience=HASTE) as camera:
        assert list(camera) == []


def test_a_number_without_a_camera_is_refused() -> None:
    with pytest.raises(SourceError, match="63 does not answer"):
        Camera("63", patience=HASTE)


def test_a_stream_that_stays_away_ends_after_the_retries() -> None:
    with streaming([[shade(50)] * 12]) as address, Camera(address, keep=1000, patience=HASTE) as camera:
        frames = list(camera)
    assert 1 <= len(frames) <= 12
    assert camera.reconnects == 0


def test_closing_ends_the_iteration_of_another_thread() -> None:
    with streaming([[shade(50)] * 1000]) as address:
        camera = Camera(address, patience=HASTE)
        got: list[Frame] = []
        reader = threading.Thread(target=lambda: got.extend(camera))
        reader.start()
        time.sleep(0.2)
        camera.close()
        reader.join(timeout=5)
        assert not reader.is_alive()
        camera.close()
    assert got


def test_a_file_played_live_ends_with_its_last_frame(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.avi", fps=100) as writer:
        for index in range(20):
            writer.write(shade(10 * index))
    began = time.monotonic()
    with Camera(str(tmp_path / "clip.avi"), keep=1000) as camera:
        frames = list(camera)
    assert len(frames) == 20
    assert time.monotonic() - began >= 0.19  # the 19 hundredths between the first frame and the last


def test_a_camera_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(SourceError, match=r"http://me:…@127\.0\.0\.1:9/x does not answer within 5 s") as caught:
        Camera("http://me:secret@127.0.0.1:9/x", patience=HASTE)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://user:p%40ss@10.0.0.1:554/1", "rtsp://user:…@10.0.0.1:554/1"),
        ("rtsp://user:p@ss@10.0.0.1/1", "rtsp://user:…@10.0.0.1/1"),
        ("http://host/v?user=me&pwd=a@b&n=1", "http://host/v?user=me&pwd=…&n=1"),
        ("http://host/v?Password=x#top", "http://host/v?Password=…#top"),
        ("http://host/v?monkey=x", "http://host/v?monkey=x"),
        ("rtsp://10.0.0.1/stream@2", "rtsp://10.0.0.1/stream@2"),
        ("http://host:8080/a:b@c", "http://host:8080/a:b@c"),
    ],
)
def test_only_a_password_is_hidden(address: str, shown: str) -> None:
    assert without_password(address) == shown
