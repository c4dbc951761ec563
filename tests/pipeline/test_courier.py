"""From the file to a broker: at least once, in order, through restarts of either, and without holding anybody up."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import groupby
from pathlib import Path

import pytest
from event_examples import numbered

from event_brokers import Subscriber, free_port, mosquitto, redis_server, wait_until
from sightline.errors import SinkError
from sightline.pipeline.people import courier as courier_module
from sightline.pipeline.people.courier import Courier, close_all, cursor_path
from sightline.pipeline.people.event_log import EventLog
from sightline.pipeline.people.events import Event
from sightline.pipeline.people.sinks import EventSink, open_sink

redis = pytest.importorskip("redis", reason="redis is not installed; it comes with sightline[redis]")

HERE = Path(__file__).parent
HASTE = 0.02, 0.1


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """None outlives its test."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


class Door:
    """A sink of this process, which can be shut, and counts."""

    def __init__(self, address: str = "door://here") -> None:
        self.address = address
        self.taken: list[Event] = []
        self.knocks = 0
        self.shut = False
        self.closed = False
        self.opened = threading.Event()
        self.opened.set()

    def send(self, event: Event) -> None:
        self.knocks += 1
        self.opened.wait()
        if self.shut:
            raise SinkError(f"{self.address}: shut")
        self.taken.append(event)

    def close(self) -> None:
        self.closed = True


def events(*numbers: int) -> list[Event]:
    return [numbered(number) for number in numbers]


def append(log: EventLog, *numbers: int) -> None:
    for event in events(*numbers):
        log.append(event)


def carried(path: Path, door: EventSink, *numbers: int, flush_s: float = 10) -> int:
    """A run that appends some and ends."""
    with EventLog(path) as log:
        courier = Courier(log, door, pauses_s=HASTE)
        append(log, *numbers)
        return courier.close(flush_s=flush_s)


class TestOrder:
    def test_events_are_sent_as_they_are_appended(self, path: Path) -> None:
        door = Door()
        with EventLog(path) as log:
            courier = Courier(log, door)
            for number in (3, 1, 2):
                append(log, number)
                wait_until(lambda number=number: door.taken[-1:] == events(number))  # type: ignore[misc]
            wait_until(lambda: courier.unsent == 0)
            assert courier.close() == 0
        assert door.taken == events(3, 1, 2) and door.closed

    def test_what_was_there_before_is_sent_first(self, path: Path) -> None:
        with EventLog(path) as log:
            append(log, 1, 2)
        door = Door()
        assert carried(path, door, 3) == 0
        assert door.taken == events(1, 2, 3)

    def test_nothing_to_send_is_no_work(self, path: Path) -> None:
        door = Door()
        assert carried(path, door) == 0
        assert (door.taken, door.knocks) == ([], 0) and door.closed
        assert not cursor_path(path, door).exists()

    def test_a_sink_that_hangs_holds_up_nobody_who_appends(self, path: Path) -> None:
        door = Door()
        door.opened.clear()
        with EventLog(path) as log:
            courier = Courier(log, door)
            append(log, *range(50))  # would never return
            wait_until(lambda: door.knocks == 1)
            assert courier.unsent == 50
            door.opened.set()
            assert courier.close() == 0
        assert door.taken == events(*range(50))


