"""Who carries events from the file to a broker, and so never keeps anybody waiting, and never loses one."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sightline.errors import OutputError
from sightline.files import replacing
from sightline.pipeline.people.event_log import START, EventLog, read_lines
from sightline.pipeline.people.sinks import PATIENCE_S, EventSink

log = logging.getLogger(__name__)

PAUSES_S = 0.5, 30.0  # after a failure: the first; twice as long each time, and at most
FLUSH_S = 10.0
SAVE_S = 1.0  # what was sent since the cursor was last saved is sent again after a kill


def cursor_path(log_path: Path, sink: EventSink) -> Path:
    """The file that says how far a sink is: beside the log, named after the address without its password."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", sink.address)[:60].strip("-.")
    digest = hashlib.sha256(sink.address.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return log_path.with_name(f"{log_path.stem}.{name}-{digest}.cursor")


class Courier:
    """A thread that sends each event of the log to one sink, in order, until the broker has it.

    It reads only what is on the disk, and keeps the id of the last event sent in a cursor file; the next one goes on
    from there. Whatever goes wrong in between, an event is sent twice rather than not.
    """

    def __init__(self, events: EventLog, sink: EventSink, *, pauses_s: tuple[float, float] = PAUSES_S) -> None:
        self.sink = sink
        self._events = events
        self._cursor = cursor_path(events.path, sink)
        self._place: tuple[int, int] | None = None  # lines and bytes that are sent; None: not looked up yet
        self._pauses_s = pauses_s
        self._pause_s = pauses_s[0]
        self._trouble = ""
        self._last = self._saved = ""  # ids: of the event sent last, and of the one in the cursor file
        self._saved_s = time.monotonic()
        self._changed = threading.Condition()
        self._until_s: float | None = None  # when to stop, once that is wanted
        events.on_append(self._notice)
        # As a daemon, so that a name server that hangs cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"courier to {sink.address}", daemon=True)
        self._thread.start()

    @property
    def unsent(self) -> int:
        """Events that are on the disk here and not known to be with the broker."""
        return len(self._events) - (self._place or START)[0]

    def stop(self, *, until_s: float) -> None:
        """Stop when everything is sent, or at a moment of `time.monotonic`. Answers at once."""
        with self._changed:
            self._until_s, self._pause_s = until_s, self._pauses_s[0]
            self._changed.notify_all()

    def close(self, *, flush_s: float = FLUSH_S) -> int:
        """Send what is left for at most `flush_s` and the answer under way; answers how many are still unsent."""
        self.stop(until_s=time.monotonic() + flush_s)
        self._thread.join(flush_s + PATIENCE_S)
        if self.unsent:
            reason = self._trouble or f"{self.sink.address} was too slow"
            kept = f"they are in {self._events.path} and go out when the run is continued"
            log.warning("unsent events: %d (%s); %s", self.unsent, reason, kept)
        return self.unsent

    # In the thread

    def _run(self) -> None:
        while self._has_work():
            try:
                self._deliver()
            except OSError as exc:  # from the broker, or from the file
                self._tell(str(exc))
                self._rest()
        self._save()
        self.sink.close()

    def _has_work(self) -> bool:
        """Waits until there is something to send, or to stop for."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_behind or self._until_s is not None)
            return self._is_behind and not self._is_over

    @property
    def _is_behind(self) -> bool:
        return self._events.size > (self._place or START)[1]

    @property
    def _is_over(self) -> bool:
        return self._until_s is not None and time.monotonic() >= self._until_s

    def _deliver(self) -> None:
        if self._place is None:
            self._place = self._found_place()
        for line in read_lines(self._events.path, after=self._place, until=self._events.size):
            if self._is_over:
                return
            self.sink.send(line.event)
            self._place, self._last = (line.number, line.end), line.event.id
            self._recover()
            if time.monotonic() - self._saved_s > SAVE_S:
                self._save()
        self._save()

    def _rest(self) -> None:
        """`stop` cuts a rest short; those after it are short, and taken."""
        with self._changed:
            pause_s, stopping = self._pause_s, self._until_s is not None
            if self._until_s is not None:
                pause_s = min(pause_s, max(0.0, self._until_s - time.monotonic()))
            else:
                self._pause_s = min(2 * pause_s, self._pauses_s[1])
            self._changed.wait_for(lambda: not stopping and self._until_s is not None, pause_s)

    def _tell(self, trouble: str) -> None:
        """Once for each kind of trouble, however often it is met."""
        if trouble != self._trouble:
            log.warning("%s; events are kept in %s and sent later", trouble, self._events.path)
        self._trouble = trouble

    def _recover(self) -> None:
        self._pause_s = self._pauses_s[0]
        if self._trouble:
            log.info("%s takes events again", self.sink.address)
        self._trouble = ""

    def _found_place(self) -> tuple[int, int]:
        """Past the event the cursor names. Where the log has no such event, all of it is sent again."""
        last = self._read_cursor()
        if last is None:
            return START
        for line in read_lines(self._events.path, until=self._events.size):
            if line.event.id == last:
                self._last = self._saved = last
                return line.number, line.end
        log.warning("%s is not of %s; all its events are sent again", self._cursor, self._events.path)
        return START

    def _read_cursor(self) -> str | None:
        try:
            return self._cursor.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return None

    def _save(self) -> None:
        if self._last == self._saved:
            return
        try:
            with replacing(self._cursor) as temporary:
                temporary.write_text(f"{self._last}\n", encoding="utf-8")
        except OutputError as exc:
            log.warning("%s; until it can be, a run that is continued sends events again", exc)
        self._saved, self._saved_s = self._last, time.monotonic()

    def _notice(self) -> None:
        """In the thread that appends."""
        with self._changed:
            self._changed.notify_all()


def close_all(couriers: Sequence[Courier], *, flush_s: float = FLUSH_S) -> int:
    """Close several in the time of one; answers how many events are still unsent, over all of them."""
    until_s = time.monotonic() + flush_s
    for courier in couriers:
        courier.stop(until_s=until_s)
    return sum(courier.close(flush_s=max(0.0, until_s - time.monotonic())) for courier in couriers)
