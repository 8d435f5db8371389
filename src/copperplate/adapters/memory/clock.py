"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)
TURNS = 50


class FakeClock:
    """`Clock` for tests: `advance` moves it and lets sleepers wake in order."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._seconds = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._count = 0

    def now(self) -> datetime:
        """The start plus what was advanced."""
        return self._start + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced far enough; not at all for zero or less."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.Event()
        self._count += 1
        heapq.heappush(self._sleepers, (self._seconds + seconds, self._count, woken))
        await woken.wait()

    async def settle(self) -> None:
        """Let every task that can run do so."""
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move time forward, waking each sleeper at its moment and letting it run."""
        target = self._seconds + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            self._seconds, _, woken = heapq.heappop(self._sleepers)
            woken.set()
            await self.settle()
        self._seconds = target
        await self.settle()
