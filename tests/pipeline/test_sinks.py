"""Events with brokers: real ones, told whole, once acknowledged, and never with a password in any message."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from event_examples import example, merge, numbered

from event_brokers import (
    IN_A_URL,
    PASSWORD,
    Broker,
    Subscriber,
    free_port,
    mosquitto,
    mosquitto_with_password,
    redis_server,
    wait_until,
)
from sightline.errors import BackendError, ConfigError, SightlineError, SinkError
from sightline.pipeline.people import mqtt as mqtt_module
from sightline.pipeline.people.events import Event
from sightline.pipeline.people.mqtt import topic_of
from sightline.pipeline.people.sinks import broker_of, open_sink

redis = pytest.importorskip("redis", reason="redis is not installed; it comes with sightline[redis]")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """None outlives its test."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def refusal(error: type[SightlineError], attempt: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        attempt()
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "server", "path", "user", "password"),
        [
            ("mqtt://host", "mqtt://host:1883", "", None, None),
            ("MQTTS://Host/a/b/", "mqtts://host:8883", "a/b", None, None),
            ("mqtt://anna@host:1/a", "mqtt://host:1", "a", "anna", None),
            (f"mqtt://an%40na:{IN_A_URL}@10.0.0.1/a%20b", "mqtt://10.0.0.1:1883", "a b", "an@na", PASSWORD),
            ("redis://:pw@[::1]:7/2?stream=x", "redis://[::1]:7", "2", "", "pw"),
            ("rediss://host", "rediss://host:6379", "", None, None),
        ],
    )
    def test_it_is_taken_apart(
        self, *, url: str, server: str, path: str, user: str | None, password: str | None
    ) -> None:
        broker = broker_of(url)
        assert (broker.server, broker.path, broker.user, broker.password) == (server, path, user, password)

    @pytest.mark.parametrize(
        ("url", "address"),
        [
            ("mqtt://a:b@host", "mqtt://host:1883/sightline"),
            ("mqtt://host/x/y?version=3.1.1", "mqtt://host:1883/x/y"),
            ("redis://a:b@host", "redis://host:6379/0?stream=sightline"),
            ("redis://host/3?maxlen=5&stream=people", "redis://host:6379/3?stream=people"),
        ],
    )
    def test_the_one_that_is_shown_is_the_same_however_it_was_spelled(self, url: str, address: str) -> None:
        with closing(open_sink(url)) as sink:
            assert sink.address == address

    @pytest.mark.parametrize(
        ("url", "fault"),
        [
            ("", "has to be mqtt://"),
            ("host:1883/hunter2", "has to be mqtt://"),
            ("kafka://anna:hunter2@host", "has to be mqtt://"),
            ("mqtt://", "names no host"),
            ("mqtt://anna:hunter2@", "names no host"),
            ("mqtt://anna:hunter2", "no host and port"),
            ("mqtt://host:99999", "no host and port"),
            ("mqtt://anna:hunter2@a..b", "no host and port"),
            ("mqtt://anna:hunter2[@host", "no host and port"),
            ("mqtt://anna:12/hunter2@host/topic", "written %40"),
            ("mqtt://anna:12#hunter2@host/topic", "written %40"),
            ("mqtt://anna:12?x=hunter2@host/topic", "written %40"),
            ("mqtt://anna:hunter2@hunter2@host", "written %40"),
            ("mqtt://host/a/%23", "has none of '+', '#' and NUL"),
            ("mqtt://host/a/+", "has none of '+', '#' and NUL"),
            ("mqtt://host/a%00", "has none of '+', '#' and NUL"),
            ("mqtt://host/$SYS", "does not begin with '$'"),
            ("mqtt://host/a?version=4", "none of 5, 3.1.1"),
            ("mqtt://host/a?password=hunter2", "an option 'password'; known are version"),
            ("mqtt://host/a?hunter2", "something other than name=value"),
            ("redis://host/hunter2", "its database is no number"),
            ("redis://host/0/1", "its database is no number"),
            ("redis://host?maxlen=-1", "its maxlen is no number"),
            ("redis://host?password=hunter2", "an option 'password'; known are stream, maxlen"),
        ],
    )
    def test_what_is_no_address_is_refused_in_one_line_that_shows_nothing_secret(self, url: str, fault: str) -> None:
        told = refusal(ConfigError, lambda: open_sink(url))
        assert fault in told
        assert "hunter2" not in told
        assert "expected mqtt://" in told or "expected redis://" in told or "has to be" in told

    def test_neither_the_address_nor_its_representation_has_the_password(self) -> None:
        assert PASSWORD not in repr(broker_of(f"mqtt://anna:{IN_A_URL}@host"))
        with closing(open_sink(f"redis://anna:{IN_A_URL}@host")) as sink:
            assert PASSWORD not in sink.address and "anna" not in sink.address

    @pytest.mark.parametrize(
        ("kind", "library", "module"),
        [("mqtt", "paho.mqtt.client", "mqtt"), ("redis", "redis", "redis_streams")],
    )
    def test_a_library_that_is_absent_is_named_with_what_installs_it(
        self, monkeypatch: pytest.MonkeyPatch, kind: str, library: str, module: str
    ) -> None:
        monkeypatch.setitem(sys.modules, library, None)
        monkeypatch.delitem(sys.modules, f"sightline.pipeline.people.{module}", raising=False)
        told = refusal(BackendError, lambda: open_sink(f"{kind}://anna:hunter2@host?password=hunter2"))
        assert told.endswith(f"is not installed; pip install 'sightline[{kind}]'")
        assert "hunter2" not in told


