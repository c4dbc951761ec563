"""Real brokers on free ports of this machine: started, killed, started again with what they had, and stopped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

DEADLINE_S = 20.0  # for what has to happen; nothing waits that long where all is well
PASSWORD = "s3cret @/#?%"
IN_A_URL = "s3cret%20%40%2F%23%3F%25"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < until_s, "it did not happen"
        time.sleep(0.01)


class Broker:
    """A server process, which `start` begins again where it was stopped."""

    def __init__(self, command: list[str], port: int) -> None:
        self.port = port
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, stdout=quiet, stderr=quiet)
        wait_until(self._answers)

    def stop(self) -> None:
        """It saves what it has."""
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        self._end(subprocess.Popen.kill)

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        if self._process is not None:
            how(self._process)
            self._process.wait(DEADLINE_S)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, f"{self._command[0]} has ended"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


@contextmanager
def mosquitto(folder: Path, *settings: str) -> Iterator[Broker]:
    """A broker that remembers, across a stop, what it has acknowledged."""
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed; on Debian it is the package mosquitto")
    folder.mkdir(exist_ok=True)
    port = free_port()
    lines = [
        f"listener {port} 127.0.0.1",
        "persistence true",
        f"persistence_location {folder}/",
        "user root",
        *settings,
    ]
    if not any(setting.startswith("allow_anonymous") for setting in settings):
        lines.append("allow_anonymous true")
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    yield from _running(Broker([program, "-c", str(folder / "mosquitto.conf")], port))


@contextmanager
def mosquitto_with_password(folder: Path, *settings: str) -> Iterator[Broker]:
    """User `anna` only."""
    folder.mkdir(exist_ok=True)
    maker = shutil.which("mosquitto_passwd")
    if maker is None:
        pytest.skip("mosquitto_passwd is not installed; on Debian it is in the package mosquitto")
    subprocess.run([maker, "-c", "-b", str(folder / "people"), "anna", PASSWORD], check=True, capture_output=True)
    with mosquitto(folder, "allow_anonymous false", f"password_file {folder}/people", *settings) as broker:
        yield broker


@contextmanager
def redis_server(folder: Path, *settings: str, tls: bool = False) -> Iterator[Broker]:
    """A server that has on its disk what it has acknowledged, so that it survives a kill."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed; on Debian it is the package redis-server")
    folder.mkdir(exist_ok=True)
    port = free_port()
    ports = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"] if tls else ["--port", str(port)]
    kept = ["--dir", str(folder), "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    yield from _running(Broker([program, *ports, "--bind", "127.0.0.1", *kept, *settings], port))


def _running(broker: Broker) -> Iterator[Broker]:
    with ExitStack() as stack:
        stack.callback(broker.kill)
        broker.start()
        yield broker


class Subscriber:
    """Whoever listens to a broker, with a session: what arrives while it is away is kept for it."""

    def __init__(self, port: int, *, user: str | None = None, name: str = "subscriber") -> None:
        mqtt = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
        self.messages: list[tuple[str, str, int, bool]] = []
        self._subscribed = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, clean_session=False)
        self._client.reconnect_delay_set(0.05, 0.05)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _, __, message: self.messages.append(
            (message.topic, message.payload.decode(), message.qos, message.retain)
        )
        if user is not None:
            self._client.username_pw_set(user, PASSWORD)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(DEADLINE_S)

    @property
    def texts(self) -> list[str]:
        return [text for _, text, _, _ in self.messages]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
