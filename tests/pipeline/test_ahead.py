"""Items made by a thread of their own, a few ahead of who uses them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.pipeline.ahead import ahead


def threads_of(name: str) -> int:
    return sum(thread.name == f"sightline-{name}" for thread in threading.enumerate())


@settings(max_examples=30, deadline=None)
@given(items=st.lists(st.integers(), max_size=40), depth=st.integers(1, 5))
def test_every_item_comes_once_and_in_order(items: list[int], depth: int) -> None:
    assert list(ahead(items, depth=depth, name="test")) == items


def test_items_are_made_before_they_are_asked_for_but_no_more_than_the_depth() -> None:
    made = threading.Semaphore(0)
    count = 0

    def items() -> Iterator[int]:
        nonlocal count
        for number in range(100):
            count += 1
            made.release()
            yield number

    stream = ahead(items(), depth=3, name="test")
    assert next(stream) == 0
    for _ in range(5):  # the one taken, three that wait, and one in the thread's hand
        assert made.acquire(timeout=5)
    assert not made.acquire(timeout=0.3)
    stream.close()
    assert count == 5


def test_an_error_in_the_thread_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("torn off")

    stream = ahead(items(), depth=4, name="test")
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(ValueError, match="torn off"):
        next(stream)
    assert threads_of("test") == 0


def test_closing_ends_the_thread_and_closes_what_it_read_from() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    stream = ahead(items(), depth=2, name="endless")
    next(stream)
    assert threads_of("endless") == 1
    stream.close()
    assert closed.is_set() and threads_of("endless") == 0


def test_nothing_gives_nothing() -> None:
    assert list(ahead([], depth=1, name="test")) == []
