"""The thread beyond the callback: it sorts records by camera, gathers visits, and has them kept."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

from sightline.errors import SightlineError
from sightline.pipeline.people.plans import CameraPlan, Keep, View
from sightline.pipeline.people.visits import Visit
from sightline.pipeline.probe.desk import Desk
from sightline.pipeline.probe.mailbox import Mailbox
from sightline.pipeline.probe.records import FrameRecord

log = logging.getLogger(__name__)

WAITING = 1024  # frames: five seconds of eight cameras, which even a slow disk catches up with


@dataclass(frozen=True)
class _Ended:
    """The end of one camera's stream, or of all."""

    sensor: str | None = None


_CLOSE = _Ended()


class Collector:
    """Any thread gives it records; one thread of its own makes visits of them and keeps these.

    `keep` is durable when it returns, and may take its time. What it raises ends the work: later records are not
    taken, and `close` raises it again.
    """

    def __init__(
        self,
        keep: Keep,
        *,
        desk_of: Callable[[str], Desk],
        plan_of: Callable[[str], CameraPlan],
        waiting: int = WAITING,
    ) -> None:
        self._keep, self._desk_of, self._plan_of = keep, desk_of, plan_of
        self._desks: dict[str, Desk] = {}
        self._mail: Mailbox[FrameRecord | _Ended] = Mailbox(waiting)
        self._failure: Exception | None = None  # found elsewhere
        self.frames: Counter[str] = Counter()  # taken in, by camera
        self.visits = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sightline-collect")
        self._work: Future[None] = self._thread.submit(self._run)

    @property
    def dropped(self) -> int:
        """Frames that came faster than visits could be kept."""
        return self._mail.dropped

    @property
    def failed(self) -> bool:
        """Whether it has given up; the pipeline should be stopped."""
        return self._failure is not None or self._work.done()

    def put(self, record: FrameRecord) -> bool:
        """Whether it was taken. Never waits, never raises."""
        if self.failed:
            return False
        taken = self._mail.offer(record)
        if not taken and self.dropped == 1:
            log.warning("frames come faster than visits can be kept; some are dropped and counted")
        return taken

    def end(self, sensor: str) -> None:
        """One camera is gone: its visits end."""
        self._mail.insist(_Ended(sensor))

    def fail(self, failure: Exception) -> None:
        """Give up, for a reason found elsewhere."""
        self._failure = self._failure or failure

    def close(self) -> None:
        """The end of all streams: every visit ends and is kept. Raises what went wrong, if anything did."""
        self._mail.insist(_CLOSE)
        self._thread.shutdown()
        self._work.result()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Collector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except SightlineError:
            if error is None:
                raise

    # In the thread

    def _run(self) -> None:
        while (letter := self._mail.take()) is not _CLOSE:
            self._handle(letter)
        for sensor in sorted(self._desks):
            self._end(sensor)

    def _handle(self, letter: FrameRecord | _Ended) -> None:
        if isinstance(letter, FrameRecord):
            self._take(letter)
        elif letter.sensor in self._desks:
            self._end(letter.sensor)

    def _take(self, record: FrameRecord) -> None:
        desk = self._desks.get(record.sensor)
        if desk is None:
            desk = self._desks[record.sensor] = self._desk_of(record.sensor)
        self.frames[record.sensor] += 1
        self._keep_all(desk, desk.take(record))

    def _end(self, sensor: str) -> None:
        """Its desk goes too: cameras come and go under ever new names, and one that comes back counts on by itself."""
        desk = self._desks.pop(sensor)
        self._keep_all(desk, desk.end())

    def _keep_all(self, desk: Desk, visits: list[Visit]) -> None:
        for visit in visits:
            self._keep(visit, View(self._plan_of(visit.camera), desk.size_hw))
            self.visits += 1
