"""A shared tier in memory, for tests of what is asked and kept in which order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from copperplate.feed import Tier
from copperplate.ports.tiers import TierFigures

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from copperplate.model import PictureRequest
    from copperplate.ports.tiers import Copy, HotCopy


class ShelfTier:
    """`CopyTier` over a dictionary that processes may share; Redis keeps no bytes.

    `gate` keeps finders waiting. One that `refuses` removes nothing.
    """

    def __init__(self, tier: Tier, copies: dict[str, Copy] | None = None) -> None:
        self.tier = tier
        self.copies: dict[str, Copy] = {} if copies is None else copies
        self.asked: Counter[str] = Counter()
        self.gate: asyncio.Event | None = None
        self.is_closed = self.refuses = False

    async def find(self, key: str, database: str) -> Copy | None:
        self.asked["find"] += 1
        found = self.copies.get(key)
        if self.gate is not None:
            await self.gate.wait()
        return found if found is not None and found.database == database else None

    def find_quickly(self, key: str, database: str) -> tuple[HotCopy, bytes] | None:
        return None

    async def keep(self, copy: Copy, request: PictureRequest) -> None:
        self.asked["keep"] += 1
        self.copies[copy.entry.key] = replace(copy, body=None) if self.tier is Tier.REDIS else copy

    async def drop(self, key: str) -> None:
        if not self.refuses:
            self.copies.pop(key, None)

    async def remove_wrong(self, database: str, is_right: Callable[[Copy], bool]) -> bool:
        self.asked["remove_wrong"] += 1
        if self.refuses:
            return False
        for key, copy in [*self.copies.items()]:
            if copy.database == database and not is_right(copy):
                del self.copies[key]
        return True

    async def figures(self) -> TierFigures | None:
        return (
            None
            if self.tier is Tier.REDIS
            else TierFigures(tier=self.tier, entries=len(self.copies), bytes=0, oldest_seconds=None)
        )

    async def close(self) -> None:
        self.is_closed = True