class TestTopics:
    @pytest.mark.parametrize(
        ("camera", "level"),
        [("gate", "gate"), ("front door", "front%20door"), ("a/b", "a%2Fb"), ("+", "%2B"), ("#", "%23"), ("", "")],
    )
    def test_a_camera_is_one_level_whatever_it_is_called(self, camera: str, level: str) -> None:
        assert topic_of(numbered(1, camera=camera), prefix="a/b") == f"a/b/{level}/visit"

    def test_a_merge_is_of_no_camera(self) -> None:
        assert topic_of(merge(), prefix="a") == "a/merge"

    def test_a_name_that_is_no_text_is_a_topic_all_the_same(self) -> None:
        assert topic_of(Event("", "visit", "\udcff\0", ""), prefix="a").isascii()


def sent_over_mqtt(url: str, port: int, *events: Event, user: str | None = None) -> list[tuple[str, str, int, bool]]:
    with closing(Subscriber(port, user=user)) as subscriber, closing(open_sink(url)) as sink:
        for event in events:
            sink.send(event)
        wait_until(lambda: len(subscriber.messages) >= len(events))
        return subscriber.messages


class TestMqtt:
    @pytest.mark.parametrize("version", ["", "?version=5", "?version=3.1.1"])
    def test_events_arrive_whole_in_order_with_qos_1_and_not_retained(self, tmp_path: Path, version: str) -> None:
        events = [example(with_vector=True), example(camera="Küche/1"), merge()]
        with mosquitto(tmp_path / "broker") as broker:
            url = f"mqtt://127.0.0.1:{broker.port}/house/people{version}"
            messages = sent_over_mqtt(url, broker.port, *events)
            topics = ["house/people/front%20door/visit", "house/people/K%C3%BCche%2F1/visit", "house/people/merge"]
            assert messages == [(topic, event.text, 1, False) for topic, event in zip(topics, events, strict=True)]
            with closing(Subscriber(broker.port, name="late")) as late, closing(open_sink(url)) as sink:
                sink.send(numbered(7))  # what is retained would come before it
                wait_until(lambda: numbered(7).text in late.texts)
                assert late.texts == [numbered(7).text]

    def test_a_password_opens_the_door_and_is_nowhere_else(self, tmp_path: Path) -> None:
        with mosquitto_with_password(tmp_path / "broker") as broker:
            place = f"127.0.0.1:{broker.port}/people"
            messages = sent_over_mqtt(f"mqtt://anna:{IN_A_URL}@{place}", broker.port, example(), user="anna")
            assert [text for _, text, _, _ in messages] == [example().text]
            for who in ("anna:wrong%40word@", "anna@", "bert:hunter2@", ""):
                with closing(open_sink(f"mqtt://{who}{place}")) as sink:
                    told = refusal(SinkError, lambda sink=sink: sink.send(example()))  # type: ignore[misc]
                    assert told == f"mqtt://{place}: the broker refuses the connection: Not authorized"

    def test_a_broker_that_refuses_an_event_is_not_taken_for_one_that_has_it(self, tmp_path: Path) -> None:
        (tmp_path / "rights").write_text("user anna\ntopic write allowed/#\n")
        (tmp_path / "rights").chmod(0o600)
        with mosquitto_with_password(tmp_path / "broker", f"acl_file {tmp_path}/rights") as broker:
            with closing(open_sink(f"mqtt://anna:{IN_A_URL}@127.0.0.1:{broker.port}/allowed")) as sink:
                sink.send(example())
            with closing(open_sink(f"mqtt://anna:{IN_A_URL}@127.0.0.1:{broker.port}/forbidden")) as sink:
                told = refusal(SinkError, lambda: sink.send(example()))
            assert told.endswith("refuses an event under forbidden/front%20door/visit: Not authorized")

    def test_a_broker_that_hangs_up_says_why(self, tmp_path: Path) -> None:
        with (
            mosquitto(tmp_path / "broker", "max_packet_size 300") as broker,
            closing(open_sink(f"mqtt://127.0.0.1:{broker.port}")) as sink,
        ):
            assert "Packet too large" in refusal(SinkError, lambda: sink.send(example()))

    def test_after_a_restart_it_connects_again(self, tmp_path: Path) -> None:
        with (
            mosquitto(tmp_path / "broker") as broker,
            closing(open_sink(f"mqtt://127.0.0.1:{broker.port}")) as sink,
        ):
            sink.send(numbered(1))
            broker.kill()
            refusal(SinkError, lambda: sink.send(numbered(2)))
            told = refusal(SinkError, lambda: sink.send(numbered(2)))
            assert told.endswith("no connection (Connection refused)")
            broker.start()
            sink.send(numbered(2))

    def test_an_idle_connection_is_made_anew_before_the_broker_drops_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (
            mosquitto(tmp_path / "broker") as broker,
            closing(open_sink(f"mqtt://127.0.0.1:{broker.port}")) as sink,
        ):
            sink.send(numbered(1))
            monkeypatch.setattr(mqtt_module, "KEEP_S", -1.0)
            broker.kill()
            broker.start()
            sink.send(numbered(2))  # over the old connection this would have been refused

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not show what is open")
    def test_failing_over_and_over_keeps_no_files_open(self, tmp_path: Path) -> None:
        with mosquitto_with_password(tmp_path / "broker") as broker:
            for port in (free_port(), broker.port):
                with closing(open_sink(f"mqtt://127.0.0.1:{port}")) as sink:
                    refusal(SinkError, lambda sink=sink: sink.send(example()))  # type: ignore[misc]  # of each round
                    before = len(list(Path("/proc/self/fd").iterdir()))
                    for _ in range(20):
                        refusal(SinkError, lambda sink=sink: sink.send(example()))  # type: ignore[misc]
                    assert len(list(Path("/proc/self/fd").iterdir())) <= before


