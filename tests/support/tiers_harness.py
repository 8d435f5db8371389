"""Processes that answer from copies: memory of their own, a disk and a Redis that they share."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from copperplate.errors import LedgerUnavailable
from copperplate.feed import Tier
from copperplate.tiers.memory import MemoryTier
from copperplate.tiers.tiers import Tiers
from tests.support.feeds import PartedClock, ScriptedFeed, read_feed
from tests.support.serving_harness import ServingHarness
from tests.support.shelves import ShelfTier

if TYPE_CHECKING:
    import pytest

    from copperplate.serving.renditions import Renditions

STALE: Final = timedelta(hours=1)


class Machine(ServingHarness):
    """Processes with memory of their own, a disk and a Redis."""

    def __init__(self) -> None:
        super().__init__()
        self.clock: PartedClock
        self.disk, self.redis = ShelfTier(Tier.DISK), ShelfTier(Tier.REDIS)
        self.feed = ScriptedFeed(self.ledger)
        self.asked: list[str] = []
        self.opened: list[Tiers] = []

    def count_calls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Note which calls of the ledger a picture costs."""
        for name in ("acquire", "peek", "find_kept", "report_missing", "intend_rendition", "record_rendition"):
            monkeypatch.setattr(self.ledger, name, self._noted(name, getattr(self.ledger, name)))

    def _noted(self, name: str, call: Any) -> Any:
        async def noted(*arguments: Any, **named: Any) -> Any:
            self.asked.append(name)
            if self.feed.error is not None:
                raise self.feed.error
            return await call(*arguments, **named)

        return noted

    async def begin_process(self, *shared: ShelfTier, memory_pictures: int = 50) -> tuple[Renditions, Tiers]:
        """One process more, which has read the feed."""
        memory = MemoryTier(
            self.clock, max_pictures=memory_pictures, max_bytes=10**7, max_age_seconds=STALE.total_seconds()
        )
        tiers = Tiers(self.feed, self.clock, stale_for=STALE, memory=memory if memory_pictures else None, shared=shared)
        tiers.coherence._wait_seconds = 0.02
        await read_feed(tiers.coherence)
        self.opened.append(tiers)
        return self.server(self.process(tiers=tiers), tiers), tiers

    def stop_ledger(self) -> None:
        self.feed.error = LedgerUnavailable("down")

    async def pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)
