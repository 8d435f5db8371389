"""Single flight: one piece of work per key inside this process, shared by everyone who asks meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from copperplate.errors import CopperplateError, StillGenerating, TooManyWaiters

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping
    from typing import Any

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Call:
    """One call of a function: at its end the flights it started or joined are waited for, then handed over."""


_call: ContextVar[Call | None] = ContextVar("call", default=None)


@contextlib.contextmanager
def call_scope() -> Iterator[Call]:
    """While the block runs, its task and the tasks it starts run and join flights for the call that is answered."""
    call = Call()
    token = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(token)


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiters: int = 0
    calls: set[Call] = field(default_factory=set)
    shared: T | None = None

    def note_call(self) -> None:
        if (call := _call.get()) is not None:
            self.calls.add(call)


class SingleFlight(Generic[T]):
    """Runs one piece of work per key at a time.

    The work is a task of its own: a caller that is cancelled or stops waiting takes nothing from
    the others, and its result or exception reaches every caller. A finished key starts anew.
    """

    def __init__(self, *, max_waiters: int = 5_000) -> None:
        self._flights: dict[str, _Flight[T]] = {}
        self._max_waiters = max_waiters

    async def run(
        self,
        key: str,
        work: Callable[[], Coroutine[Any, Any, T]],
        *,
        within_seconds: float | None = None,
        share: Callable[[T], T] | None = None,
    ) -> tuple[T, bool]:
        """The result for `key`, and whether this caller joined a flight that was under way.

        Whoever joined gets what `share` makes of the result, once for all of them. Raises `StillGenerating` after
        `within_seconds`, the flight going on; `TooManyWaiters` when the flight is full.
        """
        flight = self._flights.get(key)
        joined = flight is not None
        if flight is None:
            flight = self._start(key, work)
        if flight.waiters >= self._max_waiters:
            raise TooManyWaiters
        flight.waiters += 1
        flight.note_call()
        try:
            # Unlike a shield, a wait neither takes a TimeoutError of the work for ours nor reports
            # what a flight raises after its caller has gone (python/cpython#156321).
            landed, _ = await asyncio.wait((flight.task,), timeout=within_seconds)
        finally:
            flight.waiters -= 1
        if not landed:
            raise StillGenerating
        result = flight.task.result()
        if not joined or share is None:
            return result, joined
        if flight.shared is None:
            flight.shared = share(result)
        return flight.shared, True

    def start(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """The flight of `key`, started if there is none. Only a call waits for it, at its end."""
        flight = self._flights.get(key) or self._start(key, work)
        flight.note_call()
        return flight.task

    def join(self, key: str) -> None:
        """Let the end of this call wait for the flight of `key`, if there is one."""
        if (flight := self._flights.get(key)) is not None:
            flight.note_call()

    def abandon(self, key: str) -> None:
        """Cancel the flight of `key` unless a caller waits for it."""
        flight = self._flights.get(key)
        if flight is not None and not flight.waiters:
            del self._flights[key]
            flight.task.cancel()

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: str) -> bool:
        return key in self._flights

    def is_awaited(self, key: str) -> bool:
        """Whether a caller still waits for the flight of `key`."""
        flight = self._flights.get(key)
        return flight is not None and flight.waiters > 0

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """Let the flights of `call` land for a while, then cancel the late ones (their leases pass on).

        What lands may start another flight for the same call, which is waited for too. A flight that another call
        joined goes on: that call waits for it at its own end.
        """
        loop = asyncio.get_running_loop()
        stop_at = loop.time() + within_seconds
        while flights := {key: flight for key, flight in self._flights.items() if call in flight.calls}:
            tasks = [flight.task for flight in flights.values()]
            try:
                _, late = await asyncio.wait(tasks, timeout=max(0.0, stop_at - loop.time()))
            finally:
                for flight in flights.values():
                    flight.calls.discard(call)
            await self._cancel({key: flight for key, flight in flights.items() if not flight.calls})
            if late:
                return

    async def drain(self, *, within_seconds: float) -> None:
        """Let all flights under way land for a while, then cancel the rest (their leases pass on)."""
        flights = dict(self._flights)
        if not flights:
            return
        await asyncio.wait([flight.task for flight in flights.values()], timeout=within_seconds)
        await self._cancel(flights)

    def _start(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> _Flight[T]:
        flight = _Flight(asyncio.create_task(work()))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda task: self._land(key, task))
        return flight

    async def _cancel(self, flights: Mapping[str, _Flight[T]]) -> None:
        """Cancel what has not landed. A call that comes meanwhile starts anew, and does not join it."""
        late = {key: flight for key, flight in flights.items() if not flight.task.done()}
        for key, flight in late.items():
            # It may have been abandoned since, and its key begun anew.
            if self._flights.get(key) is flight:
                del self._flights[key]
                flight.task.cancel()
        if late:
            # `wait` instead of `gather`: a caller that is cancelled meanwhile must not cancel them a second time.
            await asyncio.wait([flight.task for flight in late.values()])

    def _land(self, key: str, task: asyncio.Task[T]) -> None:
        if (flight := self._flights.get(key)) is not None and flight.task is task:
            del self._flights[key]
        # Retrieve the exception, or asyncio warns at exit: all callers may have left.
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, CopperplateError):
            logger.error("a flight failed unexpectedly: key=%s error=%s", key[:12], type(error).__name__)
