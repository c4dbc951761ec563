"""Events over MQTT: QoS 1, not retained, under `prefix/<camera>/visit` and `prefix/merge`."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from urllib.parse import quote

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, error_string
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sightline.errors import SinkError
from sightline.pipeline.people.events import Event
from sightline.pipeline.people.sinks import Broker

PREFIX = "sightline"  # where the address has no topic
KEEP_S = 5.0  # a connection idle for longer is made anew, which needs no thread to keep it alive
# 5 says when a broker does not take an event; with 3.1.1 one that may not write is told that all is well.
VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


def open_sink(broker: Broker, *, patience_s: float) -> MqttSink:
    broker.require_options(("version",))
    if broker.options.get("version", "5") not in VERSIONS:
        raise broker.refused(f"its version is none of {', '.join(VERSIONS)}")
    if set(broker.path) & set("+#\0") or broker.path.startswith("$"):
        raise broker.refused("a topic to publish under has none of '+', '#' and NUL in it, and does not begin with '$'")
    return MqttSink(broker, patience_s=patience_s)


def topic_of(event: Event, *, prefix: str) -> str:
    """A camera's name is written as in a URL: a `/`, `+` or `#` in it would be understood by brokers."""
    if event.camera is None:
        return f"{prefix}/{event.type}"
    return f"{prefix}/{quote(event.camera, safe='', errors='surrogatepass')}/{event.type}"


class MqttSink:
    """Made by `sightline.pipeline.people.sinks.open_sink`."""

    def __init__(self, broker: Broker, *, patience_s: float) -> None:
        self._broker = broker
        self._patience_s = patience_s
        self._prefix = broker.path or PREFIX
        self._connection: _Connection | None = None
        self._used_s = 0.0
        self.address = f"{broker.server}/{self._prefix}"

    def send(self, event: Event) -> None:
        try:
            self._connected().publish(topic_of(event, prefix=self._prefix), event.text)
        except (OSError, ValueError) as exc:  # a ValueError is of the library: the protocol has no room for it
            self.close()
            raise SinkError(f"{self.address}: {_reason(exc)}") from exc
        self._used_s = time.monotonic()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> _Connection:
        if time.monotonic() - self._used_s > KEEP_S:
            self.close()
        if self._connection is None:
            self._connection = _Connection(self._broker, patience_s=self._patience_s)
            self._connection.open()
        return self._connection


def _reason(exc: OSError | ValueError) -> str:
    if isinstance(exc, OSError) and not isinstance(exc, SinkError):
        return f"no connection ({exc.strerror or exc})"
    return str(exc)


class _Answers:
    """What the broker has said."""

    def __init__(self) -> None:
        self.welcome: ReasonCode | None = None
        self.farewell: ReasonCode | None = None
        self.of_messages: dict[int, ReasonCode] = {}

    def on_connect(
        self, client: Client, userdata: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self.welcome = reason

    def on_publish(
        self, client: Client, userdata: object, message: int, reason: ReasonCode, properties: Properties
    ) -> None:
        self.of_messages[message] = reason

    def on_disconnect(
        self,
        client: Client,
        userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.farewell = reason


class _Connection:
    """One connection, not used again once anything has gone wrong with it.

    Left to itself the library reconnects and queues in a thread, and then nobody can say which events the broker has.
    """

    def __init__(self, broker: Broker, *, patience_s: float) -> None:
        self._broker = broker
        self._patience_s = patience_s
        self._answers = _Answers()
        version = VERSIONS[broker.options.get("version", "5")]
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=version, reconnect_on_failure=False)
        self._client.connect_timeout = patience_s
        self._client.on_connect = self._answers.on_connect
        self._client.on_publish = self._answers.on_publish
        self._client.on_disconnect = self._answers.on_disconnect
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            self._client.tls_set_context(ssl.create_default_context())

    def open(self) -> None:
        keepalive_s = max(1, round(2 * KEEP_S))  # for as long the library also waits for a TLS handshake
        self._client.connect(self._broker.host, self._broker.port, keepalive=keepalive_s)
        self._wait(lambda: self._answers.welcome is not None)
        if self._answers.welcome is None or self._answers.welcome.is_failure:
            raise SinkError(f"the broker refuses the connection: {self._answers.welcome}")

    def publish(self, topic: str, text: str) -> None:
        message = self._client.publish(topic, text, qos=1).mid
        self._wait(lambda: message in self._answers.of_messages)
        answer = self._answers.of_messages.pop(message)
        if answer.is_failure:
            raise SinkError(f"the broker refuses an event under {topic}: {answer}")

    def close(self) -> None:
        self._client.disconnect()
        self._client.reinitialise()  # closes every socket now, and not when the garbage is collected

    def _wait(self, done: Callable[[], bool]) -> None:
        until_s = time.monotonic() + self._patience_s
        while not done():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise SinkError(f"the broker has not answered for {self._patience_s:g} s")
            fault = self._client.loop(left_s)
            if fault != MQTTErrorCode.MQTT_ERR_SUCCESS and not done():
                raise SinkError(f"the connection ended: {self._answers.farewell or error_string(fault)}")
