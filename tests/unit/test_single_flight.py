"""One call per key inside a process: scripted with events, on no clock at all."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging

import pytest

from copperplate.errors import LedgerUnavailable, StillGenerating, TooManyWaiters
from copperplate.single_flight import SingleFlight, call_scope

KEY = "k" * 64


class Work:
    """Work that counts its starts and ends when, and how, the test says."""

    def __init__(self) -> None:
        self.starts = 0
        self.gate = asyncio.Event()
        self.failure: BaseException | None = None

    async def __call__(self) -> int:
        self.starts += 1
        number = self.starts
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return number


async def turn() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_callers_at_once_share_one_result_and_only_the_first_did_not_join() -> None:
    flights, work = SingleFlight[int](), Work()
    callers = [asyncio.create_task(flights.run(KEY, work)) for _ in range(100)]
    await turn()
    work.gate.set()
    results = await asyncio.gather(*callers)
    assert work.starts == 1
    assert results == [(1, False)] + [(1, True)] * 99


async def test_callers_at_once_share_one_failure() -> None:
    flights, work = SingleFlight[int](), Work()
    work.failure = LedgerUnavailable("down")
    callers = [asyncio.create_task(flights.run(KEY, work)) for _ in range(10)]
    await turn()
    work.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert work.starts == 1
    assert all(each is work.failure for each in results)


async def test_failed_key_starts_anew() -> None:
    flights, work = SingleFlight[int](), Work()
    work.gate.set()
    work.failure = LedgerUnavailable("down")
    with pytest.raises(LedgerUnavailable):
        await flights.run(KEY, work)
    work.failure = None
    assert await flights.run(KEY, work) == (2, False)


async def test_finished_key_starts_anew() -> None:
    flights, work = SingleFlight[int](), Work()
    work.gate.set()
    assert await flights.run(KEY, work) == (1, False)
    assert not flights.is_awaited(KEY)
    assert await flights.run(KEY, work) == (2, False)


async def test_different_keys_fly_at_the_same_time() -> None:
    flights, work = SingleFlight[int](), Work()
    callers = [asyncio.create_task(flights.run(f"key {number}", work)) for number in range(3)]
    await turn()
    assert work.starts == 3
    work.gate.set()
    assert await asyncio.gather(*callers) == [(1, False), (2, False), (3, False)]


async def test_work_that_cannot_even_begin_leaves_no_flight() -> None:
    flights, work = SingleFlight[int](), Work()

    def broken() -> Work:
        raise RuntimeError("no coroutine")

    with pytest.raises(RuntimeError, match="no coroutine"):
        await flights.run(KEY, broken)  # type: ignore[arg-type]
    work.gate.set()
    assert await flights.run(KEY, work) == (1, False)


async def test_callers_beyond_the_limit_are_turned_away_and_a_place_that_is_freed_is_taken() -> None:
    flights, work = SingleFlight[int](max_waiters=2), Work()
    callers = [asyncio.create_task(flights.run(KEY, work)) for _ in range(2)]
    await turn()
    with pytest.raises(TooManyWaiters):
        await flights.run(KEY, work)
    callers.pop().cancel()
    await turn()
    callers.append(asyncio.create_task(flights.run(KEY, work)))
    await turn()
    work.gate.set()
    assert await asyncio.gather(*callers) == [(1, False), (1, True)]


async def test_wait_that_is_over_leaves_the_flight_going() -> None:
    flights, work = SingleFlight[int](), Work()
    with pytest.raises(StillGenerating):
        await flights.run(KEY, work, within_seconds=0)
    assert not flights.is_awaited(KEY)
    late = asyncio.create_task(flights.run(KEY, work))
    await turn()
    work.gate.set()
    assert await late == (1, True)


async def test_work_that_timed_out_itself_is_not_taken_for_the_callers_wait() -> None:
    flights, work = SingleFlight[int](), Work()
    work.failure = TimeoutError("of the work's own")
    work.gate.set()
    with pytest.raises(TimeoutError, match="own"):
        await flights.run(KEY, work, within_seconds=60)


async def test_cancelled_caller_takes_nothing_from_the_others() -> None:
    flights, work = SingleFlight[int](), Work()
    leaving, staying = (asyncio.create_task(flights.run(KEY, work)) for _ in range(2))
    await turn()
    leaving.cancel()
    await turn()
    assert leaving.cancelled()
    work.gate.set()
    assert await staying == (1, True)


async def test_flight_is_awaited_while_somebody_waits_and_goes_on_when_nobody_does() -> None:
    flights, work = SingleFlight[int](), Work()
    assert not flights.is_awaited(KEY)
    caller = asyncio.create_task(flights.run(KEY, work))
    await turn()
    assert flights.is_awaited(KEY)
    caller.cancel()
    await turn()
    assert not flights.is_awaited(KEY)
    joining = asyncio.create_task(flights.run(KEY, work))
    await turn()
    work.gate.set()
    assert await joining == (1, True)


async def test_drain_without_flights_returns_at_once() -> None:
    await SingleFlight[int]().drain(within_seconds=60)


async def test_drain_lets_flights_land() -> None:
    flights, work = SingleFlight[int](), Work()
    caller = asyncio.create_task(flights.run(KEY, work))
    await turn()
    draining = asyncio.create_task(flights.drain(within_seconds=60))
    await turn()
    assert not draining.done()
    work.gate.set()
    await draining
    assert await caller == (1, False)


async def test_drain_cancels_what_is_late() -> None:
    flights, work = SingleFlight[int](), Work()
    caller = asyncio.create_task(flights.run(KEY, work))
    await turn()
    await flights.drain(within_seconds=0)
    await turn()
    assert caller.cancelled()
    assert not flights.is_awaited(KEY)


async def test_drain_that_is_cancelled_itself_says_so() -> None:
    flights, work = SingleFlight[int](), Work()
    caller = asyncio.create_task(flights.run(KEY, work))
    await turn()
    draining = asyncio.create_task(flights.drain(within_seconds=60))
    await turn()
    draining.cancel()
    await turn()
    assert draining.cancelled()
    work.gate.set()
    assert await caller == (1, False)


@pytest.mark.parametrize("failure", [LedgerUnavailable("down"), KeyError("a bug")])
async def test_exception_nobody_fetched_does_not_warn(
    failure: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[object] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_exception_handler", warned.append)
    flights, work = SingleFlight[int](), Work()
    work.failure = failure
    caller = asyncio.create_task(flights.run(KEY, work))
    await turn()
    caller.cancel()
    await turn()
    with caplog.at_level(logging.ERROR):
        work.gate.set()
        await turn()
    del work, caller, flights
    gc.collect()
    await turn()
    assert not warned
    # What we raise on purpose is an answer; what we do not is a bug, named by its class and part of its key.
    if isinstance(failure, KeyError):
        assert caplog.messages == [f"a flight failed unexpectedly: key={KEY[:12]} error=KeyError"]
    else:
        assert not caplog.messages


async def test_call_that_ends_waits_for_its_flights_and_for_no_others() -> None:
    flights, ours, others = SingleFlight[int](), Work(), Work()
    with call_scope() as call:
        caller = asyncio.create_task(flights.run(KEY, ours))
    stranger = asyncio.create_task(flights.run("another", others))
    await turn()
    finishing = asyncio.create_task(flights.finish(call, within_seconds=60))
    await turn()
    assert not finishing.done()
    ours.gate.set()
    await finishing
    assert await caller == (1, False)
    assert not stranger.done()
    others.gate.set()
    assert await stranger == (1, False)


async def test_flight_of_two_calls_is_cancelled_by_the_last_one_that_ends() -> None:
    flights, work = SingleFlight[int](), Work()
    calls = []
    for _ in range(2):
        with call_scope() as call:
            calls.append((call, asyncio.create_task(flights.run(KEY, work))))
            await turn()
    (first, _), (last, waiting) = calls
    await flights.finish(first, within_seconds=0)
    await turn()
    assert not waiting.done()
    await flights.finish(last, within_seconds=0)
    await turn()
    assert waiting.cancelled()


async def test_call_whose_end_is_cancelled_leaves_its_flight_to_the_others() -> None:
    flights, work = SingleFlight[int](), Work()
    with call_scope() as call:
        caller = asyncio.create_task(flights.run(KEY, work))
        await turn()
    finishing = asyncio.create_task(flights.finish(call, within_seconds=60))
    await turn()
    finishing.cancel()
    await turn()
    assert finishing.cancelled()
    assert not caller.done()
    await flights.finish(call, within_seconds=0)  # it has none any more
    work.gate.set()
    assert await caller == (1, False)


async def test_a_call_that_comes_while_a_flight_is_cancelled_starts_anew() -> None:
    flights, gate = SingleFlight[int](), asyncio.Event()

    async def release_slowly() -> int:
        try:
            await asyncio.sleep(100)
        finally:
            await gate.wait()
        return 0

    async def answer() -> int:
        return 7

    with call_scope() as elder:
        waiting = asyncio.create_task(flights.run("k", release_slowly))
        await asyncio.sleep(0)
    finishing = asyncio.create_task(flights.finish(elder, within_seconds=0))
    await asyncio.sleep(0.01)
    assert await flights.run("k", answer) == (7, False)
    gate.set()
    await finishing
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_finish_that_is_cancelled_lets_its_flights_release_and_stays_cancelled() -> None:
    flights, released = SingleFlight[int](), asyncio.Event()

    async def work() -> int:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(0.02)
            released.set()
            raise
        return 0

    with call_scope() as call:
        waiting = asyncio.create_task(flights.run("k", work))
        await asyncio.sleep(0)
    finishing = asyncio.create_task(flights.finish(call, within_seconds=0))
    await asyncio.sleep(0.01)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert released.is_set()


async def test_a_call_ends_after_the_flight_that_its_first_one_led_to() -> None:
    flights, first, second = SingleFlight[int](), asyncio.Event(), asyncio.Event()

    async def fail() -> int:
        await first.wait()
        raise ValueError

    async def succeed() -> int:
        await second.wait()
        return 2

    async def both() -> int:
        with contextlib.suppress(ValueError):
            await flights.run("a", fail)
        return (await flights.run("b", succeed))[0]

    with call_scope() as call:
        working = asyncio.create_task(both())
        await asyncio.sleep(0)
    finishing = asyncio.create_task(flights.finish(call, within_seconds=60))
    await asyncio.sleep(0)
    first.set()
    await asyncio.sleep(0.01)
    assert not finishing.done()
    second.set()
    await finishing
    assert await working == 2


async def test_flight_that_is_abandoned_while_a_drain_cancels_is_no_error_and_its_key_starts_anew() -> None:
    flights: SingleFlight[str] = SingleFlight()

    cancelled = asyncio.Event()

    async def slow() -> str:
        try:
            await asyncio.Event().wait()
            return "late"
        finally:
            await cancelled.wait()

    async def fast() -> str:
        await cancelled.wait()
        return "anew"

    caller = asyncio.create_task(flights.run("key", slow))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    draining = asyncio.create_task(flights.drain(within_seconds=0.01))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait((caller,))
    flights.abandon("key")
    again = loop.create_task(flights.run("key", fast))
    await asyncio.sleep(0.05)
    assert flights.is_awaited("key")
    cancelled.set()
    await draining
    assert await again == ("anew", False)
