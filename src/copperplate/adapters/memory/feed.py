"""The feed of invalidations, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from copperplate.adapters.memory.tables import MemoryTables
from copperplate.feed import Cursor, FeedPage, Invalidation

if TYPE_CHECKING:
    from collections.abc import Collection

    from copperplate.feed import Tier
    from copperplate.ports import Clock

# The newest invalidations that a first read is told.
NEWEST = 1_000


class MemoryFeed(MemoryTables):
    """`Feed`. Every call is a transaction that ends at once, so none is ever running."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._database = str(uuid4())

    async def read_feed(self, since: Cursor | None, database: str | None) -> FeedPage:
        """See `Feed.read_feed`."""
        is_continued = since is not None and database == self._database
        if is_continued and since is not None:
            rows = [row for row in self._invalidations if not since.includes(row.transaction)]
        else:
            rows = self._invalidations[-NEWEST:]
        known_from = rows[0].transaction if not is_continued and len(rows) < len(self._invalidations) else 0
        return FeedPage(
            database=self._database,
            cursor=Cursor(self._next_transaction, self._next_transaction),
            invalidations=tuple(rows),
            is_continued=is_continued,
            known_from=known_from,
        )

    async def invalidate(self, tiers: Collection[Tier], generation_keys: Collection[str] | None) -> None:
        """See `Feed.invalidate`."""
        for tier in tiers:
            for key in (None,) if generation_keys is None else generation_keys:
                self._invalidations.append(
                    Invalidation(transaction=self._next_transaction, generation_key=key, tier=tier)
                )
        self._next_transaction += 1