class TestCursor:
    def test_the_next_run_goes_on_from_it(self, path: Path) -> None:
        door, other = Door(), Door()
        assert carried(path, door, 1, 2) == 0
        assert cursor_path(path, door).read_text() == f"{numbered(2).id}\n"
        assert carried(path, other, 3) == 0
        assert other.taken == events(3)

    def test_each_sink_has_its_own(self, path: Path) -> None:
        one, two = Door("mqtt://host:1883/a"), Door("mqtt://host:1883/b")
        carried(path, one, 1)
        carried(path, two, 2)
        assert (one.taken, two.taken) == (events(1), events(1, 2))
        assert cursor_path(path, one) != cursor_path(path, two)
        assert cursor_path(path, one).name.startswith("events.mqtt-host-1883-a-")

    @pytest.mark.parametrize(
        "address", ["mqtt://h:1/" + "ü/" * 500, "mqtt://h:1/../../x", "redis://[::1]:1/0?stream=a b"]
    )
    def test_its_name_is_good_for_any_file_system(self, path: Path, address: str) -> None:
        place = cursor_path(path, Door(address))
        assert place.parent == path.parent and len(place.name) < 100
        assert set(place.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xfe", f"{numbered(99).id}\n".encode()])
    def test_one_that_is_not_of_this_file_has_everything_sent_again(
        self, path: Path, caplog: pytest.LogCaptureFixture, content: bytes
    ) -> None:
        carried(path, Door(), 1, 2)
        cursor_path(path, Door()).write_bytes(content)
        door = Door()
        assert carried(path, door) == 0
        assert door.taken == events(1, 2)
        assert "all its events are sent again" in caplog.text

    def test_one_that_cannot_be_written_is_said_and_costs_no_event(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        door = Door()
        cursor_path(path, door).mkdir()  # so it cannot be read either
        with EventLog(path) as log:
            courier = Courier(log, door, pauses_s=HASTE)
            append(log, 1)
            wait_until(lambda: "Is a directory" in caplog.text)
            cursor_path(path, door).rmdir()
            wait_until(lambda: door.taken == events(1))
            cursor_path(path, door).unlink(missing_ok=True)
            cursor_path(path, door).mkdir()
            append(log, 2)
            assert courier.close() == 0
        assert door.taken == events(1, 2)
        assert "a folder has that name; until it can be, a run that is continued sends events again" in caplog.text

    def test_a_long_way_back_is_not_written_down_at_every_step(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with EventLog(path) as log:
            append(log, *range(200))
        saved = []
        replacing = courier_module.replacing
        monkeypatch.setattr(courier_module, "replacing", lambda target: (saved.append(target), replacing(target))[1])
        monkeypatch.setattr(courier_module, "SAVE_S", 3600.0)
        door = Door()
        assert carried(path, door) == 0
        assert len(door.taken) == 200 and len(saved) == 1

    def test_it_is_of_the_last_event_that_went_out_before_the_end(self, path: Path) -> None:
        """Of three to be sent, the second is refused."""
        with EventLog(path) as log:
            append(log, 1, 2, 3)

        class Narrow(Door):
            def send(self, event: Event) -> None:
                self.shut = len(self.taken) == 1
                super().send(event)

        assert carried(path, Narrow(), flush_s=0.1) == 2
        door = Door()
        assert carried(path, door) == 0
        assert door.taken == events(2, 3)


class TestTrouble:
    def test_it_tries_until_the_door_opens_and_says_so_once(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        door = Door()
        door.shut = True
        with EventLog(path) as log:
            courier = Courier(log, door, pauses_s=HASTE)
            append(log, 1, 2)
            wait_until(lambda: door.knocks >= 4)
            assert courier.unsent == 2
            door.shut = False
            wait_until(lambda: courier.unsent == 0)
            assert courier.close() == 0
        assert door.taken == events(1, 2)
        told = [record.getMessage() for record in caplog.records]
        assert told == [
            f"door://here: shut; events are kept in {path} and sent later",
            "door://here takes events again",
        ]

    def test_pauses_grow_to_their_bound_and_begin_again_after_a_success(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pauses: list[float] = []
        rest = Courier._rest

        def noted(courier: Courier) -> None:
            pauses.append(courier._pause_s)
            rest(courier)

        monkeypatch.setattr(Courier, "_rest", noted)
        door = Door()
        door.shut = True
        with EventLog(path) as log, ExitStack() as stack:
            courier = Courier(log, door, pauses_s=(0.001, 0.006))
            stack.callback(courier.close)
            append(log, 1)
            wait_until(lambda: len(pauses) >= 6)
            door.shut = False
            wait_until(lambda: bool(door.taken))
            assert pauses[:5] == [0.001, 0.002, 0.004, 0.006, 0.006]
            door.shut = True
            before = len(pauses)
            append(log, 2)
            wait_until(lambda: len(pauses) > before)
            assert pauses[before] == 0.001
            door.shut = False

    def test_new_events_do_not_cut_a_pause_short(self, path: Path) -> None:
        door = Door()
        door.shut = True
        with EventLog(path) as log:
            courier = Courier(log, door, pauses_s=(3600.0, 3600.0))
            append(log, 1)
            wait_until(lambda: door.knocks == 1)
            append(log, *range(2, 30))
            time.sleep(0.05)
            assert door.knocks == 1
            door.shut = False
            assert courier.close() == 0  # which does
        assert door.taken == events(*range(1, 30))

    def test_what_is_unsent_at_the_end_is_counted_and_goes_out_in_the_next_run(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        door = Door()
        door.shut = True
        assert carried(path, door, 1, 2, 3, flush_s=0.1) == 3
        assert f"unsent events: 3 (door://here: shut); they are in {path}" in caplog.text
        assert door.closed
        door = Door()
        assert carried(path, door) == 0
        assert door.taken == events(1, 2, 3)

    def test_the_time_to_flush_is_not_spent_when_nothing_is_left(self, path: Path) -> None:
        assert carried(path, Door(), 1, flush_s=10**6) == 0  # would not return

    def test_several_are_closed_in_the_time_of_one(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        doors = [Door(f"door://{number}") for number in range(3)]
        for door in doors[:2]:
            door.shut = True
        given: list[float] = []
        close = Courier.close
        monkeypatch.setattr(
            Courier, "close", lambda self, *, flush_s: (given.append(flush_s), close(self, flush_s=flush_s))[1]
        )
        with EventLog(path) as log:
            couriers = [Courier(log, door, pauses_s=HASTE) for door in doors]
            append(log, 1, 2)
            assert close_all(couriers, flush_s=0.2) == 4
        assert doors[2].taken == events(1, 2)
        assert given[0] <= 0.2 and given[1:] == [0, 0]

    def test_those_that_rest_are_woken_when_all_are_closed(self, path: Path) -> None:
        doors = [Door(f"door://{number}") for number in range(2)]
        with EventLog(path) as log:
            couriers = [Courier(log, door, pauses_s=(3600.0, 3600.0)) for door in doors]
            for door in doors:
                door.shut = True
            append(log, 1)
            wait_until(lambda: all(door.knocks for door in doors))
            doors[1].shut = False
            assert close_all(couriers, flush_s=0.5) == 1  # which the first takes all of
        assert doors[1].taken == events(1)

    def test_when_the_time_is_over_no_more_are_begun(self, path: Path) -> None:
        class Late(Door):
            def send(self, event: Event) -> None:
                super().send(event)
                if len(self.taken) == 3:
                    couriers[0].stop(until_s=time.monotonic())

        door, couriers = Late(), []
        with EventLog(path) as log:
            append(log, *range(10))
            door.opened.clear()
            couriers.append(Courier(log, door))
            door.opened.set()
            wait_until(lambda: door.closed)
            assert couriers[0].close() == 7
        assert door.taken == events(0, 1, 2)

    def test_a_line_that_went_bad_is_said_and_what_is_before_it_is_sent(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        door = Door()
        door.opened.clear()
        with EventLog(path) as log:
            append(log, 1, 2)
            raw = path.read_bytes()
            path.write_bytes(raw[: len(raw) // 2] + b"?" + raw[len(raw) // 2 + 1 :].replace(b"{", b"["))
            door.opened.set()
            assert Courier(log, door, pauses_s=HASTE).close(flush_s=0.1) == 1
        assert door.taken == events(1)
        assert f"{path}:2: no event" in caplog.text


def in_order_and_all(found: list[str], numbers: range) -> None:
    """Each at least once; what is there twice is there again from an earlier one on."""
    ids = [Event.parse(text).id for text in found]
    assert [name for name, _ in groupby(dict.fromkeys(ids))] == [numbered(number).id for number in numbers]


class TestRealBrokers:
    def test_a_redis_killed_again_and_again_has_every_event_in_the_end(self, tmp_path: Path, path: Path) -> None:
        with redis_server(tmp_path / "broker") as broker, EventLog(path) as log:
            courier = Courier(log, open_sink(f"redis://127.0.0.1:{broker.port}"), pauses_s=HASTE)
            for round_ in range(4):
                append(log, *range(60 * round_, 60 * round_ + 60))
                wait_until(lambda round_=round_: courier.unsent < 60 - 10 * round_)  # type: ignore[misc]
                broker.kill()
                broker.start()
            assert courier.close() == 0
            with closing(redis.Redis("127.0.0.1", broker.port)) as client:
                found = [fields[b"event"].decode() for _, fields in client.xrange("sightline")]
        in_order_and_all(found, range(240))

    def test_an_mqtt_broker_stopped_again_and_again_delivers_every_event(self, tmp_path: Path, path: Path) -> None:
        """Stopped, not killed: Mosquitto writes what it has acknowledged to its disk only then."""
        with mosquitto(tmp_path / "broker") as broker, closing(Subscriber(broker.port)) as subscriber:
            with EventLog(path) as log:
                courier = Courier(log, open_sink(f"mqtt://127.0.0.1:{broker.port}"), pauses_s=HASTE)
                for round_ in range(3):
                    append(log, *range(60 * round_, 60 * round_ + 60))
                    wait_until(lambda round_=round_: courier.unsent < 60 - 10 * round_)  # type: ignore[misc]
                    broker.stop()
                    broker.start()
                assert courier.close() == 0
            wait_until(lambda: len({Event.parse(text).id for text in subscriber.texts}) == 180)
            in_order_and_all(subscriber.texts, range(180))

    def test_a_broker_that_comes_up_late_gets_everything_from_the_beginning(self, tmp_path: Path, path: Path) -> None:
        with redis_server(tmp_path / "broker") as broker:
            broker.stop()
            url = f"redis://127.0.0.1:{broker.port}"
            assert carried(path, open_sink(url), 0, 1, flush_s=0.1) == 2
            broker.start()
            assert carried(path, open_sink(url), 2) == 0
            with closing(redis.Redis("127.0.0.1", broker.port)) as client:
                found = [fields[b"event"].decode() for _, fields in client.xrange("sightline")]
        in_order_and_all(found, range(3))

    def test_a_run_killed_again_and_again_has_sent_every_event_in_the_end(self, tmp_path: Path, path: Path) -> None:
        with redis_server(tmp_path / "broker") as broker:
            url = f"redis://127.0.0.1:{broker.port}"
            for _ in range(3):
                assert killed_while_sending(path, url) == -signal.SIGKILL
            assert carried(path, open_sink(url)) == 0
            with EventLog(path) as log:
                count = len(log)
            with closing(redis.Redis("127.0.0.1", broker.port)) as client:
                found = [fields[b"event"].decode() for _, fields in client.xrange("sightline")]
        in_order_and_all(found, range(count))

    def test_no_broker_at_all_takes_no_longer_than_the_time_to_flush(self, path: Path) -> None:
        sinks: list[Callable[[], EventSink]] = [
            lambda: open_sink(f"mqtt://127.0.0.1:{free_port()}"),
            lambda: open_sink(f"redis://127.0.0.1:{free_port()}"),
        ]
        for number, opened in enumerate(sinks, 1):
            assert carried(path, opened(), number, flush_s=0.1) == number


SENDER = """
import sys
from itertools import count
from pathlib import Path
from event_examples import numbered
from sightline.pipeline.people.courier import Courier
from sightline.pipeline.people.event_log import EventLog
from sightline.pipeline.people.sinks import open_sink

with EventLog(Path(sys.argv[1])) as log:
    courier = Courier(log, open_sink(sys.argv[2]))
    for number in count(len(log)):
        log.append(numbered(number))
        if number % 20 == 0 and courier.unsent < number:
            print(number, flush=True)
"""


def killed_while_sending(path: Path, url: str) -> int:
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", SENDER, str(path), url]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        for _ in range(3):
            run.stdout.readline()
        run.kill()
    return run.returncode
