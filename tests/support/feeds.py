"""A feed that answers when, and how, the test says, and two clocks that part from each other."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.adapters.memory.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from copperplate.feed import Cursor, FeedPage, Tier
    from copperplate.ports import Feed
    from copperplate.tiers.coherence import Coherence


class PartedClock(FakeClock):
    """The wall clock may be set, and the process may stand still: neither wakes a sleeper."""

    _wall_ahead = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._wall_ahead)

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock ahead, or back; as in a process whose monotonic clock stands still while it is frozen."""
        self._wall_ahead += seconds

    def stand_still(self, seconds: float) -> None:
        """The process is stopped for so long."""
        self._seconds += seconds


class ScriptedFeed:
    """A ledger's feed. Each read looks when it is asked; `held` keeps its answer back, `error` is raised instead."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.reads = 0
        self.error: Exception | None = None
        self.held: asyncio.Event | None = None

    def hold(self) -> asyncio.Event:
        """The answers to what is asked from now on come when the event is set."""
        self.held = asyncio.Event()
        return self.held

    async def read_feed(self, since: Cursor | None, database: str | None) -> FeedPage:
        self.reads += 1
        held, error = self.held, self.error
        page = await self._feed.read_feed(since, database)
        if held is not None:
            await held.wait()
        if error is not None:
            raise error
        return page

    async def invalidate(self, tiers: Collection[Tier], generation_keys: Collection[str] | None) -> None:
        await self._feed.invalidate(tiers, generation_keys)


async def read_feed(coherence: Coherence) -> None:
    """Let a process read its feed now, though its copies may still be trusted."""
    await asyncio.wait((coherence._begin_read(),), timeout=coherence._wait_seconds)
