"""The feed of invalidations, as the ledger keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from copperplate.feed import Cursor, FeedPage, Tier


class Feed(Protocol):
    """Tells processes which copies of pictures are wrong. Raises as `Ledger` does."""

    async def read_feed(self, since: Cursor | None, database: str | None) -> FeedPage:
        """Every invalidation that `since` does not include: purges, deletions, missing objects, cleanups, takedowns.

        None is missed, however late its transaction commits. Both are None for a first read. See `FeedPage`.
        """

    async def invalidate(self, tiers: Collection[Tier], generation_keys: Collection[str] | None) -> None:
        """Declare copies in these tiers (memory, disk, Redis) wrong: of these generations, or all where it is None.

        The pictures themselves stay.
        """
