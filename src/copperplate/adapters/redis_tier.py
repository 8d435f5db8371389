"""Entries in Redis or Valkey, shared by processes on many machines; their bytes stay in the store (ADR 0070)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.adapters.redis.values import MAX_VALUE_BYTES, name_of, prefix_of, read_value, write_value
from copperplate.feed import Tier
from copperplate.ports.tiers import TierFigures

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from copperplate.adapters.redis.server import Server
    from copperplate.model import PictureRequest
    from copperplate.ports.tiers import Copy, HotCopy

# Figures are given of at most so many keys of the whole server; where it holds more, none are.
PAGE_KEYS: Final = 1_000
MAX_PAGES: Final = 20


class RedisTier:
    """`CopyTier`. A copy ends by itself after `lifetime`, whatever happens to this process."""

    tier = Tier.REDIS

    def __init__(self, server: Server, *, lifetime: timedelta, has_prompts: bool = False) -> None:
        self._server = server
        self._seconds = max(1, round(lifetime.total_seconds()))
        self._has_prompts = has_prompts
        # Of what was found or kept last. A process has one, until a restore gives it another.
        self._database = ""

    async def find(self, key: str, database: str) -> Copy | None:
        """See `CopyTier.find`. What was not written by a process of this database is removed."""
        self._database = database
        name = name_of(key, database)
        # A range: no value of others, however large, is read whole.
        raw = await self._server.ask("GETRANGE", name, 0, MAX_VALUE_BYTES)
        if not raw:
            return None
        copy = read_value(raw, key, database)
        if copy is None:
            await self._server.ask("UNLINK", name)
        return copy

    def find_quickly(self, key: str, database: str) -> tuple[HotCopy, bytes] | None:
        """See `CopyTier.find_quickly`. A server has to be waited for."""
        return None

    async def keep(self, copy: Copy, request: PictureRequest) -> None:
        """See `CopyTier.keep`."""
        self._database = copy.database
        value = write_value(copy, request, has_prompt=self._has_prompts)
        if value is not None:
            await self._server.ask("SET", name_of(copy.entry.key, copy.database), value, "EX", self._seconds)

    async def drop(self, key: str) -> None:
        """See `CopyTier.drop`."""
        await self._server.ask("UNLINK", name_of(key, self._database))

    async def remove_wrong(self, database: str, is_right: Callable[[Copy], bool]) -> bool:
        """See `CopyTier.remove_wrong`. There are no pictures in it, and entries end by themselves: nothing is done."""
        return True

    async def figures(self) -> TierFigures | None:
        """See `CopyTier.figures`: of this database's copies, by every process; None of a server with many keys."""
        entries, size_bytes, oldest_seconds = 0, 0, 0.0
        position: bytes | int = 0
        for _ in range(MAX_PAGES):
            page = await self._server.ask(
                "SCAN", position, "MATCH", f"{prefix_of(self._database)}*", "COUNT", PAGE_KEYS
            )
            if page is None:
                return None
            position, names = page
            about = await self._server.ask_all([(word, name) for name in names for word in ("STRLEN", "TTL")])
            if about is None:
                return None
            lengths, left = about[::2], [each for each in about[1::2] if each is not None and each >= 0]
            entries += len(names)
            size_bytes += sum(length or 0 for length in lengths)
            oldest_seconds = max([oldest_seconds, *(float(self._seconds - each) for each in left)])
            if position == b"0":
                return TierFigures(
                    tier=self.tier,
                    entries=entries,
                    bytes=size_bytes,
                    oldest_seconds=oldest_seconds if entries else None,
                    place=self._server.place,
                )
        return None

    async def close(self) -> None:
        """See `CopyTier.close`."""
        await self._server.close()