class TestRedis:
    def entries(self, broker: Broker, stream: str, **given: Any) -> list[dict[bytes, bytes]]:
        with closing(redis.Redis("127.0.0.1", broker.port, **given)) as client:
            return [fields for _, fields in client.xrange(stream)]

    def test_events_are_entries_with_the_one_field_event(self, tmp_path: Path) -> None:
        events = [example(with_vector=True), example(camera="Küche/1"), merge()]
        with redis_server(tmp_path / "broker") as broker:
            for place, db, stream in (("", 0, "sightline"), ("/3?stream=who:was:here", 3, "who:was:here")):
                with closing(open_sink(f"redis://127.0.0.1:{broker.port}{place}")) as sink:
                    for event in events:
                        sink.send(event)
                found = self.entries(broker, stream, db=db)
                assert found == [{b"event": event.text.encode()} for event in events]

    def test_the_stream_is_cut_to_about_its_bound(self, tmp_path: Path) -> None:
        """Redis cuts whole nodes, here of ten entries."""
        with redis_server(tmp_path / "broker", "--stream-node-max-entries", "10") as broker:
            for maxlen, kept in ((20, range(20, 31)), (0, range(100, 101))):
                url = f"redis://127.0.0.1:{broker.port}?stream=s{maxlen}&maxlen={maxlen}"
                with closing(open_sink(url)) as sink:
                    for number in range(100):
                        sink.send(numbered(number))
                assert len(self.entries(broker, f"s{maxlen}")) in kept

    def test_a_password_opens_the_door_and_is_nowhere_else(self, tmp_path: Path) -> None:
        with redis_server(tmp_path / "broker", "--requirepass", PASSWORD) as broker:
            place = f"127.0.0.1:{broker.port}"
            for who in (f":{IN_A_URL}@", f"default:{IN_A_URL}@"):
                with closing(open_sink(f"redis://{who}{place}")) as sink:
                    sink.send(example())
            assert len(self.entries(broker, "sightline", password=PASSWORD)) == 2
            for who in ("", ":hunter2@", "anna:hunter2@"):
                with closing(open_sink(f"redis://{who}{place}")) as sink:
                    told = refusal(SinkError, lambda sink=sink: sink.send(example()))  # type: ignore[misc]
                    assert told.startswith(f"redis://{place}/0?stream=sightline: ")
                    assert "hunter2" not in told

    def test_a_key_that_is_no_stream_is_one_line(self, tmp_path: Path) -> None:
        with redis_server(tmp_path / "broker") as broker:
            with closing(redis.Redis("127.0.0.1", broker.port)) as client:
                client.set("sightline", "7")
            with closing(open_sink(f"redis://127.0.0.1:{broker.port}")) as sink:
                assert "wrong kind of value" in refusal(SinkError, lambda: sink.send(example()))

    def test_after_a_restart_it_connects_again(self, tmp_path: Path) -> None:
        with (
            redis_server(tmp_path / "broker") as broker,
            closing(open_sink(f"redis://127.0.0.1:{broker.port}")) as sink,
        ):
            sink.send(numbered(1))
            broker.kill()
            for _ in range(2):
                refusal(SinkError, lambda: sink.send(numbered(2)))
            broker.start()
            sink.send(numbered(2))
            texts = [fields[b"event"].decode() for fields in self.entries(broker, "sightline")]
            assert texts == [numbered(1).text, numbered(2).text]


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and does not answer. It hangs up long after anybody should have."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        end = threading.Timer(10.0, server.close)
        end.start()
        yield server.getsockname()[1]
        end.cancel()
        end.join()


