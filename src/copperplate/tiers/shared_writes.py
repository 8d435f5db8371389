"""Copies on their way to disk and Redis, behind the answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from copperplate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copperplate.feed import Tier
    from copperplate.model import Entry, PictureRequest
    from copperplate.ports.tiers import Copy, CopyTier
    from copperplate.single_flight import Call

# What waits to be written; above that copies are not kept, and the next hit keeps them.
MAX_BYTES: Final = 32_000_000


class SharedWrites:
    """Writes each copy once at a time. No request waits for it.

    One that was declared wrong while it was written is dropped. As its tier may refuse that, `look_again` is called.
    """

    def __init__(
        self,
        is_right: Callable[[Copy, Tier], bool],
        *,
        look_again: Callable[[], None] = lambda: None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._is_right = is_right
        self._look_again = look_again
        self._max_bytes = max_bytes
        self._flights: SingleFlight[None] = SingleFlight()
        self._bytes = 0

    def begin(
        self,
        tiers: Sequence[CopyTier],
        copy: Copy,
        request: PictureRequest,
        keeping: asyncio.Task[Entry | None] | None = None,
    ) -> None:
        """Write a copy to these tiers; of a rendition that is being kept as soon as it is, and if it stands."""
        key, size_bytes = copy.entry.key, len(copy.body or b"")
        if not tiers or key in self._flights:
            self._flights.join(key)
        elif self._bytes + size_bytes <= self._max_bytes:
            self._bytes += size_bytes
            writing = self._flights.start(key, lambda: self._write(tiers, copy, request, keeping))
            writing.add_done_callback(lambda _: self._give_back(size_bytes))

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """Let the copies that `call` left behind be written, and give up the late ones."""
        await self._flights.finish(call, within_seconds=within_seconds)

    async def drain(self, *, within_seconds: float) -> None:
        """Let all be written, and give up the late ones."""
        await self._flights.drain(within_seconds=within_seconds)

    def _give_back(self, size_bytes: int) -> None:
        self._bytes -= size_bytes

    async def _write(
        self,
        tiers: Sequence[CopyTier],
        copy: Copy,
        request: PictureRequest,
        keeping: asyncio.Task[Entry | None] | None,
    ) -> None:
        if keeping is not None:
            entry = await _kept(keeping)
            if entry is None or entry.digest != copy.entry.digest:
                return  # it is not kept, or another process was first
            copy = replace(copy, entry=entry)
        for tier in tiers:
            if self._is_right(copy, tier.tier):
                await tier.keep(copy, request)
                if not self._is_right(copy, tier.tier):
                    self._look_again()
                    await tier.drop(copy.entry.key)


async def _kept(keeping: asyncio.Task[Entry | None]) -> Entry | None:
    await asyncio.wait((keeping,))
    return None if keeping.cancelled() or keeping.exception() is not None else keeping.result()
