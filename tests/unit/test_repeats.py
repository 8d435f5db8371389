"""Bounded repeats: again after each pause, while there is time, and with the last error at the end."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.repeats import growing_pauses, repeat


class Work:
    """Fails `failures` times, each after `seconds`, and notes when it was tried."""

    def __init__(self, *, failures: int, seconds: float = 0.0, error: type[Exception] = ConnectionError) -> None:
        self.clock = FakeClock()
        self.tried_at: list[float] = []
        self._failures = failures
        self._seconds = seconds
        self._error = error

    async def __call__(self) -> str:
        self.tried_at.append(self.clock.monotonic())
        await self.clock.sleep(self._seconds)
        if len(self.tried_at) <= self._failures:
            raise self._error(f"try {len(self.tried_at)}")
        return "done"

    async def repeated(self, *, pauses: list[float], within_seconds: float = 100.0) -> str:
        """What a caller gets, with time moving as fast as it can."""
        repeating = asyncio.create_task(
            repeat(self, errors=(ConnectionError,), pauses=pauses, within_seconds=within_seconds, clock=self.clock)
        )
        while not repeating.done():
            await self.clock.advance(1.0)
        return await repeating


async def test_work_that_goes_well_is_done_once() -> None:
    work = Work(failures=0)
    assert await work.repeated(pauses=[1.0]) == "done"
    assert work.tried_at == [0.0]


async def test_each_pause_is_followed_by_a_try() -> None:
    work = Work(failures=2)
    assert await work.repeated(pauses=[1.0, 3.0, 9.0]) == "done"
    assert work.tried_at == [0.0, 1.0, 4.0]


async def test_the_last_error_is_raised_when_the_pauses_are_over() -> None:
    work = Work(failures=9)
    with pytest.raises(ConnectionError, match="try 3"):
        await work.repeated(pauses=[1.0, 3.0])
    assert work.tried_at == [0.0, 1.0, 4.0]


async def test_no_try_begins_after_the_time_is_over() -> None:
    work = Work(failures=9, seconds=2.0)
    with pytest.raises(ConnectionError, match="try 2"):
        await work.repeated(pauses=[1.0, 1.0, 1.0], within_seconds=5.0)
    assert work.tried_at == [0.0, 3.0]


async def test_a_try_may_begin_at_the_very_end() -> None:
    work = Work(failures=1)
    assert await work.repeated(pauses=[5.0], within_seconds=5.0) == "done"


async def test_another_error_is_raised_at_once() -> None:
    work = Work(failures=1, error=ValueError)
    with pytest.raises(ValueError, match="try 1"):
        await work.repeated(pauses=[1.0])


def test_pauses_grow_up_to_their_limit() -> None:
    assert list(itertools.islice(growing_pauses(0.5, max_seconds=3.0), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert list(itertools.islice(growing_pauses(1.0, factor=1.5, max_seconds=9.0), 3)) == [1.0, 1.5, 2.25]
