"""The `trackers` library behind our protocol: the contract of every tracker, for each of its own."""

from __future__ import annotations

import pytest
from tracker_contract import TrackerContract, detections, feed, walker

from sightline.errors import BackendError, ConfigError
from sightline.runtime import backend
from sightline.tracking.tracker import Tracker
from sightline.tracking.trackers_library import LIBRARY_TRACKERS, LibraryTracker


def of_library(name: str) -> Tracker:
    pytest.importorskip("trackers", reason="needs the trackers library: pip install 'sightline[trackers]'")
    return LibraryTracker(name, frame_rate=25)


class TestByteTrack(TrackerContract):
    def make(self) -> Tracker:  # type: ignore[override]
        return of_library("bytetrack")


class TestOcSort(TrackerContract):
    def make(self) -> Tracker:  # type: ignore[override]
        return of_library("ocsort")


class TestBotSort(TrackerContract):
    def make(self) -> Tracker:  # type: ignore[override]
        return of_library("botsort")


@pytest.mark.parametrize("name", LIBRARY_TRACKERS)
def test_ids_go_on_after_one_ended_and_another_came(name: str) -> None:
    tracker = of_library(name)
    feed(tracker, [detections([box]) for box in walker(10)])
    feed(tracker, [detections([])] * 100, start=10)
    assert tracker.ended() == [1]
    answers = feed(tracker, [detections([box]) for box in walker(10)], start=110)
    assert {int(i) for answer in answers for i in answer.ids} == {2}


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"^no tracker 'deepsort'; expected one of bytetrack, ocsort, botsort, sort$"):
        LibraryTracker("deepsort")


def test_without_the_library_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"^botsort needs another library: .*pip install 'sightline\[trackers\]'$"):
        LibraryTracker("botsort")
