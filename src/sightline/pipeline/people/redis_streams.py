"""Events into a Redis Stream: one entry each, with the one field `event`."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sightline.errors import SinkError
from sightline.pipeline.people.events import Event
from sightline.pipeline.people.sinks import Broker

STREAM = "sightline"  # where the address names none
LONGEST = 100_000  # entries, about; then the oldest make room, for Redis keeps all of them in memory
FIELD = "event"


def open_sink(broker: Broker, *, patience_s: float) -> RedisSink:
    broker.require_options(("stream", "maxlen"))
    if not _is_number(broker.path or "0"):
        raise broker.refused("its database is no number")
    if not _is_number(broker.options.get("maxlen", "0")):
        raise broker.refused("its maxlen is no number of entries; 0 is without bound")
    return RedisSink(broker, patience_s=patience_s)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19  # Redis counts in 64 bits


class RedisSink:
    """Made by `sightline.pipeline.people.sinks.open_sink`."""

    def __init__(self, broker: Broker, *, patience_s: float) -> None:
        self._stream = broker.options.get("stream") or STREAM
        self._longest = int(broker.options.get("maxlen", LONGEST)) or None
        self.address = f"{broker.server}/{int(broker.path or 0)}?stream={self._stream}"
        self._client = redis.Redis(
            broker.host,
            broker.port,
            int(broker.path or 0),
            username=broker.user or None,
            password=broker.password,
            ssl=broker.tls,
            ssl_check_hostname=True,
            socket_timeout=patience_s,
            socket_connect_timeout=patience_s,
            retry=Retry(NoBackoff(), 0),  # whoever calls `send` knows how long to wait
        )

    def send(self, event: Event) -> None:
        try:
            self._client.xadd(self._stream, {FIELD: event.text}, maxlen=self._longest, approximate=True)
        except (redis.RedisError, OSError) as exc:
            raise SinkError(f"{self.address}: {' '.join(str(exc).split()).rstrip('.')}") from exc

    def close(self) -> None:
        self._client.close()
