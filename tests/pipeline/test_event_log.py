"""`events.jsonl` under kills, full disks, interrupts, and other people's files."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import pytest
from event_examples import merge, numbered

from sightline.errors import OutputError
from sightline.pipeline.people import event_log
from sightline.pipeline.people.event_log import EventLog, read_lines

HERE = Path(__file__).parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def text_of(*numbers: int) -> bytes:
    return b"".join(numbered(number).text.encode() + b"\n" for number in numbers)


def written(path: Path, *numbers: int) -> bytes:
    with EventLog(path) as log:
        for number in numbers:
            log.append(numbered(number))
    return path.read_bytes()


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(OutputError) as caught:
        attempt()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """The limit stands for the disk: a write is cut short first, then refused."""
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestAppending:
    def test_an_event_is_a_line_and_the_lines_are_in_order(self, path: Path) -> None:
        assert written(path, 3, 1, 2) == text_of(3, 1, 2)

    def test_the_next_run_goes_on_after_the_last_line(self, path: Path) -> None:
        written(path, 1, 2)
        assert written(path, 3) == text_of(1, 2, 3)

    def test_an_event_is_kept_once_however_often_it_comes(self, path: Path) -> None:
        with EventLog(path) as log:
            assert [log.append(numbered(number)) for number in (1, 2, 1)] == [True, True, False]
            assert len(log) == 2
        with EventLog(path) as log:
            assert numbered(1).id in log and numbered(3).id not in log
            assert [log.append(event) for event in (numbered(2), merge(), merge())] == [False, True, False]
            assert (len(log), log.size) == (3, path.stat().st_size)
        assert len(path.read_bytes().splitlines()) == 3

    def test_it_is_read_back_with_its_place(self, path: Path) -> None:
        whole = written(path, 1, 2, 3)
        lines = list(read_lines(path))
        assert [line.event for line in lines] == [numbered(1), numbered(2), numbered(3)]
        assert [line.number for line in lines] == [1, 2, 3]
        assert lines[-1].end == len(whole)
        first, second, third = lines
        assert list(read_lines(path, after=(first.number, first.end))) == [second, third]
        assert list(read_lines(path, until=second.end)) == [first, second]

    def test_who_listens_hears_of_what_is_on_the_disk_already(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[int] = []
        sync = os.fsync

        def recorded(descriptor: int) -> None:
            sync(descriptor)
            synced.append(os.fstat(descriptor).st_size)

        with EventLog(path) as log:
            heard: list[tuple[int, int]] = []
            log.on_append(lambda: heard.append((log.size, synced[-1])))
            monkeypatch.setattr(os, "fsync", recorded)
            for number in (1, 2, 2):
                log.append(numbered(number))
        assert heard == [(len(text_of(1)),) * 2, (len(text_of(1, 2)),) * 2]

    def test_threads_may_append_at_once(self, path: Path) -> None:
        with EventLog(path) as log, ThreadPoolExecutor(4) as pool:
            new = list(pool.map(lambda number: log.append(numbered(number % 40)), range(160)))
        assert sum(new) == 40
        assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(text_of(n) for n in range(40))


class TestWhatAKillLeaves:
    def test_a_line_torn_anywhere_is_cut_off_with_a_word(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        before, last = text_of(1, 2), text_of(3)
        for length in (*range(1, 40), *range(40, len(last), 97), len(last) - 1):
            path.write_bytes(before + last[:length])
            caplog.clear()
            EventLog(path).close()
            assert path.read_bytes() == before
            assert written(path, 3) == before + last
            assert [record.levelno for record in caplog.records] == [logging.WARNING]
            assert "the last line was not written whole" in caplog.text

    def test_a_whole_file_is_opened_without_a_word(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        written(path, 1)
        written(path)
        assert caplog.records == []

    def test_the_zeros_a_power_cut_leaves_are_cut_off(self, path: Path) -> None:
        path.write_bytes(text_of(1) + bytes(700))
        assert written(path, 2) == text_of(1, 2)

    def test_a_torn_line_is_read_by_nobody(self, path: Path) -> None:
        path.write_bytes(text_of(1) + text_of(2)[:-1])
        assert [line.event for line in read_lines(path)] == [numbered(1)]

    def test_killed_sixty_times_nothing_that_was_acknowledged_is_lost_or_there_twice(self, path: Path) -> None:
        """By a script, as a small process forks quickly. Half of the kills come from outside, half within a line."""
        done = subprocess.run(
            [sys.executable, "-c", KILLER, str(path), "60"],
            env=os.environ | {"PYTHONPATH": str(HERE)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        acknowledged, torn = map(int, done.stdout.split())
        assert acknowledged > 60 and torn > 20
        ids = [line.event.id for line in read_lines(path)]
        assert len(ids) == len(set(ids)) >= acknowledged


KILLER = '''
import os, random, signal, sys, time
from io import FileIO
from itertools import count
from pathlib import Path
from event_examples import numbered
from sightline.pipeline.people import event_log
from sightline.pipeline.people.event_log import EventLog, read_lines

class Grudging(FileIO):
    """Writes little at a time, and in every other round is dead after so many times."""

    left = -1

    def write(self, content):
        if Grudging.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        Grudging.left -= 1
        return super().write(content[:60])

event_log.FileIO = Grudging
path, rounds = Path(sys.argv[1]), int(sys.argv[2])
dice, acknowledged, torn = random.Random(0), 0, 0
for round_ in range(rounds):
    Grudging.left = dice.randrange(100) if round_ % 2 else -1
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with EventLog(path) as log:
            os.write(writing, b".")
            for number in count(max(0, len(log) - 2)):  # the last two again, as a run that is continued does
                log.append(numbered(number))
                os.write(writing, f"{number + 1} ".encode())
    os.close(writing)
    assert os.read(reading, 1) == b"."
    if Grudging.left < 0:
        time.sleep(dice.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "it ended by itself"
    with os.fdopen(reading, "rb") as file:
        acknowledged = max(acknowledged, *map(int, file.read().split()), 0)
    torn += not path.read_bytes().endswith(b"\\n")
    found = [line.event for line in read_lines(path)]
    assert found == [numbered(number) for number in range(len(found))], "lost, doubled or out of order"
    assert len(found) >= acknowledged, "acknowledged and lost"
EventLog(path).close()
print(acknowledged, torn)
'''


class TestWhatIsNoLog:
    @pytest.mark.parametrize("garbage", [b"{", b"", b"{}", b"\xff\xfe", b'{"id": 7}', "[" * 9000, b"\0" * 40])
    def test_a_line_that_is_no_event_is_named_and_the_file_left_alone(self, path: Path, garbage: bytes | str) -> None:
        raw = garbage.encode() if isinstance(garbage, str) else garbage
        content = text_of(1, 2) + raw + b"\n" + text_of(3)
        path.write_bytes(content)
        told = refusal(lambda: EventLog(path))
        assert f"{path}:3: no event" in told
        assert path.read_bytes() == content

    @pytest.mark.parametrize("content", [b"notes of mine", b"\x89PNG", b"{'version'", b'{"version":"2.0'])
    def test_the_end_of_somebody_elses_file_is_not_cut_off(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        assert "ends with something that is no event" in refusal(lambda: EventLog(path))
        assert path.read_bytes() == content

    def test_a_second_writer_is_refused_until_the_first_is_done(self, path: Path) -> None:
        with EventLog(path):
            assert "is being written by another run" in refusal(lambda: EventLog(path))
        assert written(path, 1) == text_of(1)

    def test_after_a_refusal_the_file_is_free_again(self, path: Path) -> None:
        path.write_bytes(b"{\n")
        refusal(lambda: EventLog(path))
        path.unlink()
        assert written(path, 1) == text_of(1)

    def test_a_folder_and_a_pipe_in_its_place(self, path: Path) -> None:
        path.mkdir()
        assert "not a regular file" in refusal(lambda: EventLog(path))
        path.rmdir()
        os.mkfifo(path)
        assert "not a regular file" in refusal(lambda: EventLog(path))

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        assert "the folder does not exist" in refusal(lambda: EventLog(tmp_path / "gone" / "events.jsonl"))

    def test_reading_what_is_not_there(self, path: Path) -> None:
        assert refusal(lambda: list(read_lines(path))) == f"{path} cannot be read: No such file or directory"


class TestWritingFails:
    def test_a_full_disk_leaves_whole_lines_wherever_it_fills_up(self, path: Path) -> None:
        """One byte of room more each time over the length of a line, in steps, and then there is room again."""
        before, line = text_of(1), text_of(2)
        for room in (*range(0, len(line), 61), len(line) - 1):
            path.write_bytes(before)
            with EventLog(path) as log:
                with files_no_larger_than(len(before) + room):
                    told = refusal(lambda log=log: log.append(numbered(2)))  # type: ignore[misc]  # of each round
                assert told.startswith(f"cannot write {path}: ")
                assert path.read_bytes() == before and (len(log), log.size) == (1, len(before))
                assert log.append(numbered(3)) and log.append(numbered(2))
            assert path.read_bytes() == before + text_of(3, 2)

    def test_what_did_not_reach_the_disk_is_taken_back(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with EventLog(path) as log:
            log.append(numbered(1))
            monkeypatch.setattr(os, "fsync", failing)
            assert "the disk is full; free some space" in refusal(lambda: log.append(numbered(2)))
            assert path.read_bytes() == text_of(1) and log.size == len(text_of(1))
            monkeypatch.undo()
            assert log.append(numbered(2))
        assert path.read_bytes() == text_of(1, 2)

    def test_an_interrupt_within_a_line_does_not_spoil_the_next(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Interrupted(FileIO):
            remaining = 1000

            def write(self, content: object) -> int:
                if self.remaining == 0:
                    raise KeyboardInterrupt
                self.remaining -= 100
                return super().write(content[:100])  # type: ignore[index]

        monkeypatch.setattr(event_log, "FileIO", Interrupted)
        with EventLog(path) as log:
            log.append(numbered(1))
            with pytest.raises(KeyboardInterrupt):
                log.append(numbered(2))
            assert not path.read_bytes().endswith(b"\n")
            Interrupted.remaining = 10**6
            log._file.remaining = 10**6
            log.append(numbered(3))
        assert path.read_bytes() == text_of(1, 3)

    def test_a_file_that_may_not_be_written_is_one_line(self, path: Path) -> None:
        if os.geteuid() == 0:
            pytest.skip("whoever runs this may write everything")
        written(path, 1)
        path.chmod(0o400)
        assert re.match(r"cannot write .*: no permission", refusal(lambda: EventLog(path)))
