"""The feed of invalidations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.adapters.ledger.transport import Calls
from copperplate.feed import Cursor, FeedPage, Invalidation, Tier

if TYPE_CHECKING:
    from collections.abc import Collection


class FeedCalls(Calls):
    """`Feed`."""

    async def read_feed(self, since: Cursor | None, database: str | None) -> FeedPage:
        """See `Feed.read_feed`."""
        arguments = {"p_since": None if since is None else str(since), "p_database": database}
        row = await self._transport.value("read_feed", arguments, dict)
        return FeedPage(
            database=row["database"],
            cursor=Cursor.parse(row["cursor"]),
            invalidations=tuple(
                Invalidation(transaction=transaction, generation_key=key, tier=None if tier is None else Tier(tier))
                for transaction, key, tier in row["invalidations"]
            ),
            is_continued=row["is_continued"],
            known_from=row["known_from"],
            due_cdn_scopes=frozenset(row["due_cdn_scopes"]),
        )

    async def invalidate(self, tiers: Collection[Tier], generation_keys: Collection[str] | None) -> None:
        """See `Feed.invalidate`."""
        keys = None if generation_keys is None else sorted(generation_keys)
        arguments = {"p_tiers": sorted(tier.value for tier in tiers), "p_generation_keys": keys}
        await self._transport.value("invalidate_tiers", arguments, int)
