"""A room: threads for work on pictures, and the memory that it may take.

Memory is of two kinds, so that nobody waits for one while holding the other's last bytes: what an open picture holds
until it is closed is taken first, what one piece of work needs while it runs is taken after it, with its place.
"""

from __future__ import annotations

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from copperplate.errors import StillGenerating
from copperplate.imaging.capacity_limiter import CapacityLimiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

# Pictures that are held wait for memory, not for a place.
_ANY_NUMBER = 1 << 30


async def _begin_at_once() -> None:
    """Nothing is to be done before working."""


class Room:
    """So many threads, with a priority lowered by `niceness`; memory for `work_bytes`, and for `held_bytes` besides.

    A picture waits `room_seconds` for its turn, then it is `StillGenerating`. `close()` ends the threads.
    """

    def __init__(
        self, *, threads: int, work_bytes: int, held_bytes: int, room_seconds: float, niceness: int = 0
    ) -> None:
        self.work_bytes = work_bytes
        self.held_bytes = held_bytes
        self.room_seconds = room_seconds
        self._threads = threads
        self._niceness = niceness
        self._executor: ThreadPoolExecutor | None = None
        self._make_limiters()

    async def hold(self, needed_bytes: int) -> Callable[[], None]:
        """Take memory for an open picture; answers what gives it back."""
        held = self._held
        await self._in_time(held.acquire(needed_bytes))
        return lambda: held.release(needed_bytes)

    async def start(
        self,
        work: Callable[[], T],
        needed_bytes: int,
        begin: Callable[[], Awaitable[None]] = _begin_at_once,
    ) -> asyncio.Future[T]:
        """Wait for a place and memory, await `begin`, and start `work`; whoever waits may go, the place is kept."""
        working_room = self._working
        await self._in_time(working_room.acquire(needed_bytes))
        try:
            await begin()
            if self._executor is None:
                self._executor = ThreadPoolExecutor(
                    self._threads, thread_name_prefix="imaging", initializer=_lower_priority, initargs=(self._niceness,)
                )
            working = asyncio.get_running_loop().run_in_executor(self._executor, work)
        except BaseException:
            working_room.release(needed_bytes)
            raise

        def release(done: asyncio.Future[T]) -> None:
            working_room.release(needed_bytes)
            if not done.cancelled():
                done.exception()  # retrieve it, or asyncio warns

        working.add_done_callback(release)
        return working

    def close(self) -> None:
        """Drop what has not begun and wait for what has. A later call starts afresh."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None
            self._make_limiters()  # whoever is late leaves the old ones

    def _make_limiters(self) -> None:
        self._held = CapacityLimiter(places=_ANY_NUMBER, size_bytes=self.held_bytes)
        self._working = CapacityLimiter(places=self._threads, size_bytes=self.work_bytes)

    async def _in_time(self, turn: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self.room_seconds):
                await turn
        except TimeoutError:
            raise StillGenerating from None


def _lower_priority(niceness: int) -> None:
    # Linux alone counts niceness by thread; elsewhere this would slow the whole process down.
    if niceness and sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
