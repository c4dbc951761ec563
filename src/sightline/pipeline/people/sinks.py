"""Where events go besides the file: which broker a URL means, and what a sink must do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sightline.errors import BackendError, ConfigError
from sightline.pipeline.people.events import Event

PATIENCE_S = 5.0  # for a broker to be reached, and for each of its answers


@dataclass(frozen=True)
class _Scheme:
    """How the addresses of a protocol look, and what speaks it."""

    form: str
    port: int  # where an address names none
    tls: bool
    module: str
    library: str
    extra: str  # which installs the library


_MQTT = "[user:password@]host[:port]/topic/prefix"
_BY_MQTT = ("sightline.pipeline.people.mqtt", "paho", "sightline[mqtt]")
_REDIS = "[user:password@]host[:port][/db][?stream=NAME]"
_BY_REDIS = ("sightline.pipeline.people.redis_streams", "redis", "sightline[redis]")
_SCHEMES = {
    "mqtt": _Scheme(f"mqtt://{_MQTT}", 1883, False, *_BY_MQTT),
    "mqtts": _Scheme(f"mqtts://{_MQTT}", 8883, True, *_BY_MQTT),
    "redis": _Scheme(f"redis://{_REDIS}", 6379, False, *_BY_REDIS),
    "rediss": _Scheme(f"rediss://{_REDIS}", 6379, True, *_BY_REDIS),
}


class EventSink(Protocol):
    """A broker, used by one thread at a time."""

    address: str  # where to, without user and password: to be shown, and to be known again by

    def send(self, event: Event) -> None:
        """Return when the broker has it. Raises `SinkError` otherwise, after a few times `PATIENCE_S` at the latest.

        It may have it then, too: who asks again sends twice, and never not at all.
        """

    def close(self) -> None: ...


@dataclass(frozen=True)
class Broker:
    """A URL, taken apart."""

    scheme: str
    host: str
    port: int
    path: str  # without slashes at its ends
    options: Mapping[str, str]
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def tls(self) -> bool:
        return _SCHEMES[self.scheme].tls

    @property
    def server(self) -> str:
        """The beginning of every address that is shown: neither user nor password, path nor options."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def require_options(self, known: tuple[str, ...]) -> None:
        """Names are told, values are not: somebody may try `?password=`."""
        strange = [name for name in self.options if name not in known]
        if strange:
            raise self.refused(f"it has an option {strange[0]!r}; known are {', '.join(known)}")

    def refused(self, fault: str) -> ConfigError:
        return _refused(self.scheme, fault)


def _refused(scheme: str, fault: str) -> ConfigError:
    """Shows nothing that was typed but the scheme: what cannot be taken apart may have the password anywhere."""
    return ConfigError(f"an address {scheme}://… for events cannot be used: {fault}; expected {_SCHEMES[scheme].form}")


def open_sink(url: str, *, patience_s: float = PATIENCE_S) -> EventSink:
    """The sink for a URL. It connects when there is something to send, so the broker may be down now.

    Raises `ConfigError` for an address that is none, and `BackendError` where the library for it is not installed.
    """
    broker = broker_of(url)
    scheme = _SCHEMES[broker.scheme]
    try:
        return cast(EventSink, import_module(scheme.module).open_sink(broker, patience_s=patience_s))
    except ImportError as exc:
        if (exc.name or "").partition(".")[0] != scheme.library:
            raise
        raise BackendError(
            f"{broker.server} needs {scheme.library}, which is not installed; pip install '{scheme.extra}'"
        ) from exc


def broker_of(url: str) -> Broker:
    """A URL taken apart. Raises `ConfigError`, which never shows the password.

    A character that means something in URLs is written as its code, `%40` for `@`.
    """
    scheme, divider, rest = url.partition("://")
    scheme = scheme.lower()
    if not divider or scheme not in _SCHEMES:
        forms = f"{_SCHEMES['mqtt'].form} or {_SCHEMES['redis'].form}"
        raise ConfigError(f"an address for events has to be {forms}; over TLS they begin with mqtts and rediss")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # what the system will be asked for
    except ValueError as exc:
        raise _refused(scheme, f"no host and port in it; {_CODES}") from exc
    if not host:
        raise _refused(scheme, "it names no host")
    if "#" in rest or rest.count("@") > 1 or ("@" in rest and parts.username is None):
        raise _refused(scheme, _CODES)
    user, password = (text and unquote(text) for text in (parts.username, parts.password))
    path = unquote(parts.path).strip("/")
    return Broker(
        scheme, host, _SCHEMES[scheme].port if port is None else port, path, _options(scheme, parts), user, password
    )


_CODES = "'@', '/', '#' and '?' in a name or a password are written %40, %2F, %23 and %3F"


def _options(scheme: str, parts: SplitResult) -> dict[str, str]:
    try:
        return dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as exc:
        raise _refused(scheme, "after its '?' there is something other than name=value") from exc
