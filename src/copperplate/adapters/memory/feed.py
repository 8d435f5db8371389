"""The feed of invalidations, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

from copperplate.adapters.memory.tables import MemoryTables
from copperplate.feed import Cursor, FeedPage, Invalidation

if TYPE_CHECKING:
    from collections.abc import Collection

    from copperplate.feed import Tier
    from copperplate.ports import Clock

# What a reader without a cursor is told, and what one with a cursor is told at most; as in SQL.
NEWEST: Final = 1_000
MOST: Final = 10_000


class MemoryFeed(MemoryTables):
    """`Feed`. Every call is a transaction that ends at once, so none is ever running."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._database = uuid4().hex

    async def read_feed(self, since: Cursor | None, database: str | None) -> FeedPage:
        """See `Feed.read_feed`."""
        rows = None
        if (
            since is not None
            and database == self._database
            and self._feed_forgotten <= since.xmax <= self._next_transaction
        ):
            rows = [row for row in self._invalidations if not since.includes(row.transaction)]
        is_continued = rows is not None and len(rows) <= MOST
        known_from = 0
        if rows is None or not is_continued:
            # Whole transactions: the first that does not fit, and all before it, are left out.
            older = self._invalidations[:-NEWEST]
            known_from = max(self._feed_forgotten, older[-1].transaction + 1 if older else 1)
            rows = [row for row in self._invalidations if row.transaction >= known_from]
        return FeedPage(
            database=self._database,
            cursor=Cursor(self._next_transaction, self._next_transaction),
            invalidations=tuple(rows),
            is_continued=is_continued,
            known_from=known_from,
            due_cdn_scopes=frozenset(row.scope for row in self._cdn_purges if row.due_at <= self._clock.monotonic()),
        )

    async def invalidate(self, tiers: Collection[Tier], generation_keys: Collection[str] | None) -> None:
        """See `Feed.invalidate`."""
        keys = {None} if generation_keys is None else set(generation_keys)
        self._invalidations += [
            Invalidation(transaction=self._next_transaction, generation_key=key, tier=tier)
            for tier in set(tiers)
            for key in keys
        ]
        self._next_transaction += 1