class TestAnyBroker:
    @pytest.mark.parametrize("kind", ["mqtt", "mqtts", "redis", "rediss"])
    def test_one_that_never_answers_is_given_up(self, kind: str, silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mqtt_module, "KEEP_S", 0.1)
        with closing(open_sink(f"{kind}://127.0.0.1:{silent}", patience_s=0.1)) as sink:
            told = refusal(SinkError, lambda: sink.send(example()))
        assert told.startswith(f"{kind}://127.0.0.1:{silent}/")
        assert any(words in told for words in ("has not answered for 0.1 s", "timed out", "Timeout")), told

    @pytest.mark.parametrize("kind", ["mqtt", "mqtts", "redis", "rediss"])
    def test_one_whose_name_nobody_knows_is_one_line(self, kind: str) -> None:
        with closing(open_sink(f"{kind}://nobody.invalid")) as sink:
            assert "nobody.invalid" in refusal(SinkError, lambda: sink.send(example()))


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """For localhost, by nobody but itself; and its key."""
    maker = shutil.which("openssl")
    if maker is None:
        pytest.skip("openssl is not installed, so there is no certificate to test with")
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    what = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"]
    where = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(made)]
    subprocess.run([maker, "req", "-x509", *what, *where], check=True, capture_output=True)
    return made, key


class TestTls:
    def require_trust(self, url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Refused as long as nobody vouches for it, or it is of another host; and taken where somebody does."""
        with closing(open_sink(url)) as sink:
            assert "certificate" in refusal(SinkError, lambda: sink.send(example()))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with closing(open_sink(url)) as sink:
            sink.send(example())
        with closing(open_sink(url.replace("localhost", "127.0.0.1"))) as sink:
            assert "certificate" in refusal(SinkError, lambda: sink.send(example()))

    def test_mqtt(self, tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        made, key = certificate
        with mosquitto(tmp_path / "broker", f"certfile {made}", f"keyfile {key}") as broker:
            self.require_trust(f"mqtts://localhost:{broker.port}", made, monkeypatch)

    def test_redis(self, tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        made, key = certificate
        files = ("--tls-cert-file", str(made), "--tls-key-file", str(key), "--tls-ca-cert-file", str(made))
        with redis_server(tmp_path / "broker", *files, tls=True) as broker:
            self.require_trust(f"rediss://localhost:{broker.port}", made, monkeypatch)
            with closing(
                redis.Redis("localhost", broker.port, ssl=True, ssl_cert_reqs=ssl.CERT_NONE, ssl_check_hostname=False)
            ) as client:
                assert client.xlen("sightline") == 1


def test_nothing_that_is_logged_has_the_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with mosquitto_with_password(tmp_path / "mqtt") as one, redis_server(tmp_path / "r", "--requirepass", "x") as other:
        for url in (f"mqtt://anna:hunter2@127.0.0.1:{one.port}", f"redis://anna:hunter2@127.0.0.1:{other.port}"):
            with closing(open_sink(url)) as sink:
                refusal(SinkError, lambda sink=sink: sink.send(example()))  # type: ignore[misc]  # of each round
    assert "hunter2" not in caplog.text
